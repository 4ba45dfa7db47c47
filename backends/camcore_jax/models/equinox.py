"""Equinox modules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from camcore.adapter import Channels, Layer
from camcore.nest import map_parts

from ..marks import NAME, marking_class
from ..weights import Weights
from .base import Model


@dataclass(frozen=True, eq=False)
class Equinox:
    """A module of Equinox that is not simply mapped over a batch.

    Parameters
    ----------
    model : equinox.Module
        The module.
    call : callable, optional
        ``call(model, inputs)`` gives the outputs for a batch, ``call(model, inputs, state)`` where
        there is a state. Unless given, the module is mapped over the batch.
    state : equinox.nn.State, optional
        What the module's batch normalisations keep their statistics in.
    """

    model: Any
    call: Callable[..., Any] | None = None
    state: Any = None


def _mapped(model: Any, inputs: Any, *states: Any) -> Any:
    """Run a module, which takes one sample and perhaps a state, for each of a batch."""
    given = [*inputs] if isinstance(inputs, (tuple, list)) else [inputs]
    axes = [*[0] * len(given), *[None] * len(states)]
    made = jax.vmap(model, axes)(*given, *states)
    return made[0] if states else made


class EquinoxModel(Model):
    """A module, or an `Equinox`; what runs are copies of it, made within the trace."""

    channels: Channels = "first"

    def __init__(self, model: Any, kept: dict[str, Any]) -> None:
        super().__init__(model, kept)
        self._eqx = sys.modules["equinox"]
        own = model if isinstance(model, Equinox) else Equinox(model)
        self._module, self._call, self._state = own.model, own.call or _mapped, own.state

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        """The arrays of the module and its state, and the rest; neither is ever written to."""
        held = self._eqx.nn.inference_mode(self._module), self._state
        return self._eqx.partition(held, lambda leaf: isinstance(leaf, _ARRAYS))

    def split(self) -> tuple[Hashable, Any]:
        """Return the arrays of the module and its state."""
        return (), self._parts[0]

    def call(self, static: Any, parameters: Any, inputs: Any) -> Any:
        """Run a copy whose modules are of marking classes."""
        module, state = self._eqx.combine(parameters, self._parts[1])
        return self._call(self._copy(module, ""), inputs, *([] if state is None else [state]))

    def layers(self) -> Iterable[Layer]:
        """List the modules by their fields, joined with dots."""
        return [Layer(name, type(m).__name__, m) for name, m in self._below(self._module, "")]

    def weights(self) -> Mapping[str, Weights]:
        """Read the weights of Equinox's own layers, whose kernels have their outputs first."""
        nn, found = self._eqx.nn, dict[str, Weights]()
        for name, module in self._below(self._module, ""):
            if isinstance(module, (nn.Linear, nn.Conv)):
                is_plain = getattr(module, "groups", 1) == 1
                kernel = module.weight.transpose(*range(2, module.weight.ndim), 1, 0)
                found[name] = Weights(kernel if is_plain else None, module.bias)
            elif isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)):
                found[name] = Weights(bias=module.bias)
            elif isinstance(module, nn.BatchNorm):
                found[name] = self._normalisation(module)
        return found

    def _normalisation(self, norm: Any) -> Weights:
        """Read a batch normalisation and its statistics, as it computes them in inference."""
        if self._state is None:
            return Weights(untold="give its state: camcore_jax.Equinox(model, state=state)")
        if norm.mode == "ema":
            mean, variance = self._state.get(norm.ema_state_index)
        else:
            count = self._state.get(norm.batch_counter)
            share = jax.numpy.where(count == 0, 1, 1 - norm.momentum**count)
            mean, variance = (one / share for one in self._state.get(norm.batch_state_index))
        return Weights(None, norm.bias, norm.weight, mean, variance, norm.eps)

    def _below(self, part: Any, name: str) -> Iterator[tuple[str, Any]]:
        """Yield the modules that can be called, parents first."""
        if isinstance(part, self._eqx.Module) and name and callable(part):
            yield name, part
        for key, inner in _parts(part):
            yield from self._below(inner, f"{name}.{key}" if name else str(key))

    def _copy(self, part: Any, name: str) -> Any:
        """Copy a module, the modules inside it being copies too that mark what they return."""

        def inner(key: Any, value: Any) -> Any:
            return self._copy(value, f"{name}.{key}" if name else str(key))

        if not isinstance(part, self._eqx.Module):
            is_nest = isinstance(part, (list, tuple, dict))
            return map_parts(part, inner) if is_nest else part
        marks = name and callable(part)
        field = self._eqx.field(static=True, default="")
        copy = object.__new__(marking_class(type(part), field) if marks else type(part))
        for key, value in vars(part).items():
            object.__setattr__(copy, key, inner(key, value))
        if marks:
            object.__setattr__(copy, NAME, name)
        return copy


_ARRAYS = (jax.Array, np.ndarray)


def _parts(part: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(part, (list, tuple)):
        return enumerate(part)
    if isinstance(part, dict):
        return part.items()
    return vars(part).items() if isinstance(part, sys.modules["equinox"].Module) else ()
