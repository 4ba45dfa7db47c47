"""What the metrics of one method's maps share: a batch, its scores, and what is worked out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import batches
from camcore.metrics import box_accuracy, faithfulness, removal, robustness
from camcore.metrics.faithfulness import Curve
from camcore.metrics.feeds import BASELINES, Feed, Way, curve_images, road_images


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
        alterations of one sample's input. Where it has a method ``many(samples, images)``, which
        takes the sample of each, those of several samples are explained at once.
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
    curves : dict of str to Curve
        What was traced, for its metrics, so far: ``"deletion"``, ``"insertion"``,
        ``"road_most"`` and ``"road_least"``.
    feeds : dict of str to callable
        What makes the images again that were scored for each of these curves.
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
    curves: dict[str, Curve] = field(default_factory=dict, repr=False)
    feeds: dict[str, Feed] = field(default_factory=dict, repr=False)

    @cached_property
    def masked(self) -> Array:
        """Scores of the images under their maps, ``(B,)``."""
        return faithfulness.masked_scores(*self.scored, batch_size=self.batch_size)

    @cached_property
    def coherency(self) -> Array:
        """How alike the maps of images and of images under their maps are, ``(B,)``."""
        masked = self.images * self.maps[:, None].astype(self.images.dtype)
        return robustness.coherency(self.maps, self._explained(masked))

    def _explained(self, altered: Array) -> Array:
        """Explain an alteration of each sample, in batches of several where that can be had."""
        many = getattr(self.explain_images, "many", None)
        if many is None:
            return np.concatenate([self.explain_images(i, a[None]) for i, a in enumerate(altered)])
        parts = batches(range(len(altered)), self.batch_size)
        return np.concatenate([many(np.array(part), altered[list(part)]) for part in parts])

    @cached_property
    def road(self) -> removal.Road:
        """Scores without the most and the least relevant positions."""
        return self.removed()

    def removed(self, **options: Any) -> removal.Road:
        """Score by `camcore.metrics.road`, and keep the two curves.

        Parameters
        ----------
        **options
            As `road` takes them.
        """
        options = {"noise": 0.01, "ties": "first", **options}
        images, maps, score = self.scored
        found = removal.road(images, maps, score, **options, **self.options)
        for name, scores in (("road_most", found.most), ("road_least", found.least)):
            assert scores is not None  # both are asked for
            self.curves[name] = Curve(found.shares, scores, 0, found.tied, found.empty)
            least = name == "road_least"
            self.feeds[name] = partial(road_images, least=least, seed=self.seed, **options)
        return found

    def curve(self, way: Way) -> Curve:
        """Trace deletion or insertion, whose ends are the same for every method of a batch."""
        whole, bare = ("start", "end") if way == "deletion" else ("end", "start")
        ends: dict[str, Any] = {whole: self.scores, bare: self.known.get(way)}
        curve = self.traced(way, steps=min(self.steps, self.maps[0].size), **ends)
        self.known[way] = curve.scores[:, -1 if way == "deletion" else 0]
        return curve

    def traced(self, way: Way, **options: Any) -> Curve:
        """Trace a curve by `camcore.metrics.deletion` or `insertion`, and keep it.

        Parameters
        ----------
        way : {"deletion", "insertion"}
            Which of the two.
        **options
            As these take them.
        """
        trace: Callable[..., Curve] = getattr(faithfulness, way)
        options = {"baseline": BASELINES[way], "ties": "first", **options}
        curve = trace(*self.scored, **options, **self.options)
        self.curves[way] = curve
        made_by = {name: options[name] for name in ("baseline", "ties")}
        self.feeds[way] = partial(curve_images, way=way, seed=self.seed, **made_by)
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
                "Localisation by boxes asks where the objects are: give boxes=..., left, top, "
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
