"""Rows of the speed table in PyTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import partial

import torch
import torchvision
from timing import GRADIENT_METHODS, Case, Run, explained

import camcore
from camcore.targets import top


def cases() -> Iterator[Case]:
    """List every row."""
    for batch in (1, 8):
        yield Case(
            f"PyTorch ResNet-50, Grad-CAM, batch {batch}",
            1.05,
            partial(gradcam, "resnet50", batch),
            quick=batch == 1,
        )
    small = ("mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x1_0")
    for name in ("vgg16", *small, "convnext_tiny", "vit_b_16"):
        yield Case(f"PyTorch {name}, Grad-CAM, batch 1", 1.10, partial(gradcam, name, 1))
    yield Case(
        "PyTorch ResNet-50, layer4.2.conv3, batch 1",
        1.10,
        partial(gradcam, "resnet50", 1, layer="layer4.2.conv3"),
    )
    yield Case("PyTorch ResNet-50, five classes", 1.15, partial(five, "resnet50"))
    for name in ("vit_b_16", "swin_t"):
        yield Case(f"PyTorch {name}, five classes", 1.25, partial(five, name))
    yield Case("PyTorch ResNet-50, all gradient methods", 1.15, all_methods)
    yield Case("PyTorch ResNet-50, explain in one call (to one explainer's)", 1.05, one_call)
    yield Case("PyTorch ResNet-50, layer1 (to the same by hand)", 1.05, early)
    yield Case("PyTorch ResNet-50, Ablation-CAM, 2048 channels", 12, ablation, rounds=5)
    yield Case(
        "PyTorch ResNet-50, Score-CAM, 112 pixels (to its forwards alone)", 1.05, scorecam, rounds=1
    )


def model_and_images(name: str, batch: int) -> tuple[torch.nn.Module, torch.Tensor]:
    """Make a model with random weights, none of them zero, and a batch of noise."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    for parameter in model.parameters():
        # torchvision starts ViT with an all-zero head, which has no gradient.
        if not parameter.any() and parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    return model, torch.randn(batch, 3, 224, 224)


def forward(model: torch.nn.Module, images: torch.Tensor) -> Run:
    """Run the plain forward pass."""

    @torch.no_grad()
    def run() -> object:
        return model(images)

    return run


def gradcam(name: str, batch: int, layer: str | None = None) -> tuple[Run, dict[str, Run]]:
    """Explain the predicted class by Grad-CAM."""
    model, images = model_and_images(name, batch)
    explainer = camcore.Explainer(model, layer=layer)
    (chosen,) = explainer.layers(images)
    runs: dict[str, Run] = {"camcore": lambda: explainer(images)}
    if name not in ("vit_b_16", "swin_t"):
        runs |= peers(model, images, chosen)
    return forward(model, images), runs


def five(name: str) -> tuple[Run, dict[str, Run]]:
    """Explain five classes of one image."""
    model, images = model_and_images(name, 1)
    return explained(model, images, forward(model, images), top(5))


def all_methods() -> tuple[Run, dict[str, Run]]:
    """Explain by every gradient method from one pass."""
    model, images = model_and_images("resnet50", 1)
    explainer = camcore.Explainer(model, layer="layer4", method=GRADIENT_METHODS)
    return forward(model, images), {"camcore": lambda: explainer(images)}


def one_call() -> tuple[Run, dict[str, Run]]:
    """Explain by `camcore.explain`, which makes an explainer each time, next to one kept."""
    model, images = model_and_images("resnet50", 1)
    explainer = camcore.Explainer(model)

    def explain() -> object:
        return camcore.explain(model, images)

    return lambda: explainer(images), {"camcore": explain}


def early() -> tuple[Run, dict[str, Run]]:
    """Time an early layer, next to its forward and the backward of what follows by hand."""
    model, images = model_and_images("resnet50", 1)
    explainer = camcore.Explainer(model, layer="layer1")
    rest = (model.layer2, model.layer3, model.layer4, model.avgpool)

    def by_hand() -> object:
        with torch.no_grad():
            start = model.maxpool(model.relu(model.bn1(model.conv1(images))))
            leaf = model.layer1(start)
        x = leaf = leaf.requires_grad_()
        for part in rest:
            x = part(x)
        scores = model.fc(x.flatten(1))
        return torch.autograd.grad(scores.max(), leaf)

    return by_hand, {"camcore": lambda: explainer(images)}


def ablation() -> tuple[Run, dict[str, Run]]:
    """Ablate all 2,048 channels of the last block."""
    model, images = model_and_images("resnet50", 1)
    explainer = camcore.Explainer(model, layer="layer4.2", method="ablationcam", progress=False)
    return forward(model, images), {"camcore": lambda: explainer(images)}


def scorecam() -> tuple[Run, dict[str, Run]]:
    """Time Score-CAM next to as many batched forward passes as it has live channels."""
    model, images = model_and_images("resnet50", 1)
    images = images[..., :112, :112]
    explainer = camcore.Explainer(model, layer="layer4", method="scorecam", progress=False)
    activations = explainer.evidence(images).activations[0]
    live = int((activations.reshape(len(activations), -1).std(axis=1) > 0).sum())
    masked = images.repeat(32, 1, 1, 1)

    @torch.no_grad()
    def forwards() -> None:
        for start in range(0, live, 32):
            model(masked[: min(32, live - start)])

    return forwards, {"camcore": lambda: explainer(images)}


def peers(model: torch.nn.Module, images: torch.Tensor, layer: str) -> dict[str, Run]:
    """Time the same by the libraries that are installed."""
    module = model.get_submodule(layer)
    runs: dict[str, Run] = {}
    if importlib.util.find_spec("pytorch_grad_cam"):
        from pytorch_grad_cam import GradCAM

        grad_cam = GradCAM(model=model, target_layers=[module])
        runs["grad-cam"] = lambda: grad_cam(input_tensor=images, targets=None)
    if importlib.util.find_spec("captum"):
        from captum.attr import LayerAttribution, LayerGradCam

        captum = LayerGradCam(model, module)

        def by_captum() -> object:
            with torch.no_grad():
                classes = model(images).argmax(dim=1)
            maps = captum.attribute(images, target=classes)
            return LayerAttribution.interpolate(maps, (224, 224), "bilinear")

        runs["captum"] = by_captum
    if importlib.util.find_spec("torchcam"):
        from torchcam.methods import GradCAM as TorchCAM

        def by_torchcam() -> object:
            with TorchCAM(model, target_layer=layer) as cam:
                scores = model(images)
                maps = cam(scores.argmax(dim=1).tolist(), scores)
            return torch.nn.functional.interpolate(maps[0][:, None], (224, 224), mode="bilinear")

        runs["torchcam"] = by_torchcam
    return runs
