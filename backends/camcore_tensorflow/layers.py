"""The layers of a Keras model: their paths, finding one by its name, where its channels are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from camcore._shared import keras_layers
from camcore.adapter import Channels, LayerName, LayerRecord
from camcore.errors import LayerError
from camcore.layers.names import unknown_layer

from .capture import Capture
from .frozen import FrozenGraph

_CHANNELS: dict[Any, Channels] = {"channels_first": "first", "channels_last": "last"}


def keras_of(model: object) -> Any:
    """Return the Keras that made the model, None if it does not compute with TensorFlow."""
    keras, legacy = sys.modules.get("keras"), sys.modules.get("tf_keras")
    if legacy and isinstance(model, legacy.layers.Layer):
        return legacy
    if keras and isinstance(model, keras.layers.Layer) and keras.backend.backend() == "tensorflow":
        return keras
    return None


def walk(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield every layer below the model, parents first, with its unique path ``outer/inner``."""
    return keras_layers.walk(model, keras_of(model).metrics.Metric)


def check_reachable(records: Sequence[LayerRecord], layers: Mapping[str, Any]) -> None:
    """Refuse a model that only wraps a saved one, or puts its preprocessing before it.

    Raises
    ------
    LayerError
        Beside a `TFSMLayer` nothing runs that has weights, but for `Normalization`.
    """
    saved = [path for path, layer in layers.items() if type(layer).__name__ == "TFSMLayer"]
    around = {path for path in layers if any(f"{one}/".startswith(f"{path}/") for one in saved)}
    learnt = [
        record
        for record in records
        if record.layer.name not in {"", *around}
        and record.layer.kind != "Normalization"
        and getattr(layers.get(record.layer.name), "weights", True)
    ]
    if saved and not learnt:
        raise LayerError(
            f"A TFSMLayer ({saved[0] or 'the model'}) runs a SavedModel, whose own layers "
            "cannot be reached. Load the model itself, from a .keras or .h5 file, or build it anew "
            "and load its weights; or explain it at its input: method='saliency'."
        )


def find(name: str, layers: Mapping[str, Any]) -> Capture:
    """Find what to capture for a layer's name.

    Parameters
    ----------
    name : str
        A path, which may end in ``@activated``, ``@linear``, ``@attention`` or ``@`` and a leaf,
        and in ``#N``, or the input's name.
    layers : mapping of str to keras.Layer
        The model's layers by path.

    Raises
    ------
    LayerError
        The model has no such layer, or the layer no such part.
    """
    parsed = LayerName.among(name, layers)
    if parsed.is_input:
        return Capture(parsed, None)
    layer = layers.get(parsed.path)
    if layer is None or (parsed.part == "linear" and not hasattr(layer, "activation")):
        raise unknown_layer(name, layers)
    return Capture(parsed, layer)


def input_channels(model: Any) -> Channels:
    """Read the layout from the first layer that has a data format, else from Keras' settings."""
    if isinstance(model, FrozenGraph):
        return model.input_channels
    own = (_CHANNELS.get(getattr(layer, "data_format", None)) for _, layer in walk(model))
    return next(filter(None, own), _CHANNELS[keras_of(model).backend.image_data_format()])


def channels(own: str | None, rank: int, images: Channels) -> Channels | None:
    """Say where an output of `rank` axes has its channels; images and volumes follow the model."""
    follows = images if rank in (4, 5) else None
    return _CHANNELS.get(own, follows) if rank > 2 else None
