"""Read what a run over a data set has written: tables, explanations, and what failed."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from camcore._shared.optional import needs
from camcore._shared.reading import reading
from camcore._shared.settings_file import RUN_FILE
from camcore.batch.dataset.fold import EvaluationTable, fold
from camcore.batch.dataset.parts import Part, counted, part_files
from camcore.batch.dataset.samples import Sample
from camcore.batch.dataset.sources import is_remote
from camcore.errors import InputError
from camcore.evaluated import Evaluation
from camcore.evaluated_json import from_json
from camcore.explanation import Explanation, put_together
from camcore.photos.photo import Photo
from camcore.photos.prepared import PhotoInput
from camcore.recipes import find_recipe
from camcore.zoo import LoadedModel

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Results:
    """The rows that `explain_dataset` or `evaluate_dataset` wrote into a folder.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The Parquet files, for whatever else reads such."""
        return tuple(part_files(self.folder))

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What the rows were made with."""
        with reading(self.folder / RUN_FILE, "the settings of a run over a data set"):
            found = json.loads((self.folder / RUN_FILE).read_text("utf-8"))
            call: Mapping[str, Any] = found["call"]
            return call

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """What the first part says of what made it.

        The version, the settings and their hash; whether the model had weights of its own
        (``"pretrained"``); and how it was shown photographs where nothing says how (``"assumed"``).
        """
        return Part.read(self.files[0], arrays=False).about

    def __len__(self) -> int:
        return sum(rows for rows, _ in self._counts)

    @property
    def failed(self) -> int:
        """How many samples failed."""
        return sum(failed for _, failed in self._counts)

    @cached_property
    def _counts(self) -> list[tuple[int, int]]:
        return [counted(path) for path in self.files]

    def to_pandas(self, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """List the rows as a table; arrays are left out unless they are asked for.

        Parameters
        ----------
        columns : sequence of str, optional
            Those to read; unless given, all that hold one text or number a row. An array such as
            ``"raw_0"`` is flat; its shape is in ``about``.

        Returns
        -------
        pandas.DataFrame
            Ordered by id.

        Raises
        ------
        InputError
            No part has such a column, or one is damaged.
        MissingExtraError
            pandas or pyarrow is not installed (extra ``dataset``).
        """
        with needs("dataset", "tables of rows"):
            import pandas
            import pyarrow
            from pyarrow import parquet
        tables = []
        for path in self.files:
            with reading(path, "rows as camcore.batch.explain_dataset writes them"):
                schema = parquet.read_schema(path)
                simple = [
                    field.name
                    for field in schema
                    if not pyarrow.types.is_list(field.type)
                    and field.name not in ("about", "evaluation")
                ]
                asked = simple if columns is None else ["id", *columns]
                there = [name for name in dict.fromkeys(asked) if name in schema.names]
                tables.append(parquet.read_table(path, columns=there))
        if not tables:
            return pandas.DataFrame(columns=["id", *(columns or ())])
        joined = pyarrow.concat_tables(tables, promote_options="permissive")
        for name in columns or ():
            if name not in joined.column_names:
                raise InputError(
                    f"The rows in {self.folder} have no column {name!r}; choose of "
                    f"{', '.join(parquet.read_schema(self.files[0]).names)}."
                )
        frame = joined.to_pandas()
        return frame.sort_values("id", kind="stable", ignore_index=True)

    def most_common(self, column: str, count: int = 5) -> list[tuple[Any, int]]:
        """Count the values of a column, part by part.

        Parameters
        ----------
        column : str
            Such as ``"class_name"``; rows without a value are left out.
        count : int
            How many of the most frequent to return.

        Returns
        -------
        list of (value, int)
            The most frequent first.
        """
        found = Counter[Any]()
        for path in self.files:
            found.update(row.get(column) for row in Part.read(path, columns=(column,)).rows)
        found.pop(None, None)
        return found.most_common(count)

    def errors(self) -> Iterator[tuple[str, str]]:
        """Name the samples that failed, and why.

        Yields
        ------
        (str, str)
            The id of a sample and the error, in the order of the parts.
        """
        for path, (_, failed) in zip(self.files, self._counts, strict=True):
            if failed:
                rows = Part.read(path, columns=("id", "error")).rows
                yield from ((row["id"], row["error"]) for row in rows if row["error"] is not None)

    def explanations(self) -> Iterator[tuple[str, Explanation]]:
        """Make the explanation of each sample again, of one part after the other.

        Yields
        ------
        (str, Explanation)
            The id of a sample, and its explanation as `camcore.explain` returns it, without the
            photograph. Where the layers' maps were kept, its maps are made of them.

        Raises
        ------
        InputError
            The rows hold no maps, or are of `evaluate_dataset`; or a part is damaged.
        """
        for path in self.files:
            part = Part.read(path)
            for row in part.rows:
                if row["error"] is None:
                    yield row["id"], _explanation(row, path)

    def sample(self, count: int, *, seed: int = 0, model: LoadedModel | None = None) -> Explanation:
        """Draw some of the explanations, with the photographs, as `camcore.report` shows them.

        Parameters
        ----------
        count : int
            How many; all where there are fewer.
        seed : int
            Of the drawing.
        model : LoadedModel, optional
            Says which part of a photograph the maps lie over; unless given, maps are shown over
            all of it.

        Returns
        -------
        Explanation
            Of samples whose photographs are files that can still be read.

        Raises
        ------
        InputError
            There is none.
        """
        frame = self.to_pandas(["uri", "error"])
        good = frame[frame["error"].isna()]
        drawn = set(good.sample(min(count, len(good)), random_state=seed)["id"])
        found = []
        for path in self.files:
            if not drawn & {row["id"] for row in Part.read(path, arrays=False).rows}:
                continue
            for row in Part.read(path).rows:
                if row["id"] in drawn:
                    found.append((row, path))
        shown = [
            _with_photograph(_explanation(row, path), row, model)
            for row, path in sorted(found, key=lambda one: str(one[0]["id"]))
        ]
        if not shown:
            raise InputError(f"{self.folder} holds no explanation to show.")
        return Explanation.concatenate(shown)

    def evaluation(self) -> Evaluation:
        """Join the evaluations of all samples, with their curves; all are in memory at once.

        Returns
        -------
        Evaluation

        Raises
        ------
        InputError
            The rows are of `explain_dataset`, or there is none.
        """
        return Evaluation.concatenate([from_json(one) for _, one in self._evaluations()])

    def table(self, *, seed: int = 0) -> EvaluationTable:
        """Add the evaluations of all samples up, part by part.

        Parameters
        ----------
        seed : int
            Of the resampling.

        Returns
        -------
        EvaluationTable
            Means with 95 % intervals; memory does not grow with the number of samples.

        Raises
        ------
        InputError
            The rows are of `explain_dataset`, or there is none.
        """
        return fold(self._evaluations(), seed)

    def _evaluations(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for path in self.files:
            for row in Part.read(path, columns=("id", "error", "evaluation")).rows:
                if row["error"] is not None:
                    continue
                if row.get("evaluation") is None:
                    raise InputError(
                        f"{path} holds explanations, and no evaluation. Evaluate the data set with "
                        "camcore.batch.evaluate_dataset, or camcore evaluate."
                    )
                yield row["id"], json.loads(row["evaluation"])


def read_results(folder: str | os.PathLike[str]) -> Results:
    """Read the results of a run over a data set, also of one that was interrupted.

    Parameters
    ----------
    folder : path
        As `explain_dataset` or `evaluate_dataset` was given it.

    Returns
    -------
    Results

    Raises
    ------
    InputError
        The folder holds no such results.
    """
    found = Results(Path(folder).absolute())
    if not found.files or not (found.folder / RUN_FILE).is_file():
        raise InputError(
            f"{folder} holds no results of a data set. Give the folder that explain_dataset or "
            "camcore explain --ray wrote into."
        )
    return found


def _explanation(row: Mapping[str, Any], path: Path) -> Explanation:
    """Make the explanation that a row was made of."""
    with reading(path, "rows as camcore.batch.explain_dataset writes them"):
        if row.get("about") is None:
            raise InputError(f"{path} holds evaluations, and no explanation: see Results.table().")
        about = json.loads(row["about"])
        if about["kept"] == "none":
            raise InputError(f"{path} was written with maps='none': it holds scores alone.")
        values = {**row, "scores": row["score"], "classes": row["class"]}
        arrays = {
            name: np.array(values[name], dtype).reshape(1, *shape)
            for name, (dtype, shape) in about["arrays"].items()
            if name != "maps" or about["kept"] == "input"
        }
        if about["kept"] == "input":
            return put_together(about, arrays)
        dtype, size = about["arrays"]["maps"]
        blank = put_together(about, {**arrays, "maps": np.zeros((1, *size), dtype)})
        return blank.at(tuple(size), find_recipe(about["recipe"]))


def _with_photograph(
    one: Explanation, row: Mapping[str, Any], model: LoadedModel | None
) -> Explanation:
    """Lay the photograph of a row beside its explanation."""
    uri = row["uri"]
    with Sample(row["id"], uri, suffix=Path(uri).suffix).file() as path:
        photo = Photo.read(path, max_dim=1024)
    if model is not None:
        shown = PhotoInput.for_model(model, photo)
    else:
        shown = PhotoInput(photo.picture, None)
    held = replace(shown, inputs=None, path=None if is_remote(uri) else Path(uri))
    return replace(one, photographs=(held,))
