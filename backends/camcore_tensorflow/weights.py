"""What a model's own weights say: its classifier, and what its layers add."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf

from camcore.adapter import Array, Bias, LayerName, Parameters
from camcore.errors import BackendError

from .capture import edge
from .layers import keras_of, walk

_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
_TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
_DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
_SEPARATED = (*_DEPTHWISE, "SeparableConv1D", "SeparableConv2D")
_KERNELS = ("Dense", *_CONVOLUTIONS, *_TRANSPOSED)
_BIASED = ("Dense", "EinsumDense", *_CONVOLUTIONS, *_TRANSPOSED, *_SEPARATED)
_SHIFTED = ("LayerNormalization", "GroupNormalization")


def linear_layers(model: Any) -> dict[int, Literal["linear", "pointwise"]]:
    """Find dense layers and convolutions by their ids, and tell which are of one place."""
    linear = _kinds(model, "Dense", *_CONVOLUTIONS)
    others = _kinds(model, *_TRANSPOSED, *_SEPARATED)
    found: dict[int, Literal["linear", "pointwise"]] = {}
    for _, layer in walk(model):
        if isinstance(layer, (*linear, *others)):
            found[id(layer)] = "linear"
        if isinstance(layer, linear) and not isinstance(layer, others) and layer.built:
            kernel = layer.kernel.shape
            if set(kernel[:-2]) <= {1} and getattr(layer, "groups", 1) == 1:
                found[id(layer)] = "pointwise"
    return found


def classifier(model: Any) -> tuple[Array, Array] | None:
    """Read weights ``(K, C)`` and bias ``(K,)`` of the last dense layer or 1x1 convolution."""
    kinds = linear_layers(model)
    for _, layer in reversed(list(walk(model))):
        if kinds.get(id(layer)) == "pointwise":
            kernel = array(layer.kernel)
            weights = kernel.reshape(kernel.shape[-2:]).T
            bias = np.zeros(len(weights), weights.dtype)
            return weights, bias if layer.bias is None else array(layer.bias)
    return None


def biases(model: Any) -> Iterator[Bias]:
    """Yield the built layers that add one number a channel or normalise by running statistics."""
    biased, shifted = _kinds(model, *_BIASED), _kinds(model, *_SHIFTED)
    normalising = _kinds(model, "BatchNormalization")
    for path, layer in walk(model):
        if not layer.built:
            continue
        if isinstance(layer, normalising):
            mean = array(layer.moving_mean)
            yield Bias.of_batch_norm(
                path,
                mean=mean,
                variance=array(layer.moving_variance),
                gamma=None if layer.gamma is None else array(layer.gamma),
                beta=None if layer.beta is None else array(layer.beta),
                epsilon=mean.dtype.type(layer.epsilon),
            )
            continue
        added = layer.bias if isinstance(layer, biased) else None
        added = layer.beta if isinstance(layer, shifted) else added
        if added is not None and len(added.shape) == 1:
            yield Bias(str(LayerName(path, "linear")) if _activates(layer) else path, array(added))


def own_variables(model: Any) -> dict[str, list[Any]]:
    """List each layer's own floating weights and moving statistics, each variable once."""
    found: dict[str, list[Any]] = {}
    seen: set[int] = set()
    for path, layer in [("", model), *walk(model)]:
        trained = getattr(layer, "_trainable_variables", None)  # of Keras 3, else of tf_keras
        trained = layer._trainable_weights if trained is None else trained
        moving = (getattr(layer, name, None) for name in ("moving_mean", "moving_variance"))
        own = [
            variable
            for variable in (*trained, *moving)
            if variable is not None
            and tf.as_dtype(variable.dtype).is_floating
            and id(variable) not in seen
        ]
        seen.update(map(id, own))
        if own:
            found[path] = own
    return found


def parameters(model: Any) -> dict[str, list[Array]]:
    """Copy each layer's own weights, kernels as (O, C, *K)."""
    layers = {"": model, **dict(walk(model))}
    return {
        path: [channels_first(np.array(array(v)), _kernel(v, layers[path])) for v in variables]
        for path, variables in own_variables(model).items()
    }


def assign(model: Any, parameters: Parameters, copy: Any) -> None:
    """Write parameters of a model's layers into a copy of it, whose layers may have other names."""
    names = list(own_variables(model))
    layers = {"": model, **dict(walk(model))}
    for path, variables in zip(names, own_variables(copy).values(), strict=True):
        for variable, values in zip(variables, parameters.get(path, ()), strict=False):
            kernel = _kernel(variable, layers[path])
            variable.assign(channels_last(np.asarray(values), kernel, tuple(variable.shape)))


def copied(model: Any) -> Any:
    """Copy a model with its weights.

    Raises
    ------
    BackendError
        Keras cannot make it anew from what its layers say of themselves.
    """
    try:
        twin = keras_of(model).models.clone_model(model)
        twin.set_weights(model.get_weights())
        return twin
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        cause = error
    try:  # layers of Python's own functions are not cloned, but pickled
        return deepcopy(model)
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        said = str(cause).strip().partition("\n")[0]
        raise BackendError(
            f"The {type(model).__name__} cannot be copied, which drawing its parameters anew needs "
            f"({said}). Give classes of your own a get_config(), or pass **kwargs on to "
            "super().__init__()."
        ) from cause


Kernel: TypeAlias = Literal["", "plain", "depthwise"]
"""Whether an array is the kernel of a linear layer or convolution, or of a depthwise one."""


def channels_first(values: Array, kernel: Kernel) -> Array:
    """Bring a kernel to (O, C, *K), as `camcore.adapter.HasParameters` has it.

    That of a dense layer or convolution is ``(*K, C, O)``, a depthwise one ``(*K, C, M)`` for M
    channels made of each, which become ``(C · M, 1, *K)``. Of a transposed convolution it is
    ``(*K, O, C)``, and becomes (C, O, *K), as in PyTorch.
    """
    if kernel == "depthwise":
        moved = np.moveaxis(values, (-2, -1), (0, 1))
        return np.ascontiguousarray(moved.reshape(-1, 1, *moved.shape[2:]))
    if kernel == "plain":
        return np.ascontiguousarray(np.moveaxis(values, (-1, -2), (0, 1)))
    return values


def channels_last(values: Array, kernel: Kernel, shape: Sequence[int]) -> Array:
    """Bring a kernel (O, C, *K) back to the shape that TensorFlow has it in."""
    if kernel == "depthwise":
        return np.moveaxis(values.reshape(*shape[-2:], *shape[:-2]), (0, 1), (-2, -1))
    return np.moveaxis(values, (0, 1), (-1, -2)) if kernel == "plain" else values


def _kernel(variable: Any, layer: Any) -> Kernel:
    """Tell whether a variable of a layer is its kernel."""
    if len(variable.shape) < 2:
        return ""
    if isinstance(layer, _kinds(layer, *_DEPTHWISE)):
        return "depthwise"
    return "plain" if isinstance(layer, _kinds(layer, *_KERNELS)) else ""


def array(variable: Any) -> Array:
    """Return a variable's value; half precision as float32."""
    return edge(tf.convert_to_tensor(variable)).numpy()


def _activates(layer: Any) -> bool:
    activation = getattr(layer, "activation", None)
    return activation is not None and getattr(activation, "__name__", "") != "linear"


def _kinds(model: Any, *names: str) -> tuple[Any, ...]:
    known = keras_of(model).layers
    return tuple(getattr(known, name) for name in names if hasattr(known, name))
