"""What the adapter asks of a model, whichever library it is from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

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
