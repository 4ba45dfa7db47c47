"""Turn photographs into what a model takes, as the model's own library does it, in NumPy.

Which preprocessing a model was trained with is read from what its library knows:
torchvision's weights, timm's ``pretrained_cfg``, the name of a Keras application.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.photos.crop import CentreCrop

__all__ = [
    "GREY_WEIGHTS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Mode",
    "Precision",
    "Preprocessing",
    "as_grey",
    "scaled",
]

Mode: TypeAlias = Literal["torch", "tf", "caffe", "raw"]
Precision: TypeAlias = Literal["float32", "float64"]
Photos: TypeAlias = "npt.NDArray[Any] | Sequence[npt.NDArray[Any]]"

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

GREY_WEIGHTS: Final = (0.299, 0.587, 0.114)
"""Weights that turn RGB into grey, by ITU-R BT.601, as OpenCV and Pillow use them."""

_CAFFE_MEAN: Final = (103.939, 116.779, 123.68)
"""ImageNet's mean pixel, blue first."""

_SCALES: Final[Mapping[Mode, str]] = {
    "tf": "RGB from -1 to 1",
    "caffe": "BGR from 0 to 255, less ImageNet's mean",
    "raw": "pixels from 0 to 255",
}

# Beginnings of the names of Keras' applications; the first that fits counts.
_APPLICATIONS: Final[Sequence[tuple[tuple[str, ...], Mode]]] = (
    (("resnet50v2", "resnet101v2", "resnet152v2"), "tf"),
    (("vgg16", "vgg19", "resnet50", "resnet101", "resnet152"), "caffe"),
    (("inception", "xception", "mobilenet_", "mobilenetv2", "nasnet"), "tf"),
    (("densenet",), "torch"),
    (("efficientnet", "mobilenetv3", "convnext"), "raw"),
)


def scaled(images: npt.ArrayLike, mode: Mode) -> Array:
    """Scale pixels as Keras' ``preprocess_input`` does in its three modes.

    Parameters
    ----------
    images : (..., 3) array
        RGB from 0 to 255, channels last.
    mode : {"torch", "tf", "caffe", "raw"}
        ``torch``: to [0, 1], then standardised by ImageNet's mean and deviation. ``tf``:
        to [-1, 1]. ``caffe``: blue first, ImageNet's mean pixel subtracted. ``raw``: as
        they are.

    Returns
    -------
    (..., 3) float32 array

    Raises
    ------
    InputError
        The last axis is not of colours, or there is no such mode.
    """
    return _scaled(images, mode, IMAGENET_MEAN, IMAGENET_STD, "float32")


def as_grey(images: npt.NDArray[Any]) -> Array:
    """Mix the colours into one channel by `GREY_WEIGHTS`, ``(..., 3)`` to ``(..., 1)`` float32."""
    grey: Array = images.astype(np.float32) @ np.asarray(GREY_WEIGHTS, np.float32)[:, None]
    return grey


def _scaled(
    images: npt.ArrayLike,
    mode: Mode,
    mean: Sequence[float],
    std: Sequence[float],
    precision: Precision,
) -> Array:
    pixels = np.asarray(images)
    if pixels.ndim < 1 or pixels.shape[-1] != 3:
        raise InputError(
            f"Images of shape {pixels.shape} have no axis of colours; pass (..., 3): RGB, "
            "channels last."
        )
    if mode not in get_args(Mode):
        raise InputError(f"mode={mode!r} is unknown; choose from {', '.join(get_args(Mode))}.")
    pixels = pixels.astype(precision)
    if mode == "torch":
        pixels = (pixels / 255 - np.asarray(mean, precision)) / np.asarray(std, precision)
    elif mode == "tf":
        pixels = pixels / 127.5 - 1
    elif mode == "caffe":
        pixels = pixels[..., ::-1] - np.asarray(_CAFFE_MEAN, precision)
    return pixels.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a photograph before a model sees it.

    The short side is scaled to `resize`, the middle square of `size` pixels is taken, and
    its pixels are scaled.

    Parameters
    ----------
    size : int
        Side of the square, in pixels.
    resize : int, optional
        The scaled photograph's short side; `size` unless given.
    interpolation : {"bilinear", "bicubic", "nearest", "lanczos"}
        How the photograph is scaled.
    mode : {"torch", "tf", "caffe", "raw"} or callable
        How pixels are scaled: as `scaled` does it, or by a function that takes and
        returns ``(B, size, size, C)`` float32, such as a Keras application's
        ``preprocess_input``.
    mean, std : sequence of float
        Of each channel on the scale [0, 1], in mode ``torch``.
    channels_first : bool
        Whether the model takes ``(B, C, H, W)``.
    grey : bool
        Whether the model takes one channel, C = 1, in place of three. Pixels become grey
        before a function scales them; modes other than ``raw`` are for colours.
    precision : {"float32", "float64"}
        Of the arithmetic, before the result is rounded to float32.

    Raises
    ------
    InputError
        Grey pixels are asked for in a mode that is for colours.
    """

    size: int = 224
    resize: int | None = None
    interpolation: str = "bilinear"
    mode: Mode | Callable[[Array], Any] = "torch"
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    channels_first: bool = True
    grey: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            pixels = getattr(self, name)
            if pixels is not None and (not isinstance(pixels, (int, np.integer)) or pixels < 1):
                raise InputError(f"{name}={pixels!r}; expected a number of pixels, at least 1.")
        if not callable(self.mode) and self.mode not in get_args(Mode):
            choices = ", ".join(get_args(Mode))
            raise InputError(f"mode={self.mode!r} is unknown; choose from {choices}.")
        if not np.all(self.std):
            raise InputError(f"std={self.std}; pixels cannot be divided by 0.")
        if self.grey and not callable(self.mode) and self.mode != "raw":
            raise InputError(
                f"mode={self.mode!r} scales three colours, but grey=True leaves one; pass "
                'mode="raw" or a function.'
            )

    @property
    def short_side(self) -> int:
        """The scaled photograph's short side."""
        return self.size if self.resize is None else self.resize

    def scaling(self) -> str:
        """Say in words how pixels are scaled.

        Returns
        -------
        str
            ``"RGB from -1 to 1"``.
        """
        grey = " of the grey photograph" if self.grey else ""
        if callable(self.mode):
            return f"pixels by {getattr(self.mode, '__qualname__', repr(self.mode))}{grey}"
        if self.mode != "torch":
            return f"{_SCALES[self.mode]}{grey}"
        mean, std = (", ".join(f"{v:g}" for v in row) for row in (self.mean, self.std))
        if set(self.mean) == {0} and set(self.std) == {1}:
            return "RGB from 0 to 1"
        return f"RGB from 0 to 1, less ({mean}), divided by ({std})"

    @classmethod
    def of(cls, source: Any, **changes: Any) -> Preprocessing:
        """Read the preprocessing of a model or its weights.

        Parameters
        ----------
        source : object
            torchvision weights (``ResNet50_Weights.DEFAULT``) or their transforms, a timm
            model or its ``pretrained_cfg``, or a Keras application.
        **changes
            Fields to set in place of those found: ``size=384``.

        Returns
        -------
        Preprocessing

        Raises
        ------
        InputError
            The source says nothing of its preprocessing, or does not crop the centre.
        """
        config = source if isinstance(source, Mapping) else getattr(source, "pretrained_cfg", None)
        if isinstance(config, Mapping) and "mean" in config:
            return replace(_of_timm(config), **changes)
        transforms = getattr(source, "transforms", None)
        made = transforms() if callable(transforms) else source
        if all(hasattr(made, name) for name in ("crop_size", "resize_size", "mean", "std")):
            return replace(_of_torchvision(made), **changes)
        mode = application_mode(str(getattr(source, "name", "")).lower())
        if mode is not None and hasattr(source, "input_shape"):
            side = source.input_shape[1] or 224
            return replace(cls(side, mode=mode, channels_first=False), **changes)
        raise InputError(
            f"Nothing is known of the preprocessing of a {type(source).__name__}. Pass torchvision "
            "weights, a timm model or a Keras application, or spell it out: "
            'Preprocessing(224, mode="tf", channels_first=False).'
        )

    def crop(self, photo: npt.NDArray[Any]) -> CentreCrop:
        """Find the model's square in a photograph, to lay maps back over it.

        Parameters
        ----------
        photo : (H, W, 3) array
            RGB.

        Returns
        -------
        CentreCrop
        """
        return CentreCrop(photo.shape, self.size, self.resize, self.interpolation)

    def view(self, photos: Photos) -> npt.NDArray[Any]:
        """Crop photographs to what the model sees of them, for people.

        Parameters
        ----------
        photos : (B, H, W, 3) or (H, W, 3) array, or B arrays (H, W, 3)
            RGB: uint8, or float32 from 0 to 255 where there are more levels than 256.

        Returns
        -------
        (B, size, size, 3) array
            Of the same dtype and range.

        Raises
        ------
        InputError
            They are no photographs, or too small for the square.
        """
        if isinstance(photos, np.ndarray):
            photos = photos[None] if photos.ndim == 3 else photos
        batch: list[npt.NDArray[Any]] = list(photos)
        return np.stack([self.crop(photo).to_model(photo) for photo in batch])

    def prepare(self, views: npt.NDArray[Any]) -> Array:
        """Scale the pixels of photographs that are cropped already.

        Parameters
        ----------
        views : (B, size, size, 3) or (size, size, 3) array
            RGB from 0 to 255, as `view` gives them.

        Returns
        -------
        (B, C, size, size) or (B, size, size, C) float32 array
            A batch as the model takes it, of one where `views` has no batch axis.
        """
        batch: Array = views[None] if views.ndim == 3 else views
        if self.grey:
            batch = as_grey(batch)
        if callable(self.mode):
            batch = np.asarray(self.mode(batch.astype(np.float32)), np.float32)
        elif not self.grey:
            batch = _scaled(batch, self.mode, self.mean, self.std, self.precision)
        return np.ascontiguousarray(np.moveaxis(batch, -1, 1)) if self.channels_first else batch

    def __call__(self, photos: Photos) -> Array:
        """Crop photographs and scale their pixels.

        Parameters
        ----------
        photos : (B, H, W, 3) or (H, W, 3) array, or B arrays (H, W, 3)
            RGB, as `view` takes them.

        Returns
        -------
        (B, C, size, size) or (B, size, size, C) float32 array
            A batch as the model takes it.
        """
        return self.prepare(self.view(photos))


def _of_timm(config: Mapping[str, Any]) -> Preprocessing:
    size, mode = config["input_size"][-1], config.get("crop_mode") or "center"
    if mode != "center":
        raise InputError(
            f"The model was trained with crop_mode={mode!r}, which does not crop the centre; "
            "pass what timm.data.create_transform returns as preprocess=."
        )
    return Preprocessing(
        size,
        # Rounded down, as timm does.
        math.floor(size / (config.get("crop_pct") or 1.0)),
        config.get("interpolation", "bilinear"),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _of_torchvision(transforms: Any) -> Preprocessing:
    return Preprocessing(
        transforms.crop_size[0],
        transforms.resize_size[0],
        transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )


def application_mode(name: str) -> Mode | None:
    """Find how a Keras application scales pixels, by its name; None where it is none."""
    fits: Callable[[tuple[str, ...]], bool] = name.startswith
    return next((mode for starts, mode in _APPLICATIONS if fits(starts)), None)
