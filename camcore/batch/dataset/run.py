"""Explain or evaluate a data set: plan it, have workers do it, and say what came of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeAlias

from camcore._shared.atomic import alone_in, clear_drafts
from camcore._shared.settings_file import RUN_FILE, is_same_call, write_settings
from camcore._shared.version import VERSION
from camcore.batch.dataset.cluster import Cluster
from camcore.batch.dataset.parts import FOLDER, counted, part_files
from camcore.batch.dataset.plan import SAMPLES, Plan, plan
from camcore.batch.dataset.sources import entries
from camcore.batch.dataset.work import Done, Evaluating, Explaining, Pace, Task, Worker
from camcore.errors import InputError
from camcore.metrics.recipes import MetricRecipe
from camcore.metrics.table import Metric
from camcore.photos.io import ValueRange
from camcore.recipes import Recipe, find_recipe
from camcore.targets import Target, TargetLike
from camcore.zoo import LoadedModel, ModelName, framework_of

Source: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"

OVERLAYS = "overlays"
"""The folder of a run's results that holds its overlays."""

OVERLAY_SIZE = 512
"""Longer side of overlays unless another is asked for."""


@dataclass(frozen=True)
class DatasetRun:
    """What came of a run over a data set.

    Parameters
    ----------
    folder : Path
        Where its results are; `camcore.batch.read_results` reads them.
    samples : int
        Rows, of samples that failed as well.
    failed : int
        How many failed; their rows say why.
    before : int
        How many were done before.
    seconds : float
        What this run took, its workers' start included.
    notes : tuple of str
        What was found damaged, and done again.
    """

    folder: Path
    samples: int
    failed: int
    before: int
    seconds: float
    notes: tuple[str, ...] = ()


Progress: TypeAlias = Callable[[Done, "int | None"], None]
"""Is told of each part, with how many samples there are to be done, where that is known."""


def explain_dataset(
    source: Source,
    model: str | ModelName | LoadedModel,
    output: str | os.PathLike[str],
    *,
    target: TargetLike | str = None,
    maps: Literal["layer", "input", "none"] = "layer",
    overlays: bool = False,
    overlay_size: int = OVERLAY_SIZE,
    recursive: bool = False,
    image_column: str | None = None,
    id_column: str | None = None,
    max_dim: int | None = 2048,
    value_range: ValueRange | None = None,
    batch: int = 8,
    part: int = 128,
    threads: int | None = None,
    resume: bool = False,
    ray: bool | str | Cluster = False,
    progress: Progress | None = None,
    **options: Any,
) -> DatasetRun:
    """Explain every photograph of a data set into Parquet files, here or on a Ray cluster.

    A photograph that cannot be read or explained becomes a row that says why, and the others go
    on. With Ray, what a lost worker or machine had in hand is done by another, once. The same
    files are written without Ray, by one process.

    Parameters
    ----------
    source : path, URI, or sequence of these
        Folders, patterns, photographs; text files with a path or URI a line; Parquet files with
        photographs as bytes, or their paths; tar files as WebDataset writes them. What has a
        scheme, such as ``s3://``, is opened by fsspec.
    model : str, ModelName, or LoadedModel
        As `camcore.zoo.load_model` takes it, so that each worker loads it. A model that is loaded
        already can be used without Ray alone.
    output : path
        The folder for results; workers on other machines need to see it under the same name.
    target : None, int, str or Target
        The class, by index or name; None for the one predicted for each.
    maps : {"layer", "input", "none"}
        What is kept: the signed maps at the layer's own size, a few hundred bytes, from which
        `read_results` makes the shown ones; these too, at the input's size; or scores alone.
    overlays : bool
        Also write an overlay of each, as JPEG, below ``overlays``.
    overlay_size : int
        Longer side of these, in pixels.
    recursive : bool
        Also look into the folders within folders.
    image_column, id_column : str, optional
        Of Parquet files: the columns with the photographs, and with what they are called.
    max_dim, value_range
        As `camcore.batch.explain_photos` takes them.
    batch : int
        Photographs in one run of the model.
    part : int
        Rows of a Parquet file; what is lost with a worker, and done again.
    threads : int, optional
        Threads of a worker that read and write; as many as it has cores, from 2 to 8.
    resume : bool
        Do what is missing in `output`, what failed, and what has changed since. Otherwise rows in
        it are replaced.
    ray : bool, str or Cluster
        True for Ray on this machine, or the address of a cluster, or a `Cluster`.
    progress : callable, optional
        Called with each `Done` part, and the number of samples to be done, where that is known.
    **options
        What `camcore.Explainer` takes: `layer`, `method` (one of them), `recipe`, ...

    Returns
    -------
    DatasetRun

    Raises
    ------
    InputError
        A source holds nothing; `output` holds the results of other settings; another run is
        writing into it.
    CamcoreError
        The same error would meet every photograph: an unknown class, layer or method.
    MissingExtraError
        pyarrow (extra ``dataset``) or Ray (extra ``ray``) is not installed.
    """
    folder = Path(output).absolute()
    task = Explaining(
        _named(model),
        Pace(batch, part, threads),
        target,
        options,
        maps,
        folder / OVERLAYS if overlays else None,
        overlay_size,
        max_dim,
        value_range,
    )
    settings = {
        "command": "explain",
        **_said(task),
        "maps": maps,
        "overlays": overlay_size if overlays else None,
    }
    what = _What(source, recursive, image_column, id_column)
    return _run(what, task, folder, settings, part, resume, _cluster(ray), progress)


def evaluate_dataset(
    source: Source,
    model: str | ModelName | LoadedModel,
    output: str | os.PathLike[str],
    *,
    target: int | str | None = None,
    methods: str | Sequence[str] = ("gradcam", "gradcampp", "layercam"),
    metrics: str | Sequence[str | Metric] | None = None,
    metric_recipe: str | MetricRecipe = "paper",
    masks: str | os.PathLike[str] | None = None,
    recursive: bool = False,
    image_column: str | None = None,
    id_column: str | None = None,
    max_dim: int | None = 2048,
    value_range: ValueRange | None = None,
    batch: int = 32,
    part: int = 16,
    threads: int | None = None,
    resume: bool = False,
    ray: bool | str | Cluster = False,
    progress: Progress | None = None,
    **options: Any,
) -> DatasetRun:
    """Evaluate methods on every photograph of a data set, here or on a Ray cluster.

    `camcore.batch.read_results` makes the table of means and intervals from the rows, without a
    second pass over the photographs.

    Parameters
    ----------
    source, model, output
        As `explain_dataset` takes them.
    target : int or str, optional
        The class, by index or name; the one predicted for each unless said.
    methods, metrics, metric_recipe
        As `camcore.evaluate` takes them.
    masks : path, optional
        A folder of masks, named as the photographs: white on the object.
    recursive, image_column, id_column, max_dim, value_range
        As `explain_dataset` takes them.
    batch : int
        Altered images that are scored at once.
    part, threads, resume, ray, progress
        As `explain_dataset` takes them.
    **options
        Of `camcore.evaluate`: `layer`, `recipe`, `controls`, `steps`, `seed`, ...

    Returns
    -------
    DatasetRun

    Raises
    ------
    InputError, CamcoreError, MissingExtraError
        As `explain_dataset` raises them.
    """
    if metrics is not None:
        options["metrics"] = metrics
    options |= {"methods": methods, "metric_recipe": metric_recipe}
    masks = None if masks is None else Path(masks).absolute()
    pace = Pace(batch, part, threads)
    task = Evaluating(_named(model), pace, target, options, masks, max_dim, value_range)
    settings = {
        "command": "evaluate",
        **_said(task),
        "masks": None if masks is None else str(masks),
    }
    what = _What(source, recursive, image_column, id_column)
    folder = Path(output).absolute()
    return _run(what, task, folder, settings, part, resume, _cluster(ray), progress)


@dataclass(frozen=True)
class _What:
    """The sources of a run, and how to look into them."""

    source: Source
    recursive: bool
    image_column: str | None
    id_column: str | None

    @property
    def sources(self) -> Sequence[str | os.PathLike[str]]:
        one = isinstance(self.source, str | os.PathLike)
        return [self.source] if one else list(self.source)  # type: ignore[list-item, arg-type]


def _run(
    what: _What,
    task: Task,
    folder: Path,
    settings: Mapping[str, Any],
    size: int,
    resume: bool,
    cluster: Cluster | None,
    progress: Progress | None,
) -> DatasetRun:
    """Plan what is missing, have it done, and count."""
    if size < 1:
        raise InputError(f"part={size}; give one row at least.")
    if cluster is not None and isinstance(task.model, LoadedModel):
        raise InputError(
            "Ray's workers load the model themselves, so it must be named: model='timm:resnet50' "
            "or a function, 'package.module:function'; got one that is loaded already."
        )
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        going_on = resume and is_same_call(folder, settings)
        if not going_on and not (folder / RUN_FILE).exists() and part_files(folder):
            raise InputError(f"{folder / FOLDER} holds files of no run. Choose another output.")
        clear_drafts(folder)
        write_settings(folder, settings)
        found = entries(
            what.sources,
            recursive=what.recursive,
            image_column=what.image_column,
            id_column=what.id_column,
            exclude=folder,
        )
        planned = plan(found, folder, size, resume=going_on)
        about = {"version": VERSION, "run": _digest(settings), "settings": settings}
        try:
            for done in _done(planned, task, folder, about, cluster):
                if progress is not None:
                    progress(done, planned.missing)
        finally:
            (folder / SAMPLES).unlink(missing_ok=True)
        counts = [counted(path) for path in part_files(folder)]
    return DatasetRun(
        folder,
        sum(rows for rows, _ in counts),
        sum(failed for _, failed in counts),
        planned.before,
        time.perf_counter() - start,
        tuple(planned.notes),
    )


def _done(
    planned: Plan, task: Task, folder: Path, about: Mapping[str, Any], cluster: Cluster | None
) -> Iterator[Done]:
    """Have the shards done, by this process or by Ray's."""
    if not planned.shards:
        return
    if cluster is None:
        worker = Worker(task, folder, about)
        for shard in planned.shards:
            yield from worker(shard)
        return
    from camcore.batch.dataset.on_ray import on_ray

    yield from on_ray(planned.shards, task, folder, about, cluster)


def _named(model: str | ModelName | LoadedModel) -> ModelName | LoadedModel:
    return ModelName(model) if isinstance(model, str) else model


def _cluster(ray: bool | str | Cluster) -> Cluster | None:
    if isinstance(ray, Cluster):
        return ray
    if isinstance(ray, str):
        return Cluster(ray)
    return Cluster() if ray else None


def _said(task: Any) -> dict[str, Any]:
    """Collect what rows depend on, as JSON has it."""
    model = task.model
    if isinstance(model, LoadedModel):
        named: dict[str, Any] = {"model": type(model.model).__qualname__}
    else:
        module, _, function = model.spec.partition(":")
        if function and framework_of(model.spec) is None:
            with suppress(ImportError):  # told when the model is loaded
                import_module(module)  # what the function says is part of the fingerprint
        named = {**model.settings(), "files and code of the model": model.fingerprint}
    options = {name: _in_json(value) for name, value in task.options.items()}
    return {
        **named,
        "target": _in_json(task.target),
        **{name.replace("_", "-"): value for name, value in options.items()},
        "recipe": find_recipe(task.options.get("recipe", "paper")).name,
        "max-dim": task.max_dim,
        "value-range": None if task.value_range is None else list(task.value_range),
        "batch": task.pace.batch,
    }


def _in_json(value: Any) -> Any:
    """Describe an option as JSON has it, the same way each time."""
    if isinstance(value, Recipe | MetricRecipe):
        return value.name
    if isinstance(value, Mapping):
        return {str(key): _in_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(one) for one in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return repr(value) if isinstance(value, Target) else str(value)


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
