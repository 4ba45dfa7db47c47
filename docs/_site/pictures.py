"""Draw the pictures of the site: what is on its first page, and three photographs by each method.

    python docs/_site/pictures.py [METHOD ...]

EfficientNet-Lite0 with its ImageNet weights. With names, only these methods' pictures are drawn.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from skimage import data

import camcore
from camcore import zoo
from camcore._shared.progress import track
from camcore.methods.table import TABLE
from camcore.photos.io import encode, write_image
from camcore.photos.photo import Photo

PICTURES: Final = Path(__file__).parents[1] / "pictures"
PHOTOS: Final = ("chelsea", "coffee", "rocket")
SIDE: Final = 240
FRAMEWORKS: Final = {"PyTorch": "torch", "Keras": "keras", "JAX": "jax", "ONNX Runtime": "onnx"}
SIX: Final = ("gradcam", "layercam", "eigencam", "fem", "ablationcam", "reciprocam")
ATTENTION: Final = ("legrad", "relevancy", "rollout", "tokencam")
"""What looks at attention, or at words, of which no weights can be installed."""

FEWER: Final[dict[str, dict[str, Any]]] = {
    "scorecam": {"channels": 200},
    "polycam": {"channels": 40},
    "sscam": {"channels": 40, "samples": 4},
    "iscam": {"channels": 60, "steps": 4},
    "gscorecam": {"channels": 200},
    "occlusion": {"window": 40, "stride": 20},
    "rise": {"masks": 600},
    "hsic": {"masks": 600},
    "sobol": {"designs": 16},
    "xrai": {"steps": 16},
}
"""What is drawn with fewer passes than its default."""


def first_page(photo: Photo) -> Any:
    """Draw a photograph by six methods in four frameworks, with how far these are apart."""
    loaded = {
        name: zoo.load_model(f"demo-{spec}:efficientnet_lite0") for name, spec in FRAMEWORKS.items()
    }
    found = {name: camcore.explain(one, photo, method=list(SIX)) for name, one in loaded.items()}
    figure = Figure(figsize=(11, 6.6), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(len(found), len(SIX) + 1)
    for row, (name, results) in zip(grid, found.items(), strict=True):
        row[0].set_ylabel(name, fontsize=11)
        row[0].imshow(results[SIX[0]].photographs[0].photo)
        for cell, result in zip(row[1:], results.values(), strict=True):
            cell.imshow(result.overlay()[0])
    first = next(iter(found.values()))
    for at, method in enumerate(SIX, 1):
        apart = max(np.abs(one[method].maps - first[method].maps).max() for one in found.values())
        label = next(one.label for one in TABLE if one.name == method)
        grid[0, at].set_title(f"{label}\n{apart:.0e} apart", fontsize=10)
    grid[0, 0].set_title("photograph", fontsize=10)
    for cell in grid.flat:
        cell.set(xticks=[], yticks=[])
        for edge in cell.spines.values():
            edge.set_visible(False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def strip(model: Any, photos: list[Photo], method: str) -> Any:
    """Draw photographs by a method beside each other, ``(SIDE, 3 * SIDE, 3)`` uint8."""
    options = FEWER.get(method, {})
    results = (camcore.explain(model, photo, method=method, **options) for photo in photos)
    return np.concatenate([result.overlay()[0] for result in results], axis=1)


def square(name: str) -> Photo:
    """Take the middle of a photograph, `SIDE` pixels high and wide."""
    from PIL import Image

    pixels = np.asarray(getattr(data, name)())
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    middle = Image.fromarray(pixels[top : top + side, left : left + side])
    return Photo.of(np.asarray(middle.resize((SIDE, SIDE), Image.Resampling.LANCZOS)))


def main() -> None:
    """Draw what is asked for."""
    photos = [square(name) for name in PHOTOS]
    asked = sys.argv[1:]
    if not asked:
        write_image(PICTURES / "home.jpg", encode(first_page(photos[0]), "jpg"))
    model = zoo.load_model("demo-torch:efficientnet_lite0")
    names = asked or [one.name for one in TABLE if one.name not in ATTENTION]
    (PICTURES / "methods").mkdir(exist_ok=True)
    for name in track(names, "methods", None):
        path = PICTURES / "methods" / f"{name}.jpg"
        write_image(path, encode(strip(model, photos, name), "jpg"))


if __name__ == "__main__":
    main()
