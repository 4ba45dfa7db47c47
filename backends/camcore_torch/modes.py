"""Function modes of PyTorch: see each function as it is called, in this thread alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import _C, overrides


def current() -> list[Any]:
    """List this thread's function modes, outermost first."""
    return [_C._get_function_stack_at(i) for i in range(_C._len_torch_function_stack())]


def replace(modes: list[Any]) -> None:
    """Put other function modes in place of this thread's."""
    while _C._len_torch_function_stack():
        _C._pop_torch_function_stack()
    for mode in modes:
        _C._push_on_torch_function_stack(mode)


class CallMode(overrides.TorchFunctionMode):
    """Sends each call of a PyTorch function through `see`."""

    def __exit__(self, *raised: Any) -> None:
        """Leave the mode, which PyTorch itself has lost where Ctrl-C came within its functions."""
        if self in current():
            super().__exit__(*raised)  # type: ignore[no-untyped-call]

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
