"""Which adapter owns this model.

Adapters are found through the entry-point group ``camcore.backends``, ours in
the same way as a stranger's. One is loaded only when its framework already is:
a model cannot be of a framework that nobody has imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from camcore.errors import BackendError, InputError, MissingExtraError
from camcore.trace import Adapter, Array, Backend, FastBackend, LoadedModel

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "camcore.backends"

_EXTRA_OF = {"torch": "torch", "tensorflow": "tensorflow", "keras": "tensorflow"}


@cache
def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and not always needed

    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _load(framework: str) -> Backend:
    try:
        backend = _entry_points()[framework].load()
    except (ImportError, AttributeError) as error:
        raise BackendError(f"The adapter for {framework!r} cannot be loaded: {error}") from error
    if not isinstance(backend, Backend):
        raise BackendError(
            f"The entry point {framework!r} of {GROUP} is a {type(backend).__name__}, "
            "which lacks parts of camcore.trace.Backend."
        )
    return backend


def frameworks() -> dict[str, bool]:
    """Frameworks that an adapter is registered for, and whether each is installed.

    Keys are import names; nothing is imported.
    """
    return {name: find_spec(name) is not None for name in _entry_points()}


def backend(framework: str) -> Backend:
    """The backend of a framework by import name; imports the framework.

    Parameters
    ----------
    framework : str
        Name of an entry point: ``"torch"``, ``"tensorflow"``.

    Returns
    -------
    Backend

    Raises
    ------
    BackendError
        No adapter is registered for it.
    MissingExtraError
        The framework is not installed.
    """
    if framework not in _entry_points():
        raise BackendError(
            f"No adapter is registered for {framework!r}; there are {', '.join(_entry_points())}."
        )
    if find_spec(framework) is None:
        extra = _EXTRA_OF.get(framework)
        package = f"'camcore[{extra}]'" if extra else framework
        raise MissingExtraError(
            f"{framework} is not installed. Install it with: pip install {package}"
        )
    import_module(framework)
    return _load(framework)


def adapter(model: object, fast: bool | str | Sequence[str] = False) -> Adapter:
    """The adapter of a model, found among the frameworks that are imported.

    Parameters
    ----------
    model : object
        A model of such a framework, or an adapter, which is returned as it is.
    fast : bool, str, or sequence of str
        Faster ways to run the model than its own, by the framework's names for them;
        True is those that the framework recommends.

    Returns
    -------
    Adapter

    Raises
    ------
    BackendError
        No installed adapter owns the model; the message names the extra to install. Or
        the framework has no such fast way.
    """
    if isinstance(model, Adapter):
        return model
    ways = [fast] if isinstance(fast, str) else fast
    for framework in _entry_points():
        if framework in sys.modules:
            candidate = _load(framework)
            if candidate.owns(model):
                return _fast(candidate, model, ways) if ways else candidate.adapt(model)
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    roots = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    for root, extra in _EXTRA_OF.items():
        if root in roots and extra not in _entry_points():
            raise BackendError(
                f"The model is a {kind}, but no adapter for {extra} is registered. "
                f"Install it with: pip install 'camcore[{extra}]'"
            )
    loaded = [name for name in _entry_points() if name in sys.modules]
    raise BackendError(
        f"No adapter owns a {kind}. Adapters are loaded for: {', '.join(loaded) or 'nothing'}. "
        "Give a torch.nn.Module or a Keras model; for another framework install an adapter "
        f"that registers under the entry-point group {GROUP!r}."
    )


def _fast(owner: Backend, model: object, ways: bool | Sequence[str]) -> Adapter:
    if not isinstance(owner, FastBackend):
        raise BackendError(
            f"{owner.name} has no faster way to run a model than it does already; leave `fast` out."
        )
    return owner.adapt_fast(model, owner.fast_ways if ways is True else list(ways or ()))


def load_model(spec: str, weights: str | None = None) -> LoadedModel:
    """Find a model by the name a person types.

    Parameters
    ----------
    spec : str
        ``scheme:name`` with a scheme that a backend knows (``torchvision:resnet50``,
        ``timm:...``, ``keras:ResNet50``), a path to a ``.keras`` file, or
        ``package.module:function``, which is called without arguments and returns a
        model or a `camcore.trace.LoadedModel`.
    weights : str, optional
        A file of weights; a function loads its own.

    Returns
    -------
    LoadedModel

    Raises
    ------
    InputError
        Nothing goes by that name.
    MissingExtraError
        Its framework is not installed.
    """
    if spec.endswith((".keras", ".h5", ".hdf5")):
        return backend("tensorflow").load("keras-file", spec, weights)
    scheme, colon, name = spec.partition(":")
    if not colon or not scheme or not name:
        raise InputError(
            f"{spec!r} names no model. Expected scheme:name as in torchvision:resnet50, "
            "a .keras file, or package.module:function."
        )
    if "." in scheme or (find_spec(scheme) is not None and scheme not in _SCHEMES):
        if weights is not None:
            raise InputError(
                f"{spec!r} is a function, which loads its own weights; got weights={weights!r}."
            )
        return _call(scheme, name)
    if scheme in _SCHEMES:
        return backend(_SCHEMES[scheme]).load(scheme, name, weights)
    known = [*_SCHEMES]
    for framework, installed in frameworks().items():
        if installed and framework not in _SCHEMES.values():
            known += backend(framework).schemes
            if scheme in backend(framework).schemes:
                return backend(framework).load(scheme, name, weights)
    raise InputError(f"{spec!r}: unknown scheme {scheme!r}; there are {', '.join(known)}.")


# Known without importing a framework; a stranger's adapter is asked for its own.
_SCHEMES = {
    "torchvision": "torch",
    "timm": "torch",
    "demo-torch": "torch",
    "keras": "tensorflow",
    "keras-file": "tensorflow",
    "demo-keras": "tensorflow",
}


def _call(module: str, function: str) -> LoadedModel:
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(f"{module}:{function} cannot be found: {error}") from error
    if not callable(make):
        raise InputError(f"{module}:{function} is a {type(make).__name__}, not a function.")
    made = make()
    if isinstance(made, LoadedModel):
        return made
    return LoadedModel(
        model=made, preprocess=_unit_range(made), size=224, resize=256, pretrained=True
    )


def _unit_range(model: object) -> Callable[[npt.NDArray[np.uint8]], Array]:
    """Preprocessing for a model that says nothing of its own: RGB in [0, 1]."""
    first = adapter(model).input_channels == "first"

    def preprocess(photo: npt.NDArray[np.uint8]) -> Array:
        batch = photo[None].astype(np.float32) / 255
        return np.ascontiguousarray(np.moveaxis(batch, -1, 1)) if first else batch

    return preprocess
