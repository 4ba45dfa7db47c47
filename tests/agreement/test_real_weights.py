"""PyTorch and Keras show the same map of the same network on the same photographs."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.methods import TABLE
from camcore.metrics.agreement import pearson, spearman

HEAD = {"torch": "bn2", "keras": "head_relu"}
EARLY = {"torch": "blocks.1", "keras": "block2b_add"}

# EfficientNet has none; these are compared on a small ViT in tests/backends.
ON_ATTENTION = {method.name for method in TABLE if method.level == "attention"}
ONE_PASS = [m.name for m in TABLE if m.passes == "1" and m.name not in ON_ATTENTION]

# Small settings of what is costly, and the layer with the fewest channels for what
# runs the model once for each of them.
COSTLY = {
    "shapleycam": (HEAD, {}),
    "smoothgradcampp": (HEAD, {}),
    "scorecam": (EARLY, {}),
    "fasterscorecam": (HEAD, {}),
    "sscam": (EARLY, {"samples": 2}),
    "iscam": (EARLY, {"steps": 2}),
    "ablationcam": (HEAD, {}),
    "occlusion": (HEAD, {"window": 64, "stride": 40}),
    "rise": (HEAD, {"masks": 32}),
    "fullgrad": (HEAD, {}),
}

# Gradients at the input cross every kink of the network. In float32 some of a million
# rectifiers fall on the other side of zero, so these are compared in float64 as well.
AT_INPUT = {
    "saliency": {},
    "gradienttimesinput": {},
    "smoothgrad": {"samples": 1},
    "integratedgradients": {"steps": 1},
    "guidedbackprop": {},
    "guidedgradcam": {},
}


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference relative to the largest value."""
    return float(np.abs(one - other).max() / np.abs(one).max())


def signed(explanation: camcore.Explanation) -> np.ndarray:
    (raw,) = explanation.raw.values()
    return raw


@pytest.fixture(scope="module")
def both(lite0):
    """Explanations by every one-pass method in both frameworks."""
    return {
        framework: camcore.explain(own.model, own.images, layer=HEAD[framework], method=ONE_PASS)
        for framework, own in lite0.items()
    }


def test_every_method_is_compared():
    assert {m.name for m in TABLE} == {*ONE_PASS, *COSTLY, *AT_INPUT, *ON_ATTENTION}


def test_the_chosen_layer_is_the_one_before_pooling(lite0):
    for framework, own in lite0.items():
        assert camcore.Explainer(own.model).layers(own.images) == (HEAD[framework],)


def test_top_1_is_equal_and_right_where_the_photograph_is_of_a_class(both, photographs):
    torch, keras = (both[f]["gradcam"].classes for f in ("torch", "keras"))
    np.testing.assert_array_equal(torch, keras)
    by_name = dict(zip(photographs, torch.tolist(), strict=True))
    # Tiger cat, espresso, missile's neighbour the projectile aside, tripod.
    assert (by_name["chelsea"], by_name["coffee"], by_name["camera"]) == (282, 967, 872)


@pytest.mark.parametrize("method", ONE_PASS)
def test_one_pass_methods_agree(both, method):
    torch, keras = both["torch"][method], both["keras"][method]
    assert apart(signed(torch), signed(keras)) <= 1e-4
    # Dividing by the strongest evidence enlarges what the signed maps differ by: at most
    # twice their difference over it, however weak it is. Without any, both show zeros.
    differ = np.abs(signed(torch) - signed(keras)).max(axis=(1, 2))
    strongest = signed(torch).max(axis=(1, 2))
    bound = np.where(strongest > 0, 2 * differ / np.abs(strongest) + 2e-6, 0)
    assert np.all(np.abs(torch.maps - keras.maps).max(axis=(1, 2)) <= bound)


def test_shown_maps_correlate_perfectly(both):
    torch, keras = both["torch"]["gradcam"].maps, both["keras"]["gradcam"].maps
    assert np.min(pearson(torch, keras)) > 1 - 1e-8
    assert np.min(spearman(torch, keras)) > 1 - 1e-5


def test_gradcam_is_cam_at_the_head(both):
    for results in both.values():
        cam, gradcam = signed(results["cam"]), signed(results["gradcam"])
        assert apart(cam, gradcam * 7 * 7) <= 1e-5


@pytest.mark.parametrize("method", COSTLY)
def test_methods_with_further_passes_agree(lite0, method):
    layer, options = COSTLY[method]
    torch, keras = (
        camcore.explain(own.model, own.images[:2], layer=layer[f], method=method, **options)
        for f, own in lite0.items()
    )
    assert apart(signed(torch), signed(keras)) <= 1e-4


@pytest.mark.parametrize("method", AT_INPUT)
def test_methods_at_the_input_agree_in_float64(lite0_float64, method):
    torch, keras = (
        camcore.explain(own.model, own.images[:1], layer=HEAD[f], method=method, **AT_INPUT[method])
        for f, own in lite0_float64.items()
    )
    assert apart(signed(torch), signed(keras)) <= 1e-9
