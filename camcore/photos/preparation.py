"""Turn photographs into what a model takes, by what is known of the model or said of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.adapter import Channels
from camcore.errors import InputError
from camcore.nest import batch_of, flatten, put, shape_of
from camcore.photos.measured import Floats, measured_crop
from camcore.photos.photo import Photo
from camcore.photos.prepared import PhotoInput, preprocessed
from camcore.photos.preprocessing import Preprocessing
from camcore.registry import LoadedModel

_RANDOM = re.compile(r"\b(Random\w+|\w*Jitter|\w*Augment\w*|AugMix|CutMix|MixUp|GaussianNoise)\b")
_FEW = 4
"""The most channels that a picture has."""

_LONG = 300
"""How many characters of what a user gives are repeated."""


@dataclass(frozen=True, eq=False)
class Preparation:
    """What is done to photographs before the model sees them.

    Parameters
    ----------
    said : str
        In words, such as ``"timm's pretrained_cfg: short side to 256 (bicubic), ..."``.
    one : callable
        Takes a `Photo`, and returns a `PhotoInput`.
    pixels : callable or None
        Takes pixels ``(h, w, 3)`` of any size, scales their values alone, and returns a batch of
        one. None where that cannot be had apart from scaling and cropping.
    side : int or None
        Side of the square that the model is shown, where it is known.
    scaling : str or None
        How `pixels` scales values, in words.
    """

    said: str
    one: Callable[[Photo], PhotoInput]
    pixels: Callable[[npt.NDArray[Any]], Any] | None = None
    side: int | None = None
    scaling: str | None = None

    def tile(self, photo: Photo) -> Any:
        """Prepare a tile of a picture, all of which the model is to see.

        Parameters
        ----------
        photo : Photo
            The tile; its pixels are neither scaled nor cropped where that can be left out.

        Returns
        -------
        array, tensor, or nest of these
            A batch of one, as the model takes it.

        Raises
        ------
        InputError
            Only a part of the tile would be shown.
        """
        if self.pixels is not None:
            return self.pixels(photo.pixels)
        made = self.one(photo)
        if made.crop is None or any(abs(side) > 1 for pair in made.crop.margins for side in pair):
            raise InputError(
                f"Tiles of {photo.pixels.shape[0]} × {photo.pixels.shape[1]} pixels would be shown "
                f"to the model in part, or with bars: {self.said}. Give a preprocess= that keeps a "
                "tile whole, such as one that only scales its values."
            )
        return made.inputs

    def batch(self, photos: Sequence[Photo]) -> tuple[Any, tuple[PhotoInput, ...]]:
        """Prepare photographs as one batch.

        Parameters
        ----------
        photos : sequence of Photo
            At least one.

        Returns
        -------
        inputs : array, tensor, or nest of these
            As the model takes it.
        photographs : tuple of PhotoInput
            Without inputs of their own.

        Raises
        ------
        InputError
            They cannot be prepared, or not as one batch.
        """
        prepared = [self.one(photo) for photo in photos]
        inputs = prepared[0].inputs
        if len(prepared) > 1:
            inputs = batch_of([one.inputs for one in prepared])
        return inputs, tuple(replace(one, inputs=None) for one in prepared)


def preparation(
    preprocess: Any, model: object, loaded: LoadedModel | None, channels: Channels
) -> Preparation:
    """Find how photographs are prepared for a model.

    Parameters
    ----------
    preprocess : object or None
        What the user gives: a `Preprocessing` or what `Preprocessing.of` reads, an image
        processor of transformers, a Keras application's ``preprocess_input``, or any callable
        that takes a photograph and returns what the model takes of it.
    model : object
        The model, which may itself say how photographs are shown to it.
    loaded : LoadedModel or None
        What it was loaded with, where camcore loaded it.
    channels : {"first", "last"}
        Where the model takes the channel axis of an image.

    Returns
    -------
    Preparation

    Raises
    ------
    InputError
        Nothing is known of it, or what is given says nothing of it.
    """
    if preprocess is not None:
        return _given(preprocess, model, channels)
    if loaded is not None:
        return _of_loaded(loaded)
    try:
        found = Preprocessing.of(model)
    except InputError as error:
        raise InputError(_unknown(model)) from error
    source = "timm's pretrained_cfg" if hasattr(model, "pretrained_cfg") else "the application"
    return _of_square(replace(found, channels_first=channels == "first"), source)


def _unknown(model: object) -> str:
    """Say what to give where nothing is known of a model's preprocessing."""
    own = "preprocess=camcore.Preprocessing(224)"
    if type(model).__module__.startswith("torchvision."):
        own = "preprocess=torchvision.models.ResNet50_Weights.DEFAULT, of the weights that it has"
    elif hasattr(model, "config") and hasattr(model.config, "model_type"):
        own = "preprocess=transformers.AutoImageProcessor.from_pretrained(...)"
    elif any(base.__module__.partition(".")[0] == "keras" for base in type(model).__mro__):
        own = "preprocess=keras.applications.resnet50.preprocess_input, or of your network"
    return (
        f"It is not known how photographs are shown to this {type(model).__name__}: its size and "
        f"how its pixels are scaled. Say it: {own}, or any function that turns a photograph into "
        "what the model takes. Or give that itself, as a floating array or tensor."
    )


def _of_loaded(loaded: LoadedModel) -> Preparation:
    said, scaling = _geometry(loaded), None
    owner = getattr(loaded.preprocess, "__self__", None)
    if isinstance(owner, Preprocessing):
        scaling = owner.scaling()
        said += f", {scaling}"
    if loaded.assumed is not None:
        said = f"assumed, as nothing is known of it: {loaded.assumed}"
    return _of_pixels(loaded, said, scaling)


def _of_pixels(loaded: LoadedModel, said: str, scaling: str | None) -> Preparation:
    one, pixels = partial(PhotoInput.for_model, loaded), partial(preprocessed, loaded)
    return Preparation(said, one, pixels, loaded.size, scaling)


def _geometry(loaded: LoadedModel) -> str:
    """Say in words which square of a photograph a model is shown."""
    size = f"{loaded.size} × {loaded.size}"
    if loaded.fit == "measured":
        return "scaled and cropped as the model's own library does it"
    if loaded.fit == "letterbox":
        return f"long side to {loaded.size} ({loaded.interpolation}), grey bars up to {size}"
    sides = "both sides" if loaded.fit == "stretch" else "short side"
    return f"{sides} to {loaded.resize} ({loaded.interpolation}), middle {size}"


def _of_square(found: Preprocessing, source: str) -> Preparation:
    loaded = LoadedModel(None, found.prepare, found.size, found.short_side, found.interpolation)
    said = f"{source}: {_geometry(loaded)}, {found.scaling()}"
    return _of_pixels(loaded, said, found.scaling())


def _given(preprocess: Any, model: object, channels: Channels) -> Preparation:
    name = _name(preprocess)
    if isinstance(preprocess, Preprocessing):
        return _of_square(preprocess, "as given")
    if isinstance(preprocess, LoadedModel):
        return _of_loaded(preprocess)
    if not callable(preprocess):
        # Weights of torchvision, or a configuration of timm.
        found = Preprocessing.of(preprocess, channels_first=channels == "first")
        return _of_square(found, name)
    if _is_application(preprocess):
        sides = getattr(model, "input_shape", (None,) * 4)[1:3]
        size = next((side for side in sides if isinstance(side, int)), 224)
        scaled = Preprocessing(size, mode=preprocess, channels_first=channels == "first")
        return _of_square(scaled, name)
    if drawn := _RANDOM.search(repr(preprocess)):
        raise InputError(
            f"preprocess= draws random numbers ({drawn.group()}), so that a map would lie "
            "somewhere else each time. Give the preprocessing of evaluation."
        )
    return Preparation(name, _Called(preprocess, name, channels).prepared)


def _is_application(function: Any) -> bool:
    """Tell whether a function is ``preprocess_input`` of a Keras application."""
    named = getattr(function, "__name__", "") == "preprocess_input"
    return named and "keras" in getattr(function, "__module__", "").split(".")


def _name(preprocess: Any) -> str:
    text = getattr(preprocess, "__qualname__", None) or " ".join(repr(preprocess).split())
    return text if len(text) <= _LONG else f"{text[:_LONG]} ..."


@dataclass(eq=False)
class _Called:
    """A preprocessing of the user's own, and where what it shows lies in photographs."""

    function: Callable[..., Any]
    name: str
    channels: Channels
    crops: dict[tuple[int, ...], Any] = field(default_factory=dict)
    takes_array: bool = False

    def prepared(self, photo: Photo) -> PhotoInput:
        """Prepare a photograph, and find what of it is shown to the model."""
        picture = np.rint(photo.pixels).astype(np.uint8)
        inputs = self._batch(picture)
        if picture.shape not in self.crops:
            if not _same(inputs, self._batch(picture)):
                raise InputError(
                    f"preprocess={self.name} returns something else each time for one photograph. "
                    "Give the preprocessing of evaluation, which draws no random numbers."
                )
            self.crops[picture.shape] = measured_crop(self._seen, picture.shape)
        crop = self.crops[picture.shape]
        return PhotoInput(photo.picture, crop, inputs, photo.value_range, photo.path)

    def _seen(self, picture: npt.NDArray[np.uint8]) -> Floats:
        """Average what is shown of a picture over its channels, ``(h, w)``."""
        leaf = np.asarray(_picture(self._batch(picture))[1], np.float64)[0]
        return np.asarray(leaf.mean(0 if self.channels == "first" else -1))

    def _batch(self, picture: npt.NDArray[np.uint8]) -> Any:
        """Make a batch of one of a picture, channels where the model takes them."""
        inputs = self._call(picture)
        path, leaf = _picture(inputs)
        shape = shape_of(leaf)
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[0] != 1):
            raise InputError(
                f"preprocess={self.name} made an array of shape {shape} of a photograph of shape "
                f"{picture.shape}. It is to return (C, H, W) or (H, W, C), or a batch of one."
            )
        sides = shape[-3:]
        if self.channels == "first" and sides[0] > _FEW >= sides[2]:
            leaf = np.moveaxis(np.asarray(leaf), -1, -3)
        elif self.channels == "last" and sides[2] > _FEW >= sides[0]:
            leaf = np.moveaxis(np.asarray(leaf), -3, -1)
        if len(shape) == 3:
            leaf = leaf[None]
        return put(inputs, path, leaf)

    def _call(self, picture: npt.NDArray[np.uint8]) -> Any:
        with needs("viz", "preprocessing photographs"):
            from PIL import Image
        if _is_processor(self.function):
            found = dict(self.function(images=Image.fromarray(picture), return_tensors="np"))
            return found["pixel_values"] if len(found) == 1 else found
        if type(self.function).__module__.partition(".")[0] == "albumentations":
            return self.function(image=picture)["image"]
        if self.takes_array:
            return self.function(picture.copy())
        try:
            return self.function(Image.fromarray(picture))
        except Exception as error:
            refused = error
        try:
            found = self.function(picture.copy())
        except Exception as error:
            raise InputError(
                f"preprocess={self.name} fails for a photograph of shape {picture.shape}, both as "
                f"a PIL image ({refused}) and as an array of uint8 ({error}). Give a function of "
                "one photograph that returns what the model takes of it."
            ) from refused
        self.takes_array = True
        return found


def _is_processor(function: Any) -> bool:
    return any(base.__name__ == "BaseImageProcessor" for base in type(function).__mro__)


def _picture(inputs: Any) -> tuple[str, Any]:
    """Find the array with spatial extent in what a preprocessing returned."""
    for path, leaf in flatten(inputs):
        if hasattr(leaf, "shape") and len(shape_of(leaf)) > 2:
            return path, leaf
    raise InputError(
        f"preprocess= returned {type(inputs).__name__}, which holds no array with spatial "
        "extent. End it with what makes an array, such as torchvision.transforms.ToTensor()."
    )


def _same(one: Any, other: Any) -> bool:
    pairs = zip(flatten(one), flatten(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for (_, a), (_, b) in pairs)
