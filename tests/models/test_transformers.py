"""Transformers: the grid of tokens, what of it the score depends on, and attention."""

from __future__ import annotations

import numpy as np
import pytest
from architectures import ALL, by_hand
from architectures.transformers_torch import Tokens, stirred

import camcore
from camcore.errors import MethodError
from camcore.registry import adapter as adapt

ROWS = [row for row in ALL if row.kind == "Transformers"]


@pytest.fixture(scope="module", params=ROWS, ids=str)
def row(request):
    return request.param


@pytest.fixture(scope="module")
def activations_and_gradients(row, model):
    return by_hand.evidence(row, model, row.inputs(1))


def close(found, expected, tolerance=5e-5):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_every_place_of_the_chosen_layer_moves_the_score(activations_and_gradients):
    _, gradients = activations_and_gradients
    strength = np.abs(gradients[0]).sum(axis=0)
    assert strength.min() > 1e-4 * strength.max() > 0


def test_the_grid_is_found_and_can_be_given(row, model):
    if not isinstance(row.arrange, Tokens):
        pytest.skip("its maps are no tokens")
    grid, prefix = row.arrange.grid, row.arrange.prefix
    # The first call of a model has gradients from further back on, for which PyTorch's attention
    # takes kernels that round otherwise.
    camcore.explain(model, row.inputs(1), row.target, **row.options)
    found = camcore.explain(model, row.inputs(1), row.target, **row.options)
    for layout in (
        camcore.Layout("tokens", grid=grid, prefix=prefix),
        camcore.Layout("tokens", grid=grid),
        camcore.Layout("tokens", prefix=prefix),
    ):
        given = camcore.explain(model, row.inputs(1), row.target, layout=layout, **row.options)
        np.testing.assert_array_equal(given.maps, found.maps)
        np.testing.assert_array_equal(given.raw[row.layer], found.raw[row.layer])
    turned = camcore.Layout("tokens", grid=grid[::-1], prefix=prefix)
    other = camcore.explain(model, row.inputs(1), row.target, layout=turned, **row.options)
    assert other.raw[row.layer].shape == (1, *grid[::-1])
    np.testing.assert_array_equal(other.raw[row.layer].ravel(), found.raw[row.layer].ravel())


def test_methods_of_one_pass_are_their_formulas(row, model, activations_and_gradients):
    activations, gradients = activations_and_gradients
    methods = ["gradcam", "hirescam", "layercam", "eigencam"]
    found = camcore.explain(model, row.inputs(1), row.target, method=methods, **row.options)
    raw = {method: result.raw[row.layer] for method, result in found.items()}
    close(raw["gradcam"], by_hand.gradcam(row, model, row.inputs(1)))
    close(raw["hirescam"], (gradients * activations).sum(axis=1))
    close(raw["layercam"], (np.maximum(gradients, 0) * activations).sum(axis=1))
    places = activations[0].reshape(activations.shape[1], -1).T
    _, values, axes = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
    if values[1] < 0.99 * values[0]:
        component = np.abs((places - places.mean(axis=0)) @ axes[0])
        close(np.abs(raw["eigencam"]).ravel(), component, 1e-3)


def test_methods_that_run_the_model_again_run(row, model):
    if row.name == "torchvision ViT-B/16":
        pytest.skip("its 768 channels take minutes, and its like is run small")
    found = camcore.explain(
        model,
        row.inputs(1),
        row.target,
        method=["scorecam", "ablationcam"],
        channels=2,
        progress=False,
        **row.options,
    )
    for result in found.values():
        assert np.isfinite(result.raw[row.layer]).all()
        assert 0 <= result.maps.min() <= result.maps.max() <= 1


def test_legrad_where_attention_lies_over_the_input(row, model):
    refused = row.refused.get("legrad")
    if refused is not None:
        with pytest.raises(getattr(camcore.errors, refused.error), match=refused.words):
            camcore.explain(model, row.inputs(1), row.target, method="legrad", **row.options)
        return
    result = camcore.explain(model, row.inputs(1), row.target, method="legrad", **row.options)
    for maps in result.raw.values():
        assert np.isfinite(maps).all()
        assert maps.min() >= 0
    assert result.maps.max() == 1


def named(name):
    return next(row for row in ROWS if row.name == name)


def test_ablation_leaves_out_one_channel_of_the_patches(torch, require):
    require("transformers")
    row = named("transformers ViT")
    model, inputs = row.make(), row.inputs(1)
    activations, _ = by_hand.evidence(row, model, inputs)

    def score(channel=None):
        def ablate(module, args, output):
            output = output.clone()
            output[:, row.arrange.prefix :, channel] = 0
            return output

        handle = model.get_submodule(row.layer).register_forward_hook(ablate)
        try:
            with torch.no_grad():
                return row.score(model(**inputs)).item()
        finally:
            handle.remove()

    with torch.no_grad():
        whole = row.score(model(**inputs)).item()
    weights = [(whole - score(channel)) / whole for channel in range(activations.shape[1])]
    found = camcore.explain(model, inputs, row.target, method="ablationcam", progress=False)
    close(found.raw[row.layer], np.einsum("c,bcij->bij", weights, activations), 1e-4)


def test_attention_between_channels_is_no_map(torch, require):
    """XCiT's blocks relate channels; only its last two layers attend to patches."""
    require("timm")
    row = named("timm XCiT")
    model, inputs = row.make(), row.inputs(1)
    attention = {r.layer.name: r.attention for r in adapt(model).survey(inputs) if r.attends}
    assert attention == {
        "blocks.0.attn": (1, 4, 16, 16),
        "blocks.1.attn": (1, 4, 16, 16),
        "cls_attn_blocks.0.attn": (1, 4, 1, 25),
        "cls_attn_blocks.1.attn": (1, 4, 1, 25),
    }
    for layer in ("blocks.0", "blocks.1.attn", "blocks.0.attn@attention"):
        with pytest.raises(MethodError, match="attends to channels, not to places of the input"):
            camcore.explain(model, inputs, layer=layer, method="legrad")
    result = camcore.explain(model, inputs, method="legrad")
    assert list(result.raw) == [f"cls_attn_blocks.{i}.attn@attention" for i in range(2)]
    assert result.maps.shape == (1, 64, 96)


def test_a_pooled_tower_is_explained_where_it_is_not_cut_off(torch, require):
    """What a container returns beside the pooled features, the score does not come from."""
    require("transformers")
    row = named("transformers Swin")
    model, inputs = row.make(), row.inputs(1)
    repeats = {r.layer.name: r.repeats for r in adapt(model).survey(inputs)}
    assert repeats["swin"] == "swin.layernorm"
    with pytest.raises(camcore.errors.GradientError, match="'swin'"):
        camcore.explain(model, inputs, layer="swin")
    assert list(camcore.explain(model, inputs).raw) == ["swin.layernorm"]


@pytest.mark.parametrize("ending", ["module", "function", "resized", "moved"])
def test_the_features_before_a_dense_head_are_looked_at(torch, ending):
    """Not the map of logits, though a softmax or a resize makes the output of it."""
    nn, F = torch.nn, torch.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
            self.head = nn.Conv2d(6, 5, 1)
            self.softmax = nn.Softmax(1)

        def forward(self, x):
            logits = self.head(self.encoder(x))
            if ending == "module":
                return self.softmax(logits)
            if ending == "moved":
                return logits.permute(0, 2, 3, 1).softmax(-1)
            resized = logits if ending == "function" else F.interpolate(logits, scale_factor=2)
            return {"out": F.softmax(resized, 1)}

    images = np.random.default_rng(0).normal(size=(2, 3, 16, 24)).astype(np.float32)
    target = camcore.targets.Segmentation(3)
    if ending == "moved":
        target = lambda outputs: outputs[..., 3].log().sum((1, 2))  # noqa: E731
    result = camcore.explain(stirred(Net()), images, target)
    assert list(result.raw) == ["encoder"]
    assert result.raw["encoder"].shape == (2, 8, 12)


@pytest.mark.parametrize("ending", ["layer", "activation", "resized"])
def test_the_features_before_a_dense_head_are_looked_at_in_keras(keras, ending):
    layers = keras.layers
    image = keras.Input((16, 24, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="features")(image)
    x = layers.Conv2D(5, 1, activation="softmax" if ending == "activation" else None)(x)
    if ending == "resized":
        x = layers.Resizing(16, 24, interpolation="bilinear")(x)
    if ending != "activation":
        x = layers.Softmax(name="softmax")(x)
    images = np.random.default_rng(0).normal(size=(2, 16, 24, 3)).astype(np.float32)
    result = camcore.explain(keras.Model(image, x), images, camcore.targets.Segmentation(3))
    assert list(result.raw) == ["features"]


def test_relevancy_of_a_detectors_query_is_by_the_papers_rules(torch, require):
    """DETR: Chefer et al., ICCV 2021, eqs. 6 to 10, from what the library itself returns."""
    transformers = require("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    backbone = transformers.ResNetConfig(embedding_size=8, out_features=["stage2"], **sizes)
    each = {"layers": 2, "attention_heads": 2, "ffn_dim": 32}
    both = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in each.items()}
    config = transformers.DetrConfig(
        **{"use_timm_backbone": False, "backbone": None, "use_pretrained_backbone": False},
        **{"backbone_config": backbone, "d_model": 32, "num_queries": 5, "num_labels": 3},
        **both,
        attn_implementation="eager",
    )
    model = transformers.DetrForObjectDetection(config).eval()
    images = torch.rand(1, 3, 64, 96)
    found = camcore.explain(
        model, images, lambda outputs: outputs["logits"][:, 2, 1], method="relevancy"
    )
    outputs = model(images, output_attentions=True)
    own, queries, across = (
        list(getattr(outputs, f"{kind}_attentions")) for kind in ("encoder", "decoder", "cross")
    )
    layers = [*own, *queries, *across]
    gradients = torch.autograd.grad(outputs.logits[0, 2, 1], layers)
    fused = [
        (a * g).clamp(min=0)[0].mean(0).detach() for a, g in zip(layers, gradients, strict=True)
    ]

    def scaled(r):
        gained = r - torch.eye(len(r))
        sums = gained.sum(1, keepdim=True)
        return torch.where(sums > 0, gained / sums, 0) + torch.eye(len(r))

    r_image, r_queries, r_across = torch.eye(96), torch.eye(5), torch.zeros(5, 96)
    for layer in fused[:2]:
        r_image = r_image + layer @ r_image
    rows = []
    for self_attention, cross_attention in zip(fused[2:4], fused[4:], strict=True):
        r_queries = r_queries + self_attention @ r_queries
        r_across = r_across + self_attention @ r_across
        rows.append(r_across[2])
        r_across = r_across + scaled(r_queries).T @ cross_attention @ scaled(r_image)
        rows.append(r_across[2])
    expected = np.diff(np.stack([np.zeros(96), *(row.numpy() for row in rows)]), axis=0)
    raw = list(found.raw.values())
    assert [name.split(".")[1] for name in found.raw] == ["encoder"] * 2 + ["decoder"] * 4
    assert not any(maps.any() for maps in raw[:2])
    for maps, row in zip(raw[2:], expected, strict=True):
        np.testing.assert_allclose(maps[0].ravel(), row, rtol=1e-4, atol=1e-7 * expected.max())
