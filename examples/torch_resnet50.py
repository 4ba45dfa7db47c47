"""The ResNet-50 hook tutorial on camcore: top-5, a map at the photo's own size, an overlay.

Also computes the tutorial's map with the tutorial's own few lines, and checks that
``recipe="notebook"`` is the same.

    python examples/torch_resnet50.py [PHOTO] [--weights resnet50.pth] [--output FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torchvision.models import resnet50

import camcore
from camcore.photos import read_photo, write_image
from camcore.zoo import imagenet_classes

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def main() -> None:
    """Explain one photograph."""
    options = arguments()
    photo = read_photo(options.photo) if options.photo else sample_photo()
    torch.manual_seed(0)
    model = resnet50(weights=None).eval()
    if options.weights:
        model.load_state_dict(torch.load(options.weights, weights_only=True))
    else:
        print("No --weights: ResNet-50 has random weights, so what it sees means nothing.")
    images = preprocess(photo)

    result = camcore.explain(
        model, images, layer="layer4.2.conv3", recipe="notebook", activation="softmax"
    )
    result = result.at(photo.shape[:2])

    classes = imagenet_classes()
    for index, probability in result.top(5)[0]:
        print(f"{probability:6.1%}  {classes[index] if classes else index}")
    ours, theirs = result.maps[0], tutorial(model, images, photo.shape[:2])
    difference = np.abs(ours - theirs).max()
    print(f"largest difference to the tutorial's own lines: {difference:.1e}")

    options.output.mkdir(parents=True, exist_ok=True)
    write_image(options.output / "original.png", photo)
    write_image(options.output / "overlay.png", result.overlay(photo)[0])
    print(f"wrote original.png and overlay.png into {options.output}")
    if difference > 1e-5:
        raise SystemExit("the maps differ by more than 1e-5")


def preprocess(photo: np.ndarray) -> torch.Tensor:
    """Turn a photograph into a batch of one, 224 x 224 and standardised as for ImageNet."""
    small = cv2.resize(photo, (224, 224), interpolation=cv2.INTER_AREA) / 255
    return torch.tensor(((small - MEAN) / STD).transpose(2, 0, 1)[None], dtype=torch.float32)


def tutorial(model: Any, images: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """Go the tutorial's way: two hooks, a backward pass, and NumPy."""
    kept: dict[str, torch.Tensor] = {}
    layer = model.layer4[2].conv3
    hooks = [
        layer.register_forward_hook(lambda *a: kept.update(activations=a[2].detach())),
        layer.register_full_backward_hook(lambda *a: kept.update(gradients=a[2][0])),
    ]
    scores = model(images)
    scores[0, scores.argmax()].backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad()
    weights = kept["gradients"][0].mean(dim=(1, 2))
    heat = (weights[:, None, None] * kept["activations"][0]).sum(dim=0)
    shown: np.ndarray = cv2.resize(np.maximum(heat.numpy(), 0), size[::-1])
    scaled: np.ndarray = (shown - shown.min()) / (shown.max() - shown.min() + 1e-8)
    return scaled


def sample_photo() -> np.ndarray:
    """Take the cup of coffee that scikit-image ships."""
    from skimage import data

    photo: np.ndarray = data.coffee()
    return photo


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, help="an image file")
    parser.add_argument("--weights", type=Path, help="a state dict of torchvision's resnet50")
    parser.add_argument("--output", type=Path, default=Path("camcore-out"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
