"""Compose scenes of two cut-out objects, of which is known exactly where each one lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from camcore._shared.efficientnet_lite import SIZE
from camcore._shared.optional import needs
from camcore._shared.reading import reading
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.explainer import Explainer
from camcore.photos.fit import fitted, shown
from camcore.photos.io import read_photo
from camcore.photos.masks import mask_of, read_mask
from camcore.registry import LoadedModel
from camcore.studies.data import STAMPS, found_folder
from camcore.studies.networks import LAYERS, load_lite
from camcore.studies.study import Setting

__all__ = [
    "ABSENT",
    "ALONE",
    "LAYERS",
    "TOGETHER",
    "Draft",
    "Network",
    "Pixels",
    "Predict",
    "Scene",
    "Scenes",
    "Stamp",
    "beside",
    "chosen",
    "cut_outs",
    "drafts",
    "laid",
    "load_network",
    "photographs",
    "recognised",
    "scaled_to",
    "scenes_of",
    "shown_alone",
]

Bools: TypeAlias = npt.NDArray[np.bool_]
Pixels: TypeAlias = npt.NDArray[np.uint8]
Predict: TypeAlias = "Callable[[Sequence[npt.NDArray[Any]]], Array]"
"""From N pictures ``(224, 224, 3)`` to probabilities ``(N, K)``."""

Item = TypeVar("Item")

ALONE = 0.5
"""Probability above which an object is recognised that is shown alone."""

TOGETHER = 0.05
"""Probability above which both objects of a scene are recognised."""

ABSENT = 0.01
"""Probability below which the class of an object lies where that object is taken away."""

_GREY = 127
_MARGIN = 4
_SMALLEST = 64
_CUT_OUT = 0.98
_LARGEST = SIZE // 2 - 2 * _MARGIN
_PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Stamp:
    """A cut-out object.

    Parameters
    ----------
    name : str
        Of its file.
    pixels : (H, W, 4) uint8 array
        RGB and how opaque it is, cut to what is opaque.
    """

    name: str
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture with objects, each of a class of its own.

    Parameters
    ----------
    view : (224, 224, 3) array
        What the network sees, RGB from 0 to 255.
    masks : (K, 224, 224) bool array
        Where each object lies.
    classes : sequence of int
        The class of each.
    names : sequence of str
        Of their files.
    probabilities : sequence of float
        Of the classes, in this picture.
    """

    view: npt.NDArray[Any]
    masks: Bools
    classes: Sequence[int]
    names: Sequence[str]
    probabilities: Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes for one network, and how they were chosen.

    Parameters
    ----------
    scenes : sequence of Scene
    paired : bool
        Whether each has two objects.
    about : sequence of str
        Sentences: how many were looked at, and how many of them chosen.
    nearest : float
        How near to its threshold the nearest probability came that decided about anything: a
        framework whose probabilities are not as far away as that from another's chooses the same.
    """

    scenes: Sequence[Scene]
    paired: bool
    about: Sequence[str]
    nearest: float = np.inf

    @property
    def numbers(self) -> dict[str, float]:
        """How many scenes there are, and a sum that tells their classes and masks from others'."""
        marks = [
            (number + 1) * (int(found) + int(mask.sum()))
            for number, scene in enumerate(self.scenes)
            for found, mask in zip(scene.classes, scene.masks, strict=True)
        ]
        return {"scenes": float(len(self.scenes)), "check sum of scenes": float(sum(marks))}


@dataclass(frozen=True, eq=False)
class Network:
    """A network of these studies in one framework.

    Parameters
    ----------
    loaded : LoadedModel
        It takes pictures of 224 by 224 pixels.
    layers : mapping of str to str
        The framework's names of layers, by the names in `LAYERS`.
    """

    loaded: LoadedModel
    layers: Mapping[str, str]
    _explainers: dict[str, Explainer] = field(default_factory=dict, init=False, repr=False)

    def predict(self, pictures: Sequence[npt.NDArray[Any]]) -> Array:
        """Predict the classes of pictures.

        Parameters
        ----------
        pictures : sequence of (224, 224, 3) array
            RGB from 0 to 255.

        Returns
        -------
        (N, K) array
            Probabilities.
        """
        if not self._explainers:
            about = {"method": "activations", "layer": self.layers["head"]}
            self._explainers["predict"] = Explainer(self.loaded, **about)
        found = self._explainers["predict"](self.inputs(pictures)).probabilities
        if found is None:
            raise InputError("The network's outputs are no probabilities of classes.")
        return found

    def inputs(self, pictures: Sequence[npt.NDArray[Any]]) -> Any:
        """Turn pictures ``(224, 224, 3)`` into what the network takes."""
        return self.loaded.preprocess(np.stack(pictures))


def load_network(framework: str) -> Network:
    """Load EfficientNet-Lite0 with its ImageNet weights.

    Parameters
    ----------
    framework : {"torch", "tensorflow"}

    Returns
    -------
    Network

    Raises
    ------
    MissingExtraError
        The framework, or the weights' package, is not installed.
    """
    layers = {name: by_framework[framework] for name, by_framework in LAYERS.items()}
    return Network(load_lite(framework), layers)


def cut_outs(folder: Path | None = None) -> list[Stamp]:
    """Read the cut-out objects of a folder, its drawings left out.

    Parameters
    ----------
    folder : Path, optional
        Of PNG files, with folders in it; where Debian's package of Tux Paint's stamps puts them
        unless given.

    Returns
    -------
    list of Stamp
        By path. Left out are those in folders called ``cartoon`` and ``symbols``, those that fill
        more than 98 % of their box, which have no outline, and those of fewer than 64 pixels on
        the longer side.

    Raises
    ------
    InputError
        The folder is not there, or has no cut-outs.
    """
    place = found_folder(folder or STAMPS, "tuxpaint-stamps-default")
    stamps = []
    for path in sorted(place.rglob("*.png")):
        name = path.relative_to(place)
        if {"cartoon", "symbols"}.isdisjoint(name.parts[:-1]):
            pixels = _cut(_with_alpha(path))
            if pixels is not None:
                stamps.append(Stamp(name.with_suffix("").as_posix(), pixels))
    if not stamps:
        raise InputError(
            f"{place} holds no cut-out objects. Give a folder of PNG files whose surroundings are "
            "transparent, or install: apt install tuxpaint-stamps-default"
        )
    return stamps


def _with_alpha(path: Path) -> Pixels:
    with needs("viz", "Reading cut-out objects"):
        from PIL import Image
    with reading(path, "a PNG file"), Image.open(path) as image:
        return np.asarray(image.convert("RGBA"))


def _cut(pixels: Pixels) -> Pixels | None:
    """Cut to what is opaque; None of what is no cut-out object, or too small."""
    opaque = pixels[..., 3] >= 128
    rows, columns = (np.flatnonzero(opaque.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    where = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = max(opaque[where].shape) < _SMALLEST
    return None if small or opaque[where].mean() > _CUT_OUT else pixels[where]


def scaled_to(pixels: Pixels, longest: int) -> Pixels:
    """Scale a cut-out object so that its longer side has `longest` pixels.

    Parameters
    ----------
    pixels : (H, W, 4) uint8 array
        RGB and how opaque it is. Colours that are transparent do not bleed into the others.
    longest : int

    Returns
    -------
    (h, w, 4) uint8 array
    """
    with needs("viz", "Scaling cut-out objects"):
        from PIL import Image
    height, width = pixels.shape[:2]
    share = longest / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def laid(background: Pixels, pixels: Pixels, top: int, left: int) -> tuple[Pixels, Bools]:
    """Lay a cut-out object over a background.

    Parameters
    ----------
    background : (H, W, 3) uint8 array
    pixels : (h, w, 4) uint8 array
        RGB and how opaque it is.
    top, left : int
        Where its first pixel goes; it lies within the background.

    Returns
    -------
    (H, W, 3) uint8 array, (H, W) bool array
        The picture, and where it shows at least half of the object: what is at least 128 of 255
        opaque.
    """
    height, width = pixels.shape[:2]
    where = np.s_[top : top + height, left : left + width]
    share = pixels[..., 3:] / 255
    picture = background.copy()
    mixed = share * pixels[..., :3] + (1 - share) * background[where]
    picture[where] = np.rint(mixed).astype(np.uint8)
    mask = np.zeros(background.shape[:2], bool)
    mask[where] = pixels[..., 3] >= 128
    return picture, mask


def shown_alone(stamp: Stamp) -> Pixels:
    """Show an object alone, as large as fits, on plain grey, ``(224, 224, 3)`` uint8."""
    pixels = scaled_to(stamp.pixels, SIZE - 8 * _MARGIN)
    top, left = ((SIZE - side) // 2 for side in pixels.shape[:2])
    return laid(_backgrounds(textured=False)[0], pixels, top, left)[0]


def recognised(stamps: Sequence[Stamp], predict: Predict) -> tuple[list[tuple[Stamp, int]], float]:
    """Choose the objects that a network recognises when they are shown alone.

    Parameters
    ----------
    stamps : sequence of Stamp
    predict : callable
        Probabilities of pictures.

    Returns
    -------
    list of (Stamp, int), float
        Those that have the same class as they are and mirrored, each time with a probability
        above 0.5, with that class; and how near the nearest came to that threshold.
    """
    found_all: list[tuple[Stamp, int]] = []
    nearest = np.inf
    for some in _batches(stamps):
        pictures = [shown_alone(stamp) for stamp in some]
        for stamp, picture, seen in zip(some, pictures, predict(pictures), strict=True):
            found = int(seen.argmax())
            least = float(seen[found])
            if least > ALONE:
                least = min(least, float(predict([picture[:, ::-1]])[0, found]))
            nearest = min(nearest, abs(least - ALONE))
            if least > ALONE:
                found_all.append((stamp, found))
    return found_all, nearest


@dataclass(frozen=True, eq=False)
class Draft:
    """Two objects beside one another, and the same picture without each of them.

    Parameters
    ----------
    scene : Scene
    without : sequence of (224, 224, 3) uint8 array
        The picture without the first, and without the second object.
    """

    scene: Scene
    without: Sequence[Pixels]


def beside(
    pair: Sequence[tuple[Stamp, int]], background: Pixels, random: np.random.Generator
) -> Draft:
    """Compose two objects side by side, each anywhere in its own half.

    Parameters
    ----------
    pair : sequence of (Stamp, int)
        The left object and its class, and the right one's.
    background : (224, 224, 3) uint8 array
    random : Generator
        Draws sizes, from seven eighths of what fits to what fits, and places. Four pixels at
        least are left to the edges and to the middle, where no object ever lies.

    Returns
    -------
    Draft
    """
    placed = []
    for half, (stamp, _) in enumerate(pair):
        pixels = scaled_to(stamp.pixels, int(random.integers(7 * _LARGEST // 8, _LARGEST + 1)))
        height, width = pixels.shape[:2]
        top = int(random.integers(_MARGIN, SIZE - _MARGIN - height + 1))
        left = int(random.integers(_MARGIN, SIZE // 2 - _MARGIN - width + 1))
        placed.append((pixels, top, left + half * SIZE // 2))
    view, masks, without = background, [], []
    for one, other in (placed, placed[::-1]):
        without.append(laid(background, *other)[0])
        view, mask = laid(view, *one)
        masks.append(mask)
    names, classes = zip(*((stamp.name, found) for stamp, found in pair), strict=True)
    return Draft(Scene(view, np.stack(masks), classes, names), without)


def drafts(
    objects: Sequence[tuple[Stamp, int]], seed: int, backgrounds: Sequence[Pixels]
) -> Iterator[Draft]:
    """Compose scenes of two objects of different classes, drawn at random, without an end.

    Parameters
    ----------
    objects : sequence of (Stamp, int)
        Cut-out objects and their classes.
    seed : int
        Of what is drawn.
    backgrounds : sequence of (224, 224, 3) uint8 array
        Taken in turn.

    Yields
    ------
    Draft

    Raises
    ------
    InputError
        The objects are not of two classes at least.
    """
    if len({found for _, found in objects}) < 2:
        raise InputError(
            f"{len(objects)} objects are recognised, and a scene needs two of different classes. "
            "Give a folder of more cut-out objects."
        )
    for number in count():
        random = np.random.default_rng((seed, number))
        first = objects[int(random.integers(len(objects)))]
        others = [one for one in objects if one[1] != first[1]]
        second = others[int(random.integers(len(others)))]
        yield beside((first, second), backgrounds[number % len(backgrounds)], random)


def chosen(tried: Iterable[Draft], predict: Predict, wanted: int) -> tuple[list[Scene], int, float]:
    """Choose the scenes whose objects a network recognises, each for itself.

    Parameters
    ----------
    tried : iterable of Draft
    predict : callable
        Probabilities of pictures.
    wanted : int
        How many scenes are enough.

    Returns
    -------
    list of Scene, int, float
        Those in which both classes have a probability above 0.05, and each falls below 0.01 where
        its object is taken away, so that its object alone is what the score is for; how many were
        looked at for them; and how near the nearest that decided came to its threshold.
    """
    found: list[Scene] = []
    nearest, looked_at = np.inf, 0
    for some in _batches(tried):
        for draft, seen in zip(some, predict([one.scene.view for one in some]), strict=True):
            looked_at += 1
            classes = list(draft.scene.classes)
            together = seen[classes]
            nearest = min(nearest, abs(float(together.min()) - TOGETHER))
            if not together.min() > TOGETHER:
                continue
            absent = predict(draft.without)[[0, 1], classes]
            nearest = min(nearest, abs(float(absent.max()) - ABSENT))
            if absent.max() < ABSENT:
                found.append(replace(draft.scene, probabilities=together.tolist()))
            if len(found) == wanted:
                return found, looked_at, nearest
    return found, looked_at, nearest


def scenes_of(setting: Setting, network: Network, wanted: int) -> Scenes:
    """Compose the scenes of a study, or read a person's photographs and masks.

    Parameters
    ----------
    setting : Setting
    network : Network
    wanted : int
        How many are enough.

    Returns
    -------
    Scenes
        The first that are chosen, in the order in which they were drawn, so that fewer are the
        first of more.

    Raises
    ------
    InputError
        There are no cut-out objects, or no photographs with masks; or too few of them are
        recognised.
    """
    if setting.photos is not None or setting.masks is not None:
        return photographs(setting, network, wanted)
    stamps = cut_outs(setting.data)
    if setting.small:
        stamps = stamps[::6]
    objects, margin = recognised(stamps, network.predict)
    tries = 40 * wanted
    tried = islice(drafts(objects, setting.seed, _backgrounds()), tries)
    scenes, looked_at, nearest = chosen(tried, network.predict, wanted)
    if len(scenes) < 2:
        raise InputError(
            f"In {len(scenes)} of {looked_at} scenes both objects are recognised, and two scenes "
            "are needed. Give a folder of more cut-out objects."
        )
    nearest = min(nearest, margin)
    classes = len({found for _, found in objects})
    about = [
        f"{len(objects)} of {len(stamps)} cut-out objects are recognised alone, with a probability "
        f"above {ALONE:g} for the same class as they are and mirrored: {classes} classes. Whether "
        "it is the right one was not looked at.",
        f"{len(scenes)} of {looked_at} scenes drawn have both classes above {TOGETHER:g}, and each "
        f"below {ABSENT:g} where its object is taken away. The nearest probability that decided "
        f"was {nearest:.1e} from its threshold.",
    ]
    return Scenes(scenes, True, about, nearest)


def photographs(setting: Setting, network: Network, wanted: int) -> Scenes:
    """Read photographs of one object each, and where that lies.

    Parameters
    ----------
    setting : Setting
        With folders of photographs and of masks, whose files have the same names but for their
        endings.
    network : Network
        Says which class is explained: the one that it predicts.
    wanted : int
        How many are enough; drawn at random of more.

    Returns
    -------
    Scenes

    Raises
    ------
    InputError
        A folder is missing, or no photograph has a mask; or a mask is of another size.
    """
    if setting.photos is None or setting.masks is None:
        raise InputError(
            "Where objects lie in photographs is told by masks: give both folders, --photos and "
            "--masks, or neither."
        )
    every = [path for path in sorted(setting.photos.iterdir()) if _is_picture(path)]
    masks = ((path, mask_of(path, setting.masks)) for path in every)
    pairs = [(path, mask) for path, mask in masks if mask is not None]
    order = np.random.default_rng(setting.seed).permutation(len(pairs))
    scenes: list[Scene] = []
    for number in order:
        if len(scenes) == wanted:
            break
        path, mask_path = pairs[number]
        photo = read_photo(path)
        crop = fitted(network.loaded, photo.shape)
        marked = crop.mask_to_model(read_mask(mask_path))
        if marked.any():
            view = shown(network.loaded, photo, crop)
            (probabilities,) = network.predict([view])
            found = int(probabilities.argmax())
            about = (found,), (path.stem,), (float(probabilities[found]),)
            scenes.append(Scene(view, marked[None], *about))
    if len(scenes) < 2:
        raise InputError(
            f"{len(pairs)} of {len(every)} photographs in {setting.photos} have a mask in "
            f"{setting.masks}, and {len(scenes)} of these mark what the network sees; two are "
            "needed. Masks are named as the photographs, and white on the object."
        )
    said = (
        f"{len(scenes)} of {len(every)} photographs, which have masks; the predicted class is "
        "explained. They show one object each, so that there is no other one to tell it from."
    )
    return Scenes(scenes, False, [said])


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _PICTURES


def _backgrounds(*, textured: bool = True) -> list[Pixels]:
    """Make plain grey, and scikit-image's photographs of grass, gravel and bricks."""
    plain = np.full((SIZE, SIZE, 3), _GREY, np.uint8)
    if not textured:
        return [plain]
    with needs("metrics", "Textures for backgrounds"):
        from skimage import data
    # Every second pixel of the first 448.
    greys = [one()[: 2 * SIZE : 2, : 2 * SIZE : 2] for one in (data.grass, data.gravel, data.brick)]
    return [plain, *(np.repeat(grey[..., None], 3, axis=2) for grey in greys)]


def _batches(items: Iterable[Item], size: int = _AT_ONCE) -> Iterator[list[Item]]:
    """Take some at a time."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
