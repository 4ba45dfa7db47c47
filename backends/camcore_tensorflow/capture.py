"""Stepping between a model and its layers, and leaving no footprint.

Keras looks `call` up on the layer instance each time it runs one, so a function put
into the instance's ``__dict__`` sees every call, however the model was put together.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

from .nest import flatten, rebuild

Around = Callable[[Any, Callable[[], Any]], Any]
"""Takes a layer and a function that runs its call; returns what the call shall return."""

Part = Literal["output", "linear", "attention"]

_CONTAINERS: tuple[Any, ...] = (list, dict, set)

tracing = threading.RLock()
"""Held while layers are intercepted: two traces must not patch one model at a time."""


@dataclass(frozen=True)
class Capture:
    """A layer to capture.

    Parameters
    ----------
    name : str
        The name it was asked by.
    layer : keras.Layer or None
        The layer; None for the model's own input.
    call : int or None
        Which of its calls, counted from either end; None where none was named.
    part : {"output", "linear", "attention"}
        Whether to capture what the layer returns, what its own activation function is
        applied to, or the attention it computes.
    """

    name: str
    layer: Any
    call: int | None = None
    part: Part = "output"

    @property
    def key(self) -> tuple[int, Part]:
        """What targets have in common that differ only in the call."""
        return id(self.layer), self.part


def keras_of(model: object) -> Any:
    """Return the Keras that made the model, None if it does not compute with TensorFlow."""
    keras, legacy = sys.modules.get("keras"), sys.modules.get("tf_keras")
    if legacy and isinstance(model, legacy.layers.Layer):
        return legacy
    if keras and isinstance(model, keras.layers.Layer) and keras.backend.backend() == "tensorflow":
        return keras
    return None


def walk(model: Any) -> Iterator[tuple[str, Any]]:
    """Every layer below the model, parents first, with its unique path ``outer/inner``."""
    taken: set[str] = set()
    seen: set[int] = set()
    metric = keras_of(model).metrics.Metric

    def below(parent: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for layer in parent._flatten_layers(include_self=False, recursive=False):
            if id(layer) in seen or isinstance(layer, metric):
                continue
            seen.add(id(layer))
            path, copies = prefix + layer.name, 0
            while path in taken:
                copies += 1
                path = f"{prefix}{layer.name}_{copies}"
            taken.add(path)
            yield path, layer
            yield from below(layer, path + "/")

    return below(model, "")


def only_here(usual: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    """Return `instead` for this thread and the graph being traced, `usual` for all others.

    Others are other threads that use the model, and the inside of a loop or of another
    function, whose tensors cannot leave it.
    """
    here, graph = threading.get_ident(), tf.compat.v1.get_default_graph()

    @functools.wraps(usual, updated=())
    def either(*args: Any, **kwargs: Any) -> Any:
        inside = threading.get_ident() == here and tf.compat.v1.get_default_graph() is graph
        return (instead if inside else usual)(*args, **kwargs)

    return either


@contextmanager
def intercepted(model: Any, layers: Collection[Any], around: Around) -> Iterator[None]:
    """Send every call of `layers` in the graph being traced through `around`.

    On leaving, the model and its layers have the attributes they had before, whatever
    was put or stored on them.
    """

    def wrap(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        return only_here(call, lambda *args, **kw: around(layer, lambda: call(*args, **kw)))

    every = [model, *(layer for _, layer in walk(model))]
    with tracing, _untouched(every):
        for layer in every:
            if vars(layer).get("_remat_mode") is not None:
                # Computing again in the backward pass changes no number, and hides the first.
                layer.__dict__["_remat_mode"] = None
        for layer in layers:
            name = "quantized_call" if getattr(layer, "quantization_mode", None) else "call"
            layer.__dict__[name] = wrap(layer, getattr(layer, name))
        yield


@contextmanager
def _untouched(layers: Collection[Any]) -> Iterator[None]:
    """Restore the instance attributes of `layers`, and what their lists, sets and dicts hold."""
    before = [(layer.__dict__, dict(layer.__dict__)) for layer in layers]
    held: list[tuple[Any, Any, Any]] = [
        (value, kind, kind(value))
        for _, attributes in before
        for value in attributes.values()
        for kind in _CONTAINERS
        # TensorFlow's own wrappers only look like containers; nothing of a call ends in them.
        if kind in type(value).__mro__ and not type(value).__module__.startswith("tensorflow")
    ]
    try:
        yield
    finally:
        for attributes, saved in before:
            if not _same(attributes, saved):
                attributes.clear()
                attributes.update(saved)
        # Through the built-in type, since Keras' own containers track and lock what is put in.
        for value, kind, saved in held:
            if not _same(value, saved):
                kind.clear(value)
                (list.extend if kind is list else kind.update)(value, saved)


def _same(one: Any, other: Any) -> bool:
    """Whether two containers hold the same objects."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(one[key] is other[key] for key in one)
    return type(other)(map(id, one)) == type(other)(map(id, other))


def first_floating(output: Any) -> tf.Tensor | None:
    """Return the first floating tensor of what a layer returned."""
    leaves = flatten(output).values()
    tensors = (leaf for leaf in leaves if isinstance(leaf, tf.Tensor) and leaf.dtype.is_floating)
    return next(tensors, None)


def replace_first(output: Any, tensor: tf.Tensor) -> Any:
    """Put `tensor` in the place of the first floating tensor of what a layer returned."""
    first = first_floating(output)
    if (mask := getattr(first, "_keras_mask", None)) is not None:
        tensor._keras_mask = mask
    leaves = (tensor if leaf is first else leaf for leaf in flatten(output).values())
    return rebuild(output, leaves)
