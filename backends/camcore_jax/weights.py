"""What a model's own weights say: its classifier, and what its layers add."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from camcore.adapter import Array, Bias
from camcore.errors import LayerError, MethodError

from .program import to_numpy


@dataclass(frozen=True)
class Weights:
    """What a layer holds.

    Parameters
    ----------
    kernel : (*K, C, O) array, optional
        Of a linear layer or a convolution without groups.
    bias : (O,) array, optional
        What is added to each channel.
    scale, mean, variance : (O,) array, optional
        Of a normalisation; the last two where it is by running statistics.
    epsilon : float or None
        What a normalisation adds to the variance; None where that is not known yet.
    untold : str
        What to do where these do not say what the layer adds.
    """

    kernel: Any = None
    bias: Any = None
    scale: Any = None
    mean: Any = None
    variance: Any = None
    epsilon: float | None = None
    untold: str = ""

    @classmethod
    def of_norm(cls, read: Callable[[str], Any], names: str, epsilon: Any) -> Weights:
        """Read bias, scale, mean and variance of a normalisation, which have these names."""
        bias, scale, mean, variance = map(read, names.split())
        return cls(None, bias, scale, mean, variance, epsilon)


def classifier(weights: Mapping[str, Weights]) -> tuple[Array, Array] | None:
    """Read weights ``(K, C)`` and bias ``(K,)`` of the last linear layer or 1x1 convolution."""
    for held in reversed([*weights.values()]):
        if held.kernel is not None and math.prod(held.kernel.shape[:-2]) == 1:
            kernel = to_numpy(jnp.asarray(held.kernel))
            matrix = kernel.reshape(kernel.shape[-2:]).T
            bias = np.zeros(len(matrix), matrix.dtype) if held.bias is None else _of(held.bias)
            return matrix, bias
    return None


def biases(weights: Mapping[str, Weights]) -> Iterator[Bias]:
    """Yield what layers add to each channel; a name may end in ``@linear``.

    Raises
    ------
    LayerError
        A normalisation has not run yet, and what it holds does not say all.
    MethodError
        The biases of several layers are one array, or are kept elsewhere.
    """
    for name, held in weights.items():
        if held.untold:
            raise MethodError(f"What layer {name!r} adds is not in its weights: {held.untold}.")
        if held.mean is not None:
            if held.epsilon is None:
                raise LayerError(
                    f"What the normalisation {name!r} adds is known once the model ran: survey or "
                    "run it first."
                )
            yield Bias.of_batch_norm(
                name,
                mean=(mean := _of(held.mean)),
                variance=_of(held.variance),
                gamma=None if held.scale is None else _of(held.scale),
                beta=None if held.bias is None else _of(held.bias),
                epsilon=mean.dtype.type(held.epsilon),
            )
        elif held.bias is not None:
            if held.bias.size != max(held.bias.shape, default=0):
                raise MethodError(
                    f"Layer {name!r} has the weights of several in one array, for a loop to run "
                    "them, so what each call adds cannot be told. Choose a method that needs no "
                    "biases: method='gradcam'."
                )
            yield Bias(name, _of(held.bias))


def _of(array: Any) -> Array:
    return to_numpy(jnp.asarray(array)).reshape(-1)
