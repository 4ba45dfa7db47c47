"""Leave activation checkpoints out: what they would compute a second time is kept instead.

A reentrant checkpoint refuses ``autograd.grad``, and cuts off what a hook does inside it.
The other kind is served as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch.utils import checkpoint

_usual = checkpoint.CheckpointFunction
_changing = threading.Lock()
_without: set[int] = set()
"""Threads in which checkpoints are left out."""


class _Kept(_usual):
    """Runs the function once, in threads that want that."""

    @classmethod
    def apply(cls, function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        """Run a function that is to be checkpointed."""
        if are_left_out():
            return function(*args)
        return _usual.apply(function, preserve, *args)


def are_left_out() -> bool:
    """Tell whether reentrant checkpoints of this thread just run what they hold."""
    return threading.get_ident() in _without


def leave_out(wanted: bool) -> None:
    """Let this thread's reentrant checkpoints just run what they hold, or be as usual again."""
    with _changing:
        (_without.add if wanted else _without.discard)(threading.get_ident())
        vars(checkpoint)["CheckpointFunction"] = _Kept if _without else _usual
