"""Patching a model's layers while it is traced, and leaving no footprint.

Keras looks `call` up on the layer instance each time it runs one, so a function put
into the instance's ``__dict__`` sees every call, however the model was put together.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from .layers import walk

_CONTAINERS: tuple[Any, ...] = (list, dict, set)

# Held while a model is read, patched and traced: two traces must not patch one model at a time.
tracing = threading.RLock()


@contextmanager
def preserved(model: Any) -> Iterator[None]:
    """Let the layers be patched, and put everything back.

    On leaving, the model and its layers have the attributes they had before, and their lists,
    sets and dicts the items, whatever was put or stored on them.

    """
    with tracing:
        layers = [model, *(layer for _, layer in walk(model))]
        before = [(vars(layer), dict, dict(vars(layer))) for layer in layers]
        before += [
            (value, kind, kind(value))
            for attributes, _, _ in before
            for value in attributes.values()
            for kind in _CONTAINERS
            # TensorFlow's own wrappers only look like containers; nothing of a call ends in them.
            if kind in type(value).__mro__ and not type(value).__module__.startswith("tensorflow")
        ]
        try:
            for layer in layers:
                if "_remat_mode" in vars(layer):
                    # Computing again in the backward pass changes no number, and hides the first.
                    layer.__dict__["_remat_mode"] = None
            yield
        finally:
            for container, kind, saved in before:
                _restore(container, kind, saved)


def patch_call(layer: Any, around: Callable[..., Any]) -> None:
    """Send every call of a layer in the graph being traced through ``around(layer, call, ...)``."""
    patch(layer, "quantized_call" if getattr(layer, "quantization_mode", None) else "call", around)


def patch(layer: Any, name: str, around: Callable[..., Any]) -> None:
    """Send the layer's function `name` through ``around(layer, function, ...)``.

    Other threads that use the model run it as ever, and so does the inside of a loop or of
    another function, whose tensors cannot leave it.
    """
    usual = getattr(layer, name)
    here, graph = threading.get_ident(), tf.compat.v1.get_default_graph()

    @functools.wraps(usual, updated=())
    def either(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == here and tf.compat.v1.get_default_graph() is graph:
            return around(layer, usual, *args, **kwargs)
        return usual(*args, **kwargs)

    layer.__dict__[name] = either


def _restore(container: Any, kind: Any, saved: Any) -> None:
    """Give a container its items back, without ever leaving it empty for another thread.

    Through the built-in type, since Keras' own containers track and lock what is put in.
    """
    if kind is dict:
        for key in dict.keys(container) - saved.keys():
            dict.pop(container, key, None)
        dict.update(container, saved)
    elif kind is list:
        list.__setitem__(container, slice(None), saved)
    elif container ^ saved:
        set.intersection_update(container, saved)
        set.update(container, saved)
