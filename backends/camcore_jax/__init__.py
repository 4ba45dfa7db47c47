"""camcore's adapter for JAX: Flax, Equinox, Haiku, Keras on JAX, and plain functions."""

from .adapter import JaxAdapter
from .backend import JaxBackend
from .marks import mark
from .models.equinox import Equinox
from .models.function import Function
from .models.haiku import Haiku

__all__ = ["Equinox", "Function", "Haiku", "JaxAdapter", "backend", "mark"]

backend = JaxBackend()
"""What the entry point hands to camcore; see `camcore.registry.Backend`."""
