"""Models by name, with the preprocessing they were trained with."""

from __future__ import annotations

import json
import pkgutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow as tf

from camcore._shared.efficientnet_lite import SIZES
from camcore._shared.reading import reading
from camcore.errors import InputError
from camcore.photos.preprocessing import Preprocessing
from camcore.registry import LoadOptions
from camcore.targets.stated import of_loss
from camcore.zoo import (
    LoadedModel,
    check_weights,
    demonstration,
    demonstration_weights,
    imagenet_classes,
    library_weights,
    unit_scaled,
    unknown_model,
)

from .saved import frozen, function_of

_IMAGENET = 1000

_SCALING = ("Rescaling", "Normalization")
"""Layers that a model scales pixels with itself."""


LOAD_OPTIONS = ("checkpoint", "pretrained", "num_classes", "device")


def load(scheme: str, name: str, weights: str | None = None, **options: Any) -> LoadedModel:
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
    **options
        Of `camcore.registry.LoadOptions`. A `checkpoint` is what `keras.callbacks.ModelCheckpoint`
        writes, weights or a whole ``.keras`` file; a `device` has to be the one that TensorFlow
        computes on.

    Raises
    ------
    InputError
        The scheme, the name, the file or an option is not known or does not fit.
    MissingExtraError
        A package is not installed.
    """
    if scheme not in SCHEMES:
        raise InputError(f"Unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}.")
    wanted = LoadOptions(weights, **options)
    if wanted.device is not None:
        _check_device(wanted.device)
    return SCHEMES[scheme](name, replace(wanted, device=None))


def _check_device(device: str) -> None:
    """Refuse a device that TensorFlow would not compute on: it takes the first GPU that it sees."""
    used = "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
    if device.upper() not in (used, used.removesuffix(":0")):
        raise InputError(
            f"TensorFlow computes on {used} here, not on {device!r}. Which GPUs it sees is settled "
            "before it is imported: CUDA_VISIBLE_DEVICES=1, or empty for the CPU."
        )


def _application(name: str, options: LoadOptions) -> LoadedModel:
    families = _families()
    made = next((known for known in families if known.lower() == name.lower()), None)
    if made is None:
        raise unknown_model("keras", name.lower(), families)
    make = getattr(families[made], made)
    if options.pretrained:
        with library_weights(f"keras:{made}"):
            model = make(weights="imagenet")
    else:
        count = {} if options.num_classes is None else {"classes": options.num_classes}
        model = make(weights=None, **count)
        _load_weights(model, options)
    preprocessing = Preprocessing(mode=families[made].preprocess_input, channels_first=False)
    classes = imagenet_classes() if options.num_classes in (None, _IMAGENET) else None
    return _loaded(model, preprocessing, classes=classes, pretrained=options.has_weights)


def _file(name: str, options: LoadOptions) -> LoadedModel:
    import keras

    options.only({"weights", "checkpoint"}, f"{name} holds a model with its own weights")

    expected = "a Keras model, as model.save writes it (register custom classes first)"
    with reading(Path(name), expected):
        model = keras.saving.load_model(name, compile=False)
    _check_weights(model, name)
    _load_weights(model, options)
    grey = _image_shape(model)[-1] == 1
    preprocessing = Preprocessing(mode="raw", channels_first=False, grey=grey)
    loss = _loss_takes(name)
    scales = any(type(layer).__name__ in _SCALING for layer in model.layers)
    assumed = None if scales else "pixels from 0 to 255, as they are"
    return _loaded(model, preprocessing, pretrained=True, activation=loss, assumed=assumed)


def _saved(folder: str, options: LoadOptions) -> LoadedModel:
    options.only((), f"{folder} holds its own weights")
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


def _demo(name: str, options: LoadOptions) -> LoadedModel:
    options.only({"weights"}, f"demo-keras:{name} is for ImageNet's classes, with their weights")
    if name not in SIZES:
        raise unknown_model("demo-keras", name, SIZES)
    from .zoo_efficientnet_lite import efficientnet_lite, load_torch_state

    model = efficientnet_lite(name)
    if not options.has_weights:
        load_torch_state(model, demonstration_weights(name).values())
    _load_weights(model, options)
    return demonstration(model, channels_first=False, side=SIZES[name].side)


SCHEMES: Mapping[str, Callable[[str, LoadOptions], LoadedModel]] = {
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


def _load_weights(model: Any, options: LoadOptions) -> None:
    path = options.weights or options.checkpoint
    if path is not None:
        with reading(Path(path), f"weights of {model.name}, as model.save_weights writes them"):
            model.load_weights(path)
        _check_weights(model, path)


def _check_weights(model: Any, path: str) -> None:
    import keras

    check_weights(path, {one.path: keras.ops.convert_to_numpy(one) for one in model.weights})
