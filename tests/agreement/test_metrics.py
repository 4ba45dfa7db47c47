"""Metrics of one network's maps, in each framework."""

from __future__ import annotations

import numpy as np
import pytest

import camcore

LAYER = {"torch": "bn2", "keras": "head_relu"}
METRICS = ("deletion", "insertion", "average_drop", "average_gain", "road", "coherency", "adcc")


@pytest.fixture(scope="module")
def evaluations(lite0, require):
    for package in ("scipy", "skimage"):
        require(package)
    return [
        camcore.evaluate(
            *(lite0[framework].model, lite0[framework].images[:2]),
            methods="gradcam",
            metrics=METRICS,
            layer=layer,
            controls=False,
            steps=5,
        )
        for framework, layer in LAYER.items()
    ]


@pytest.mark.parametrize("metric", METRICS)
def test_numbers_are_those_of_the_other_framework(evaluations, metric):
    one, other = (evaluation.values["gradcam"][metric] for evaluation in evaluations)
    # Of a probability, or of the share that these are the percentage of.
    scale = 1 if metric in ("deletion", "insertion", "road") else 100
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * scale)
