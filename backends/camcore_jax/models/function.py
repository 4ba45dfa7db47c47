"""Plain JAX functions, whose parts the user marks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import jax

from camcore.adapter import Channels, Layer

from ..inputs import call
from .base import Model


@dataclass(frozen=True, eq=False)
class Function:
    """A model that is a function and its parameters; `camcore_jax.mark` names its layers.

    Parameters
    ----------
    function : callable
        ``function(parameters, inputs)`` gives the outputs; several inputs are several arguments.
    parameters : pytree of arrays
        What it is called with first.
    inputs : nest of arrays or jax.ShapeDtypeStruct
        An example of its inputs, by which its layers are found; nothing is computed.
    channels : {"first", "last"}
        Where images have their channels.
    """

    function: Callable[..., Any]
    parameters: Any
    inputs: Any
    channels: Channels = "last"


class FunctionModel(Model):
    """A `Function`."""

    def __init__(self, model: Function, kept: dict[str, Any]) -> None:
        super().__init__(model, kept)
        self.channels = model.channels

    def split(self) -> tuple[Hashable, Any]:
        """Return the parameters; all else of a function is constant."""
        return (), self.model.parameters

    def call(self, static: Any, parameters: Any, inputs: Any) -> Any:
        """Call the function, which marks its layers itself."""
        return call(functools.partial(self.model.function, parameters), inputs)

    def layers(self) -> Iterable[Layer]:
        """List what is marked, as the example shows."""
        if "names" not in self.kept:
            from ..graph import marks_in

            closed = jax.make_jaxpr(lambda p, x: jax.tree.leaves(self.call((), p, x)))(
                self.model.parameters, self.model.inputs
            )
            self.kept["names"] = list(marks_in(closed.jaxpr))
        return [Layer(name, "mark", None) for name in self.kept["names"]]
