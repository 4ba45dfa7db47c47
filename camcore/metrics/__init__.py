"""Metrics: whether a score follows a map, what it points at, and how far two maps are apart.

And whether a map depends on the network at all, with maps that do not, as controls.
"""

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
from camcore.metrics.controls import (
    CONTROLS,
    Control,
    centre_maps,
    edge_maps,
    ones_maps,
    random_maps,
    reversed_maps,
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
from camcore.metrics.robustness import (
    average_sensitivity,
    coherency,
    max_sensitivity,
    other_classes,
    random_logit,
)
from camcore.metrics.sanity import (
    Randomiser,
    Sanity,
    efficient_mprt,
    model_parameter_randomisation,
    permuted,
    randomiser,
    smooth_mprt,
)

__all__ = [
    "CONTROLS",
    "SIMILARITIES",
    "Control",
    "Curve",
    "Pair",
    "Randomiser",
    "Sanity",
    "average_drop",
    "average_sensitivity",
    "boxes_of",
    "centre_maps",
    "coherency",
    "deletion",
    "edge_maps",
    "efficient_mprt",
    "find_similarity",
    "hog_similarity",
    "increase_in_confidence",
    "insertion",
    "largest_difference",
    "mask_of",
    "masked_scores",
    "max_sensitivity",
    "model_parameter_randomisation",
    "ones_maps",
    "other_classes",
    "pearson",
    "permuted",
    "random_logit",
    "random_maps",
    "randomiser",
    "reversed_maps",
    "smooth_mprt",
    "spearman",
    "ssim",
    "top_overlap",
    "win",
]
