"""Every method on one photograph, in PyTorch and in Keras, as one picture.

EfficientNet-Lite0 with its ImageNet weights; each pair is PyTorch left, Keras right, with
the largest difference of the signed maps relative to their largest value.

    python examples/gallery.py [PHOTO] [--output gallery.png]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from matplotlib.figure import Figure

import camcore
from camcore import zoo
from camcore.methods import TABLE, Method
from camcore.photos import CentreCrop, read_photo
from camcore.progress import track
from camcore.zoo import LoadedModel

# PyTorch before TensorFlow: Triton and TensorFlow clash the other way round.
SPECS = ("demo-torch:efficientnet_lite0", "demo-keras:efficientnet_lite0")
COLUMNS = 5

# What takes minutes to hours at its defaults, in fewer passes; the picture says so.
FEWER: dict[str, dict[str, Any]] = {
    "scorecam": {"channels": 64},
    "sscam": {"channels": 16, "samples": 4, "sigma": 0.5},
    "iscam": {"channels": 32, "steps": 3},
    "occlusion": {"window": 40, "stride": 24},
    "rise": {"masks": 200},
    "smoothgrad": {"samples": 8},
    "integratedgradients": {"steps": 8},
}


def main() -> None:
    """Draw the gallery."""
    options = arguments()
    photo = read_photo(options.photo) if options.photo else sample_photo()
    loaded = [zoo.load_model(spec) for spec in SPECS]
    crop = CentreCrop(
        photo.shape, loaded[0].size, loaded[0].resize, loaded[0].interpolation
    ).to_model(photo)
    # A convolutional network has no attention to show.
    methods = [method for method in TABLE if "attention_gradients" not in method.needs]

    figure = Figure(figsize=(4.2 * COLUMNS, 2.7 * -(-len(methods) // COLUMNS)), layout="tight")
    for place, method in enumerate(track(methods, "methods", True), start=1):
        shown = [explain(one, crop, method) for one in loaded]
        (torch,), (keras,) = (result.raw.values() for result in shown)
        apart = np.abs(torch - keras).max() / np.abs(torch).max()
        pair = np.hstack([result.overlay(crop)[0] for result in shown])
        panel = figure.add_subplot(-(-len(methods) // COLUMNS), COLUMNS, place)
        panel.imshow(pair)
        panel.set_axis_off()
        fewer = ", ".join(f"{k} {v}" for k, v in FEWER.get(method.name, {}).items())
        panel.set_title(f"{method.label}   {apart:.0e}\n{fewer}", fontsize=10)
    figure.savefig(options.output, dpi=80)
    print(f"wrote {options.output}")


def explain(loaded: LoadedModel, crop: np.ndarray, method: Method) -> camcore.Explanation:
    """Explain the photograph's predicted class by one method."""
    result: camcore.Explanation = camcore.explain(
        loaded.model,
        loaded.preprocess(crop),
        layer=loaded.default_layer,
        method=method,
        **FEWER.get(method.name, {}),
    )
    return result


def sample_photo() -> np.ndarray:
    """Take the cat that scikit-image ships."""
    from skimage import data

    photo: np.ndarray = data.chelsea()
    return photo


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, help="an image file")
    parser.add_argument("--output", type=Path, default=Path("gallery.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
