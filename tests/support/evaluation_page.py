"""Write docs/evaluation.md: the metrics, a table of methods and controls, and one name's numbers.

    python tests/support/evaluation_page.py

On EfficientNet-Lite0's ImageNet weights in PyTorch and six photographs; about two minutes.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

import camcore
from camcore import metrics
from camcore.evaluation import evaluate
from camcore.metrics.case import Counted
from camcore.metrics.controls import CONTROLS
from camcore.metrics.recipes import METRIC_RECIPES
from camcore.metrics.table import TABLE
from camcore.studies import STUDIES
from camcore.targets import Class, Probability
from camcore.zoo import load_model

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
METHODS = ("gradcam", "gradcampp", "layercam")
METRICS = ("deletion", "insertion", "average_drop", "increase", "adcc")
STEPS = 49

INTRODUCTION = """# Is the map any good?

    evaluation = camcore.evaluate(model, photos, methods=["gradcam", "layercam"])
    print(evaluation)
    evaluation.to_csv("values.csv")

or, of a folder, `camcore evaluate PHOTOS --model SPEC --method gradcam --metric deletion`. Every
metric is a function of arrays in `camcore.metrics`, with one value for each sample; a table has
their means, with 95 % bootstrap intervals over samples. What is undefined (the coherency of a
constant map, an empty mask) is left out and counted. `Evaluation.difference` compares two rows
sample by sample.

    evaluation = camcore.evaluate(model, photos, methods=["gradcam", "layercam"], keep=8)
    evaluation.figure().savefig("curves.pdf")
    camcore.report.write("report.html", evaluation)
    camcore.explain(model, photos).evaluate(model, metrics=["deletion", "road"])

The figure has the mean curves of deletion, insertion and ROAD with their 95 % bands, and
`Evaluation.curves` each sample's own. In the report, which `camcore evaluate --report` writes too,
a slider goes through the pictures that the network was fed, of at most twelve of the samples that
are kept. `Explanation.evaluate` takes the maps that are there, whatever made them.

    camcore.evaluate(model, [photo], metrics=["pointing_game", "box_iou"], boxes=[[10, 20, 90, 80]])

Where the objects are is said by masks or by boxes, over the photographs, or over the model's input
where that is given: `left, top, right, bottom` of each object, in pixels. On the command line,
`--masks FOLDER`, and `--boxes FILE` with each photograph's name and boxes as JSON, or COCO's
annotations. Metrics of masks take boxes where there are no masks. `box_iou` is the overlap of the
box around the map at its own best threshold; at the best threshold for all samples together,
which is MaxBoxAcc, it is a number of the set, `evaluation.box_accuracy["gradcam"].score`.
`top1_localisation` asks for the right classes as the target.

`camcore evaluate` evaluates one photograph after the other and keeps the numbers of each. After an
interruption, or with more photographs in the folder, `--resume` does what is missing, and ends
with the same numbers as a call without a break; it refuses other settings, models and versions.

## The metrics

What is scored is the probability of the explained class.
"""

CONTROL_TEXT = """
## Controls

Beside the methods stand maps that know nothing of the model. A method that is not better than
these has not been shown to look where the model looks.
"""

RECIPE_TEXT = """
## As libraries have them

`camcore.evaluate(..., metric_recipe="torchcam")`, or `camcore evaluate --metric-recipe torchcam`,
gives the library's own numbers; tests run the installed libraries beside them.
"""

BRIDGE_TEXT = """
Quantus takes camcore's maps of PyTorch and Keras models, also where it explains altered images:

    quantus.MaxSensitivity()(model=net, x_batch=images, y_batch=classes, a_batch=None,
                             explain_func=camcore.metrics.quantus_explain_func,
                             explain_func_kwargs={"method": "gradcam", "layer": "layer4"})

Of its metrics, `MPRT` shows a Keras model images with their channels first, which fails."""

PEERS_TEXT = """
## What libraries have, and what of it is here

A name is a metric above, or a function of `camcore.metrics`; what is not here says why.
"""

PEERS = {
    "Quantus 0.6.0": {
        "FaithfulnessCorrelation": "`faithfulness_correlation`, on cells of a grid",
        "FaithfulnessEstimate": "`faithfulness_correlation`; this one removes one group after the "
        "other, the most relevant first",
        "PixelFlipping": "`deletion`, of whole pixels",
        "RegionPerturbation": "`deletion` and `irof`; patches of a fixed size are neither what the "
        "map is of nor what is in the picture",
        "Monotonicity": "no: it puts the baseline into the baseline, and is true of any map",
        "MonotonicityCorrelation": "no: the uncertainty of a single pixel's fill-ins, of which a "
        "network sees nothing",
        "Selectivity": "`deletion`; it is its curve by patches, without a number",
        "SensitivityN": "`sensitivity_n`, in which sets are random, as in the paper",
        "IROF": "`irof`",
        "ROAD": "`road`; it fails on colour images",
        "Infidelity": "`infidelity`",
        "Sufficiency": "no: of a data set, not of a map, by a distance that is to be chosen",
        "Continuity": "`max_sensitivity`; this one moves the picture and not its map back",
        "LocalLipschitzEstimate": "`max_sensitivity`, which does not divide by the noise's size",
        "MaxSensitivity": "`max_sensitivity`",
        "AvgSensitivity": "`average_sensitivity`",
        "Consistency": "no: of a data set, by a way to make maps discrete that is to be chosen",
        "RelativeInputStability": "no: it divides by each value of the map and of the picture, so "
        "that those near 0 decide",
        "RelativeOutputStability": "no: as above, by outputs in place of the picture",
        "RelativeRepresentationStability": "no: as above, by what a layer makes of the picture",
        "PointingGame": "`pointing_game`; empty masks are hits there",
        "TopKIntersection": "`relevance_rank`, whose K is the object's size; a fixed K asks for "
        "another share of each picture",
        "RelevanceMassAccuracy": "`energy_pointing_game`",
        "RelevanceRankAccuracy": "`relevance_rank`",
        "AttributionLocalisation": "`energy_pointing_game`",
        "AUC": "`roc_auc`",
        "Focus": "`grid_pointing_game`",
        "Sparseness": "`sparseness`",
        "Complexity": "`entropy`",
        "EffectiveComplexity": "`effective_complexity`",
        "MPRT": "`model_parameter_randomisation`",
        "SmoothMPRT": "`smooth_mprt`",
        "EfficientMPRT": "`efficient_mprt`",
        "RandomLogit": "`random_logit`",
        "Completeness": "no: maps in [0, 1] have no units to add up in; the signed ones of methods "
        "that promise it are tested for it",
        "NonSensitivity": "no: the share of pixels that matter without being marked, one by one",
        "InputInvariance": "no: it alters the model's first bias, which not every model has",
    },
    "captum 0.9.0": {
        "infidelity": "`infidelity`",
        "sensitivity_max": "`max_sensitivity`",
    },
    "pytorch-grad-cam 1.5.7": {
        "CamMultImageConfidenceChange": "`masked_scores`",
        "DropInConfidence": "`average_drop`",
        "IncreaseInConfidence": "`increase`",
        "PerturbationConfidenceMetric": "`road`",
        "ROADMostRelevantFirst": "`road`, `Road.most`",
        "ROADLeastRelevantFirst": "`road`, `Road.least`",
        "ROADMostRelevantFirstAverage": "`road`, the mean of `Road.most`",
        "ROADLeastRelevantFirstAverage": "`road`, the mean of `Road.least`",
        "ROADCombined": "`road`",
        "Complexity": "`complexity`",
        "Coherency": "`coherency`",
        "ARCC": "`arcc`",
    },
    "torchcam 0.5.0": {
        "ClassificationMetric": "`average_drop`, `increase`",
        "DeletionInsertionMetric": "`deletion`, `insertion`",
    },
    "xplique 2.0.2": {
        "Deletion": "`deletion`",
        "Insertion": "`insertion`",
        "MuFidelity": '`faithfulness_correlation(..., grid=9, correlation="spearman")`',
        "AverageDropMetric": "`average_drop`",
        "AverageGainMetric": "`average_gain`",
        "AverageIncreaseMetric": "`increase`",
        "AverageStability": "`average_sensitivity`, which is relative to the map",
        "Complexity": "`entropy`",
        "Sparseness": "`sparseness`",
        "RandomLogitMetric": "`random_logit`",
        "ModelRandomizationMetric": "`model_parameter_randomisation`",
        "MeGe": "no: it trains the model again, several times",
    },
    "TorchRay": {
        "PointingGameBenchmark": "`pointing_game` by the recipe `torchray`; its mean over classes "
        "of means over images asks for a class of each object, and tables here are of images",
    },
    "wsolevaluation": {
        "MaxBoxAcc": "`Evaluation.box_accuracy`, and of each sample `box_iou`",
        "MaxBoxAccV2": '`max_box_accuracy(..., iou=(0.3, 0.5, 0.7), contours="all")`',
        "PxAP": "`px_ap`, a number of a data set",
    },
}
"""The metrics of libraries, and what of them is here."""

STUDIES_TEXT = """
## Claims of papers, tested again

`camcore reproduce NAME` runs a study in PyTorch and in Keras and writes its page: the claim, the
protocol, criteria that were set beforehand, tables with intervals, and what held. `--photos FOLDER`
takes photographs of your own, and `--small` is a minute's run that shows that it works.
"""

TABLE_TEXT = """
## An example

EfficientNet-Lite0 with ImageNet's weights, last activation, on six photographs of scikit-image and
scikit-learn, by `python tests/support/evaluation_page.py`. Six photographs tell little apart, and
photographs with the object in the middle do not tell a method from a blob there.
"""

NUMBERS_TEXT = """
## One name, many numbers

The same maps (Grad-CAM) and the same photographs, by what libraries call by one name. Means of six.
"""


def metric_rows() -> list[str]:
    """List the metrics: name, which way is better, what it takes, and its source."""
    lines = ["| metric | better | takes | source |", "|---|---|---|---|"]
    for row in TABLE.values():
        takes = ", ".join(row.needs) or "the map alone"
        lines.append(f"| `{row.name}` | {row.better} | {takes} | {row.source} |")
    return lines


def control_rows() -> list[str]:
    """List the controls."""
    rows = [f"| `{row.name}` | {row.label} |" for row in CONTROLS.values()]
    return ["| control | map |", "|---|---|", *rows]


def recipe_rows() -> list[str]:
    """List whose definitions there are, and where they part from the papers'."""
    lines = ["| recipe | of | has | parts from the papers |", "|---|---|---|---|"]
    for row in METRIC_RECIPES.values():
        if row.name != "paper":
            has = ", ".join((*row.own, *row.alike))
            said = [*row.notes, *(f"{name} is refused: {why}" for name, why in row.refused.items())]
            lines.append(f"| `{row.name}` | {row.source} | {has} | {' '.join(said)} |")
    return lines


def peer_rows() -> list[str]:
    """List the metrics of libraries, and what of them is here, or why it is not."""
    lines = ["| library | metric | here |", "|---|---|---|"]
    return lines + [
        f"| {library} | `{name}` | {here} |"
        for library, metrics in PEERS.items()
        for name, here in metrics.items()
    ]


def study_rows() -> list[str]:
    """List the studies, with a link to those whose pages are here."""
    lines = ["| study | claim | source |", "|---|---|---|"]
    for study in STUDIES.values():
        there = (PAGE.parent / "studies" / f"{study.name}.md").exists()
        name = f"[{study.name}](studies/{study.name}.md)" if there else f"`{study.name}`"
        lines.append(f"| {name} | {study.claim} | {study.source} |")
    return lines


def photographs() -> list[np.ndarray]:
    """Take the photographs that scikit-image and scikit-learn ship."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    shipped = [data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]
    return [*shipped, *load_sample_images().images]


def disagreement_rows(loaded: camcore.registry.LoadedModel) -> list[str]:
    """Compute what goes by one name, each way that a library has it."""
    explainer = camcore.Explainer(loaded)
    result = explainer(photographs())
    heat, classes = result.maps, result.classes.tolist()
    likely, raw = (
        explainer.evidence(photographs(), target(classes)) for target in (Probability, Class)
    )
    images, count = likely.images, heat[0].size
    probability, logit = Counted(likely.score_images), Counted(raw.score_images)
    ones = np.ones_like(heat)
    before, after = (metrics.masked_scores(images, m, probability) for m in (ones, heat))
    before_raw, after_raw = (metrics.masked_scores(images, m, logit) for m in (ones, heat))

    def deleted(score: Counted, **options: object) -> float:
        return float(
            metrics.deletion(images, heat, score, **{"steps": STEPS, **options}).auc.mean()
        )

    def inserted(**options: object) -> float:
        curve = metrics.insertion(images, heat, probability, steps=STEPS, **options)
        return float(curve.auc.mean())

    by_twenty = [*range(0, count, -(-count // 20)), count]
    rows = [
        ("deletion", "RISE: probabilities, the mean colour, 49 steps", deleted(probability)),
        (
            "deletion",
            "torchcam's 20 steps, of probabilities",
            deleted(probability, steps=by_twenty),
        ),
        ("deletion", "torchcam as it comes: logits, 20 steps", deleted(logit, steps=by_twenty)),
        (
            "deletion",
            "Quantus' black: each image's darkest value",
            deleted(probability, baseline="min"),
        ),
        ("insertion", "RISE: into the authors' blur", inserted()),
        ("insertion", "torchcam, xplique: into the mean colour", inserted(baseline=0.0)),
        (
            "average drop %",
            "Grad-CAM++: of probabilities",
            100 * metrics.drop(before, after).mean(),
        ),
        (
            "average drop %",
            "torchcam as it comes: of logits",
            100 * metrics.drop(before_raw, after_raw).mean(),
        ),
        (
            "average drop",
            "pytorch-grad-cam, softmax target: not divided by the score",
            np.maximum(0, before - after).mean(),
        ),
        (
            "average drop",
            "pytorch-grad-cam, usual target: logits, not divided",
            np.maximum(0, before_raw - after_raw).mean(),
        ),
        (
            "increase %",
            "Grad-CAM++: of probabilities",
            100 * metrics.increased(before, after).mean(),
        ),
        (
            "increase %",
            "torchcam, pytorch-grad-cam as they come: of logits",
            100 * metrics.increased(before_raw, after_raw).mean(),
        ),
        (
            "complexity",
            "ADCC, pytorch-grad-cam: mean of the map",
            metrics.l1_complexity(heat).mean(),
        ),
        ("complexity", "Quantus, xplique: entropy of the map", metrics.entropy(heat).mean()),
    ]
    lines = ["| name | by whom, and how | number |", "|---|---|---|"]
    return lines + [f"| {name} | {how} | {number:.4g} |" for name, how, number in rows]


def main() -> None:
    """Write the page."""
    loaded = load_model("demo-torch:efficientnet_lite0")
    evaluation = evaluate(loaded, photographs(), methods=METHODS, metrics=METRICS, steps=STEPS)
    parts = [
        INTRODUCTION,
        *metric_rows(),
        CONTROL_TEXT,
        *control_rows(),
        RECIPE_TEXT,
        *recipe_rows(),
        BRIDGE_TEXT,
        PEERS_TEXT,
        *peer_rows(),
        STUDIES_TEXT,
        *study_rows(),
        TABLE_TEXT,
        evaluation.to_markdown(),
        "",
        *(f"- {note}" for note in evaluation.notes()),
        NUMBERS_TEXT,
        *disagreement_rows(loaded),
    ]
    PAGE.write_text("\n".join(parts) + "\n", encoding="utf-8")
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    with warnings.catch_warnings(action="ignore"):
        main()
