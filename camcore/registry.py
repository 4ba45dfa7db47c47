"""Find the adapter that owns a model.

Adapters are found through the entry-point group ``camcore.backends``, ours in
the same way as a stranger's. One is loaded only when its framework already is:
a model cannot be of a framework that nobody has imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Protocol,
    TypeAlias,
    cast,
    get_args,
    runtime_checkable,
)

import numpy as np
import numpy.typing as npt

from camcore.adapter import Adapter, Mode
from camcore.errors import BackendError, InputError, MissingExtraError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "camcore.backends"


Fit: TypeAlias = Literal["crop", "stretch", "letterbox", "measured"]
"""How a photograph becomes what a model is shown."""


@dataclass(frozen=True)
class LoadedModel:
    """A model found by a name, with what is needed to show it a photograph.

    Parameters
    ----------
    model : object
        The framework's model, ready to be explained.
    preprocess : callable
        Takes one RGB photograph, ``(size, size, 3)`` uint8, already cropped and
        scaled to `size`, and returns a batch of one as the model takes it. Where it makes the
        same of whole float32 from 0 to 255, it is given photographs of more than 8 bits so;
        else these are rounded to 256 levels.
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
    activation : {"softmax", "sigmoid", "none"} or None
        What makes probabilities of the scores that the model returns, where it is known.
    assumed : str or None
        How photographs are shown to the model where nothing says how they should be, such as
        ``"RGB from 0 to 1"``; None where it is known.
    fit : {"crop", "stretch", "letterbox", "measured"}
        How a photograph becomes the square: the middle of it; all of it, with its sides
        stretched to `resize` before the middle is cut; or all of it, with grey bars beside.
        ``"measured"``: as `view` makes it, a square or not, which is found out by ramps.
    view : callable or None
        Makes that of a whole photograph, ``(H, W, 3)`` uint8 or float32 from 0 to 255, as
        the model's own library does; None where that is Pillow with `interpolation`.
    aim : callable or None
        Makes the target of a class by its index, or of None for the best, where the model does
        not give one score for each class, as detectors do not.
    """

    model: object
    preprocess: Callable[[npt.NDArray[np.uint8]], Any]
    size: int
    resize: int
    interpolation: str = "bilinear"
    classes: Sequence[str] | None = None
    pretrained: bool = False
    default_layer: str | None = None
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    assumed: str | None = None
    fit: Fit = "crop"
    view: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] | None = None
    aim: Callable[[int | None], Any] | None = None

    @property
    def defaults(self) -> dict[str, Any]:
        """Options of `camcore.Explainer` that suit the model."""
        return {"layer": self.default_layer, "activation": self.activation}


@dataclass(frozen=True)
class LoadOptions:
    """What a model is loaded with, beside its name.

    Parameters
    ----------
    weights : str or None
        A file of weights, as the framework saves them.
    checkpoint : str or None
        A file that training wrote, with weights somewhere in it.
    pretrained : bool
        Whether to take the library's own weights, which may be downloaded.
    num_classes : int or None
        Number of classes that the model is made for; the library's own unless given.
    device : str or None
        Where the model is to be, by the framework's name for it.
    """

    weights: str | None = None
    checkpoint: str | None = None
    pretrained: bool = False
    num_classes: int | None = None
    device: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that are set, by name."""
        return {name: value for name, value in vars(self).items() if value not in (None, False)}

    @property
    def has_weights(self) -> bool:
        """Whether weights are asked for, from anywhere."""
        return self.pretrained or self.weights is not None or self.checkpoint is not None

    def only(self, allowed: Collection[str], why: str) -> None:
        """Refuse options that do not apply.

        Parameters
        ----------
        allowed : collection of str
            Those that do.
        why : str
            Why others do not, as the beginning of the error: ``"x.onnx holds its own weights"``.

        Raises
        ------
        InputError
            Another one is set.
        """
        if other := {name: value for name, value in self.given.items() if name not in allowed}:
            named = ", ".join(f"{name}={value!r}" for name, value in other.items())
            raise InputError(f"{why}; got {named}.")


@runtime_checkable
class Backend(Protocol):
    """What an adapter package registers under the entry-point group ``camcore.backends``.

    The entry point's name is the import name of the framework.
    """

    name: str
    """The framework's name for people: ``"PyTorch"``."""

    schemes: Sequence[str]
    """The prefixes that `load` understands: ``("timm", "torchvision")``."""

    def owns(self, model: object) -> bool:
        """Tell whether `adapt` can serve this model."""

    def adapt(self, model: object) -> Adapter:
        """Make the model's adapter; the same model may be adapted many times cheaply."""

    def load(self, scheme: str, name: str, weights: str | None = None) -> LoadedModel:
        """Find a model by name, e.g. ``load("torchvision", "resnet50")``.

        Parameters
        ----------
        scheme : str
            One of `schemes`.
        name : str
            The model's name there.
        weights : str or None
            A file of weights to load; nothing is downloaded.
        """

    def synchronize(self) -> None:
        """Wait until the device has finished; for timing."""


@runtime_checkable
class OptionBackend(Backend, Protocol):
    """A backend that loads models with more options than a file of weights."""

    load_options: Collection[str]
    """The keyword arguments that `load` takes beside `weights`, as `LoadOptions` names them."""

    def load(
        self, scheme: str, name: str, weights: str | None = None, **options: Any
    ) -> LoadedModel:
        """Find a model by name, with any of `load_options`."""


@runtime_checkable
class CachingBackend(Backend, Protocol):
    """A backend whose libraries keep models in caches of their own."""

    def cached_files(self, scheme: str, name: str) -> Sequence[Path]:
        """List the files in a cache that a name is loaded from; none where there are none."""


class DescribingBackend(Backend, Protocol):
    """A backend that knows how photographs are shown to some models, as objects."""

    def describe(self, model: object) -> LoadedModel | None:
        """Describe a model that carries its preprocessing; None of one that does not.

        Raises
        ------
        InputError
            It carries one that photographs cannot be shown by.
        """


@runtime_checkable
class FastBackend(Backend, Protocol):
    """A backend that can run models in faster ways than their own, on request."""

    fast_ways: Sequence[str]
    """Those to take where none is named."""

    def adapt_fast(self, model: object, ways: Sequence[str]) -> Adapter:
        """Make the adapter of a model that runs in these ways; the model stays as it is.

        Raises
        ------
        BackendError
            A way is unknown, or this model cannot be run so.
        """


@runtime_checkable
class ModeBackend(Backend, Protocol):
    """A backend that can run models in other modes than inference."""

    def adapt_in(self, model: object, mode: Mode) -> Adapter:
        """Make the adapter of a model that runs in this mode; the model stays as it is."""


@runtime_checkable
class FileBackend(Backend, Protocol):
    """A backend that models in files belong to."""

    suffixes: Mapping[str, str]
    """For each ending of such a file, the scheme that `load` takes its path with:
    ``{".onnx": "onnx"}``."""


_SAVED = (
    "It has no signature, which says what a SavedModel takes and gives. Save the model with "
    "model.export or signatures=..., or give the Keras model itself."
)
_WAYS_OUT = {
    "builtins.function": "Give the model that the function calls.",
    "builtins.method": "Give the model that the method belongs to.",
    "functools.partial": "Give the model that the function calls.",
    "builtins.dict": "It holds weights: make the model, and load them into it.",
    "builtins.list": "Explain one model after the other.",
    "builtins.tuple": "Give the model alone.",
    "builtins.NoneType": "What was to make the model returned nothing.",
    "camcore.Explainer": "It holds its model: call it, explainer(images).",
    "camcore.Explanation": "It is a result: explain the model again.",
    "PjitFunction": (
        "Give the model that the function calls, or the function that was compiled as "
        "camcore_jax.Function(function, parameters, inputs)."
    ),
    "haiku.Transformed": "Give camcore_jax.Haiku(transformed, parameters).",
    "haiku.TransformedWithState": "Give camcore_jax.Haiku(transformed, parameters, state).",
    "torch.ScriptFunction": "Give the nn.Module that was traced.",
    "torch.AOTICompiledModel": "Give the exported program or the nn.Module it was compiled from.",
    "Interpreter": "A TFLite interpreter keeps no gradients: give the Keras model it came from.",
    "openvino.Model": "Give the ONNX file or the model that it was converted from.",
    "openvino.CompiledModel": "Give the ONNX file or the model that it was converted from.",
    "tensorflow._UserObject": _SAVED,
    "tensorflow.AutoTrackable": _SAVED,
    "tensorflow.Function": (
        "Give the Keras model that the function calls, or function.get_concrete_function(...)."
    ),
}
"""What to give in place of objects that hold no layers, by package and class, or by class."""

_FILE_WAYS_OUT = {
    ".pt": (
        "It holds weights or a pickled module: load it with torch.load, and give the module. "
        "camcore.zoo.load_model takes torch:FILE and ultralytics:FILE."
    ),
    ".pth": "It holds weights: make the model, and load them into it with load_state_dict.",
    ".safetensors": "It holds weights: make the model, and load them into it.",
    ".tflite": (
        "TFLite keeps no gradients: give the Keras model it came from, or turn it into ONNX with "
        "python -m tf2onnx.convert --tflite model.tflite --output model.onnx."
    ),
    ".xml": "If it is OpenVINO's, give the ONNX file or the model that it was converted from.",
    "": (
        "It is a path of no kind of file that holds a whole model, such as .keras, .pt2, .onnx or "
        "the folder of a SavedModel: load the model first, or see camcore.zoo.load_model."
    ),
}
"""What to give in place of files, by their endings."""

_FILES: Mapping[str, tuple[str, str]] = {
    ".keras": ("tensorflow", "keras-file"),
    ".h5": ("tensorflow", "keras-file"),
    ".hdf5": ("tensorflow", "keras-file"),
    ".pt2": ("torch", "pt2"),
    ".onnx": ("onnx", "onnx"),
}
"""Whose a file is, known without importing a framework; a stranger's adapter is asked for more."""

_EXTRA_OF = {
    "torch": "torch",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "flax": "jax",
    "equinox": "jax",
    "haiku": "jax",
    "onnx": "onnx",
    "onnxruntime": "onnx",
}


@cache
def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and not always needed

    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _load(framework: str) -> Backend:
    try:
        backend = _entry_points()[framework].load()
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f"The adapter for {framework!r} cannot be loaded: {error}. Reinstall its package."
        ) from error
    if not isinstance(backend, Backend):
        raise BackendError(
            f"The entry point {framework!r} of {GROUP} is a {type(backend).__name__}, "
            "which lacks parts of camcore.registry.Backend."
        )
    return backend


def frameworks() -> dict[str, bool]:
    """List the frameworks that an adapter is registered for, and whether each is installed.

    Keys are import names; nothing is imported.
    """
    return {name: find_spec(name) is not None for name in _entry_points()}


def backend(framework: str) -> Backend:
    """Load the backend of a framework by its import name, and the framework with it.

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


def of_file(path: str | PathLike[str]) -> tuple[str, str] | None:
    """Find whose model a file is, by its ending; a folder, by what is in it.

    Parameters
    ----------
    path : str or path
        The file, which need not exist, or the folder of a TensorFlow SavedModel.

    Returns
    -------
    tuple of str, or None
        A framework, and the scheme that its backend loads the file with; None where no
        registered adapter claims such files.
    """
    suffix = Path(path).suffix.lower()
    if Path(path, "saved_model.pb").is_file():
        return "tensorflow", "saved-model"
    if suffix in _FILES:
        return _FILES[suffix]
    known = {framework for framework, _ in _FILES.values()}
    for framework, installed in frameworks().items() if suffix else ():
        if installed and framework not in known:
            owner = backend(framework)
            if isinstance(owner, FileBackend) and suffix in owner.suffixes:
                return framework, owner.suffixes[suffix]
    return None


def load_named(
    framework: str, scheme: str, name: str, options: LoadOptions | None = None
) -> LoadedModel:
    """Load a model by the name that a backend knows it by.

    Parameters
    ----------
    framework : str
        Import name of the backend's framework.
    scheme, name : str
        As `Backend.load` takes them.
    options : LoadOptions, optional
        What it is loaded with.

    Returns
    -------
    LoadedModel

    Raises
    ------
    InputError
        There is no such model, or the backend does not take one of the options.
    MissingExtraError
        The framework is not installed.
    """
    options = options or LoadOptions()
    owner = backend(framework)
    known = owner.load_options if isinstance(owner, OptionBackend) else ()
    options.only({"weights", *known}, f"{owner.name} has no such option for {scheme}:{name}")
    given = options.given
    return owner.load(scheme, name, given.pop("weights", None), **given)


def load_file(path: str | PathLike[str], options: LoadOptions | None = None) -> LoadedModel | None:
    """Load the model that a file holds; None where no registered adapter claims such files.

    Parameters
    ----------
    path : str or path
        The file.
    options : LoadOptions, optional
        What it is loaded with.

    Returns
    -------
    LoadedModel or None

    Raises
    ------
    InputError
        The file cannot be read.
    MissingExtraError
        Its framework is not installed.
    """
    found = of_file(path)
    return found and load_named(*found, fspath(path), options)


def describe(model: object) -> LoadedModel | None:
    """Ask the imported frameworks how photographs are shown to a model.

    Parameters
    ----------
    model : object
        Such as a pipeline of transformers.

    Returns
    -------
    LoadedModel or None
        None where nothing is known.

    Raises
    ------
    InputError
        Its own preprocessing is not for photographs.
    """
    for framework in filter(sys.modules.__contains__, _entry_points()):
        owner = _load(framework)
        # Asked at every call: a protocol's own check takes as long as all the rest.
        if hasattr(owner, "describe"):
            found = cast(DescribingBackend, owner).describe(model)
            if found is not None:
                return found
    return None


def loaded(model: object) -> LoadedModel | None:
    """Load the model that a path names, with what is known of it.

    Parameters
    ----------
    model : object
        A path, as `of_file` takes it, what it was loaded as already, or anything else.

    Returns
    -------
    LoadedModel or None
        None of what is no path of a model.
    """
    if isinstance(model, LoadedModel):
        return model
    return load_file(model) if isinstance(model, (str, PathLike)) else None


def opened(model: object) -> object:
    """Load the model that a path names.

    Parameters
    ----------
    model : object
        As `loaded` takes it.

    Returns
    -------
    object
        What is no path of a model, as it is.
    """
    found = loaded(model)
    return model if found is None else found.model


def adapter(
    model: object, fast: bool | str | Sequence[str] = False, mode: Mode = "eval"
) -> Adapter:
    """Find the adapter of a model among the frameworks that are imported.

    Parameters
    ----------
    model : object
        A model of such a framework, or an adapter, which is returned as it is. Or the path of
        a file that holds one, whose framework is then imported; see `of_file`.
    fast : bool, str, or sequence of str
        Faster ways to run the model than its own, by the framework's names for them;
        True is those that the framework recommends.
    mode : {"eval", "as-is", "train"}
        The mode that it runs in; an adapter keeps its own.

    Returns
    -------
    Adapter

    Raises
    ------
    BackendError
        No installed adapter owns the model; the message names the extra to install. Or
        the framework has no such fast way, or no such mode.
    """
    if mode not in get_args(Mode):
        raise BackendError(f"mode={mode!r}; expected 'eval', 'as-is' or 'train'.")
    if isinstance(model, Adapter):
        return model
    model = opened(model)
    ways = [fast] if isinstance(fast, str) else fast
    for framework in _entry_points():
        if framework in sys.modules:
            candidate = _load(framework)
            if candidate.owns(model):
                if mode != "eval":
                    return _in_mode(candidate, model, mode, ways)
                return _fast(candidate, model, ways) if ways else candidate.adapt(model)
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if advice := _way_out(model):
        raise BackendError(f"No adapter owns a {kind}. {advice}")
    roots = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    for root, extra in {**_EXTRA_OF, "keras": _keras_backend()}.items():
        if root in roots and extra not in _entry_points():
            raise BackendError(
                f"The model is a {kind}, but no adapter for {extra} is registered. "
                f"Install it with: pip install 'camcore[{extra}]'"
            )
    loaded = [name for name in _entry_points() if name in sys.modules]
    raise BackendError(
        f"No adapter owns a {kind}. Adapters are loaded for: {', '.join(loaded) or 'nothing'}. "
        "Give a torch.nn.Module, a Keras model or one on JAX; for another framework install an "
        f"adapter that registers under the entry-point group {GROUP!r}."
    )


def _keras_backend() -> str:
    """Name the framework that Keras computes with."""
    keras = sys.modules.get("keras")
    return keras.backend.backend() if keras is not None else "tensorflow"


def _way_out(model: object) -> str | None:
    """Say what to give in place of an object that holds no layers, where that is known."""
    if isinstance(model, dict) and not model:
        return None
    if isinstance(model, type):
        return f"It is a class, {model.__qualname__}: give a model made of it."
    own_root = type(model).__module__.partition(".")[0]
    for base in type(model).__mro__:
        root = base.__module__.partition(".")[0]
        if root == "tensorflow" != own_root:
            continue  # which Keras builds on
        for name in (f"{root}.{base.__name__}", base.__name__):
            if name in _WAYS_OUT:
                return _WAYS_OUT[name]
    if not isinstance(model, (str, PathLike)):
        return None
    return _FILE_WAYS_OUT.get(Path(model).suffix.lower(), _FILE_WAYS_OUT[""])


def _fast(owner: Backend, model: object, ways: bool | Sequence[str]) -> Adapter:
    if not isinstance(owner, FastBackend):
        raise BackendError(
            f"{owner.name} has no faster way to run a model than it does already; leave `fast` out."
        )
    return owner.adapt_fast(model, owner.fast_ways if ways is True else list(ways or ()))


def _in_mode(owner: Backend, model: object, mode: Mode, ways: bool | Sequence[str]) -> Adapter:
    if ways:
        raise BackendError(f"A fast copy runs in inference; leave out `fast`, or mode={mode!r}.")
    if not isinstance(owner, ModeBackend):
        raise BackendError(f"{owner.name} runs models in inference only; leave mode={mode!r} out.")
    return owner.adapt_in(model, mode)
