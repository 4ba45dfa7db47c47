"""Signed maps in colour: red speaks for what is explained, blue against it, zero is neither."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.resize import LINEAR, resize
from camcore.viz.overlay import Floats, Picture, Table, as_images

DIVERGING = "RdBu_r"
_STEPS = 255  # odd, so that zero has a colour of its own


def signed_map(
    maps: npt.ArrayLike,
    size: tuple[int, int] | None = None,
    *,
    limit: float | None = None,
    colormap: str = DIVERGING,
) -> Picture:
    """Colour signed maps on a scale whose middle is zero.

    Parameters
    ----------
    maps : (B, h, w) or (h, w) array
        Any finite values, such as an explanation's raw maps.
    size : (H, W), optional
        Brought to this size by linear interpolation; the maps' own unless given.
    limit : float, optional
        The absolute value of the strongest colours; beyond it nothing gets stronger. The
        largest in the batch unless given.
    colormap : str
        A diverging colour map of matplotlib.

    Returns
    -------
    (B, H, W, 3) uint8 array
        RGB.

    Raises
    ------
    InputError
        Shapes or values that are no maps, no limit, or no colour map of that name.
    MissingExtraError
        matplotlib is not installed.
    """
    values = resized(maps, size)
    return _coloured(values, _reach(values, limit), colormap)


def signed_overlay(
    images: npt.ArrayLike,
    maps: npt.ArrayLike,
    *,
    limit: float | None = None,
    alpha: float = 0.85,
    colormap: str = DIVERGING,
) -> Picture:
    """Lay signed maps over their images, which turn grey so that every colour is a sign.

    Parameters
    ----------
    images : (B, H, W, 3) or (H, W, 3) array
        RGB, uint8 or floating in [0, 1]. One image serves any number of maps.
    maps : (B, h, w) or (h, w) array
        Any finite values; brought to the image's size.
    limit : float, optional
        As `signed_map` takes it.
    alpha : float in [0, 1]
        The weight of a colour at the limit; it falls with the square root to nothing at zero.
    colormap : str
        A diverging colour map of matplotlib.

    Returns
    -------
    (B, H, W, 3) uint8 array
        RGB.

    Raises
    ------
    InputError
        As `signed_map`, or the images do not match the maps in number.
    MissingExtraError
        matplotlib is not installed.
    """
    photos = as_images(images)
    values = resized(maps, photos.shape[1:3])
    if len(photos) not in (1, len(values)):
        raise InputError(
            f"{len(photos)} images and {len(values)} maps; pass one map for each image, "
            "or one image for all maps"
        )
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; it is a weight between 0 and 1")
    reach = _reach(values, limit)
    # ITU-R BT.601, as OpenCV and Pillow turn colours into grey.
    grey = (photos @ np.asarray([0.299, 0.587, 0.114], np.float32))[..., None]
    weight = alpha * np.sqrt(np.minimum(np.abs(values) / np.float32(reach), 1))[..., None]
    mixed = (1 - weight) * grey + weight * _coloured(values, reach, colormap)
    return np.rint(mixed).astype(np.uint8)


def resized(maps: npt.ArrayLike, size: tuple[int, ...] | None) -> Floats:
    """Signed maps ``(B, h, w)`` or ``(h, w)`` as ``(B, H, W)`` float32.

    Raises
    ------
    InputError
        Another shape, or not finite.
    """
    values = np.asarray(maps, dtype=np.float32)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or 0 in values.shape:
        raise InputError(f"signed maps of shape {np.shape(maps)}; expected (B, H, W) or (H, W)")
    if not np.isfinite(values).all():
        raise InputError("signed maps hold NaN or infinity, which has no colour")
    if size is None or values.shape[1:] == tuple(size):
        return values
    return np.asarray(resize(values, tuple(size), LINEAR), dtype=np.float32)


def _reach(values: Floats, limit: float | None) -> float:
    if limit is not None and not (0 < limit < np.inf):
        raise InputError(f"limit is {limit}; expected the absolute value of the strongest colour")
    return limit or float(np.abs(values).max()) or 1.0


def _coloured(values: Floats, reach: float, colormap: str) -> Picture:
    steps = np.rint(np.clip(values / np.float32(reach), -1, 1) * (_STEPS // 2)).astype(int)
    colours: Picture = np.rint(255 * diverging_table(colormap)).astype(np.uint8)
    picture: Picture = colours[steps + _STEPS // 2]
    return picture


@lru_cache(maxsize=8)
def diverging_table(name: str = DIVERGING) -> Table:
    """The 255 colours of a diverging colour map of matplotlib; the 128th stands for zero.

    Returns
    -------
    (255, 3) read-only array
        RGB in [0, 1].

    Raises
    ------
    InputError
        There is no colour map of that name.
    MissingExtraError
        matplotlib is not installed.
    """
    with needs("viz", "matplotlib's colour maps"):
        import matplotlib
    if name not in matplotlib.colormaps:
        raise InputError(
            f"matplotlib has no colour map {name!r}; try a diverging one: RdBu_r, coolwarm, PuOr_r"
        )
    colours = matplotlib.colormaps[name].resampled(_STEPS)(np.arange(_STEPS))[:, :3]
    table: Table = np.array(colours)
    table.setflags(write=False)
    return table
