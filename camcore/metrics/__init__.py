"""Metrics: whether a score follows a map, what it points at, and how far two maps are apart."""

from camcore.metrics.agreement import (
    Pair,
    largest_difference,
    pearson,
    spearman,
    ssim,
    top_overlap,
)
from camcore.metrics.boxes import boxes_of, mask_of
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
from camcore.metrics.ranking import order_of, tied_share
from camcore.metrics.removal import Road, road
from camcore.metrics.subsets import faithfulness_correlation, infidelity, irof, sensitivity_n

__all__ = [
    "Curve",
    "LinearImputer",
    "Pair",
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
    "faithfulness_correlation",
    "gain",
    "increase_in_confidence",
    "increased",
    "infidelity",
    "insertion",
    "irof",
    "largest_difference",
    "mask_of",
    "masked_scores",
    "order_of",
    "pearson",
    "road",
    "sensitivity_n",
    "spearman",
    "ssim",
    "tied_share",
    "top_overlap",
    "win",
]
