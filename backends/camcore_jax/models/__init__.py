"""The libraries whose models are known, and how each one's layers are marked."""

from __future__ import annotations

import sys

from .base import Model

__all__ = ["Model", "model_of"]


def model_of(model: object) -> type[Model] | None:
    """Find what brings a model to JAX alone; None where no library here owns it.

    A library that nobody has imported has made no model, so it is not imported here either.
    """
    from . import function, haiku

    if isinstance(model, function.Function):
        return function.FunctionModel
    if isinstance(model, haiku.Haiku):
        return haiku.HaikuModel
    if (nnx := sys.modules.get("flax.nnx")) and isinstance(model, nnx.Module):
        from .nnx import NnxModel

        return NnxModel
    if (linen := sys.modules.get("flax.linen")) and isinstance(model, linen.Module):
        from .linen import LinenModel

        return LinenModel
    return _other(model)


def _other(model: object) -> type[Model] | None:
    from .equinox import Equinox

    equinox = sys.modules.get("equinox")
    if isinstance(model, Equinox) or (equinox and isinstance(model, equinox.Module)):
        from .equinox import EquinoxModel

        return EquinoxModel
    keras = sys.modules.get("keras")
    if keras and isinstance(model, keras.layers.Layer) and keras.backend.backend() == "jax":
        from .keras import KerasModel

        return KerasModel
    return None
