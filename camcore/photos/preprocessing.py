"""From photographs to what a model takes, as the model's own library does it, in NumPy.

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

__all__ = ["Mode", "Preprocessing", "scaled"]

Mode: TypeAlias = Literal["torch", "tf", "caffe", "raw"]

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

_CAFFE_MEAN: Final = (103.939, 116.779, 123.68)
"""ImageNet's mean pixel, blue first."""

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
    return _scaled(images, mode, IMAGENET_MEAN, IMAGENET_STD)


def _scaled(
    images: npt.ArrayLike, mode: Mode, mean: Sequence[float], std: Sequence[float]
) -> Array:
    pixels = np.asarray(images)
    if pixels.ndim < 1 or pixels.shape[-1] != 3:
        raise InputError(f"images of shape {pixels.shape}; expected (..., 3): RGB, channels last")
    if mode not in get_args(Mode):
        raise InputError(f"mode={mode!r}; expected one of {', '.join(get_args(Mode))}")
    pixels = pixels.astype(np.float32)
    single = np.float32
    result: Array
    if mode == "torch":
        result = (pixels / single(255) - np.asarray(mean, single)) / np.asarray(std, single)
    elif mode == "tf":
        result = pixels / single(127.5) - single(1)
    elif mode == "caffe":
        result = pixels[..., ::-1] - np.asarray(_CAFFE_MEAN, single)
    else:
        result = pixels
    return result


@dataclass(frozen=True)
class Preprocessing:
    """What becomes of a photograph before a model sees it.

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
    mode : {"torch", "tf", "caffe", "raw"}
        As `scaled` takes it.
    mean, std : sequence of float
        Of each channel on the scale [0, 1], in mode ``torch``.
    channels_first : bool
        Whether the model takes ``(B, 3, H, W)``.
    """

    size: int = 224
    resize: int | None = None
    interpolation: str = "bilinear"
    mode: Mode = "torch"
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    channels_first: bool = True

    @classmethod
    def of(cls, source: Any, **changes: Any) -> Preprocessing:
        """Read it from a model or its weights.

        Parameters
        ----------
        source : object
            torchvision weights (``ResNet50_Weights.DEFAULT``) or their transforms, a timm
            model or its ``pretrained_cfg``, or a Keras application.
        **changes
            Fields in place of those found: ``size=384``.

        Returns
        -------
        Preprocessing

        Raises
        ------
        InputError
            The source says nothing of it, or asks for what is not a centre crop.
        """
        config = source if isinstance(source, Mapping) else getattr(source, "pretrained_cfg", None)
        if isinstance(config, Mapping) and "mean" in config:
            return replace(_of_timm(config), **changes)
        transforms = getattr(source, "transforms", None)
        made = transforms() if callable(transforms) else source
        if all(hasattr(made, name) for name in ("crop_size", "resize_size", "mean", "std")):
            return replace(_of_torchvision(made), **changes)
        mode = _mode_of(str(getattr(source, "name", "")).lower())
        if mode is not None and hasattr(source, "input_shape"):
            side = source.input_shape[1] or 224
            return replace(cls(side, mode=mode, channels_first=False), **changes)
        raise InputError(
            f"Nothing is known of the preprocessing of a {type(source).__name__}. Give torchvision "
            "weights, a timm model or a Keras application, or say it: "
            'Preprocessing(224, mode="tf", channels_first=False).'
        )

    def crop(self, photo: npt.NDArray[np.uint8]) -> CentreCrop:
        """Where the model's square lies in a photograph, to lay maps back over it.

        Parameters
        ----------
        photo : (H, W, 3) uint8 array
            RGB.

        Returns
        -------
        CentreCrop
        """
        return CentreCrop(photo.shape, self.size, self.resize, self.interpolation)

    def view(self, photos: Photos) -> npt.NDArray[np.uint8]:
        """What the model sees of photographs, for people.

        Parameters
        ----------
        photos : (B, H, W, 3) or (H, W, 3) uint8 array, or B arrays (H, W, 3)
            RGB.

        Returns
        -------
        (B, size, size, 3) uint8 array

        Raises
        ------
        InputError
            They are no photographs, or too small for the square.
        """
        if isinstance(photos, np.ndarray):
            photos = photos[None] if photos.ndim == 3 else photos
        batch: list[npt.NDArray[np.uint8]] = list(photos)
        return np.stack([self.crop(photo).to_model(photo) for photo in batch])

    def __call__(self, photos: Photos) -> Array:
        """What the model takes.

        Parameters
        ----------
        photos : (B, H, W, 3) or (H, W, 3) uint8 array, or B arrays (H, W, 3)
            RGB.

        Returns
        -------
        (B, 3, size, size) or (B, size, size, 3) float32 array
        """
        batch = _scaled(self.view(photos), self.mode, self.mean, self.std)
        return np.ascontiguousarray(np.moveaxis(batch, -1, 1)) if self.channels_first else batch


Photos: TypeAlias = "npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]"


def _of_timm(config: Mapping[str, Any]) -> Preprocessing:
    size, mode = config["input_size"][-1], config.get("crop_mode") or "center"
    if mode != "center":
        raise InputError(
            f"The model was trained with crop_mode={mode!r}, which is no centre crop; "
            "use timm.data.create_transform, and pass what it gives to camcore.explain."
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


def _mode_of(name: str) -> Mode | None:
    fits: Callable[[tuple[str, ...]], bool] = name.startswith
    return next((mode for starts, mode in _APPLICATIONS if fits(starts)), None)
