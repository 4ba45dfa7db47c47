"""Plan what is to be done of a data set: what is missing, split into shards, each named once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from camcore._shared.atomic import whole
from camcore.batch.dataset.parts import Part, part_files, rewrite, run_of
from camcore.batch.dataset.sources import Archive, Entry, Located, RowGroup, Stamp, Unreadable
from camcore.errors import InputError

SAMPLES = ".camcore-samples.jsonl"
"""The file beside the parts that lists the photographs that a run has yet to do."""


@dataclass(frozen=True)
class Listed:
    """Some lines of the list of photographs.

    Parameters
    ----------
    name : str
        How the names of its parts begin.
    offset, count : int
        Where the first line begins in the list, in bytes, and how many there are.
    """

    name: str
    offset: int
    count: int


@dataclass(frozen=True)
class Packed:
    """A tar file.

    Parameters
    ----------
    name : str
        How the names of its parts begin.
    archive : Archive
    skip : frozenset of str
        The samples that are done.
    """

    name: str
    archive: Archive
    skip: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rows:
    """A row group of a Parquet file.

    Parameters
    ----------
    name : str
        How the names of its parts begin.
    group : RowGroup
    skip : frozenset of int
        The rows that are done, counted within the group.
    again : frozenset of int
        The rows whose ids are listed before.
    """

    name: str
    group: RowGroup
    skip: frozenset[int] = frozenset()
    again: frozenset[int] = frozenset()


Shard: TypeAlias = Listed | Packed | Rows


@dataclass(frozen=True)
class Plan:
    """What a run has to do.

    Parameters
    ----------
    shards : list of Shard
        Units of work, each done by one worker.
    missing : int or None
        How many samples they hold; None where tar files do not tell.
    before : int
        How many samples were done before.
    notes : list of str
        What was found damaged and is done again.
    """

    shards: list[Shard] = field(default_factory=list)
    missing: int | None = 0
    before: int = 0
    notes: list[str] = field(default_factory=list)


def plan(entries: Iterable[Entry], folder: Path, size: int, *, resume: bool) -> Plan:
    """Find out what of the `entries` is missing in `folder`, and split it into shards.

    Memory does not grow with the number of samples: ids are kept in a database on the disk.

    Parameters
    ----------
    entries : iterable of Entry
        What the sources hold.
    folder : Path
        Where results go; the list of photographs is written there.
    size : int
        Samples of a shard of photographs.
    resume : bool
        Keep what is done. Rows of samples that failed, or whose file has changed since, are taken
        out and done again; so are the rows of parts that cannot be read. Otherwise all is done
        again.

    Returns
    -------
    Plan
    """
    made = Plan()
    files = part_files(folder)
    number = 1 + max(map(run_of, files), default=0)
    if not resume:
        for path in files:
            path.unlink()
        files = []
    missing: int | None = 0
    with closing(_Ledger()) as ledger, whole(folder / SAMPLES) as draft:
        for path in files:
            try:
                ledger.take(path.name, Part.read(path, arrays=False))
            except InputError as error:
                made.notes.append(f"{error} It is done again.")
                path.unlink()
        with draft.open("wb") as file:
            shards = _Shards(made.shards, file, number, size)
            for entry in entries:
                count = shards.add(entry, ledger)
                missing = None if missing is None or count is None else missing + count
            shards.end()
        before = ledger.keep_unchanged(folder)
    return Plan(made.shards, missing, before, made.notes)


@dataclass
class _Shards:
    """The shards as they come, with the list of photographs that is written beside.

    Parameters
    ----------
    made : list of Shard
        Those that are complete.
    file : binary file
        The list.
    number : int
        Of the run, with which names begin.
    size : int
        Photographs of a shard.
    """

    made: list[Shard]
    file: BinaryIO
    number: int
    size: int
    lines: int = 0
    offset: int = 0

    def add(self, entry: Entry, ledger: _Ledger) -> int | None:
        """Plan what is missing of an entry, and count its samples; None where that is not known."""
        if isinstance(entry, Located):
            times = ledger.listed(entry.id)
            if times > 1:
                self._put(again(entry.id, times), entry.uri, error=twice(entry.id))
            elif ledger.is_done(entry.id, entry.stamp):
                return 0
            else:
                self._put(entry.id, entry.uri)
            return 1
        if isinstance(entry, Unreadable):
            self._put(entry.id, entry.uri, error=entry.error)
            return 1
        self.end()
        if isinstance(entry, RowGroup):
            ids = [entry.id_of(row) for row in range(entry.rows)]
            is_done = [ledger.is_done(id, entry.stamp) for id in ids]
            done = frozenset(i for i, one in enumerate(is_done) if one)
            twins = frozenset(i for i, id in enumerate(ids) if ledger.listed(id) > 1)
            count = len(ids) - len(done - twins)
            if count:
                self.made.append(Rows(self._name, entry, done - twins, twins))
            return count
        skip = ledger.done_in(entry.uri, entry.stamp)
        if skip is None:
            return 0
        self.made.append(Packed(self._name, entry, skip))
        return None

    def end(self) -> None:
        """Complete the shard of the photographs listed last."""
        if self.lines:
            self.made.append(Listed(self._name, self.offset, self.lines))
        self.lines, self.offset = 0, self.file.tell()

    @property
    def _name(self) -> str:
        return f"{self.number:04d}-{len(self.made):07d}"

    def _put(self, id: str, uri: str, **more: Any) -> None:
        self.file.write(json.dumps({"id": id, "uri": uri, **more}).encode("utf-8") + b"\n")
        self.lines += 1
        if self.lines == self.size:
            self.end()


def lines_of(shard: Listed, folder: Path) -> Iterator[dict[str, Any]]:
    """Read the lines of a shard of photographs."""
    with (folder / SAMPLES).open("rb") as file:
        file.seek(shard.offset)
        for _ in range(shard.count):
            yield json.loads(file.readline())


def again(id: str, times: int) -> str:
    """Call a sample whose id was listed before."""
    return f"{id} (again)" if times == 2 else f"{id} (again, {times})"


def twice(id: str) -> str:
    """Say why a sample whose id was listed before is not done."""
    return f"{id} is listed more than once; the first is done. Give each sample an id of its own."


class _Ledger:
    """What is done and what is listed, in a database that spills to a temporary file."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("")
        self._base.executescript(
            "CREATE TABLE done (id TEXT PRIMARY KEY, uri TEXT, size INTEGER, changed INTEGER,"
            " part TEXT, failed INTEGER) WITHOUT ROWID;"
            "CREATE INDEX by_uri ON done (uri);"
            "CREATE TABLE listed (id TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID;"
            "CREATE TABLE finished (uri TEXT PRIMARY KEY, size INTEGER, changed INTEGER);"
        )

    def close(self) -> None:
        self._base.close()

    def take(self, name: str, part: Part) -> None:
        """Note the rows of a part."""
        self._base.executemany(
            "INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?, ?, ?)",
            (
                (row["id"], row["uri"], row["size"], row["changed"], name, row["error"] is not None)
                for row in part.rows
            ),
        )
        if part.finished is not None:
            uri, stamp = part.finished
            self._base.execute(
                "INSERT OR REPLACE INTO finished VALUES (?, ?, ?)", (uri, *(stamp or (None, None)))
            )

    def listed(self, id: str) -> int:
        """Note that an id is listed, and tell how often it is by now."""
        self._base.execute(
            "INSERT INTO listed VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET times = times + 1",
            (id,),
        )
        row = self._base.execute("SELECT times FROM listed WHERE id = ?", (id,)).fetchone()
        return int(row[0])

    def is_done(self, id: str, stamp: Stamp | None) -> bool:
        """Tell whether a sample has a row, of its file as it is; any other row is to be dropped."""
        row = self._base.execute(
            "SELECT size, changed, failed FROM done WHERE id = ?", (id,)
        ).fetchone()
        if row is None or row[2]:
            return False
        if stamp is None or row[:2] == stamp:
            return True
        self._base.execute("UPDATE done SET failed = 1 WHERE id = ?", (id,))
        return False

    def done_in(self, uri: str, stamp: Stamp | None) -> frozenset[str] | None:
        """List the samples of a tar file that are done; None where all of them are."""
        stamps = "size = ? AND changed = ?" if stamp else "1"
        found = self._base.execute(
            f"SELECT 1 FROM finished WHERE uri = ? AND {stamps}", (uri, *(stamp or ()))
        ).fetchone()
        if stamp:
            self._base.execute(
                "UPDATE done SET failed = 1 WHERE uri = ? AND (size IS NOT ? OR changed IS NOT ?)",
                (uri, *stamp),
            )
        failed = self._base.execute(
            "SELECT 1 FROM done WHERE uri = ? AND failed LIMIT 1", (uri,)
        ).fetchone()
        if found and not failed:
            return None
        rows = self._base.execute("SELECT id FROM done WHERE uri = ? AND NOT failed", (uri,))
        return frozenset(row[0] for row in rows)

    def keep_unchanged(self, folder: Path) -> int:
        """Take the rows that are done again out of their parts; count those that stay."""
        parts = self._base.execute("SELECT DISTINCT part FROM done WHERE failed").fetchall()
        for (name,) in parts:
            dropped = self._base.execute("SELECT id FROM done WHERE part = ? AND failed", (name,))
            rewrite(folder, name, {row[0] for row in dropped})
        count: int = self._base.execute("SELECT count(*) FROM done WHERE NOT failed").fetchone()[0]
        return count
