"""What the installed libraries need for what docs/everyday.md does, to be run and counted.

Each function is given a network of PyTorch (or Keras), and the path of a photograph, and leaves
where.png. Its lines but the first, and its imports aside, are what is counted. What photographs
need before a network sees them is written as these libraries' own examples write it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image


def overlay_by_pytorch_grad_cam(network, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        heat = cam(input_tensor=tensor, targets=None)[0]
    Image.fromarray(show_cam_on_image(rgb, heat, use_rgb=True)).save("where.png")


def overlay_by_captum(network, path):
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


def overlay_by_tf_explain(network, path):
    import keras
    from tf_explain.core.grad_cam import GradCAM

    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    tensor = ((image - 127) / 128)[None]
    best = int(np.argmax(network(tensor)))
    picture = GradCAM().explain((tensor, None), network, best, layer_name="head_relu")
    Image.fromarray(picture).save("where.png")


def class_by_pytorch_grad_cam(network, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        heat = cam(input_tensor=tensor, targets=[ClassifierOutputTarget(281)])[0]
    Image.fromarray(show_cam_on_image(rgb, heat, use_rgb=True)).save("where.png")


def methods_by_pytorch_grad_cam(network, path):
    from pytorch_grad_cam import EigenCAM, GradCAM, LayerCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    pictures = []
    for method in (GradCAM, LayerCAM, EigenCAM):
        with method(model=network, target_layers=[network.bn2]) as cam:
            heat = cam(input_tensor=tensor, targets=None)[0]
        pictures.append(show_cam_on_image(rgb, heat, use_rgb=True))
    Image.fromarray(np.hstack(pictures)).save("where.png")


def five_by_pytorch_grad_cam(network, path):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    rgb = np.float32(Image.open(path).convert("RGB").resize((224, 224))) / 255
    tensor = preprocess_image(rgb, mean=[0.498] * 3, std=[0.502] * 3)
    best = network(tensor)[0].topk(5).indices.tolist()
    targets = [ClassifierOutputTarget(index) for index in best]
    with GradCAM(model=network, target_layers=[network.bn2]) as cam:
        heats = [cam(input_tensor=tensor, targets=[target])[0] for target in targets]
    pictures = [show_cam_on_image(rgb, heat, use_rgb=True) for heat in heats]
    Image.fromarray(np.hstack(pictures)).save("where.png")


def pixels_by_captum(network, path):
    from captum.attr import IntegratedGradients
    from captum.attr import visualization as viz
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    image = transforms.Compose(steps)(Image.open(path).convert("RGB"))
    tensor = transforms.Normalize([0.498] * 3, [0.502] * 3)(image)[None]
    found = IntegratedGradients(network).attribute(
        tensor, target=int(network(tensor).argmax()), n_steps=8
    )
    figure, _ = viz.visualize_image_attr(found[0].permute(1, 2, 0).numpy(), sign="all")
    figure.savefig("where.png")


OURS: Mapping[str, str] = {
    "overlay": "A photograph to an overlay",
    "class": "A class by its name",
    "methods": "Several methods side by side",
    "five": "The five highest classes, a map for each",
    "pixels": "Attributions at the pixels",
}
"""The section of docs/everyday.md that does what functions of that beginning do."""

THEIRS: Mapping[str, str] = {
    "pytorch_grad_cam": "pytorch-grad-cam",
    "captum": "captum",
    "tf_explain": "tf-explain",
}

FUNCTIONS: Mapping[str, Callable[..., None]] = {
    name: function
    for name, function in list(globals().items())
    if "_by_" in name and callable(function)
}


def lines_of(code: str) -> int:
    """Count the lines of some code, imports and empty ones aside."""
    imports = [n for n in ast.walk(ast.parse(code)) if isinstance(n, (ast.Import, ast.ImportFrom))]
    left_out = {line for n in imports for line in range(n.lineno, (n.end_lineno or n.lineno) + 1)}
    lines = enumerate(code.splitlines(), 1)
    return sum(bool(line.strip()) and number not in left_out for number, line in lines)


def table(page: str) -> str:
    """Count what each takes: of ours as the page has it, of theirs as it stands above."""
    rows = [f"| | camcore | {' | '.join(THEIRS.values())} |", "|---|---|" + "---|" * len(THEIRS)]
    for name, title in OURS.items():
        block = page.split(f"## {title}\n")[1].split("```python\n")[1].split("```")[0]
        counts = [str(lines_of(block))]
        for library in THEIRS:
            function = FUNCTIONS.get(f"{name}_by_{library}")
            code = function and inspect.getsource(function).partition("\n")[2]
            counts.append(str(lines_of(inspect.cleandoc(code))) if code else "")
        rows.append(f"| {title} | {' | '.join(counts)} |")
    return "\n".join(rows)
