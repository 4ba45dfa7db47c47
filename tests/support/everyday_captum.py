"""What captum needs for the sections of docs/everyday.md, a function for each."""

from __future__ import annotations

import numpy as np
from PIL import Image

NOT_OFFERED = {
    "layers": "LayerGradCam takes one layer, and nothing joins attributions of several",
    "concepts": "captum.concept measures concepts of which examples are given, and finds none",
    "box": "no module makes boxes of attributions",
    "keep": "attributions are tensors, without what they are of",
    "report": "captum.insights has left the package",
    "video": "there is no reader or writer of files",
}
"""Sections that it has no way to do, and where that is seen."""


def overlay(network, path):
    from captum.attr import LayerAttribution, LayerGradCam
    from captum.attr import visualization as viz
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    image = transforms.Compose(steps)(Image.open(path).convert("RGB"))
    tensor = transforms.Normalize([0.498] * 3, [0.502] * 3)(image)[None]
    heat = LayerGradCam(network, network.bn2).attribute(tensor, int(network(tensor).argmax()))
    heat = LayerAttribution.interpolate(heat, (224, 224))[0].permute(1, 2, 0).detach().numpy()
    figure, _ = viz.visualize_image_attr(heat, image.permute(1, 2, 0).numpy(), "blended_heat_map")
    figure.savefig("where.png")
    return tensor, heat[None, ..., 0]


def named(network, path, names):
    from captum.attr import LayerAttribution, LayerGradCam
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.498] * 3, [0.502] * 3))
    tensor = transforms.Compose(steps)(Image.open(path).convert("RGB"))[None]
    heat = LayerGradCam(network, network.bn2).attribute(tensor, names.index("tabby"))
    heat = LayerAttribution.interpolate(heat, (224, 224)).detach().numpy()
    return tensor, heat[:, 0]


def layer(network, path):
    from captum.attr import LayerAttribution, LayerGradCam
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.498] * 3, [0.502] * 3))
    tensor = transforms.Compose(steps)(Image.open(path).convert("RGB"))[None]
    best, by_name = int(network(tensor).argmax()), network.get_submodule("blocks.4")
    heats = [
        LayerGradCam(network, one).attribute(tensor, best) for one in (by_name, network.blocks[4])
    ]
    by_name, by_itself = (LayerAttribution.interpolate(one, (224, 224))[:, 0] for one in heats)
    return tensor, by_name.detach().numpy(), by_itself.detach().numpy()


def methods(network, path):
    from captum.attr import (
        GuidedGradCam,
        LayerAttribution,
        LayerGradCam,
        LayerGradientXActivation,
    )
    from captum.attr import visualization as viz
    from matplotlib import pyplot
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    image = transforms.Compose(steps)(Image.open(path).convert("RGB"))
    tensor = transforms.Normalize([0.498] * 3, [0.502] * 3)(image)[None]
    figure, axes = pyplot.subplots(1, 3)
    heats = []
    three = LayerGradCam, LayerGradientXActivation, GuidedGradCam
    for at, method in zip(axes, three, strict=True):
        heat = method(network, network.bn2).attribute(tensor, target=int(network(tensor).argmax()))
        heat = LayerAttribution.interpolate(heat.sum(1, keepdim=True), (224, 224))
        heats.append(heat[0].permute(1, 2, 0).detach().numpy())
        original = image.permute(1, 2, 0).numpy()
        viz.visualize_image_attr(heats[-1], original, "blended_heat_map", plt_fig_axis=(figure, at))
    figure.savefig("where.png")
    return tensor, np.stack(heats)[..., 0]


def smooth(network, path):
    from captum.attr import LayerAttribution, LayerGradCam, NoiseTunnel
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.498] * 3, [0.502] * 3))
    tensor = transforms.Compose(steps)(Image.open(path).convert("RGB"))[None]
    tunnel = NoiseTunnel(LayerGradCam(network, network.bn2))
    heat = tunnel.attribute(tensor, nt_samples=4, stdevs=0.1, target=int(network(tensor).argmax()))
    heat = LayerAttribution.interpolate(heat, (224, 224)).detach().numpy()
    return tensor, heat[:, 0]


def good(network, path):
    import torch
    from captum.attr import LayerAttribution, LayerGradCam
    from captum.metrics import infidelity
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.498] * 3, [0.502] * 3))
    tensor = transforms.Compose(steps)(Image.open(path).convert("RGB"))[None]
    best = int(network(tensor).argmax())
    heat = LayerGradCam(network, network.bn2).attribute(tensor, best)
    heat = LayerAttribution.interpolate(heat, (224, 224)).detach().expand_as(tensor)

    def nudged(given):
        step = 0.1 * torch.randn_like(given)
        return step, given - step

    found = infidelity(network, nudged, tensor, heat, target=best)
    return tensor, heat[:, 0].numpy(), found.detach().numpy()


def pixels(network, path):
    from captum.attr import IntegratedGradients
    from captum.attr import visualization as viz
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.498] * 3, [0.502] * 3))
    tensor = transforms.Compose(steps)(Image.open(path).convert("RGB"))[None]
    best = int(network(tensor).argmax())
    found = IntegratedGradients(network).attribute(tensor, target=best, n_steps=8)
    figure, _ = viz.visualize_image_attr(found[0].permute(1, 2, 0).numpy(), sign="all")
    figure.savefig("where.png")
    return tensor, found.sum(1).numpy()


def five(network, path):
    from captum.attr import LayerAttribution, LayerGradCam
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.498] * 3, [0.502] * 3))
    tensor = transforms.Compose(steps)(Image.open(path).convert("RGB"))[None]
    best = network(tensor)[0].topk(5).indices
    heat = LayerGradCam(network, network.bn2).attribute(tensor.expand(5, -1, -1, -1), best)
    heat = LayerAttribution.interpolate(heat, (224, 224)).detach().numpy()
    return tensor, heat[:, 0]


def signed(network, path):
    from captum.attr import LayerAttribution, LayerGradCam
    from captum.attr import visualization as viz
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.498] * 3, [0.502] * 3))
    tensor = transforms.Compose(steps)(Image.open(path).convert("RGB"))[None]
    scores = network(tensor)[0]
    nearest = (scores - scores[281]).abs().argsort()[1:4]

    def contrast(given):
        scores = network(given)  # once: of several calls, captum reads the layer in one
        return scores[:, 281] - 0.6 * scores[:, nearest].mean(1)

    heat = LayerGradCam(contrast, network.bn2).attribute(tensor)
    heat = LayerAttribution.interpolate(heat, (224, 224))[0].permute(1, 2, 0).detach().numpy()
    figure, _ = viz.visualize_image_attr(heat, sign="all")
    figure.savefig("where.png")
    return tensor, heat[None, ..., 0]


def loader(network, batches):
    from captum.attr import LayerAttribution, LayerGradCam

    explainer = LayerGradCam(network, network.bn2)
    for images in batches:
        heat = explainer.attribute(images, network(images).argmax(1))
        maps = LayerAttribution.interpolate(heat, (224, 224))[:, 0].detach().numpy()
    return images, maps


def own_names(network, path):
    from captum.attr import LayerAttribution, LayerGradCam
    from torchvision import transforms

    names = [f"kind {i}" for i in range(1000)]
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.498] * 3, [0.502] * 3))
    tensor = transforms.Compose(steps)(Image.open(path).convert("RGB"))[None]
    heat = LayerGradCam(network, network.bn2).attribute(tensor, names.index("kind 7"))
    heat = LayerAttribution.interpolate(heat, (224, 224)).detach().numpy()
    return tensor, heat[:, 0]


def transformers(classify, path):
    from captum.attr import Saliency
    from captum.attr import visualization as viz

    photo, vit = Image.open(path).convert("RGB"), classify.model
    tensor = classify.image_processor(photo, return_tensors="pt")["pixel_values"]
    best = int(vit(tensor).logits.argmax())
    found = Saliency(lambda given: vit(given).logits).attribute(tensor, best)
    shown, original = found[0].permute(1, 2, 0).numpy(), np.asarray(photo.resize((224, 224)))
    figure, _ = viz.visualize_image_attr(shown, original, "blended_heat_map")
    figure.savefig("where.png")
    return tensor, found.sum(1).numpy()


def yolo(detector, path):
    from captum.attr import LayerAttribution, LayerGradCam
    from captum.attr import visualization as viz
    from torchvision import transforms

    network = detector.model.eval()
    steps = [transforms.Resize((640, 640)), transforms.ToTensor()]
    tensor = transforms.Compose(steps)(Image.open(path).convert("RGB"))[None]
    strongest = LayerGradCam(lambda given: network(given)[0][:, 4:].amax((1, 2)), network.model[-2])
    heat = strongest.attribute(tensor)
    heat = LayerAttribution.interpolate(heat, (640, 640))[0].permute(1, 2, 0).detach().numpy()
    original = tensor[0].permute(1, 2, 0).numpy()
    figure, _ = viz.visualize_image_attr(heat, original, "blended_heat_map")
    figure.savefig("where.png")
    return tensor, heat[None, ..., 0]


def volume(network_of_volumes, volumes):
    from captum.attr import LayerAttribution, LayerGradCam
    from captum.attr import visualization as viz
    from matplotlib import pyplot

    best = int(network_of_volumes(volumes).argmax())
    heat = LayerGradCam(network_of_volumes, network_of_volumes[1]).attribute(volumes, best)
    heat = LayerAttribution.interpolate(heat, volumes.shape[2:])[0, 0].detach().numpy()
    figure, axes = pyplot.subplots(1, len(heat))
    for at, image, plane in zip(axes, volumes[0, 0, ..., None].numpy(), heat, strict=True):
        how = {"method": "blended_heat_map", "plt_fig_axis": (figure, at)}
        viz.visualize_image_attr(plane[..., None], image.repeat(3, axis=-1), **how)
    figure.savefig("where.png")
    return volumes, heat[None]
