"""How far apart the published libraries are on one network: writes docs/recipes.md and its picture.

Each recipe explains the same photographs with the same weights, under its library's own
settings; tests/conformance holds the recipes to the installed libraries.

    python benchmarks/peers_apart.py [--output docs]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from skimage import data
from sklearn.datasets import load_sample_images

import camcore
from camcore import zoo
from camcore.photos.crop import CentreCrop
from camcore.recipes import TABLE

HEAD, NARROW = "bn2", "blocks.5"

INTRODUCTION = """\
# Recipes

A recipe is a published convention: which score is explained, which variant of a formula is meant,
which steps turn the signed map into the shown one, and how heat is laid over the photograph.

```python
camcore.explain(model, images, recipe="pytorch-grad-cam")       # a PyTorch or a Keras model
camcore.explain(model, images, recipe="tf-keras-vis", method="scorecam")

mine = camcore.recipes.find_recipe("torchcam").derive("mine", score="logit")
camcore.explain(model, images, recipe=mine)
```

`camcore recipes` lists them, and `camcore recipes NAME` shows what one does beside the papers'
formulas, with known defects. A method that a library lacks is computed as in its paper and shown as
the library shows its own. `tests/conformance` runs the installed libraries and holds each recipe to
them within 1e-5 of maps in [0, 1], or within 1e-4 for a model of the other framework.
[apart.md](apart.md) says where papers, their authors' code and libraries part.

Written by `python benchmarks/peers_apart.py`.
"""

APART = """\
## How far the libraries are apart

EfficientNet-Lite0 with its ImageNet weights in PyTorch {torch}, {count} photographs ({photos}),
each explained alone for its predicted class, at the last layer before pooling unless said. Every
library is given the same activations and gradients: what differs is the convention. Maps that
stay at the layer's size are enlarged linearly, and each is scaled to [0, 1]; inverted ones stay
inverted.

![Grad-CAM of one photograph under each recipe](recipes.png)
"""

READING = """\
Above the diagonal the largest difference, averaged over the photographs; below it Pearson's
correlation, averaged.
"""


def main() -> None:
    """Compute the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    photos = photographs()
    model, images, seen = network(photos)
    parts = [
        INTRODUCTION,
        APART.format(torch=version("torch"), count=len(photos), photos=", ".join(photos)),
    ]
    for method, title, layer, batch in (
        ("gradcam", "Grad-CAM", HEAD, images),
        ("gradcampp", "Grad-CAM++", HEAD, images),
        ("layercam", "LayerCAM", NARROW, images),
        ("scorecam", "Score-CAM", NARROW, images[:2]),
    ):
        names = recipes_of(method)
        maps = [
            {
                name: camcore.explain(model, one[None], layer=layer, method=method, recipe=name)
                for name in names
            }
            for one in batch
        ]
        at = "" if layer == HEAD else f", at the narrower layer `{layer}`"
        some = "" if len(batch) == len(images) else f", {len(batch)} photographs"
        parts.append(f"### {title}{at}{some}\n\n{READING}\n{matrix(maps)}")
        if method == "gradcam":
            picture(seen[0], maps[0]).savefig(folder / "recipes.png", dpi=80)
    parts.append("## What each recipe does\n")
    parts += [f"```\n{recipe.describe()}\n```\n" for recipe in TABLE.values()]
    (folder / "recipes.md").write_text("\n".join(parts).rstrip() + "\n")
    print(f"wrote recipes.md and recipes.png into {folder}")


def recipes_of(method: str) -> list[str]:
    """List the paper and the libraries that have the method, but for those that repeat another."""
    return [
        name
        for name, recipe in TABLE.items()
        if name == "paper"
        or (name != "torchcam-documented" and method in (*recipe.methods, *recipe.alike))
        or (name == "torchcam-documented" and method == "gradcampp")
    ]


def photographs() -> dict[str, np.ndarray]:
    """Load RGB photographs that packages ship."""
    china, flower = load_sample_images().images
    return {
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "astronaut": data.astronaut(),
        "rocket": data.rocket(),
        "china": china,
        "flower": flower,
    }


def network(photos: dict[str, np.ndarray]) -> tuple[object, np.ndarray, list[np.ndarray]]:
    """Load the network, its batch, and the photographs as it sees them."""
    loaded = zoo.load_model("demo-torch:efficientnet_lite0")
    seen = [
        CentreCrop(photo.shape[:2], loaded.size, loaded.resize, loaded.interpolation).to_model(
            photo
        )
        for photo in photos.values()
    ]
    return loaded.model, np.concatenate([loaded.preprocess(crop) for crop in seen]), seen


def matrix(maps: Sequence[dict[str, camcore.Explanation]]) -> str:
    """Compare each recipe with each, as a Markdown table of means over photographs."""
    names = list(maps[0])
    together = [camcore.compare(one, scaled=True).pairs for one in maps]
    cells = {}
    for pairs in zip(*together, strict=True):
        first, second = pairs[0].names
        cells[first, second] = f"{np.mean([pair.largest for pair in pairs]):.3f}"
        cells[second, first] = f"{np.mean([pair.pearson for pair in pairs]):.3f}"
    rows = [["", *names], ["---", *["---:"] * len(names)]]
    rows += [[f"**{a}**", *(cells.get((a, b), "·") for b in names)] for a in names]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def picture(photo: np.ndarray, maps: dict[str, camcore.Explanation]):
    """Draw the photograph, and its map under each recipe as the recipe shows it."""
    from matplotlib.figure import Figure

    shown: Sequence[tuple[str, np.ndarray]] = [
        ("photograph", photo),
        *((name, maps[name].maps[0]) for name in maps),
    ]
    drawing = Figure(figsize=(11, 5.6), layout="constrained")
    panels = drawing.subplots(-(-len(shown) // 6), 6).flat
    for panel, (name, image) in zip(panels, shown, strict=False):
        panel.imshow(image, cmap="inferno", interpolation="nearest")
        panel.set_title(name, fontsize=9)
    for panel in drawing.axes:
        panel.set_axis_off()
    return drawing


if __name__ == "__main__":
    main()
