"""Twenty calls as a user writes them, checked by mypy and pyright, strict, without a cast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import camcore
from camcore import Comparison, Explainer, Explanation, Factorisation, Layout
from camcore.methods import Method
from camcore.photos import CentreCrop, read_photo
from camcore.targets import Class, Contrast, Each, top
from camcore.viz import save_figure
from camcore.zoo import LoadedModel, load_model

Maps = npt.NDArray[np.float32]


def explain_once(model: torch.nn.Module, images: torch.Tensor) -> Maps:
    """Make maps in each way that `camcore.explain` offers."""
    result: Explanation = camcore.explain(model, images)
    result = camcore.explain(model, images, 285)
    result = camcore.explain(model, images, [285, 7], "layer4")
    result = camcore.explain(
        model, images, Contrast(285, against=[282]), layer=["layer3", "layer4"]
    )
    result = camcore.explain(model, images, method="Grad-CAM++", recipe="captum", score="logit")
    result = camcore.explain(model, images, lambda outputs: outputs[:, 3])
    ranked: list[Explanation] = camcore.explain(model, images, top(3))
    both: list[Explanation] = camcore.explain(model, images, Each(Class(1), 2), method="layercam")
    named: dict[str, Explanation] = camcore.explain(model, images, method=["gradcam", "layercam"])
    nested: dict[str, list[Explanation]] = camcore.explain(
        model, images, top(2), method=("gradcam", "xgradcam")
    )
    return np.stack(
        [
            result.maps,
            ranked[0].maps,
            both[1].maps,
            named["gradcam"].maps,
            nested["gradcam"][0].maps,
        ]
    )


def explain_often(model: torch.nn.Module, batches: list[torch.Tensor]) -> list[float]:
    """Settle a model once, then explain batch after batch."""
    explainer: Explainer = Explainer(model, layer="layer4", method="layercam")
    names: tuple[str, ...] = explainer.layers(batches[0])
    scores = [float(explainer(batch, 3).scores[0]) for batch in batches]
    each: list[Explanation] = explainer(batches[0], top(2))
    rows: list[Method] = [camcore.methods.find("gradcam"), camcore.methods.find("eigencam")]
    several = Explainer(model, method=rows, layout=Layout("channels_first"))
    found: dict[str, Explanation] = several(batches[0])
    lists: dict[str, list[Explanation]] = several(batches[0], Each(1, 2))
    return [
        *scores,
        float(len(names)),
        each[0].scores[0],
        found["eigencam"].scores[0],
        *map(len, lists),
    ]


def keep_and_show(result: Explanation, photo: Path) -> Comparison:
    """Save, load, rank, lay over a photograph, compare."""
    result.save("cat.npz")
    again = camcore.load("cat.npz")
    best: list[list[tuple[int, float]]] = again.top(3)
    picture = read_photo(photo)
    overlay: npt.NDArray[np.uint8] = again.overlay(picture[None])
    save_figure(again.figure(picture[None], names=["cat"] * (1 + best[0][0][0])), "cat.png")
    assert overlay.dtype == picture.dtype
    return camcore.compare(result, again.at(picture.shape[:2]))


def load_and_factorise(spec: str, photo: npt.NDArray[np.uint8]) -> Factorisation:
    """Load by name, crop, and find a layer's concepts."""
    loaded: LoadedModel = load_model(spec)
    crop = CentreCrop(photo.shape, loaded.size, loaded.resize)
    inputs = loaded.preprocess(crop.to_model(photo))
    weights = camcore.methods.gradcam(np.ones((1, 2, 3, 3)), np.ones((1, 2, 3, 3)))
    assert weights.shape == (1, 3, 3)
    return camcore.factorise(loaded.model, inputs, 4)
