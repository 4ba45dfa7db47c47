"""What pytorch-grad-cam needs for the sections of docs/everyday.md, a function for each."""

from __future__ import annotations

import numpy as np
from PIL import Image

NOT_OFFERED = {
    "box": "no module makes boxes of maps; FasterRCNNBoxScoreTarget takes a detector's own",
    "signed": "base_cam.py cuts every map off at zero, before and after it is resized",
    "keep": "maps are arrays, without what they are of",
    "report": "there is none",
    "video": "there is no reader or writer of files",
}
"""Sections that it has no way to do, and where that is seen."""


def overlay(network, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        heat = cam(input_tensor=tensor, targets=None)[0]
    Image.fromarray(show_cam_on_image(rgb, heat, use_rgb=True)).save("where.png")
    return tensor, heat[None]


def named(network, path, names):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        heats = cam(tensor, [ClassifierOutputTarget(names.index("tabby"))])
    return tensor, heats


def layer(network, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    with GradCAM(model=network, target_layers=[network.get_submodule("blocks.4")]) as cam:
        by_name = cam(tensor, targets=None)
    with GradCAM(model=network, target_layers=[network.blocks[4]]) as cam:
        by_itself = cam(tensor, targets=None)
    return tensor, by_name, by_itself


def layers(network, path):
    from pytorch_grad_cam import LayerCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    with LayerCAM(model=network, target_layers=[network.blocks[4], network.blocks[6]]) as cam:
        heat = cam(tensor, targets=None)[0]
    Image.fromarray(show_cam_on_image(rgb, heat, use_rgb=True)).save("where.png")
    return tensor, heat[None]


def methods(network, path):
    from pytorch_grad_cam import EigenCAM, GradCAM, LayerCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    heats = []
    for method in (GradCAM, LayerCAM, EigenCAM):
        with method(model=network, target_layers=[network.bn2]) as cam:
            heats.append(cam(input_tensor=tensor, targets=None)[0])
    pictures = [show_cam_on_image(rgb, heat, use_rgb=True) for heat in heats]
    Image.fromarray(np.hstack(pictures)).save("where.png")
    return tensor, np.stack(heats)


def smooth(network, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        flipped = cam(tensor, targets=None, aug_smooth=True)
        first_component = cam(tensor, targets=None, eigen_smooth=True)
    return tensor, first_component, flipped


def concepts(network, path, other):
    import torch
    from pytorch_grad_cam import DeepFeatureFactorization
    from pytorch_grad_cam.utils.image import preprocess_image

    photos = [Image.open(one).convert("RGB").resize((224, 224)) for one in (path, other)]
    rgbs = [np.float32(photo) / 255 for photo in photos]
    tensor = torch.cat([preprocess_image(rgb, [0.498] * 3, [0.502] * 3) for rgb in rgbs])
    dff = DeepFeatureFactorization(network, network.bn2, computation_on_concepts=network.classifier)
    _, maps, scores = dff(tensor, 4)
    return tensor, np.stack(maps), scores


def good(network, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.metrics.road import ROADMostRelevantFirstAverage
    from pytorch_grad_cam.utils.image import preprocess_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    targets = [ClassifierOutputTarget(int(network(tensor).argmax()))]
    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        heats = cam(tensor, targets)
    drop = ROADMostRelevantFirstAverage(percentiles=[50, 90])(tensor, heats, targets, network)
    return tensor, heats, drop


def pixels(network, path):
    from pytorch_grad_cam import GuidedBackpropReLUModel
    from pytorch_grad_cam.utils.image import deprocess_image, preprocess_image

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    found = GuidedBackpropReLUModel(model=network, device="cpu")(tensor)
    Image.fromarray(deprocess_image(found)).save("where.png")
    return tensor, found


def five(network, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    best = network(tensor)[0].topk(5).indices.tolist()
    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        heats = [cam(tensor, [ClassifierOutputTarget(index)])[0] for index in best]
    return tensor, np.stack(heats)


def loader(network, batches):
    from pytorch_grad_cam import GradCAM

    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        for images in batches:
            maps = cam(input_tensor=images, targets=None)
    return images, maps


def own_names(network, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    names = [f"kind {i}" for i in range(1000)]
    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        heats = cam(tensor, [ClassifierOutputTarget(names.index("kind 7"))])
    return tensor, heats


def transformers(classify, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image
    from pytorch_grad_cam.utils.reshape_transforms import vit_reshape_transform

    photo, vit = Image.open(path).convert("RGB"), classify.model
    rgb = np.float32(photo.resize((224, 224))) / 255
    tensor = classify.image_processor(photo, return_tensors="pt")["pixel_values"]
    hook = vit.register_forward_hook(lambda module, given, outputs: outputs.logits)
    with GradCAM(vit, [vit.vit.layers[-1].layernorm_before], vit_reshape_transform) as cam:
        heat = cam(tensor, targets=None)[0]
    hook.remove()
    Image.fromarray(show_cam_on_image(rgb, heat, use_rgb=True)).save("where.png")
    return tensor, heat[None]


def yolo(detector, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image

    network = detector.model.eval()
    rgb = np.float32(Image.open(path).convert("RGB").resize((640, 640))) / 255
    tensor = preprocess_image(rgb, mean=[0] * 3, std=[1] * 3)
    hook = network.register_forward_hook(lambda module, given, outputs: outputs[0])
    with GradCAM(model=network, target_layers=[network.model[-2]]) as cam:
        heat = cam(tensor, targets=[lambda boxes: boxes[4:].max()])[0]
    hook.remove()
    Image.fromarray(show_cam_on_image(rgb, heat, use_rgb=True)).save("where.png")
    return tensor, heat[None]


def volume(network_of_volumes, volumes):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image

    with GradCAM(model=network_of_volumes, target_layers=[network_of_volumes[1]]) as cam:
        heat = cam(volumes, targets=None)[0]
    planes = np.repeat(volumes[0, 0, ..., None].numpy(), 3, axis=-1)
    pictures = [show_cam_on_image(*both, use_rgb=True) for both in zip(planes, heat, strict=True)]
    Image.fromarray(np.hstack(pictures)).save("where.png")
    return volumes, heat[None]
