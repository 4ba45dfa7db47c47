"""A word among image tokens: PyTorch, Keras and JAX give the same numbers for the same weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import camcore
from camcore.targets import Token

# Four patches of 4 × 4 pixels on a grid of 2 × 2, behind one word and before two.
RNG = np.random.default_rng(0)
WIDTH, COUNT, IDS = 6, 7, 9
KERNEL = RNG.normal(0, 0.2, (4, 4, 3, WIDTH))
WORDS = RNG.normal(size=(3, WIDTH))
MIX = RNG.normal(0, 0.4, (WIDTH, WIDTH))
HEAD = RNG.normal(0, 0.4, (WIDTH, IDS))
CAUSAL = np.tril(RNG.random((COUNT, COUNT)))
IMAGES = RNG.normal(size=(2, 8, 8, 3))
LAYOUT = camcore.Layout("tokens", grid=(2, 2), prefix=1, suffix=2)
TARGETS = {
    "one": Token(5, 4),
    "from the end, an id each": Token(-1, [2, 7]),
    "the highest, a position each": Token([6, 4]),
    "a sum": Token(4, 1) + 0.5 * Token(6, 3),
}
AT_LAYER = [
    *("gradcam", "gradcampp", "xgradcam", "hirescam", "elementwisegradcam", "layercam"),
    *("eigengradcam", "segxrescam", "counterfactual"),
]


def in_torch(torch):
    nn = torch.nn

    def tensor(array):
        return nn.Parameter(torch.from_numpy(np.ascontiguousarray(array)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut = nn.Conv2d(3, WIDTH, 4, 4, bias=False).double()
            self.mix = nn.Linear(WIDTH, WIDTH, bias=False).double()
            self.head = nn.Linear(WIDTH, IDS, bias=False).double()
            self.cut.weight = tensor(KERNEL.transpose(3, 2, 0, 1))
            self.mix.weight, self.head.weight = tensor(MIX.T), tensor(HEAD.T)
            self.words, self.causal = tensor(WORDS), tensor(CAUSAL)

        def forward(self, x):
            patches = self.cut(x).flatten(2).mT
            words = self.words.expand(len(x), -1, -1)
            mixed = self.mix(torch.cat([words[:, :1], patches, words[:, 1:]], 1))
            return self.head(torch.tanh(self.causal @ torch.tanh(mixed)))

    return Net(), np.ascontiguousarray(np.moveaxis(IMAGES, -1, 1))


def in_keras(keras):
    layers, ops = keras.layers, keras.ops

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.cut = layers.Conv2D(WIDTH, 4, 4, use_bias=False, name="cut")
            self.mix = layers.Dense(WIDTH, use_bias=False, name="mix")
            self.head = layers.Dense(IDS, use_bias=False, name="head")

        def call(self, x):
            patches = ops.reshape(self.cut(x), (-1, 4, WIDTH))
            words = ops.repeat(ops.convert_to_tensor(WORDS)[None], ops.shape(x)[0], 0)
            mixed = self.mix(ops.concatenate([words[:, :1], patches, words[:, 1:]], 1))
            return self.head(ops.tanh(ops.convert_to_tensor(CAUSAL) @ ops.tanh(mixed)))

    model = Net()
    model(IMAGES)
    for layer, weights in ((model.cut, KERNEL), (model.mix, MIX), (model.head, HEAD)):
        layer.set_weights([weights])
    return model, IMAGES


def in_jax(nnx, jnp):
    class Net(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            how = {"use_bias": False, "param_dtype": float, "rngs": rngs}
            self.cut = nnx.Conv(3, WIDTH, (4, 4), 4, padding="VALID", **how)
            self.mix = nnx.Linear(WIDTH, WIDTH, **how)
            self.head = nnx.Linear(WIDTH, IDS, **how)
            for layer, weights in ((self.cut, KERNEL), (self.mix, MIX), (self.head, HEAD)):
                layer.kernel[...] = jnp.asarray(weights)

        def __call__(self, x):
            patches = self.cut(x).reshape(len(x), 4, WIDTH)
            words = jnp.broadcast_to(jnp.asarray(WORDS), (len(x), *WORDS.shape))
            mixed = self.mix(jnp.concatenate([words[:, :1], patches, words[:, 1:]], 1))
            return self.head(jnp.tanh(jnp.asarray(CAUSAL) @ jnp.tanh(mixed)))

    return Net(), IMAGES


@pytest.fixture(scope="module")
def networks(torch, keras, double, require):
    jax, nnx = require("jax"), require("flax.nnx")
    with double():
        keras_model = in_keras(keras)
    with jax.enable_x64(True):
        made = {
            "torch": in_torch(torch),
            "keras": keras_model,
            "jax": in_jax(nnx, require("jax.numpy")),
        }
        yield {name: SimpleNamespace(model=m, images=x) for name, (m, x) in made.items()}


def plain():
    """The logits and the image tokens behind ``mix``, in NumPy."""
    cut = IMAGES.reshape(2, 2, 4, 2, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 4, 48)
    patches = cut @ KERNEL.reshape(48, WIDTH)
    words = np.broadcast_to(WORDS, (2, *WORDS.shape))
    mixed = np.concatenate([words[:, :1], patches, words[:, 1:]], 1) @ MIX
    return np.tanh(CAUSAL @ np.tanh(mixed)) @ HEAD, mixed[:, 1:5]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("framework", ["keras", "jax"])
def test_gradients_of_a_word_are_those_of_pytorch(networks, framework, name):
    own, other = (
        camcore.explain(
            networks[one].model, networks[one].images, TARGETS[name], "mix", AT_LAYER, layout=LAYOUT
        )
        for one in ("torch", framework)
    )
    for method, result in own.items():
        close(other[method].raw["mix"], result.raw["mix"])
        close(other[method].scores, result.scores)
        assert result.raw["mix"].shape == (2, 2, 2)
        assert np.abs(result.raw["mix"]).max() > 0
    own, other = (
        camcore.explain(networks[one].model, networks[one].images, TARGETS[name], method="saliency")
        for one in ("torch", framework)
    )
    close(other.raw["@input"], own.raw["@input"])


@pytest.mark.parametrize("framework", ["torch", "keras", "jax"])
def test_the_token_map_is_the_logits_at_the_patches(networks, framework):
    own = networks[framework]
    logits, _ = plain()
    read = {
        "one": logits[:, 1:5, 4],
        "from the end, an id each": np.stack([logits[0, 1:5, 2], logits[1, 1:5, 7]]),
        "a sum": logits[:, 1:5, 1] + 0.5 * logits[:, 1:5, 3],
    }
    for name, expected in read.items():
        for options in ({}, {"smooth": True}, {"less": [np.ones((2, 2, 2))]}):
            found = camcore.explain(
                own.model, own.images, TARGETS[name], method="tokencam", layout=LAYOUT, **options
            )
            made = camcore.methods.tokencam(expected.reshape(2, 2, 2), **options)
            np.testing.assert_allclose(found.raw["@output"], made, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("framework", ["torch", "keras", "jax"])
def test_hirescam_of_a_word_is_its_derivative_by_hand(networks, framework):
    own = networks[framework]
    logits, mixed = plain()
    seen = np.tanh(np.concatenate([WORDS[None, :1].repeat(2, 0) @ MIX, mixed], 1))
    hidden = np.tanh(CAUSAL[5, :5] @ seen + CAUSAL[5, 5] * np.tanh(WORDS[1] @ MIX))
    # dz_5 / dmixed_t = (head_v (1 - h²)) causal_5t (1 - tanh²)
    slope = (HEAD[:, 4] * (1 - hidden**2))[:, None] * CAUSAL[5, 1:5, None] * (1 - seen[:, 1:] ** 2)
    found = camcore.explain(own.model, own.images, Token(5, 4), "mix", "hirescam", layout=LAYOUT)
    close(found.raw["mix"], (slope * mixed).sum(-1).reshape(2, 2, 2))
    close(found.scores, logits[:, 5, 4])
