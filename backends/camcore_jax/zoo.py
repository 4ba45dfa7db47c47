"""The one model that comes with weights: the demonstration's."""

from __future__ import annotations

import jax

from camcore.errors import InputError
from camcore.zoo import LoadedModel, demonstration, demonstration_weights, unknown_model

from .zoo_efficientnet_lite import EfficientNetLite0, load_torch_state


def load(
    scheme: str, name: str, weights: str | None = None, *, device: str | None = None
) -> LoadedModel:
    """Load a model by name.

    Parameters
    ----------
    scheme : {"demo-jax"}
        The only one.
    name : {"efficientnet_lite0"}
        The only one, with ImageNet weights from a package.
    weights : None
        It has its own.
    device : str, optional
        Has to be the one that JAX computes on.

    Raises
    ------
    InputError
        There is no such model, weights are given, or JAX computes elsewhere.
    MissingExtraError
        The package of weights is not installed.
    """
    if scheme != "demo-jax" or name != "efficientnet_lite0":
        raise unknown_model(scheme, name, ["efficientnet_lite0"])
    if weights is not None:
        raise InputError(f"The demo's model has its own weights; leave out weights={weights!r}.")
    if device is not None:
        _check_device(device)
    model = EfficientNetLite0()
    load_torch_state(model, demonstration_weights().values())
    return demonstration(model, channels_first=False)


def _check_device(device: str) -> None:
    """Refuse a device that JAX would not compute on: it takes the first of its best platform."""
    first = jax.devices()[0]
    kinds = {first.platform, jax.default_backend()}
    if device.lower() not in {*kinds, *(f"{kind}:{first.id}" for kind in kinds)}:
        raise InputError(
            f"JAX computes on {first.platform}:{first.id} here, not on {device!r}. Which devices "
            "it sees is settled before it is imported: JAX_PLATFORMS=cpu, CUDA_VISIBLE_DEVICES=1."
        )
