"""Metrics: whether a score follows a map, what it points at, and how far two maps are apart."""

from camcore.metrics.agreement import Pair, largest_difference, pearson, spearman, ssim, top_overlap
from camcore.metrics.box_accuracy import BoxAccuracy, max_box_accuracy, top1_localisation
from camcore.metrics.boxes import boxes_of, mask_of
from camcore.metrics.complexity import effective_complexity, entropy, l1_complexity, sparseness
from camcore.metrics.composite import adcc, arcc
from camcore.metrics.faithfulness import (
    Curve,
    average_drop,
    average_gain,
    deletion,
    drop,
    gain,
    increase_in_confidence,
    increased,
    insertion,
    masked_scores,
    win,
)
from camcore.metrics.imputation import LinearImputer, baseline_of, blurred
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
from camcore.metrics.ranking import order_of, tied_share
from camcore.metrics.removal import Road, road
from camcore.metrics.subsets import faithfulness_correlation, infidelity, irof, sensitivity_n

__all__ = [
    "BoxAccuracy",
    "Curve",
    "LinearImputer",
    "OverlapCurve",
    "Pair",
    "PixelHistograms",
    "Road",
    "adcc",
    "arcc",
    "average_drop",
    "average_gain",
    "baseline_of",
    "blurred",
    "boxes_of",
    "deletion",
    "drop",
    "effective_complexity",
    "energy_pointing_game",
    "entropy",
    "faithfulness_correlation",
    "gain",
    "grid_pointing_game",
    "increase_in_confidence",
    "increased",
    "infidelity",
    "insertion",
    "iou",
    "iou_curve",
    "irof",
    "l1_complexity",
    "largest_difference",
    "mask_of",
    "masked_scores",
    "max_box_accuracy",
    "order_of",
    "pearson",
    "pixel_histograms",
    "pointing_game",
    "px_ap",
    "relevance_rank",
    "road",
    "sensitivity_n",
    "sparseness",
    "spearman",
    "ssim",
    "tied_share",
    "top1_localisation",
    "top_overlap",
    "win",
]
