"""Models of ``transformers``, made from configurations: nothing is downloaded."""

from __future__ import annotations

from functools import partial
from typing import Any

from architectures.row import Architecture
from architectures.transformers_torch import NO_ATTENTION, WIDE, WINDOWS, Tokens, images, stirred

VIT = {
    "image_size": 64,
    "patch_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
STAGES = {
    "image_size": 64,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [1, 1, 2, 1],
    "num_heads": [2, 2, 2, 2],
    "window_size": 2,
}
CONVOLVING = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}


def hugging_face(model: str, config: str, **options: Any) -> Any:
    """A model by the names of its class and of its configuration's."""
    import transformers

    return stirred(getattr(transformers, model)(getattr(transformers, config)(**options)))


def _classifier(family: str, layer: str, arrange: Any, *, suffix: str = "", **row: Any) -> Any:
    options = row.pop("config")
    return Architecture(
        name=f"transformers {family}",
        framework="torch",
        make=partial(
            hugging_face,
            f"{family}ForImageClassification{suffix}",
            f"{family}Config",
            num_labels=10,
            **options,
        ),
        layer=layer,
        score=lambda outputs: outputs.logits[:, 3],
        target=3,
        arrange=arrange,
        tolerance=2e-5,
        needs=("transformers",),
        kind="Transformers",
        **{"inputs": images, **row},
    )


def by_name(batch: int, size: tuple[int, int] = (64, 64)) -> dict[str, Any]:
    """Noise, under the name that an image processor gives it."""
    return {"pixel_values": images(batch, size)}


ARCHITECTURES = [
    _classifier(
        "ViT",
        "vit.layers.1.layernorm_before",
        Tokens((4, 6), 1),
        config={**VIT, "image_size": WIDE},
        inputs=partial(by_name, size=WIDE),
    ),
    _classifier(
        "DeiT",
        "deit.layers.1.layernorm_before",
        Tokens((4, 4), 2),
        suffix="WithTeacher",
        config=VIT,
    ),
    _classifier("Dinov2", "dinov2.encoder.layer.1.norm1", Tokens((4, 4), 1), config=VIT),
    _classifier(
        "Dinov2WithRegisters",
        "dinov2_with_registers.encoder.layer.1.norm1",
        Tokens((4, 4), 5),
        config=VIT,
    ),
    _classifier(
        "Swin",
        "swin.layernorm",
        Tokens((2, 3)),
        config=STAGES,
        inputs=partial(images, size=WIDE),
        refused=WINDOWS,
    ),
    _classifier("Swinv2", "swinv2.layernorm", Tokens((2, 2)), config=STAGES, refused=WINDOWS),
    _classifier(
        "ConvNext",
        "convnext.encoder",
        lambda activations: activations,
        config=CONVOLVING,
        refused=NO_ATTENTION,
    ),
    Architecture(
        name="transformers CLIP, the image tower",
        framework="torch",
        make=partial(
            hugging_face,
            "CLIPVisionModelWithProjection",
            "CLIPVisionConfig",
            projection_dim=10,
            **VIT,
        ),
        inputs=by_name,
        layer="vision_model.encoder.layers.1.layer_norm1",
        score=lambda outputs: outputs.image_embeds[:, 3],
        target=3,
        arrange=Tokens((4, 4), 1),
        options={"output": "image_embeds"},
        tolerance=2e-5,
        needs=("transformers",),
        kind="Transformers",
    ),
]
