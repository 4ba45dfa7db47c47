"""What the numbers beside a map mean: probabilities where it is known, else scores as they are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import camcore
import camcore.zoo
from camcore.errors import InputError, TargetError
from camcore.targets import LogProbability, Probability

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
HEAD = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def share(z):
    """What sums to one without a softmax that could be seen."""
    return (z - z.min() + 1) / (z - z.min() + 1).sum(axis=1, keepdims=True)


A = np.maximum(IMAGES.astype(float), 0)
"""What the layer returns: the rectified image."""
Z = A.mean((2, 3)) @ HEAD.T


def torch_model(torch, end=lambda z: z, *, loss=None, problem=None):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.see, self.say = nn.ReLU(), nn.Linear(3, 4, bias=False)
            if loss is not None:
                self.criterion = loss
            if problem is not None:
                self.config = SimpleNamespace(problem_type=problem)

        def forward(self, x):
            return end(self.say(self.see(x).mean((2, 3))))

    model = Model().eval()
    with torch.no_grad():
        model.say.weight.copy_(torch.from_numpy(HEAD))
    return model, IMAGES


def keras_model(keras, end=None, *, loss=None, problem=None, labels=4):
    layers = keras.layers
    x = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.ReLU(name="see")(x))
    say = layers.Dense(labels, use_bias=False)
    y = say(pooled)
    model = keras.Model(x, end(layers)(y) if end else y)
    say.set_weights([HEAD.T[:, :labels]])
    if loss is not None:
        model.compile(loss=loss)
    if problem is not None:
        model.config = SimpleNamespace(problem_type=problem)
    return model, IMAGES.transpose(0, 2, 3, 1)


TORCH = {
    "logits": (lambda t: torch_model(t), None),
    "softmax at the end": (lambda t: torch_model(t, lambda z: z.softmax(1)), softmax(Z)),
    "at a temperature": (lambda t: torch_model(t, lambda z: (z / 2).softmax(1)), softmax(Z / 2)),
    "log-softmax": (lambda t: torch_model(t, lambda z: z.log_softmax(1)), softmax(Z)),
    "sigmoids at the end": (lambda t: torch_model(t, lambda z: z.sigmoid()), sigmoid(Z)),
    "adding up to one": (lambda t: torch_model(t, share), share(Z)),
    "cross-entropy held": (lambda t: torch_model(t, loss=t.nn.CrossEntropyLoss()), softmax(Z)),
    "BCE held": (lambda t: torch_model(t, loss=t.nn.BCEWithLogitsLoss()), sigmoid(Z)),
    "MSE held": (lambda t: torch_model(t, loss=t.nn.MSELoss()), None),
    "several labels": (lambda t: torch_model(t, problem="multi_label_classification"), sigmoid(Z)),
    "one label": (lambda t: torch_model(t, problem="single_label_classification"), softmax(Z)),
    "a regression": (lambda t: torch_model(t, problem="regression"), None),
    "no problem": (lambda t: torch_model(t, problem=None), None),
}


def bce(k, **options):
    return k.losses.BinaryCrossentropy(**options)


KERAS = {
    "logits": (lambda k: keras_model(k), None),
    "softmax at the end": (lambda k: keras_model(k, lambda L: L.Softmax()), softmax(Z)),
    "sigmoids at the end": (
        lambda k: keras_model(k, lambda L: L.Activation("sigmoid")),
        sigmoid(Z),
    ),
    "BCE of logits": (lambda k: keras_model(k, loss=bce(k, from_logits=True)), sigmoid(Z)),
    "sparse CE of logits": (
        lambda k: keras_model(k, loss=k.losses.SparseCategoricalCrossentropy(from_logits=True)),
        softmax(Z),
    ),
    "focal CE of logits, in a list": (
        lambda k: keras_model(k, loss=[k.losses.CategoricalFocalCrossentropy(from_logits=True)]),
        softmax(Z),
    ),
    # Of probabilities: numbers outside of [0, 1] are none, whatever the loss takes.
    "BCE of probabilities": (lambda k: keras_model(k, loss="binary_crossentropy"), None),
    "sigmoids out of sight, by BCE": (
        lambda k: keras_model(k, lambda L: calibrated(L), loss="binary_crossentropy"),
        0.1 + 0.8 * sigmoid(Z),
    ),
    "calibrated, by nothing": (lambda k: keras_model(k, lambda L: calibrated(L)), None),
    "mean squared error": (lambda k: keras_model(k, loss="mse"), None),
    "a loss of one's own": (lambda k: keras_model(k, loss=own_loss), None),
    "several labels": (lambda k: keras_model(k, problem="multi_label_classification"), sigmoid(Z)),
}


def calibrated(layers):
    """Independent probabilities that no sigmoid ends in: 0.86 is 0.86, not a share of 19 %."""
    return lambda y: layers.Rescaling(0.8, 0.1)(layers.Activation("sigmoid")(y))


def own_loss(y, z):
    return (y - z) ** 2


CASES = [
    *(pytest.param("torch", *case, id=f"torch: {name}") for name, case in TORCH.items()),
    *(
        pytest.param(framework, *case, id=f"{framework}: {name}")
        for framework in ("keras", "tf_keras")
        for name, case in KERAS.items()
    ),
]


def made(framework, make, request, require):
    if framework != "torch":
        request.getfixturevalue("keras")
    return make(request.getfixturevalue("torch") if framework == "torch" else require(framework))


@pytest.mark.parametrize(("framework", "make", "expected"), CASES)
def test_probabilities_are_given_where_it_is_known_what_makes_them(
    framework, make, expected, request, require
):
    model, images = made(framework, make, request, require)
    for options in ({}, {"method": "eigencam"}, {"score": "output"}):
        result = camcore.explain(model, images, layer="see", **options)
        if expected is None:
            assert result.probabilities is None
            best = np.sort(result.outputs, axis=1)[:, :-3:-1]
        else:
            np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)
            best = np.sort(expected, axis=1)[:, :-3:-1]
        found = [[number for _, number in row] for row in result.top(2)]
        np.testing.assert_allclose(found, best, rtol=1e-5)


@pytest.mark.parametrize(
    ("said", "expected"), [("softmax", softmax(Z)), ("sigmoid", sigmoid(Z)), ("none", None)]
)
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_what_is_said_tells_what_the_scores_are(framework, said, expected, request, require):
    make = torch_model if framework == "torch" else keras_model
    model, images = made(framework, make, request, require)
    result = camcore.explain(model, images, layer="see", activation=said)
    np.testing.assert_allclose(result.outputs, Z, rtol=1e-5, atol=1e-6)
    assert result.activation == said
    if expected is None:
        assert result.probabilities is None
    else:
        np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)


@pytest.mark.parametrize("target", [Probability, LogProbability])
@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize("end", ["sigmoid", "softmax", "said", "unknown", "adding up to one"])
def test_a_probability_is_the_one_that_the_model_means(framework, end, target, request, require):
    """Gradients by hand: of a label σ(1 − σ) e_c, of a share p_c (e_c − p)."""
    ends = {
        "sigmoid": (lambda z: z.sigmoid(), lambda L: L.Activation("sigmoid")),
        "softmax": (lambda z: z.softmax(1), lambda L: L.Softmax()),
        # What is made of sigmoids adds up to one here, so it is explained as it is.
        "adding up to one": (halves_in_torch, halves_in_keras),
    }
    in_torch, in_keras = ends.get(end, (lambda z: z, None))
    if framework == "torch":
        model, images = torch_model(request.getfixturevalue("torch"), in_torch)
    else:
        model, images = keras_model(request.getfixturevalue("keras"), in_keras)
    options = {"activation": "sigmoid"} if end == "said" else {}
    result = camcore.explain(model, images, target(2), "see", **options)
    hot = np.eye(4)[2]
    if end in ("sigmoid", "said"):
        p, slope = sigmoid(Z)[:, 2], (sigmoid(Z) * (1 - sigmoid(Z)))[:, 2:3] * hot
    elif end == "adding up to one":
        s = sigmoid(Z)
        p = s[:, 2] / 2
        slope = (s * (1 - s))[:, 2:3] * hot / 2
    else:
        p = softmax(Z)[:, 2]
        slope = p[:, None] * (hot - softmax(Z))
    if target is LogProbability:
        p, slope = np.log(p), slope / p[:, None]
    np.testing.assert_allclose(result.scores, p, rtol=1e-5)
    # At the rectifier each channel's gradient is the same everywhere: Grad-CAM is linear.
    weights = slope @ HEAD / A[0, 0].size
    expected = np.einsum("bc,bchw->bhw", weights, A)
    np.testing.assert_allclose(
        result.raw["see"], expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


def halves_in_torch(z):
    """Two sigmoids and what they leave of one, each halved: columns 0 and 1 are 1 − p."""
    import torch

    p = torch.sigmoid(z[:, 2:])
    return torch.cat([1 - p, p], 1) / 2


def halves_in_keras(layers):
    import keras

    def end(y):
        p = keras.ops.sigmoid(y[:, 2:])
        return keras.ops.concatenate([1 - p, p], 1) / 2

    return lambda y: end(y)


def test_a_loss_is_known_by_the_output_that_it_is_for(keras):
    layers = keras.layers
    x = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.ReLU(name="see")(x))
    heads = [layers.Dense(4, use_bias=False, name=name) for name in ("kind", "tags", "age")]
    model = keras.Model(x, [head(pooled) for head in heads])
    for head in heads:
        head.set_weights([HEAD.T])
    losses = {
        "kind": keras.losses.CategoricalCrossentropy(from_logits=True),
        "tags": keras.losses.BinaryCrossentropy(from_logits=True),
        "age": "mse",
    }
    expected = [softmax(Z), sigmoid(Z), None]
    for loss in (losses, list(losses.values())):
        model.compile(loss=loss)
        for output, probabilities in enumerate(expected):
            result = camcore.explain(
                model, IMAGES.transpose(0, 2, 3, 1), layer="see", output=str(output)
            )
            if probabilities is None:
                assert result.probabilities is None
            else:
                np.testing.assert_allclose(result.probabilities, probabilities, rtol=1e-5)


def test_a_model_compiled_anew_is_read_anew(keras):
    model, images = keras_model(keras)
    assert camcore.explain(model, images, layer="see").probabilities is None
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    found = camcore.explain(model, images, layer="see").probabilities
    np.testing.assert_allclose(found, sigmoid(Z), rtol=1e-5)


@pytest.mark.parametrize(
    ("from_logits", "said", "expected"), [(True, "sigmoid", sigmoid(Z)), (False, None, None)]
)
def test_a_saved_model_is_known_by_the_loss_in_its_file(
    keras, tmp_path, from_logits, said, expected
):
    model, images = keras_model(keras, loss=bce(keras, from_logits=from_logits))
    model.save(tmp_path / "model.keras")
    loaded = camcore.zoo.load_model(str(tmp_path / "model.keras"))
    assert loaded.activation == said
    found = camcore.explain(loaded.model, images, **loaded.defaults).probabilities
    if expected is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_hugging_face_says_several_labels(torch, require):
    transformers = require("transformers")
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        image_size=16,
        patch_size=8,
        num_labels=18,
        problem_type="multi_label_classification",
    )
    model = transformers.ViTForImageClassification(config).eval()
    images = torch.rand(2, 3, 16, 16)
    result = camcore.explain(model, {"pixel_values": images})
    with torch.no_grad():
        expected = model(images).logits.sigmoid().numpy()
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)
    config.problem_type = None
    assert camcore.explain(model, {"pixel_values": images}).probabilities is None


def test_words_that_contradict_are_errors(torch):
    softmaxed, images = torch_model(torch, lambda z: z.softmax(1))
    with pytest.raises(TargetError, match=r"activation='sigmoid' was said, but .* in a softmax"):
        camcore.explain(softmaxed, images, activation="sigmoid")
    with pytest.raises(InputError, match="activation='tanh'; expected 'softmax', 'sigmoid' or"):
        camcore.Explainer(softmaxed, activation="tanh")
    with pytest.raises(InputError, match="activation='none' says that there is none"):
        camcore.Explainer(softmaxed, activation="none", score="logit")
    said = camcore.explain(softmaxed, images, layer="see", activation="softmax")
    np.testing.assert_allclose(said.probabilities, softmax(Z), rtol=1e-5)


def test_a_saved_explanation_keeps_what_its_numbers_are(torch, tmp_path):
    model, images = torch_model(torch, lambda z: z.sigmoid())
    for options in ({}, {"score": "output"}, {"activation": "none"}):
        result = camcore.explain(model, images, layer="see", **options)
        result.save(tmp_path / "one.npz")
        loaded = camcore.load(tmp_path / "one.npz")
        assert (loaded.activation, loaded.applied) == (result.activation, result.applied)
        assert loaded.top(3) == result.top(3)
        assert (loaded.probabilities is None) == (options == {"activation": "none"})
