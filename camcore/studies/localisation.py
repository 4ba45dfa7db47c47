"""The study ``localisation``: LayerCAM at early layers, and where HiResCAM is exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.evaluation import Evaluation, Interval
from camcore.explainer import Explainer
from camcore.methods.gradient import gradcam, hirescam
from camcore.metrics.agreement import largest_difference
from camcore.metrics.arrays import is_constant
from camcore.metrics.controls import centre_maps, random_maps
from camcore.metrics.localisation import energy_pointing_game, pointing_game
from camcore.metrics.overlap import iou_curve
from camcore.studies.networks import LAYERS
from camcore.studies.scenes import Network, Scene, Scenes, load_network, scenes_of
from camcore.studies.study import Finding, Outcome, Setting, Study, Table
from camcore.testing import Dense, random_network

__all__ = ["STUDY", "Measured", "completeness", "decide", "measure"]

Floats: TypeAlias = npt.NDArray[np.float64]

METHODS: Final = ("gradcam", "gradcampp", "hirescam", "layercam", "eigencam")
LABELS: Final = {
    "gradcam": "Grad-CAM",
    "gradcampp": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "Eigen-CAM",
    "random": "(random)",
    "centre": "(centre)",
}
COLUMNS: Final = {
    "energy": "energy on the object",
    "own": "own / (own + other)",
    "pointing": "pointing game",
    "iou": "IoU",
}
EARLY: Final = ("stage 2", "stage 3", "stage 5")
"""Layers before the last stage, at which the claim is tested."""

SCENES: Final = 60
_SMALL = 4
_THRESHOLDS = 50
_AT_ONCE = 8
_EQUAL = 1e-5
_EXACT = 1e-12
_INEXACT = 1e-2


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of each scene.

    Parameters
    ----------
    values : Evaluation
        By row, ``"layercam stage 2"``, and column of `COLUMNS`: a value for each scene, the mean
        over its objects.
    thresholds : mapping of str to float
        The best common threshold of each row.
    empty : mapping of str to int
        How many maps of a row are constant.
    paired : bool
        Whether scenes have two objects; `own` is the share of all energy otherwise.
    apart : float
        The largest difference between HiResCAM's and Grad-CAM's maps at the head, relative to
        their largest values.
    """

    values: Evaluation
    thresholds: Mapping[str, float]
    empty: Mapping[str, int]
    paired: bool
    apart: float


def columns_of(
    maps: Floats, scenes: Sequence[Scene], *, paired: bool
) -> tuple[dict[str, Floats], float]:
    """Measure the maps of one row.

    Parameters
    ----------
    maps : (B, H, W) array
        Not negative: a map for each object of each scene, in their order.
    scenes : sequence of Scene
    paired : bool
        Whether each scene has two objects.

    Returns
    -------
    dict of str to (N,) array, float
        For each column of `COLUMNS` a value for each scene; and the threshold, a share of each
        map's largest value, at which the mean of IoU is highest. A map without energy on either
        object tells them apart as chance does, 1/2; equal maxima hit by the share of them that
        lies on the object.
    """
    own = np.concatenate([scene.masks for scene in scenes])
    energy = energy_pointing_game(maps, own)
    share = energy
    if paired:
        other = energy_pointing_game(maps, np.concatenate([scene.masks[::-1] for scene in scenes]))
        both = energy + other
        share = np.divide(energy, both, out=np.full(len(both), 0.5), where=both > 0)
    curve = iou_curve(maps, own, thresholds=_THRESHOLDS)
    best = curve.values[:, np.argmax(curve.mean)]
    each = {
        "energy": energy,
        "own": share,
        "pointing": pointing_game(maps, own, ties="mean"),
        "iou": best,
    }
    # Maps of one scene are not independent of one another, and scenes are.
    by_scene = {name: values.reshape(len(scenes), -1).mean(axis=1) for name, values in each.items()}
    return by_scene, curve.best_threshold


def measure(network: Network, found: Scenes) -> Measured:
    """Explain every object of every scene, and measure where maps lie.

    Parameters
    ----------
    network : Network
    found : Scenes

    Returns
    -------
    Measured
    """
    scenes = found.scenes
    views = [scene.view for scene in scenes for _ in scene.classes]
    classes = [int(one) for scene in scenes for one in scene.classes]
    values: dict[str, dict[str, Floats]] = {}
    thresholds: dict[str, float] = {}
    empty: dict[str, int] = {}
    apart = 0.0

    def add(row: str, maps: Floats) -> None:
        values[row], thresholds[row] = columns_of(maps, scenes, paired=found.paired)
        empty[row] = int(is_constant(maps).sum())

    for layer in LAYERS:
        explainer = Explainer(network.loaded, method=list(METHODS), layer=network.layers[layer])
        maps: dict[str, list[Floats]] = {method: [] for method in METHODS}
        for start in range(0, len(views), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            results = explainer(network.inputs(views[some]), classes[some])
            for method, result in results.items():
                maps[method].append(result.maps)
            if layer == "head":
                raws = [next(iter(results[name].raw.values())) for name in METHODS]
                first, second = (raws[METHODS.index(name)] for name in ("hirescam", "gradcam"))
                difference = largest_difference(first, second, relative=True)
                apart = max(apart, float(difference.max()))
        for method, parts in maps.items():
            add(f"{method} {layer}", np.concatenate(parts))
    like = np.zeros((len(views), 1, *scenes[0].masks.shape[1:]))
    add("random", random_maps(like))
    add("centre", centre_maps(like))
    return Measured(Evaluation(values), thresholds, empty, found.paired, apart)


def completeness(seed: int = 0) -> dict[str, float]:
    """Compare sums of maps with the score they explain, where a dense layer ends the network.

    The network is a convolution, flattening and one dense layer, in NumPy and float64, with random
    weights and eight random images.

    Parameters
    ----------
    seed : int
        Of weights and images.

    Returns
    -------
    dict of str to float
        By method, the largest difference between the sum of its signed map and y - b, the score
        without its bias, divided by the largest of these.
    """
    network = random_network(head="flatten", seed=seed)
    images = np.random.default_rng(seed).normal(size=(8, 2, 8, 8))
    classes = [number % 5 for number in range(len(images))]
    evidence = Explainer(network, layer="relu2").evidence(images, classes)
    dense = network.ops["fc"]
    assert isinstance(dense, Dense)
    explained = evidence.scores - dense.bias[classes]
    largest = np.abs(explained).max()
    return {
        method.__name__: float(
            np.abs(
                method(evidence.activations, evidence.gradients).sum(axis=(1, 2)) - explained
            ).max()
            / largest
        )
        for method in (hirescam, gradcam)
    }


def decide(measured: Measured, sums: Mapping[str, float]) -> list[Finding]:
    """Decide about each criterion.

    Parameters
    ----------
    measured : Measured
    sums : mapping of str to float
        As `completeness` gives it.

    Returns
    -------
    list of Finding
    """
    return [
        *(
            _higher(text, measured.values, layer, column)
            for text, (layer, column) in zip(_AT_LAYERS, _tested(), strict=True)
        ),
        Finding(
            _HEAD,
            measured.apart <= _EQUAL,
            f"the largest difference is {measured.apart:.1e} of the largest value.",
        ),
        Finding(
            _SUMS,
            sums["hirescam"] <= _EXACT and sums["gradcam"] > _INEXACT,
            f"the largest difference is {sums['hirescam']:.1e} of the largest y − b for HiResCAM "
            f"and {sums['gradcam']:.2g} for Grad-CAM.",
        ),
    ]


def _higher(text: str, values: Evaluation, layer: str, column: str) -> Finding:
    one, other = (values.interval(f"{name} {layer}", column) for name in ("layercam", "gradcam"))
    held = _is_above(values, f"layercam {layer}", f"gradcam {layer}", column)
    return Finding(text, held, f"LayerCAM {_said(one)}, Grad-CAM {_said(other)}.")


def _is_above(values: Evaluation, row: str, other: str, column: str) -> bool:
    """Tell whether the interval of a row lies above that of another one."""
    return bool(values.interval(row, column).low > values.interval(other, column).high)


def _said(interval: Interval) -> str:
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _tested() -> Iterator[tuple[str, str]]:
    for layer in EARLY:
        for column in ("own", "iou"):
            yield layer, column


def tables(measured: Measured) -> list[Table]:
    """Make a table for each layer, and one of the controls."""
    columns = [name for name in COLUMNS if measured.paired or name != "own"]
    heads = ["map", *(f"{COLUMNS[name]} ↑" for name in columns), "threshold of IoU"]

    def row(name: str) -> list[str]:
        cells = [_said(measured.values.interval(name, column)) for column in columns]
        return [LABELS[name.partition(" ")[0]], *cells, f"{measured.thresholds[name]:.2f}"]

    return [
        *(
            Table(f"At {_described(layer)}", heads, [row(f"{one} {layer}") for one in METHODS])
            for layer in LAYERS
        ),
        Table("Maps that know nothing of the network", heads, [row("random"), row("centre")]),
    ]


def _described(layer: str) -> str:
    return _short(layer) + (f" (`{LAYERS[layer]['torch']}` in timm)" if layer != "head" else "")


def _short(layer: str) -> str:
    return f"the {layer}" if layer == "head" else layer


def notes(measured: Measured, found: Scenes) -> list[str]:
    """Say how scenes were chosen, which controls beat which methods, and what is empty."""
    said = list(found.about)
    values = measured.values
    columns = [name for name in COLUMNS if measured.paired or name != "own"]
    for column in columns:
        beaten = [
            f"{LABELS[row.partition(' ')[0]]} at {_short(row.partition(' ')[2])} by {control}"
            for row in values.rows
            for control in ("random", "centre")
            if " " in row and values.difference(control, row, column).low > 0
        ]
        if beaten:
            said.append(f"{COLUMNS[column]}: a control is better: {', '.join(beaten)}.")
    above = [
        f"{COLUMNS[column]} at {_short(layer)}"
        for layer in LAYERS
        for column in columns
        if _is_above(values, f"gradcam {layer}", f"layercam {layer}", column)
    ]
    if above:
        said.append(f"Grad-CAM is above LayerCAM, with disjoint intervals: {', '.join(above)}.")
    if empty := [f"{row} ({count})" for row, count in measured.empty.items() if count]:
        said.append(f"Maps that are constant, and count as they are: {', '.join(empty)}.")
    return said


def run(setting: Setting) -> Outcome:
    """Run the study in one framework."""
    network = load_network(setting.framework)
    with setting.step("choosing scenes"):
        found = scenes_of(setting, network, _SMALL if setting.small else SCENES)
    with setting.step("explaining them"):
        measured = measure(network, found)
        sums = completeness(setting.seed)
    values = {
        f"{row} {column}": float(of_scenes.mean())
        for row, columns in measured.values.values.items()
        for column, of_scenes in columns.items()
        if row.partition(" ")[0] != "gradcampp" or row == "gradcampp head"  # see the protocol
    }
    return Outcome(
        decide(measured, sums), tables(measured), notes(measured, found), values | found.numbers
    )


_AT_LAYERS = [
    f"At {_described(layer)} LayerCAM's {COLUMNS[column]} is above Grad-CAM's, with disjoint "
    "intervals"
    for layer, column in _tested()
]
_HEAD = (
    "At the head, behind which gradients do not change over space, HiResCAM's maps are Grad-CAM's: "
    "the largest difference is at most 1e-5 of the largest value"
)
_SUMS = (
    "Where one dense layer follows the flattened layer, HiResCAM sums to the score without its "
    "bias, y − b, to 1e-12 in float64; Grad-CAM misses it by more than 1e-2"
)

STUDY: Final = Study(
    name="localisation",
    title="Where maps of early layers lie: LayerCAM and HiResCAM",
    claim=(
        "LayerCAM localises objects from the early layers of a network as well, where Grad-CAM's "
        "maps break down; and HiResCAM shows exactly where the score was computed where a dense "
        "layer follows the last convolution, which Grad-CAM does not."
    ),
    source=(
        "Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, "
        "IEEE Transactions on Image Processing 2021; Draelos & Carin, Use HiResCAM instead of "
        "Grad-CAM for faithful explanations of convolutional neural networks, arXiv:2011.08891"
    ),
    protocol="""\
EfficientNet-Lite0 with its ImageNet weights explains scenes of two cut-out objects of different
classes, side by side, each anywhere in its own half of 224×224 pixels, over plain grey or over
photographs of grass, gravel or bricks. No object lies in the middle, where a network's photographs
have theirs. Where each object lies is known to the pixel: what is at least half opaque.

An object is taken if the network gives it, alone on grey, the same class as it is and mirrored,
with a probability above 0.5. A scene is taken if both classes have a probability above 0.05, and
each falls below 0.01 where its object is taken away; so it is known what in the picture the score
is for. Both objects of each scene are explained, by the logit of their class.

Maps are taken after four stages and at the head, rectified and enlarged linearly. Columns: the
share of a map's energy that lies on the explained object; of the energy on both objects that on the
explained one (1/2 is what a map shows that does not know the class, and what an empty one counts);
whether the maximum lies on it; and the intersection over union of the object and of what lies above
a threshold, a share of each map's maximum: the one of 0.02, 0.04, … 1 at which the mean of the row
is highest, since any fixed one favours some method. Means over scenes, with 95 % bootstrap
intervals by resampling scenes, as maps of the same scene are not independent; those of IoU are at
that threshold.

The papers measured boxes on ImageNet and masks on PASCAL VOC with VGG16, and CT scans; with
`--photos` and `--masks` the same columns are computed of photographs of one object each. In place
of own / (own + other), the energy on the object then decides, as there is no other one.
The layers after stages are linear bottlenecks, whose activations are of both signs. Grad-CAM++'s
weights have a pole where a channel sums to less than zero, near which the last digits of float32
decide; its numbers there are in the tables, and not among those by which frameworks are compared.
HiResCAM's sum is tested on a small network of random weights in NumPy, a convolution, flattening
and one dense layer, since EfficientNet ends in a mean.
""",
    criteria=(*_AT_LAYERS, _HEAD, _SUMS),
    data=("apt install tuxpaint-stamps-default",),
    minutes=5,
    run=run,
    apart=0.01,
)
