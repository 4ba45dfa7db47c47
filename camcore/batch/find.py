"""Find photographs and videos among files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from camcore.errors import InputError

PHOTOS = frozenset(
    f".{kind}"
    for kind in (
        *("apng", "avif", "bmp", "gif", "heic", "heif", "ico", "j2k", "jfif", "jp2", "jpe"),
        *("jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
"""Endings of what is taken for a photograph in a folder."""


VIDEOS = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"])
"""Endings of what is taken for a video."""


_OURS = (".overlay.jpg", ".overlay.png", ".figure.png")


@dataclass(frozen=True)
class Found:
    """Photographs among what a person named.

    Parameters
    ----------
    root : Path
        The folder that all lie in; their results go to the same places below another.
    paths : sequence of Path
        As they were named, each once, in order of their names within a folder.
    passed : int
        Files of the folders that are no photographs by their names.
    """

    root: Path
    paths: Sequence[Path]
    passed: int = 0

    def within(self, path: Path) -> Path:
        """The way to one of the photographs from the root."""
        return _absolute(path).relative_to(self.root)


def find_photos(
    named: Sequence[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    apart_from: str | os.PathLike[str] | None = None,
) -> Found:
    """Find the photographs in files, folders and patterns.

    Parameters
    ----------
    named : sequence of path
        Files, taken whatever they are called; folders, of which files are taken whose
        name ends as photographs do; patterns with ``*``, ``?``, ``[...]`` and ``**``.
        Hidden files and overlays of an earlier run are left out of folders.
    recursive : bool
        Also look into the folders within folders.
    apart_from : path, optional
        A folder whose contents are left out: where results go.

    Returns
    -------
    Found

    Raises
    ------
    InputError
        A folder or pattern holds no photograph.
    """
    ours = None if apart_from is None else _absolute(apart_from)
    paths: dict[Path, Path] = {}
    roots: list[Path] = []
    passed = 0
    for given in named:
        one = os.fspath(given)
        if os.path.isdir(one):
            inside = list(_files(Path(one), recursive, None if ours == _absolute(one) else ours))
            photos = [path for path in inside if is_photo(path)]
            passed += len(inside) - len(photos)
            roots.append(_absolute(one))
            if not photos:
                hint = "" if recursive else "; --recursive looks into the folders within it"
                raise InputError(f"{one} is a folder without photographs{hint}.")
        elif not os.path.lexists(one) and glob.has_magic(one):
            matches = sorted(glob.glob(one, recursive=True))
            photos = [Path(path) for path in matches if not os.path.isdir(path)]
            roots += [_absolute(path.parent) for path in photos]
            if not photos:
                raise InputError(f"{one} matches no file.")
        else:
            photos = [Path(one)]
            roots.append(_absolute(one).parent)
        for path in photos:
            paths.setdefault(_absolute(path), path)
    return Found(_common(roots), list(paths.values()), passed)


def is_photo(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends as photographs' do."""
    return Path(path).suffix.lower() in PHOTOS


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends as videos' do."""
    return Path(path).suffix.lower() in VIDEOS


def _files(folder: Path, recursive: bool, apart_from: Path | None) -> Iterator[Path]:
    """Files of a folder by name; where it is not gone into, also folders named like photographs."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be looked into ({error.strerror}).") from error
    for path in inside:
        if path.name.startswith(".") or path.name.endswith(_OURS):
            continue
        if not path.is_dir() or (not recursive and is_photo(path)):
            yield path
        elif recursive and not path.is_symlink() and _absolute(path) != apart_from:
            yield from _files(path, recursive, apart_from)


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(path))


def _common(folders: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise InputError(
            "The photographs have no folder in common, being on different drives; "
            "explain those of each drive by themselves."
        ) from error
