"""XRAI: an attribution at the input, gathered in the image's regions."""

from __future__ import annotations

import numpy as np

from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.errors import InputError, MethodError
from camcore.methods.arrays import at_least_one, floating, per_sample
from camcore.methods.attribution import ImageGradients, average_on_path
from camcore.methods.table import described, register

SCALES = (50, 100, 150, 250, 500, 1200)
"""Of the segmentations, from small regions to large ones."""

SIDE = 224
"""Images are segmented at this size, which the scales are meant for."""

DILATION = 5
"""By how many positions regions grow, so that their edges are in them."""


@register(
    "xrai",
    "XRAI",
    ("images", "gradients_at"),
    "1 + 2 x steps x (1 + backward)",
    "Kapishnikov et al., ICCV 2019",
    level="input",
)
@described("at each place the mean of max_c IG_c over the region that first covers it")
def xrai(
    images: Array,
    gradients_at: ImageGradients,
    *,
    steps: int = 100,
    regions: Array | None = None,
    min_pixels: int = 50,
    progress: bool | None = None,
) -> Array:
    """Compute XRAI: the mean of integrated gradients over the region that first covers a place.

    Integrated gradients from the image's darkest and from its brightest value are averaged, and
    max_c joins their channels. Then regions are taken one after the other: the next is that
    whose places not yet covered have the largest mean, and they all get that mean.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    gradients_at : callable
        The target's gradients at other inputs.
    steps : int
        Points on each of the two paths, both ends among them and counted alike.
    regions : (N, *S) bool array, optional
        Regions of every image, which may overlap. Left out, those of six segmentations of each
        image by Felzenszwalb and Huttenlocher's algorithm, which needs two spatial axes and
        scikit-image.
    min_pixels : int
        A region that covers fewer new places than this is passed over; what no region covers gets
        its own mean.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map at the input's size, constant within each region's share; it sums to what
        max_c of the integrated gradients sums to.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.
    MissingExtraError
        There are no regions, and scikit-image is not installed.

    References
    ----------
    Kapishnikov et al., "XRAI: Better Attributions Through Regions", ICCV 2019, algorithm 1;
    what the paper leaves open as in the authors' ``saliency``.
    """
    images = floating(images, "images")
    at_least_one(steps=steps, min_pixels=min_pixels)
    if steps < 2:
        raise MethodError(f"steps={steps}; a path has at least its 2 ends. Give 2 or more.")
    own = None if regions is None else _checked(regions, images)
    if own is None and images.ndim != 4:
        raise MethodError(
            "XRAI segments images of two spatial axes by itself; these are of "
            f"{images.ndim - 2}. Give regions=, an array (N, *spatial) of bool."
        )
    each = [segmented(image) if own is None else own for image in images]
    for found in each:
        largest = int(found.reshape(len(found), -1).sum(axis=1).max())
        if largest < min_pixels:
            raise MethodError(
                f"min_pixels={min_pixels}; the largest of the regions has {largest} places, so "
                "that none would be taken. Give a smaller number."
            )
    total = np.zeros(images.shape)
    values = images.reshape(len(images), -1)
    for extreme in (values.min(axis=1), values.max(axis=1)):
        start, alike = per_sample(extreme, images), np.full(steps, 1 / steps)
        places = np.linspace(0, 1, steps)
        difference, average = average_on_path(
            images, gradients_at, places, alike, start, progress, label="XRAI"
        )
        total += difference * average / 2
    maps = [
        gathered(one.max(axis=0), found, min_pixels) for one, found in zip(total, each, strict=True)
    ]
    return np.stack(maps).astype(images.dtype)


def _checked(regions: Array, images: Array) -> Array:
    """Refuse regions that do not lie over the images.

    Raises
    ------
    InputError
        Says what came.
    """
    regions = np.asarray(regions)
    if regions.dtype != bool or regions.shape[1:] != images.shape[2:] or not len(regions):
        raise InputError(
            f"regions must be an array of bool (N, {', '.join(map(str, images.shape[2:]))}); got "
            f"{regions.dtype} {regions.shape}."
        )
    return regions


def gathered(attribution: Array, regions: Array, min_pixels: int) -> Array:
    """Give each place the mean attribution of what the region that first covers it adds.

    Parameters
    ----------
    attribution : (*S) array
        Of each place.
    regions : (N, *S) bool array
        What is taken one after the other, the largest mean over places not yet covered first.
    min_pixels : int
        How many places a region must add.

    Returns
    -------
    (*S) float64 array
    """
    values, members = attribution.ravel().astype(np.float64), regions.reshape(len(regions), -1)
    result, left = np.empty_like(values), np.ones(values.shape, bool)
    counts = members.sum(axis=1)
    sums = np.array([values[own].sum() for own in members])
    while (enough := np.flatnonzero(counts >= min_pixels)).size:
        best = enough[np.argmax(sums[enough] / counts[enough])]
        added = np.flatnonzero(members[best] & left)
        result[added] = values[added].mean()
        left[added] = False
        counts -= members[:, added].sum(axis=1)
        sums -= members[:, added] @ values[added]
    if left.any():
        result[left] = values[left].mean()
    return result.reshape(attribution.shape)


def segmented(image: Array) -> Array:
    """Segment an image at several scales, and let the regions overlap at their edges.

    Parameters
    ----------
    image : (C, H, W) array
        In any range: it is scaled to [-1, 1].

    Returns
    -------
    (N, H, W) bool array

    Raises
    ------
    MissingExtraError
        scikit-image is not installed.
    """
    with needs("metrics", "segmenting images"):
        from skimage.morphology import dilation, disk
        from skimage.segmentation import felzenszwalb
        from skimage.transform import resize
    seen = np.moveaxis(image.astype(np.float64), 0, -1)
    low, high = seen.min(), seen.max()
    seen = np.divide(seen - low, high - low, out=np.zeros_like(seen), where=high > low) * 2 - 1
    alike = {"preserve_range": True, "mode": "constant"}
    seen = resize(seen, (SIDE, SIDE), order=3, anti_aliasing=True, **alike)
    found = []
    for scale in SCALES:
        labels = felzenszwalb(seen, scale=scale, sigma=0.8, min_size=150)
        labels = resize(labels, image.shape[1:], order=0, anti_aliasing=False, **alike).astype(int)
        found += [dilation(labels == one, footprint=disk(DILATION)) for one in np.unique(labels)]
    return np.stack(found)
