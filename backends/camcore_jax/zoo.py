"""The one model that comes with weights: the demonstration's."""

from __future__ import annotations

from camcore.errors import InputError
from camcore.zoo import LoadedModel, demonstration, demonstration_weights, unknown_model

from .zoo_efficientnet_lite import EfficientNetLite0, load_torch_state


def load(scheme: str, name: str, weights: str | None = None) -> LoadedModel:
    """Load a model by name.

    Parameters
    ----------
    scheme : {"demo-jax"}
        The only one.
    name : {"efficientnet_lite0"}
        The only one, with ImageNet weights from a package.
    weights : None
        It has its own.

    Raises
    ------
    InputError
        There is no such model, or weights are given.
    MissingExtraError
        The package of weights is not installed.
    """
    if scheme != "demo-jax" or name != "efficientnet_lite0":
        raise unknown_model(scheme, name, ["efficientnet_lite0"])
    if weights is not None:
        raise InputError(f"The demo's model has its own weights; leave out weights={weights!r}.")
    model = EfficientNetLite0()
    load_torch_state(model, demonstration_weights().values())
    return demonstration(model, channels_first=False)
