"""Metrics: whether a score follows a map, what it points at, how complex, how far from another."""

from camcore.metrics.agreement import (
    Pair,
    largest_difference,
    pearson,
    spearman,
    ssim,
    top_overlap,
)
from camcore.metrics.box_accuracy import BoxAccuracy, max_box_accuracy, top1_localisation
from camcore.metrics.boxes import boxes_of, mask_of
from camcore.metrics.complexity import effective_complexity, entropy, l1_complexity, sparseness
from camcore.metrics.faithfulness import (
    Curve,
    average_drop,
    deletion,
    increase_in_confidence,
    insertion,
    masked_scores,
    win,
)
from camcore.metrics.localisation import (
    energy_pointing_game,
    grid_pointing_game,
    pointing_game,
    relevance_rank,
)
from camcore.metrics.overlap import (
    OverlapCurve,
    PixelHistograms,
    iou,
    iou_curve,
    pixel_histograms,
    px_ap,
)

__all__ = [
    "BoxAccuracy",
    "Curve",
    "OverlapCurve",
    "Pair",
    "PixelHistograms",
    "average_drop",
    "boxes_of",
    "deletion",
    "effective_complexity",
    "energy_pointing_game",
    "entropy",
    "grid_pointing_game",
    "increase_in_confidence",
    "insertion",
    "iou",
    "iou_curve",
    "l1_complexity",
    "largest_difference",
    "mask_of",
    "masked_scores",
    "max_box_accuracy",
    "pearson",
    "pixel_histograms",
    "pointing_game",
    "px_ap",
    "relevance_rank",
    "sparseness",
    "spearman",
    "ssim",
    "top1_localisation",
    "top_overlap",
    "win",
]
