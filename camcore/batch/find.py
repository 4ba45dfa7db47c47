"""Find photographs and videos among files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from camcore.errors import InputError
from camcore.photos.stamp import read_stamp

PHOTOS = frozenset(
    f".{kind}"
    for kind in (
        *("apng", "avif", "bmp", "dcm", "gif", "heic", "heif", "ico", "j2k", "jfif", "jp2", "jpe"),
        *("jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
"""Suffixes of photographs."""

VIDEOS = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"])
"""Suffixes of videos."""

_RESULTS = (".overlay.jpg", ".overlay.png", ".figure.png")
"""How the names of camcore's own pictures end."""


@dataclass(frozen=True)
class FoundPhotos:
    """Photographs found among files, folders and patterns.

    Parameters
    ----------
    root : Path
        The folder that all lie in.
    paths : sequence of Path
        As they were given, each once, by name within a folder.
    ignored : int
        Number of files in the folders whose names are not those of photographs.
    passed_over : sequence of Path
        Pictures in the folders that are named like results, or lie in the folder for these, but
        are not known to be any.
    """

    root: Path
    paths: Sequence[Path]
    ignored: int = 0
    passed_over: Sequence[Path] = ()

    def within(self, path: Path) -> Path:
        """Return `path` relative to the root."""
        return _absolute(path).relative_to(self.root)


def find_photos(
    given: Sequence[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    exclude: str | os.PathLike[str] | None = None,
) -> FoundPhotos:
    """Find the photographs in files, folders and patterns.

    Parameters
    ----------
    given : sequence of path
        Files, whatever their names; folders, of which the files with a photograph's
        suffix are taken; patterns with ``*``, ``?``, ``[...]`` and ``**``. Hidden files
        and the pictures of an earlier run are left out of folders, and so are those with names
        like these.
    recursive : bool
        Also search the folders within folders.
    exclude : path, optional
        A folder that is not searched, such as the one for results.

    Returns
    -------
    FoundPhotos

    Raises
    ------
    InputError
        A folder or pattern holds no photograph.
    """
    excluded = None if exclude is None else _absolute(exclude)
    passed_over: list[Path] = []
    paths: dict[Path, Path] = {}
    roots: list[Path] = []
    ignored = 0
    for name in given:
        one = os.fspath(name)
        if os.path.isdir(one):
            inside, apart = _split(_files(Path(one), recursive), Path(one), excluded)
            unknown = [path for path in apart if is_photo(path) and read_stamp(path) is None]
            passed_over += unknown
            photos = [path for path in inside if is_photo(path)]
            ignored += len(inside) - len(photos)
            roots.append(_absolute(one))
            if not photos:
                hint = "" if recursive else "; --recursive looks into the folders within it"
                if unknown:
                    hint += f"; {unknown[0]} is named like a result, so give it by its name"
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
    passed_over = [path for path in passed_over if _absolute(path) not in paths]
    return FoundPhotos(_common(roots), list(paths.values()), ignored, passed_over)


def photos_in(
    folder: str | os.PathLike[str],
    *,
    recursive: bool = False,
    exclude: str | os.PathLike[str] | None = None,
) -> Iterator[Path]:
    """Find the photographs in a folder one after the other, as `find_photos` does.

    Parameters
    ----------
    folder : path
    recursive, exclude
        As `find_photos` takes them.

    Yields
    ------
    Path
        By name within a folder. No more is kept than the names in one folder.

    Raises
    ------
    InputError
        A folder cannot be looked into.
    """
    excluded = None if exclude is None else _absolute(exclude)
    looked_into = Path(folder)
    within = excluded is not None and _absolute(looked_into) in excluded.parents
    for path in _files(looked_into, recursive):
        is_result = path.name.endswith(_RESULTS) or (within and _lies_in(path, excluded))
        if is_photo(path) and not is_result:
            yield path


def is_photo(path: str | os.PathLike[str]) -> bool:
    """Tell whether `path` has the suffix of a photograph.

    Parameters
    ----------
    path : path
        A name; whether there is such a file does not matter.

    Returns
    -------
    bool
    """
    return Path(path).suffix.lower() in PHOTOS


def is_video(path: str | os.PathLike[str]) -> bool:
    """Tell whether `path` has the suffix of a video.

    Parameters
    ----------
    path : path
        A name; whether there is such a file does not matter.

    Returns
    -------
    bool
    """
    return Path(path).suffix.lower() in VIDEOS


def _files(folder: Path, recursive: bool) -> Iterator[Path]:
    """List the files of `folder` by name; unless `recursive`, folders named like photographs too.

    Such a folder is then reported as a photograph that cannot be read.
    """
    try:
        inside = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder} cannot be looked into ({error.strerror}).") from error
    for name in inside:
        if name.startswith("."):
            continue
        path = folder / name
        if not path.is_dir() or (not recursive and is_photo(path)):
            yield path
        elif recursive and not path.is_symlink():
            yield from _files(path, recursive)


def _split(
    files: Iterable[Path], folder: Path, excluded: Path | None
) -> tuple[list[Path], list[Path]]:
    """Split the files of `folder` into those to look at, and those that look like results.

    The latter are named so, or lie in the `excluded` folder within it.
    """
    within = excluded is not None and _absolute(folder) in excluded.parents
    lists: tuple[list[Path], list[Path]] = ([], [])
    for path in files:
        inside = within and _lies_in(path, excluded)
        lists[inside or path.name.endswith(_RESULTS)].append(path)
    return lists


def _lies_in(path: Path, folder: Path | None) -> bool:
    return folder is not None and folder in _absolute(path).parents


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(path))


def _common(folders: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise InputError(
            "The photographs lie on different drives and have no folder in common. "
            "Explain those of each drive by themselves."
        ) from error
