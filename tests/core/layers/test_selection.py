"""Layers are chosen from what a survey shows."""

from __future__ import annotations

import pytest

from camcore.adapter import Layer, LayerRecord
from camcore.errors import LayerError
from camcore.layers.selection import choose, rejections, with_rectified


def survey(*rows):
    """Records from (name, kind, shape[, channels]); the last is the model's output."""
    return [
        LayerRecord(
            Layer(name, kind, None),
            shape,
            channels[0] if channels else None,
            is_output=i == len(rows) - 1,
        )
        for i, (name, kind, shape, *channels) in enumerate(rows)
    ]


MAP7, MAP14 = (1, 2048, 7, 7), (1, 512, 14, 14)

RESNET50 = survey(
    ("conv1", "Conv2d", (1, 64, 112, 112), "first"),
    ("maxpool", "MaxPool2d", (1, 64, 56, 56)),
    ("layer3", "Sequential", (1, 1024, 14, 14)),
    ("layer4.2.conv3", "Conv2d", MAP7, "first"),
    ("layer4.2.bn3", "BatchNorm2d", MAP7, "first"),
    ("layer4.2.relu", "ReLU", MAP7),
    ("layer4.2", "Bottleneck", MAP7),
    ("layer4", "Sequential", MAP7),
    ("avgpool", "AdaptiveAvgPool2d", (1, 2048, 1, 1)),
    ("fc", "Linear", (1, 1000)),
)
VGG16 = survey(
    ("features.28", "Conv2d", MAP14, "first"),
    ("features.29", "ReLU", MAP14),
    ("features.30", "MaxPool2d", (1, 512, 7, 7)),
    ("features", "Sequential", (1, 512, 7, 7)),
    ("avgpool", "AdaptiveAvgPool2d", (1, 512, 7, 7)),
    ("classifier.0", "Linear", (1, 4096)),
    ("classifier.5", "Dropout", (1, 4096)),
    ("classifier.6", "Linear", (1, 1000)),
    ("classifier", "Sequential", (1, 1000)),
)
XCEPTION = survey(
    ("block14_sepconv2", "SeparableConv2D", (1, 10, 10, 2048), "last"),
    ("block14_sepconv2_bn", "BatchNormalization", (1, 10, 10, 2048), "last"),
    ("block14_sepconv2_act", "Activation", (1, 10, 10, 2048), "last"),
    ("avg_pool", "GlobalAveragePooling2D", (1, 2048)),
    ("predictions", "Dense", (1, 1000)),
)
EFFICIENTNET = survey(
    ("features.7.0.block.3.1", "BatchNorm2d", (1, 320, 7, 7), "first"),
    ("features.7.0.stochastic_depth", "StochasticDepth", (1, 320, 7, 7)),
    ("features.7.0", "MBConv", (1, 320, 7, 7)),
    ("features.7", "Sequential", (1, 320, 7, 7)),
    ("features.8.0", "Conv2d", (1, 1280, 7, 7), "first"),
    ("features.8.2", "SiLU", (1, 1280, 7, 7)),
    ("features.8", "Conv2dNormActivation", (1, 1280, 7, 7)),
    ("features", "Sequential", (1, 1280, 7, 7)),
    ("avgpool", "AdaptiveAvgPool2d", (1, 1280, 1, 1)),
    ("classifier.0", "Dropout", (1, 1280)),
    ("classifier.1", "Linear", (1, 1000)),
    ("classifier", "Sequential", (1, 1000)),
)
# The block adds its input to what stochastic depth returns: the block is the later map.
CONVNEXT = survey(
    ("features.7.2.block.5", "Linear", (1, 7, 7, 768)),
    ("features.7.2.block.6", "Permute", (1, 768, 7, 7)),
    ("features.7.2.block", "Sequential", (1, 768, 7, 7)),
    ("features.7.2.stochastic_depth", "StochasticDepth", (1, 768, 7, 7)),
    ("features.7.2", "CNBlock", (1, 768, 7, 7)),
    ("features.7", "Sequential", (1, 768, 7, 7)),
    ("features", "Sequential", (1, 768, 7, 7)),
    ("avgpool", "AdaptiveAvgPool2d", (1, 768, 1, 1)),
    ("classifier.2", "Linear", (1, 1000)),
)
SWIN = survey(
    ("features.7.1", "SwinTransformerBlock", (1, 7, 7, 768)),
    ("norm", "LayerNorm", (1, 7, 7, 768)),
    ("permute", "Permute", (1, 768, 7, 7)),
    ("avgpool", "AdaptiveAvgPool2d", (1, 768, 1, 1)),
    ("flatten", "Flatten", (1, 768)),
    ("head", "Linear", (1, 1000)),
)
# Only the class token reaches the head: behind the last attention, patches have no gradient.
VIT = survey(
    ("patch_embed.proj", "Conv2d", (1, 192, 14, 14), "first"),
    ("blocks.10.attn", "Attention", (1, 197, 192)),
    ("blocks.10", "Block", (1, 197, 192)),
    ("blocks.11.norm1", "LayerNorm", (1, 197, 192)),
    ("blocks.11.attn.qkv", "Linear", (1, 197, 576)),
    ("blocks.11.attn.proj", "Linear", (1, 197, 192)),
    ("blocks.11.attn", "Attention", (1, 197, 192)),
    ("blocks.11.mlp", "Mlp", (1, 197, 192)),
    ("blocks.11", "Block", (1, 197, 192)),
    ("blocks", "Sequential", (1, 197, 192)),
    ("norm", "LayerNorm", (1, 197, 192)),
    ("fc_norm", "Identity", (1, 192)),
    ("head", "Linear", (1, 1000)),
)
# Mean over patches: no class token, so the last layer is as good as any.
MIXER = survey(
    ("blocks.7", "MixerBlock", (1, 49, 512)),
    ("norm", "LayerNorm", (1, 49, 512)),
    ("head", "Linear", (1, 1000)),
)
# The last layer's output, merely resized, is the model's.
SEGMENTATION = survey(
    ("decoder.conv", "Conv2d", (1, 64, 224, 224), "first"),
    ("decoder.relu", "ReLU", (1, 64, 224, 224)),
    ("decoder", "Decoder", (1, 64, 224, 224)),
    ("logits", "Conv2d", (1, 21, 224, 224), "first"),
)
NESTED_KERAS = survey(
    ("rescaling", "Rescaling", (1, 224, 224, 3), "last"),
    ("resnet50/conv5_block3_add", "Add", (1, 7, 7, 2048), "last"),
    ("resnet50/conv5_block3_out", "Activation", (1, 7, 7, 2048), "last"),
    ("resnet50", "Functional", (1, 7, 7, 2048), "last"),
    ("pad", "ZeroPadding2D", (1, 9, 9, 2048), "last"),
    ("gap", "GlobalAveragePooling2D", (1, 2048)),
    ("dense", "Dense", (1, 2)),
)


@pytest.mark.parametrize(
    ("records", "size", "name"),
    [
        (RESNET50, (224, 224), "layer4"),
        (VGG16, (224, 224), "features.29"),
        (XCEPTION, (299, 299), "block14_sepconv2_act"),
        (EFFICIENTNET, (224, 224), "features"),
        (CONVNEXT, (224, 224), "features"),
        (SWIN, (224, 224), "norm"),
        (VIT, (224, 224), "blocks.11.norm1"),
        (MIXER, (224, 224), "norm"),
        (SEGMENTATION, (224, 224), "decoder"),
        (NESTED_KERAS, (224, 224), "resnet50"),
    ],
    ids=lambda value: "" if isinstance(value, (list, tuple)) else value,
)
def test_the_last_map_is_chosen(records, size, name):
    assert choose(records, size) == name


@pytest.mark.parametrize("rank", [1, 3])
def test_the_last_map_is_chosen_in_any_rank(rank):
    records = survey(
        ("conv1", f"Conv{rank}d", (1, 8, *[16] * rank), "first"),
        ("conv2", f"Conv{rank}d", (1, 8, *[8] * rank), "first"),
        ("pool", f"MaxPool{rank}d", (1, 8, *[4] * rank)),
        ("fc", "Linear", (1, 10)),
    )
    assert choose(records, (32,) * rank) == "conv2"


def test_a_class_token_without_a_named_attention_leaves_the_last_map():
    records = survey(
        ("mixing", "FourierMixing", (1, 197, 192)),
        ("norm", "LayerNorm", (1, 197, 192)),
        ("head", "Linear", (1, 10)),
    )
    assert choose(records, (224, 224)) == "norm"


def test_a_model_without_maps_is_told_so():
    records = survey(("flatten", "Flatten", (1, 784)), ("fc", "Linear", (1, 10)))
    with pytest.raises(LayerError, match=r"None of the model's 2 layers.*size \(28, 28\). Name a"):
        choose(records, (28, 28))
    with pytest.raises(LayerError, match="None of the model's 0 layers"):
        choose([], ())


def record(name, kind, shape, **known):
    return LayerRecord(Layer(name, kind, None), shape, None, **known)


def test_an_array_with_one_place_along_its_last_axis_alone_is_passed_over():
    # Which axis would carry the batch leaves none for channels.
    conv = record("conv", "Conv", (1, 24, 8, 8))
    heads = record("heads", "Reshape", (4, 4, 24, 1))
    assert choose([conv, heads], (64, 64)) == "conv"


def test_what_a_function_rectifies_is_named_by_the_outermost_layer_that_returns_it():
    records = [
        record("features.conv", "Conv", (1, 24, 8, 8)),
        record("features", "Sequential", (1, 24, 8, 8), repeats="features.conv", rectified=True),
        record("head", "Linear", (1, 10), is_output=True),
    ]
    assert choose(records, (64, 64)) == "features@activated"
    names = [one.layer.name for one in with_rectified(records)]
    assert names == ["features.conv", "features", "features@activated", "head"]


def test_what_is_rectified_is_a_map_of_its_own():
    attending = record(
        "mix", "Mixer", (1, 24, 8, 8), attention=(1, 4, 64, 64), several=True, rectified=True
    )
    made = with_rectified([attending])[1]
    assert made == record("mix@activated", "Mixer", (1, 24, 8, 8), rectified=True)


def test_what_only_moves_values_is_not_what_is_rectified():
    flat = record("flat", "Flatten", (1, 24, 64), rectified=True)
    assert with_rectified([flat]) == [flat]


def test_of_layers_that_return_an_earlier_map_the_outermost_is_rectified():
    records = [
        record("tower.norm", "LayerNorm", (1, 49, 64)),
        record("tower.pool", "AdaptiveAvgPool1d", (1, 64, 1)),
        record("tower", "Tower", (1, 49, 64), repeats="tower.norm", rectified=True),
        record("model", "Model", (1, 49, 64), repeats="tower.norm", rectified=True),
    ]
    names = [one.layer.name for one in with_rectified(records)]
    assert names == ["tower.norm", "tower.pool", "tower", "model", "model@activated"]


def test_a_layer_that_a_pyramid_returns_again_is_one_of_its_scales():
    records = [
        record("backbone", "Sequential", (1, 24, 8, 8)),
        record("shared", "Conv", (1, 24, 8, 8)),
        record("fpn.out", "Sequential", (1, 24, 8, 8), repeats="shared"),
        record("head", "Linear", (1, 10), is_output=True),
    ]
    assert choose(records, (64, 64)) == "backbone"
    del records[2]
    assert choose(records, (64, 64)) == "shared"


def test_layers_inside_attention_are_passed_over():
    """Keys and values of patches, out of which attention makes one vector."""
    records = [
        record("blocks", "Sequential", (1, 196, 64)),
        record("norm", "LayerNorm", (1, 196, 64)),
        record("pool.kv", "Linear", (1, 196, 128)),
        record("pool", "Pooling", (1, 64), attention=(1, 4, 1, 196)),
        record("head", "Linear", (1, 10), is_output=True),
    ]
    assert choose(records, (224, 224)) == "norm"
    # Where all is inside one layer that attends, there is nothing else to look at.
    inside = [record("pool." + r.layer.name, r.layer.kind, r.shape) for r in records[:2]]
    assert choose([*inside, *records[3:]], (224, 224)) == "pool.norm"


def test_the_last_layer_that_attends_counts_whatever_it_is_called():
    records = [
        record("blocks.0", "Block", (1, 197, 64)),
        record("blocks.1.first", "LayerNorm", (1, 197, 64)),
        record("blocks.1.mix.project", "Linear", (1, 197, 192)),
        record("blocks.1.mix", "Mixer", (1, 197, 64), attention=(1, 4, 197, 197)),
        record("blocks.1", "Block", (1, 197, 64)),
        record("head", "Linear", (1, 10), is_output=True),
    ]
    assert choose(records, (224, 224)) == "blocks.1.first"


def test_a_container_is_named_unless_the_model_has_gone_on():
    """The tower returns its last map again, beside what the head is given."""
    norm = record("tower.norm", "LayerNorm", (1, 49, 64))
    gone_on = [
        norm,
        record("tower.pooler", "AdaptiveAvgPool1d", (1, 64, 1)),
        record("tower", "Tower", (1, 49, 64), repeats="tower.norm"),
        record("head", "Linear", (1, 10), is_output=True),
    ]
    assert choose(gone_on, (224, 224)) == "tower.norm"
    assert choose([norm, *gone_on[2:]], (224, 224)) == "tower"


def test_layer_with_several_outputs_is_chosen_only_alone():
    records = [
        record("stage.blocks", "Sequential", (1, 64, 7, 7)),
        record("stage", "Stage", (1, 64, 7, 7), several=True),
        record("head", "Linear", (1, 10), is_output=True),
    ]
    assert choose(records, (224, 224)) == "stage.blocks"
    assert choose(records[1:], (224, 224)) == "stage"


def pyramid(lengths=(64, 16, 4), head="head", early=(1, 32, 8, 8), is_output=True):
    """A network of a file, whose last scope joins what it makes of three scales."""
    return [
        record("backbone.3", "Relu", (1, 64, 8, 8)),
        record("neck_of_it", "Relu", (1, 64, 2, 2)),
        record(f"{head}.conv_0", "Conv", early),
        record(f"{head}.conv_1", "Conv", (1, 32, 4, 4)),
        record(f"{head}.conv_2", "Conv", (1, 32, 2, 2)),
        record(f"{head}.Concat", "Concat", (1, 32, 84), joins=(lengths,)),
        record(f"{head}.Mul", "Mul", (1, 32, 84)),
        record(head, "Module", (1, 32, 84), is_output=is_output),
    ]


def test_a_head_that_joins_scales_for_the_output_is_passed_over():
    """Files do not keep what kinds of modules their scopes were."""
    assert choose(pyramid(), (64, 64)) == "neck_of_it"
    assert choose(pyramid((256, 64, 16, 4)), (64, 64)) == "neck_of_it"
    passed_over = rejections(pyramid(), (64, 64))
    assert passed_over == ["", "", *["one scale of a detector"] * 6]


@pytest.mark.parametrize(
    "records",
    [
        pyramid((64, 16)),  # two lengths may be so by chance
        pyramid((64, 32, 16)),
        pyramid((4, 2, 1)),
        pyramid(early=(1, 32, 16, 16)),  # larger than the scales, as in a backbone
        [*pyramid(is_output=False), record("scores", "Gemm", (1, 5), is_output=True)],
    ],
)
def test_what_else_joins_arrays_is_no_head(records):
    assert "one scale of a detector" not in rejections(records, (64, 64))
