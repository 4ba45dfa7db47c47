"""Equinox modules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from camcore.adapter import Channels, Layer
from camcore.errors import MethodError
from camcore.nest import map_parts

from ..marks import NAME, marking_class
from ..weights import Weights
from .base import Model, is_floating


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

    def held(self) -> Mapping[str, Sequence[Any]]:
        """List the floating arrays that each module has of its own, and its running statistics.

        Arrays of NumPy are none: Equinox trains those of JAX alone.
        """
        modules = {"": self._module, **dict(self._below(self._module, ""))}
        return {
            name: [*(_vector(a) if a is _bias(modules[name]) else a for a in own), *stats]
            for name, (own, stats) in self._floating().items()
        }

    def holding(self, parameters: Mapping[str, Sequence[Any]]) -> Any:
        """Copy the module and its state, with these in place of the modules' own."""
        news: dict[int, Any] = {}
        statistics: dict[str, Sequence[Any]] = {}
        own = self._floating()
        for name, arrays in parameters.items():
            olds, stats = own[name]
            pairs = zip(olds, arrays, strict=False)
            news.update((id(old), _like(old, new)) for old, new in pairs)
            if stats:
                statistics[name] = arrays[len(olds) :]
        module = jax.tree.map(lambda leaf: news.get(id(leaf), leaf), self._module)
        if not isinstance(self.model, Equinox):
            return module
        return replace(self.model, model=module, state=self._with_statistics(statistics))

    def _with_statistics(self, statistics: Mapping[str, Sequence[Any]]) -> Any:
        """Copy the state, with these in place of the running statistics of some modules."""
        modules = dict(self._below(self._module, ""))
        state = jax.tree.map(lambda leaf: leaf, self._state)  # setting anything spends a state
        for name, arrays in statistics.items():
            index = _index(modules[name])
            pairs = zip(state.get(index), arrays, strict=True)
            state = state.set(index, tuple(_like(old, new) for old, new in pairs))
        return state

    def _floating(self) -> dict[str, tuple[list[Any], list[Any]]]:
        """List each module's own arrays, each once, and the statistics that the state has of it.

        Raises
        ------
        MethodError
            A batch normalisation keeps its statistics in a state that is not given.
        """
        found: dict[str, tuple[list[Any], list[Any]]] = {}
        seen: set[int] = set()
        for name, module in [("", self._module), *self._below(self._module, "")]:
            own = [a for a in self._own(module) if id(a) not in seen]
            seen.update(map(id, own))
            is_norm = isinstance(module, self._eqx.nn.BatchNorm)
            if is_norm and self._state is None:
                raise MethodError(
                    f"The running statistics of {name!r} are not in the module: give its state, "
                    "camcore_jax.Equinox(model, state=state)."
                )
            stats = [*self._state.get(_index(module))] if is_norm else []
            if own or stats:
                found[name] = own, stats
        return found

    def _own(self, part: Any) -> Iterator[Any]:
        """Yield the floating arrays of a module that are of no callable one inside it."""
        for _, inner in _parts(part):
            if isinstance(inner, jax.Array) and is_floating(inner):
                yield inner
            elif not (isinstance(inner, self._eqx.Module) and callable(inner)):
                yield from self._own(inner)

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


def _index(norm: Any) -> Any:
    """Find where a state has the running statistics of a batch normalisation."""
    return norm.ema_state_index if norm.mode == "ema" else norm.batch_state_index


def _bias(module: Any) -> Any:
    return getattr(module, "bias", None)


def _vector(bias: Any) -> Any:
    """Bring the bias of a convolution, (O, 1, 1), to (O,)."""
    return bias.ravel() if bias.size == max(bias.shape, default=0) else bias


def _like(old: Any, new: Any) -> Any:
    return jnp.asarray(new, old.dtype).reshape(old.shape)
