"""Models that compute in half, brain and double precision, throughout or mixed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from architectures.convolutional import (
    channels_last_to_first,
    torch_images,
    torchvision,
)
from architectures.row import Architecture
from architectures.shapes_keras import backbone, headed, pictures, seeded

KIND = "Dtypes"


def in_torch(dtype: str) -> Any:
    """A torchvision network cast to a dtype."""
    import torch

    return torchvision("resnet18").to(getattr(torch, dtype))


def inputs_in_torch(batch: int, dtype: str) -> Any:
    """Noise in a dtype."""
    import torch

    return torch_images(batch).to(getattr(torch, dtype))


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Within, Keras makes layers of this policy."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def in_keras(name: str) -> Any:
    """A small network made under a policy."""
    keras = seeded()
    with policy(name):
        return headed(keras, backbone(keras))


def row(name: str, framework: Any, digits: float, **other: Any) -> Architecture:
    return Architecture(
        name=name,
        framework=framework,
        score=lambda outputs: outputs[:, 3],
        target=3,
        kind=KIND,
        tolerance=digits,
        **other,
    )


DIGITS = {"float16": 2e-2, "bfloat16": 1e-1, "float64": 1e-12}
"""How far a batch may be from its samples: kernels add up in another order."""

ARCHITECTURES = [
    *(
        row(f"torchvision resnet18 in {dtype}", "torch", digits,
            make=partial(in_torch, dtype), inputs=partial(inputs_in_torch, dtype=dtype),
            layer="layer4", needs=("torchvision",))
        for dtype, digits in DIGITS.items()
    ),
    *(
        row(f"Keras, {name}", "keras", digits, make=partial(in_keras, name), inputs=pictures,
            layer="backbone", arrange=channels_last_to_first)
        for name, digits in {
            "float16": 2e-2, "bfloat16": 1e-1, "float64": 1e-12,
            "mixed_float16": 2e-2, "mixed_bfloat16": 1e-1,
        }.items()
    ),
]  # fmt: skip
