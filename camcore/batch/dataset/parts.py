"""Write and read the Parquet files that the rows of a run are kept in, each whole or not there."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from camcore._shared.atomic import whole
from camcore._shared.optional import needs
from camcore._shared.reading import reading
from camcore.batch.dataset.sources import Stamp

FOLDER: Final = "parts"
"""The folder of a run's results that holds its parts."""

_ABOUT: Final = b"camcore"

_EXPECTED: Final = "rows as camcore.batch.explain_dataset writes them"

_KEYS: Final = ("id", "uri", "size", "changed", "error")
"""Columns of every part: the sample, its file with size and time of change, and why it failed."""


@dataclass(frozen=True)
class Part:
    """Rows of samples.

    Parameters
    ----------
    rows : sequence of mapping
        A row each, by column; of those that failed, only `id`, `uri` and `error` are there.
    about : mapping
        What made the rows: version, settings.
    finished : (str, Stamp or None) or None
        The tar file whose last rows these are, if they are.
    """

    rows: Sequence[Mapping[str, Any]]
    about: Mapping[str, Any]
    finished: tuple[str, Stamp | None] | None = None

    def write(self, path: Path) -> None:
        """Write the part, which appears whole or not at all.

        Raises
        ------
        FileError
            It cannot be written.
        MissingExtraError
            pyarrow is not installed (extra ``dataset``).
        """
        with needs("dataset", "writing Parquet"):
            import pyarrow

        names = list(dict.fromkeys([*_KEYS, *(name for row in self.rows for name in row)]))
        table = pyarrow.table(
            {name: _column([row.get(name) for row in self.rows], name) for name in names}
        )
        failed = sum(row.get("error") is not None for row in self.rows)
        about = {**self.about, "failed": failed, "finished": self.finished}
        _write(table.replace_schema_metadata({_ABOUT: json.dumps(about).encode()}), path)

    @classmethod
    def read(cls, path: Path, *, arrays: bool = True, columns: Collection[str] = ()) -> Part:
        """Read a part.

        Parameters
        ----------
        path : Path
        arrays : bool
            False to read no more than what tells whether a sample is done.
        columns : collection of str
            Read these alone, where the part has them.

        Raises
        ------
        InputError
            The file is damaged, or is none of these.
        MissingExtraError
            pyarrow is not installed (extra ``dataset``).
        """
        with needs("dataset", "reading Parquet"):
            from pyarrow import parquet
        with reading(path, _EXPECTED):
            file = parquet.ParquetFile(path)
            names = file.schema_arrow.names
            wanted = [name for name in (columns or _KEYS) if name in names]
            table = file.read(columns=None if arrays and not columns else wanted)
            about, finished = _about(file)
            return cls(table.to_pylist(), about, finished)


def part_files(folder: Path) -> list[Path]:
    """List the parts below a folder of results, in the order of their names."""
    return sorted((folder / FOLDER).glob("*.parquet"))


def part_file(folder: Path, shard: str, number: int) -> Path:
    """Return the file of the part of a shard."""
    return folder / FOLDER / f"{shard}-{number:05d}.parquet"


def run_of(path: Path) -> int:
    """Tell which run into the folder wrote a part; 0 of a file that none did."""
    head = path.name.partition("-")[0]
    return int(head) if head.isdigit() else 0


def counted(path: Path) -> tuple[int, int]:
    """Count the rows of a part, and those that failed, without reading them.

    Raises
    ------
    InputError
        The file is damaged, or is none of these.
    """
    with needs("dataset", "reading Parquet"):
        from pyarrow import parquet
    with reading(path, _EXPECTED):
        file = parquet.ParquetFile(path)
        return file.metadata.num_rows, int(_about(file)[0]["failed"])


def rewrite(folder: Path, name: str, dropped: set[str]) -> None:
    """Take rows out of a part; it is removed where none is left."""
    from pyarrow import compute, parquet

    path = folder / FOLDER / name
    with reading(path, _EXPECTED):
        table = parquet.read_table(path)
        about = json.loads(table.schema.metadata[_ABOUT])
        kept = table.filter(
            compute.invert(compute.is_in(table["id"], value_set=_texts(sorted(dropped))))
        )
        failed = len(kept) - kept["error"].null_count
    if not len(kept):
        path.unlink()
        return
    about = {**about, "failed": failed}
    _write(kept.replace_schema_metadata({_ABOUT: json.dumps(about).encode()}), path)


def _write(table: Any, path: Path) -> None:
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft:
        parquet.write_table(table, draft, compression="zstd")


def _about(file: Any) -> tuple[dict[str, Any], tuple[str, Stamp | None] | None]:
    about = json.loads(file.schema_arrow.metadata[_ABOUT])
    finished = about.pop("finished")
    if finished is not None:
        finished = finished[0], None if finished[1] is None else tuple(finished[1])
    return about, finished


def _column(values: list[Any], name: str) -> Any:
    """Make a column: text, numbers, or lists of numbers of one dtype."""
    import numpy as np
    import pyarrow

    known = [value for value in values if value is not None]
    if name in ("size", "changed"):
        return pyarrow.array(values, pyarrow.int64())
    if name in _KEYS or (known and isinstance(known[0], str)):
        return _texts(values)
    if known and isinstance(known[0], np.ndarray):
        kind = pyarrow.list_(pyarrow.from_numpy_dtype(known[0].dtype))
        return pyarrow.array(values, kind)
    return pyarrow.array(values)


def _texts(values: Sequence[str | None]) -> Any:
    import pyarrow

    return pyarrow.array(values, pyarrow.string())
