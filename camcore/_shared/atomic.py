"""Write files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import sys
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from camcore.errors import FileError, InputError

_DRAFT = re.compile(r"\..+\.[0-9a-f]+\.part(\.\w+)?")
"""What drafts are called."""


@contextmanager
def whole(path: Path, *, suffix: str = "") -> Iterator[Path]:
    """Write `path` through a draft beside it, which takes its place when all went well.

    Parameters
    ----------
    path : Path
        The file; one that exists is replaced.
    suffix : str
        Ends the draft's name, for writers that tell the format by it.

    Yields
    ------
    Path
        The draft. Whatever raises, it is removed and the file is as it was.

    Raises
    ------
    FileError
        The file cannot be written: the disk is full, it is no place for files, it is a folder
        or a device.
    """
    if not path.name:
        raise FileError(f"{path} is a folder, which no file can replace. Choose another name.")
    # Its length does not depend on the file's, whose name may be as long as names can be.
    draft = path.with_name(f".camcore.{uuid.uuid4().hex[:16]}.part{suffix}")
    try:
        if path.exists() and not path.is_file():
            kind = "folder" if path.is_dir() else "device or pipe"
            raise FileError(f"{path} is a {kind}, which no file can replace. Choose another name.")
        yield draft
        draft.replace(path)
    except OSError as error:
        # What else raises within the context, such as a model, keeps its own error.
        if error.errno is None or error.filename not in (None, str(draft), str(path)):
            raise
        raise not_written(path, error) from error
    finally:
        with suppress(NotADirectoryError):  # then there is no draft either
            draft.unlink(missing_ok=True)


def not_written(path: Path, error: OSError) -> FileError:
    """Make the error for a file that the system refuses to write, with the system's number."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "Make room on the disk, or write elsewhere."
    else:
        advice = "Choose a folder that exists and that you may write to."
    made = FileError(f"{path} cannot be written: {error.strerror}. {advice}")
    made.errno = error.errno
    return made


def check_apart(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Refuse to write outputs over what is read, or over one another.

    Links are looked through, and names that differ in case alone count as one, as they are on
    some systems.

    Parameters
    ----------
    inputs : iterable of Path
        Files that are read, or are to stay for another reason.
    outputs : iterable of Path
        Files that would be written.

    Raises
    ------
    FileError
        Names both files.
    """
    read = {identity: path for path in inputs for identity in _identities(path)}
    written: dict[str, Path] = {}
    for path in outputs:
        for identity in _identities(path):
            if identity in read:
                raise FileError(
                    f"{path} would be written over {read[identity]}, which is no result of "
                    "camcore. Choose another folder for the results, or another name."
                )
        name = _name(path)
        if name in written:
            raise FileError(
                f"{written[name]} and {path} would be one file. Rename one of what they are made "
                "from, or explain them apart."
            )
        written[name] = path


def _identities(path: Path) -> set[Any]:
    """Tell what makes a file the same as another: its name, and where it and its link lie."""
    found: set[Any] = {_name(path)}
    for follow in (True, False):
        with suppress(OSError):  # it is not there yet
            about = os.stat(path, follow_symlinks=follow)
            found.add((about.st_dev, about.st_ino))
    return found


def _name(path: Path) -> str:
    whole = os.path.join(os.path.realpath(path.parent), path.name)
    return unicodedata.normalize("NFC", whole).casefold()


def clear_drafts(folder: Path) -> None:
    """Remove the drafts that a killed process left in a folder and those within it.

    Parameters
    ----------
    folder : Path
        A folder to which only one process writes.
    """
    for path in folder.rglob(".*.part*"):
        if _DRAFT.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process; the lock ends with the process, however that ends.

    Parameters
    ----------
    folder : Path
        A folder that exists.

    Raises
    ------
    InputError
        Another process has locked it.
    """
    # Windows cannot lock a folder, so two runs into one folder are not prevented there.
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise InputError(
            f"Another run is writing into {folder}. Wait for it to end, or choose another --output."
        ) from error
    finally:
        os.close(handle)
