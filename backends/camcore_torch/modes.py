"""Function modes of PyTorch: see each function as it is called, in this thread alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class CallMode(TorchFunctionMode):
    """Sends each call of a PyTorch function through `see`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one function of PyTorch."""
        return self.see(func, getattr(func, "__name__", ""), args, kwargs or {})

    def see(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call the function of this name, and note or alter what it does."""
        return func(*args, **kwargs)
