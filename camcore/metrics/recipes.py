"""What libraries compute under a metric's name, as recipes that give their own numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.suggest import hint
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.metrics import composite, faithfulness, localisation, subsets
from camcore.metrics.case import Case
from camcore.metrics.complexity import l1_complexity
from camcore.metrics.imputation import LinearImputer
from camcore.metrics.scoring import Scorer
from camcore.metrics.table import TABLE, Metric
from camcore.postprocess import normalise

Function: TypeAlias = Callable[[Case], Array]
"""From a case to a value for each sample, ``(B,)``."""


@dataclass(frozen=True)
class MetricRecipe:
    """A library's convention for metrics.

    Parameters
    ----------
    name : str
        What is asked for.
    source : str
        Whose convention it is, and of which version.
    score : {"probability", "logit"}
        What is scored.
    own : mapping of str to callable
        Metrics that it computes otherwise than the papers, by name.
    alike : tuple of str
        Metrics that it computes as the papers do.
    refused : mapping of str to str
        Metrics of whose numbers nothing could be made, and why.
    notes : tuple of str
        Where it parts from the papers, and its defects.
    """

    name: str
    source: str
    score: Literal["probability", "logit"] = "probability"
    own: Mapping[str, Function] = field(default_factory=dict)
    alike: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def check(self, metric: Metric) -> None:
        """Refuse a metric that the library does not have.

        Raises
        ------
        InputError
            It has none, or one of which nothing can be made.
        """
        if metric.name in self.refused:
            raise InputError(
                f"{self.source}: {metric.name} is refused. {self.refused[metric.name]}"
            )
        if metric.name not in (*self.own, *self.alike):
            raise InputError(
                f"{self.source} does not have {metric.name}. It has "
                f"{', '.join((*self.own, *self.alike))}; recipe 'paper' has all."
            )

    def __call__(self, metric: Metric, case: Case) -> npt.NDArray[np.float64]:
        """Compute a metric for each sample, ``(B,)``, in the library's own units."""
        own = self.own.get(metric.name)
        return metric(case) if own is None else np.asarray(own(case), dtype=np.float64)


def _curve(
    case: Case,
    way: Literal["deletion", "insertion"],
    every: Callable[[int], int],
    **options: object,
) -> Array:
    """Trace a curve in steps of so many positions, the last one shorter."""
    positions = case.maps[0].size
    steps = [*range(0, positions, every(positions)), positions]
    return case.traced(way, steps=steps, **options).auc


def _truncated(case: Case, way: Literal["deletion", "insertion"]) -> Array:
    """Trace a curve of ten steps whose ends are truncated, as if they were equally long."""
    counts = np.unique(np.linspace(0, case.maps[0].size, 11).astype(np.int64))
    scores = case.traced(way, steps=counts, ties="numpy", baseline=0.0).scores
    area: Array = ((scores[:, 1:] + scores[:, :-1]) / 2).mean(axis=1)
    return area


def _over_range(case: Case) -> Array:
    """Mask by |M| stretched from 0 to 1, and score."""
    size = np.abs(case.maps)
    stretched = np.asarray(normalise(size, "min_max"))
    return faithfulness.masked_scores(
        case.images, stretched, case.score_images, batch_size=case.batch_size
    )


def _above_percentiles(case: Case, percentiles: tuple[int, ...]) -> Array:
    """Compute ROAD with what lies above a percentile removed, however much that is."""
    size = case.maps.shape[1:]
    draws = np.random.default_rng(case.seed)
    noise = 0.01 * draws.standard_normal(case.images.shape[1:]).astype(case.images.dtype)

    def altered(maps: Array) -> npt.NDArray[np.float64]:
        removed = [[one >= np.percentile(one, p) for p in percentiles] for one in maps]
        if any(mask.all() for each in removed for mask in each):
            raise InputError(
                "pytorch-grad-cam removes what is not below a percentile of the map, which of a "
                "map that is mostly zeros is all of it: nothing is left to fill in from, and it "
                "scores an image of zeros. Choose recipe 'paper', which removes by rank."
            )
        score = Scorer(case.score_images, case.batch_size)
        images = (
            (sample, LinearImputer(mask.reshape(size))(case.images[sample], noise))
            for sample, each in enumerate(removed)
            for mask in each
        )
        return score(images).reshape(len(maps), -1)

    gaps: Array = (altered(1 - case.maps) - altered(case.maps)).mean(axis=1) / 2
    return gaps


def _arcc_of_percentiles(case: Case) -> Array:
    told = _above_percentiles(case, (20, 40, 60, 80))
    return composite.arcc(told, case.coherency, l1_complexity(case.maps))


def _authors_drop(case: Case) -> Array:
    """Compute the drop from the largest probability, which is the explained class's or refused."""
    if case.right is not None and not case.right.all():
        raise InputError(
            "ADCC's authors divide by the largest probability whatever class is explained, and "
            f"{int((~case.right).sum())} of {len(case.right)} samples are explained for another. "
            "Leave the target out, or choose recipe 'paper'."
        )
    return faithfulness.drop(case.scores, case.masked)


def _authors_adcc(case: Case) -> Array:
    return composite.adcc(_authors_drop(case), case.coherency, l1_complexity(case.maps))


def _grad_cam_drop(case: Case) -> Array:
    lost: Array = np.maximum(0, case.scores - case.masked)
    return lost


def _fraction(numerator: Array, scores: Array, epsilon: float) -> Array:
    share: Array = np.maximum(numerator, 0) / (scores + epsilon)
    return share


def _rows() -> list[MetricRecipe]:
    def torchcam_steps(positions: int) -> int:
        return -(-positions // 20)

    def row_of(case: Case) -> int:
        return int(case.maps.shape[-1])

    return [
        MetricRecipe("paper", "The papers", alike=tuple(TABLE)),
        MetricRecipe(
            "rise-authors",
            "RISE's evaluation.py (eclique/RISE)",
            own={
                "deletion": lambda case: _curve(
                    case, "deletion", lambda _: row_of(case), ties="numpy"
                ),
                "insertion": lambda case: _curve(
                    case, "insertion", lambda _: row_of(case), ties="numpy"
                ),
            },
            notes=(
                "As many positions a step as the image is wide.",
                "Which of equal positions goes first is left to NumPy's sorting.",
            ),
        ),
        MetricRecipe(
            "torchcam",
            "torchcam 0.5.0",
            "logit",
            own={
                "deletion": lambda case: _curve(case, "deletion", torchcam_steps),
                "insertion": lambda case: _curve(case, "insertion", torchcam_steps, baseline=0.0),
                "average_drop": lambda case: _fraction(
                    case.scores - case.masked, case.scores, 1e-7
                ),
                "increase": lambda case: case.scores < case.masked,
            },
            notes=(
                "Scores logits unless logits_fn is given, so that areas are no probabilities and "
                "a negative score gives a negative drop.",
                "Inserts into zeros of the model's input, not into the authors' blur.",
                "Drop and increase are fractions, not percentages.",
            ),
        ),
        MetricRecipe(
            "pytorch-grad-cam",
            "pytorch-grad-cam 1.5.7, ClassifierOutputTarget",
            "logit",
            own={
                "average_drop": _grad_cam_drop,
                "increase": lambda case: case.scores < case.masked,
                "road": partial(_above_percentiles, percentiles=tuple(range(10, 100, 10))),
                "coherency": lambda case: case.coherency,
                "complexity": lambda case: l1_complexity(case.maps),
                "arcc": _arcc_of_percentiles,
            },
            notes=(
                "Scores logits; a softmax target gives probabilities.",
                "DropInConfidence is not divided by the score.",
                "ROAD removes what is not below a percentile, so that of a map with many zeros it "
                "removes more than was asked for; its noise is not seeded there.",
                "ARCC is called a geometric mean, and is a harmonic one.",
            ),
        ),
        MetricRecipe(
            "xplique",
            "xplique 2.0.2",
            own={
                "deletion": lambda case: _truncated(case, "deletion"),
                "insertion": lambda case: _truncated(case, "insertion"),
                "average_drop": lambda case: _fraction(
                    case.scores - _over_range(case), case.scores, 1e-8
                ),
                "average_gain": lambda case: _fraction(
                    _over_range(case) - case.scores, 1 - case.scores, 1e-8
                ),
                "increase": lambda case: case.scores < _over_range(case),
            },
            alike=("entropy", "sparseness"),
            notes=(
                "Inserts into zeros, in ten steps; reports the data set's mean alone.",
                "Masks by the magnitude, stretched from its smallest to its largest value: "
                "evidence against the class counts as evidence for it.",
            ),
        ),
        MetricRecipe(
            "quantus",
            "Quantus 0.6.0",
            alike=(
                "entropy",
                "sparseness",
                "pointing_game",
                "energy_pointing_game",
                "relevance_rank",
                "roc_auc",
            ),
            refused={
                "deletion": "PixelFlipping takes a pixel's channels one after the other, and its "
                "area is in numpy.trapz's units, without the first point.",
                "road": "Its indices of a colour image point beyond it (IndexError).",
                "faithfulness_correlation": "It removes single entries of 150,528, of which a "
                "network sees nothing.",
            },
            notes=("Complexity is the entropy here, and sparseness the Gini index.",),
        ),
        MetricRecipe(
            "captum",
            "captum 0.9.0",
            "logit",
            own={"infidelity": lambda c: subsets.infidelity(*c.scored, scaled=False, **c.options)},
            alike=("max_sensitivity",),
            notes=("Infidelity is not scaled unless normalize=True.",),
        ),
        MetricRecipe(
            "torchray",
            "TorchRay's pointing game",
            own={
                "pointing_game": lambda c: localisation.pointing_game(
                    c.maps, c.where, tolerance=15, ties="first"
                )
            },
            notes=(
                "A hit lies within 15 pixels of the object.",
                "It averages over the images of each class first; here over images.",
            ),
        ),
        MetricRecipe(
            "road-authors",
            "ROAD's authors (tleemann/road_evaluation)",
            own={
                "road": lambda c: c.removed(ties="random").combined,
            },
            notes=(
                "Jitters equal positions apart; adds noise of 0.01 before the photograph is "
                "normalised.",
                "Its least-relevant-first at p removes 1 − p.",
                "It reports a share of right classes and a mean probability for each share "
                "removed, and no number of both orders.",
            ),
        ),
        MetricRecipe(
            "adcc-authors",
            "ADCC's authors (aimagelab/ADCC)",
            own={
                "average_drop": _authors_drop,
                "coherency": lambda case: case.coherency,
                "complexity": lambda case: l1_complexity(case.maps),
                "adcc": _authors_adcc,
            },
            notes=(
                "All are shares of 1, not percentages.",
                "The drop is from the largest probability, whatever class is explained; another "
                "class than the first is refused here.",
                "Coherency of a constant map is left undefined, as it is there.",
            ),
        ),
        MetricRecipe(
            "wsolevaluation",
            "wsolevaluation (clovaai/wsolevaluation), MaxBoxAcc",
            alike=("box_iou",),
            notes=(
                "It reports the percentage of images whose box fits at the threshold that is best "
                "for all of them: Evaluation.box_accuracy has that share.",
            ),
        ),
    ]


METRIC_RECIPES: Final[Mapping[str, MetricRecipe]] = MappingProxyType(
    {row.name: row for row in _rows()}
)
"""The recipes for metrics by name."""


def find_metric_recipe(name: str | MetricRecipe) -> MetricRecipe:
    """Find a recipe for metrics by name.

    Parameters
    ----------
    name : str or MetricRecipe

    Returns
    -------
    MetricRecipe

    Raises
    ------
    InputError
        There is none of that name.
    """
    if isinstance(name, MetricRecipe):
        return name
    if name not in METRIC_RECIPES:
        known = hint(name, METRIC_RECIPES)
        raise InputError(f"There is no recipe for metrics {name!r}. {known}")
    return METRIC_RECIPES[name]
