"""One network in every library on JAX: gradients against plain `jax.grad`, maps against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from jax_checks import METHODS, check_gradients, check_maps
from jax_nets import CASES

from camcore.errors import MethodError
from camcore.testing import PROMISES, Subject

STACKED = ["nnx", "linen", "equinox"]
"""Kinds whose loop runs the layers of one array."""


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
