"""Join the maps of layers of several sizes, from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import ScoreImages, one_of, shaped
from camcore.methods.masking import Masking, score_weighted
from camcore.methods.table import described, register
from camcore.postprocess import relu
from camcore.resize import LINEAR, Interpolation, resize
from camcore.targets import Class, Probability, Scored

Change: TypeAlias = Literal["increase", "decrease", "both"]

CLIPPED: Final = Masking(scaled="before", outliers=0.1, weights="score")
"""A channel between its 0.1th and 99.9th percentile, scaled to [0, 1] and then enlarged."""

_LEAST: Final = 1e-12


class ShareOfClass(Probability):
    """The probability of a class; of a model that gives one number, the number itself."""

    def __call__(self, outputs: Array) -> Scored:
        """Score the probability, as `Probability` does, or the number."""
        if self.class_scores(outputs).shape[1] > 1:
            return super().__call__(outputs)
        return Class(self.index)(outputs)


@described("The probability of the class")
def of_class(target: Any) -> Any:
    """Explain a class by its probability; another target stays as it is."""
    return ShareOfClass(target.index, rank=target.rank) if type(target) is Class else target


@register(
    "polycam",
    "Poly-CAM",
    ("layers_activations", "images", "scores", "score_images"),
    "1 + 2 x channels of every layer",
    "Englebert et al., ICPR 2022",
    level="scales",
    joins="refined",
    aim=of_class,
)
@described(
    "P_l = C_l / up(down(C_l)) · up(P_(l+1)), C_l = relu(Σ_c w_c A_c), "
    "w_c = relu(p(x · m_c) + p(x) − p(x · (1 − m_c)))"
)
def polycam(
    layers_activations: Sequence[Array],
    images: Array,
    scores: Array,
    score_images: ScoreImages,
    *,
    change: Change = "both",
    channels: int | None = None,
    masking: Masking = CLIPPED,
    interpolation: Interpolation = LINEAR,
    batch_size: int = 32,
    progress: bool | None = None,
) -> list[Array]:
    """Compute Poly-CAM: P_l = C_l / up(down(C_l)) · up(P_(l+1)), from the last layer to the first.

    C_l = relu(Σ_c w_c A_c) is a layer's own map. It is divided by itself as the next, coarser
    layer would show it, so that what it adds is where within each of that layer's places the
    evidence lies, and not how much there is.

    Parameters
    ----------
    layers_activations : sequence of (B, C, *S) array
        What each layer returns, from the largest map to the smallest.
    images : (B, C, *S) array
        The model's input.
    scores : (B,) array
        p, the score of each image: of a class, its probability.
    score_images : callable
        Scores of altered inputs.
    change : {"increase", "decrease", "both"}
        A channel's weight, of its mask m: p(x · m), as in PCAM+; relu(p(x) − p(x · (1 − m))), as in
        PCAM−; or relu(p(x · m) + p(x) − p(x · (1 − m))), as in PCAM±.
    channels : int, optional
        How many channels of each layer to score, those of largest variance over space; left
        out, all.
    masking : Masking
        How channels become masks.
    interpolation : Interpolation
        How a map is brought to another layer's size.
    batch_size : int
        How many masked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    list of (B, *S) array
        P_l of each layer, in the order of the layers, nowhere negative: the first is Poly-CAM, and
        the last Score-CAM with probabilities for weights.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, layers do not go from large to small, or an option is out of range.

    References
    ----------
    Englebert, Cornu and De Vleeschouwer, "Poly-CAM: High resolution class activation map for
    convolutional neural networks", ICPR 2022, whose text could not be had here; after the authors'
    code, github.com/aenglebert/polycam. Their masks are divided by the 99.9th percentile without
    the 0.1th taken off it, and a channel that is constant is scored as well: recipe ``authors``.
    """
    one_of(Change, change=change)
    _check_order(layers_activations)
    given = shaped(scores, (len(images),), "scores")

    def weigh(sample: int, _: Array, masks: Array) -> Array:
        image, masks = images[sample], masks[:, None]
        weights = np.zeros(len(masks))
        if change != "decrease":
            weights += shaped(score_images(sample, image * masks), weights.shape, _ALTERED)
        if change == "increase":
            return weights
        without = shaped(score_images(sample, image * (1 - masks)), weights.shape, _ALTERED)
        weights += given[sample] - without
        return np.maximum(weights, 0, out=weights)

    found: list[Array] = []
    about = (weigh, "Poly-CAM", batch_size, progress, masking, channels)
    for activations in reversed(layers_activations):
        own = relu(score_weighted(activations, images, *about))
        found.append(refined(own, found[-1], interpolation) if found else own)
    return found[::-1]


_ALTERED: Final = "Scores of altered images"


def refined(fine: Array, coarse: Array, interpolation: Interpolation = LINEAR) -> Array:
    """Show within each place of a coarse map where a finer one has its evidence.

    Parameters
    ----------
    fine, coarse : (B, *S) array
        Maps without negative values.
    interpolation : Interpolation
        How they are brought to each other's size.

    Returns
    -------
    (B, *S) array
        Of the finer one's size: f / up(down(f)) · up(c).
    """
    size = fine.shape[1:]
    seen_coarsely = resize(resize(fine, coarse.shape[1:], interpolation), size, interpolation)
    within = fine / np.maximum(seen_coarsely, fine.dtype.type(_LEAST))
    return relu(within * resize(coarse, size, interpolation))


def _check_order(layers: Sequence[Array]) -> None:
    """Refuse layers that are not from the largest map to the smallest.

    Raises
    ------
    InputError
        They are not, or there are none.
    """
    sizes = [np.shape(one)[2:] for one in layers]
    if not sizes or any(
        len(a) != len(b) or any(m < n for m, n in zip(a, b, strict=True))
        for a, b in pairwise(sizes)
    ):
        raise InputError(
            f"Poly-CAM goes through layers from the largest map to the smallest; got {sizes}. Name "
            "them in this order, or leave them out."
        )
