"""Layer-wise relevance propagation by zennit's rules, which camcore's methods run under."""

from __future__ import annotations

import numpy as np
import pytest

import camcore


@pytest.fixture(scope="module")
def model(torch):
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 5)),
    ).eval()


@pytest.fixture(scope="module")
def images(torch):
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("composite", ["EpsilonPlusFlat", "EpsilonAlpha2Beta1", "EpsilonGammaBox"])
def test_gradients_are_relevance_within_its_context(torch, model, images, require, composite):
    composites = require("zennit.composites")
    bounds = {"low": 0.0, "high": 1.0} if composite == "EpsilonGammaBox" else {}
    kept = {}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with getattr(composites, composite)(**bounds).context(model) as ruled:
        given = images.clone().requires_grad_()
        handle = model[5].register_forward_hook(lambda m, a, out: kept.update(out=out))
        scores = ruled(given)
        handle.remove()
        relevance, at_layer = torch.autograd.grad(scores[:, 3].sum(), [given, kept["out"]])
        found = camcore.explain(ruled, images, 3, method="saliency", signed=True)
        cam = camcore.explain(ruled, images, 3, "5")
    np.testing.assert_array_equal(found.by_channel, relevance.numpy())
    weights = at_layer.mean(dim=(2, 3), keepdim=True)
    expected = (weights * kept["out"]).sum(1).detach().numpy()
    np.testing.assert_allclose(cam.raw["5"], expected, rtol=1e-5, atol=1e-7)
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    plain = camcore.explain(model, images, 3, method="saliency", signed=True).by_channel
    assert not np.allclose(plain, relevance.numpy())
