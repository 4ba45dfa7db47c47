"""Load models by the name a person types, with what shows them a photograph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.registry import adapter, backend, frameworks


@dataclass(frozen=True)
class LoadedModel:
    """A model found by a name, with what is needed to show it a photograph.

    Parameters
    ----------
    model : object
        The framework's model, ready to be explained.
    preprocess : callable
        Takes one RGB photograph, ``(size, size, 3)`` uint8, already cropped and
        scaled to `size`, and returns a batch of one as the model takes it.
    size : int
        Side of the square the model expects, in pixels.
    resize : int
        The photograph's short side is scaled to this before the centre crop.
    interpolation : {"bilinear", "bicubic", "nearest", "lanczos"}
        How the photograph is scaled.
    classes : sequence of str or None
        Class names by index, where they are known.
    pretrained : bool
        Whether the weights were loaded rather than drawn at random.
    default_layer : str or None
        The layer to explain when none is asked for; None lets it be chosen.
    """

    model: object
    preprocess: Callable[[npt.NDArray[np.uint8]], Any]
    size: int
    resize: int
    interpolation: str = "bilinear"
    classes: Sequence[str] | None = None
    pretrained: bool = False
    default_layer: str | None = None


def load_model(spec: str, weights: str | None = None) -> LoadedModel:
    """Find a model by the name a person types.

    Parameters
    ----------
    spec : str
        ``scheme:name`` with a scheme that a backend knows (``torchvision:resnet50``,
        ``timm:...``, ``keras:ResNet50``), a path to a ``.keras`` file, or
        ``package.module:function``, which is called without arguments and returns a
        model or a `camcore.zoo.LoadedModel`.
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


@cache
def imagenet_classes() -> tuple[str, ...] | None:
    """Names of the 1,000 classes by index, or None where no installed package has them.

    Notes
    -----
    They are those in torchvision's ``models/_meta.py``. That one file is read on its
    own: importing torchvision takes seconds, and after TensorFlow it can end the
    process, since it loads Triton, whose LLVM clashes with TensorFlow's.
    """
    package = find_spec("torchvision")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "models" / "_meta.py"
    spec = spec_from_file_location("_camcore_imagenet", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    names = getattr(module, "_IMAGENET_CATEGORIES", None)
    return None if names is None else tuple(names)
