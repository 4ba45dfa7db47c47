"""Odd arrays for the core's public functions, each with what may come back."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from camcore import methods, metrics, postprocess, targets
from camcore.errors import CamcoreError
from camcore.methods.noise import noisy_inputs
from camcore.resize import PEERS, Interpolation, resize

Array = np.ndarray[Any, Any]
Random = np.random.Generator

DTYPES = ("float32", "float64", "float16", "int8", "int64", "uint8", "bool")
ODD_DTYPES = ("complex64", "object", "U3", "datetime64[s]", ">f4", "V4")


def shape(random: Random) -> tuple[int, ...]:
    """Draw ``(B, C, *S)``, small, at times without extent somewhere or of another rank."""
    lengths = random.integers(1, 6, random.choice([3, 4, 4, 4, 5]))
    if random.random() < 0.1:
        lengths[random.integers(len(lengths))] = random.choice([0, 1])
    if random.random() < 0.05:
        lengths = lengths[: random.integers(0, 3)]
    return tuple(int(n) for n in lengths)


def array(random: Random, like: tuple[int, ...]) -> Array:
    """Draw an array of odd values, at times of an odd dtype or shape."""
    if random.random() < 0.08:
        like = shape(random)
    values = random.normal(size=like)
    kind = random.choice(
        ["plain", "plain", "zero", "constant", "huge", "tiny", "nan", "inf", "one", "mixed"]
    )
    if kind == "zero":
        values = np.zeros(like)
    elif kind == "constant":
        values = np.full(like, random.normal())
    elif kind in ("huge", "tiny"):
        with np.errstate(over="ignore"):
            values = values * 10.0 ** (random.integers(20, 309) * (1 if kind == "huge" else -1))
    elif kind in ("nan", "inf", "one", "mixed") and values.size:
        odd = {"nan": [np.nan], "inf": [np.inf, -np.inf], "one": [3e38, -3e38]}
        flat = values.reshape(-1)
        at = random.integers(0, flat.size, random.integers(1, 4))
        flat[at] = random.choice(odd.get(str(kind), [np.nan, np.inf, 1e308, -0.0, 5e-324]), len(at))
        values = flat.reshape(like)
    dtype = random.choice(DTYPES if random.random() < 0.93 else ODD_DTYPES)
    if random.random() < 0.6:
        dtype = random.choice(["float32", "float64"])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dtype in ("datetime64[s]", "V4"):
            made = np.zeros(like, dtype)
        else:
            made = np.asarray(values).astype(dtype)
    made = np.asarray(made)
    if made.ndim > 1 and random.random() < 0.2:
        made = np.swapaxes(np.ascontiguousarray(np.swapaxes(made, 1, -1)), 1, -1)
    made.flags.writeable = bool(random.random() < 0.5)
    return made


@dataclass
class Call:
    """A function with arguments, and whether NaN has a meaning in what it returns."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    undefined: bool = False

    def __repr__(self) -> str:
        shown = [
            f"{a.dtype}{a.shape}" if isinstance(a, np.ndarray) else repr(a) for a in self.arguments
        ]
        return f"{getattr(self.function, '__name__', self.function)}({shown}, {self.options})"


def answers(random: Random, like: tuple[int, ...]) -> Mapping[str, Any]:
    """Make what the model would answer to a method, by the method's argument names."""
    batch = like[:1]

    def score(_: int, images: Array) -> Array:
        return array(random, (len(images),))

    @contextmanager
    def resume(_: int) -> Any:
        yield lambda activations: score(0, activations)

    @contextmanager
    def gradients_from(_: int) -> Any:
        yield lambda activations: (score(0, activations), array(random, activations.shape))

    return {
        "scores": array(random, batch),
        "class_weights": array(random, like[:2]),
        "attention_gradients": array(random, (*like[:2], 3, *like[2:])),
        "own_gradients": lambda: array(random, (*like[:2], 3, *like[2:])),
        "bias_terms": [array(random, like) for _ in range(random.integers(0, 3))],
        "score_images": score,
        "resume": resume,
        "gradients_from": gradients_from,
        "rerun": lambda images: (array(random, like), array(random, like)),
        "gradients_at": lambda images: array(random, images.shape),
    }


OPTIONS = {
    "window": [1, 2, 9, 0, -1],
    "stride": [1, 3, 0],
    "pool": ["max", "mean", "min"],
    "steps": [1, 3, 0],
    "samples": [1, 2, 0],
    "sigma": [0.0, 0.3, -1.0, float("nan"), float("inf"), 1e300],
    "baseline": [0.0, 1.0, float("nan"), float("inf"), 1e300],
    "masks": [1, 5, 0],
    "cells": [1, 3, 0],
    "keep": [0.5, 1.0, 0.0, float("nan")],
    "kernel": ["rbf", "linear", "sigmoid", "cubic"],
    "gamma": [None, 1.0, 0.0, float("nan"), 1e300],
    "reading": ["fraction", "mean", "median"],
    "scored": ["model", "block", "layer"],
    "base": ["gradcam", "layercam", "scorecam"],
    "batch_size": [1, 7, 0],
    "channels": [None, 1, 99, 0],
    "edge": ["shift", "cut", "wrap"],
}


def method(random: Random) -> Call:
    """Draw a method, its arrays and options."""
    row = methods.TABLE[random.integers(len(methods.TABLE))]
    like = shape(random)
    made = answers(random, like)
    arguments = tuple(made[need] if need in made else array(random, like) for need in row.needs)
    takes = [name for name in row.takes() if name in OPTIONS]
    cheap = {"masks": 5, "samples": 2, "steps": 3}
    options = {name: cheap[name] for name in takes if name in cheap}
    for name in takes:
        if random.random() < 0.3:
            options[name] = OPTIONS[name][random.integers(len(OPTIONS[name]))]
    if "progress" in inspect.signature(row.function).parameters:
        options["progress"] = False
    return Call(row.function, arguments, options)


SIZES = ((4, 4), (7,), (1, 1), (0, 3), (-1, 2), (2.5, 2), (2**40, 2**40), (True, 2), "ab", (), None)


def other(random: Random) -> Call:
    """Draw a function of resize, postprocess, targets or metrics."""
    like = shape(random)
    flat = (like[0] if like else 1, 5)
    maps = like[:1] + like[2:]

    def of(*lengths: int) -> Array:
        return array(random, lengths)

    def pair(function: Callable[..., Any], undefined: bool = False, **options: Any) -> Call:
        return Call(function, (of(*maps), of(*maps)), options, undefined)

    def marked(function: Callable[..., Any], **options: Any) -> Call:
        masks = of(*maps) if random.random() < 0.3 else random.random(maps) < 0.4
        return Call(function, (of(*maps), masks), options, True)

    kinds = [*PEERS.values(), Interpolation("cubic"), Interpolation("nearest")]
    size = SIZES[random.integers(len(SIZES))]
    classes = [None, 0, 4, 5, -1, [0] * flat[0], [0.5], 2**70]
    index = classes[random.integers(len(classes))]
    negative = ["clip", "keep", "abs"][random.integers(3)]
    answered = answers(random, like)
    calls: list[Callable[[], Call]] = [
        lambda: Call(resize, (of(*like), size, kinds[random.integers(len(kinds))])),
        lambda: Call(resize, (of(*like), (3, 3)[: max(1, len(like) - 2)])),
        lambda: Call(postprocess.relu, (of(*maps),)),
        lambda: Call(postprocess.normalise, (of(*maps), "max")),
        lambda: Call(postprocess.normalise, (of(*maps), "min_max"), {"eps": 1e-7}),
        lambda: Call(postprocess.normalise, (of(*maps), "median")),
        lambda: Call(postprocess.without_evidence, ([of(*maps), of(*maps)],)),
        lambda: Call(targets.softmax, (of(*flat),)),
        lambda: pair(metrics.largest_difference),
        lambda: pair(metrics.largest_difference, relative=True),
        lambda: pair(metrics.pearson, True),
        lambda: pair(metrics.spearman, True),
        lambda: pair(metrics.ssim, True),
        lambda: pair(metrics.top_overlap, share=[0.1, 1.0, 0.0, float("nan")][random.integers(4)]),
        lambda: marked(metrics.iou, threshold=[0.2, 1.0, 0.0][random.integers(3)]),
        lambda: marked(metrics.iou_curve, thresholds=3),
        lambda: marked(metrics.pointing_game, tolerance=[0, 2.5, -1][random.integers(3)]),
        lambda: marked(metrics.energy_pointing_game, negative=negative),
        lambda: marked(metrics.relevance_rank, ties=["first", "mean"][random.integers(2)]),
        lambda: marked(metrics.px_ap, bins=4),
        lambda: Call(metrics.grid_pointing_game, (of(*maps), index), {"grid": 1}),
        lambda: Call(metrics.max_box_accuracy, (of(*maps), of(*maps[:1], 4)), {}, True),
        lambda: Call(
            metrics.top1_localisation, (of(*maps), of(*maps[:1], 4), of(*maps[:1])), {}, True
        ),
        lambda: Call(metrics.l1_complexity, (of(*maps),)),
        lambda: Call(metrics.entropy, (of(*maps),), {}, True),
        lambda: Call(metrics.sparseness, (of(*maps),), {}, True),
        lambda: Call(metrics.effective_complexity, (of(*maps),)),
        lambda: Call(metrics.average_drop, (of(6), of(6))),
        lambda: Call(metrics.increase_in_confidence, (of(6), of(6))),
        lambda: Call(metrics.win, (of(6), of(6))),
        lambda: Call(
            metrics.deletion, (of(*like), of(*maps), answered["score_images"]), {"steps": 2}
        ),
        lambda: Call(metrics.insertion, (of(*like), of(*maps), answered["score_images"])),
        lambda: Call(metrics.masked_scores, (of(*like), of(*maps), answered["score_images"])),
        lambda: Call(lambda i: list(noisy_inputs(i, 2, 0.5, 0)), (of(*like),)),
        lambda: Call(target(targets.Linear, (of(5),)), (of(*flat),)),
        lambda: Call(target(targets.Similarity, (of(5),)), (of(*flat),)),
        lambda: Call(target(targets.Segmentation, (index, of(*like[2:]))), (of(*like),)),
        lambda: Call(target(targets.Box, ()), (detections(random),)),
        lambda: Call(target(targets.Box, (), of_class=1), (detections(random),)),
    ]
    calls += [
        lambda how=how: Call(postprocess.fuse, ([of(*maps), of(*maps)], how))
        for how in ("mean", "max", "product", "sum", "root", "exp_mean", "log_exp", "median")
    ]
    calls += [
        lambda kind=kind: Call(target(kind, (index,)), (of(*flat),))
        for kind in (
            *(targets.Class, targets.Counterfactual, targets.Probability),
            *(targets.LogProbability, targets.Contrast, targets.Segmentation),
        )
    ]
    return calls[random.integers(len(calls))]()


def target(kind: Any, arguments: tuple[Any, ...], **options: Any) -> Callable[[Any], Any]:
    """Make a target and apply it, in one function that is named like it."""

    def apply(outputs: Any) -> Any:
        scored = kind(*arguments, **options)(outputs)
        return scored.scores, scored.cotangent

    apply.__name__ = kind.__name__
    return apply


def detections(random: Random) -> Mapping[str, Array]:
    """Draw what a detector returns for two images."""
    found: dict[str, Array] = {}
    for image in range(2):
        count = int(random.integers(0, 4))
        found[f"{image}.boxes"] = array(random, (count, 4))
        found[f"{image}.scores"] = array(random, (count,))
        found[f"{image}.labels"] = random.integers(0, 3, count)
    return found


def numbers(value: Any) -> list[Array]:
    """List the arrays in what a function returned."""
    if isinstance(value, Mapping):
        return [one for part in value.values() for one in numbers(part)]
    if isinstance(value, list | tuple):
        return [one for part in value for one in numbers(part)]
    if isinstance(value, metrics.Curve):
        return [value.scores, value.auc]
    if isinstance(value, metrics.OverlapCurve | metrics.BoxAccuracy):
        return [value.values, np.asarray(value.best)]
    return [np.asarray(value)]


def outcome(seed: int) -> tuple[str, str]:
    """Make and call one case, and say what came of it: a kind, and the case in words.

    Returns
    -------
    kind, case : str
        ``"finite"``, ``"refused"`` (a camcore error), ``"raw"`` (any other) or ``"NaN"``.
    """
    random = np.random.default_rng([seed, 1])
    call = (method if random.random() < 0.6 else other)(random)
    case = f"case {seed}: {call!r}"
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = numbers(call.function(*call.arguments, **call.options))
        except CamcoreError as error:
            return ("refused" if str(error).endswith((".", "?", "'", '"')) else "raw"), case
        except Exception as error:
            return "raw", f"{case}: {type(error).__name__}: {error}"
    for values in found:
        if values.dtype.kind not in "biuf":
            return "raw", f"{case}: returned {values.dtype}"
        wrong = np.isinf(values) if call.undefined else ~np.isfinite(values)
        if wrong.any():
            return "NaN", case
    return "finite", case
