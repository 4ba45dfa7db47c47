"""Boxes and masks around what a map points at, as localisation is scored by."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError

Component: TypeAlias = Literal["largest", "all"]


def mask_of(heat: npt.ArrayLike, threshold: float = 0.5) -> npt.NDArray[np.bool_]:
    """Mark where a map reaches a share of its largest value.

    Parameters
    ----------
    heat : (*S) array
        One map, not negative.
    threshold : float in (0, 1]
        The share; 0.2 with CAM [1]_ and 0.15 with Grad-CAM [2]_, for boxes.

    Returns
    -------
    (*S) bool array
        All False of a map without evidence.

    Raises
    ------
    InputError
        The threshold is out of range, or the map is not finite or negative.

    References
    ----------
    .. [1] Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, sec. 4.
    .. [2] Selvaraju et al., "Grad-CAM", ICCV 2017, sec. 4.1.
    """
    values = np.asarray(heat)
    if not isinstance(threshold, (int, float, np.number)) or not 0 < threshold <= 1:
        said = repr(threshold) if isinstance(threshold, str) else threshold
        raise InputError(
            f"threshold={said}; expected a share of the map's largest value, above 0 and at most 1."
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise InputError("The map has values below 0 or not finite. Give one in [0, 1].")
    peak = values.max(initial=0)
    marked: npt.NDArray[np.bool_] = (values >= threshold * peak) & (peak > 0)
    return marked


def boxes_of(
    heat: npt.ArrayLike, threshold: float = 0.5, component: Component = "largest"
) -> npt.NDArray[np.int64]:
    """Find the boxes around what `mask_of` marks in a flat map.

    Parameters
    ----------
    heat : (H, W) array
        One map, not negative.
    threshold : float in (0, 1]
        As `mask_of` takes it.
    component : {"largest", "all"}
        The connected region with most pixels, or every region, largest first. Pixels that touch
        at a corner are connected.

    Returns
    -------
    (n, 4) int array
        ``left, top, right, bottom`` in pixels, right and bottom just beyond the region; none of
        a map without evidence.

    Raises
    ------
    InputError
        The map is not flat, or as `mask_of` raises it.
    MissingExtraError
        OpenCV is not installed.
    """
    if component not in get_args(Component):
        raise InputError(f"component={component!r}; expected 'largest' or 'all'.")
    marked = mask_of(heat, threshold)
    if marked.ndim != 2:
        raise InputError(f"A map of shape {marked.shape} has no boxes; give one of (H, W).")
    with needs("viz", "finding boxes"):
        import cv2
    _, _, found, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=8)
    # The first is all that is not marked.
    left, top, width, height, sizes = np.asarray(found[1:], np.int64).T
    boxes = np.stack([left, top, left + width, top + height], 1)
    order = np.argsort(-sizes, kind="stable")[: 1 if component == "largest" else None]
    kept: npt.NDArray[np.int64] = boxes[order]
    return kept
