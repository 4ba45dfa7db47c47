"""Do the samples of shards with one model: make their rows, and write these as parts."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from camcore._shared.reading import said
from camcore._shared.version import VERSION
from camcore.batch.dataset.parts import Part, counted, part_file
from camcore.batch.dataset.plan import Packed, Shard
from camcore.batch.dataset.samples import Sample, samples_of
from camcore.batch.photos import ExplainedPhoto, PreparedPhoto, explain_prepared
from camcore.batch.pipeline import Failed, Stages, pipelined
from camcore.errors import CamcoreError, InputError
from camcore.evaluated_json import to_json
from camcore.evaluation import evaluate
from camcore.explainer import Explainer
from camcore.explanation import Explanation, taken_apart
from camcore.photos.io import ValueRange, encode, write_image
from camcore.photos.masks import mask_of, read_mask
from camcore.photos.photo import Photo
from camcore.targets import TargetLike, class_index
from camcore.zoo import LoadedModel, ModelName

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Pace:
    """How much is in the works at once.

    Parameters
    ----------
    batch : int
        Photographs in one run of the model; of an evaluation, altered images.
    part : int
        Rows of a Parquet file, which are lost together where a worker is.
    threads : int or None
        Threads of a worker that read and finish; as many as it has cores, from 2 to 8.
    """

    batch: int = 8
    part: int = 128
    threads: int | None = None


@dataclass(frozen=True)
class Done:
    """A part that was written, or found.

    Parameters
    ----------
    shard : str
        Whose part it is.
    rows, failed : int
        How many rows it has, and how many are of samples that failed.
    """

    shard: str
    rows: int
    failed: int


class Task(Protocol):
    """What is done with each sample."""

    @property
    def model(self) -> ModelName | LoadedModel:
        """The model, or its name."""

    @property
    def pace(self) -> Pace:
        """How much is in the works at once."""

    def stages(self, loaded: LoadedModel) -> Stages[Sample, Any, Any, Row]:
        """Say how a sample becomes a row, with the model loaded."""


@dataclass(frozen=True)
class Explaining:
    """Explain each photograph.

    Parameters
    ----------
    model : ModelName or LoadedModel
    pace : Pace
    target : None, int, str or Target
        What is explained; a class also by its name.
    options : mapping of str to value
        Of `camcore.Explainer`.
    keep : {"layer", "input", "none"}
        Keep the layers' signed maps, of which `camcore.batch.read_results` makes the others; the
        shown maps too, at the input's size; or neither.
    overlays : Path or None
        The folder to write overlays into; None for none.
    side : int
        Longer side of the overlays, in pixels.
    max_dim, value_range
        As `camcore.batch.explain_photos` takes them.
    """

    model: ModelName | LoadedModel
    pace: Pace
    target: TargetLike | str = None
    options: Mapping[str, Any] = field(default_factory=dict)
    keep: str = "layer"
    overlays: Path | None = None
    side: int = 512
    max_dim: int | None = 2048
    value_range: ValueRange | None = None

    def stages(self, loaded: LoadedModel) -> Stages[Sample, Any, Any, Row]:
        """Say how a photograph becomes a row."""
        explainer = Explainer(loaded.model, **{**loaded.defaults, **self.options})
        target = _target_in(loaded, self.target)
        if loaded.aim is not None:
            target = loaded.aim(target)

        def prepare(sample: Sample) -> tuple[Sample, PreparedPhoto]:
            with sample.file() as path:
                photo = Photo.read(path, max_dim=self.max_dim, value_range=self.value_range)
            return sample, PreparedPhoto.for_model(loaded, photo)

        def run(batch: Sequence[tuple[Sample, PreparedPhoto]]) -> list[Any]:
            explained = _each_at_least(explainer, [photo for _, photo in batch], target)
            return [
                one if isinstance(one, Failed) else (sample, one)
                for (sample, _), one in zip(batch, explained, strict=True)
            ]

        def finish(made: tuple[Sample, ExplainedPhoto]) -> Row:
            sample, one = made
            if self.overlays is not None:
                path = overlay_file(self.overlays, sample.id)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(path, encode(one.within(self.side).overlay(), "jpg"))
            return row_of(one.explanation, loaded, self.keep)

        return Stages(prepare, run, finish)


@dataclass(frozen=True)
class Evaluating:
    """Evaluate methods on each photograph.

    Parameters
    ----------
    model : ModelName or LoadedModel
    pace : Pace
    target : None, int or str
        The class; the predicted one unless said.
    options : mapping of str to value
        Of `camcore.evaluate`.
    masks : Path or None
        A folder of masks, named as the photographs.
    max_dim, value_range
        As `camcore.batch.explain_photos` takes them.
    """

    model: ModelName | LoadedModel
    pace: Pace
    target: TargetLike | str = None
    options: Mapping[str, Any] = field(default_factory=dict)
    masks: Path | None = None
    max_dim: int | None = 2048
    value_range: ValueRange | None = None

    def stages(self, loaded: LoadedModel) -> Stages[Sample, Any, Any, Row]:
        """Say how a photograph becomes a row."""
        target = _target_in(loaded, self.target)

        def prepare(sample: Sample) -> tuple[Photo, Any]:
            with sample.file() as path:
                photo = Photo.read(path, max_dim=self.max_dim, value_range=self.value_range)
            return photo, self._mask(sample)

        def run(batch: Sequence[tuple[Photo, Any]]) -> list[Any]:
            return [self._evaluated(loaded, *one, target) for one in batch]

        return Stages(prepare, run, lambda row: row)

    def _mask(self, sample: Sample) -> Any:
        if self.masks is None:
            return None
        name = Path(sample.id)
        inside = None if name.is_absolute() else mask_of(name, self.masks / name.parent)
        path = inside or mask_of(name, self.masks)
        if path is None:
            raise FileNotFoundError(f"There is no mask of {sample.id} in {self.masks}.")
        return read_mask(path)

    def _evaluated(self, loaded: LoadedModel, photo: Photo, mask: Any, target: Any) -> Row | Failed:
        try:
            with _users_code():
                found = evaluate(
                    loaded,
                    [photo],
                    target,
                    masks=None if mask is None else [mask],
                    batch_size=self.pace.batch,
                    **self.options,
                )
        except InputError as error:
            return Failed(error)
        values = {
            f"{row}/{metric}": float(value[0])
            for row, metrics in found.values.items()
            for metric, value in metrics.items()
        }
        return {**values, "evaluation": json.dumps(to_json(found))}


class Worker:
    """Does shards with one model, which it loads as it is made.

    Parameters
    ----------
    task : Explaining or Evaluating
    folder : Path
        Where results go.
    about : mapping of str to value
        What is written into each part and row of what made it.
    """

    def __init__(self, task: Task, folder: Path, about: Mapping[str, Any]) -> None:
        model = task.model
        loaded = model if isinstance(model, LoadedModel) else model.load()
        known = {"pretrained": loaded.pretrained, "assumed": loaded.assumed}
        self._folder, self._about, self._pace = folder, {**about, **known}, task.pace
        stages = task.stages(loaded)

        def prepare(sample: Sample) -> Any:
            with _users_code((OSError, MemoryError)):
                return stages.prepare(sample)

        self._stages = replace(stages, prepare=prepare)
        self._none_yet = True
        self._told = {"version": VERSION, "run": about["run"]}

    def __call__(self, shard: Shard) -> Iterator[Done]:
        """Do a shard, part by part; those that are there already are left alone.

        Yields
        ------
        Done
            A part each.
        """
        samples = samples_of(shard, self._folder)
        number = 0
        while (path := part_file(self._folder, shard.name, number)).is_file():
            rows, failed = counted(path)
            for _ in islice(samples, rows):
                pass
            yield Done(shard.name, rows, failed)
            number += 1
        broken = False
        # A part's photographs are run by themselves, so that a batch is the same whoever runs it.
        while (first := next(samples, None)) is not None:
            some = chain([first], islice(samples, self._pace.part - 1))
            made: list[Row] = []
            failed = 0
            unexpected: _Unexpected | None = None
            with closing(self._done(some)) as results:
                for sample, row in results:
                    stamp = (None, None) if sample.stamp is None else sample.stamp
                    told = {**self._told, "id": sample.id, "uri": sample.uri}
                    told |= dict(zip(("size", "changed"), stamp, strict=True))
                    if isinstance(row, Failed):
                        failed += 1
                        if isinstance(row.error, _Unexpected):
                            unexpected = row.error
                        broken |= sample.stamp is None and isinstance(shard, Packed)
                        told["error"] = str(row)
                    else:
                        self._none_yet = False
                        told |= row
                    made.append(told)
            if self._none_yet and unexpected is not None and len(made) > 1:
                raise CamcoreError(
                    f"None of the first {len(made)} photographs could be done: {unexpected}. Mend "
                    "that, and repeat the call to go on."
                )
            following = next(samples, None)
            finished = None
            if following is None and isinstance(shard, Packed) and not broken:
                finished = shard.archive.uri, shard.archive.stamp
            Part(made, self._about, finished).write(part_file(self._folder, shard.name, number))
            yield Done(shard.name, len(made), failed)
            number += 1
            if following is not None:
                samples = chain([following], samples)

    def _done(
        self, samples: Iterator[Sample]
    ) -> Generator[tuple[Sample, Row | Failed], None, None]:
        return pipelined(samples, self._stages, batch=self._pace.batch, workers=self._pace.threads)


def row_of(one: Explanation, loaded: LoadedModel, keep: str) -> Row:
    """Make the row of an explanation of one sample.

    Parameters
    ----------
    one : Explanation
    loaded : LoadedModel
    keep : {"layer", "input", "none"}
        Which maps.

    Returns
    -------
    mapping of str to value
        A column each; arrays are flat, with their shapes beside.
    """
    settings, arrays = taken_apart(one)
    index = None if one.classes is None else int(one.classes[0])
    names = loaded.classes
    named = index is not None and names is not None and 0 <= index < len(names)
    probability = None
    if index is not None and index >= 0 and one.probabilities is not None:
        probability = float(one.probabilities[0, index])
    row: dict[str, Any] = {
        "class": index,
        "class_name": names[index] if named and names is not None and index is not None else None,
        "probability": probability,
        "score": float(one.scores[0]),
        "empty": bool(one.empty[0]),
    }
    kept = {"layer": {"maps"}, "input": set[str](), "none": {"maps", *_maps_in(arrays)}}[keep]
    kinds = {name: (str(array.dtype), array.shape[1:]) for name, array in arrays.items()}
    about = {**settings, "names": None, "arrays": kinds, "kept": keep}
    row["about"] = json.dumps(about)
    for name, array in arrays.items():
        if name not in kept and name not in ("scores", "empty", "classes"):
            row[name] = array[0].ravel()
    return row


def overlay_file(folder: Path, id: str) -> Path:
    """Return where the overlay of a sample goes: below the folder, whatever its id is."""
    parts = [part for part in id.replace("://", "/").split("/") if part not in ("", ".", "..")]
    return folder.joinpath(*parts[:-1], f"{parts[-1] if parts else 'sample'}.overlay.jpg")


def _target_in(loaded: LoadedModel, target: TargetLike | str) -> Any:
    """Find the class that is given by its name; leave other targets as they are."""
    return class_index(loaded.classes, target) if isinstance(target, str) else target


def _maps_in(arrays: Mapping[str, Any]) -> set[str]:
    return {name for name in arrays if name.startswith("raw_") or name == "by_channel"}


def _each_at_least(
    explainer: Explainer[Explanation], photos: Sequence[PreparedPhoto], target: Any
) -> list[ExplainedPhoto | Failed]:
    """Explain photographs as one batch; where the model fails on that, one by one."""
    try:
        with _users_code():
            return explain_prepared(explainer, photos, target)
    except _Unexpected as error:
        if len(photos) == 1:
            return [Failed(error)]
        return [part for one in photos for part in _each_at_least(explainer, [one], target)]


@contextmanager
def _users_code(known: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Name what a model or a function of the user's raises; camcore's own, and `known`, go on."""
    try:
        yield
    except CamcoreError:
        raise
    except known:
        raise
    except Exception as error:
        raise _Unexpected.of(error) from error


class _Unexpected(InputError):
    """What the user's own code raised on a sample."""

    @classmethod
    def of(cls, error: Exception) -> _Unexpected:
        """Say what was raised."""
        return cls(f"the model or its preprocessing raised {type(error).__name__}: {said(error)}")
