"""What the adapter asks of a model, whichever library it is from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from camcore.adapter import Channels, Layer

from ..weights import Weights


class Model(ABC):
    """A model as a function of parameters and inputs, whose layers mark what they return.

    Parameters
    ----------
    model : object
        The user's model, which is only read.
    kept : dict
        Empty at first; what is found out of the model, for as long as it lives.
    """

    channels: Channels = "last"

    def __init__(self, model: Any, kept: dict[str, Any]) -> None:
        self.model, self.kept = model, kept

    @abstractmethod
    def split(self) -> tuple[Hashable, Any]:
        """Take the model apart: what a trace knows as constant, and a tree of parameters."""

    @abstractmethod
    def call(self, static: Any, parameters: Any, inputs: Any) -> Any:
        """Run the model in inference, with a mark behind each layer."""

    @abstractmethod
    def layers(self) -> Iterable[Layer]:
        """List every layer below the model, parents first, as far as they are known by now."""

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Put layers that ran behind those that did not, in the order in which they began."""
        seen = self.kept.get("seen", {})
        return [*dict.fromkeys(name for name in names if name not in seen), *seen]

    def weights(self) -> Mapping[str, Weights] | None:
        """Read what layers hold, by their names; None where nothing says which layer holds what."""
        return None

    def held(self) -> Mapping[str, Sequence[Any]] | None:
        """List the floating parameters and running statistics of layers; None where not known."""
        return None

    def holding(self, parameters: Mapping[str, Sequence[Any]]) -> Any:
        """Make a model like the user's, with these arrays in place of its layers' own."""
        raise NotImplementedError(f"{type(self).__name__}.holding")


_FIRST = ("kernel", "embedding", "scale", "bias", "mean", "var")


def in_parameter_order(names: Iterable[str]) -> list[str]:
    """Sort the names of a layer's parameters as other frameworks list them."""
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    return sorted(names, key=lambda name: (ranks.get(name, len(ranks)), name))


def channels_first(name: str, array: Any) -> Any:
    """Bring a kernel ``(*K, C, O)`` to (O, C, *K)."""
    return jnp.moveaxis(array, (-1, -2), (0, 1)) if name == "kernel" and array.ndim > 1 else array


def channels_last(name: str, array: Any, like: Any) -> Any:
    """Bring a kernel (O, C, *K) to ``(*K, C, O)``, and any array to the dtype of another."""
    moves = name == "kernel" and np.ndim(array) > 1
    return jnp.asarray(np.moveaxis(array, (0, 1), (-1, -2)) if moves else array, like.dtype)


def is_floating(array: Any) -> bool:
    """Tell whether something is an array of floating numbers."""
    return hasattr(array, "dtype") and bool(jnp.issubdtype(array.dtype, jnp.floating))
