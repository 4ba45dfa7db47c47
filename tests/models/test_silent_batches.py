"""Batch sizes that a model insists on, and what people hold in place of a model."""

from __future__ import annotations

import functools
import pathlib

import numpy as np
import pytest
from architectures.shapes_keras import pictures

import camcore
from camcore.errors import BackendError, LayerError, MethodError


def apart(one, other):
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    assert one.shape == other.shape
    return float(np.abs(one - other).max() / np.abs(other).max())


def plain(torch, seed=0):
    nn = torch.nn
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    ).eval()


def of(torch, forward):
    """A model that puts its parts together in a way of its own."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            whole = plain(torch)
            self.body, self.fc = whole[:4], whole[6]

        def forward(self, x):
            return forward(self, x)

    return Net().eval()


def baked_in(torch):
    """Two samples, whatever comes."""
    return of(torch, lambda m, x: m.fc(m.body(x).reshape(2, 8, -1).mean(2)))


def checked(torch):
    def forward(m, x):
        assert len(x) == 2, "two samples, please"
        return m.fc(m.body(x).mean((2, 3)))

    return of(torch, forward)


def rows_of_clips(torch):
    """Rows are the two frames of a clip each."""
    return of(torch, lambda m, x: m.fc(m.body(x).reshape(-1, 2, 8, 8, 8).mean((1, 3, 4))))


def exported(torch):
    return torch.export.export(plain(torch), (torch.rand(2, 3, 32, 32),))


def exported_for_any(torch):
    several = torch.export.Dim("several", min=1, max=64)
    example = (torch.rand(2, 3, 32, 32),)
    return torch.export.export(plain(torch), example, dynamic_shapes=({0: several},))


def unflattened(torch):
    return torch.export.unflatten(exported(torch))


IN_TORCH = [
    (baked_in, "body"),
    (checked, "body"),
    (exported, "3"),
    (exported_for_any, "3"),
    (unflattened, "3"),
]


def by_hand(torch, inputs, rows=lambda pooled: pooled):
    """Grad-CAM of class 1 after the last rectifier."""
    model = plain(torch)
    features = model[:4](inputs).detach().requires_grad_()
    scores = model[6](rows(features.mean((2, 3))))[:, 1]
    (gradients,) = torch.autograd.grad(scores.sum(), features)
    weighed = (gradients.mean((2, 3), keepdim=True) * features).sum(1)
    return weighed.detach().numpy(), scores.detach().numpy()


@pytest.mark.parametrize(("make", "layer"), IN_TORCH, ids=lambda x: getattr(x, "__name__", x))
def test_a_torch_model_of_one_batch_size_has_its_layers_found(torch, make, layer):
    inputs = torch.rand(2, 3, 32, 32)
    raw, scores = by_hand(torch, inputs)
    found = camcore.explain(make(torch), inputs, 1)
    assert list(found.raw) == [layer]
    assert apart(found.raw[layer], raw) < 1e-5
    assert apart(found.scores, scores) < 1e-5


def test_rows_that_belong_together_are_surveyed_together(torch):
    inputs = torch.rand(4, 3, 32, 32)
    raw, _ = by_hand(torch, inputs, lambda pooled: pooled.reshape(2, 2, 8).mean(1))
    found = camcore.Explainer(rows_of_clips(torch)).evidence(inputs, 1)
    assert found.layer == "body"
    weighed = (found.gradients.mean((2, 3), keepdims=True) * found.activations).sum(1)
    assert apart(weighed, raw) < 1e-5


@pytest.mark.parametrize("make", [baked_in, checked, exported], ids=lambda make: make.__name__)
@pytest.mark.parametrize("method", ["scorecam", "occlusion", "rise"])
def test_altered_inputs_come_in_batches_of_the_models_size(torch, make, method):
    inputs, options = torch.rand(2, 3, 32, 32), {"rise": {"masks": 7}}.get(method, {})
    found = camcore.explain(make(torch), inputs, 1, method=method, **options)
    expected = camcore.explain(plain(torch), inputs, 1, method=method, **options)
    for here, there in zip(found.raw.values(), expected.raw.values(), strict=True):
        assert apart(here, there) < 1e-5


@pytest.mark.parametrize("make", [baked_in, checked, exported], ids=lambda make: make.__name__)
def test_alterations_of_several_samples_come_in_batches_of_the_models_size(torch, make):
    inputs, altered = torch.rand(2, 3, 32, 32), np.random.default_rng(0).random((5, 3, 32, 32))
    altered, samples = altered.astype(np.float32), np.array([1, 0, 1, 1, 0])
    found, expected = (
        camcore.Explainer(model(torch)).evidence(inputs, [0, 1]).score_images.many(samples, altered)
        for model in (make, plain)
    )
    assert apart(found, expected) < 1e-5


@pytest.mark.parametrize("make", [checked, exported], ids=lambda make: make.__name__)
def test_what_needs_a_single_sample_says_so(torch, make):
    with pytest.raises(MethodError, match=r"takes a batch of 2 and no single sample.*any batch"):
        camcore.explain(make(torch), torch.rand(2, 3, 32, 32), 1, method="reciprocam")


def test_an_exported_program_is_brought_back_once(torch):
    program = exported(torch)
    adapters = [camcore.registry.adapter(program) for _ in range(2)]
    assert adapters[0].model is adapters[1].model
    with pytest.raises(BackendError, match="exported in one mode"):
        camcore.Explainer(program, mode="train")


def flat(torch):
    return exported_for_any(torch).module()


def scripted_inside(torch):
    class Holds(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.jit.trace(plain(torch), torch.rand(2, 3, 32, 32))

        def forward(self, x):
            return self.inner(x)

    return Holds()


def copying(torch):
    """Runs a copy of what it holds, as predictors do."""
    import copy

    class Predictor(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = plain(torch)

        def forward(self, x):
            return copy.deepcopy(self.net)(x)

    return Predictor()


def making(torch):
    class Makes(torch.nn.Module):
        def forward(self, x):
            return plain(torch)(x)

    return Makes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (flat, r"flat graph.*Explain the exported program itself"),
        (scripted_inside, r"TorchScript \(inner.*traced from"),
        (copying, r"Explain the one that computes: model\.net \(Sequential\)"),
        (making, "makes its modules while it runs"),
    ],
    ids=["flat", "scripted", "copying", "making"],
)
def test_a_model_without_layers_in_sight_names_the_way_out(torch, make, message):
    with pytest.raises(LayerError, match=message):
        camcore.explain(make(torch), torch.rand(2, 3, 32, 32), 1)


def quantised(torch):
    """Quantised with fixed scales, as for a phone."""
    from torch.ao import quantization as q

    engines = torch.backends.quantized.supported_engines
    torch.backends.quantized.engine = next(e for e in engines if e != "none")
    model = q.QuantWrapper(plain(torch))
    model.qconfig = q.get_default_qconfig(torch.backends.quantized.engine)
    q.prepare(model, inplace=True)
    model(torch.rand(4, 3, 32, 32))
    return q.convert(model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_activations_are_read_by_methods_without_gradients(torch):
    model, inputs, kept = quantised(torch), torch.rand(2, 3, 32, 32), []
    hook = model.module[3].register_forward_hook(lambda m, a, out: kept.append(out.dequantize()))
    model(inputs)
    hook.remove()
    found = camcore.explain(model, inputs, 1, "module.3", ["eigencam", "activations"])
    assert apart(found["activations"].raw["module.3"], kept[0].mean(1)) < 1e-6
    expected = camcore.methods.eigencam(kept[0].numpy())
    assert apart(found["eigencam"].raw["module.3"], expected) < 1e-4
    scored = camcore.explain(model, inputs, 1, "module.3", "scorecam")
    assert not scored.empty.any()
    with pytest.raises(LayerError, match=r"no gradients.*method='eigencam', 'scorecam'"):
        camcore.explain(model, inputs, 1, "module.3")


def keras_net(keras, kind):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    conv, fc = layers.Conv2D(8, 3, activation="relu", name="conv"), layers.Dense(4)

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = conv, fc

        def call(self, x, training=None):
            h = self.conv(x)
            if kind == "checked" and x.shape[0] != 4:
                raise ValueError("four samples, please")
            rows = (4, 900, 8) if kind == "baked in" else (-1, 900, 8)
            return self.fc(keras.ops.mean(keras.ops.reshape(h, rows), 1))

    if kind != "declared":
        return Net()
    x = keras.Input(batch_shape=(4, 32, 32, 3))
    return keras.Model(x, fc(layers.GlobalAveragePooling2D()(conv(x))))


@pytest.mark.parametrize("kind", ["declared", "baked in", "checked"])
def test_a_keras_model_of_one_batch_size_has_its_layers_found(keras, kind):
    model, inputs = keras_net(keras, kind), pictures(4)
    model(inputs)
    found = camcore.explain(model, inputs, 1, method=["gradcam", "scorecam"])
    features = np.array(model.get_layer("conv")(inputs)).astype(np.float64)
    kernel = np.array(model.layers[-1].kernel)[:, 1] / 900
    assert apart(found["gradcam"].raw["conv"], features @ kernel) < 1e-5
    twin = keras_net(keras, "any")
    twin(inputs)
    twin.set_weights(model.get_weights())
    expected = camcore.explain(twin, inputs, 1, method="scorecam")
    assert apart(found["scorecam"].raw["conv"], expected.raw["conv"]) < 1e-5


def test_a_saved_model_in_a_layer_names_the_way_out(keras, tmp_path):
    keras_net(keras, "declared").export(str(tmp_path / "saved"), verbose=False)
    inner = keras.layers.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serve")
    outer = keras.Sequential([keras.Input(batch_shape=(4, 32, 32, 3)), inner])
    for model in (inner, outer):
        with pytest.raises(LayerError, match=r"runs a SavedModel.*\.keras or \.h5"):
            camcore.explain(model, pictures(4), 1)


def test_what_is_no_model_names_what_to_give(torch, tf, keras, tmp_path):
    model = keras_net(keras, "declared")
    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"))
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    lite = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    named = {
        "no signature, which says what a SavedModel takes": saved,
        "Keras model that the function calls": tf.function(model),
        "TFLite interpreter keeps no gradients": tf.lite.Interpreter(model_content=lite),
        "the method belongs to": model.predict,
        "model that the function calls": functools.partial(model),
        "load it with torch.load": pathlib.Path("model.pt"),
        "load them into it": plain(torch).state_dict(),
        "nn.Module that was traced": torch.jit.trace(torch.square, torch.ones(2)),
    }
    for message, thing in named.items():
        with pytest.raises(BackendError, match=message):
            camcore.explain(thing, pictures(4), 1)


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_integer_inputs_get_advice_that_can_be_followed(torch, keras, framework):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3)).astype(np.uint8)
    if framework == "torch":
        model = of(torch, lambda m, x: m.fc(m.body(x.float() / 255).mean((2, 3))))
        inputs = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    else:
        x = keras.Input((32, 32, 3), dtype="uint8")
        h = keras.layers.Conv2D(8, 3, name="conv")(keras.layers.Rescaling(1 / 255)(x))
        model = keras.Model(x, keras.layers.Dense(4)(keras.layers.GlobalMaxPooling2D()(h)))
        inputs = pixels
    advice = r"no.* floating .*method='gradcam'.*method='occlusion'"
    with pytest.raises(LayerError, match=advice):
        camcore.explain(model, inputs, 1, method="saliency")
    for method in ("gradcam", "occlusion"):
        assert not camcore.explain(model, inputs, 1, method=method).empty.all()
