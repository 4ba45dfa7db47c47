"""Targets: what is explained, a score per sample and its cotangent in the model's outputs.

A target is a seed, not framework code. Given the outputs it returns the score
and the derivative of that score with respect to the outputs; an adapter only
pulls that derivative back. So each target is written once, in NumPy, and works
in every framework.
"""

from camcore.targets.base import Combination, Nothing, Scored, Target
from camcore.targets.classes import (
    Class,
    Contrast,
    Counterfactual,
    LogProbability,
    Probability,
)
from camcore.targets.convert import Each, TargetLike, as_target, top
from camcore.targets.dense import Linear, Segmentation, Similarity
from camcore.targets.detection import Box
from camcore.targets.detection_formats import Detections, Part
from camcore.targets.names import class_index
from camcore.targets.scale import softmax
from camcore.targets.tokens import Token

__all__ = [
    "Box",
    "Class",
    "Combination",
    "Contrast",
    "Counterfactual",
    "Detections",
    "Each",
    "Linear",
    "LogProbability",
    "Nothing",
    "Part",
    "Probability",
    "Scored",
    "Segmentation",
    "Similarity",
    "Target",
    "TargetLike",
    "Token",
    "as_target",
    "class_index",
    "softmax",
    "top",
]
