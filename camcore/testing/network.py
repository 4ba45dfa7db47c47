"""A chain of layers in NumPy, with hand-written derivatives, and its adapter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from camcore.adapter import (
    Array,
    Bias,
    Channels,
    Layer,
    LayerName,
    LayerRecord,
    LayerTrace,
    Leaves,
    NativeScore,
    Parameters,
    Rectifier,
    SecondOrder,
    Seed,
    Trace,
    check_cotangents,
    check_parameters,
    check_pulled,
    not_between,
)
from camcore.errors import GradientError, InputError
from camcore.layers.names import unknown_layer


class Op:
    """One layer: its output, and the pull-back of a cotangent through it."""

    def forward(self, x: Array) -> Array:
        """Compute the output for the input `x`."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Compute the cotangent of the input `x` from that of the output."""
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
        """Cross-correlate, as frameworks define convolution."""
        return self._correlate(x, self.weights) + self.bias.reshape(-1, *[1] * self.rank)

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Correlate the padded cotangent with the turned kernels."""
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
        """Compute the output for the input `x`."""
        positive: Array = np.maximum(x, 0)
        return positive

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Keep the cotangent where the input was positive."""
        return cotangent * (x > 0)


class GlobalAveragePool(Op):
    """Mean over space: ``(B, C, *S)`` to ``(B, C)``."""

    def forward(self, x: Array) -> Array:
        """Compute the output for the input `x`."""
        mean: Array = x.reshape(*x.shape[:2], -1).mean(axis=2)
        return mean

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Spread the cotangent evenly."""
        spread = cotangent.reshape(*cotangent.shape, *[1] * (x.ndim - 2))
        return np.broadcast_to(spread / math.prod(x.shape[2:]), x.shape)


class Flatten(Op):
    """All axes but the first into one."""

    def forward(self, x: Array) -> Array:
        """Compute the output for the input `x`."""
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
        """Compute the output for the input `x`."""
        result: Array = x @ self.weights.T + self.bias
        return result

    def pull_back(self, x: Array, cotangent: Array) -> Array:
        """Multiply the cotangent by the weights."""
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
    compiles = False

    def __init__(self, **ops: Op) -> None:
        self.ops = ops
        self.passes = 0

    def layers(self) -> Sequence[Layer]:
        """List every layer, in order."""
        return [Layer(name, type(op).__name__, op) for name, op in self.ops.items()]

    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """List the shapes of all layers, in order."""
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
        second_order: SecondOrder = False,
        rectifier: Rectifier | None = None,
        optional: Sequence[str] = (),
    ) -> Trace:
        """Run one pass, and one pull-back for each seed.

        A `NativeScore` returns its cotangent beside the scores, as NumPy has no
        gradients of its own. ReLU has no curvature, so Hessian products are zero. Each entry
        of a tangent is the product of a class's gradient and the activations.
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
                cotangents = seed(leaves)
                check_cotangents(cotangents, leaves)
                cotangent = cotangents.get("", np.zeros_like(outputs))
                native.append(None)
            for name, place in places.items():
                gradients[name].append(self._pull_back(values, place, cotangent, rectifier))
        tangents: dict[str, Leaves] = {}
        for name, place in places.items() if second_order == "tangents" else ():
            rows = []
            for row in np.eye(outputs.shape[1]):
                seeded = np.broadcast_to(row, outputs.shape)
                slope = self._pull_back(values, place, seeded, rectifier)
                rows.append((slope * values[place]).reshape(len(outputs), -1).sum(axis=1))
            tangents[name] = {"": np.stack(rows, axis=1).astype(outputs.dtype)}
        traces = {
            name: LayerTrace(
                values[place],
                tuple(gradients[name]),
                "first",
                tuple(np.zeros_like(g) for g in gradients[name]) if second_order else (),
                tangents=tangents.get(name, {}),
            )
            for name, place in places.items()
        }
        return Trace({"": inputs}, "first", leaves, {}, traces, tuple(native))

    @contextmanager
    def resume(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array], Leaves]]:
        """Run what follows `layer` on altered activations."""
        _, values = self._following(inputs, layer)
        yield lambda activations: {"": values(activations)[-1]}

    @contextmanager
    def gradients_from(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run what follows `layer` on altered activations, and pull a cotangent back to them."""
        with self.gradients_beyond(inputs, layer, layer, logits=logits) as pull:
            yield pull

    @contextmanager
    def gradients_beyond(
        self, inputs: Any, layer: str, later: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run what follows `layer` on altered activations, and pull back to a later layer."""
        following, values = self._following(inputs, layer)
        place = self._place(later) - self._place(layer)
        if place < 0:
            raise not_between(layer, later)

        def pull(activations: Array, seed: Seed) -> Array:
            on_way = values(activations)
            leaves = {"": on_way[-1]}
            cotangents = seed(leaves)
            check_cotangents(cotangents, leaves)
            cotangent = cotangents.get("", np.zeros_like(on_way[-1]))
            return following._pull_back(on_way, place, cotangent, None)

        yield pull

    def gradients_between(self, inputs: Any, pulls: Mapping[str, tuple[str, Array]]) -> Leaves:
        """Run one pass, and pull what is given at some layers back to earlier ones."""
        places = {
            name: (self._place(name), self._place(later)) for name, (later, _) in pulls.items()
        }
        values = self._forward(np.asarray(inputs))
        gradients = {}
        for name, (place, end) in places.items():
            later, cotangent = pulls[name]
            check_pulled(cotangent, later, values[end].shape)
            if end < place:
                raise not_between(name, later)
            before = NumpyAdapter(**dict(list(self.ops.items())[:end]))
            gradients[name] = before._pull_back(values[: end + 1], place, cotangent, None)
        return gradients

    def classifier(self) -> tuple[Array, Array] | None:
        """Return the weights and bias of the last linear layer."""
        dense = [op for op in self.ops.values() if isinstance(op, Dense)]
        return (dense[-1].weights, dense[-1].bias) if dense else None

    def biases(self) -> Sequence[Bias]:
        """List the bias of every convolution and linear layer."""
        return [
            Bias(name, op.bias) for name, op in self.ops.items() if isinstance(op, (Conv, Dense))
        ]

    def parameters(self) -> Parameters:
        """Copy the weights and bias of every convolution and linear layer."""
        weighted = {name: op for name, op in self.ops.items() if isinstance(op, (Conv, Dense))}
        return {name: [op.weights.copy(), op.bias.copy()] for name, op in weighted.items()}

    def with_parameters(self, parameters: Parameters) -> NumpyAdapter:
        """Make a network of the same layers, with these in place of their own."""
        own = self.parameters()
        check_parameters(parameters, own)
        held = {
            name: type(self.ops[name])(*map(np.array, parameters.get(name, own[name])))
            for name in own
        }
        return NumpyAdapter(**{**self.ops, **held})

    def _place(self, layer: str) -> int:
        """Count the layers that have run once this one has; 0 for the input."""
        name = LayerName.parse(layer)
        if name.is_input:
            return 0
        if name.path not in self.ops or name.part:
            raise unknown_layer(str(replace(name, call=None)), self.ops)
        name.index(ran=1)
        return list(self.ops).index(name.path) + 1

    def _following(
        self, inputs: Any, layer: str
    ) -> tuple[NumpyAdapter, Callable[[Array], list[Array]]]:
        """Make the network that follows a layer, and what runs it on what the layer returned."""
        place = self._place(layer)
        following = NumpyAdapter(**dict(list(self.ops.items())[place:]))
        own = self._forward(np.asarray(inputs))[place]

        def values(activations: Array) -> list[Array]:
            if activations.shape[1:] != own.shape[1:]:
                raise InputError(
                    f"Altered activations have shape {activations.shape}; "
                    f"expected (N, {', '.join(map(str, own.shape[1:]))})."
                )
            return following._forward(activations)

        return following, values

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
                if rectifier == "deconvolution":
                    continue
            cotangent = op.pull_back(x, cotangent)
        if cotangent.shape != values[place].shape:
            raise GradientError(
                f"A pull-back has shape {cotangent.shape}, the layer {values[place].shape}; they "
                "must be the same."
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
