"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from camcore.errors import InputError

_DRAFT = re.compile(r"\..+\.[0-9a-f]+\.part(\.\w+)?")
"""Names of drafts, those of `camcore.Explanation.save` among them."""


@contextmanager
def whole(path: Path, *, suffix: str = "") -> Iterator[Path]:
    """Write to a draft beside a file, which takes the file's place when all went well.

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
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part{suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


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
    """Hold a folder for this process; the hold ends with the process, however that ends.

    Raises
    ------
    InputError
        Another process holds it.
    """
    # Windows cannot lock a folder: there, whoever starts two runs is not stopped.
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
            f"Another run is writing into {folder}; wait for it, or choose --output."
        ) from error
    finally:
        os.close(handle)
