"""The command ``camcore demo``: whether one network's maps agree in every framework."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
import typer
from rich.markup import escape

from camcore import registry
from camcore._shared.optional import needs
from camcore.batch import ExplainedPhoto, PreparedPhoto
from camcore.cli import console, labels
from camcore.cli.compare.run import LoadedSpec, ModelSpec
from camcore.cli.console import Steps
from camcore.errors import MissingExtraError
from camcore.explanation import Explanation
from camcore.methods.table import TABLE, Method
from camcore.metrics.agreement import largest_difference
from camcore.photos.io import read_photo, write_image
from camcore.report import Entry, compare_entries
from camcore.viz import compare_figure, figure, png_bytes

Photo: TypeAlias = npt.NDArray[np.uint8]

MODELS = {
    "torch": ModelSpec("demo-torch:efficientnet_lite0", "PyTorch"),
    "tensorflow": ModelSpec("demo-keras:efficientnet_lite0", "TensorFlow"),
    "jax": ModelSpec("demo-jax:efficientnet_lite0", "JAX"),
    "onnx": ModelSpec("demo-onnx:efficientnet_lite0", "ONNX Runtime"),
}
PHOTOS = ("chelsea", "coffee", "rocket", "camera")
TOLERANCE = 1e-4
"""Largest difference of raw maps, relative to their largest value, that counts as agreement."""

ROUNDS = 25
"""Pairs of a forward pass and an explanation whose median ratio is the cost."""


class Framework(str, Enum):
    """A framework by import name."""

    torch = "torch"
    tensorflow = "tensorflow"
    jax = "jax"
    onnx = "onnx"


@dataclass(frozen=True)
class FrameworkResult:
    """The network in one framework, and its explanations of the photographs.

    Parameters
    ----------
    framework : str
        Import name of the framework.
    model : LoadedSpec
        The network.
    entries : mapping of str to Entry
        By gradient method, the explanations of all photographs.
    photos : sequence of ExplainedPhoto
        Each photograph with its Grad-CAM explanation.
    cost : float
        What Grad-CAM costs, in forward passes.
    forward : float
        Seconds of a forward pass.
    """

    framework: str
    model: LoadedSpec
    entries: Mapping[str, Entry]
    photos: Sequence[ExplainedPhoto]
    cost: float
    forward: float

    @property
    def name(self) -> str:
        """Name of the framework, for people."""
        return self.model.spec.label


def demo(
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where pictures and arrays go.")
    ] = Path("camcore-demo"),
    framework: Annotated[
        Framework | None,
        typer.Option(
            metavar="NAME",
            help="torch, tensorflow, jax or onnx alone; all installed unless given.",
        ),
    ] = None,
) -> None:
    """Explain real photos with one network in every framework installed, and compare the maps."""
    wanted = _wanted(framework)
    photos = _photos()
    folder = console.folder(output)
    with console.Steps(len(wanted) * (len(photos) + 2)) as steps:
        results = [_run(name, photos, steps) for name in wanted]
    _print_top(results, list(photos))
    agree = len(results) < 2 or _print_agreement(results, list(photos))
    _print_cost(results)
    _write(folder, results, photos)
    kinds = "an overlay (.png) and the arrays (.npz) of each photo in each framework"
    console.wrote(folder, ["side_by_side.png", kinds])
    if not agree:
        console.fail(
            f"the frameworks disagree, see ✗: maps that are more than {TOLERANCE:g} of their "
            "largest value apart, or another class"
        )
        raise typer.Exit(1)


def gradient_methods() -> list[Method]:
    """List the methods that need one pass and its gradients."""
    return [
        method
        for method in TABLE
        if set(method.needs) == {"activations", "gradients"} and method.passes == "1"
    ]


def _wanted(framework: Framework | None) -> list[str]:
    """List the frameworks to run, and note which are missing."""
    if framework is not None:
        return [framework.value]
    installed = registry.frameworks()
    present = [name for name in MODELS if installed.get(name)]
    if not present:
        raise MissingExtraError(
            f"None of {', '.join(MODELS)} is installed. Install what the demo needs: "
            'pip install "camcore[demo]"'
        )
    if missing := [name for name in MODELS if name not in present]:
        alone = ", so there is nothing to compare with" if len(present) == 1 else ""
        extras = ",".join(missing)
        console.warn(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed{alone}; "
            f'to compare: pip install "camcore[{extras}]"'
        )
    return present


def _photos() -> Mapping[str, Photo]:
    """Load photographs that installed packages bring, RGB, by name."""
    try:
        from skimage import data
    except ImportError:
        with needs("demo", "Loading the demo's photographs"):
            from matplotlib import get_data_path
        console.warn('one photograph; for four: pip install "camcore[demo]"')
        return {"hopper": read_photo(Path(get_data_path(), "sample_data", "grace_hopper.jpg"))}
    photos = {name: np.asarray(getattr(data, name)()) for name in PHOTOS}
    return {
        name: photo if photo.ndim == 3 else np.repeat(photo[..., None], 3, axis=-1)
        for name, photo in photos.items()
    }


def _run(framework: str, photos: Mapping[str, Photo], steps: Steps) -> FrameworkResult:
    """Load the network, explain each photograph by every gradient method, and time it."""
    spec = MODELS[framework]
    model = LoadedSpec.load(spec, steps)
    methods = [method.name for method in gradient_methods()]
    explainer = model.explainer(method=methods)
    prepared: list[PreparedPhoto] = []
    found: list[Mapping[str, Explanation]] = []
    for name, photo in photos.items():
        with steps.step(f"{spec.label}: explaining {name}"):
            prepared.append(PreparedPhoto.for_model(model.loaded, photo))
            found.append(explainer(prepared[-1].inputs))
    with steps.step(f"{spec.label}: measuring the cost"):
        cost, forward = _cost(model, prepared[0])
    crops = [one.crop for one in prepared if one.crop]
    return FrameworkResult(
        framework,
        model,
        {name: model.entry([by_method[name] for by_method in found], crops) for name in methods},
        [p.explained(by_method["gradcam"]) for p, by_method in zip(prepared, found, strict=True)],
        cost,
        forward,
    )


def _cost(model: LoadedSpec, photo: PreparedPhoto) -> tuple[float, float]:
    """Measure the median ratio of Grad-CAM to a forward pass, and the seconds of the pass."""
    forward = partial(model.adapter.run, photo.inputs)
    explain = partial(model.explainer(), photo.inputs)
    # The first rounds compile and warm up.
    pairs = [(model.timed(forward)[0], model.timed(explain)[0]) for _ in range(ROUNDS + 2)][2:]
    ratio = statistics.median(explained / plain for plain, explained in pairs)
    return ratio, statistics.median(plain for plain, _ in pairs)


def _print_top(results: Sequence[FrameworkResult], names: Sequence[str]) -> None:
    """Print the first framework's highest classes, and what every one makes of them."""
    first, frameworks = results[0], [one.name for one in results]
    table = console.table("photo", "class", *frameworks, title="Top-5 classes", numbers=frameworks)
    for index, name in enumerate(names):
        found = [one.photos[index].explanation for one in results]
        highest = [] if found[0].class_scores is None else found[0].top(5)[0]
        for row, (number, _) in enumerate(highest):
            table.add_row(
                "" if row else name,
                escape(labels.label(first.model.loaded, number)),
                *(labels.value(one, _of_class(one, number)) for one in found),
                end_section=row == len(highest) - 1,
            )
    console.out.print(table)


def _of_class(explanation: Explanation, number: int) -> float:
    """Read the probability of a class, or its score where there is none."""
    scores, probabilities = explanation.class_scores, explanation.probabilities
    values = scores if probabilities is None else probabilities
    return float("nan") if values is None else float(values[0, number])


def _print_agreement(results: Sequence[FrameworkResult], names: Sequence[str]) -> bool:
    """Print how far maps are from the first's; tell whether all agree, and rank one class first."""
    first, *others = results
    columns = ("largest difference", "Pearson", "Spearman")
    table = console.table(
        "photo",
        *(["framework"] if len(others) > 1 else []),
        *columns,
        "same class",
        title=f"Grad-CAM maps, from 0 to 1, beside those in {first.name}",
        numbers=columns,
    )
    pairs = [
        compare_entries([one.entries["gradcam"] for one in (first, other)], scaled=False)[0]
        for other in others
    ]
    agree = True
    for index, name in enumerate(names):
        for row, (other, compared) in enumerate(zip(others, pairs, strict=True)):
            same = compared.same is not None and bool(compared.same[index])
            agree &= same
            table.add_row(
                "" if row else name,
                *([other.name] if len(others) > 1 else []),
                f"{compared.pair.largest[index]:.1e}",
                _correlation(compared.pair.pearson[index]),
                _correlation(compared.pair.spearman[index]),
                console.mark(same),
                end_section=row == len(others) - 1,
            )
    console.out.print(table)
    table = console.table(
        "method",
        *(other.name for other in others),
        title=f"Signed maps of each method, largest relative difference from {first.name}",
        numbers=[other.name for other in others],
    )
    for method in gradient_methods():
        worst = [_largest(first.entries[method.name], o.entries[method.name]) for o in others]
        agree &= max(worst) <= TOLERANCE
        table.add_row(method.label, *(console.verdict(one, TOLERANCE) for one in worst))
    console.out.print(table)
    return agree


def _correlation(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.8f}"


def _largest(first: Entry, second: Entry) -> float:
    """Measure the largest relative difference of the signed maps on any photograph."""
    one, other = (next(iter(entry.explanation.raw.values())) for entry in (first, second))
    return float(largest_difference(one, other, relative=True).max())


def _print_cost(results: Sequence[FrameworkResult]) -> None:
    for one in results:
        console.out.print(
            f"Grad-CAM costs [bold]{one.cost:.2f}×[/] a forward pass in {one.name} "
            f"({1e3 * one.forward:.0f} ms)",
        )
    console.out.print(
        f"[dim]Batch 1, {os.cpu_count()} cores; median of {ROUNDS} ratios, each of an "
        "explanation to a pass through the same adapter without gradients, timed in turn.[/]",
    )


def _write(folder: Path, results: Sequence[FrameworkResult], photos: Mapping[str, Photo]) -> None:
    for one in results:
        for name, photo in zip(photos, one.photos, strict=True):
            write_image(folder / f"{name}_{one.framework}.png", photo.overlay(exact=True))
            photo.explanation.save(folder / f"{name}_{one.framework}.npz")
    write_image(folder / "side_by_side.png", _draw(results, list(photos.values())))


def _draw(results: Sequence[FrameworkResult], photos: Sequence[Photo]) -> bytes:
    """Draw the maps of all frameworks side by side, or those of the only one."""
    maps = [[photo.map() for photo in one.photos] for one in results]
    first = results[0]
    titles = [labels.top(first.model.loaded, one.explanation, 1)[0][0] for one in first.photos]
    seen = [crop.seen() for crop in first.entries["gradcam"].crops or ()]
    if len(results) == 1:
        return png_bytes(figure(photos, maps[0], titles=titles, seen=seen))
    names = [one.name for one in results]
    return png_bytes(compare_figure(photos, *maps, names=names, titles=titles, seen=seen))
