"""Metrics: whether a score follows a map, what it points at, and how far two maps are apart."""

from camcore.metrics.agreement import (
    SIMILARITIES,
    Pair,
    find_similarity,
    hog_similarity,
    largest_difference,
    pearson,
    spearman,
    ssim,
    top_overlap,
)
from camcore.metrics.boxes import boxes_of, mask_of
from camcore.metrics.faithfulness import (
    Curve,
    average_drop,
    deletion,
    increase_in_confidence,
    insertion,
    masked_scores,
    win,
)

__all__ = [
    "SIMILARITIES",
    "Curve",
    "Pair",
    "average_drop",
    "boxes_of",
    "deletion",
    "find_similarity",
    "hog_similarity",
    "increase_in_confidence",
    "insertion",
    "largest_difference",
    "mask_of",
    "masked_scores",
    "pearson",
    "spearman",
    "ssim",
    "top_overlap",
    "win",
]
