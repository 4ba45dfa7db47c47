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
