"""Grad-CAM in a dozen lines of plain framework code, to hold the library's maps against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from architectures.row import Architecture


def gradcam(row: Architecture, model: Any, inputs: Any) -> np.ndarray:
    """The signed map ``(B, *S)`` of the row's score at its layer."""
    activations, gradients = evidence(row, model, inputs)
    weights = gradients.reshape(*gradients.shape[:2], -1).mean(axis=2)
    return np.einsum("bc,bc...->b...", weights, activations)


def evidence(row: Architecture, model: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Activations and gradients ``(B, C, *S)`` at the row's layer; half precision as float32."""
    if row.framework in ("jax", "onnx"):
        assert row.plain is not None
        activations, gradients = row.plain(inputs)
        return activations, gradients
    return (_torch if row.framework == "torch" else _keras)(row, model, inputs)


def _torch(row: Architecture, model: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    import torch

    model = _inside_wrappers(model)
    path, part, kept = *_path_and_part(row.layer), []
    if part == "activated":
        return _rectified_torch(row, model, inputs, path)

    def keep(module: Any, args: Any, output: Any) -> Any:
        kept.append(_first(output, torch.Tensor))
        if not kept[-1].requires_grad:  # nothing before it has parameters
            kept[-1].requires_grad_()
        # What follows in place shall not reach what is kept.
        return kept[-1].clone() if output is kept[-1] else None

    handle = _submodule(model, path).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            score = row.score(_call_torch(model, inputs)).sum()
            chosen = kept[_call_meant(row.layer)]
            (gradient,) = torch.autograd.grad(score, chosen)
    finally:
        handle.remove()
    arranged = [row.arrange(tensor.detach()) for tensor in (chosen, gradient)]
    return tuple(np.asarray(a.float() if a.dtype.itemsize < 4 else a) for a in arranged)


def _rectified_torch(
    row: Architecture, model: Any, inputs: Any, path: str
) -> tuple[np.ndarray, np.ndarray]:
    """The same of what ``relu``, as a function or method, makes of the layer's output."""
    import torch

    returned, rectified = [], []

    class Seen(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            if func.__name__ != "relu" or not returned or args[0] is not returned[-1]:
                return made
            rectified.append(made)
            return made.clone()

    def keep(module: Any, args: Any, output: Any) -> Any:
        # A ReLU in place would change what is kept, and not be what it returns.
        returned.append(output.clone())
        return returned[-1]

    handle = _submodule(model, path).register_forward_hook(keep)
    try:
        with torch.enable_grad(), Seen():
            score = row.score(_call_torch(model, inputs)).sum()
        (gradient,) = torch.autograd.grad(score, rectified[-1])
    finally:
        handle.remove()
    return tuple(np.asarray(row.arrange(tensor.detach())) for tensor in (rectified[-1], gradient))


def _keras(row: Architecture, model: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow as tf

    path, part = _path_and_part(row.layer)
    layer, kept = _submodule(model, path), []
    relu, returned = tf.nn.relu, []
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def keep(output: Any) -> None:
            kept.append(_first(output, tf.Tensor))
            tape.watch(kept[-1])

        def rectify(x: Any) -> Any:
            made = relu(x)
            if returned and x is returned[-1]:
                keep(made)
            return made

        with (
            _listened_to(layer, returned.append if part == "activated" else keep),
            mock.patch.object(tf.nn, "relu", rectify),
        ):
            score = tf.reduce_sum(row.score(_call_keras(model, inputs)))
    chosen = kept[_call_meant(row.layer)]
    arranged = [row.arrange(tensor) for tensor in (chosen, tape.gradient(score, chosen))]
    return tuple(np.asarray(_at_least_single(tf, array)) for array in arranged)


def _at_least_single(tf: Any, array: Any) -> Any:
    return array if array.dtype in ("float32", "float64") else tf.cast(array, tf.float32)


@contextmanager
def _listened_to(layer: Any, listener: Callable[[Any], None]) -> Iterator[None]:
    """Show what a Keras layer returns, each time it runs."""
    name = "quantized_call" if getattr(layer, "quantization_mode", None) else "call"
    call = getattr(layer, name)

    def keep(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        listener(output)
        return output

    setattr(layer, name, keep)
    try:
        yield
    finally:
        delattr(layer, name)


def _call_meant(name: str) -> int:
    """Which call ``relu#0`` means; without a number the last."""
    _, mark, index = name.partition("#")
    return int(index) if mark else -1


def _path_and_part(name: str) -> tuple[str, str]:
    """The path and the part in ``features@activated#0``."""
    path, _, part = name.partition("#")[0].partition("@")
    return path, part


def _inside_wrappers(model: Any) -> Any:
    """What ``torch.compile`` and ``DataParallel`` wrap."""
    import torch

    while "_orig_mod" in model._modules or isinstance(model, torch.nn.DataParallel):
        model = next(model.children())
    return model


def _submodule(model: Any, path: str) -> Any:
    if not hasattr(model, "get_layer"):
        return model.get_submodule(path)
    for step in path.split("/"):
        model = model.get_layer(step) if hasattr(model, "get_layer") else getattr(model, step)
    return model


def _call_torch(model: Any, inputs: Any) -> Any:
    if hasattr(model, "get_layer"):  # Keras on the torch backend
        return _call_keras(model, inputs)
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


def _call_keras(model: Any, inputs: Any) -> Any:
    several = isinstance(inputs, tuple)  # a functional model takes them as a list
    return model(*inputs, training=False) if several else model(inputs, training=False)


def _first(output: Any, kind: type) -> Any:
    while not isinstance(output, kind):
        output = next(iter(output.values() if hasattr(output, "values") else output))
    return output
