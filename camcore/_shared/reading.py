"""Read files with other people's parsers: whatever these raise becomes one clear error."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from camcore.errors import CamcoreError, InputError, MissingFileError

_ALWAYS: Final = 2**30
"""Bytes that an archive may always unpack to; beyond, it is held to `_RATIO`."""

_RATIO: Final = 200
"""Largest ratio of what a large archive unpacks to, to its own size."""

_SHOWN: Final = 300
"""Characters shown of a parser's own message, some of which go on for pages."""


@contextmanager
def reading(path: Path, expected: str, *, refusal: str = "cannot be read") -> Iterator[None]:
    """Read `path` within the context.

    Archives (.npz, .keras, .pth) that would unpack to far more than they are, are refused
    by their declared size before anything is read.

    Parameters
    ----------
    path : Path
        The file.
    expected : str
        What it should be, for errors: "a state dict as torch.save writes it".
    refusal : str
        What is said of a file that cannot be read.

    Raises
    ------
    InputError
        There is no such file, or anything but a camcore error was raised within the
        context, which is the cause of this one.
    """
    if not path.is_file():
        if path.exists():
            kind = "folder" if path.is_dir() else "device or pipe"
            raise InputError(f"{path} {refusal}: it is a {kind}. Expected {expected}.")
        raise MissingFileError(
            f"{path} does not exist and cannot be read: there is no file of that name. Expected "
            f"{expected}."
        )
    try:
        _check_unpacked_size(path)
        yield
    except CamcoreError:
        raise
    except Exception as error:  # parsers raise anything on files that contradict themselves
        raise InputError(f"{path} {refusal}: {said(error)} Expected {expected}.") from error


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an ``.npz`` file, within `reading`; no pickle is ever opened.

    Unlike `numpy.load`, it takes no memory for an array that the file does not hold.

    Raises
    ------
    ValueError
        An array is one of objects, or longer or shorter than it says.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("two arrays have the same name")
        return {name.removesuffix(".npy"): _member(archive, name) for name in names}


def _member(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, by_column, dtype = header(file)
        declared, held = prod(shape) * dtype.itemsize, archive.getinfo(name).file_size - file.tell()
        if dtype.hasobject or min(shape, default=0) < 0 or declared != held:
            raise ValueError(
                f"{name} is declared as {shape} of {dtype}, {declared} bytes, and holds {held}"
            )
        values = np.frombuffer(bytearray(file.read()), dtype)
        return values.reshape(shape, order="F" if by_column else "C")


def said(error: Exception) -> str:
    """Shorten an error's message to the beginning of its first line, as a sentence."""
    first = str(error).strip().partition("\n")[0].strip()
    said = first if len(first) <= _SHOWN else f"{first[:_SHOWN]} ..."
    said = said or type(error).__name__
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _check_unpacked_size(path: Path) -> None:
    """Refuse an archive that declares to unpack to far more than its own size."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    size = path.stat().st_size
    if unpacked > max(_ALWAYS, _RATIO * size):
        raise InputError(
            f"{path} has {size:,} bytes and would unpack to {unpacked:,}, more than is safe. "
            "Write it again, in several files or without compression."
        )
