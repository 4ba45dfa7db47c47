"""Small NumPy models that the command line finds as ``tiny_models:FUNCTION``."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from camcore.testing import Conv, Dense, GlobalAveragePool, NumpyAdapter, random_network
from camcore.zoo import LoadedModel

CLASSES = ("tabby", "tiger cat", "espresso", "crane", "crane")


SEED = 4
"""Weights whose maps are not all zeros."""


def preprocess(photo):
    """Red and green of an 8 by 8 photograph, in [-1, 1]."""
    return np.moveaxis(photo[None, ..., :2] / 127.5 - 1, -1, 1)


def named(seed: int = SEED, **changes) -> LoadedModel:
    about = {"size": 8, "resize": 10, "classes": CLASSES, "pretrained": True}
    about["activation"] = "softmax"
    return LoadedModel(random_network(seed=seed), preprocess, **{**about, **changes})


def raw() -> LoadedModel:
    """Scores of which nothing is known."""
    return named(activation=None)


def alone() -> LoadedModel:
    """One number, and names of two classes."""
    network = random_network(seed=SEED)
    head = network.ops["fc"]
    network.ops["fc"] = type(head)(head.weights[:1], head.bias[:1])
    return replace(raw(), model=network, classes=("cat", "dog"))


def other() -> LoadedModel:
    return named(seed=1)


def slow() -> LoadedModel:
    """Time enough for a run over many photographs to be stopped midway."""

    def unhurried(photo):
        time.sleep(0.004)
        return preprocess(photo)

    return replace(named(), preprocess=unhurried)


def untrained() -> LoadedModel:
    return named(pretrained=False, classes=None)


def bare() -> NumpyAdapter:
    """Return the mean of each colour."""
    each = np.eye(3)
    return NumpyAdapter(
        same=Conv(each[..., None, None], np.zeros(3)),
        pool=GlobalAveragePool(),
        fc=Dense(each, np.zeros(3)),
    )
