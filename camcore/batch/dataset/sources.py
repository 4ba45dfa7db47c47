"""List what a data set's sources hold: photographs by their paths, and files that hold many.

A source is a photograph, a folder, a pattern, a text file of paths, a Parquet file or a tar file
as WebDataset writes them, on this machine or by a URI that fsspec opens.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

from camcore._shared.optional import needs
from camcore._shared.reading import said
from camcore.batch.find import is_photo, photos_in
from camcore.errors import InputError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

LISTS: Final = (".txt", ".lst", ".list")
TABLES: Final = (".parquet", ".pq")
ARCHIVES: Final = (".tar", ".tar.gz", ".tgz")
"""Suffixes of files that list paths, and of those that hold photographs."""

_IMAGE_COLUMNS: Final = ("image", "photo", "img", "bytes", "path", "uri", "url", "file")
_ID_COLUMNS: Final = ("id", "image_id", "sample_id", "key", "__key__")
"""Names of columns that are looked for, the likeliest first."""

Stamp: TypeAlias = tuple[int, int]
"""Size of a file in bytes, and the time of its last change in nanoseconds."""


@dataclass(frozen=True)
class Located:
    """A photograph in a file of its own.

    Parameters
    ----------
    id : str
        What its row is called.
    uri : str
        Path or URI of its file.
    stamp : (int, int) or None
        Of a file on this machine that is there.
    """

    id: str
    uri: str
    stamp: Stamp | None = None


@dataclass(frozen=True)
class Archive:
    """A tar file of photographs, as WebDataset writes it.

    Parameters
    ----------
    name : str
        What stands before the keys in the ids of its samples.
    uri : str
        Path or URI.
    stamp : (int, int) or None
        Of a file on this machine that is there.
    """

    name: str
    uri: str
    stamp: Stamp | None = None


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file, which holds photographs as bytes.

    Parameters
    ----------
    name : str
        What stands before the number of a row in the ids of its samples.
    uri : str
        Path or URI.
    index : int
        Which row group of the file.
    first : int
        Number of its first row in the file.
    image : str
        The column with the photographs' files, or with structs that hold them in ``bytes``.
    ids : tuple of str or None
        What its samples are called, by a column of the file; None where that has none.
    rows : int
        How many it has.
    stamp : (int, int) or None
        Of a file on this machine that is there.
    """

    name: str
    uri: str
    index: int
    first: int
    image: str
    ids: tuple[str, ...] | None
    rows: int
    stamp: Stamp | None = None

    def id_of(self, row: int) -> str:
        """Return what the sample of a row, counted within the group, is called."""
        return f"{self.name}/{self.first + row}" if self.ids is None else self.ids[row]


@dataclass(frozen=True)
class Unreadable:
    """A file that would hold or list samples, and cannot be read.

    Parameters
    ----------
    id : str
        What its row is called: the file's name.
    uri : str
        Path or URI.
    error : str
        Why.
    """

    id: str
    uri: str
    error: str


Entry: TypeAlias = Located | Archive | RowGroup | Unreadable


def entries(
    sources: Sequence[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    image_column: str | None = None,
    id_column: str | None = None,
    exclude: Path | None = None,
) -> Iterator[Entry]:
    """List what the sources hold, in an order that is the same each time.

    Parameters
    ----------
    sources : sequence of path or URI
        Photographs, folders, patterns, with ``{000..099}`` as WebDataset has them too; text files
        with a path or URI a line, relative ones to the text file's folder; Parquet files; tar
        files.
    recursive : bool
        Also look into the folders within folders.
    image_column, id_column : str, optional
        Of Parquet files: the column with the photographs' files, or their paths; and that with
        what samples are called. Found by their names unless given.
    exclude : Path, optional
        A folder that is not searched, such as the one for results.

    Yields
    ------
    Located, Archive, RowGroup or Unreadable

    Raises
    ------
    InputError
        A source is not there or holds nothing, or a Parquet file has no such columns.
    """
    for given in sources:
        for source in _without_braces(os.fspath(given)):
            found = False
            for name, uri in _files(source, recursive, exclude):
                found = True
                yield from _opened_up(name, uri, image_column, id_column)
            if not found:
                raise InputError(f"{source} holds no photograph, and no file that holds any.")


def stamp_of(uri: str) -> Stamp | None:
    """Read size and time of the last change of a file; None unless it is on this machine."""
    if is_remote(uri):
        return None
    try:
        about = os.stat(uri)
    except OSError:  # that it cannot be read is told when it is its turn
        return None
    return about.st_size, about.st_mtime_ns


def is_remote(uri: str) -> bool:
    """Tell whether a name is a URI, and no path of this machine."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", uri) is not None


def opened(uri: str) -> Any:
    """Open a file, by its path or URI, to be read as bytes.

    Returns
    -------
    context manager
        Of the file object.

    Raises
    ------
    MissingExtraError
        It is a URI, and fsspec is not installed (extra ``dataset``).
    """
    if not is_remote(uri):
        return open(uri, "rb")
    with needs("dataset", f"opening {uri}"):
        import fsspec
    return fsspec.open(uri, "rb")


def _without_braces(source: str) -> Iterator[str]:
    """Write a name with ``{000..003}`` or ``{a,b}`` out, unless there is a file of that name."""
    if "{" not in source or os.path.lexists(source):
        yield source
        return
    with needs("dataset", f"reading the name {source}"):
        from braceexpand import braceexpand
    yield from braceexpand(source)


def _files(source: str, recursive: bool, exclude: Path | None) -> Iterator[tuple[str, str]]:
    """List the files of a source, with what they are called."""
    if is_remote(source):
        yield from _remote_files(source, recursive)
    elif os.path.isdir(source):
        holders = sorted(_holders(Path(source), recursive, exclude))
        for path in holders:
            yield path.relative_to(source).as_posix(), str(path)
        if not holders:
            for path in photos_in(source, recursive=recursive, exclude=exclude):
                yield path.relative_to(source).as_posix(), str(path)
    elif not os.path.lexists(source) and glob.has_magic(source):
        for name in sorted(glob.iglob(source, recursive=True)):
            if not os.path.isdir(name):
                yield name, name
    else:
        yield source, source


def _holders(folder: Path, recursive: bool, exclude: Path | None) -> Iterator[Path]:
    """Find the tar and Parquet files of a folder."""
    for path in folder.glob("**/*" if recursive else "*"):
        inside = exclude is not None and exclude.absolute() in path.absolute().parents
        if path.name.endswith((*ARCHIVES, *TABLES)) and path.is_file() and not inside:
            yield path


def _remote_files(source: str, recursive: bool) -> Iterator[tuple[str, str]]:
    """List the files that a URI names: one, those of a pattern, or those of a folder."""
    with needs("dataset", f"listing {source}"):
        import fsspec
    try:
        system, path = fsspec.core.url_to_fs(source)
        if glob.has_magic(source):
            found = sorted(system.glob(path))
        elif system.isdir(path):
            found = sorted(system.find(path, maxdepth=None if recursive else 1))
            found = [one for one in found if is_photo(one) or one.endswith((*ARCHIVES, *TABLES))]
        else:
            found = [path]
    except Exception as error:  # each file system raises its own
        raise InputError(f"{source} cannot be looked into: {said(error)}") from error
    for one in found:
        uri = system.unstrip_protocol(one)
        yield uri, uri


def _opened_up(
    name: str, uri: str, image_column: str | None, id_column: str | None
) -> Iterator[Entry]:
    """List what a file holds: itself, where it is a photograph."""
    lower = uri.lower()
    if lower.endswith(LISTS):
        yield from _listed(name, uri)
    elif lower.endswith(ARCHIVES):
        yield Archive(name, uri, stamp_of(uri))
    elif lower.endswith(TABLES):
        yield from _row_groups(name, uri, image_column, id_column)
    else:
        yield Located(name, uri, stamp_of(uri))


def _listed(name: str, uri: str) -> Iterator[Entry]:
    """List the paths and URIs of a text file."""
    folder = uri.rpartition("/")[0] if is_remote(uri) else os.path.dirname(uri)
    try:
        with opened(uri) as file:
            for line in file:
                path = line.decode("utf-8").strip()
                if path:
                    place = path if is_remote(path) or os.path.isabs(path) else _join(folder, path)
                    yield Located(path, place, stamp_of(place))
    except (OSError, UnicodeDecodeError) as error:
        yield Unreadable(name, uri, f"{uri} cannot be read as a list of paths: {said(error)}")


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path


def _row_groups(
    name: str, uri: str, image_column: str | None, id_column: str | None
) -> Iterator[Entry]:
    """List the row groups of a Parquet file of photographs, or the paths that it holds."""
    with needs("dataset", "reading Parquet"):
        import pyarrow
        from pyarrow import parquet
    try:
        with opened(uri) as file, closing(parquet.ParquetFile(file)) as table:
            schema = table.schema_arrow
            image = _column(uri, schema.names, image_column, _IMAGE_COLUMNS, "photographs")
            called = _column(uri, schema.names, id_column, _ID_COLUMNS, None)
            kind = schema.field(image).type
            of_paths = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
            first = 0
            for index in range(table.num_row_groups):
                rows = table.metadata.row_group(index).num_rows
                ids = None if called is None else _texts(table, index, called)
                if of_paths:
                    paths = _texts(table, index, image)
                    for path, id in zip(paths, paths if ids is None else ids, strict=True):
                        yield Located(id, path, stamp_of(path))
                else:
                    yield RowGroup(name, uri, index, first, image, ids, rows, stamp_of(uri))
                first += rows
    except InputError:
        raise
    except Exception as error:  # pyarrow raises anything on files that contradict themselves
        yield Unreadable(name, uri, f"{uri} cannot be read as Parquet: {said(error)}")


def _column(
    uri: str, names: Sequence[str], given: str | None, likely: Iterable[str], of: str | None
) -> Any:
    """Find a column by the name given, or by those that it is likely to have."""
    if given is not None and given in names:
        return given
    found = next((one for one in likely if one in names), None)
    if given is not None or (found is None and of is not None):
        wanted = repr(given) if given is not None else f"of {of}"
        raise InputError(
            f"{uri} has no column {wanted}; it has {', '.join(names)}. Name the one to read."
        )
    return found


def _texts(table: ParquetFile, index: int, column: str) -> tuple[str, ...]:
    values = table.read_row_group(index, columns=[column]).column(0).to_pylist()
    return tuple(map(str, values))


def read_rows(group: RowGroup, file: IO[bytes]) -> Iterator[bytes | None]:
    """Read the photographs of a row group, row by row.

    Yields
    ------
    bytes or None
        A photograph's file; None where the row has none.
    """
    from pyarrow import parquet

    table = parquet.ParquetFile(file)
    for batch in table.iter_batches(batch_size=32, row_groups=[group.index], columns=[group.image]):
        for value in batch.column(0).to_pylist():
            yield value.get("bytes") if isinstance(value, dict) else value
