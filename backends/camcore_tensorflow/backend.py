"""The adapter's entry point: which models are its own, and how to adapt, load and time them."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from camcore.adapter import Mode
from camcore.errors import BackendError
from camcore.zoo import LoadedModel

from . import zoo
from .adapter import TensorFlowAdapter
from .layers import keras_of


class TensorFlowBackend:
    """Find and adapt Keras models on TensorFlow; see `camcore.registry.Backend`."""

    name = "TensorFlow"
    schemes = ("keras", "keras-file", "demo-keras")
    suffixes: Mapping[str, str] = dict.fromkeys((".keras", ".h5", ".hdf5"), "keras-file")

    def owns(self, model: object) -> bool:
        """Tell whether the model is one of Keras 3 on TensorFlow, or of tf_keras."""
        return keras_of(model) is not None

    def adapt(self, model: object) -> TensorFlowAdapter:
        """Return the model's adapter; what was compiled for the model stays with the model."""
        if not self.owns(model):
            kind = type(model).__name__
            raise BackendError(
                f"{kind} is no Keras model on TensorFlow. Give one of Keras or tf_keras."
            )
        return TensorFlowAdapter(model)

    def adapt_in(self, model: object, mode: Mode) -> TensorFlowAdapter:
        """Return an adapter that runs the model in another mode than inference."""
        return TensorFlowAdapter(model, mode)

    def load(self, scheme: str, name: str, weights: str | None = None) -> LoadedModel:
        """Load a model: ``keras:ResNet50``, ``keras-file:PATH``, ``demo-keras:...``."""
        return zoo.load(scheme, name, weights)

    def synchronize(self) -> None:
        """Wait until the device has finished."""
        tf.test.experimental.sync_devices()
