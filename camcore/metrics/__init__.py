"""Metrics: whether a score follows a map, and how far two maps are apart."""

from camcore.metrics.agreement import (
    Pair,
    largest_difference,
    pearson,
    spearman,
    ssim,
    top_overlap,
)
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
    "Curve",
    "Pair",
    "average_drop",
    "deletion",
    "increase_in_confidence",
    "insertion",
    "largest_difference",
    "masked_scores",
    "pearson",
    "spearman",
    "ssim",
    "top_overlap",
    "win",
]
