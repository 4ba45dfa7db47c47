"""The NumPy model that the other tests stand on, and the check that adapters are held to."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.adapter import Adapter, LayerTrace
from camcore.errors import GradientError, InputError, LayerError
from camcore.testing import (
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    NumpyAdapter,
    Op,
    ReLU,
    check_adapter,
    random_network,
)

RNG = np.random.default_rng(0)
OPS = {
    "conv1d": (Conv(RNG.normal(size=(3, 2, 3)), RNG.normal(size=3)), (2, 2, 7)),
    "conv2d": (Conv(RNG.normal(size=(3, 2, 3, 2)), RNG.normal(size=3)), (2, 2, 5, 4)),
    "conv3d": (Conv(RNG.normal(size=(2, 1, 2, 3, 1)), RNG.normal(size=2)), (1, 1, 3, 4, 2)),
    "relu": (ReLU(), (2, 3, 4)),
    "pool": (GlobalAveragePool(), (2, 3, 4, 5)),
    "flatten": (Flatten(), (2, 3, 4)),
    "dense": (Dense(RNG.normal(size=(4, 3)), RNG.normal(size=4)), (2, 3)),
}


@pytest.mark.parametrize("name", OPS)
def test_a_pull_back_is_the_derivative(name):
    op, shape = OPS[name]
    rng = np.random.default_rng(1)
    x, direction = rng.normal(size=(2, *shape))
    cotangent = rng.normal(size=op.forward(x).shape)
    step = 1e-6 * direction
    slope = ((op.forward(x + step) - op.forward(x - step)) * cotangent).sum() / 2e-6
    assert (op.pull_back(x, cotangent) * direction).sum() == pytest.approx(slope, rel=1e-7)


def test_convolution_by_hand():
    # Sums over windows of 2 x 2, not turned round: the first weight meets the first value.
    conv = Conv(np.array([[[[1.0, 0], [0, 10]]]]), np.array([0.5]))
    image = np.arange(9.0).reshape(1, 1, 3, 3)
    np.testing.assert_array_equal(conv.forward(image), [[[[40.5, 51.5], [73.5, 84.5]]]])


@pytest.mark.parametrize("head", ["gap", "flatten", "deep"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_numpy_adapter_keeps_what_adapters_promise(rank, head):
    network = random_network(rank, head=head)
    assert isinstance(network, Adapter)
    images = np.random.default_rng(2).normal(size=(3, 2, *[8] * rank))
    for layer in ("conv1", "conv2"):
        check_adapter(network, images, layer, tolerance=1e-12)


class Broken(NumpyAdapter):
    """Breaks one promise."""

    def __init__(self, promise):
        super().__init__(**random_network(head="deep").ops)
        self.promise = promise

    def layers(self):
        layers = list(super().layers())
        return [*layers, layers[0]] if self.promise == "names" else layers

    def survey(self, inputs):
        records = super().survey(inputs)
        if self.promise == "survey":
            records = [replace(r, shape=(*r.shape[:-1], r.shape[-1] + 1)) for r in records]
        return records

    def run(self, inputs, layers=(), seeds=(), **options):
        trace = super().run(inputs, layers, seeds, **options)
        if self.promise == "batch":
            trace = replace(trace, outputs={"": trace.outputs[""] * len(inputs)})
        scale = {"gradient": 1.1, "scaled by the batch": 1 / len(inputs)}.get(self.promise, 1)
        scaled = {
            name: LayerTrace(one.activations, tuple(scale * g for g in one.gradients), "first")
            for name, one in trace.layers.items()
        }
        return replace(trace, layers=scaled)

    @contextmanager
    def resume(self, inputs, layer, *, logits=True):
        with super().resume(inputs, layer, logits=logits) as head:
            off = 1.0 if self.promise == "resume" else 0.0
            yield lambda activations: {"": head(activations)[""] + off}


@pytest.mark.parametrize(
    ("promise", "message"),
    [
        ("names", "layer names are not unique"),
        ("survey", r"survey\(\) and run\(\) shapes differ"),
        ("batch", "a sample alone and in its batch: outputs differ by"),
        ("scaled by the batch", "a sample alone and in its batch: gradients differ by"),
        ("gradient", "the gradient predicts a change of"),
        ("resume", "resuming from the layer's own activations differ by"),
    ],
)
def test_a_broken_promise_is_named(promise, message):
    images = np.random.default_rng(2).normal(size=(2, 2, 8, 8))
    with pytest.raises(AssertionError, match=message):
        check_adapter(Broken(promise), images, "conv2", tolerance=1e-9)
    with pytest.raises(AssertionError, match=r"layers\(\) does not name 'conv9'"):
        check_adapter(random_network(), images, "conv9", tolerance=1e-9)


def test_a_layer_that_runs_once_answers_to_its_first_and_last_call():
    network, images = random_network(), np.ones((1, 2, 8, 8))
    trace = network.run(images, ["conv2", "conv2#0", "conv2#-1", "@input"])
    np.testing.assert_array_equal(trace.layers["@input"].activations, images)
    for name in ("conv2#0", "conv2#-1"):
        same = trace.layers[name].activations
        np.testing.assert_array_equal(same, trace.layers["conv2"].activations)
    for name in ("conv2#1", "conv9"):
        with pytest.raises(LayerError, match=f"No layer '{name}' runs; there are conv1, relu1"):
            network.run(images, [name])


@pytest.mark.parametrize(
    ("rectifier", "expected"),
    # Where x > 0 and where g > 0: both, neither, or one of them.
    [(None, [1, -1, 0, 0]), ("guided", [1, 0, 0, 0])],
)
def test_rectifier_rules(rectifier, expected):
    network = NumpyAdapter(relu=ReLU(), flat=Flatten())
    images = np.array([[[1.0, 1.0, -1.0, -1.0]]])
    trace = network.run(
        images,
        ["@input"],
        [lambda leaves: {"": np.array([[1.0, -1.0, 1.0, -1.0]])}],
        rectifier=rectifier,
    )
    np.testing.assert_array_equal(trace.layers["@input"].gradients[0], [[expected]])


def test_a_pull_back_of_the_wrong_shape_is_an_error():
    class Wrong(Op):
        def forward(self, x):
            return x.sum(axis=2)

        def pull_back(self, x, cotangent):
            return cotangent

    network = NumpyAdapter(conv=OPS["conv1d"][0], wrong=Wrong())
    with pytest.raises(GradientError, match=r"shape \(2, 3\), the layer \(2, 3, 5\)"):
        camcore.explain(network, np.ones((2, 2, 7)), 0, "conv")


def test_an_unknown_head_is_refused():
    with pytest.raises(InputError, match="head='pool'; expected 'gap', 'flatten' or 'deep'"):
        random_network(head="pool")
