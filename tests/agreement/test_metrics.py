"""Every framework gives the same value of every metric for the same network and photographs."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import camcore
from camcore.metrics import TABLE

METHODS = ("gradcam", "layercam")
HEAD = {"torch": "bn2", "keras": "head_relu", "jax": "head_relu", "onnx": "head_relu"}

COSTLY = ("road", "faithfulness_correlation", "infidelity", "arcc")
"""Metrics that score each map dozens of times: in PyTorch and Keras alone, of one method
and one photograph."""

LEFT_OUT = {"keras": (), "onnx": COSTLY, "jax": (*COSTLY, "max_sensitivity")}
"""What takes too long there; JAX convolves channel by channel slowly on processors."""


@pytest.fixture(scope="module")
def values(lite0, one_thread):
    """Values of metrics by framework, metric and method, of two photographs."""

    @functools.cache
    def evaluated(framework):
        own, left_out = lite0[framework], LEFT_OUT.get(framework, ())
        masks = np.zeros((2, 224, 224), bool)
        masks[:, 40:180, 60:170] = True
        boxes = [[(0, 0, 224, 224)], [(60, 40, 170, 180)]]
        classes = camcore.explain(own.model, own.images, layer=HEAD[framework]).classes.tolist()
        found = {}
        for count, methods, asked in (
            (2, METHODS, [name for name in TABLE if name not in (*COSTLY, *left_out)]),
            (1, METHODS[:1], [name for name in COSTLY if name not in left_out]),
        ):
            if asked:
                values = camcore.evaluate(
                    own.model,
                    own.images[:count],
                    classes[:count],
                    methods=methods,
                    metrics=asked,
                    layer=HEAD[framework],
                    masks=masks[:count],
                    boxes=boxes[:count],
                    controls=False,
                    steps=5,
                    # JAX compiles for each size of batch.
                    batch_size=2 if framework == "jax" else 32,
                ).values
                found |= {name: np.stack([values[m][name] for m in methods]) for name in asked}
        return found

    return evaluated


@pytest.mark.parametrize(
    ("name", "other"),
    [(name, other) for other in LEFT_OUT for name in TABLE if name not in LEFT_OUT[other]],
)
def test_metrics_agree(values, name, other):
    """Values are equal within 1e-4, those in percent within 1e-4 of their range, which is 1e-2.

    Of three photographs the largest difference to PyTorch is 8e-7, and 2e-4 of percents; the
    metrics that count positions or hits are the same.
    """
    expected, found = values("torch")[name], values(other)[name]
    near = 1e-2 if TABLE[name].label.endswith("%") else 1e-4
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=near)


@pytest.mark.parametrize("name", TABLE)
def test_metrics_tell_photographs_or_methods_apart(values, name):
    """What is compared is no constant of the metric, and no zero where it is a single number."""
    found = values("torch")[name]
    assert (np.abs(found) if name in COSTLY else np.ptp(found)) > (
        1 if TABLE[name].label.endswith("%") else 1e-3
    )
