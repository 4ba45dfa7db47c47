"""Models by name, with the preprocessing they were trained with; nothing is downloaded."""

from __future__ import annotations

import json
import pkgutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow as tf

from camcore._shared.reading import reading
from camcore.errors import InputError
from camcore.photos.preprocessing import Preprocessing
from camcore.targets.stated import of_loss
from camcore.zoo import (
    LoadedModel,
    check_weights,
    demonstration,
    demonstration_weights,
    imagenet_classes,
    unit_scaled,
    unknown_model,
)

from .saved import frozen, function_of

_SCALING = ("Rescaling", "Normalization")
"""Layers that a model scales pixels with itself."""


def load(scheme: str, name: str, weights: str | None = None) -> LoadedModel:
    """Find a model by name.

    Parameters
    ----------
    scheme : {"keras", "keras-file", "saved-model", "demo-keras"}
        ``keras:ResNet50`` is one of `keras.applications`, drawn at random unless given
        weights; ``keras-file:PATH`` a saved model, which takes pixels from 0 to 255 as
        they are; ``saved-model:FOLDER`` what `tf.saved_model.save` or ``model.export`` wrote,
        which is shown RGB in [0, 1]; ``demo-keras:efficientnet_lite0`` has ImageNet weights
        from a package.
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
    made = next((known for known in families if known.lower() == name.lower()), None)
    if made is None:
        raise unknown_model("keras", name.lower(), families)
    model = getattr(families[made], made)(weights=None)
    _load_weights(model, weights)
    preprocessing = Preprocessing(mode=families[made].preprocess_input, channels_first=False)
    return _loaded(model, preprocessing, classes=imagenet_classes(), pretrained=weights is not None)


def _file(name: str, weights: str | None) -> LoadedModel:
    import keras

    expected = "a Keras model, as model.save writes it (register custom classes first)"
    with reading(Path(name), expected):
        model = keras.saving.load_model(name, compile=False)
    _check_weights(model, name)
    _load_weights(model, weights)
    grey = _image_shape(model)[-1] == 1
    preprocessing = Preprocessing(mode="raw", channels_first=False, grey=grey)
    loss = _loss_takes(name)
    scales = any(type(layer).__name__ in _SCALING for layer in model.layers)
    assumed = None if scales else "pixels from 0 to 255, as they are"
    return _loaded(model, preprocessing, pretrained=True, activation=loss, assumed=assumed)


def _saved(folder: str, weights: str | None) -> LoadedModel:
    if weights is not None:
        raise InputError(f"{folder} holds its own weights; got weights={weights!r}.")
    expected = "a SavedModel, as tf.saved_model.save or model.export writes it"
    with reading(Path(folder) / "saved_model.pb", expected):
        model = tf.saved_model.load(folder)
        if function_of(model) is None:
            raise ValueError("it has no signature, which says what it takes and gives")
        graph = frozen(model)
    shape = next((s.shape for s in graph.specs if s.shape.rank == 4), None)
    side = None if shape is None else shape[2]
    return unit_scaled(model, channels_first=graph.input_channels == "first", size=side)


def _loss_takes(path: str) -> str | None:
    """Read from a saved model's loss what makes probabilities of the scores it returns."""
    import keras

    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        compiled = json.loads(archive.read("config.json")).get("compile_config") or {}
    try:
        scale = of_loss(keras.losses.get(compiled.get("loss")))
    except (ValueError, TypeError):  # a loss of one's own, or one for each output
        return None
    return scale.activation if scale and not scale.applied and scale.activation != "none" else None


def _demo(name: str, weights: str | None) -> LoadedModel:
    if name != "efficientnet_lite0":
        raise unknown_model("demo-keras", name, ["efficientnet_lite0"])
    from .zoo_efficientnet_lite import efficientnet_lite0, load_torch_state

    model = efficientnet_lite0()
    if weights is None:
        load_torch_state(model, demonstration_weights().values())
    _load_weights(model, weights)
    return demonstration(model, channels_first=False)


SCHEMES: Mapping[str, Callable[[str, str | None], LoadedModel]] = {
    "keras": _application,
    "keras-file": _file,
    "saved-model": _saved,
    "demo-keras": _demo,
}


def _loaded(model: Any, preprocessing: Preprocessing, **shown: Any) -> LoadedModel:
    """Describe the model at the size that its input says, or at 224."""
    size = _image_shape(model)[2] or 224
    shown = {"resize": round(size * 256 / 224), **shown}
    return LoadedModel(model, preprocessing.prepare, size, **shown)


def _image_shape(model: Any) -> Sequence[int | None]:
    """Read the shape of the model's one image, all None where it does not say."""
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


def _load_weights(model: Any, path: str | None) -> None:
    if path is not None:
        with reading(Path(path), f"weights of {model.name}, as model.save_weights writes them"):
            model.load_weights(path)
        _check_weights(model, path)


def _check_weights(model: Any, path: str) -> None:
    import keras

    check_weights(path, {one.path: keras.ops.convert_to_numpy(one) for one in model.weights})
