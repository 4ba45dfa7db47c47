"""Guided IG, Blur IG and XRAI against PAIR's installed ``saliency``, which runs any model."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.adapter import INPUT
from camcore.methods.regions import segmented
from camcore.resize import resize
from camcore.targets import Class
from camcore.testing import random_network

TARGET = 2


def images(size, count=1):
    """Blobs rather than noise, so that there are edges to segment, of two channels."""
    coarse = np.random.default_rng(0).normal(size=(count, 2, 5, 5))
    return resize(coarse, size)


@pytest.fixture(scope="module")
def network():
    return random_network(head="gap")


@pytest.fixture(scope="module")
def call_model(network):
    """The network as the library calls it: channels last, one class."""

    def call(batch, call_model_args=None, expected_keys=None):
        given = np.moveaxis(np.asarray(batch), -1, 1)
        trace = network.run(
            given, [INPUT], [lambda leaves: {"": Class(TARGET)(leaves[""]).cotangent}]
        )
        return {expected_keys[0]: np.moveaxis(trace.layers[INPUT].gradients[0], 1, -1)}

    return call


@pytest.fixture
def library(require, monkeypatch):
    core = require("saliency.core")

    class NumPy:
        """NumPy as the library knows it: the option was renamed, and then removed."""

        def __getattr__(self, name):
            return getattr(np, name)

        @staticmethod
        def quantile(values, share, interpolation):
            return np.quantile(values, share, method=interpolation)

    monkeypatch.setattr(require("saliency.core.guided_ig"), "np", NumPy())
    return core


def ours(network, given, method, **options):
    result = camcore.explain(network, given, TARGET, method=method, **options)
    return result.raw["@input"][0], result.by_channel


def close(found, expected, tolerance=1e-6):
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"steps": 30, "max_dist": 1.0},
        {"steps": 30, "max_dist": 0.0},
        {"steps": 25, "max_dist": 0.3, "fraction": 0.1},
    ],
    ids=["as they are", "free", "straight", "narrow"],
)
def test_guided_ig(library, network, call_model, options):
    given = images((20, 24))
    theirs = {"x_steps" if name == "steps" else name: value for name, value in options.items()}
    expected = library.GuidedIG().GetMask(np.moveaxis(given[0], 0, -1), call_model, **theirs)
    found, channels = ours(network, given, "guidedig", **options)
    close(channels[0], np.moveaxis(expected, -1, 0))
    close(found, expected.sum(axis=-1))


@pytest.mark.parametrize("options", [{}, {"steps": 20, "max_sigma": 3, "grad_step": 0.1}])
def test_blur_ig(library, network, call_model, options):
    given = images((20, 24))
    expected = library.BlurIG().GetMask(np.moveaxis(given[0], 0, -1), call_model, **options)
    found, channels = ours(network, given, "blurig", **options)
    close(channels[0], np.moveaxis(expected, -1, 0))
    close(found, expected.sum(axis=-1))


def test_xrai(library, network, call_model):
    given = images((64, 80))
    settings = library.XRAIParameters(steps=20)
    expected = library.XRAI().GetMask(
        np.moveaxis(given[0], 0, -1), call_model, extra_parameters=settings
    )
    found, _ = ours(network, given, "xrai", steps=20)
    assert len(np.unique(found)) > 4
    close(found, expected)  # the library adds gradients up in single precision


def test_segments_of_xrai(library):
    image = images((64, 80))[0]
    expected = library.xrai._get_segments_felzenszwalb(np.moveaxis(image, 0, -1))
    # Labels that enlarging left out are regions of no place there.
    np.testing.assert_array_equal(segmented(image), [one for one in expected if one.any()])


@pytest.mark.parametrize("least", [1, 50, 300])
def test_regions_of_xrai(library, least):
    rng = np.random.default_rng(1)
    attribution, regions = rng.normal(size=(30, 40)), rng.random((25, 30, 40)) > 0.7
    expected, _ = library.XRAI()._xrai(attribution, list(regions), min_pixel_diff=least)
    close(methods.regions.gathered(attribution, regions, least), expected, 1e-12)
