"""The layer that returns a block's tokens, found by where its attention is."""

from __future__ import annotations

import pytest

from camcore.adapter import Layer, LayerRecord
from camcore.layers.blocks import of_attention

TOKENS, ATTENTION = (1, 5, 8), (1, 2, 5, 5)


def survey(*names):
    """Records of layers; a name that ends in a star attends, one with a colon is of that kind."""
    records = []
    for name in names:
        path, _, kind = name.rstrip("*").partition(":")
        attention = ATTENTION if name.endswith("*") else None
        records.append(LayerRecord(Layer(path, kind, None), TOKENS, attention=attention))
    return records


@pytest.mark.parametrize(
    ("names", "blocks"),
    [
        # torchvision, timm
        (
            ["b.0.attn*", "b.0.mlp", "b.0", "b.1.attn*", "b.1.mlp", "b.1", "b", "norm", "head"],
            {"b.0.attn": "b.0", "b.1.attn": "b.1"},
        ),
        # transformers: the output of the attention, with no residual, is around it too.
        (
            ["e.0.a.self*", "e.0.a.out", "e.0.a", "e.0", "e.1.a.self*", "e.1.a", "e.1", "e"],
            {"e.0.a.self": "e.0", "e.1.a.self": "e.1"},
        ),
        # A name that another one begins with.
        (["b.1.attn*", "b.1", "b.10.attn*", "b.10"], {"b.1.attn": "b.1", "b.10.attn": "b.10"}),
        # Blocks that attend themselves.
        (["b.0:Block*", "b.1:Block*", "b"], {"b.0": "b.0", "b.1": "b.1"}),
        # Keras: layers one beside the other, of which additions close the blocks.
        (
            [
                *("mha:MultiHeadAttention*", "add:Add", "norm", "dense", "add_1:Add", "norm_1"),
                *("mha_1:MultiHeadAttention*", "add_2:Add", "dense_1", "add_3:Add", "norm_2"),
            ],
            {"mha": "add_1", "mha_1": "add_3"},
        ),
        (["vit/mha*", "vit/block", "vit"], {"vit/mha": "vit"}),
        # Two within one block, as in a decoder, and an attention pooler.
        (
            ["d.0.self_attn*", "d.0.cross_attn*", "d.0", "pool:AttentionPool*"],
            {"d.0.self_attn": None, "d.0.cross_attn": None, "pool": None},
        ),
        (["conv", "head"], {}),
    ],
)
def test_the_block_is_the_outermost_layer_around_one_attention(names, blocks):
    assert of_attention(survey(*names)) == blocks
