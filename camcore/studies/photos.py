"""Find the photographs of studies: those that packages bring, or a folder of a person's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.batch import find_photos
from camcore.errors import InputError, MissingExtraError
from camcore.photos import read_photo
from camcore.studies.study import Setting

Bytes = npt.NDArray[np.uint8]

FOOLBOX = "pip install foolbox==3.3.4"
"""What brings the twenty photographs of ImageNet's classes."""

PACKAGES = 'pip install "camcore[demo,metrics,dff]"'
"""What brings the others, networks, weights and intervals."""

MOST = 2000
"""How many photographs of a person's folder are drawn, as many as Wang et al. drew."""


@dataclass(frozen=True)
class Photograph:
    """A photograph that is read when it is needed.

    Parameters
    ----------
    name : str
        For people.
    read : callable
        Gives the pixels, (H, W, 3) uint8, RGB.
    """

    name: str
    read: Callable[[], Bytes] = field(repr=False)


@dataclass
class Photographs:
    """The photographs of a study.

    Parameters
    ----------
    chosen : sequence of Photograph
    source : str
        How many there are and where they are from: a sentence's part.
    unreadable : dict of str to str
        The names of files that could not be read, and why; filled while they are read.
    """

    chosen: Sequence[Photograph]
    source: str
    unreadable: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.chosen)

    def first(self, count: int) -> Photographs:
        """Take the first photographs alone.

        Parameters
        ----------
        count : int
            How many at the most.

        Returns
        -------
        Photographs
            What cannot be read of them is noted in both.
        """
        return Photographs(self.chosen[:count], self.source, self.unreadable)

    def groups(self, size: int = 8) -> Iterator[list[Bytes]]:
        """Read the photographs, so many at once that memory holds them.

        Parameters
        ----------
        size : int
            How many at once.

        Yields
        ------
        list of (H, W, 3) uint8 array
            RGB. Files that cannot be read are left out, and named in `unreadable`.

        Raises
        ------
        InputError
            None can be read.
        """
        found, any_read = [], False
        for number, one in enumerate(self.chosen, 1):
            try:
                found.append(one.read())
            except InputError as error:
                self.unreadable[one.name] = str(error)
            if found and (len(found) == size or number == len(self.chosen)):
                any_read = True
                yield found
                found = []
        if not any_read:
            why = next(iter(self.unreadable.values()), "there is none")
            raise InputError(
                f"None of the {len(self.chosen)} photographs can be read; the first: {why}"
            )

    def notes(self) -> Iterator[str]:
        """Say which photographs these are, and which could not be read.

        Yields
        ------
        str
            A sentence each.
        """
        yield f"Photographs: {self.source}."
        if self.unreadable:
            yield f"Left out, as they cannot be read: {', '.join(self.unreadable)}."


def photographs(setting: Setting) -> Photographs:
    """Find the photographs of a study.

    Parameters
    ----------
    setting : Setting
        With a folder of a person's own, 2,000 of it are drawn by its seed, or all where there are
        fewer; small, four that scikit-image ships are enough; else all that packages bring.

    Returns
    -------
    Photographs
        In an order that only the setting decides.

    Raises
    ------
    InputError
        The folder holds no photograph, or there are masks or data, which these studies have no
        use for.
    MissingExtraError
        A package that brings photographs is not installed.
    """
    for name in ("masks", "data"):
        if getattr(setting, name) is not None:
            raise InputError(
                f"This study has no use for --{name} {getattr(setting, name)}. Leave it out; a "
                "folder of photographs is given by --photos."
            )
    if setting.photos is not None:
        return _drawn(setting.photos, 4 if setting.small else MOST, setting.seed)
    shipped = _scikit_image()
    if setting.small:
        return Photographs(shipped[:4], "four that scikit-image ships")
    parts = [_foolbox(), shipped, _scikit_learn()]
    first, second, third = map(len, parts)
    return Photographs(
        [one for part in parts for one in part],
        f"{first + second + third}, of which foolbox ships {first} of ImageNet's classes, "
        f"scikit-image {second} and scikit-learn {third}",
    )


def _drawn(folder: Path, most: int, seed: int) -> Photographs:
    """Draw photographs of a folder, and of all folders within it, without returning any."""
    found = find_photos([folder], recursive=True)
    every = [Photograph(str(found.within(path)), partial(read_photo, path)) for path in found.paths]
    source = f"all {len(every)} of the folder {folder.name}"
    if len(every) > most:
        drawn = np.random.default_rng(seed).choice(len(every), most, replace=False)
        source = f"{most} of {len(every)} of the folder {folder.name}, drawn with the seed {seed}"
        every = [every[index] for index in np.sort(drawn)]
    return Photographs(every, source)


def _foolbox() -> list[Photograph]:
    """List foolbox's photographs of ImageNet's classes, without importing what it imports."""
    spec = find_spec("foolbox")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "The package foolbox is not installed, which brings twenty photographs of ImageNet's "
            f"classes. Install it with: {FOOLBOX}; or give a folder of your own by --photos."
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    paths = sorted(folder.glob("imagenet_*.jpg"))
    if not paths:
        raise InputError(
            f"{folder} has no photographs imagenet_*.jpg. Install the foolbox that has: {FOOLBOX}; "
            "or give a folder of your own by --photos."
        )
    return [Photograph(path.name, partial(read_photo, path)) for path in paths]


def _scikit_image() -> list[Photograph]:
    """List photographs of things that scikit-image ships; it downloads none of these."""
    with needs("metrics", "Finding scikit-image's photographs"):
        from skimage import data

    def camera() -> Bytes:
        return np.repeat(np.asarray(data.camera())[..., None], 3, axis=-1)

    def motorcycle() -> Bytes:
        left: Bytes = np.asarray(data.stereo_motorcycle()[0])
        return left

    read = [data.chelsea, data.coffee, data.astronaut, data.rocket, camera, motorcycle]
    return [Photograph(one.__name__, one) for one in read]


def _scikit_learn() -> list[Photograph]:
    """List the photographs that scikit-learn ships."""
    with needs("dff", "Finding scikit-learn's photographs"):
        from sklearn.datasets import load_sample_image

    names = ("china.jpg", "flower.jpg")
    return [Photograph(name, partial(load_sample_image, name)) for name in names]
