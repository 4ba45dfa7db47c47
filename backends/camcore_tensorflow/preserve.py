"""Tracing a model without a footprint: what a trace sets, only the thread that traces sees.

Keras looks `call` up on the layer instance each time it runs one, so a function that stands
there for the tracing thread sees every call, however the model was put together.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.python.eager import context

from camcore._shared import interrupts
from camcore._shared.apart import attributes_apart

from .layers import keras_of, walk

Patch: TypeAlias = Callable[[Any, str, Callable[..., Any]], None]


def _keras_state() -> dict[str, Any]:
    """Return what Keras keeps for this thread: policies, scopes, variables yet to be made."""
    keras = sys.modules.get("keras.src.backend.common.global_state")
    return vars(keras.GLOBAL_STATE_TRACKER) if keras else {}


def settings() -> Any:
    """Let another thread go on with this thread's Keras state and TensorFlow device."""
    state, device = _keras_state(), context.context().device_name

    @contextmanager
    def inside() -> Iterator[None]:
        before, own = dict(state), _keras_state()
        own.update(before)
        try:
            with tf.device(device) if device else nullcontext():
                yield
        finally:
            state.update({k: own[k] for k in own if own[k] is not before.get(k)})

    return inside()


uninterrupted = interrupts.uninterrupted(settings)


@contextmanager
def apart(model: Any) -> Iterator[Patch]:
    """Let this thread run the model's layers on copies of their attributes.

    Yields
    ------
    patch : callable
        ``patch(layer, name, around)`` sends the layer's function `name`, where the graph being
        traced runs it, through ``around(layer, function, ...)``. The inside of a loop or of
        another function runs it as ever, since no tensor can leave that.
    """
    graph, layers = tf.compat.v1.get_default_graph(), [model, *(each for _, each in walk(model))]
    owner = keras_of(model).layers.Layer

    def is_plain(value: Any) -> bool:
        # TensorFlow's own wrappers only look like containers; nothing of a call ends in them.
        return not type(value).__module__.startswith("tensorflow")

    with attributes_apart(layers, owner, is_plain) as override:

        def patch(layer: Any, name: str, around: Callable[..., Any]) -> None:
            usual = getattr(layer, name)

            @functools.wraps(usual, updated=())
            def either(*args: Any, **kwargs: Any) -> Any:
                if tf.compat.v1.get_default_graph() is graph:
                    return around(layer, usual, *args, **kwargs)
                return usual(*args, **kwargs)

            override(layer, name, either)

        for layer in layers:
            if "_remat_mode" in vars(layer):
                # Computing again in the backward pass changes no number, and hides the first.
                override(layer, "_remat_mode", None)
        yield patch


def patch_call(patch: Patch, layer: Any, around: Callable[..., Any]) -> None:
    """Send every call of a layer through ``around(layer, call, ...)``."""
    patch(layer, "quantized_call" if getattr(layer, "quantization_mode", None) else "call", around)
