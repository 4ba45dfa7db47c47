"""Every framework gives the same value of every metric for the same network and photographs."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import camcore
from camcore.metrics import TABLE

METHODS = ("gradcam", "layercam")
HEAD = {"torch": "bn2", "keras": "head_relu", "jax": "head_relu", "onnx": "head_relu"}

COSTLY = {"road", "faithfulness_correlation", "infidelity", "arcc"}
"""Metrics that score each map dozens of times, which are compared in PyTorch and Keras alone."""


@pytest.fixture(scope="module")
def values(lite0, one_thread):
    """Values of metrics by framework, of two photographs: all that are not too costly there."""

    @functools.cache
    def evaluated(framework):
        own = lite0[framework]
        masks = np.zeros((2, 224, 224), bool)
        masks[:, 40:180, 60:170] = True
        left_out = set() if framework in ("torch", "keras") else COSTLY
        return camcore.evaluate(
            own.model,
            own.images[:2],
            methods=METHODS,
            metrics=[name for name in TABLE if name not in left_out],
            layer=HEAD[framework],
            masks=masks,
            controls=False,
            steps=5,
        ).values

    return evaluated


@pytest.mark.parametrize(
    ("name", "other"),
    [(n, o) for o in ("keras", "onnx", "jax") for n in TABLE if o == "keras" or n not in COSTLY],
)
def test_metrics_agree(values, name, other):
    """Values are equal within 1e-4, those in percent within 1e-4 of their range, which is 1e-2.

    Of three photographs the largest difference to PyTorch is 8e-7, and 2e-4 of percents; the
    metrics that count positions or hits are the same.
    """
    expected, found = values("torch"), values(other)
    near = 1e-2 if TABLE[name].label.endswith("%") else 1e-4
    for method in METHODS:
        assert np.isfinite(expected[method][name]).all()
        np.testing.assert_allclose(found[method][name], expected[method][name], rtol=0, atol=near)


@pytest.mark.parametrize("name", TABLE)
def test_metrics_tell_photographs_or_methods_apart(values, name):
    """The photographs are such that what is compared is no constant of the metric."""
    found = np.stack([values("torch")[method][name] for method in METHODS])
    assert np.ptp(found) > (1 if TABLE[name].label.endswith("%") else 1e-3)
