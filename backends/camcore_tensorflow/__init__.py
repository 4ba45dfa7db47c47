"""camcore's adapter for Keras models on TensorFlow: Keras 3 and tf_keras."""

from .adapter import TensorFlowAdapter
from .backend import TensorFlowBackend

__all__ = ["TensorFlowAdapter", "backend"]

backend = TensorFlowBackend()
"""What the entry point hands to camcore; see `camcore.registry.Backend`."""
