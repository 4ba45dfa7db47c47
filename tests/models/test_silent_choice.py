"""The layer that is chosen is no head, and a gradient comes to it, at no further pass."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import camcore
from camcore.errors import PoorMapWarning
from camcore.layers import candidates
from camcore.targets import Class

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Counted(nn.Module):
    """Counts its passes in a list, which its shells share."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
        self.more = nn.Sequential(nn.Conv2d(6, 6, 3), nn.ReLU())
        self.fc = nn.Linear(6, 5)


class SumOfScores(Counted):
    """Coarse and fine scores of classes, added up as by LR-ASPP."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.Conv2d(6, 5, 1), nn.Conv2d(6, 5, 1)

    def forward(self, x):
        fine = self.body(x)
        coarse = self.more(F.max_pool2d(fine, 2))
        fine, coarse = self.low(fine), self.high(coarse)
        return F.interpolate(fine + F.interpolate(coarse, size=fine.shape[2:]), scale_factor=2)


class BestPlace(Counted):
    """The scores of the mean, and half the best at any place, as by VOLO."""

    def __init__(self):
        super().__init__()
        self.aside = nn.Linear(6, 5)

    def forward(self, x):
        seen = self.more(self.body(x)).flatten(2).mT
        return self.fc(seen.mean(1)) + 0.5 * self.aside(seen).max(1)[0]


class ScoresPooled(Counted):
    """A convolution of one place scores classes, and is pooled, as in SqueezeNet."""

    def __init__(self):
        super().__init__()
        self.score = nn.Sequential(nn.Dropout(), nn.Conv2d(6, 5, 1), nn.ReLU())
        nn.init.ones_(self.score[1].bias)

    def forward(self, x):
        return self.score(self.more(self.body(x))).mean((2, 3))


class Unused(Counted):
    """A branch runs last, and nothing is made of it, as in training only."""

    def __init__(self):
        super().__init__()
        self.aside = nn.Sequential(nn.Conv2d(6, 6, 3), nn.ReLU())

    def forward(self, x):
        seen = self.more(self.body(x))
        self.aside(seen)
        return self.fc(seen.mean((2, 3)))


class Cut(Unused):
    """A branch that no gradient comes to."""

    def forward(self, x):
        seen = self.more(self.body(x))
        return self.fc(seen.mean((2, 3)) + self.aside(seen).mean((2, 3)).detach())


class Corner(Unused):
    """A gradient of zeros: what the branch says is multiplied by none of it."""

    def forward(self, x):
        seen = self.more(self.body(x))
        return self.fc(seen.mean((2, 3)) + 0 * self.aside(seen).mean((2, 3)))


class Scales(Counted):
    """One head looks at two scales of a pyramid, as RetinaNet's does."""

    def __init__(self):
        super().__init__()
        self.inner, self.out3, self.out4 = (nn.Conv2d(6, 6, k, padding=k // 2) for k in (1, 3, 3))
        self.tower = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.boxes, self.classes = nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(6, 10, 3, padding=1)

    def forward(self, x):
        c3 = self.body(x)
        c4 = self.more(F.max_pool2d(c3, 2))
        p4 = self.inner(c4)
        p3 = self.out3(c3 + F.interpolate(p4, size=c3.shape[2:]))
        levels = [self.tower(p) for p in (p3, self.out4(p4))]
        return {
            "boxes": torch.cat([self.boxes(p).flatten(2) for p in levels], 2).mT,
            "classes": torch.cat([self.classes(p).flatten(2) for p in levels], 2).mT,
        }


def everything(outputs):
    return outputs["classes"].flatten(1).sum(1) if isinstance(outputs, dict) else outputs[:, 1]


TORCH = {
    SumOfScores: "more",
    BestPlace: "more",
    ScoresPooled: "more",
    Unused: "more",
    Cut: "more",
    Corner: "more",
    Scales: "inner",
}


@pytest.mark.parametrize(
    ("kind", "layer"), TORCH.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_torch_chooses_at_no_further_pass(kind, layer):
    torch.manual_seed(0)
    model, images, passes = kind().eval(), torch.randn(2, 3, 16, 16), []
    stem = model.body[0]
    stem.register_forward_hook(lambda module, args, output: passes.append(len(output)))
    score = lambda outputs: everything(outputs).reshape(2 if len(outputs) else 0, -1).sum(1)  # noqa: E731
    target = {Scales: everything, SumOfScores: score}.get(kind, Class(1))
    result = camcore.explain(model, images, target)
    assert list(result.raw) == [layer]
    assert passes == [1, 2]  # the survey's sample, and the batch
    seen = []
    hook = model.get_submodule(layer).register_forward_hook(lambda m, a, out: seen.append(out))
    outputs = model(images)
    hook.remove()
    own = everything(outputs) if kind is not SumOfScores else score(outputs)
    (gradient,) = torch.autograd.grad(own.sum(), seen[0])
    expected = (gradient.mean((2, 3), keepdim=True) * seen[0]).sum(1).detach().numpy()
    assert np.ptp(expected) > 1e-3 * np.abs(expected).max() > 0
    np.testing.assert_allclose(
        result.raw[layer], expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )
    del passes[:]
    camcore.explain(model, images, target)
    assert passes == [2]
    chosen = [one.layer.name for one in candidates(model, images) if one.chosen]
    assert chosen == [layer]
    # A method without gradients looks where the others do.
    assert list(camcore.explain(model, images, method="eigencam").raw) == [layer]


def test_explainer_names_the_layer_that_it_explains():
    torch.manual_seed(0)
    model, images = Corner().eval(), torch.randn(2, 3, 16, 16)
    assert camcore.Explainer(model).layers(images) == ("more",)


def keras_models(keras):
    """Models by the layer that is right."""
    layers, x = keras.layers, keras.Input((16, 16, 3))
    seen = layers.Conv2D(6, 3, activation="relu", name="seen")(x)
    mean = layers.GlobalAveragePooling2D()(seen)
    fc = layers.Dense(5)(mean)

    aside = layers.GlobalMaxPooling2D()(layers.Conv2D(5, 1, name="aside")(seen))
    yield "seen", keras.Model(x, layers.Add()([fc, aside]))

    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 1, name="scores")(seen))
    yield "seen", keras.Model(x, pooled)

    branch = layers.Conv2D(6, 3, activation="relu", name="branch")(seen)
    cut = layers.GlobalAveragePooling2D()(branch) * 0.0
    yield "seen", keras.Model(x, layers.Dense(5)(mean + cut))

    coarse = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="coarse")(seen)
    finer = layers.UpSampling2D(2)(layers.Conv2D(6, 1, name="inner")(coarse))
    tower = layers.Conv2D(6, 3, padding="same", activation="relu", name="tower")
    head = layers.Conv2D(8, 3, padding="same", name="box")
    levels = [
        layers.Reshape((-1, 4))(
            head(tower(layers.Conv2D(6, 3, padding="same", name=f"level{i}")(level)))
        )
        for i, level in enumerate([layers.Add()([seen, finer]), coarse])
    ]
    yield "coarse", keras.Model(x, layers.Concatenate(axis=1)(levels))


@pytest.mark.parametrize("index", range(4), ids=["best place", "scores pooled", "zeros", "scales"])
def test_tensorflow_chooses_no_head_and_no_flat_map(index):
    keras, tf = pytest.importorskip("keras"), pytest.importorskip("tensorflow")
    keras.utils.set_random_seed(0)
    layer, model = list(keras_models(keras))[index]
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    if len(model.output_shape) == 2:
        score = lambda outputs: outputs[:, 1]  # noqa: E731
    else:
        score = lambda outputs: tf.reduce_sum(outputs, (1, 2))  # noqa: E731
    result = camcore.explain(model, images, score)
    assert list(result.raw) == [layer]
    through = keras.Model(model.inputs, [model.get_layer(layer).output, model.output])
    with tf.GradientTape() as tape:
        seen, outputs = through(images)
        own = tf.reduce_sum(score(outputs))
    gradient = tape.gradient(own, seen)
    expected = tf.reduce_sum(tf.reduce_mean(gradient, (1, 2), keepdims=True) * seen, -1).numpy()
    scale = np.abs(expected).max()
    assert np.ptp(expected) > 1e-3 * scale > 0
    np.testing.assert_allclose(result.raw[layer], expected, rtol=0, atol=1e-5 * scale)


def warned(model, images, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        camcore.explain(model, images, 1, **options)
    return [str(one.message) for one in caught if one.category is PoorMapWarning]


def test_map_of_few_places_is_said_once_where_the_user_is():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()
    images = torch.randn(1, 3, 16, 16)
    with pytest.warns(PoorMapWarning, match=r"'1' has 2×2 places for an input of 16×16") as found:
        camcore.explain(model, images, 1)
    assert [one.filename for one in found] == [__file__]
    assert warned(model, images) == []
    assert warned(model, torch.randn(1, 3, 24, 24)) == []


def test_map_behind_no_gradient_is_said():
    torch.manual_seed(0)
    model, images = Corner().eval(), torch.randn(1, 3, 16, 16)
    (said,) = warned(model, images, layer="aside")
    assert said.startswith("The score's gradient is zero at every place of layer 'aside'")
    assert warned(model, images, layer="aside") == warned(model, images) == []
