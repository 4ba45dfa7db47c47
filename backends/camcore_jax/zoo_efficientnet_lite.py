"""EfficientNet-Lite0 for Flax: the network that PyTorch users know, weight for weight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from camcore._shared.efficientnet_lite import EPSILON, HEAD, STEM, Block, blocks
from camcore.adapter import Array


class Rectifier(nnx.Module):
    """ReLU6, as a layer with a name."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Clip to [0, 6]."""
        return nnx.relu6(x)


class Pooling(nnx.Module):
    """The mean over space, as a layer with a name."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Average ``(B, H, W, C)`` over space."""
        return x.mean((1, 2))


class Sum(nnx.Module):
    """The sum of what a block takes and gives, as a layer with a name."""

    def __call__(self, given: jax.Array, x: jax.Array) -> jax.Array:
        """Add them."""
        return given + x


class EfficientNetLite0(nnx.Module):
    """The network with random weights.

    It takes photographs, ``(B, 224, 224, 3)``, as ``(x - 127) / 128`` of their pixels, and gives
    logits, ``(B, classes)``. Layers are attributes: ``stem``, ``block1a_depthwise_bn``.

    Parameters
    ----------
    classes : int
        Number of logits.
    """

    def __init__(self, classes: int = 1000) -> None:
        self._random = nnx.Rngs(0)
        self._convolution("stem", 3, STEM, kernel=3, stride=2)
        channels = STEM
        for block in blocks():
            inner = block.expansion * block.given
            if block.expansion != 1:
                self._convolution(f"{block.name}_expand", block.given, inner)
            self._convolution(
                f"{block.name}_depthwise", inner, inner, block.kernel, block.stride, groups=inner
            )
            self._convolution(f"{block.name}_project", inner, block.channels, rectified=False)
            if block.adds:
                setattr(self, f"{block.name}_add", Sum())
            channels = block.channels
        self._convolution("head", channels, HEAD)
        self.pool = Pooling()
        self.logits = nnx.Linear(HEAD, classes, rngs=self._random)
        del self._random

    def __call__(self, x: jax.Array) -> jax.Array:
        """Score the classes."""
        x = self._run("stem", x)
        for block in blocks():
            x = self._block(x, block)
        return self.logits(self.pool(self._run("head", x)))

    def _block(self, x: jax.Array, block: Block) -> jax.Array:
        given = x
        if block.expansion != 1:
            x = self._run(f"{block.name}_expand", x)
        x = self._run(f"{block.name}_depthwise", x)
        x = self._run(f"{block.name}_project", x)
        summed: jax.Array = getattr(self, f"{block.name}_add")(given, x) if block.adds else x
        return summed

    def _run(self, name: str, x: jax.Array) -> jax.Array:
        for part in ("", "_bn", "_relu"):
            layer = getattr(self, name + part, None)
            x = x if layer is None else layer(x)
        return x

    def _convolution(
        self,
        name: str,
        given: int,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        rectified: bool = True,
    ) -> None:
        size, strides, random = (kernel, kernel), (stride, stride), self._random
        conv = nnx.Conv(
            given,
            channels,
            size,
            strides,
            padding="SAME",
            feature_group_count=groups,
            use_bias=False,
            rngs=random,
        )
        norm = nnx.BatchNorm(channels, use_running_average=True, epsilon=EPSILON, rngs=random)
        setattr(self, name, conv)
        setattr(self, f"{name}_bn", norm)
        if rectified:
            setattr(self, f"{name}_relu", Rectifier())


def load_torch_state(model: EfficientNetLite0, tensors: Iterable[Array]) -> None:
    """Fill the network from a PyTorch state dict.

    Parameters
    ----------
    model : EfficientNetLite0
        The network.
    tensors : iterable of array
        The state dict's values in its order, whatever implementation named them.

    Raises
    ------
    ValueError
        There are too few or too many, or one does not fit.
    """
    left: Iterator[Array] = iter([tensor for tensor in tensors if np.ndim(tensor)])
    for layer in vars(model).values():
        if isinstance(layer, nnx.Conv):
            _fill(layer.kernel, next(left).transpose(2, 3, 1, 0))
        elif isinstance(layer, nnx.BatchNorm):
            for variable in (layer.scale, layer.bias, layer.mean, layer.var):
                _fill(variable, next(left))
        elif isinstance(layer, nnx.Linear):
            _fill(layer.kernel, next(left).T)
            _fill(layer.bias, next(left))
    if next(left, None) is not None:
        raise ValueError("The state dict holds more tensors than EfficientNet-Lite0 has.")


def _fill(variable: nnx.Variable[jax.Array], values: Array) -> None:
    if variable.shape != values.shape:
        raise ValueError(f"A tensor of {values.shape} does not fit a weight of {variable.shape}.")
    variable[...] = jnp.asarray(values)
