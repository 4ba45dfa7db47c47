"""Score-CAM's maps are said to keep more of the score than Grad-CAM's and Grad-CAM++'s."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from camcore.adapter import Array
from camcore.evaluation import Evaluation
from camcore.metrics import drop, increased, masked_scores, order_of
from camcore.metrics.case import Case
from camcore.metrics.recipes import MetricRecipe
from camcore.metrics.table import Metric
from camcore.studies.evaluations import (
    BOTTLENECK,
    LAST,
    Network,
    Run,
    beaten,
    differences,
    label,
    means,
    numbers,
    undefined,
)
from camcore.studies.photos import FOOLBOX, PACKAGES, Photographs, photographs
from camcore.studies.study import Finding, Outcome, Setting, Study

FEW: Final = 8
"""How many photographs at the last activation, whose 1,280 channels each take a forward pass."""

AUTHORS = "Score-CAM, authors' code"

PAIRS = tuple(
    (one, other)
    for one in ("scorecam", AUTHORS, "fasterscorecam")
    for other in ("gradcam", "gradcampp")
)
"""The rows that are compared."""

DROP, RISE = "average_drop", "increase"
HALF_DROP, HALF_RISE = "average_drop half", "increase half"

NAMED = {
    DROP: "average drop",
    RISE: "increase",
    HALF_DROP: "average drop, half muted",
    HALF_RISE: "increase, half muted",
}
"""The metrics, and what they are called."""

HEADS = {
    DROP: "average drop % ↓",
    RISE: "increase % ↑",
    HALF_DROP: "average drop %, half muted ↓",
    HALF_RISE: "increase %, half muted ↑",
}
"""The metrics, and the heads of their columns."""

CRITERIA = tuple(
    f"At {layer}, {what} of Score-CAM less that of Grad-CAM is {side} 0 with the whole of its 95 % "
    "interval, and so is that less Grad-CAM++."
    for layer in (LAST, BOTTLENECK)
    for what, side in (("the average drop", "below"), ("the increase in confidence", "above"))
)

PROTOCOL = f"""
Network: EfficientNet-Lite0 with its ImageNet weights, the same numbers in PyTorch and in Keras.
Photographs: twenty of ImageNet's classes that foolbox ships, six of scikit-image (cat, espresso,
astronaut, rocket, cameraman, motorcycle) and two of scikit-learn (temple, flower), each resized and
cropped as the network's authors have it. The class that is explained is the predicted one.

Two layers: the last activation, after a ReLU6, with 1,280 channels, and the block before it, whose
output is linear and has 320 channels with values below zero. Score-CAM takes a forward pass for
each channel, so at the last activation only the first {FEW} photographs are taken, all 28 at the
other; the time that it takes settled that, before any of its numbers was known.

`--photos FOLDER` runs the paper's own number: 2,000 photographs of the folder, drawn with the seed
(all where there are fewer), at both layers.

Score-CAM is run by the paper's equation 4 (a channel, scaled to 0 to 1, masks the image; the
weights are the softmax over channels of the class's scores under the masks) and as its authors'
code has it (the weights are the probabilities themselves). The criteria are decided by the
equation. Beside it stand Grad-CAM, Grad-CAM++, Faster Score-CAM (the ten channels of largest
variance alone), and controls that do not look at the model: a Gaussian in the middle, the same
7 × 7 random numbers for each photograph, and a map of ones but for one corner (Fake-CAM).

The map multiplies what the network takes (whose zero is the mean grey), and scores are
probabilities. With Y the score of the photograph and O that under the map, the average drop is the
mean of max(0, Y − O) / Y; the increase in confidence is the share of photographs with O above Y by
more than a millionth of Y, which is what rounding moves. The paper mutes half of the positions
before it masks: "half muted" sets the half that a map ranks lowest to zero, and keeps the map's
values on the rest. The criteria take whole maps, as Grad-CAM++ defined both measures. Intervals are
bootstrapped over photographs, 95 %, and differences are paired.

The paper's third measure, the share of the map's energy inside the object's box, needs to know
where objects are, which these photographs do not say. It is not measured here;
`camcore reproduce localisation` measures it, of methods that take one pass, on scenes that are
composed of cut-out objects.

The paper takes VGG16 and 2,000 images of ImageNet's validation set.
"""


def half_muted(maps: Array) -> Array:
    """Set the half of each map's positions that it ranks lowest to zero.

    Parameters
    ----------
    maps : (B, *S) array
        Of equal positions the earlier ones rank higher.

    Returns
    -------
    (B, *S) array
        An odd number of positions keeps the middle one.
    """
    flat = np.array(maps).reshape(len(maps), -1)
    order = order_of(maps)
    muted = order[:, order.shape[1] - order.shape[1] // 2 :]
    np.put_along_axis(flat, muted, 0, axis=1)
    return flat.reshape(maps.shape)


def _half_scores(case: Case) -> Array:
    maps = half_muted(case.maps)
    return masked_scores(case.images, maps, case.score_images, batch_size=case.batch_size)


def _half_drop(case: Case) -> Array:
    return 100 * drop(case.scores, _half_scores(case))


def _half_increase(case: Case) -> Array:
    return 100 * increased(case.scores, _half_scores(case))


_SOURCE = "Wang et al., CVPR Workshops 2020"

METRICS = (
    DROP,
    RISE,
    Metric(HALF_DROP, HEADS[HALF_DROP], "lower", ("scores",), _SOURCE, _half_drop),
    Metric(HALF_RISE, HEADS[HALF_RISE], "higher", ("scores",), _SOURCE, _half_increase),
)

CONVENTION = MetricRecipe("wang2020", _SOURCE, alike=tuple(HEADS))
"""The papers' metrics, and those of the half."""


def run(setting: Setting) -> Outcome:
    """Run the study in one framework.

    Parameters
    ----------
    setting : Setting
        Small, Score-CAM takes the eight channels of largest variance.

    Returns
    -------
    Outcome

    Raises
    ------
    InputError, MissingExtraError
        The photographs, the network's weights or the framework are not there.
    """
    every = photographs(setting)
    network = Network.lite(setting.framework)
    fewer = {"channels": 8} if setting.small else {}
    runs = [
        Run({name: name for name in ("gradcam", "gradcampp", "fasterscorecam")}),
        Run({"scorecam": "scorecam"}, options=fewer),
        Run({"scorecam": AUTHORS}, "authors", fewer),
    ]
    evaluations = {}
    for layer in (LAST, BOTTLENECK):
        taken = _taken(every, layer, setting)
        with setting.step(f"{len(taken)} photographs, {layer}"):
            evaluations[layer] = network.evaluate(
                taken,
                layer,
                runs,
                metrics=list(METRICS),
                metric_recipe=CONVENTION,
                controls=["random", "ones", "centre"],
            )
    return outcome(evaluations, list(every.notes()))


def _taken(every: Photographs, layer: str, setting: Setting) -> Photographs:
    """Take the first few at the layer that is dear, unless a person brought photographs."""
    return every.first(FEW) if layer == LAST and setting.photos is None else every


def outcome(evaluations: Mapping[str, Evaluation], notes: list[str]) -> Outcome:
    """Decide the criteria, and write tables and notes.

    Parameters
    ----------
    evaluations : mapping of str to Evaluation
        By layer: `LAST` and `BOTTLENECK`.
    notes : list of str
        What is to be said of the photographs.

    Returns
    -------
    Outcome
    """
    told, tables = list(notes), []
    values: dict[str, float] = {}
    points = {metric: f"{name}, points" for metric, name in NAMED.items()}
    for layer, one in evaluations.items():
        where = layer[0].upper() + layer[1:]
        tables += [
            means(f"{where}: means of {len(one)} photographs (controls in brackets)", one, HEADS),
            differences(f"{where}: paired differences", one, PAIRS, points),
        ]
        told += [*_halves(one, layer), *beaten(one, NAMED, layer), *undefined(one, layer)]
        values |= numbers(one, layer)
    return Outcome(findings(evaluations), tables, told, values)


def _halves(evaluation: Evaluation, layer: str) -> Iterator[str]:
    """Say what the criteria's differences are where half of the positions are muted."""
    for metric, what in ((HALF_DROP, NAMED[DROP]), (HALF_RISE, NAMED[RISE])):
        gaps = [
            f"{evaluation.difference('scorecam', other, metric)} from {label(other)}'s"
            for other in ("gradcam", "gradcampp")
        ]
        yield (
            f"At {layer}, with half muted as the paper has it, Score-CAM's {what} differs by "
            f"{' and '.join(gaps)}, in points."
        )


def findings(evaluations: Mapping[str, Evaluation]) -> list[Finding]:
    """Decide the criteria.

    Parameters
    ----------
    evaluations : mapping of str to Evaluation
        By layer: `LAST` and `BOTTLENECK`.

    Returns
    -------
    list of Finding
    """
    asked = [(layer, metric) for layer in (LAST, BOTTLENECK) for metric in (DROP, RISE)]
    found = []
    for criterion, (layer, metric) in zip(CRITERIA, asked, strict=True):
        gaps = {
            other: evaluations[layer].difference("scorecam", other, metric)
            for other in ("gradcam", "gradcampp")
        }
        if metric == DROP:
            held = all(gap.high < 0 for gap in gaps.values())
        else:
            held = all(gap.low > 0 for gap in gaps.values())
        told = "; ".join(f"{gap} from {label(other)}'s" for other, gap in gaps.items())
        text = f"at {layer}, Score-CAM's {NAMED[metric]} differs, in points, by {told}."
        found.append(Finding(criterion, held, text))
    return found


STUDY = Study(
    name="scorecam",
    title="Score-CAM against Grad-CAM and Grad-CAM++",
    claim=(
        "Under Score-CAM's maps less of the class's score is lost, and more often it rises, than "
        "under Grad-CAM's and Grad-CAM++'s: an average drop of 31.5 % against 47.8 % and 45.5 %, "
        "an increase of 30.6 % against 19.6 % and 18.9 %, with VGG16 on 2,000 images."
    ),
    source=(
        "Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural "
        "Networks, CVPR Workshops 2020, sec. 4.2"
    ),
    protocol=PROTOCOL,
    criteria=CRITERIA,
    data=(PACKAGES, FOOLBOX),
    minutes=20,
    run=run,
    apart=0.1,
)
"""Wang et al., at the right layer and at the wrong one."""
