"""Find and read the data of studies, which packages of Debian and of Python bring."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camcore.errors import FileError, InputError

Bytes = npt.NDArray[np.uint8]

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""

STAMPS = Path("/usr/share/tuxpaint/stamps")
"""Where Debian's package tuxpaint-stamps-default puts it."""


def found_folder(folder: Path, package: str) -> Path:
    """Make sure that a folder of data is there.

    Parameters
    ----------
    folder : Path
        Where it should be.
    package : str
        The Debian package that puts it there.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        It is not there.
    """
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder}. Install its data with: apt install {package}; or give "
            "the folder of a copy by --data."
        )
    return folder


def fashion_mnist(folder: Path | None = None) -> dict[str, tuple[Bytes, Bytes]]:
    """Read Fashion-MNIST.

    Parameters
    ----------
    folder : Path, optional
        Of the four ``.gz`` files; where Debian's package puts them unless given.

    Returns
    -------
    dict of str to ((N, 28, 28) uint8 array, (N,) uint8 array)
        Images and classes 0 to 9: 60,000 of ``"train"``, 10,000 of ``"t10k"``.

    Raises
    ------
    InputError
        The folder is not there.
    FileError
        A file of it cannot be read, or is of another data set.

    References
    ----------
    Xiao et al., "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", arXiv:1708.07747.
    """
    place = found_folder(folder or FASHION_MNIST, "dataset-fashion-mnist")
    return {part: _labelled(place, part) for part in ("train", "t10k")}


def _labelled(place: Path, part: str) -> tuple[Bytes, Bytes]:
    images = _idx(place / f"{part}-images-idx3-ubyte.gz")
    labels = _idx(place / f"{part}-labels-idx1-ubyte.gz")
    if images.shape != (len(images), 28, 28) or labels.shape != (len(images),) or not len(images):
        raise FileError(
            f"{place} has images of shape {images.shape} and labels of shape {labels.shape} for "
            f"{part!r}; Fashion-MNIST has (N, 28, 28) and (N,)."
        )
    if labels.max() > 9:
        raise FileError(f"{place} has labels up to {labels.max()} for {part!r}, expected 0 to 9.")
    return images, labels


def _idx(path: Path) -> Bytes:
    """Read an IDX file of bytes: 0, 0, 8, the number of axes, big-endian sizes, and the bytes."""
    try:
        read = gzip.decompress(path.read_bytes())
        if read[:3] != b"\0\0\x08":
            raise ValueError(f"it begins with {read[:3]!r}")
        axes = read[3]
        sizes = np.frombuffer(read, ">u4", axes, offset=4)
        values: Bytes = np.frombuffer(read, np.uint8, offset=4 + 4 * axes).reshape(sizes)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise FileError(f"{path} is not an IDX file of bytes: {error}.") from error
    return values
