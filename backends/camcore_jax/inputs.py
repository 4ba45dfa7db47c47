"""What a model is called with: any nest in, arrays by path out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from camcore.adapter import Channels, Layer
from camcore.errors import InputError
from camcore.nest import fill, flatten

_INFERENCE = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
    "inference": True,
}
"""What tells a model that it is in inference, by the names that its arguments have."""


@dataclass(frozen=True)
class Inputs:
    """A model's inputs.

    Parameters
    ----------
    leaves : mapping of str to array
        By path.
    skeleton : nest
        The inputs' nest with the leaves' positions in place of the leaves.
    """

    leaves: Mapping[str, Any]
    skeleton: Any

    @classmethod
    def read(cls, inputs: Any, floating: Any) -> Inputs:
        """Turn what the model takes into arrays, floating ones of the model's dtype.

        Raises
        ------
        InputError
            There is no array, or one without a batch axis.
        """
        given = {path: leaf for path, leaf in flatten(inputs) if leaf is not None}
        if not given:
            raise InputError(f"The inputs hold no array: {inputs!r}. Give what the model takes.")
        leaves = {path: _typed(leaf, floating) for path, leaf in given.items()}
        for path, leaf in leaves.items():
            if not leaf.ndim:
                raise InputError(
                    f"Input {path!r} is a single number, not a batch. Give arrays of shape "
                    "(B, ...)."
                )
        return cls(leaves, fill(inputs, iter(range(len(leaves)))))

    @property
    def batch(self) -> int:
        """Number of samples."""
        return int(next(iter(self.leaves.values())).shape[0])

    @property
    def first(self) -> Inputs:
        """The first sample, as a batch of one."""
        batch = self.batch
        one = {p: leaf[:1] if leaf.shape[0] == batch else leaf for p, leaf in self.leaves.items()}
        return Inputs(one, self.skeleton)

    def nest(self, leaves: Sequence[Any]) -> Any:
        """Put leaves where the model takes them."""
        return fill(self.skeleton, iter(leaves))


def call(function: Callable[..., Any], inputs: Any, about: Callable[..., Any] | None = None) -> Any:
    """Call a model's function with what the model takes, in inference.

    Parameters
    ----------
    function : callable
        What to call.
    inputs : nest of arrays
        Several arguments where it is a tuple or list, or a dictionary of as many as it takes.
    about : callable
        Whose signature to read, where that is not `function`'s own.
    """
    parameters = inspect.signature(about or function).parameters
    options = {name: value for name, value in _INFERENCE.items() if name in parameters}
    needed = list(_needed(parameters))
    if isinstance(inputs, Mapping) and (len(needed) > 1 or needed[:1] == list(inputs)):
        return function(**inputs, **options)
    several = isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields")
    return function(*(inputs if several else [inputs]), **options)


def image_shape(layers: Iterable[Layer], channels: Channels) -> tuple[int | None, ...] | None:
    """Read what images a model takes off its first convolution; None where none says it.

    Parameters
    ----------
    layers : iterable of Layer
        All of the model's. Those of Flax NNX and of Equinox say how many channels they take.
    channels : {"first", "last"}
        Where the model takes them.
    """
    for layer in layers:
        kernel: Any = getattr(layer.native, "kernel_size", None)
        features = ("in_channels", "in_features")
        count = next((n for f in features if (n := getattr(layer.native, f, None))), None)
        if isinstance(kernel, (tuple, list)) and isinstance(count, int):
            sides = [None] * len(kernel)
            return (None, count, *sides) if channels == "first" else (None, *sides, count)
    return None


def _needed(parameters: Mapping[str, inspect.Parameter]) -> Iterator[str]:
    for name, one in parameters.items():
        is_named = one.kind is one.POSITIONAL_OR_KEYWORD and name not in ("self", *_INFERENCE)
        if is_named and one.default is one.empty:
            yield name


def _typed(leaf: Any, floating: Any) -> Any:
    array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
    is_floating = jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.asarray(array, floating if is_floating else None)
