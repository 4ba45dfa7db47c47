"""What metrics cost, as a ratio to the forward passes that they make, beside other libraries.

    python benchmarks/metrics.py [--quick] [--only WORDS] [--rounds N] [--output FOLDER]

EfficientNet-Lite0 in PyTorch, float32, on eight photographs, whose Grad-CAM maps are made
beforehand where the library takes maps. The passes of each row are counted, an image a pass, in a
run that is not timed; the baseline is as many no-grad passes, in batches of the size that the
library has, timed in the same rounds. Beside ROAD, which solves a linear system for each image that
it scores, that alone is timed. Writes metrics.md.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data
from timing import Run, against, machine

import camcore
from camcore import zoo
from camcore.metrics import LinearImputer, deletion, insertion, masked_scores, order_of, road
from camcore.photos.crop import CentreCrop
from camcore.targets import Probability

LAYER = "bn2"
PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "astronaut")


@dataclass(frozen=True)
class Subject:
    """What is measured on.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    images : (B, 3, 224, 224) array
        What it takes.
    classes : (B,) int array
        What it predicts.
    maps : (B, 224, 224) array
        Grad-CAM of these.
    steps : int
        Of deletion and insertion, K.
    shares : tuple of float
        Of positions that ROAD removes.
    """

    model: torch.nn.Module
    images: np.ndarray
    classes: np.ndarray
    maps: np.ndarray
    steps: int
    shares: tuple[float, ...]

    @property
    def tensors(self) -> torch.Tensor:
        """The images as PyTorch has them."""
        return torch.from_numpy(self.images)

    def first(self) -> Subject:
        """Take the first photograph alone."""
        held = {name: getattr(self, name)[:1] for name in ("images", "classes", "maps")}
        return replace(self, **held)


@dataclass(frozen=True)
class Row:
    """A metric of a library.

    Parameters
    ----------
    metric, library : str
        Their names.
    run : callable
        Computes it.
    batch : int
        How many images the library scores at once; 0 where it makes no pass.
    goal : float, optional
        The ratio aimed at.
    """

    metric: str
    library: str
    run: Run
    batch: int
    goal: float | None = None


def rows(subject: Subject) -> Iterator[Row]:
    """List every row, of the libraries that are installed."""
    one = subject.first()
    yield from ours(subject, one)
    if importlib.util.find_spec("quantus"):
        yield quantus(subject)
    if importlib.util.find_spec("pytorch_grad_cam"):
        yield from pytorch_grad_cam(subject, one)
    if importlib.util.find_spec("torchcam"):
        yield from torchcam(subject)


def ours(subject: Subject, one: Subject) -> Iterator[Row]:
    """List the rows of camcore; scores of the images themselves are known from explaining them."""
    explainer = camcore.Explainer(subject.model, layer=LAYER)

    def scored(own: Subject) -> tuple[Any, ...]:
        target = Probability(own.classes)
        return own.images, own.maps, explainer.evidence(own.images, target).score_images

    given = scored(subject)
    known = masked_scores(given[0], np.ones_like(subject.maps), given[2])

    def curves() -> object:
        deleted = deletion(*given, steps=subject.steps, start=known)
        return deleted, insertion(*given, steps=subject.steps, end=known)

    name = f"deletion and insertion, K = {subject.steps}"
    yield Row(name, "camcore", curves, 32, 1.1)
    yield Row("average drop", "camcore", partial(masked_scores, *given), 32, 1.1)
    alone = scored(one)
    yield Row("ROAD, one photograph", "camcore", partial(road, *alone, shares=one.shares), 32)
    yield Row("imputation of ROAD, one photograph", "camcore", partial(imputed, one), 0)


def imputed(one: Subject) -> None:
    """Fill in as ROAD does, and score nothing."""
    for removed in holes(one):
        LinearImputer(removed)(one.images[0])


def holes(one: Subject) -> Iterator[np.ndarray]:
    """Yield what ROAD removes of a photograph."""
    for least in (False, True):
        (order,) = order_of(one.maps, least=least)
        for share in one.shares:
            removed = np.zeros(one.maps[0].size, bool)
            removed[order[: round(share * len(order))]] = True
            yield removed.reshape(one.maps.shape[1:])


def quantus(subject: Subject) -> Row:
    """Measure pixel flipping, which is deletion alone, of each channel's values by themselves.

    What is deleted in a step must divide the number of positions.
    """
    from quantus import PixelFlipping

    positions = subject.maps[0].size
    near = 3 * positions / subject.steps
    step = min((n for n in range(1, positions) if positions % n == 0), key=lambda n: abs(n - near))
    metric = PixelFlipping(features_in_step=step, disable_warnings=True)

    def run() -> object:
        return metric(
            model=subject.model,
            x_batch=subject.images,
            y_batch=subject.classes,
            a_batch=subject.maps[:, None].copy(),
            device="cpu",
        )

    return Row(f"deletion, K = {3 * positions // step}", "Quantus", run, len(subject.images))


def pytorch_grad_cam(subject: Subject, one: Subject) -> Iterator[Row]:
    """Measure the drop in confidence and ROAD, of maps that are given."""
    from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    def run(metric: Callable[..., object], own: Subject) -> object:
        targets = [ClassifierOutputSoftmaxTarget(int(index)) for index in own.classes]
        return metric(own.tensors, own.maps.copy(), targets, own.model)

    def impute() -> None:
        for removed in holes(one):
            NoisyLinearImputer(noise=0)(one.tensors[0], torch.from_numpy(~removed).float())

    whole, batch = ROADCombined([100 * share for share in subject.shares]), len(subject.images)
    yield Row("average drop", "grad-cam", partial(run, DropInConfidence(), subject), batch)
    yield Row("ROAD, one photograph", "grad-cam", partial(run, whole, one), 1)
    yield Row("imputation of ROAD, one photograph", "grad-cam", impute, 0)


def torchcam(subject: Subject) -> Iterator[Row]:
    """Measure deletion and insertion, and the average drop; each makes its Grad-CAM first."""
    from torchcam.methods import GradCAM
    from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

    softmax, batch = partial(torch.softmax, dim=-1), len(subject.images)

    def run(kind: Any, **options: Any) -> object:
        with GradCAM(subject.model, LAYER) as extractor:
            metric = kind(extractor, softmax, **options)
            metric.update(subject.tensors)
            return metric.summary()

    curves = partial(run, DeletionInsertionMetric, steps=subject.steps)
    yield Row(f"deletion and insertion, K = {subject.steps}", "torchcam", curves, batch)
    yield Row("average drop", "torchcam", partial(run, ClassificationMetric), batch)


def passes(run: Run) -> int:
    """Count the images that a run passes through the network's first convolution."""
    seen = 0

    def count(module: torch.nn.Module, given: tuple[Any, ...]) -> None:
        nonlocal seen
        if isinstance(module, torch.nn.Conv2d) and given[0].shape[1] == 3:
            seen += len(given[0])

    handle = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        run()
    finally:
        handle.remove()
    return seen


@torch.no_grad()
def forwards(subject: Subject, count: int, batch: int) -> None:
    """Pass this many images, and do nothing else."""
    images = subject.tensors.repeat(-(-batch // len(subject.images)), 1, 1, 1)[:batch]
    for start in range(0, count, batch):
        subject.model(images[: min(batch, count - start)])


def main() -> None:
    """Measure, print and write the table."""
    options = arguments()
    rounds = options.rounds or (1 if options.quick else 7)
    subject = prepared(options.quick)
    every = [row for row in rows(subject) if all(w in f"{row}" for w in options.only)]
    lines = [
        "| metric | library | passes a photograph | seconds | the passes alone | ratio | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for row in every:
        lines.append(line(row, subject, rounds))
        print(lines[-1], flush=True)
    shown = f"{len(subject.images)} photographs, batches of 32 (camcore), of all (others)"
    lines.append(f"\n{machine()}; {shown}; medians of {rounds} rounds.")
    print(lines[-1])
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "metrics.md").write_text("# Metrics\n\n" + "\n".join(lines) + "\n")


def line(row: Row, subject: Subject, rounds: int) -> str:
    """Measure a row, and write it."""
    goal = "" if row.goal is None else f"{row.goal:g}"
    if not row.batch:
        timed = against(row.run, {}, rounds)
        return f"| {row.metric} | {row.library} | 0 | {timed.seconds:.2f} | | | {goal} |"
    count = passes(row.run)
    photographs = 1 if "one photograph" in row.metric else len(subject.images)
    baseline = partial(forwards, subject, count, row.batch)
    timed = against(baseline, {row.library: row.run}, rounds)
    took, ratio = timed.took[row.library], timed.ratios[row.library]
    missed = " (missed)" if row.goal is not None and ratio > row.goal else ""
    return (
        f"| {row.metric} | {row.library} | {count / photographs:g} | {took:.2f} | "
        f"{timed.seconds:.2f} | {ratio:.2f}{missed} | {goal} |"
    )


def prepared(quick: bool) -> Subject:
    """Make the network, the photographs and their maps."""
    loaded = zoo.load_model("demo-torch:efficientnet_lite0")
    shown = []
    for name in PHOTOGRAPHS:
        photo = getattr(data, name)()
        crop = CentreCrop(photo.shape[:2], loaded.size, loaded.resize, loaded.interpolation)
        seen = np.asarray(loaded.preprocess(crop.to_model(photo)))
        shown += [seen, np.ascontiguousarray(seen[..., ::-1])]
    images = np.concatenate(shown[: 2 if quick else 8])
    found = camcore.explain(loaded.model, images, layer=LAYER)
    shares = (0.3, 0.7) if quick else tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
    about = np.asarray(found.classes), found.maps, 5 if quick else 50, shares
    return Subject(loaded.model, images, *about)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two photographs, few steps, a round")
    parser.add_argument("--only", nargs="*", default=[], help="rows with all these words")
    parser.add_argument("--rounds", type=int, help="ratios per row")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
