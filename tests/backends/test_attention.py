"""One small ViT with the same weights in both frameworks, beside a textbook computation."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import camcore
from camcore.methods import relevancy, rollout
from camcore.registry import adapter as adapt
from camcore.targets import Class, Each, Probability

PATCH, GRID, CHANNELS, WIDTH, HEADS, BLOCKS, CLASSES = 4, (3, 2), 2, 8, 2, 2, 3
TOKENS = 1 + GRID[0] * GRID[1]


def layer(rng, *shape):
    """A kernel and its bias."""
    return rng.normal(size=shape) / shape[0] ** 0.5, rng.normal(size=shape[-1]) / 4


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)

    def block():
        kinds = {"query": WIDTH, "key": WIDTH, "value": WIDTH, "out": WIDTH, "up": 12}
        made = {kind: layer(rng, WIDTH, size) for kind, size in kinds.items()}
        norms = {k: (rng.uniform(1, 3, WIDTH), rng.normal(size=WIDTH)) for k in ("norm1", "norm2")}
        return SimpleNamespace(**made, **norms, down=layer(rng, 12, WIDTH))

    return SimpleNamespace(
        patch=layer(rng, PATCH * PATCH * CHANNELS, WIDTH),
        token=rng.normal(size=(1, 1, WIDTH)),
        place=rng.normal(size=(1, TOKENS, WIDTH)),
        blocks=[block() for _ in range(BLOCKS)],
        norm=(rng.uniform(1, 3, WIDTH), rng.normal(size=WIDTH)),
        head=layer(rng, WIDTH, CLASSES),
    )


@pytest.fixture(scope="module")
def images():
    """Channels last."""
    return np.random.default_rng(1).normal(size=(2, GRID[0] * PATCH, GRID[1] * PATCH, CHANNELS))


def textbook(o, w, images, added):
    """Scores, each block's attention and its own scores, in plain operations `o` of a framework.

    What is added to the attention is zero, and is there to be differentiated by.
    """
    batch = len(images)
    patches = images.reshape(batch, GRID[0], PATCH, GRID[1], PATCH, CHANNELS)
    patches = patches.transpose(0, 1, 3, 2, 4, 5).reshape(batch, TOKENS - 1, -1)

    def linear(x, kernel, bias):
        return o.einsum("bti,io->bto", x, o.tensor(kernel)) + o.tensor(bias)

    def norm(x, gamma, beta):
        x = x - o.mean(x)
        return x / o.sqrt(o.mean(x * x) + 1e-5) * o.tensor(gamma) + o.tensor(beta)

    def heads(x):
        return o.reshape(x, (batch, TOKENS, HEADS, WIDTH // HEADS))

    token = np.broadcast_to(w.token, (batch, 1, WIDTH))
    x = o.concat([o.tensor(token), linear(o.tensor(patches), *w.patch)]) + o.tensor(w.place)
    attention, own = [], []
    for block, zero in zip(w.blocks, added, strict=True):
        y = norm(x, *block.norm1)
        q, k, v = (heads(linear(y, *getattr(block, one))) for one in ("query", "key", "value"))
        a = zero + o.softmax(o.einsum("bqhd,bkhd->bhqk", q, k) / (WIDTH / HEADS) ** 0.5)
        attention.append(a)
        y = o.reshape(o.einsum("bhqk,bkhd->bqhd", a, v), (batch, TOKENS, WIDTH))
        x = x + linear(y, *block.out)
        x = x + linear(o.tanh(linear(norm(x, *block.norm2), *block.up)), *block.down)
        mean = o.einsum("btc->bc", x)[:, None] / TOKENS
        own.append(linear(norm(mean, *w.norm), *w.head)[:, 0])
    return linear(norm(x, *w.norm), *w.head)[:, 0], attention, own


def of_torch(torch, w, pools=False):
    nn = torch.nn

    def given(module, kernel, bias):
        module.weight.data, module.bias.data = torch.tensor(kernel.T), torch.tensor(bias)
        return module

    def norm(gamma, beta):
        return given(nn.LayerNorm(WIDTH), gamma, beta)

    def linear(kernel, bias):
        return given(nn.Linear(*kernel.shape), kernel, bias)

    class Block(nn.Module):
        def __init__(self, b):
            super().__init__()
            self.norm1, self.norm2 = norm(*b.norm1), norm(*b.norm2)
            self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
            projections = (b.query, b.key, b.value)
            self.attention.in_proj_weight.data = torch.tensor(
                np.concatenate([kernel.T for kernel, _ in projections])
            )
            self.attention.in_proj_bias.data = torch.tensor(
                np.concatenate([bias for _, bias in projections])
            )
            given(self.attention.out_proj, *b.out)
            self.mlp = nn.Sequential(linear(*b.up), nn.Tanh(), linear(*b.down))

        def forward(self, x):
            y = self.norm1(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            return x + self.mlp(self.norm2(x))

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            kernel, bias = w.patch
            self.patch = nn.Conv2d(CHANNELS, WIDTH, PATCH, PATCH)
            kernel = kernel.reshape(PATCH, PATCH, CHANNELS, WIDTH).transpose(3, 2, 0, 1)
            self.patch.weight.data, self.patch.bias.data = torch.tensor(kernel), torch.tensor(bias)
            self.token = nn.Parameter(torch.tensor(w.token))
            self.place = nn.Parameter(torch.tensor(w.place))
            self.blocks = nn.Sequential(*map(Block, w.blocks))
            self.norm, self.head = norm(*w.norm), linear(*w.head)
            self.pool = Block(w.blocks[0]).attention if pools else None

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
            x = self.norm(self.blocks(x))
            if pools:
                x = self.pool(x[:, :1], x, x, need_weights=False)[0]
            return self.head(x[:, 0])

    return ViT()


def of_keras(keras, w, pools=False):
    layers, width = keras.layers, WIDTH // HEADS

    class Tokens(layers.Layer):
        def build(self, shape):
            self.token = self.add_weight(shape=w.token.shape)
            self.place = self.add_weight(shape=w.place.shape)

        def call(self, x):
            token = keras.ops.repeat(self.token, keras.ops.shape(x)[0], axis=0)
            return keras.ops.concatenate([token, x], 1) + self.place

    pending = []

    def put(made, x, *values):
        out = made(*x) if isinstance(x, tuple) else made(x)
        pending.append((made, values))
        return out

    def norm(x, pair):
        return put(layers.LayerNormalization(epsilon=1e-5), x, *pair)

    def dense(x, pair, **options):
        return put(layers.Dense(len(pair[1]), **options), x, *pair)

    def split(pair):
        return pair[0].reshape(WIDTH, HEADS, width), pair[1].reshape(HEADS, width)

    inputs = keras.Input((GRID[0] * PATCH, GRID[1] * PATCH, CHANNELS))
    kernel = w.patch[0].reshape(PATCH, PATCH, CHANNELS, WIDTH)
    x = put(layers.Conv2D(WIDTH, PATCH, PATCH), inputs, kernel, w.patch[1])
    x = put(Tokens(), layers.Reshape((TOKENS - 1, WIDTH))(x), w.token, w.place)

    def attention(name, b, *given):
        values = [value for one in (b.query, b.key, b.value) for value in split(one)]
        out = b.out[0].reshape(HEADS, width, WIDTH), b.out[1]
        return put(layers.MultiHeadAttention(HEADS, width, name=name), given, *values, *out)

    for i, b in enumerate(w.blocks):
        y = norm(x, b.norm1)
        x = layers.Add()([x, attention(f"attention{i}", b, y, y)])
        y = dense(dense(norm(x, b.norm2), b.up, activation="tanh"), b.down)
        x = layers.Add()([x, y])
    x = norm(x, w.norm)
    x = attention("pool", w.blocks[0], x[:, :1], x) if pools else x
    x = dense(x[:, 0], w.head)
    for made, values in pending:
        made.set_weights(values)
    return keras.Model(inputs, x)


def of_jax(nnx, w, pools=False):
    import jax.numpy as jnp

    rngs, split = nnx.Rngs(0), (WIDTH, HEADS, WIDTH // HEADS)

    def single(array):
        return jnp.asarray(array, jnp.float32)

    def norm(gamma, beta):
        made = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)
        made.scale[...], made.bias[...] = single(gamma), single(beta)
        return made

    def linear(kernel, bias):
        made = nnx.Linear(*kernel.shape, rngs=rngs)
        made.kernel[...], made.bias[...] = single(kernel), single(bias)
        return made

    class Block(nnx.Module):
        def __init__(self, b):
            self.norm1, self.norm2 = norm(*b.norm1), norm(*b.norm2)
            how = {"num_heads": HEADS, "in_features": WIDTH, "decode": False, "rngs": rngs}
            self.attention = nnx.MultiHeadAttention(**how)
            for kind in ("query", "key", "value"):
                part, (kernel, bias) = getattr(self.attention, kind), getattr(b, kind)
                part.kernel[...] = single(kernel.reshape(split))
                part.bias[...] = single(bias.reshape(split[1:]))
            self.attention.out.kernel[...] = single(b.out[0].reshape(*split[1:], WIDTH))
            self.attention.out.bias[...] = single(b.out[1])
            self.up, self.down = linear(*b.up), linear(*b.down)

        def __call__(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.down(jnp.tanh(self.up(self.norm2(x))))

    class ViT(nnx.Module):
        def __init__(self):
            kernel = w.patch[0].reshape(PATCH, PATCH, CHANNELS, WIDTH)
            how = {"kernel_size": (PATCH, PATCH), "strides": (PATCH, PATCH), "rngs": rngs}
            self.patch = nnx.Conv(CHANNELS, WIDTH, **how)
            self.patch.kernel[...], self.patch.bias[...] = single(kernel), single(w.patch[1])
            self.token, self.place = nnx.Param(single(w.token)), nnx.Param(single(w.place))
            self.blocks = nnx.List([Block(b) for b in w.blocks])
            self.norm, self.head = norm(*w.norm), linear(*w.head)
            self.pool = Block(w.blocks[0]).attention if pools else None

        def __call__(self, x):
            x = self.patch(x).reshape(len(x), TOKENS - 1, WIDTH)
            token = jnp.broadcast_to(self.token[...], (len(x), 1, WIDTH))
            x = jnp.concatenate([token, x], 1) + self.place[...]
            for block in self.blocks:
                x = block(x)
            x = self.norm(x)
            x = self.pool(x[:, :1], x) if pools else x
            return self.head(x[:, 0])

    return ViT()


def in_torch(torch, w, images):
    """The model and its inputs, beside the textbook's scores, attention and gradients."""
    places = torch.zeros((BLOCKS, len(images), HEADS, TOKENS, TOKENS), dtype=torch.float64)
    o = SimpleNamespace(
        tensor=torch.tensor, einsum=torch.einsum, reshape=torch.reshape, sqrt=torch.sqrt,
        tanh=torch.tanh, softmax=lambda x: torch.softmax(x, -1),
        mean=lambda x: x.mean(-1, keepdim=True), concat=lambda parts: torch.cat(parts, 1),
    )  # fmt: skip
    scores, attention, own = textbook(o, w, images, places.requires_grad_())

    def slopes(scores):
        return torch.autograd.grad(scores[:, 1].sum(), places, retain_graph=True)[0].numpy()

    return SimpleNamespace(
        model=of_torch(torch, w).eval(),
        images=images.transpose(0, 3, 1, 2),
        layers=[f"blocks.{i}.attention" for i in range(BLOCKS)],
        scores=scores.detach().numpy(),
        attention=[a.detach().numpy() for a in attention],
        gradients=slopes(scores),
        own=[slopes(each)[i] for i, each in enumerate(own)],
    )


def in_keras(tf, keras, double, w, images):
    o = SimpleNamespace(
        tensor=tf.constant, einsum=tf.einsum, reshape=tf.reshape, sqrt=tf.sqrt, tanh=tf.tanh,
        softmax=tf.nn.softmax, mean=lambda x: tf.reduce_mean(x, -1, keepdims=True),
        concat=lambda parts: tf.concat(parts, 1),
    )  # fmt: skip
    places = tf.zeros((BLOCKS, len(images), HEADS, TOKENS, TOKENS), tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(places)
        scores, attention, own = textbook(o, w, images, places)
        each = [tf.reduce_sum(one[:, 1]) for one in (scores, *own)]
    gradients, *slopes = (tape.gradient(score, places).numpy() for score in each)
    with double():
        model = of_keras(keras, w)
    return SimpleNamespace(
        model=model,
        images=images,
        layers=[f"attention{i}" for i in range(BLOCKS)],
        scores=scores.numpy(),
        attention=[a.numpy() for a in attention],
        gradients=gradients,
        own=[slope[i] for i, slope in enumerate(slopes)],
    )


@pytest.fixture(scope="module")
def both(torch, tf, keras, double, weights, images):
    return {
        "torch": in_torch(torch, weights, images),
        "keras": in_keras(tf, keras, double, weights, images),
    }


@pytest.fixture(params=["torch", "keras"])
def one(request, both):
    return both[request.param]


def one_class(leaves, label=1):
    return {path: np.eye(CLASSES)[[label] * len(leaf)] for path, leaf in leaves.items()}


def close(one, other, tolerance):
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


def test_attention_and_its_gradients_are_the_textbooks(one):
    names = [name + "@attention" for name in one.layers]
    trace = adapt(one.model).run(one.images, names, [one_class])
    (scores,) = trace.outputs.values()
    close(scores, one.scores, 1e-10)
    for i, name in enumerate(names):
        traced = trace.layers[name]
        assert traced.activations.shape == (2, HEADS, TOKENS, TOKENS)
        np.testing.assert_allclose(traced.activations.sum(-1), 1, rtol=0, atol=1e-12)
        close(traced.activations, one.attention[i], 1e-10)
        close(traced.gradients[0], one.gradients[i], 1e-10)


def test_the_survey_says_which_layers_attend(one):
    records = adapt(one.model).survey(one.images)
    assert [r.layer.name for r in records if r.attends] == one.layers


def test_legrad_is_the_mean_over_layers_heads_and_queries(one):
    result = camcore.explain(one.model, one.images, target=1, method="legrad")
    assert list(result.raw) == [name + "@attention" for name in one.layers]
    expected = np.maximum(one.gradients[..., 1:], 0).mean(axis=(2, 3)).reshape(BLOCKS, 2, *GRID)
    for name, layer in zip(one.layers, expected, strict=True):
        close(result.raw[name + "@attention"], layer, 1e-10)
    mean = expected.mean(axis=0)
    shown = camcore.recipes.PAPER.render([mean], (GRID[0] * PATCH, GRID[1] * PATCH))
    np.testing.assert_allclose(result.maps, shown, rtol=0, atol=1e-6)


def test_legrad_agrees_between_frameworks(both):
    torch, keras = (
        camcore.explain(one.model, one.images, method="legrad") for one in both.values()
    )
    np.testing.assert_array_equal(torch.classes, keras.classes)
    for a, b in zip(torch.raw.values(), keras.raw.values(), strict=True):
        close(a, b, 1e-9)


def test_legrad_of_each_blocks_own_score(one):
    """A block is scored by the mean of its tokens, put through the final norm and head."""
    result = camcore.explain(one.model, one.images, target=1, method="legrad", scored="block")
    assert list(result.raw) == [name + "@attention" for name in one.layers]
    for name, gradients in zip(one.layers, one.own, strict=True):
        expected = np.maximum(gradients[..., 1:], 0).mean(axis=(1, 2)).reshape(2, *GRID)
        close(result.raw[name + "@attention"], expected, 1e-10)
        alone = camcore.explain(one.model, one.images, 1, name, "legrad", scored="block")
        close(alone.raw[name + "@attention"], expected, 1e-10)


def of_blocks(model, images):
    return camcore.explain(model, images, [1, 2], method="legrad", scored="block").raw.values()


def test_own_scores_agree_between_frameworks(both):
    for a, b in zip(*(of_blocks(one.model, one.images) for one in both.values()), strict=True):
        close(a, b, 1e-9)


def test_own_scores_agree_with_jax(both, require, weights, images):
    jax = of_jax(require("flax.nnx"), weights)
    expected = of_blocks(both["torch"].model, both["torch"].images)
    for a, b in zip(of_blocks(jax, images.astype(np.float32)), expected, strict=True):
        close(a, b, 1e-5)


def test_own_scores_ahead_of_a_pooler_agree_between_frameworks(
    torch, keras, double, require, weights, images
):
    expected = list(of_blocks(of_torch(torch, weights, True).eval(), images.transpose(0, 3, 1, 2)))
    assert len(expected) == BLOCKS
    with double():
        model = of_keras(keras, weights, True)
    jax = of_jax(require("flax.nnx"), weights, True)
    for found, tolerance in (
        (of_blocks(model, images), 1e-9),
        (of_blocks(jax, images.astype(np.float32)), 1e-5),
    ):
        for a, b in zip(found, expected, strict=True):
            close(a, b, tolerance)


@pytest.mark.parametrize("scored", ["model", "block"])
def test_a_batch_gives_what_its_samples_give(one, scored):
    explainer = camcore.Explainer(one.model, method="legrad", scored=scored)
    together = explainer(one.images, target=[2, 0])
    for i in range(2):
        alone = explainer(one.images[i : i + 1], target=[2, 0][i])
        for name, maps in together.raw.items():
            close(maps[i : i + 1], alone.raw[name], 1e-12)


@pytest.mark.parametrize("scored", ["model", "block"])
def test_legrad_shares_the_pass_with_other_methods_and_targets(one, scored):
    layer, labels, how = one.layers[0], Each(Class(1), Class(2)), {"scored": scored}
    shared = camcore.explain(one.model, one.images, labels, layer, ["legrad", "gradcam"], **how)
    for method, name in (("legrad", layer + "@attention"), ("gradcam", layer)):
        for label, result in zip((1, 2), shared[method], strict=True):
            options = how if method == "legrad" else {}
            alone = camcore.explain(one.model, one.images, label, layer, method, **options)
            close(result.raw[name], alone.raw[name], 1e-12)


def test_a_probability_is_explained_by_the_gradients_of_the_logits(one):
    """∂p₁ = p₁ Σ_c (1[c = 1] − p_c) ∂y_c."""
    name = one.layers[0] + "@attention"
    seeds = [partial(one_class, label=label) for label in range(CLASSES)]
    gradients = np.array(adapt(one.model).run(one.images, [name], seeds).layers[name].gradients)
    p = np.exp(one.scores) / np.exp(one.scores).sum(axis=1, keepdims=True)
    weights = p[:, 1:2] * (np.eye(CLASSES)[1] - p)
    mixed = np.einsum("bc,cbhqk->bhqk", weights, gradients)[..., 1:]
    explainer = camcore.Explainer(one.model, method="legrad")
    evidence = explainer.evidence(one.images, Probability(1))
    close(evidence.attention_gradients, mixed.reshape(2, HEADS, TOKENS, *GRID), 1e-10)


def chained(one, *, rollout):
    """How much the class token is made of each patch after every block, in the textbook's words."""
    r, rows = np.eye(TOKENS), []
    for attention, gradients in zip(one.attention, one.gradients, strict=True):
        if rollout:
            r = (attention.mean(axis=1) + np.eye(TOKENS)) / 2 @ r
        else:
            r = r + np.maximum(attention * gradients, 0).mean(axis=1) @ r
        rows.append(r[:, 0, 1:].reshape(-1, *GRID))
    return rows


@pytest.mark.parametrize("method", ["relevancy", "rollout"])
def test_attention_is_followed_through_the_blocks(one, method):
    names = [name + "@attention" for name in one.layers]
    rows = chained(one, rollout=method == "rollout")
    for given in (None, one.layers, one.layers[::-1]):
        result = camcore.explain(one.model, one.images, 1, given, method)
        assert list(result.raw) == names
        assert result.fusion == "sum"
        for name, before, after in zip(names, [0 * rows[0], *rows], rows, strict=False):
            close(result.raw[name], after - before, 1e-10)
        shown = camcore.recipes.PAPER.render([rows[-1]], (GRID[0] * PATCH, GRID[1] * PATCH))
        np.testing.assert_allclose(result.maps, shown, rtol=0, atol=1e-6)
    last = camcore.explain(one.model, one.images, 1, one.layers[-1], method).raw[names[-1]]
    alone = SimpleNamespace(attention=one.attention[-1:], gradients=one.gradients[-1:])
    close(last, chained(alone, rollout=method == "rollout")[0], 1e-10)
    first = camcore.explain(one.model, one.images, 1, method=method, first=-1)
    assert not first.raw[names[0]].any()
    close(first.raw[names[1]], last, 1e-10)


@pytest.mark.parametrize("method", ["relevancy", "rollout"])
def test_jax_follows_attention_as_the_others_do(both, weights, images, require, method):
    require("jax")
    model = of_jax(require("flax.nnx"), weights)
    found = camcore.explain(model, images.astype(np.float32), 1, method=method)
    assert list(found.raw) == [f"blocks.{i}.attention@attention" for i in range(BLOCKS)]
    expected = camcore.explain(both["torch"].model, both["torch"].images, 1, method=method)
    for name, maps in expected.raw.items():
        close(found.raw[name], maps, 1e-5)  # float32 beside float64


def test_rollout_takes_no_target_and_no_backward_pass(one):
    for target in (None, 1, 2):
        result = camcore.explain(one.model, one.images, target, method="rollout")
        for name, maps in camcore.explain(one.model, one.images, method="rollout").raw.items():
            np.testing.assert_array_equal(result.raw[name], maps)
    trace = camcore.Explainer(one.model, method="rollout").evidence(one.images).trace
    assert not any(layer.gradients for layer in trace.layers.values())
    outputs = camcore.explain(one.model, one.images, 1, method="relevancy")
    np.testing.assert_allclose(outputs.scores, one.scores[:, 1], rtol=1e-9)


def test_views_of_the_input_are_averaged_along_a_chain(one):
    flip, width = camcore.augment.Flip(), 3 if one.images.shape[1] == CHANNELS else 2
    found = camcore.explain(one.model, one.images, 1, method="relevancy", augment=[flip])
    turned = np.flip(one.images, width).copy()
    plain, other = (
        camcore.explain(one.model, x, 1, method="relevancy").raw for x in (one.images, turned)
    )
    for name, maps in found.raw.items():
        close(maps, (plain[name] + other[name][:, :, ::-1]) / 2, 1e-10)


@pytest.mark.parametrize("read", ["class token", "mean", "two"])
def test_rows_are_of_the_tokens_that_the_head_reads(torch, weights, images, read):
    model = of_torch(torch, weights).eval()
    tokens = {"class token": [0], "mean": [*range(TOKENS)], "two": [2, 4]}[read]

    class Reading(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            own, x = self.model, self.model.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([own.token.expand(len(x), -1, -1), x], 1) + own.place
            return own.head(own.norm(own.blocks(x))[:, tokens].mean(1))

    x = images.transpose(0, 3, 1, 2)
    names = [f"model.blocks.{i}.attention@attention" for i in range(BLOCKS)]
    trace = adapt(Reading()).run(x, names, [one_class])
    attention = [trace.layers[name].activations for name in names]
    gradients = [trace.layers[name].gradients[0] for name in names]
    for method, function in (("relevancy", relevancy), ("rollout", rollout)):
        given = (attention, gradients)[: 2 if method == "relevancy" else 1]
        rows = np.mean([function(*given, query=token) for token in tokens], axis=0)
        found = camcore.explain(Reading(), x, 1, method=method).raw
        for i, name in enumerate(names):
            close(found[name], rows[:, i, 1:].reshape(-1, *GRID), 1e-10)


def test_calls_of_shared_blocks_are_a_chain(torch, weights, images):
    model = of_torch(torch, weights).eval()

    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            own, x = self.model, self.model.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([own.token.expand(len(x), -1, -1), x], 1) + own.place
            return own.head(own.norm(own.blocks(own.blocks(x)))[:, 0])

    x = images.transpose(0, 3, 1, 2)
    names = [f"model.blocks.{i}.attention@attention#{call}" for call in (0, 1) for i in (0, 1)]
    trace = adapt(Shared()).run(x, names, [one_class])
    attention = [trace.layers[name].activations for name in names]
    gradients = [trace.layers[name].gradients[0] for name in names]
    found = camcore.explain(Shared(), x, 1, names, "relevancy").raw
    assert list(found) == names
    rows = relevancy(attention, gradients, query=0)[..., 1:]
    for i, name in enumerate(names):
        close(found[name], rows[:, i].reshape(-1, *GRID), 1e-10)
    # Those of one layer are sorted, however they are counted.
    own = [names[0], names[2]]
    expected = camcore.explain(Shared(), x, 1, own, "rollout").raw
    turned = [own[1].replace("#1", "#-1"), own[0].replace("#0", "#-2")]
    found = camcore.explain(Shared(), x, 1, turned, "rollout").raw
    assert [*found] == turned[::-1]
    for one, other in zip(found.values(), expected.values(), strict=True):
        np.testing.assert_array_equal(one, other)
