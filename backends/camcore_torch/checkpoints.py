"""Leave activation checkpoints out: what they would compute a second time is kept instead.

A reentrant checkpoint refuses ``autograd.grad``, and cuts off what a hook does inside it.
The other kind is served as it is.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils import checkpoint

_usual = checkpoint.CheckpointFunction
_changing = threading.Lock()
_without: Counter[int] = Counter()
"""How often each thread is within `left_out`."""


class _Kept(_usual):
    """Runs the function once, in threads that want that."""

    @classmethod
    def apply(cls, function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        """Run a function that is to be checkpointed."""
        if threading.get_ident() in _without:
            return function(*args)
        return _usual.apply(function, preserve, *args)


@contextmanager
def left_out() -> Iterator[None]:
    """Within, and in this thread only, reentrant checkpoints just run what they hold."""
    here = threading.get_ident()
    with _changing:
        _without[here] += 1
        vars(checkpoint)["CheckpointFunction"] = _Kept
    try:
        yield
    finally:
        with _changing:
            _without[here] -= 1
            if not _without[here]:
                del _without[here]
            if not _without:
                vars(checkpoint)["CheckpointFunction"] = _usual
