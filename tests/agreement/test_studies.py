"""Studies that run the same weights in PyTorch and in Keras find the same numbers."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from camcore.studies import Setting, find_study, run_study
from camcore.studies.page import largest_difference


@pytest.fixture(scope="module")
def small(torch, tf, require):
    for package in ("skimage", "scipy", "timm"):
        require(package)

    @cache
    def run(name):
        study = find_study(name)
        frameworks = ("torch", "tensorflow")
        return study, {one: run_study(study, Setting(one, small=True)) for one in frameworks}

    return run


def test_fake_cam_is_exposed_in_both_frameworks(small):
    study, found = small("fakecam")
    for outcome in found.values():
        exposed = [v for key, v in outcome.values.items() if key.endswith(": ones adcc")]
        # 3 / (1 + P + 1) where nothing is lost, of P = 224 × 224 positions.
        assert exposed == pytest.approx([300 / (224**2 + 2)] * 2, rel=1e-4)
        kept = [v for key, v in outcome.values.items() if key.endswith(": ones average_drop")]
        assert max(kept) < 0.1
    assert largest_difference(found) < study.apart


def test_at_the_last_activation_three_methods_are_one(small):
    _, found = small("fakecam")
    values = found["torch"].values
    where = "EfficientNet-Lite0, the last activation"
    for metric in ("average_drop", "adcc"):
        one, *others = (
            values[f"{where}: {method} {metric}"] for method in ("gradcam", "hirescam", "xgradcam")
        )
        assert others == pytest.approx([one, one], abs=1e-3)


def test_score_cam_is_the_same_in_both_frameworks(small):
    study, found = small("scorecam")
    assert largest_difference(found) < study.apart
    for outcome in found.values():
        assert len(outcome.values) == 2 * 8 * 4  # layers, rows, metrics
        assert np.isfinite(list(outcome.values.values())).all()
        losses = [v for key, v in outcome.values.items() if "scorecam average_drop" in key]
        assert max(losses) > 1  # a map that was multiplied


def test_the_larger_network_is_the_same_in_both_frameworks(torch, tf, require):
    from camcore_tensorflow.zoo_efficientnet_lite import efficientnet_lite, load_torch_state

    model = require("timm").create_model("tf_efficientnet_lite2", pretrained=False).eval()
    random = np.random.default_rng(0)
    for name, values in model.state_dict().items():
        if name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight")):
            values.copy_(torch.from_numpy(random.uniform(0.5, 1.5, tuple(values.shape))))
        elif name.endswith(("running_mean", "bias")):
            values.copy_(torch.from_numpy(random.normal(scale=0.1, size=tuple(values.shape))))
    ported = efficientnet_lite("efficientnet_lite2")
    load_torch_state(ported, [values.numpy() for values in model.state_dict().values()])
    images = random.normal(size=(1, 260, 260, 3)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(
        ported(images).numpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )
