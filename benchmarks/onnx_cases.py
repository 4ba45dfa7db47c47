"""Rows of the speed table in ONNX Runtime: files that PyTorch exports."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from timing import Case, Run, explained

from camcore import zoo
from camcore.targets import top


def cases() -> Iterator[Case]:
    """List every row."""
    for batch in (1, 8):
        yield Case(
            f"ONNX ResNet-50, Grad-CAM, batch {batch}", 1.10, partial(gradcam, "resnet50", batch)
        )
    yield Case("ONNX ResNet-50, five classes", 1.3, partial(five, "resnet50"))
    yield Case("ONNX vit_b_16, Grad-CAM, batch 1", 1.10, partial(gradcam, "vit_b_16", 1))
    yield Case("ONNX EfficientNet-Lite0, Grad-CAM, batch 1", 1.20, partial(gradcam, "lite0", 1))
    yield Case("ONNX EfficientNet-Lite0, five classes", 1.3, partial(five, "lite0"))
    yield Case("ONNX ResNet-50, Ablation-CAM, 2048 channels", 12, ablation, rounds=5)


def model_and_images(name: str, batch: int) -> tuple[onnx.ModelProto, np.ndarray]:
    """Export a model with random weights (Lite0: its own), and make a batch of noise."""
    images = np.random.default_rng(0).normal(size=(batch, 3, 224, 224)).astype(np.float32)
    if name == "lite0":
        from camcore_onnx.zoo_efficientnet_lite import efficientnet_lite0

        return efficientnet_lite0(zoo.demonstration_weights().values()), images
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    for parameter in model.parameters():
        # torchvision starts ViT with an all-zero head, which has no gradient.
        if not parameter.any() and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    file = io.BytesIO()
    axes = {"images": {0: "batch"}}
    torch.onnx.export(
        model,
        (torch.from_numpy(images),),
        file,
        input_names=["images"],
        dynamic_axes=axes,
        dynamo=False,
    )
    return onnx.load_from_string(file.getvalue()), images


def forward(model: onnx.ModelProto, images: np.ndarray) -> Run:
    """Run the file."""
    options = onnxruntime.SessionOptions()
    # Threads that spin while they wait slow other sessions down, and so whichever is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    return lambda: session.run(None, {given.name: images})


def gradcam(name: str, batch: int) -> tuple[Run, dict[str, Run]]:
    """Explain the predicted class by Grad-CAM."""
    model, images = model_and_images(name, batch)
    return explained(model, images, forward(model, images))


def five(name: str) -> tuple[Run, dict[str, Run]]:
    """Explain five classes of one image."""
    model, images = model_and_images(name, 1)
    return explained(model, images, forward(model, images), top(5))


def ablation() -> tuple[Run, dict[str, Run]]:
    """Ablate all 2,048 channels of the last block."""
    model, images = model_and_images("resnet50", 1)
    passes = forward(model, images)
    return explained(model, images, passes, method="ablationcam", progress=False)
