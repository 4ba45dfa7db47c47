"""Take the samples of a shard from the files that hold them, one after the other."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO

from camcore._shared.reading import said
from camcore.batch.dataset.plan import Listed, Packed, Rows, Shard, again, lines_of, twice
from camcore.batch.dataset.sources import Stamp, is_remote, opened, read_rows, stamp_of
from camcore.batch.find import PHOTOS
from camcore.errors import InputError, MissingExtraError


@dataclass(frozen=True)
class Sample:
    """A photograph of a data set.

    Parameters
    ----------
    id : str
        What its row is called.
    uri : str
        The file that it is, or that holds it.
    stamp : (int, int) or None
        Size and time of the last change of that file.
    data : bytes or None
        The photograph's own file, where another holds it.
    suffix : str
        How the name of the photograph's file ends.
    error : str or None
        Why it cannot be read, where that is known.
    """

    id: str
    uri: str
    stamp: Stamp | None = None
    data: bytes | None = None
    suffix: str = ""
    error: str | None = None

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Give the photograph as a file on this machine, as long as the context lasts.

        Raises
        ------
        InputError
            It cannot be read.
        """
        if self.error is not None:
            raise InputError(self.error)
        if self.data is None and not is_remote(self.uri):
            yield Path(self.uri)
            return
        data = self.data if self.data is not None else _fetched(self.uri)
        # Every format is read from a file, by the reader that reads all others.
        handle, name = tempfile.mkstemp(self.suffix, "camcore-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            yield Path(name)
        finally:
            os.unlink(name)


def samples_of(shard: Shard, folder: Path) -> Iterator[Sample]:
    """Read the samples of a shard that are to be done.

    Parameters
    ----------
    shard : Shard
    folder : Path
        Where results go, with the list of photographs.

    Yields
    ------
    Sample
        In the order of the file. Where that breaks off, the last one is the file itself, with the
        error.
    """
    if isinstance(shard, Listed):
        for line in lines_of(shard, folder):
            id, uri, error = line["id"], line["uri"], line.get("error")
            yield Sample(id, uri, stamp_of(uri), None, Path(uri).suffix, error)
        return
    holder = shard.archive if isinstance(shard, Packed) else shard.group
    try:
        with opened(holder.uri) as file:
            yield from _members(shard, file) if isinstance(shard, Packed) else _rows(shard, file)
    except MissingExtraError:
        raise
    except Exception as error:  # each format and file system raises its own
        name = holder.name
        if isinstance(shard, Rows):
            name += f" from row {shard.group.first} on"
        yield Sample(
            name, holder.uri, error=f"{holder.uri} cannot be read to its end: {said(error)}"
        )


def _rows(shard: Rows, file: IO[bytes]) -> Iterator[Sample]:
    """Read the samples of a row group."""
    group = shard.group
    for row, data in enumerate(read_rows(group, file)):
        id = group.id_of(row)
        if row in shard.again:
            number = f"{id} (again, row {group.first + row} of {group.name})"
            yield Sample(number, group.uri, group.stamp, error=twice(id))
        elif row not in shard.skip:
            none = None if data is not None else f"{id} holds no photograph."
            yield Sample(id, group.uri, group.stamp, data, error=none)


def _members(shard: Packed, file: IO[bytes]) -> Iterator[Sample]:
    """Read the samples of a tar file: members next to one another, alike up to the first dot."""
    archive, seen = shard.archive, Counter[str]()
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        files = (member for member in tar if member.isfile())
        for key, members in groupby(files, lambda member: _key_and_ending(member.name)[0]):
            id = f"{archive.name}/{key}"
            photos: list[tuple[str, bytes | None]] = []
            for member in members:
                ending = _key_and_ending(member.name)[1]
                if f".{ending.rpartition('.')[2]}" in PHOTOS:
                    # What is done is passed over unread.
                    held = None if id in shard.skip else tar.extractfile(member)
                    photos.append((ending, None if held is None else held.read()))
            about = archive.uri, archive.stamp
            if not photos:
                none = f"{archive.uri} holds no photograph of the key {key}."
                yield Sample(id, *about, error=none)
                continue
            # 0001.jpg is the photograph, and 0001.seg.png says something of it.
            named = min((ending for ending, _ in photos), key=lambda ending: ending.count("."))
            for data in (data for ending, data in photos if ending == named):
                seen[id] += 1
                if seen[id] > 1:
                    yield Sample(again(id, seen[id]), *about, error=twice(id))
                elif data is not None:
                    yield Sample(id, *about, data, f".{named.rpartition('.')[2]}")


def _key_and_ending(name: str) -> tuple[str, str]:
    """Split the name of a member at the first dot behind its folder."""
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return folder + slash + stem, ending.lower()


def _fetched(uri: str) -> bytes:
    try:
        with opened(uri) as file:
            data: bytes = file.read()
            return data
    except (OSError, MissingExtraError):
        raise
    except Exception as error:  # each file system raises its own
        raise InputError(f"{uri} cannot be fetched: {said(error)}") from error
