"""Tracing a model without a footprint: what a trace sets, only the thread that traces sees.

While a model is traced, its layers' attributes are read from and written to copies, through
functions that their class has for that thread alone. Keras looks `call` up on the layer
instance each time it runs one, so a function put among the copies sees every call, however
the model was put together. Nothing is put back, since nothing was written.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from copy import copy
from typing import Any, TypeAlias, TypeVar, cast

import tensorflow as tf
from tensorflow.python.eager import context

from .layers import keras_of, walk

F = TypeVar("F", bound=Callable[..., Any])

Patch: TypeAlias = Callable[[Any, str, Callable[..., Any]], None]

# Held while a model is traced: functions of classes are swapped by one thread at a time.
tracing = threading.RLock()


def uninterrupted(verb: F) -> F:
    """Let a function run to its end, and only then Ctrl-C through; a second one waits no longer.

    Ctrl-C stops the main thread between any two instructions, those by which TensorFlow, Keras
    and this package clean up among them, and some that TensorFlow does not survive. So the main
    thread lets another one run the function, in its own context, and waits.
    """

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return verb(*args, **kwargs)
        future: Future[Any] = Future()
        state, after, device = _keras_state(), dict[str, Any](), context.context().device_name

        def begin() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                _keras_state().update(state)
                with tf.device(device) if device else nullcontext():
                    result = verb(*args, **kwargs)
                after.update(_keras_state())
                future.set_result(result)
            except BaseException as error:
                after.update(_keras_state())
                future.set_exception(error)

        try:
            threading.Thread(target=copy_context().run, args=(begin,), daemon=True).start()
            return future.result()
        except KeyboardInterrupt:
            if not future.cancel():
                wait([future])
            raise
        finally:
            state.update(after)

    return cast(F, run)


def _keras_state() -> dict[str, Any]:
    """Return what Keras keeps for this thread: policies, scopes, variables yet to be made."""
    keras = sys.modules.get("keras.src.backend.common.global_state")
    return vars(keras.GLOBAL_STATE_TRACKER) if keras else {}


@contextmanager
def swapped(owner: type, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Give a class another function, for this thread alone; its first argument is the usual one."""
    usual, is_own, here = getattr(owner, name), name in vars(owner), threading.get_ident()

    def either(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == here:
            return function(usual, *args, **kwargs)
        return usual(*args, **kwargs)

    with tracing:
        setattr(owner, name, either)
        try:
            yield
        finally:
            setattr(owner, name, usual) if is_own else delattr(owner, name)


@contextmanager
def apart(model: Any) -> Iterator[Patch]:
    """Let this thread run the model's layers on copies of their attributes, lists, sets and dicts.

    Yields
    ------
    patch : callable
        ``patch(layer, name, around)`` sends the layer's function `name`, where the graph being
        traced runs it, through ``around(layer, function, ...)``. The inside of a loop or of
        another function runs it as ever, since no tensor can leave that.
    """
    copies: dict[int, Any] = {}
    patched: dict[int, dict[str, Any]] = {}
    graph = tf.compat.v1.get_default_graph()

    def copied(value: Any) -> Any:
        # TensorFlow's own wrappers only look like containers; nothing of a call ends in them.
        is_own = not type(value).__module__.startswith("tensorflow")
        if not (is_own and isinstance(value, (list, dict, set))):
            return value
        return copies.setdefault(id(value), copy(value))

    layers = [model, *(layer for _, layer in walk(model))]
    attributes = {id(x): {name: copied(value) for name, value in vars(x).items()} for x in layers}
    for each in attributes.values():
        if "_remat_mode" in each:
            # Computing again in the backward pass changes no number, and hides the first.
            each["_remat_mode"] = None

    def is_managed(layer: Any, name: str) -> bool:
        """Tell whether the layer's class answers for the attribute, as a property does."""
        return hasattr(getattr(type(layer), name, None), "__set__")

    def get(usual: Any, layer: Any, name: str) -> Any:
        own = attributes.get(id(layer))
        if own is None:
            return usual(layer, name)
        if name in patched.get(id(layer), ()):
            return patched[id(layer)][name]
        if name == "__dict__":
            return own
        return own[name] if name in own and not is_managed(layer, name) else usual(layer, name)

    def put(usual: Any, layer: Any, name: str, value: Any) -> None:
        if id(layer) not in attributes or is_managed(layer, name):
            usual(layer, name, value)
        else:
            attributes[id(layer)][name] = value

    def remove(usual: Any, layer: Any, name: str) -> None:
        if name in attributes.get(id(layer), ()):
            del attributes[id(layer)][name]
        else:
            usual(layer, name)

    def patch(layer: Any, name: str, around: Callable[..., Any]) -> None:
        usual = getattr(layer, name)

        @functools.wraps(usual, updated=())
        def either(*args: Any, **kwargs: Any) -> Any:
            if tf.compat.v1.get_default_graph() is graph:
                return around(layer, usual, *args, **kwargs)
            return usual(*args, **kwargs)

        patched.setdefault(id(layer), {})[name] = either

    owner = keras_of(model).layers.Layer
    with (
        swapped(owner, "__getattribute__", get),
        swapped(owner, "__setattr__", put),
        swapped(owner, "__delattr__", remove),
    ):
        yield patch


def patch_call(patch: Patch, layer: Any, around: Callable[..., Any]) -> None:
    """Send every call of a layer through ``around(layer, call, ...)``."""
    patch(layer, "quantized_call" if getattr(layer, "quantization_mode", None) else "call", around)
