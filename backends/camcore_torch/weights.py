"""Weights that methods read: those of the classifier, and what layers add."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.modules import batchnorm, conv

from camcore.adapter import Array, Bias
from camcore.errors import MethodError
from camcore_torch.inputs import to_numpy
from camcore_torch.layers import hookable, is_keras, named_modules

ADDING = (nn.Linear, conv._ConvNd, nn.GroupNorm, nn.LayerNorm, batchnorm._NormBase)

KERAS_LINEAR = ("Dense", "Conv1D", "Conv2D", "Conv3D")

_NORMALISATIONS = (
    {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"},
    {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"},
)
"""Attributes of a batch normalisation, PyTorch's (frozen ones alike) and Keras'."""


def classifier(root: nn.Module) -> tuple[Array, Array] | None:
    """Return weights ``(K, C)`` and bias ``(K,)`` of the last linear layer or 1×1 convolution."""
    for module in reversed(hookable(root).values()):
        weight = _keras_weight(module) if is_keras(module) else _weight(module)
        if weight is not None:
            zeros = np.zeros(len(weight), weight.dtype)
            return weight, zeros if module.bias is None else _array(module.bias)
    return None


def is_linear(module: Any) -> Literal["", "linear", "pointwise"]:
    """Tell whether a module is a linear layer or convolution, and whether of one place."""
    if is_keras(module):
        if type(module).__name__ not in KERAS_LINEAR:
            return ""
        return "pointwise" if math.prod(module.kernel.shape[:-2]) == 1 else "linear"
    if isinstance(module, nn.Linear):
        return "pointwise"
    if not isinstance(module, conv._ConvNd):
        return ""
    is_wide = isinstance(module, conv._ConvTransposeNd) or module.groups > 1
    return "linear" if is_wide or math.prod(module.kernel_size) > 1 else "pointwise"


def _weight(module: Any) -> Array | None:
    return _array(module.weight.flatten(1)) if is_linear(module) == "pointwise" else None


def _keras_weight(layer: Any) -> Array | None:
    if is_linear(layer) != "pointwise":
        return None
    kernel = _array(layer.kernel)
    return np.ascontiguousarray(kernel.reshape(kernel.shape[-2:]).T)


def biases(root: nn.Module) -> list[Bias]:
    """List every layer that adds a bias to each channel or normalises by running statistics.

    Raises
    ------
    MethodError
        A Keras layer has an activation of its own, before which nothing can be captured.
    """
    found = [_bias(name, module) for name, module in hookable(root).items()]
    return [bias for bias in found if bias is not None]


def _bias(name: str, module: Any) -> Bias | None:
    for attributes in _NORMALISATIONS:
        mean, variance = (getattr(module, attributes[key], None) for key in ("mean", "variance"))
        if mean is not None and variance is not None:
            gamma, beta = (getattr(module, attributes[key], None) for key in ("gamma", "beta"))
            return Bias.of_batch_norm(
                _before_activation(name, module),
                mean=_array(mean),
                variance=_array(variance),
                gamma=None if gamma is None else _array(gamma),
                beta=None if beta is None else _array(beta),
                epsilon=module.epsilon if is_keras(module) else module.eps,
            )
    bias = getattr(module, "bias", None)
    if bias is None or not (is_keras(module) or isinstance(module, ADDING)) or bias.ndim != 1:
        return None
    return Bias(_before_activation(name, module), _array(bias))


def own_tensors(root: nn.Module) -> dict[str, list[torch.Tensor]]:
    """List each module's own floating parameters and running statistics, each tensor once."""
    found: dict[str, list[torch.Tensor]] = {}
    seen: set[int] = set()
    for name, module in named_modules(root).items():
        buffers = (module._buffers.get(key) for key in ("running_mean", "running_var"))
        own = [
            tensor
            for tensor in (*module._parameters.values(), *buffers)
            if tensor is not None and tensor.is_floating_point() and id(tensor) not in seen
        ]
        seen.update(map(id, own))
        if own:
            found[name] = own
    return found


def _before_activation(name: str, module: Any) -> str:
    if is_keras(module):
        activation = getattr(module, "activation", None)
        if activation is not None and activation.__name__ != "linear":
            raise MethodError(
                f"Layer {name!r} applies its own {activation.__name__}, and what it adds before "
                "that cannot be captured on Keras' torch backend. Give the activation a layer of "
                "its own, or explain the model on the TensorFlow backend."
            )
        return name
    # timm's normalisations with an activation inside pass their sum through `drop` first.
    parts = dict(module.named_children())
    return f"{name}.drop" if parts.keys() >= {"drop", "act"} else name


def _array(values: Any) -> Array:
    """Copy of a parameter, a buffer or a Keras variable."""
    tensor = values if isinstance(values, torch.Tensor) else values.value
    return to_numpy(tensor, copy=True)
