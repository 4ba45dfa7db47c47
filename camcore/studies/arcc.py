"""The study ``arcc``: whether ARCC ranks maps as it is known where objects lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.evaluation import Evaluation, Interval, evaluate
from camcore.metrics import composite, removal
from camcore.metrics.case import Case
from camcore.metrics.overlap import iou_curve
from camcore.metrics.table import TABLE, Metric
from camcore.studies.scenes import Network, Scene, load_network, scenes_of
from camcore.studies.study import Finding, Outcome, Setting, Study, Table

__all__ = ["STUDY", "TRUTHS", "decide", "measure", "taus"]

Floats: TypeAlias = npt.NDArray[np.float64]

METHODS: Final = ("gradcam", "hirescam", "layercam", "eigencam")
AT: Final = ("stage 5", "stage 7")
CONTROLS: Final = ("random", "centre")
LABELS: Final = {
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "Eigen-CAM",
    "random": "(random)",
    "centre": "(centre)",
}
TRUTHS: Final = {"iou": "IoU", "energy": "energy on the object"}
"""What is known of a map: the first decides."""

SCENES: Final = 24
_SMALL = 2
_AT_ONCE = 8
_STEPS = 16
_THRESHOLDS = 50

SHARES: Final = (0.2, 0.4, 0.6, 0.8)
"""Shares of positions that ROAD removes within ARCC."""

_NOISE = 0.01 * 255 / 128
"""0.01 of the photograph's range, in the units of the network's input."""


def _road(case: Case) -> Array:
    options = {**case.options, "noise": _NOISE, "shares": SHARES}
    return removal.road(*case.scored, **options).combined


def _best_iou(case: Case) -> Array:
    best: Array = iou_curve(case.maps, case.where, thresholds=_THRESHOLDS).values.max(axis=1)
    return best


_SCORED: Final = (
    Metric("road", "ROAD", "higher", ("scores",), "Rong et al., ICML 2022", _road),
    TABLE["average_drop"],
    TABLE["average_gain"],
    TABLE["deletion"],
    TABLE["insertion"],
    TABLE["coherency"],
    TABLE["complexity"],
)
_KNOWN: Final = (
    Metric("iou", "IoU", "higher", ("masks",), "the best threshold of each map", _best_iou),
    TABLE["energy_pointing_game"],
)

BETTER: Final[Mapping[str, str]] = {
    "arcc": "higher",
    "adcc": "higher",
    **{metric.name: metric.better for metric in _SCORED},
}
"""The metrics, and whether their higher values are the better ones."""


def measure(network: Network, scenes: Sequence[Scene]) -> dict[str, dict[str, Floats]]:
    """Compute metrics and truths of about ten maps of each scene.

    Parameters
    ----------
    network : Network
    scenes : sequence of Scene
        Of each the object is explained whose class is the more probable one.

    Returns
    -------
    dict of str to dict of str to (N,) array
        By map, ``"layercam stage 5"``, and by name: those of `BETTER` and of `TRUTHS`. A coherency
        that is undefined counts 0 in ARCC and ADCC, as in the authors' code.
    """
    rows: dict[str, list[Mapping[str, Floats]]] = {}
    for start in range(0, len(scenes), _AT_ONCE):
        some = scenes[start : start + _AT_ONCE]
        chosen = [int(np.argmax(scene.probabilities)) for scene in some]
        classes = [int(scene.classes[i]) for scene, i in zip(some, chosen, strict=True)]
        masks = np.stack([scene.masks[i] for scene, i in zip(some, chosen, strict=True)])
        for layer in AT:
            found = evaluate(
                network.loaded,
                network.inputs([scene.view for scene in some]),
                classes,
                methods=METHODS,
                metrics=(*_SCORED, *_KNOWN),
                layer=network.layers[layer],
                masks=masks,
                controls=CONTROLS if layer == AT[0] else False,
                steps=_STEPS,
            )
            for row in found.rows:
                name = row if row in CONTROLS else f"{row} {layer}"
                rows.setdefault(name, []).append(found.values[row])
    joined = {
        row: {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for row, parts in rows.items()
    }
    return {row: _composed(columns) for row, columns in joined.items()}


def _composed(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Add ARCC and ADCC, in percent, to what they are made of."""
    parts = np.nan_to_num(columns["coherency"], nan=0.0) / 100, columns["complexity"] / 100
    return {
        "arcc": 100 * composite.arcc(columns["road"], *parts),
        "adcc": 100 * composite.adcc(columns["average_drop"] / 100, *parts),
        **{metric.name: columns[metric.name] for metric in _SCORED},
        "iou": columns["iou"],
        "energy": columns["energy_pointing_game"],
    }


def taus(
    rows: Mapping[str, Mapping[str, Floats]], metric: str, truth: str
) -> npt.NDArray[np.float64]:
    """Correlate a metric's ranking of maps with the true one, scene by scene.

    Parameters
    ----------
    rows : mapping of str to mapping of str to (N,) array
        As `measure` returns it.
    metric : str
        Of `BETTER`; the better value ranks higher.
    truth : str
        Of `TRUTHS`.

    Returns
    -------
    (N,) float64 array
        Kendall's tau-b of each scene, in [-1, 1]; NaN where all maps have the same value, or a map
        has none.
    """
    with needs("metrics", "rank correlation"):
        from scipy.stats import kendalltau
    sign = 1 if BETTER[metric] == "higher" else -1
    said = sign * np.stack([columns[metric] for columns in rows.values()], axis=1)
    known = np.stack([columns[truth] for columns in rows.values()], axis=1)
    return np.array(
        [float(kendalltau(one, other)[0]) for one, other in zip(said, known, strict=True)]
    )


def decide(found: Evaluation) -> list[Finding]:
    """Decide about each criterion.

    Parameters
    ----------
    found : Evaluation
        By metric, and by truth: tau of each scene.

    Returns
    -------
    list of Finding
    """
    truth = next(iter(TRUTHS))
    own = found.interval("arcc", truth)
    over = found.difference("arcc", "adcc", truth)
    return [
        Finding(_ABOVE_0, own.low > 0, f"ARCC's mean tau is {_said(own)}."),
        Finding(
            _ABOVE_ADCC,
            over.low > 0,
            f"ADCC's mean tau is {_said(found.interval('adcc', truth))}, and ARCC's less ADCC's "
            f"{_said(over, sign='+')}.",
        ),
    ]


def _said(interval: Interval, sign: str = "", digits: int = 3) -> str:
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in interval)
    return f"{mean} [{low}, {high}]"


def _label(name: str) -> str:
    return TABLE[name].label if name in TABLE else name


def tables(found: Evaluation, rows: Mapping[str, Mapping[str, Floats]]) -> list[Table]:
    """Make a table of rank correlations, and one of the maps."""
    heads = ["metric", *(f"tau with {label}" for label in TRUTHS.values()), "less ADCC's"]
    first = next(iter(TRUTHS))
    ranked = [
        [
            _label(metric),
            *(_said(found.interval(metric, truth)) for truth in TRUTHS),
            "" if metric == "adcc" else _said(found.difference(metric, "adcc", first), sign="+"),
        ]
        for metric in BETTER
    ]
    maps = Evaluation(rows)
    arrows = {"higher": "↑", "lower": "↓"}
    shown = ["arcc", "adcc", "road", "average_drop", "insertion", "deletion"]
    means = [
        [
            _map(row),
            *(_said(maps.interval(row, truth)) for truth in TRUTHS),
            *(str(maps.interval(row, metric)) for metric in shown),
        ]
        for row in rows
    ]
    marked = [f"{_label(metric)} {arrows[BETTER[metric]]}" for metric in shown]
    return [
        Table("Kendall's tau between a metric's ranking of maps and the true one", heads, ranked),
        Table("The maps", ["map", *(f"{label} ↑" for label in TRUTHS.values()), *marked], means),
    ]


def _map(row: str) -> str:
    method, _, layer = row.partition(" ")
    return f"{LABELS[method]}, {layer}" if layer else LABELS[method]


def outranked(rows: Mapping[str, Mapping[str, Floats]], metric: str) -> list[str]:
    """Say which methods a control outranks by a metric.

    Parameters
    ----------
    rows : mapping of str to mapping of str to (N,) array
        As `measure` returns it.
    metric : str
        Of `BETTER` or `TRUTHS`.

    Returns
    -------
    list of str
        ``"(centre) over Grad-CAM, stage 5"``: where the 95 % interval of the paired difference
        lies on the control's side.
    """
    maps, better = Evaluation(rows), BETTER.get(metric, "higher")
    said = []
    for control in CONTROLS:
        for row in rows:
            if row not in CONTROLS:
                difference = maps.difference(control, row, metric)
                over = difference.low > 0 if better == "higher" else difference.high < 0
                if over:
                    said.append(f"{_map(control)} over {_map(row)}")
    return said


def notes(rows: Mapping[str, Mapping[str, Floats]], found: Evaluation) -> list[str]:
    """Say which controls outrank methods, and what is left out."""
    said = []
    for metric in ("arcc", "adcc", "road", *TRUTHS):
        over = outranked(rows, metric)
        label = TRUTHS.get(metric, _label(metric))
        what = f"ranks {', '.join(over)}" if over else "ranks no control over a method"
        said.append(f"Does a control outrank methods? {label} {what}, by paired differences.")
    for metric in BETTER:
        missing = int(np.isnan(found.values[metric][next(iter(TRUTHS))]).sum())
        if missing:
            left = "1 scene, which is" if missing == 1 else f"{missing} scenes, which are"
            said.append(f"{_label(metric)} ranks nothing in {left} left out.")
    return said


def run(setting: Setting) -> Outcome:
    """Run the study in one framework."""
    network = load_network(setting.framework)
    with setting.step("choosing scenes"):
        chosen = scenes_of(setting, network, _SMALL if setting.small else SCENES)
    with setting.step("scoring maps"):
        rows = measure(network, chosen.scenes)
    found = Evaluation(
        {metric: {truth: taus(rows, metric, truth) for truth in TRUTHS} for metric in BETTER}
    )
    values = {
        f"tau {metric} {truth}": found.interval(metric, truth).mean
        for metric in BETTER
        for truth in TRUTHS
    }
    means = {
        f"{row} {name}": float(np.nanmean(one)) / (1 if name in TRUTHS else _percent(name))
        for row, columns in rows.items()
        for name, one in columns.items()
    }
    said = [*chosen.about, *notes(rows, found)]
    return Outcome(decide(found), tables(found, rows), said, values | means | chosen.numbers)


def _percent(name: str) -> int:
    """Tell what makes a share of a metric's values."""
    return 1 if name in ("road", "deletion", "insertion") else 100


_ABOVE_0 = (
    "ARCC's ranking of maps goes with the true one by IoU: the 95 % interval of the mean of "
    "Kendall's tau over scenes lies above 0"
)
_ABOVE_ADCC = (
    "ARCC's tau is above ADCC's: the interval of the mean of their paired differences lies above 0"
)

STUDY: Final = Study(
    name="arcc",
    title="Does ARCC rank maps as the ground truth does?",
    claim=(
        "ARCC, which has ROAD in place of ADCC's average drop, ranks maps as the ground truth "
        "does, and better than ADCC."
    ),
    source="Domeniconi et al., arXiv:2605.14641",
    protocol="""\
EfficientNet-Lite0 with its ImageNet weights explains scenes of two cut-out objects of different
classes, over plain grey or photographs of grass, gravel or bricks; the study *localisation* says
how they are composed and chosen, and this one takes the first of the same. Of each scene the object
is explained whose class is the more probable one.

Ten maps of each scene: Grad-CAM, HiResCAM, LayerCAM and Eigen-CAM after the stages 5 and 7
(`blocks.4` and `blocks.6` in timm), noise, and a Gaussian in the middle. The last two know nothing
of the network; as objects lie apart from the middle, no good metric ranks them high. Grad-CAM++ is
left out: at these layers, linear bottlenecks, its weights have a pole near which the last digits of
float32 decide.

The true ranking is that of the intersection over union with the object, at the best threshold of
each map; beside it, for comparison, that of the share of energy on the object. Each metric's
ranking is correlated with it by Kendall's tau-b within each scene, and these are averaged over
scenes, with 95 % bootstrap intervals over scenes. Metrics score the probability of the class. ROAD
removes 20, 40, 60 and 80 %, as within ARCC, and adds noise of 0.01 of the photograph's range;
deletion and insertion have 16 steps. A coherency that is undefined counts 0.

The paper ranks methods on data sets of its own; with `--photos` and `--masks` the same is computed
of photographs of one object each.
""",
    criteria=(_ABOVE_0, _ABOVE_ADCC),
    data=("apt install tuxpaint-stamps-default",),
    minutes=15,
    run=run,
    apart=0.01,
)
