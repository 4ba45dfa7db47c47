"""Photographs in and out, and where a model's square view lies within them."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.extras import needs
from camcore.files import whole
from camcore.resize import Interpolation, resize

if TYPE_CHECKING:
    from PIL.Image import Image

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)
"""What Pillow raises on files whose contents do not add up."""

_WARNINGS = Lock()
"""Filters of warnings belong to the process, and photographs are read in many threads."""

_LONGEST = 100
"""Largest ratio of a photograph's sides: beyond it, the scaled long side would explode."""


def read_photo(
    path: str | os.PathLike[str], *, max_dim: int | None = None
) -> npt.NDArray[np.uint8]:
    """Read a photograph the way a person sees it.

    The camera's rotation is applied, transparency is laid over white, grey,
    palette and CMYK files become RGB, 16-bit files keep their high byte, and of an
    animation the first frame is taken.

    Parameters
    ----------
    path : path
        A file in any format that Pillow reads.
    max_dim : int, optional
        A longer side than this is scaled down to it, with the aspect ratio kept.

    Returns
    -------
    (H, W, 3) uint8 array
        RGB.

    Raises
    ------
    InputError
        There is no such file, it is no image, it is damaged or absurdly large.
    MissingExtraError
        Pillow is not installed.
    """
    with needs("viz", "reading photographs"):
        from PIL import Image, ImageOps, UnidentifiedImageError
    if max_dim is not None and max_dim < 1:
        raise InputError(f"max_dim is {max_dim}; the longest side needs at least one pixel")
    path = Path(path)
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {state}; pass the path of a photograph")
    try:
        # Pillow warns from half its limit on; up to the limit the photograph is read and scaled.
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
        with opened as image:
            if max_dim is not None:
                image.draft(None, (max_dim, max_dim))
            photo = _as_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} holds more pixels than is safe to unpack; scale it down first ({error})"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} is no image that Pillow can read; pass a JPEG, PNG, WebP, TIFF, GIF or BMP"
        ) from error
    except InputError as error:
        raise InputError(f"{path} {error}") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read by you; change its permissions") from error
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged or cut short ({error}); save it again") from error
    if max_dim is not None:
        # As sharp as bicubic, and two or three times as quick as Lanczos.
        photo.thumbnail((max_dim, max_dim), Image.Resampling.HAMMING)
    return np.array(photo)


def _as_rgb(image: Image) -> Image:
    from PIL import Image as pillow

    if image.mode.startswith("I"):
        return _from_integers(image)
    if image.mode in ("F", "LAB"):
        raise InputError(
            f"holds {'floating' if image.mode == 'F' else 'Lab'} pixels, whose range cannot be "
            "told; save it as 8-bit RGB"
        )
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = pillow.new("RGBA", image.size, "white")
        return pillow.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_integers(image: Image) -> Image:
    from PIL import Image as pillow

    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise InputError(
            f"holds 32-bit pixels from {low} to {high}, whose range cannot be told; "
            "save it with 8 or 16 bits"
        )
    return pillow.fromarray((values >> 8).astype(np.uint8)).convert("RGB")


@dataclass(frozen=True)
class CentreCrop:
    """The square that a model sees of a photograph, with the aspect ratio kept both ways.

    The photograph's short side is scaled to `resize`, then the middle `size` by
    `size` pixels are taken. Numbers are those of torchvision's ``Resize`` and
    ``CenterCrop``.

    Parameters
    ----------
    photo_shape : (int, int)
        The photograph's height and width; further entries are ignored.
    size : int
        Side of the square, in pixels.
    resize : int, optional
        The scaled photograph's short side; `size` unless given.
    interpolation : {"bilinear", "bicubic", "nearest", "lanczos"}
        How the photograph is scaled.

    Raises
    ------
    InputError
        The square does not fit within the scaled photograph.
    """

    photo_shape: tuple[int, ...]
    size: int
    resize: int | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if len(self.photo_shape) < 2 or min(self.photo_shape[:2]) < 1:
            raise InputError(f"a photograph of shape {self.photo_shape}; expected (H, W, 3)")
        if max(self.photo_shape[:2]) > _LONGEST * min(self.photo_shape[:2]):
            raise InputError(
                f"a photograph of {self.photo_shape[0]} by {self.photo_shape[1]} pixels is a strip "
                "of which a square shows next to nothing; cut it into pieces"
            )
        if not 1 <= self.size <= self.short_side:
            raise InputError(
                f"a square of {self.size} does not fit a photograph whose short side is scaled to "
                f"{self.short_side}; lower size or raise resize"
            )
        if self.interpolation not in ("bilinear", "bicubic", "nearest", "lanczos"):
            raise InputError(
                f"unknown interpolation {self.interpolation!r}; "
                "choose bilinear, bicubic, nearest or lanczos"
            )

    @property
    def short_side(self) -> int:
        """The scaled photograph's short side."""
        return self.size if self.resize is None else self.resize

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the scaled photograph."""
        height, width = self.photo_shape[:2]
        if height <= width:
            return self.short_side, int(self.short_side * width / height)
        return int(self.short_side * height / width), self.short_side

    @property
    def corner(self) -> tuple[int, int]:
        """Top and left of the square within the scaled photograph."""
        top, left = (round((side - self.size) / 2) for side in self.scaled)
        return top, left

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of the square in the photograph's own pixels."""
        (rows, columns), (top, left) = self.scaled, self.corner
        down, across = self.photo_shape[0] / rows, self.photo_shape[1] / columns
        return top * down, left * across, (top + self.size) * down, (left + self.size) * across

    def to_model(self, photo: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Scale and crop.

        Parameters
        ----------
        photo : (H, W, 3) uint8 array
            RGB.

        Returns
        -------
        (size, size, 3) uint8 array
            RGB.

        Raises
        ------
        InputError
            The photograph is not of the shape this geometry was made for.
        """
        with needs("viz", "scaling photographs"):
            from PIL import Image
        expected = (*self.photo_shape[:2], 3)
        if photo.shape != expected or photo.dtype != np.uint8:
            raise InputError(
                f"a photograph of shape {photo.shape} and dtype {photo.dtype}; "
                f"expected {expected} and uint8"
            )
        (rows, columns), (top, left) = self.scaled, self.corner
        filter_ = Image.Resampling[self.interpolation.upper()]
        scaled = Image.fromarray(photo).resize((columns, rows), filter_)
        return np.array(scaled)[top : top + self.size, left : left + self.size]

    def to_photo(self, maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Lay maps of the square back over the whole photograph.

        Parameters
        ----------
        maps : (..., h, w) array
            Maps of the square, at any resolution.

        Returns
        -------
        (..., H, W) float32 array
            Zero where the model did not look.
        """
        (rows, columns), (top, left) = self.scaled, self.corner
        maps = np.asarray(maps, dtype=np.float32)
        if maps.ndim < 2 or 0 in maps.shape:
            raise InputError(f"maps of shape {maps.shape}; expected (..., h, w)")
        lead = maps.shape[:-2]
        square = resize(maps.reshape(-1, *maps.shape[-2:]), (self.size, self.size), Interpolation())
        below, right = rows - top - self.size, columns - left - self.size
        # Edge values carried outwards, so that the square's rim is not mixed with emptiness.
        canvas = np.pad(square, ((0, 0), (top, below), (left, right)), mode="edge")
        whole = resize(canvas, self.photo_shape[:2], Interpolation())
        seen = whole * self.seen()
        return seen.astype(np.float32).reshape(*lead, *self.photo_shape[:2])

    def seen(self) -> npt.NDArray[np.bool_]:
        """Where the model looked.

        Returns
        -------
        (H, W) bool array
            True for pixels whose centre lies within the square.
        """
        top, left, bottom, right = self.box
        rows, columns = (np.arange(side) + 0.5 for side in self.photo_shape[:2])
        inside_rows = (rows >= top) & (rows <= bottom)
        inside_columns = (columns >= left) & (columns <= right)
        return np.outer(inside_rows, inside_columns)


Format: TypeAlias = Literal["png", "jpg"]

_ENCODED: Mapping[Format, tuple[str, Mapping[str, int]]] = {
    # A fifth larger than at the usual level, and written five times as fast.
    "png": ("PNG", {"compress_level": 1}),
    "jpg": ("JPEG", {"quality": 92}),
}


def encode(picture: npt.NDArray[np.uint8], kind: Format) -> bytes:
    """Encode a picture.

    Parameters
    ----------
    picture : (H, W, 3) or (H, W) uint8 array
        RGB or grey.
    kind : {"png", "jpg"}
        Bit for bit, or small and quick.

    Returns
    -------
    bytes

    Raises
    ------
    InputError
        Another shape or dtype.
    """
    with needs("viz", "writing pictures"):
        from PIL import Image
    shapes = ((), (3,))
    if picture.dtype != np.uint8 or picture.ndim < 2 or picture.shape[2:] not in shapes:
        raise InputError(
            f"a picture of shape {picture.shape} and dtype {picture.dtype}; "
            "expected (H, W, 3) or (H, W) and uint8"
        )
    name, options = _ENCODED[kind]
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, name, **options)
    return buffer.getvalue()


def encode_png(picture: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture as PNG; see `encode`."""
    return encode(picture, "png")


def write_png(path: str | os.PathLike[str], picture: npt.NDArray[np.uint8] | bytes) -> Path:
    """Write a picture; the file is either whole or not there.

    Parameters
    ----------
    path : path
        Where to; an existing file is replaced.
    picture : (H, W, 3) uint8 array, or bytes
        A picture, or one already encoded, whatever its format.

    Returns
    -------
    Path
        Where the file is.
    """
    path = Path(path)
    data = picture if isinstance(picture, bytes) else encode_png(picture)
    with whole(path) as draft:
        draft.write_bytes(data)
    return path
