"""What the metrics of one method's maps share: a batch, its scores, and what is worked out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.metrics import box_accuracy, faithfulness, removal, robustness


class Counted:
    """Scores altered images, and counts them.

    Parameters
    ----------
    score_images : callable
        As `camcore.evidence.Rerun.score_images` gives it.
    """

    def __init__(self, score_images: Any) -> None:
        self._score_images = score_images
        self.forwards = 0
        if hasattr(score_images, "many"):
            self.many = self._many

    def __call__(self, sample: int, images: Array) -> Array:
        """Score N alterations of one sample's input."""
        self.forwards += len(images)
        scores: Array = self._score_images(sample, images)
        return scores

    def _many(self, samples: npt.NDArray[np.int64], images: Array) -> Array:
        self.forwards += len(images)
        scores: Array = self._score_images.many(samples, images)
        return scores


@dataclass(frozen=True, eq=False)
class Case:
    """One method's maps of a batch, and what its metrics have in common, worked out once.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    maps : (B, *S) array
        In [0, 1].
    score_images : Counted
        Scores of altered inputs, which are probabilities.
    explain_images : callable
        ``explain_images(sample, images)`` gives the same method's maps ``(N, *S)`` of N
        alterations of one sample's input.
    scores : (B,) array
        Of the images themselves.
    masks : (B, *S) bool array or None
        Where the object is.
    boxes : sequence of (n, 4) int array, or None
        First and last pixels in the boxes of each sample's objects.
    right : (B,) bool array or None
        Whether the model's first class is the one that was asked for.
    steps : int
        Of deletion and insertion.
    batch_size : int
        How many images are scored at once.
    seed : int
        Of whatever is drawn.
    known : dict
        Scores of the baselines, which the cases of a batch may share.
    """

    images: Array
    maps: Array
    score_images: Counted
    explain_images: robustness.ExplainImages
    scores: Array
    masks: Array | None = None
    boxes: Sequence[Array] | None = None
    right: Array | None = None
    steps: int = 50
    batch_size: int = 32
    seed: int = 0
    known: dict[str, Array] = field(default_factory=dict, repr=False)

    @cached_property
    def masked(self) -> Array:
        """Scores of the images under their maps, ``(B,)``."""
        return faithfulness.masked_scores(*self.scored, batch_size=self.batch_size)

    @cached_property
    def coherency(self) -> Array:
        """How alike the maps of images and of images under their maps are, ``(B,)``."""
        masked = self.images * self.maps[:, None].astype(self.images.dtype)
        again = [self.explain_images(i, one[None])[0] for i, one in enumerate(masked)]
        return robustness.coherency(self.maps, np.stack(again))

    @cached_property
    def road(self) -> removal.Road:
        """Scores without the most and the least relevant positions."""
        return removal.road(*self.scored, **self.options)

    def curve(self, way: Literal["deletion", "insertion"]) -> faithfulness.Curve:
        """Trace deletion or insertion, whose ends are the same for every method of a batch."""
        whole, bare = ("start", "end") if way == "deletion" else ("end", "start")
        ends: dict[str, Any] = {whole: self.scores, bare: self.known.get(way)}
        ends["steps"] = min(self.steps, self.maps[0].size)
        trace: Callable[..., faithfulness.Curve] = (
            faithfulness.deletion if way == "deletion" else faithfulness.insertion
        )
        curve = trace(*self.scored, **ends, **self.options)
        self.known[way] = curve.scores[:, -1 if way == "deletion" else 0]
        return curve

    @property
    def scored(self) -> tuple[Array, Array, Counted]:
        """Images, maps and scores, as metrics of faithfulness take them."""
        return self.images, self.maps, self.score_images

    @property
    def options(self) -> dict[str, Any]:
        """Size of batches and seed, as metrics take them."""
        return {"batch_size": self.batch_size, "seed": self.seed}

    @cached_property
    def box_accuracy(self) -> box_accuracy.BoxAccuracy:
        """How well the boxes around maps fit those of objects, at each threshold."""
        thresholds = np.arange(0, 1, 0.001).tolist()  # of wsolevaluation, to the last bit
        return box_accuracy.max_box_accuracy(self.maps, self.objects, thresholds=thresholds)

    @property
    def objects(self) -> Sequence[Array]:
        """The boxes.

        Raises
        ------
        InputError
            There are none.
        """
        if self.boxes is None:
            raise InputError(
                "Localisation by boxes asks where the objects' are: give boxes=..., left, top, "
                "right, bottom of each sample's objects."
            )
        return self.boxes

    @property
    def where(self) -> Array:
        """The masks.

        Raises
        ------
        InputError
            There are none.
        """
        if self.masks is None:
            raise InputError(
                "Localisation asks where the object is: give masks=..., (B, *S) of the input's "
                "size, True on the object; or boxes=..., left, top, right, bottom of objects."
            )
        return self.masks
