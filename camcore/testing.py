"""Check an adapter by numbers, and try camcore without a framework.

The model is a chain of a few layers with hand-written derivatives, in any
spatial rank, so the whole path from model to map runs without a framework.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from camcore.adapter import (
    INPUT,
    Adapter,
    Array,
    Bias,
    Channels,
    Layer,
    LayerRecord,
    LayerTrace,
    Leaves,
    NativeScore,
    Rectifier,
    Seed,
    Trace,
)
from camcore.errors import GradientError, InputError, LayerError


class Op:
    """One layer: its output, and the pull-back of a cotangent through it."""

    def forward(self, x: Array) -> Array:
        """Output for the input `x`."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Cotangent of the input `x`, given that of the output."""
        raise NotImplementedError(f"{type(self).__name__}.pull_back")


class Conv(Op):
    """Convolution of ``(B, C, *S)`` without padding, stride 1.

    Parameters
    ----------
    weights : (O, C, *K) array
        Kernels.
    bias : (O,) array
        Biases.
    """

    def __init__(self, weights: Array, bias: Array) -> None:
        self.weights, self.bias = weights, bias
        self.rank = weights.ndim - 2

    def forward(self, x: Array) -> Array:
        """Cross-correlation, as frameworks define convolution."""
        return self._correlate(x, self.weights) + self.bias.reshape(-1, *[1] * self.rank)

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Full correlation of the cotangent with the turned kernels."""
        kernel = self.weights.shape[2:]
        padded = np.pad(cotangent, [(0, 0), (0, 0), *((k - 1, k - 1) for k in kernel)])
        turned = np.flip(self.weights, axis=tuple(range(2, 2 + self.rank))).swapaxes(0, 1)
        return self._correlate(padded, turned)

    def _correlate(self, x: Array, weights: Array) -> Array:
        windows = sliding_window_view(x, weights.shape[2:], axis=tuple(range(2, 2 + self.rank)))
        axes = [1, *range(2 + self.rank, 2 + 2 * self.rank)]
        out: Array = np.tensordot(windows, weights, (axes, [1, *range(2, 2 + self.rank)]))
        return np.moveaxis(out, -1, 1)


class ReLU(Op):
    """The positive part."""

    def forward(self, x: Array) -> Array:
        """Output for the input `x`."""
        positive: Array = np.maximum(x, 0)
        return positive

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Cotangent where the input was positive."""
        return cotangent * (x > 0)


class GlobalAveragePool(Op):
    """Mean over space: ``(B, C, *S)`` to ``(B, C)``."""

    def forward(self, x: Array) -> Array:
        """Output for the input `x`."""
        mean: Array = x.reshape(*x.shape[:2], -1).mean(axis=2)
        return mean

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Spread the cotangent evenly."""
        spread = cotangent.reshape(*cotangent.shape, *[1] * (x.ndim - 2))
        return np.broadcast_to(spread / math.prod(x.shape[2:]), x.shape)


class Flatten(Op):
    """All axes but the first into one."""

    def forward(self, x: Array) -> Array:
        """Output for the input `x`."""
        return x.reshape(len(x), -1)

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Give the cotangent the input's shape."""
        return cotangent.reshape(x.shape)


class Dense(Op):
    """A linear layer.

    Parameters
    ----------
    weights : (K, C) array
        One row for each output.
    bias : (K,) array
        Biases.
    """

    def __init__(self, weights: Array, bias: Array) -> None:
        self.weights, self.bias = weights, bias

    def forward(self, x: Array) -> Array:
        """Output for the input `x`."""
        result: Array = x @ self.weights.T + self.bias
        return result

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Cotangent times the weights."""
        result: Array = cotangent @ self.weights
        return result


class NumpyAdapter:
    """Adapter of a chain of named layers.

    Parameters
    ----------
    **ops : Op
        The layers in order, by name.
    """

    input_channels: Channels = "first"
    takes_images = False

    def __init__(self, **ops: Op) -> None:
        self.ops = ops
        self.passes = 0

    def layers(self) -> Sequence[Layer]:
        """Every layer, in order."""
        return [Layer(name, type(op).__name__, op) for name, op in self.ops.items()]

    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """Shapes, in order."""
        values = self._forward(np.asarray(inputs)[:1])
        last = next(reversed(self.ops))
        return [
            LayerRecord(layer, value.shape, "first", is_output=layer.name == last)
            for layer, value in zip(self.layers(), values[1:], strict=True)
        ]

    def run(
        self,
        inputs: Any,
        layers: Sequence[str] = (),
        seeds: Sequence[Seed | NativeScore] = (),
        *,
        logits: bool = True,
        second_order: bool = False,
        rectifier: Rectifier | None = None,
    ) -> Trace:
        """One pass, and one pull-back for each seed.

        A `NativeScore` returns its cotangent beside the scores, as NumPy has no
        gradients of its own. ReLU has no curvature, so Hessian products are zero.
        """
        inputs = np.asarray(inputs)
        places = {name: self._place(name) for name in layers}
        values = self._forward(inputs)
        outputs = values[-1]
        leaves = {"": outputs}
        native: list[Array | None] = []
        gradients: dict[str, list[Array]] = {name: [] for name in layers}
        for seed in seeds:
            if isinstance(seed, NativeScore):
                scores, cotangent = seed.function(outputs)
                native.append(scores)
            else:
                cotangent = seed(leaves)[""]
                native.append(None)
            for name, place in places.items():
                gradients[name].append(self._pull_back(values, place, cotangent, rectifier))
        traces = {
            name: LayerTrace(
                values[place],
                tuple(gradients[name]),
                "first",
                tuple(np.zeros_like(g) for g in gradients[name]) if second_order else (),
            )
            for name, place in places.items()
        }
        return Trace({"": inputs}, "first", leaves, {}, traces, tuple(native))

    @contextmanager
    def resume(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array], Leaves]]:
        """Run what follows `layer` on altered activations."""
        following = list(self.ops.values())[self._place(layer) :]

        def head(activations: Array) -> Leaves:
            for op in following:
                activations = op.forward(activations)
            return {"": activations}

        yield head

    def classifier(self) -> tuple[Array, Array] | None:
        """Weights and bias of the last linear layer."""
        dense = [op for op in self.ops.values() if isinstance(op, Dense)]
        return (dense[-1].weights, dense[-1].bias) if dense else None

    def biases(self) -> Sequence[Bias]:
        """Of every convolution and linear layer."""
        return [
            Bias(name, op.bias) for name, op in self.ops.items() if isinstance(op, (Conv, Dense))
        ]

    def _place(self, layer: str) -> int:
        """How many layers have run once this one has; 0 for the input."""
        name, _, call = layer.partition("#")
        if name not in (INPUT, *self.ops) or call not in ("", "0", "-1"):
            raise LayerError(
                f"No layer {layer!r} runs; there are {', '.join(self.ops)}, each once."
            )
        return 0 if name == INPUT else list(self.ops).index(name) + 1

    def _forward(self, x: Array) -> list[Array]:
        """List the input and each layer's output."""
        self.passes += 1
        values = [x]
        for op in self.ops.values():
            values.append(op.forward(values[-1]))
        return values

    def _pull_back(
        self, values: list[Array], place: int, cotangent: Array, rectifier: Rectifier | None
    ) -> Array:
        following = list(zip(values, self.ops.values(), strict=False))[place:]
        for x, op in reversed(following):
            if rectifier is not None and isinstance(op, ReLU):
                cotangent = np.maximum(cotangent, 0)
            cotangent = op.pull_back(x, cotangent)
        if cotangent.shape != values[place].shape:
            raise GradientError(
                f"A pull-back has shape {cotangent.shape}, the layer {values[place].shape}."
            )
        return cotangent


def random_network(
    rank: int = 2, *, head: str = "gap", channels: int = 4, classes: int = 5, seed: int = 0
) -> NumpyAdapter:
    """Make a small network with random float64 weights, scaled so that scores stay near one.

    Parameters
    ----------
    rank : int
        Spatial rank of its inputs, ``(B, 2, *S)`` with every length 8.
    head : {"gap", "flatten", "deep"}
        Global average pooling and a linear layer; flattening and a linear layer;
        or flattening, a hidden layer, ReLU, and a linear layer.
    channels, classes : int
        Of the last convolution, and of the output.
    seed : int
        Of the weights.

    Returns
    -------
    NumpyAdapter

    Raises
    ------
    InputError
        There is no such head.
    """
    if head not in ("gap", "flatten", "deep"):
        raise InputError(f"head={head!r}; expected 'gap', 'flatten' or 'deep'.")
    rng = np.random.default_rng(seed)

    def conv(out: int, into: int) -> Conv:
        weights = rng.normal(size=(out, into, *[3] * rank)) * (into * 3**rank) ** -0.5
        return Conv(weights, rng.normal(size=out))

    def dense(out: int, into: int) -> Dense:
        return Dense(rng.normal(size=(out, into)) * into**-0.5, rng.normal(size=out))

    features = {"conv1": conv(3, 2), "relu1": ReLU(), "conv2": conv(channels, 3), "relu2": ReLU()}
    if head == "gap":
        return NumpyAdapter(**features, pool=GlobalAveragePool(), fc=dense(classes, channels))
    flat = channels * 4**rank
    if head == "flatten":
        return NumpyAdapter(**features, flat=Flatten(), fc=dense(classes, flat))
    return NumpyAdapter(
        **features, flat=Flatten(), hidden=dense(6, flat), relu3=ReLU(), fc=dense(classes, 6)
    )


def check_adapter(adapter: Adapter, inputs: Array, layer: str, *, tolerance: float) -> None:
    """Check what every adapter promises, by numbers.

    Parameters
    ----------
    adapter : Adapter
        Of a model with one output of class scores.
    inputs : (B, ...) array
        At least two samples, as the model takes them.
    layer : str
        A layer on the way to the output that runs once.
    tolerance : float
        Largest difference allowed, relative to the largest value compared.

    Raises
    ------
    AssertionError
        A promise is not kept; the message says which.
    """
    names = [found.name for found in adapter.layers()]
    assert len(set(names)) == len(names), "layer names are not unique"
    assert layer in names, f"layers() does not name {layer!r}"
    surveyed = {record.layer.name: record.shape for record in adapter.survey(inputs)}

    def first_class(leaves: Leaves) -> Leaves:
        return {
            path: np.eye(1, leaf.shape[1], dtype=leaf.dtype).repeat(len(leaf), axis=0)
            for path, leaf in leaves.items()
        }

    trace = adapter.run(inputs, [layer], [first_class])
    traced = trace.layers[layer]
    (outputs,) = trace.outputs.values()
    (gradients,) = traced.gradients
    _same(surveyed[layer][1:], traced.activations.shape[1:], "survey() and run() shapes")
    _same(gradients.shape, traced.activations.shape, "shapes of activations and gradients")
    for i in range(len(inputs)):
        alone = adapter.run(inputs[i : i + 1], [layer], [first_class])
        (single,) = alone.outputs.values()
        _close(single, outputs[i : i + 1], tolerance, "a sample alone and in its batch: outputs")
        _close(
            alone.layers[layer].gradients[0],
            gradients[i : i + 1],
            tolerance,
            "a sample alone and in its batch: gradients",
        )
    with adapter.resume(inputs[:1], layer) as head:
        own = traced.activations[:1]
        (resumed,) = head(own).values()
        _close(resumed, outputs[:1], tolerance, "resuming from the layer's own activations")
        step = 1e-3 * np.abs(own).max()
        direction = np.random.default_rng(0).normal(size=own.shape).astype(own.dtype)
        direction *= step / np.abs(direction).max()
        (moved,) = head(np.concatenate([own + direction, own - direction])).values()
        slope = (moved[0, 0] - moved[1, 0]) / 2
        expected = (gradients[:1] * direction).sum()
        assert abs(slope - expected) <= 0.05 * abs(expected) + tolerance, (
            f"the gradient predicts a change of {expected}, resuming shows {slope}"
        )


def _same(one: object, other: object, what: str) -> None:
    assert one == other, f"{what} differ: {one} and {other}"


def _close(one: Array, other: Array, tolerance: float, what: str) -> None:
    _same(one.shape, other.shape, f"{what}: shapes")
    error = np.abs(one - other).max() / max(np.abs(other).max(), 1e-30)
    assert error <= tolerance, f"{what} differ by {error:.1e} of the largest value"
