"""The adapter's entry point: which models are its own, and how to adapt, load and time them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from camcore.adapter import Mode
from camcore.errors import BackendError
from camcore.zoo import LoadedModel

from . import saved, zoo
from .adapter import TensorFlowAdapter
from .layers import keras_of


class TensorFlowBackend:
    """Find and adapt Keras models on TensorFlow; see `camcore.registry.Backend`."""

    name = "TensorFlow"
    schemes = tuple(zoo.SCHEMES)
    suffixes: Mapping[str, str] = dict.fromkeys((".keras", ".h5", ".hdf5"), "keras-file")

    def owns(self, model: object) -> bool:
        """Tell whether the model is of Keras 3 on TensorFlow, of tf_keras, or a SavedModel."""
        return keras_of(model) is not None or saved.function_of(model) is not None

    def adapt(self, model: object) -> TensorFlowAdapter:
        """Return the model's adapter; what was compiled for the model stays with the model."""
        if keras_of(model) is not None:
            return TensorFlowAdapter(model)
        if saved.function_of(model) is not None:
            return saved.SavedAdapter(saved.frozen(model), saved.function_of(model))
        kind = type(model).__name__
        raise BackendError(
            f"{kind} is no Keras model on TensorFlow. Give one of Keras or tf_keras."
        )

    def adapt_in(self, model: object, mode: Mode) -> TensorFlowAdapter:
        """Return an adapter that runs the model in another mode than inference."""
        if keras_of(model) is None:
            raise BackendError(f"A SavedModel runs as it was saved; leave mode={mode!r} out.")
        return TensorFlowAdapter(model, mode)

    load_options = zoo.LOAD_OPTIONS

    def load(
        self, scheme: str, name: str, weights: str | None = None, **options: Any
    ) -> LoadedModel:
        """Load a model by name; see `camcore_tensorflow.zoo`."""
        return zoo.load(scheme, name, weights, **options)

    def synchronize(self) -> None:
        """Wait until the device has finished."""
        tf.test.experimental.sync_devices()
