"""One network in every library on JAX: gradients against plain `jax.grad`, maps against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from jax_nets import CASES, IMAGES, function, torch_model, weights

import camcore
from camcore.adapter import INPUT
from camcore.errors import MethodError
from camcore.testing import PROMISES, Subject

ABOUT_INPUT = ["integratedgradients", "guidedbackprop"]
STACKED = ["nnx", "linen", "equinox"]
"""Kinds whose loop runs the layers of one array."""

METHODS = [
    *("gradcam", "layercam", "eigencam", "ablationcam", "scorecam", "guidedgradcam"),
    *("shapleycam", "fullgrad", *ABOUT_INPUT),
]


def close(one, other, tolerance):
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape
    largest = np.abs(other).max()
    assert largest > 0
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * largest)


def of_class(index):
    """A seed: the score of one class."""

    def seed(leaves):
        return {"": np.eye(5, dtype=leaves[""].dtype)[[index] * len(leaves[""])]}

    return seed


def channels_last(array, case):
    """Bring what a layer returns into the layout of the plain network."""
    if not case.channels_first:
        return array
    if array.ndim == 3:
        return array.reshape(len(array), 8, 8, 8)
    return np.moveaxis(array, 1, -1)


def by_hand(name, dtype):
    """What `jax.grad` gives at a layer of the network in plain JAX, and a Hessian product there."""
    import jax
    import jax.numpy as jnp

    kept = {}

    def score(added, images):
        def mark(x, marked):
            if marked != name:
                return x
            kept["shape"] = x.shape
            return x + added

        return jnp.log(function(mark)(weights(dtype), images))

    images = jnp.asarray(IMAGES, dtype)
    score(0.0, images)
    zero = jnp.zeros(kept["shape"], dtype)

    def gap(added):
        found = score(added, images)
        return (found[:, 2] - found[:, 3]).sum()

    return jax.grad(gap)(zero)


def check_gradients(adapter, case, dtype, tolerance):
    """At the input of the untouched model, and at layers of the network in plain JAX."""
    import jax
    import jax.numpy as jnp

    def probabilities(images):
        return case.plain(images)[:, 2].sum()

    plain = jax.grad(probabilities)(jnp.asarray(case.images))
    trace = adapter.run(case.images, [INPUT], [of_class(2)], logits=False)
    close(trace.layers[INPUT].gradients[0], plain, tolerance)
    close(trace.outputs[""], case.plain(case.images), tolerance)
    assert trace.applied == {"": "softmax"}

    names = [name for group in case.layers.values() for name in group]
    trace = adapter.run(case.images, names, [of_class(2), of_class(3)])
    assert trace.activation == {"": "softmax"}
    for marked, group in case.layers.items():
        gaps = (np.subtract(*trace.layers[name].gradients) for name in group)
        found = sum(channels_last(gap, case) for gap in gaps)
        assert found.dtype == dtype
        close(found, by_hand(marked, dtype), tolerance)


def check_maps(model, case, methods, tolerance, dtype):
    """The same maps as PyTorch's adapter makes of the network with the same weights."""
    import torch

    from camcore_torch import backend

    other, first = backend.adapt(torch_model(dtype)), np.moveaxis(IMAGES, -1, 1).astype(dtype)
    for method in methods:
        where = None if method in ABOUT_INPUT else "block"
        ours = camcore.explain(model, case.images, layer=where, method=method, target=0)
        theirs = camcore.explain(other, torch.tensor(first), layer=where, method=method, target=0)
        close(ours.maps, theirs.maps, tolerance)
        for one, other_one in zip(ours.raw.values(), theirs.raw.values(), strict=True):
            close(one, other_one, tolerance)
        close(ours.scores, theirs.scores, tolerance)


@pytest.fixture(params=CASES)
def case(jax, request):
    return CASES[request.param]()


@pytest.fixture(params=["function", "nnx", "haiku"])
def double_case(jax, double, request):
    return CASES[request.param](np.float64)


def test_gradients_equal_plain_ones(backend, case):
    check_gradients(backend.adapt(case.model), case, np.float32, 1e-6)


def test_gradients_in_double_precision_equal_plain_ones(backend, double_case):
    check_gradients(backend.adapt(double_case.model), double_case, np.float64, 1e-13)


@pytest.fixture(scope="module", params=CASES)
def subject(jax, request):
    from camcore_jax import backend

    case = CASES[request.param]()
    return Subject(backend.adapt(case.model), case.images, "block", 1e-5)


@pytest.mark.parametrize("words", PROMISES)
def test_every_kind_keeps_every_promise(request, subject, words):
    subject.adapter.survey(subject.inputs)
    if request.node.callspec.params["subject"] in STACKED and words.startswith("The classifier"):
        with pytest.raises(MethodError, match=r"Layer 'step.*' has the weights of several in one"):
            subject.adapter.biases()
    else:
        PROMISES[words](subject)


def test_maps_equal_those_of_torch(torch, backend, double_case):
    adapter = backend.adapt(double_case.model)
    is_haiku = type(double_case.model).__name__ == "Haiku"  # where no biases are one array
    methods = [method for method in METHODS if method != "fullgrad" or is_haiku]
    check_maps(adapter, double_case, methods, 1e-10, np.float64)


def test_maps_in_single_precision_are_near_those_of_torch(torch, backend, case):
    methods = [method for method in METHODS if method != "fullgrad"]
    check_maps(backend.adapt(case.model), case, methods, 1e-5, np.float32)
