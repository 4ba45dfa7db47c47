"""Compiling, and keeping what was compiled for as long as the model lives."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tensorflow as tf

from camcore.errors import CamcoreError

from .capture import tracing

T = TypeVar("T")

_KEEP = 64
"""Compiled functions kept for a model; the one used longest ago goes first."""


@dataclass
class CompileCache:
    """What is known about one model: whether it is built, and what was compiled for it."""

    ready: bool = False
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
                self._make(sizes, None if sizes else batch, batch, make)
            return sizes[batch] if batch in sizes else sizes[None]

    def _make(
        self, sizes: dict[int | None, T], size: int | None, batch: int, make: Callable[..., T]
    ) -> None:
        self.traces += 1
        try:
            sizes[size] = make(size)
        except CamcoreError:
            raise
        except Exception:
            # The model may only trace for a known batch size; if not, it says why again.
            if size is not None:
                raise
            self._make(sizes, batch, batch, make)


_caches: weakref.WeakKeyDictionary[Any, CompileCache] = weakref.WeakKeyDictionary()


def cache_of(model: Any) -> CompileCache:
    """Return the store of a model, which goes when the model goes."""
    with tracing:
        return _caches.setdefault(model, CompileCache())


def weak(thing: Any) -> Hashable:
    """Return a key that keeps nothing alive and never equals that of a later object."""
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
        with _opened():
            return trace()
    except tf.errors.OperatorNotAllowedInGraphError:
        # Python control flow on tensors needs the autograph that only tf.function brings.
        return trace()


@contextmanager
def _opened() -> Iterator[None]:
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
