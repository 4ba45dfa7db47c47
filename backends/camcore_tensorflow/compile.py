"""Compiling, and keeping what was compiled for as long as the model lives."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tensorflow as tf

from camcore.errors import CamcoreError

from .preserve import tracing

T = TypeVar("T")

_Function = type(tf.function(lambda: None))

_KEEP = 64
"""Compiled functions kept for a model; the one used longest ago goes first."""


@dataclass
class CompileCache:
    """What is known about one model: whether it is built, and what was compiled for it."""

    built: bool = False
    traces: int = 0
    compiled: OrderedDict[Hashable, dict[int | None, Any]] = field(default_factory=OrderedDict)

    def fetch(self, key: Hashable, batch: int, make: Callable[[int | None], T]) -> T:
        """Compile for the first batch size seen, then once more for all the others."""
        with tracing:
            sizes = self.compiled.setdefault(key, {})
            self.compiled.move_to_end(key)
            if len(self.compiled) > _KEEP:
                self.compiled.popitem(last=False)
            if batch not in sizes and None not in sizes:
                size, made = self._make(batch, make, any_size=bool(sizes))
                sizes[size] = made
            return sizes[batch] if batch in sizes else sizes[None]

    def _make(
        self, batch: int, make: Callable[[int | None], T], *, any_size: bool
    ) -> tuple[int | None, T]:
        self.traces += 1
        if any_size:
            try:
                return None, make(None)
            except CamcoreError:
                raise
            except (TypeError, ValueError) as error:
                if not _lacks_batch_size(error):
                    raise
            self.traces += 1
        return batch, make(batch)


_caches: weakref.WeakKeyDictionary[Any, CompileCache] = weakref.WeakKeyDictionary()


def cache_of(model: Any) -> CompileCache:
    """Return the cache of a model, which goes when the model goes."""
    with tracing:
        return _caches.setdefault(model, CompileCache())


def weak(thing: Any) -> Hashable:
    """Make a key that keeps nothing alive and never equals that of a later object."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return thing


def compiled(body: Callable[..., Any], specs: Sequence[tf.TensorSpec]) -> Any:
    """Trace `body` into one function of the whole model."""
    return traced(lambda: tf.function(body, autograph=False).get_concrete_function(*specs))


def traced(trace: Callable[[], T]) -> T:
    """Trace with the model's own tf.functions opened up, so that their layers are in reach."""
    try:
        with _functions_opened():
            return trace()
    except tf.errors.OperatorNotAllowedInGraphError:
        # Python control flow on tensors needs the autograph that only tf.function brings.
        return trace()


@contextmanager
def _functions_opened() -> Iterator[None]:
    """Run tf.functions as the Python they were made of, in this thread only."""
    usual, here = _Function.__call__, threading.get_ident()

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        # A function of a saved model, which is of another class, has no Python to run.
        if threading.get_ident() == here and type(function) is _Function:
            return function.python_function(*args, **kwargs)
        return usual(function, *args, **kwargs)

    with tracing:
        _Function.__call__ = call
        try:
            yield
        finally:
            _Function.__call__ = usual


def _lacks_batch_size(error: Exception) -> bool:
    """Tell whether tracing failed for want of a known batch size, which Python sees as None."""
    # Keras adds the arguments' shapes to every error, and their batch size is unknown.
    cause = str(error).partition("Arguments received by")[0]
    return "None" in cause or "unknown" in cause
