"""Write files that appear whole or not at all."""

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
