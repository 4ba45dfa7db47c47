"""A network that knows three colours, and cut-out objects of these colours."""

from __future__ import annotations

import numpy as np
from PIL import Image

from camcore.photos.preprocessing import Preprocessing
from camcore.registry import LoadedModel
from camcore.studies.scenes import LAYERS, Network
from camcore.testing import Conv, Dense, GlobalAveragePool, NumpyAdapter, ReLU

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
"""Classes 0, 1 and 2; class 3 is that of what has no colour."""


def colour_network() -> Network:
    """Score a class by how much of its colour the picture has; grey has none of any."""
    mixed = 1.5 * np.eye(3) - 0.5
    model = NumpyAdapter(
        conv=Conv(mixed[:, :, None, None], np.full(3, -0.05)),
        relu=ReLU(),
        pool=GlobalAveragePool(),
        fc=Dense(np.vstack([25 * np.eye(3), np.zeros(3)]), np.array([0.0, 0, 0, 1])),
    )
    prepare = Preprocessing(224, mode="tf").prepare
    loaded = LoadedModel(model, prepare, size=224, resize=224, activation="softmax")
    return Network(loaded, dict.fromkeys(LAYERS, "relu"))


def disc(colour, side=80):
    """A disc of one colour, transparent around it, ``(side, side, 4)``."""
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[rows**2 + columns**2 <= (side / 2) ** 2] = (*colour, 255)
    return pixels


def write_discs(folder, count=24):
    """Write discs of the three colours in turn, every sixth of another colour than the last."""
    folder.mkdir(exist_ok=True)
    names = list(COLOURS)
    for number in range(count):
        name = names[(number // 6) % 3]
        Image.fromarray(disc(COLOURS[name])).save(folder / f"{number:02}-{name}.png")
    return folder
