"""Score altered images, in batches that are filled across samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import ScoreImages, at_least_one, floating, shaped


class Scorer:
    """Scores altered images, and counts the forward passes.

    Parameters
    ----------
    score_images : callable
        ``score_images(sample, images)`` gives the scores ``(N,)`` of N alterations
        ``(N, C, *S)`` of one sample's input. Where it has a method ``many(samples, images)``,
        which takes the sample of each, as that of `camcore.evidence.Rerun` does, a batch holds
        images of several samples.
    batch_size : int
        How many altered images are scored at once.

    Raises
    ------
    InputError
        `score_images` is no such callable.
    MethodError
        `batch_size` is below 1.
    """

    def __init__(self, score_images: ScoreImages, batch_size: int = 32) -> None:
        at_least_one(batch_size=batch_size)
        _check_scores_images(score_images)
        self._one = score_images
        self._many = getattr(score_images, "many", None)
        self._batch_size = batch_size
        self.forwards = 0

    def __call__(self, altered: Iterable[tuple[int, Array]]) -> npt.NDArray[np.float64]:
        """Score images as they come; no more than a batch of them is held.

        Parameters
        ----------
        altered : iterable of (int, (C, *S) array)
            Each with the sample that it is an alteration of. The array is copied before the
            next one is asked for, so that it may be altered further in place.

        Returns
        -------
        (N,) float64 array

        Raises
        ------
        InputError
            An answer is not one finite number for each image.
        """
        scores: list[npt.NDArray[np.float64]] = []
        samples: list[int] = []
        batch: Array = np.empty(0)
        for sample, image in altered:
            if not scores and not samples:
                batch = np.empty((self._batch_size, *image.shape), image.dtype)
            if samples and self._many is None and sample != samples[0]:
                scores.append(self._score(samples, batch))
                samples = []
            batch[len(samples)] = image
            samples.append(sample)
            if len(samples) == self._batch_size:
                scores.append(self._score(samples, batch))
                samples = []
        if samples:
            scores.append(self._score(samples, batch))
        return np.concatenate(scores) if scores else np.empty(0)

    def _score(self, samples: list[int], batch: Array) -> npt.NDArray[np.float64]:
        # What is scored may be kept by whoever scores it; the batch is filled again.
        images = batch[: len(samples)].copy()
        same = len(set(samples)) == 1
        if self._many is None or same:
            answer = self._one(samples[0], images)
        else:
            answer = self._many(np.array(samples), images)
        self.forwards += len(samples)
        return shaped(answer, (len(samples),), "Scores of altered images").astype(np.float64)


def checked(
    images: npt.ArrayLike, maps: npt.ArrayLike, *, any_size: bool = False
) -> tuple[Array, Array]:
    """Read images as floating numbers, and maps that fit them.

    Maps of `any_size` may have another size than the images, as a layer's have.

    Raises
    ------
    InputError
        They do not fit one another, or are not finite.
    """
    if hasattr(maps, "maps"):
        raise InputError("An explanation was given in place of its maps: give explanation.maps.")
    images, maps = finite(floating(np.asarray(images), "images"), "Images"), np.asarray(maps)
    size = images.shape[2:]
    fits = maps.ndim >= 2 and len(maps) == len(images) and (any_size or maps.shape[1:] == size)
    if not fits:
        expected = "(B, C, *S) and (B, *S)" if not any_size else "(B, C, *S) and a map for each"
        smaller = not any_size and maps.ndim == images.ndim - 1 and len(maps) == len(images)
        bring = f" explanation.at({size}).maps brings maps to the images' size." if smaller else ""
        raise InputError(
            f"Images of shape {images.shape} and maps of shape {maps.shape} do not fit one "
            f"another; pass {expected}.{bring}"
        )
    return images, finite(maps, "Maps")


def _check_scores_images(score: object) -> None:
    """Refuse a model where a function of a sample's index and its images is meant."""
    if not callable(score) or hasattr(score, "parameters") or hasattr(score, "layers"):
        raise InputError(
            f"score_images is a function of a sample's index and of images; got a "
            f"{type(score).__name__}. Give camcore.Explainer(model).evidence(images).score_images."
        )
