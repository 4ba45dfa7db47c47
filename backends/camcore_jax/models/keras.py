"""Keras models on the JAX backend."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any

import keras

from camcore._shared import keras_layers
from camcore._shared.apart import attributes_apart
from camcore._shared.reads import Read, Snapshot, noting
from camcore._shared.same import is_installed
from camcore.adapter import Channels, Layer
from camcore.errors import BackendError

from ..inputs import call
from ..marks import mark, run_layer
from ..weights import Weights
from .base import Model

_CHANNELS: dict[Any, Channels] = {"channels_first": "first", "channels_last": "last"}
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
_OTHERS = (
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
)
_SHIFTED = ("LayerNormalization", "GroupNormalization")


class KerasModel(Model):
    """A model of Keras; its layers run on copies of their attributes, which one thread sees."""

    def __init__(self, model: Any, kept: dict[str, Any]) -> None:
        super().__init__(model, kept)
        own = (_CHANNELS.get(getattr(layer, "data_format", None)) for _, layer in self._walk())
        self.channels = next(filter(None, own), _CHANNELS[keras.config.image_data_format()])

    def split(self) -> tuple[Hashable, Any]:
        """Read the values of the model's variables.

        Raises
        ------
        BackendError
            The model has not been built, so it has none yet.
        """
        if not all(layer.built for layer in (self.model, *(each for _, each in self._walk()))):
            raise BackendError(
                f"{self.model.name!r} has not been built: call it once on a batch of its inputs."
            )
        if "reads" in self.kept and not self.kept["reads"].is_current():
            del self.kept["reads"]
            self.kept["changes"] = self.kept.get("changes", 0) + 1
        trained, others = self.model.trainable_variables, self.model.non_trainable_variables
        return self.kept.get("changes"), ([v.value for v in trained], [v.value for v in others])

    def call(self, static: Any, parameters: Any, inputs: Any) -> Any:
        """Call the model without a state of its own, and mark what each layer returns."""
        layers = dict(self._walk())
        owners = [self.model, *layers.values()]

        def stateless(*args: Any, **kwargs: Any) -> Any:
            kwargs["training"] = False
            return self.model.stateless_call(*parameters, *args, **kwargs)[0]

        with (
            noting() as reads,
            attributes_apart(owners, keras.layers.Layer, lambda _: True) as override,
        ):
            for name, layer in layers.items():
                quantized = getattr(layer, "quantization_mode", None)
                usual = "quantized_call" if quantized else "call"
                override(layer, usual, _marked(name, getattr(layer, usual)))
                if _activates(layer):
                    override(layer, "activation", _linear(name, layer.activation))
            outputs = call(stateless, inputs, type(self.model).call)
        self.kept["reads"] = Snapshot(filter(_matters, reads()), _is_own)
        return outputs

    def layers(self) -> Iterable[Layer]:
        """List the layers by their paths ``outer/inner``; equal ones are numbered ``_1``."""
        return [Layer(name, type(layer).__name__, layer) for name, layer in self._walk()]

    def weights(self) -> Mapping[str, Weights]:
        """Read the weights of Keras' own layers."""
        held = ((name, layer, _weights(layer)) for name, layer in self._walk() if layer.built)
        return {
            f"{name}@linear" if _activates(layer) else name: found
            for name, layer, found in held
            if found is not None
        }

    def _walk(self) -> Iterator[tuple[str, Any]]:
        """Yield every layer below the model with its path, parents first."""
        return keras_layers.walk(self.model, keras.metrics.Metric)


def _marked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function, updated=())
    def marked(*args: Any, **kwargs: Any) -> Any:
        return run_layer(name, function, *args, **kwargs)

    return marked


def _linear(name: str, activation: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(activation, updated=())
    def activate(linear: Any) -> Any:
        return activation(mark(linear, f"{name}@linear"))

    return activate


@functools.cache
def _machinery() -> set[str]:
    """Attributes of every layer that no number depends on."""
    return set(vars(keras.layers.Layer())) - {"_dtype_policy", "_trainable", "autocast"}


def _matters(read: Read) -> bool:
    """Tell whether a trace depends on an attribute that was read in it."""
    thing, name = read
    if name in vars(thing):
        return name not in _machinery()
    # A function put on the object would be called in place of its class's.
    is_called = name in ("call", "quantized_call", "activation")
    return is_called or any(name in vars(k) for k in type(thing).__mro__ if _is_own(k))


def _is_own(kind: type) -> bool:
    return not is_installed(kind)


def _activates(layer: Any) -> bool:
    activation = getattr(layer, "activation", None)
    return _is(layer, "Dense", *_CONVOLUTIONS, *_OTHERS) and (
        activation is not None and getattr(activation, "__name__", "") != "linear"
    )


def _is(layer: Any, *kinds: str) -> bool:
    return isinstance(layer, tuple(getattr(keras.layers, kind) for kind in kinds))


def _weights(layer: Any) -> Weights | None:
    def value(name: str) -> Any:
        variable = getattr(layer, name, None)
        return None if variable is None else variable.value

    if _is(layer, "BatchNormalization"):
        names = "beta gamma moving_mean moving_variance"
        return Weights.of_norm(value, names, layer.epsilon)
    if _is(layer, *_SHIFTED):
        return Weights(bias=value("beta"))
    if _is(layer, "Dense", *_CONVOLUTIONS, *_OTHERS):
        is_plain = not _is(layer, *_OTHERS) and getattr(layer, "groups", 1) == 1
        return Weights(value("kernel") if is_plain else None, value("bias"))
    return None
