"""Where the papers, their authors' code and the libraries part, and by how much.

    python tests/support/apart_page.py

writes docs/apart.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from attending import attending, legrad_by_layer

import camcore
from camcore.methods.cards import formula
from camcore.methods.table import find
from camcore.postprocess import normalise
from camcore.recipes import TABLE
from camcore.resize import resize
from camcore.targets import Class, LogProbability, Target

PAGE = Path(__file__).parents[2] / "docs/apart.md"

HEAD, NARROW = "bn2", "blocks.0"
SEVERAL = ("blocks.4", "blocks.5", HEAD)

REPEATS = ("torchcam-documented",)
"""Recipes that repeat another but for one method, which says so on the page of recipes."""


@dataclass(frozen=True)
class Row:
    """A method whose code has been read beside its paper.

    Parameters
    ----------
    method : str
        Canonical name.
    source : str
        Where the equation stands that recipe ``paper`` follows, and what could not be read.
    code : str
        What the authors' code does; that there is none, where none could be had.
    ports : mapping of str to str
        By recipe, what that library does otherwise.
    layer : str or tuple of str
        Where the maps are made.
    rest : bool
        Whether the target is Class(c) + LogProbability(c).
    options : mapping
        For every recipe.
    forms : mapping of str to mapping
        Further options of recipe ``authors``, by what they are called.
    """

    method: str
    source: str
    code: str
    ports: Mapping[str, str] = field(default_factory=dict)
    layer: str | tuple[str, ...] = HEAD
    rest: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    forms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_PGC = "pytorch-grad-cam"

ROWS: Sequence[Row] = (
    Row(
        "shapleycam",
        "Cai, arXiv:2501.06261. Its abstract names the second-order expansion and ReST, the logit "
        "and the log-probability together; the text behind it could not be had, so the equation "
        "is that of the author's own `ShapleyCAM_mean` and of the port that the author gave to "
        "pytorch-grad-cam.",
        "caihuaiguang/pytorch-shapley-cam has four classes. The one called `ShapleyCAM` does not "
        "average over space, and takes the positive part before channels are summed; `_mean`, "
        "`_hires` and `_x` are options `form=` of recipe `authors`. Its experiments explain ReST: "
        "`target=Class(c) + LogProbability(c)`. Of a class alone the Hessian is zero behind "
        "rectifiers, and `ShapleyCAM_mean` is Grad-CAM.",
        {_PGC: "the equation; held to the installed library with ReST within 1e-5"},
        layer="blocks.5",
        rest=True,
        forms={"mean": {"form": "mean"}, "hires": {"form": "hires"}, "x": {"form": "x"}},
    ),
    Row(
        "legrad",
        "Bousselham et al., ICCV 2025, arXiv:2404.03214: gradients of each layer's own score. The "
        "abstract was read; the equations could not be had. camcore differentiates the model's "
        "score at every layer, in one pass and whatever the head, which is the paper's at the last "
        'layer as far as its pooling is the model\'s; `scored="block"` differentiates each '
        "block's own.",
        "WalBouss/LeGrad scores a block by the mean of all its tokens, class token included, put "
        "through the final norm and projection, also where the model reads its class token alone. "
        "It begins two blocks before the end (`layer_index=-2`), enlarges, adds up and brings to "
        "[0, 1]. Recipe `authors` is that. With an attention pooler (SigLIP, CoCa) a block's "
        "tokens go through the pooler, and its attention is differentiated in place of the "
        "blocks'; so does the recipe, by what follows the last block. The code leaves SigLIP's "
        "final norm out ahead of the pooler and CoCa's behind it, and blanks what an empty prompt "
        "lights above 0.8 for SigLIP: none of that is done here.",
        {
            "torchcam": "scores blocks as the authors do unless given `score_projection`, and so "
            "does the recipe; it averages the layers that are named, at their own size"
        },
    ),
    Row(
        "fem",
        "Fuad et al., IPTA 2020. The text could not be had; code of the authors' laboratory, "
        "whose comments say what the paper has, and xplique's documentation agree on the binary "
        "map weighted by the channel's mean.",
        "LaBRI's code is the equation, with `>`, divided by its maximum and left at the layer's "
        "size.",
        {
            _PGC: "weights the channel itself by the share of places above the threshold",
            "xplique": "`≥` in place of `>`: a channel that is constant over space adds its value "
            "everywhere (by 5.0 of a channel of 5.0), where it adds nothing here",
        },
    ),
    Row(
        "sscam",
        "Wang et al., arXiv:2006.14255, the first of two variants. The algorithm could not be "
        "had: camcore follows torchcam's reading, noise N(0, 2²) on masks in [0, 1].",
        "Code that is probably the authors' (`SSCAM1`) adds noise to the enlarged channel as it "
        "is, of standard deviation (2 / range)², masks with the sum unscaled, and weights by the "
        "average probability without a softmax over channels. The second variant, noise on the "
        "masked image, is in neither.",
        {"torchcam": "the reading that is followed; masks scaled before they are enlarged"},
        layer=NARROW,
        options={"samples": 8, "progress": False},
    ),
    Row(
        "iscam",
        "Naidu et al., arXiv:2010.03023. The algorithm could not be had. Strengths i/N make the "
        "average an integral over the mask's strength, which the method is named for; that they "
        "should be these is not proved.",
        "None could be had.",
        {
            "torchcam": "adds strengths up, Σ_{j≤i} j/N, as do two programs that owe nothing to "
            "it; which of the two the paper means is open"
        },
        layer=NARROW,
        options={"steps": 5, "progress": False},
    ),
    Row(
        "segxrescam",
        "Hasany et al., CVPR Workshops 2023: pooled gradients are brought back to the layer's "
        "size. The equations could not be had; how sides are treated that the window does not "
        "divide is camcore's choice, windows cut short.",
        "Nouman97/Seg_XRes_CAM fills the last window up with zeros, which a mean counts and a "
        "maximum of negative gradients falls back to, and stretches the pooled grid over the "
        "whole map: of a side of 7 in windows of 2, 0 0 1 2 2 3 3 where windows are "
        "0 0 1 1 2 2 3. Where windows divide the sides, the maps at the layer are one. The shown "
        "map is cut to 256 levels. Its function pools by the maximum, its examples by the mean.",
        forms={"mean": {"pool": "mean"}},
    ),
    Row(
        "finercam",
        "Zhang et al., CVPR 2025, arXiv:2501.11309: weights of y_c − γ y_d, aggregated over "
        "several d; γ = 0.6 and three classes.",
        "Imageomics/Finer-CAM explains Σ_d p_d (y_c − α y_d) / (Σ_d p_d + 1e-9) with α = 1 and "
        "gradients through the probabilities p: of logits 5, 4, 3.5, 1, 0, −2 the cotangent is "
        "1, −0.769, −0.283, **+0.052**, 0, 0, where the paper's is 1, −0.2, −0.2, −0.2, 0, 0. The "
        "choice of classes is the same, of as many as there are.",
        {_PGC: "as the authors", "torchcam": "the paper's target"},
    ),
    Row(
        "refinecam",
        "Domeniconi et al., arXiv:2605.14641: the product of maps of several layers. The text "
        "behind the introduction could not be had; the base and the scaling are the code's.",
        "liuktc/RefineCAM multiplies maps of pytorch-grad-cam's Grad-CAM++, LayerCAM, Score-CAM, "
        "Eigen-CAM or ShapleyCAM, each brought to [0, 1] by its extremes, and the product once "
        "more; never of Grad-CAM, which is `base='gradcam'` here. Its other mixers, the n-th root "
        "of the product and two means of exponentials of 1/x, are `fusion='root'`, `'exp_mean'` "
        "and `'log_exp'`.",
        {
            _PGC: "Grad-CAM++ with its ε; its scaling ahead of the product has no effect",
            "torchcam": "Grad-CAM++ with its lost denominator",
        },
        layer=SEVERAL,
    ),
    Row(
        "smoothgradcampp",
        "Omeiza et al., arXiv:1908.01224. If its Y is e^y, as in Grad-CAM++, the factor e^y varies "
        "between noisy inputs and does not cancel; camcore averages bare powers.",
        "None could be had.",
        {"torchcam": "makes the map of the last noisy input alone"},
    ),
    Row(
        "kpcacam",
        "Karmani et al., arXiv:2410.00267: kernel PCA of centred positions.",
        "None could be had beside the port.",
        {_PGC: "the same component, of another sign where the two rules differ"},
    ),
    Row(
        "gradcam",
        "Selvaraju et al., ICCV 2017, eq. 1 and 2.",
        "ramprs/grad-cam (Lua) sums gradients over space, which scaling cancels, and enlarges "
        "with corners aligned.",
        {
            "captum": "signed, enlarged by nearest neighbour",
            "monai": "turned over: 0 where the model looks",
            "tf-explain": "gradients past a guided rule, no ReLU",
            "tf-keras-vis": "enlarged with corners aligned",
            "xplique": "enlarged by cubic interpolation",
        },
    ),
    Row(
        "gradcampp",
        "Chattopadhay et al., WACV 2018, eq. 5 and 19.",
        "adityac94/Grad_CAM_plus_plus scales α to sum to one over space.",
        {
            _PGC: "an ε of 1e-6 in the denominator, which outweighs small gradients",
            "torchcam": "the division by the denominator is lost",
            "monai": "Σ_s(g³ · A) in the denominator; turned over",
            "tf-keras-vis": "α as the authors, corners aligned",
            "xplique": "means in place of sums",
        },
    ),
    Row(
        "scorecam",
        "Wang et al., CVPR Workshops 2020, eq. 4 and algorithm 1.",
        "haofanwang/Score-CAM weights by probabilities, without a softmax over channels, and "
        "sums enlarged channels.",
        {
            _PGC: "masks enlarged with corners aligned",
            "torchcam": "masks scaled before they are enlarged",
            "tf-keras-vis": "weighs by a softmax of what the model returns",
        },
        layer=NARROW,
        options={"progress": False},
    ),
    Row(
        "gscorecam",
        "Chen et al., ACCV 2022: Score-CAM of the channels whose gradients have the largest means.",
        "anguyen8/gScoreCAM lets the channels that are not scored into the softmax with a score of "
        "0, so that they keep a weight; camcore leaves them out.",
        {},
        layer=NARROW,
        options={"channels": 8, "progress": False},
    ),
    Row(
        "polycam",
        "Englebert et al., ICPR 2022, arXiv:2204.13359. The text could not be had; the equation is "
        "that of the authors' code, with masks from the 0.1th to the 99.9th percentile.",
        "aenglebert/polycam divides what lies above the 0.1th percentile by the 99.9th, and not by "
        "what lies between, so that a mask of a channel that is nowhere zero stays below 1; it "
        "scores channels that are constant as well; and it shows the map between the same "
        'percentiles, enlarged. Its PCAM+ and PCAM- are `change="increase"` and '
        '`change="decrease"`.',
        {},
        layer=("blocks.1", HEAD),
        options={"channels": 8, "progress": False},
        forms={"PCAM+": {"change": "increase"}, "PCAM-": {"change": "decrease"}},
    ),
    Row(
        "reciprocam",
        "Byun and Lee, arXiv:2209.14074: the class's score of each position alone.",
        "sybyun/ReciproCAM takes the probability, and shows it from its lowest to its highest. Its "
        "smooth variant of convolutional networks spreads a position's activations over its "
        "neighbours; camcore's is that of transformers, which weighs them.",
        {},
        options={"progress": False},
    ),
)
"""Each method whose code was read, authors' and libraries', beside its paper."""

INTRODUCTION = """\
# Where code and paper part

Methods whose papers, authors' code and ports were read side by side, and the largest difference of
what they show. Recipe `paper` is the paper's equation where it could be read, and says so where it
could not; `authors` is the code that the authors published; each library's recipe is its port.

    camcore.explain(model, images, method="shapleycam", recipe="authors", form="hires")

`tests/conformance/test_papers.py` holds `authors` to the code's steps, written out again, within
1e-6; the libraries' recipes are held to the installed libraries. Written by
`python tests/support/apart_page.py`.

{measured}
"""

MEASURED = """\
Maps are of EfficientNet-Lite0 with its ImageNet weights in PyTorch, of one photograph (a cat,
scikit-image's `chelsea`), for its predicted class. Each is enlarged linearly where it is smaller
than the input, and brought to [0, 1]; the tables have the largest difference to the first line and
Pearson's correlation with it."""

DRAWN = """\
Of a small network of drawn weights: two blocks of attention, one image, the second class. In the
first column the model pools its tokens by their mean, in the second it reads the first token."""


def covering(method: str) -> list[str]:
    """List the recipes that have the method as a library or the authors do, the paper's first."""
    found = [
        name
        for name, recipe in TABLE.items()
        if name not in ("paper", "notebook", "keras-io", *REPEATS)
        and method in {row.name for row in recipe.covers()}
    ]
    return ["paper", *found]


def heading(row: Row) -> str:
    """Write what is said of a row ahead of its table."""
    method = find(row.method)
    lines = [
        f"## {method.label}",
        "",
        f"- Recipe `paper`: {formula(method)}. {row.source}",
        f"- Authors' code: {row.code}",
        *(f"- `{recipe}`: {says}." for recipe, says in row.ports.items()),
        "",
    ]
    return "\n".join(lines)


def unit(maps: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bring one map to the input's size and to [0, 1]."""
    large = maps if maps.shape[1:] == size else resize(maps, size)
    return normalise(large.astype(np.float64), "min_max")[0]


def difference(name: str, map_: np.ndarray, first: np.ndarray) -> str:
    """Write a line of a table."""
    apart = np.abs(map_ - first).max()
    both = np.corrcoef(map_.ravel(), first.ravel())[0, 1]
    return f"| {name} | {apart:.3f} | {both:.3f} |"


def measured(row: Row, model: Any, image: np.ndarray, chosen: int) -> list[str]:
    """Explain under each recipe, and write the table."""
    target: Target = Class(chosen)
    if row.rest:
        target = target + LogProbability(chosen)
    layer = list(row.layer) if isinstance(row.layer, tuple) else row.layer
    cases: list[tuple[str, str, Target, Mapping[str, Any]]] = [
        (f"`{recipe}`", recipe, target, {}) for recipe in covering(row.method)
    ]
    for name, options in row.forms.items():
        cases.append((f"`authors`, `{name}`", "authors", target, options))
    if row.rest:
        cases.append(("`paper`, the class alone", "paper", Class(chosen), {}))
    maps = {}
    for name, recipe, aim, options in cases:
        given = {**row.options, **options}
        found = camcore.explain(model, image, aim, layer, row.method, recipe, **given)
        maps[name] = unit(found.maps, image.shape[2:])
    places = [layer] if isinstance(layer, str) else layer
    said = [f"{key} = {value}" for key, value in row.options.items() if key != "progress"]
    where = "; ".join([f"At {', '.join(f'`{place}`' for place in places)}", *said])
    lines = [f"{where}.", "", "| shown by | largest difference | correlation |"]
    lines.append("| --- | ---: | ---: |")
    first = next(iter(maps.values()))
    return lines + [difference(name, map_, first) for name, map_ in maps.items()]


def legrad_measured() -> list[str]:
    """Compare LeGrad of the model's score with that of each block's own, by the authors' steps."""
    import torch

    image = np.random.default_rng(0).normal(size=(1, 3, 16, 16))
    names = ["blocks.0", "blocks.1"]
    columns = []
    for pooled in (True, False):
        model = attending(torch, pooled)
        raw = camcore.explain(model, image, 1, names, "legrad").raw
        ours = [raw[f"{name}@attention"] for name in names]
        theirs = legrad_by_layer(torch, model, image, 1)
        pairs = [*zip(ours, theirs, strict=True), (sum(ours), sum(theirs))]
        columns.append([np.abs(unit(a, (4, 4)) - unit(b, (4, 4))).max() for a, b in pairs])
    lines = [DRAWN, "", "| attention of | tokens pooled | first token |", "| --- | ---: | ---: |"]
    labels = ("the first block", "the last block", "both, added up")
    cells = zip(labels, *columns, strict=True)
    return lines + [f"| {label} | {one:.3f} | {other:.3f} |" for label, one, other in cells]


def main() -> None:
    """Write the page."""
    from skimage import data

    from camcore import zoo
    from camcore.photos.crop import CentreCrop

    loaded = zoo.load_model("demo-torch:efficientnet_lite0")
    photo = data.chelsea()
    crop = CentreCrop(photo.shape[:2], loaded.size, loaded.resize, loaded.interpolation)
    image = np.asarray(loaded.preprocess(crop.to_model(photo)))
    plain = camcore.explain(loaded.model, image, layer=HEAD, method="activations")
    chosen = int(np.argmax(plain.outputs[0]))
    parts = [INTRODUCTION.format(measured=MEASURED)]
    for row in ROWS:
        lines = (
            legrad_measured()
            if row.method == "legrad"
            else measured(row, loaded.model, image, chosen)
        )
        parts.append(heading(row) + "\n" + "\n".join(lines) + "\n")
        print(find(row.method).label, flush=True)
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    with warnings.catch_warnings(action="ignore"):
        main()
