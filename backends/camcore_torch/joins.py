"""What a model concatenates, such as class tokens and patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from camcore_torch.modes import CallMode

_JOINS = frozenset({"cat", "concat", "concatenate"})
"""Functions by ``__name__``."""


class Joins(CallMode):
    """Notes the lengths of arrays ``(., ., .)`` that are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self._noted: list[tuple[int, ...]] = []

    def see(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call the function, and note what it puts together."""
        result = func(*args, **kwargs)
        if name in _JOINS and result.ndim == 3:
            self._note(*args, **kwargs)
        return result

    def take(self) -> tuple[tuple[int, ...], ...]:
        """List the lengths of what was put together since this was last asked for."""
        noted, self._noted = tuple(self._noted), []
        return noted

    def _note(
        self, tensors: Sequence[torch.Tensor], dim: int = 0, *, axis: int = 0, **_: Any
    ) -> None:
        self._noted.append(tuple(tensor.shape[dim or axis] for tensor in tensors))
