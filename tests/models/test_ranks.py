"""Signals, video and volumes: several methods, at the size of the input, by their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from architectures import by_hand, ranks

import camcore


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference relative to the largest value."""
    assert one.shape == other.shape
    scale = np.abs(other).max()
    assert scale > 0
    return float(np.abs(one - other).max() / scale)


def over_space(array: np.ndarray) -> np.ndarray:
    """Sum over all but batch and channel, those axes kept as ones."""
    return array.sum(tuple(range(2, array.ndim)), keepdims=True)


def leading_component(activations: np.ndarray) -> np.ndarray:
    """Projection of each sample's places on their first principal direction."""
    maps = []
    for sample in activations.astype(np.float64):
        places = sample.reshape(len(sample), -1).T
        left, singular, _ = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
        maps.append((left[:, 0] * singular[0]).reshape(sample.shape[1:]))
    return np.abs(maps)


FORMULAS = {
    "gradcam": lambda a, g: (over_space(g) / g[0, 0].size * a).sum(1),
    "xgradcam": lambda a, g: (over_space(g * a) / np.maximum(over_space(a), 1e-30) * a).sum(1),
    "hirescam": lambda a, g: (g * a).sum(1),
    "layercam": lambda a, g: (np.maximum(g, 0) * a).sum(1),
    "elementwisegradcam": lambda a, g: np.maximum(g * a, 0).sum(1),
    "eigencam": lambda a, g: leading_component(a),
}


@pytest.mark.parametrize("row", ranks.ARCHITECTURES, ids=str, scope="module")
def test_every_method_gives_a_map_of_the_inputs_size(row, model):
    inputs = row.inputs(1)
    found = camcore.explain(model, inputs, row.target, method=[*FORMULAS])
    activations, gradients = by_hand.evidence(row, model, inputs)
    shape = tuple(inputs.shape)
    size = shape[2:] if row.framework == "torch" else shape[1:-1]
    for method, formula in FORMULAS.items():
        signed = found[method].raw[row.layer]
        expected = formula(activations, gradients)
        assert apart(np.abs(signed) if method == "eigencam" else signed, expected) < 2e-5
        shown = found[method].maps
        assert shown.shape == (1, *size)
        assert 0 <= shown.min() <= shown.max() <= 1
        assert found[method].empty[0] == (not shown.any())


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "occlusion", "smoothgradcampp"])
def test_methods_that_run_the_model_again_take_a_real_brain(torch, require, method):
    require("nilearn")
    model, brain = ranks.built(ranks.volume_net, ranks.brains), ranks.brains(1)
    options = {"occlusion": {"window": 8, "stride": 8}, "smoothgradcampp": {"samples": 2}}
    result = camcore.explain(model, brain, 3, method=method, **options.get(method, {}))
    assert result.maps.shape == (1, *brain.shape[2:])
    assert result.maps.max() == pytest.approx(1)


def test_white_matter_is_found_in_a_real_brain(torch, require):
    """A network that adds up what is bright: its map is known without a framework."""
    datasets, ndimage = require("nilearn.datasets"), require("scipy.ndimage")
    head = datasets.load_mni152_template(resolution=4)
    white = datasets.load_mni152_wm_mask(resolution=4).get_fdata() > 0
    brain = np.asarray(head.get_fdata(), np.float64)
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv3d(1, 1, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(1, 2),
    ).double()  # fmt: skip
    threshold = 0.6 * brain.max()
    with torch.no_grad():
        model[0].weight.fill_(1 / 27)
        model[0].bias.fill_(-threshold)
        model[4].weight.copy_(torch.tensor([[2.0], [-1.0]]))
    result = camcore.explain(model, brain[None, None], 0)
    bright = np.maximum(ndimage.uniform_filter(brain, 3, mode="constant") - threshold, 0)
    np.testing.assert_allclose(result.raw["1"][0], 2 / bright.size * bright, rtol=0, atol=1e-15)
    np.testing.assert_allclose(result.maps[0], bright / bright.max(), rtol=0, atol=1e-6)
    inside = result.maps[0][white].sum() / result.maps[0].sum()
    assert inside > 0.9
    assert white.mean() < 0.2
    against = camcore.explain(model, brain[None, None], 1)
    assert against.empty[0]
    assert not against.maps.any()
