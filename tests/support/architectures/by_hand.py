"""Grad-CAM in a dozen lines of plain framework code, to hold the library's maps against."""

from __future__ import annotations

from typing import Any

import numpy as np
from architectures.row import Architecture


def gradcam(row: Architecture, model: Any, inputs: Any) -> np.ndarray:
    """The signed map ``(B, *S)`` of the row's score at its layer."""
    activations, gradients = (_torch if row.framework == "torch" else _keras)(row, model, inputs)
    weights = gradients.reshape(*gradients.shape[:2], -1).mean(axis=2)
    return np.einsum("bc,bc...->b...", weights, activations)


def _torch(row: Architecture, model: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    import torch

    kept = []

    def keep(module: Any, args: Any, output: Any) -> Any:
        kept.append(_first(output))

    layer = model.get_submodule(row.layer).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            score = row.score(_call(model, inputs)).sum()
            (gradient,) = torch.autograd.grad(score, kept[-1])
    finally:
        layer.remove()
    arranged = [row.arrange(tensor.detach()) for tensor in (kept[-1], gradient)]
    return tuple(np.asarray(a.float() if a.dtype.itemsize < 4 else a) for a in arranged)


def _call(model: Any, inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


def _first(output: Any) -> Any:
    import torch

    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values() if hasattr(output, "values") else output))
    return output


def _keras(row: Architecture, model: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow as tf

    layer = model
    for step in row.layer.split("/"):
        layer = layer.get_layer(step)
    call, kept = layer.call, []
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def keep(*args: Any, **kwargs: Any) -> Any:
            kept.append(call(*args, **kwargs))
            tape.watch(kept[-1])
            return kept[-1]

        layer.call = keep
        try:
            score = tf.reduce_sum(row.score(model(inputs, training=False)))
        finally:
            del layer.call
    arranged = [row.arrange(tensor) for tensor in (kept[-1], tape.gradient(score, kept[-1]))]
    return tuple(np.asarray(tf.cast(a, tf.float32)) for a in arranged)
