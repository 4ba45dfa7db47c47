"""The adapter's entry point: which models are its own, and how to adapt and time them."""

from __future__ import annotations

import jax

from camcore._shared.optional import needs
from camcore.errors import BackendError
from camcore.zoo import LoadedModel

from .adapter import JaxAdapter
from .models import model_of


class JaxBackend:
    """Find and adapt models on JAX; see `camcore.registry.Backend`."""

    name = "JAX"
    schemes = ("demo-jax",)

    def owns(self, model: object) -> bool:
        """Tell whether the model is of Flax, Equinox or Keras on JAX, or wrapped in camcore_jax."""
        return model_of(model) is not None

    def adapt(self, model: object) -> JaxAdapter:
        """Return the model's adapter; what was compiled for the model stays with the model."""
        if (kind := model_of(model)) is None:
            raise BackendError(
                f"{type(model).__name__} is no model on JAX. Give a module of Flax or Equinox, a "
                "Keras model on JAX, or camcore_jax.Haiku or camcore_jax.Function of your own."
            )
        return JaxAdapter(model, kind)

    load_options = ("device",)

    def load(
        self, scheme: str, name: str, weights: str | None = None, *, device: str | None = None
    ) -> LoadedModel:
        """Load a model: ``demo-jax:efficientnet_lite0``; see `camcore_jax.zoo`."""
        with needs("jax", "Loading the demo's model"):
            from . import zoo
        return zoo.load(scheme, name, weights, device=device)

    def synchronize(self) -> None:
        """Wait until the device has finished."""
        jax.effects_barrier()
        jax.device_put(0).block_until_ready()
