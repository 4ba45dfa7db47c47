"""Transformers of torchvision and timm, and the networks that are compared with them.

They are as small as their classes allow, but for one ViT-B/16 and one Swin-T.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from architectures.row import Architecture, Refused

WIDE = (64, 96)
"""A size that is no square, with a grid of 4 x 6 patches of 16."""

WINDOWS = {"legrad": Refused("MethodError", "within windows")}
NO_ATTENTION = {"legrad": Refused("MethodError", "None of the model's layers computes softmax")}
SIZES = {"legrad": Refused("InputError", "cannot be fused; give layers of one size")}


@dataclass(frozen=True)
class Tokens:
    """Turns tokens ``(B, T, C)`` into ``(B, C, rows, columns)``, as somebody would by hand."""

    grid: tuple[int, int]
    prefix: int = 0

    def __call__(self, tokens: Any) -> Any:
        patches = np.asarray(tokens)[:, self.prefix :]
        return np.moveaxis(patches.reshape(len(patches), *self.grid, -1), -1, 1)


def channels_last(activations: Any) -> Any:
    """``(B, H, W, C)`` as ``(B, C, H, W)``."""
    return np.moveaxis(np.asarray(activations), -1, 1)


def images(batch: int, size: tuple[int, int] = (64, 64)) -> Any:
    """Noise, as a tensor."""
    import torch

    array = np.random.default_rng(0).normal(size=(batch, 3, *size))
    return torch.from_numpy(array.astype(np.float32))


def stirred(model: Any) -> Any:
    """The model with weights of a size that lets every part of it speak.

    Many start with heads of zeros and layers scaled by a hundred-thousandth.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=weight[0].numel() ** -0.5, generator=generator)
            else:
                weight.add_(torch.empty_like(weight).uniform_(-0.3, 0.3, generator=generator))
    return model.eval()


def full_size(name: str, **options: Any) -> Any:
    """A torchvision model as it is published, with a head of ten classes."""
    import torchvision

    return stirred(torchvision.models.get_model(name, weights=None, num_classes=10, **options))


def torchvision_swin_v2() -> Any:
    """Swin Transformer V2 with few, narrow blocks."""
    from torchvision.models import swin_transformer as swin

    return stirred(
        swin.SwinTransformer(
            patch_size=[4, 4],
            embed_dim=16,
            depths=[1, 1, 2, 1],
            num_heads=[2, 2, 2, 2],
            window_size=[4, 4],
            num_classes=10,
            block=swin.SwinTransformerBlockV2,
            downsample_layer=swin.PatchMergingV2,
        )
    )


def torchvision_maxvit() -> Any:
    """MaxViT with few, narrow blocks."""
    from torchvision.models import MaxVit

    return stirred(
        MaxVit(
            input_size=(64, 64),
            stem_channels=8,
            partition_size=2,
            block_channels=[8, 8, 8, 16],
            block_layers=[1, 1, 1, 1],
            head_dim=4,
            stochastic_depth_prob=0.0,
            num_classes=10,
        )
    )


def timm(name: str, **options: Any) -> Any:
    """A timm model of ten classes."""
    import timm

    return stirred(timm.create_model(name, num_classes=10, **options))


def _row(
    name: str,
    make: Any,
    layer: str,
    arrange: Any,
    size: tuple[int, int] = (64, 64),
    refused: Mapping[str, Refused] = {},
) -> Architecture:
    return Architecture(
        name=name,
        framework="torch",
        make=make,
        inputs=partial(images, size=size),
        layer=layer,
        score=lambda outputs: outputs[:, 3],
        target=3,
        arrange=arrange,
        refused=refused,
        tolerance=2e-5,
        needs=(name.split()[0],),
        kind="Transformers",
    )


SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 3}
STAGES = {"depths": (1, 1, 2, 1), "embed_dim": 24, "window_size": 2}
CONVOLVING = {"depths": (1, 1, 1, 1), "stem_width": 8, "img_size": 64}


def _same(activations: Any) -> Any:
    return activations


ARCHITECTURES = [
    _row(
        "torchvision ViT-B/16",
        partial(full_size, "vit_b_16", image_size=64),
        "encoder.layers.encoder_layer_11.ln_1",
        Tokens((4, 4), 1),
        (64, 64),
    ),
    _row("torchvision Swin-T", partial(full_size, "swin_t"), "norm", channels_last, WIDE, WINDOWS),
    _row("torchvision SwinV2", torchvision_swin_v2, "norm", channels_last, WIDE, WINDOWS),
    _row("torchvision MaxViT", torchvision_maxvit, "blocks.3", _same, refused=WINDOWS),
    _row(
        "timm ViT",
        partial(timm, "vit_tiny_patch16_224", img_size=WIDE, **SMALL),
        "blocks.1.norm1",
        Tokens((4, 6), 1),
        WIDE,
    ),
    _row(
        "timm ViT, class and register tokens",
        partial(timm, "vit_small_patch14_reg4_dinov2", img_size=(56, 84), **SMALL),
        "blocks.1.norm1",
        Tokens((4, 6), 5),
        (56, 84),
    ),
    _row(
        "timm ViT, register tokens and the patches' mean",
        partial(timm, "vit_medium_patch16_reg4_gap_256", img_size=64, **SMALL),
        "blocks.1.norm1",
        Tokens((4, 4), 4),
    ),
    _row(
        "timm ViT, pooled by attention",
        partial(timm, "vit_base_patch16_siglip_224", img_size=64, **SMALL),
        "norm",
        Tokens((4, 4)),
    ),
    _row(
        "timm DeiT, class and distillation tokens",
        partial(timm, "deit_tiny_distilled_patch16_224", img_size=64, **SMALL),
        "blocks.1.norm1",
        Tokens((4, 4), 2),
    ),
    _row(
        "timm BEiT",
        partial(timm, "beit_base_patch16_224", img_size=64, **SMALL),
        "blocks.1.norm1",
        Tokens((4, 4), 1),
    ),
    _row(
        "timm EVA-02",
        partial(timm, "eva02_tiny_patch14_224", img_size=56, depth=2),
        "blocks.1.norm1",
        Tokens((4, 4), 1),
        (56, 56),
    ),
    _row(
        "timm CaiT",
        partial(timm, "cait_xxs24_224", img_size=64, depth=2, embed_dim=48),
        "blocks_token_only.1.norm1",
        Tokens((4, 4), 1),
    ),
    _row(
        "timm XCiT",
        partial(timm, "xcit_nano_12_p16_224", img_size=WIDE, depth=2, embed_dim=64),
        "cls_attn_blocks.1.norm1",
        Tokens((4, 6), 1),
        WIDE,
    ),
    _row(
        "timm PiT",
        partial(timm, "pit_ti_224", img_size=64),
        "transformers.2.blocks.3.norm1",
        Tokens((2, 2), 1),
        refused=SIZES,
    ),
    _row(
        "timm Swin",
        partial(timm, "swin_tiny_patch4_window7_224", img_size=WIDE, **STAGES),
        "norm",
        channels_last,
        WIDE,
        WINDOWS,
    ),
    _row(
        "timm SwinV2",
        partial(timm, "swinv2_tiny_window8_256", img_size=WIDE, **STAGES),
        "norm",
        channels_last,
        WIDE,
        WINDOWS,
    ),
    _row(
        "timm MaxViT",
        partial(timm, "maxvit_tiny_tf_224", embed_dim=(32, 32, 32, 64), **CONVOLVING),
        "stages",
        _same,
        refused=WINDOWS,
    ),
    _row(
        "timm CoAtNet",
        partial(timm, "coatnet_0_224", embed_dim=(16, 16, 32, 64), **CONVOLVING),
        "stages",
        _same,
        refused=SIZES,
    ),
    _row(
        "timm ConvNeXt",
        partial(timm, "convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
        "stages",
        _same,
        WIDE,
        NO_ATTENTION,
    ),
]
