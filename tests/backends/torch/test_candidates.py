"""The layers of a transformer that matter: none whose map is zero for certain."""

from __future__ import annotations

import pytest
import torch

import camcore


@pytest.mark.parametrize("head", ["drawn at random", "zeros"])
def test_no_layer_behind_the_last_attention_is_among_the_few(head, require):
    torch.manual_seed(0)
    model = require("timm").create_model(
        "vit_tiny_patch16_224", img_size=64, depth=4, num_classes=10
    )
    if head == "zeros":
        torch.nn.init.zeros_(model.head.weight)
    images = torch.rand(1, 3, 64, 64)
    found = camcore.layers.candidates(model, images)
    few = [one.layer.name for one in found if one.why]
    assert few[-1] == "blocks.3.norm1"
    assert {name.partition(".")[0] for name in few[:-1]} <= {"blocks", "patch_embed", "norm_pre"}
    assert not {"blocks.3", "blocks.3.mlp", "blocks", "norm"} & set(few)
    for name in few if head != "zeros" else ():
        assert not camcore.explain(model, images, layer=name, method="layercam").empty[0]
