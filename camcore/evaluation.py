"""Evaluate methods by metrics, beside controls that know nothing of the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array, LayerName
from camcore.errors import InputError
from camcore.evaluated import Evaluation, Interval, Kept
from camcore.evidence import Rerun
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.methods.table import find
from camcore.metrics.arrays import is_constant
from camcore.metrics.case import Case, Counted
from camcore.metrics.controls import CONTROLS, Control
from camcore.metrics.objects import Boxes, masks_of, objects_in
from camcore.metrics.recipes import MetricRecipe, find_metric_recipe
from camcore.metrics.robustness import ExplainImages
from camcore.metrics.scoring import Scorer
from camcore.metrics.table import Metric, find_metric
from camcore.recipes import PAPER
from camcore.targets import Class, Probability, Target

__all__ = ["Evaluation", "Interval", "evaluate"]

METRICS = ("deletion", "insertion", "average_drop", "increase", "adcc")
"""The metrics that are computed unless others are asked for."""

_OF_THE_MODEL = (
    "output",
    "input",
    "input_layout",
    "activation",
    "mode",
    "preprocess",
    "classes",
)
"""Options that say how the model is run and read, whatever the method."""


def evaluate(
    model: object,
    inputs: Any,
    target: Any = None,
    *,
    methods: Any = ("gradcam", "gradcampp", "layercam"),
    metrics: str | Sequence[str | Metric] = METRICS,
    layer: Any = None,
    recipe: Any = "paper",
    masks: Any = None,
    boxes: Boxes | None = None,
    controls: bool | Sequence[str] = True,
    metric_recipe: str | MetricRecipe = "paper",
    score: Target | None = None,
    steps: int = 50,
    batch_size: int = 32,
    seed: int = 0,
    keep: int = 0,
    **options: Any,
) -> Evaluation:
    """Evaluate methods by metrics on a batch.

    Parameters
    ----------
    model, inputs, target
        As `camcore.explain` takes them; the predicted class of each sample unless said.
    methods : str, sequence of str, Explanation, or mapping of str to Explanation
        The methods; or maps of these inputs that were made before, as `camcore.explain` gives
        them for one method or several.
    metrics : str, or sequence of str
        Of `camcore.metrics.TABLE`.
    layer, recipe
        As `camcore.explain` takes them.
    masks : (B, *S) bool array, or sequence of these, optional
        Where the object is, over the model's input, or over the photograph where these are
        explained; metrics of localisation need them, or boxes.
    boxes : sequence of (n, 4) array, or (B, 4) array, optional
        The edges ``left, top, right, bottom`` of each sample's objects, or its one object's, in
        pixels of the photograph where photographs are explained, and of the model's input
        otherwise. Metrics of boxes need them; without masks, metrics of localisation take what
        lies in them.
    controls : bool or sequence of str
        Maps that know nothing of the model, as rows of their own: those of
        `camcore.metrics.CONTROLS`, some of them by name, or none.
    metric_recipe : str or MetricRecipe
        Whose definitions of the metrics: of `camcore.metrics.METRIC_RECIPES`. Other than the
        papers', numbers are in the library's own units, and `steps` are the library's.
    score : Target, optional
        What is scored; unless said the probability of the explained class, or its logit where
        the recipe has that.
    steps : int
        Of deletion and insertion.
    batch_size : int
        How many altered images are scored at once.
    seed : int
        Of whatever is drawn.
    keep : int
        Of how many samples, from the first on, inputs and maps are kept in the result, so that
        `camcore.report` can show what the network was fed.
    **options
        Of `camcore.Explainer`, and of the methods.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        There is no such metric or control, or the maps do not lie over the input, or are not of
        these inputs; and what `camcore.explain` raises.
    """
    rows = [find_metric(one) for one in ([metrics] if isinstance(metrics, str) else metrics)]
    convention = find_metric_recipe(metric_recipe)
    for row in rows:
        convention.check(row)
    chosen = _chosen(controls)
    about = {"layer": layer, "recipe": recipe, **options}
    explained = _explained(model, inputs, target, methods, about)
    first, about = next((one.explanation, one.about) for one in explained.values())
    wanted = target if first.classes is None else first.classes.tolist()
    kind = Probability if convention.score == "probability" else Class
    scored = score or (wanted if first.classes is None else kind(wanted))
    # A method of the input names no layer, and takes no gradient.
    shared = {key: value for key, value in about.items() if key in _OF_THE_MODEL}
    evidence = Explainer(model, method="rise", **shared).evidence(inputs, scored)
    images, score_images = evidence.images, evidence.score_images
    scores = Scorer(score_images, batch_size)(enumerate(images))
    seen = [(one.crop, str(one.path or f"sample {i}")) for i, one in enumerate(first.photographs)]
    objects = None if boxes is None else objects_in(boxes, images.shape[2:], len(images), seen)
    where = None if masks is None else _masks(masks, images, first)
    if where is None and objects is not None:
        where = masks_of(objects, images.shape[2:])
    right = None if target is None else _first_class(first)
    known: dict[str, Array] = {}

    def case(maps: Array, again: ExplainImages) -> Case:
        return Case(
            images,
            maps,
            Counted(score_images),
            again,
            scores,
            where,
            objects,
            right,
            steps,
            batch_size,
            seed,
            known,
        )

    cases: dict[str, Case] = {}
    for name, one in explained.items():
        _check_over(
            name, one.explanation, evidence, given=isinstance(methods, Explanation | Mapping)
        )
        again = _Again(Explainer(model, method=one.method, **one.about), evidence, wanted)
        cases[name] = case(one.explanation.maps, again)
    base = next(iter(cases.values()))
    # There is a method of the name "random", too.
    titles = [f"{c.name} control" if c.name in cases else c.name for c in chosen]
    for title, control in zip(titles, chosen, strict=True):
        cases[title] = _control_case(control, base, case)
    values, seconds = {}, {}
    for name, each in cases.items():
        start = time.perf_counter()
        values[name] = {row.name: convention(row, each) for row in rows}
        seconds[name] = time.perf_counter() - start
    return Evaluation(
        values,
        tuple(titles),
        {name: each.score_images.forwards for name, each in cases.items()},
        seconds,
        {name: int(is_constant(each.maps).sum()) for name, each in cases.items()},
        {
            "recipe": first.recipe,
            "layers": ", ".join(
                dict.fromkeys(n for one in explained.values() for n in one.explanation.raw)
            ),
            "metrics": convention.source,
            "score": type(scored).__name__.lower() if isinstance(scored, Target) else "score",
            "steps": str(steps),
            "seed": str(seed),
            "deterministic": str(bool(np.allclose(scores, evidence.scores, rtol=1e-3, atol=1e-6))),
        },
        curves={name: each.curves for name, each in cases.items()},
        kept=tuple(
            Kept(
                sample,
                images[sample].copy(),
                {name: one.explanation[sample] for name, one in explained.items()},
                base.feeds,
            )
            for sample in range(min(keep, len(images)))
        ),
        box_accuracy={
            name: each.box_accuracy
            for name, each in cases.items()
            if objects is not None and any(row.name == "box_iou" for row in rows)
        },
    )


class _Explained(NamedTuple):
    """Maps of the inputs, and what explains others in the same way."""

    explanation: Explanation
    method: Any
    about: dict[str, Any]


def _explained(
    model: object, inputs: Any, target: Any, methods: Any, about: dict[str, Any]
) -> dict[str, _Explained]:
    """Explain the inputs by each method, or take maps that were made before."""
    if isinstance(methods, Explanation):
        methods = {methods.method: methods}
    if isinstance(methods, Mapping):
        for one in methods.values():
            if not isinstance(one, Explanation):
                raise InputError(
                    f"methods= holds a {type(one).__name__}; pass names of methods, or an "
                    "explanation of all inputs by each method's name."
                )
        return {
            name: _Explained(one, one.method, _as_explained(one, about))
            for name, one in methods.items()
        }
    names = [methods] if isinstance(methods, str) else list(methods)
    explainer = Explainer(model, method=names, **about)
    found: dict[str, Explanation] = explainer(inputs, target)
    return {
        name: _Explained(one, name, _options_of(name, found, about)) for name, one in found.items()
    }


def _options_of(name: str, methods: Iterable[str], about: dict[str, Any]) -> dict[str, Any]:
    """Leave out the options that only other methods take."""
    others = {option for other in methods for option in find(other).takes()}
    only_others = others - {*find(name).takes(), *signature(Explainer).parameters}
    return {option: value for option, value in about.items() if option not in only_others}


def _as_explained(one: Explanation, about: dict[str, Any]) -> dict[str, Any]:
    """Collect the options that an explanation was made with, as far as it says them itself."""
    layers = [name for name in one.raw if not LayerName.parse(name).is_input]
    activation = None if one.activation is None else one.activation.removeprefix("log_")
    known = {
        "layer": layers or None,
        "recipe": one.recipe,
        "fusion": one.fusion if len(one.raw) > 1 else None,
        "input": one.input,
        "activation": activation,
    }
    said = {key: value for key, value in about.items() if value is not None}
    if said.get("recipe") == PAPER.name:
        del said["recipe"]
    return {**{key: value for key, value in known.items() if value is not None}, **said}


def _check_over(name: str, one: Explanation, evidence: Rerun, *, given: bool) -> None:
    """Refuse maps that do not lie over the inputs, or, where they were given, are of others."""
    size, images = one.maps.shape[1:], evidence.images
    if size != images.shape[2:]:
        raise InputError(
            f"The maps of {name!r} are {size} and the input is {images.shape[2:]}; metrics need "
            "maps over the input. Choose recipe='paper'."
        )
    if not given:  # made just now, and with dropout, say, of other outputs
        return
    outputs, scale = evidence.selector.explained(
        evidence.target, evidence.trace, np.asarray(evidence.scores)
    )
    alike = (
        scale.applied == (one.applied is not None) and outputs.shape[1:] == one.outputs.shape[1:]
    )
    if len(one) != len(images) or (alike and not _near(outputs, one.outputs)):
        raise InputError(
            f"{name!r} explains {len(one)} other inputs than the {len(images)} given, or another "
            "model: its outputs differ. Pass the model and the inputs that were explained, with "
            "the same preprocess= where they are photographs."
        )


def _near(outputs: Array, others: Array) -> bool:
    """Tell whether outputs are those of the same inputs, but for rounding."""
    return bool(np.allclose(outputs, others, rtol=0.02, atol=0.02 * float(np.ptp(others) or 1)))


@dataclass(frozen=True, eq=False)
class _Again:
    """Explains alterations of the samples' inputs by one method, for the same classes."""

    explainer: Explainer[Explanation]
    evidence: Rerun
    wanted: Any

    def __call__(self, sample: int, images: Array) -> Array:
        """Explain N alterations of one sample's input."""
        return self.many(np.full(len(images), sample), images)

    def many(self, samples: npt.NDArray[np.int64], images: Array) -> Array:
        """Explain N alterations, each of the sample whose index is given."""
        given, wanted = self.evidence.inputs_of(images, samples), self.wanted
        target = [wanted[one] for one in samples] if isinstance(wanted, list) else wanted
        return self.explainer(given, target).maps


@dataclass(frozen=True, eq=False)
class _Turned:
    """Makes a control's maps of what another method makes."""

    function: Callable[[Array], Array]
    of: Any

    def __call__(self, sample: int, images: Array) -> Array:
        """Make the maps of N alterations of one sample's input."""
        return self.function(self.of(sample, images))

    def many(self, samples: npt.NDArray[np.int64], images: Array) -> Array:
        """Make the maps of N alterations, each of the sample whose index is given."""
        return self.function(self.of.many(samples, images))


def _control_case(control: Control, base: Case, case: Any) -> Case:
    if control.made_of == "images":
        maps = control.function(base.images).astype(np.float32)
        made: Case = case(maps, lambda _, images: control.function(images))
        return made
    maps = control.function(base.maps).astype(np.float32)
    turned: Case = case(maps, _Turned(control.function, base.explain_images))
    return turned


def _chosen(controls: bool | Sequence[str]) -> list[Control]:
    if isinstance(controls, bool):
        return list(CONTROLS.values()) if controls else []
    for name in controls:
        if name not in CONTROLS:
            raise InputError(f"There is no control {name!r}, but {', '.join(CONTROLS)}.")
    return [CONTROLS[name] for name in controls]


def _masks(masks: Any, images: Array, explained: Explanation) -> Array:
    """Bring masks of photographs, or of the model's input, to the input's size."""
    given = [np.asarray(mask).astype(bool) for mask in masks]
    for sample, photograph in enumerate(explained.photographs[: len(given)]):
        if photograph.crop is not None and given[sample].shape == photograph.photo.shape[:2]:
            given[sample] = photograph.crop.mask_to_model(given[sample])
    shapes = {mask.shape for mask in given}
    if len(given) != len(images) or shapes != {images.shape[2:]}:
        raise InputError(
            f"{len(given)} masks of {' and '.join(map(str, sorted(shapes)))} do not lie over "
            f"{len(images)} inputs of {images.shape[2:]}; pass one for each, True on the object."
        )
    return np.stack(given)


def _first_class(explained: Explanation) -> Array | None:
    """Tell of each sample whether the explained class has the highest output."""
    outputs, classes = explained.outputs, explained.classes
    if classes is None or outputs.ndim != 2 or outputs.shape[1] < 2:
        return None
    highest: Array = outputs.argmax(axis=1) == classes
    return highest
