"""The metrics by name, as tables of methods and the command line ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.suggest import hint
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.metrics import (
    box_accuracy,
    complexity,
    composite,
    faithfulness,
    localisation,
    overlap,
    robustness,
    subsets,
)
from camcore.metrics.case import Case

Need: TypeAlias = Literal["scores", "maps of others", "masks", "boxes"]
"""What a metric takes beside images and maps: scores of altered images, maps of altered images,
where the object is (by boxes, where there are no masks), or boxes around objects."""


@dataclass(frozen=True)
class Metric:
    """A row of `TABLE`.

    Parameters
    ----------
    name : str
        What is asked for.
    label : str
        What tables show.
    better : {"higher", "lower"}
        Which of two maps is the better one.
    needs : tuple of {"scores", "maps of others", "masks", "boxes"}
        What it takes beside images and maps.
    source : str
        Where it comes from.
    function : callable
        From a `Case` to a value for each sample, ``(B,)``; NaN where it is undefined.
    """

    name: str
    label: str
    better: Literal["higher", "lower"]
    needs: tuple[Need, ...]
    source: str
    function: Callable[[Case], Array] = field(repr=False)

    def __call__(self, case: Case) -> npt.NDArray[np.float64]:
        """Compute the metric for each sample, ``(B,)``."""
        return np.asarray(self.function(case), dtype=np.float64)


_RISE = "Petsiuk et al., BMVC 2018"
_PLUSPLUS = "Chattopadhay et al., WACV 2018"
_ADCC = "Poppi et al., CVPR Workshops 2021"
_YEH = "Yeh et al., NeurIPS 2019"
_GRAD_CAM = "Selvaraju et al., ICCV 2017"
_WSOL = "Choe et al., CVPR 2020"
_BHATT = "Bhatt et al., IJCAI 2020"

_rows: dict[str, Metric] = {}


def _row(
    name: str, label: str, better: Literal["higher", "lower"], source: str, *needs: Need
) -> Callable[[Callable[[Case], Array]], Callable[[Case], Array]]:
    """Add a row to the table."""

    def add(function: Callable[[Case], Array]) -> Callable[[Case], Array]:
        _rows[name] = Metric(name, label, better, needs, source, function)
        return function

    return add


@_row("deletion", "deletion", "lower", _RISE, "scores")
def _deletion(case: Case) -> Array:
    return case.curve("deletion").auc


@_row("insertion", "insertion", "higher", _RISE, "scores")
def _insertion(case: Case) -> Array:
    return case.curve("insertion").auc


@_row("average_drop", "average drop %", "lower", _PLUSPLUS, "scores")
def _average_drop(case: Case) -> Array:
    return 100 * faithfulness.drop(case.scores, case.masked)


@_row("average_gain", "average gain %", "higher", "Zhang et al., CVIU 2024", "scores")
def _average_gain(case: Case) -> Array:
    return 100 * faithfulness.gain(case.scores, case.masked)


@_row("increase", "increase %", "higher", _PLUSPLUS, "scores")
def _increase(case: Case) -> Array:
    return 100 * faithfulness.increased(case.scores, case.masked)


@_row("road", "ROAD", "higher", "Rong et al., ICML 2022", "scores")
def _road(case: Case) -> Array:
    return case.road.combined


@_row("faithfulness_correlation", "faithfulness correlation", "higher", _BHATT, "scores")
def _faithfulness_correlation(case: Case) -> Array:
    # Nine cells a side, as MuFidelity has it, or as many as fit.
    grid = [min(9, side) for side in case.maps.shape[1:]]
    return subsets.faithfulness_correlation(*case.scored, grid=grid, **case.options)


@_row("infidelity", "infidelity", "lower", _YEH, "scores")
def _infidelity(case: Case) -> Array:
    return subsets.infidelity(*case.scored, **case.options)


@_row("max_sensitivity", "max sensitivity", "lower", _YEH, "maps of others")
def _max_sensitivity(case: Case) -> Array:
    return robustness.max_sensitivity(case.images, case.maps, case.explain_images, **case.options)


@_row("coherency", "coherency %", "higher", _ADCC, "maps of others")
def _coherency(case: Case) -> Array:
    return 100 * case.coherency


@_row("complexity", "complexity %", "lower", _ADCC)
def _complexity(case: Case) -> Array:
    return 100 * complexity.l1_complexity(case.maps)


@_row("adcc", "ADCC %", "higher", _ADCC, "scores", "maps of others")
def _adcc(case: Case) -> Array:
    drops = faithfulness.drop(case.scores, case.masked)
    return 100 * composite.adcc(drops, case.coherency, complexity.l1_complexity(case.maps))


@_row("arcc", "ARCC %", "higher", "Domeniconi et al., arXiv:2605.14641", "scores", "maps of others")
def _arcc(case: Case) -> Array:
    told = case.road.combined
    return 100 * composite.arcc(told, case.coherency, complexity.l1_complexity(case.maps))


@_row("entropy", "entropy", "lower", _BHATT)
def _entropy(case: Case) -> Array:
    return complexity.entropy(case.maps)


@_row("sparseness", "sparseness", "higher", "Chalasani et al., ICML 2020")
def _sparseness(case: Case) -> Array:
    return complexity.sparseness(case.maps)


@_row("pointing_game", "pointing game", "higher", "Zhang et al., IJCV 2018", "masks")
def _pointing_game(case: Case) -> Array:
    return localisation.pointing_game(case.maps, case.where)


@_row(
    "energy_pointing_game",
    "energy pointing game",
    "higher",
    "Wang et al., CVPR Workshops 2020",
    "masks",
)
def _energy_pointing_game(case: Case) -> Array:
    return localisation.energy_pointing_game(case.maps, case.where)


@_row(
    "relevance_rank", "relevance rank", "higher", "Arras et al., Information Fusion 2022", "masks"
)
def _relevance_rank(case: Case) -> Array:
    return localisation.relevance_rank(case.maps, case.where)


@_row("roc_auc", "ROC AUC", "higher", "Fawcett, Pattern Recognition Letters 2006", "masks")
def _roc_auc(case: Case) -> Array:
    return localisation.roc_auc(case.maps, case.where)


@_row("iou", "IoU at 0.15", "higher", _GRAD_CAM, "masks")
def _iou(case: Case) -> Array:
    return overlap.iou(case.maps, case.where, 0.15)


@_row("box_iou", "best box IoU", "higher", _WSOL, "boxes")
def _box_iou(case: Case) -> Array:
    # Of each map at its own best threshold; at the best common one it depends on all samples.
    best: Array = case.box_accuracy.values.max(axis=1)
    return best


@_row("box_localisation", "box at 0.15", "higher", _GRAD_CAM, "boxes")
def _box_localisation(case: Case) -> Array:
    return _localised(case, np.ones(len(case.maps), bool))


@_row("top1_localisation", "top-1 box at 0.15", "higher", _GRAD_CAM, "boxes")
def _top1_localisation(case: Case) -> Array:
    if case.right is None:
        raise InputError(
            "Top-1 localisation asks whether the model's first class is the right one: give each "
            "sample's class as the target, or ask for box_localisation."
        )
    return _localised(case, case.right)


def _localised(case: Case, right: Array) -> Array:
    """Tell where the class is right, and a box of the threshold that Grad-CAM has fits."""
    return box_accuracy.top1_localisation(case.maps, case.objects, right, threshold=0.15)


TABLE: Final[Mapping[str, Metric]] = MappingProxyType(_rows)
"""The metrics by name."""


def find_metric(name: str | Metric) -> Metric:
    """Find a metric by name, written with hyphens or underscores.

    Parameters
    ----------
    name : str or Metric

    Returns
    -------
    Metric

    Raises
    ------
    InputError
        There is none of that name.
    """
    if isinstance(name, Metric):
        return name
    found = TABLE.get(name.replace("-", "_").lower())
    if found is None:
        raise InputError(f"There is no metric {name!r}. {hint(name, TABLE)}")
    return found
