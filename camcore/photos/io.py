"""Read photographs from files, and write pictures into them."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.atomic import whole
from camcore._shared.optional import needs
from camcore.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

Format: TypeAlias = Literal["png", "jpg"]

_WARNINGS = Lock()
"""Held while filters of warnings change: they belong to the process, and threads read too."""

_ENCODED: Mapping[Format, tuple[str, Mapping[str, int]]] = {
    # A fifth larger than at the usual level, and written five times as fast.
    "png": ("PNG", {"compress_level": 1}),
    "jpg": ("JPEG", {"quality": 92}),
}

_FORMAT_OF: Mapping[str, Format] = {".jpg": "jpg", ".jpeg": "jpg"}


def read_photo(
    path: str | os.PathLike[str], *, max_dim: int | None = None
) -> npt.NDArray[np.uint8]:
    """Read a photograph as a person sees it.

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
        There is no such file, or it is no image, damaged, or too large to unpack safely.
    MissingExtraError
        Pillow is not installed.
    """
    with needs("viz", "reading photographs"):
        from PIL import Image, ImageOps, UnidentifiedImageError
    if max_dim is not None and max_dim < 1:
        raise InputError(f"max_dim is {max_dim}; pass at least one pixel.")
    path = Path(path)
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "is a device or pipe"
        state = kind if path.exists() else "does not exist"
        raise InputError(f"{path} {state}; pass the path of a photograph.")
    try:
        # Pillow warns from half its limit on; up to the limit the photograph is read and scaled.
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
        with opened as image:
            if max_dim is not None:
                image.draft(None, (max_dim, max_dim))
            photo = _as_rgb(ImageOps.exif_transpose(image))
        if max_dim is not None:
            # As sharp as bicubic, and two or three times as quick as Lanczos.
            photo.thumbnail((max_dim, max_dim), Image.Resampling.HAMMING)
        return np.array(photo)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} holds more pixels than is safe to unpack; scale it down first ({error})."
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} is no image that Pillow can read; pass a JPEG, PNG, WebP, TIFF, GIF or BMP."
        ) from error
    except InputError as error:
        raise InputError(f"{path} {error}") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read by you; change its permissions.") from error
    except Exception as error:  # Pillow raises anything on files that contradict themselves
        raise InputError(f"{path} is damaged or cut short ({error}); save it again.") from error


def _as_rgb(image: Image) -> Image:
    from PIL import Image as pillow

    if image.mode.startswith("I"):
        return _from_integers(image)
    if image.mode in ("F", "LAB"):
        raise InputError(
            f"holds {'floating' if image.mode == 'F' else 'Lab'} pixels, whose range is unknown; "
            "save it as 8-bit RGB."
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
            f"holds 32-bit pixels from {low} to {high}, whose range is unknown; "
            "save it with 8 or 16 bits."
        )
    return pillow.fromarray((values >> 8).astype(np.uint8)).convert("RGB")


def encode(picture: npt.NDArray[np.uint8], kind: Format) -> bytes:
    """Encode a picture.

    Parameters
    ----------
    picture : (H, W, 3) or (H, W) uint8 array
        RGB or grey.
    kind : {"png", "jpg"}
        PNG keeps every bit; JPEG is small and quick to write.

    Returns
    -------
    bytes

    Raises
    ------
    InputError
        The picture has another shape or dtype.
    MissingExtraError
        Pillow is not installed.
    """
    with needs("viz", "writing pictures"):
        from PIL import Image
    shapes = ((), (3,))
    if picture.dtype != np.uint8 or picture.ndim < 2 or picture.shape[2:] not in shapes:
        raise InputError(
            f"A picture of shape {picture.shape} and dtype {picture.dtype} cannot be encoded; "
            "pass (H, W, 3) or (H, W) and uint8."
        )
    name, options = _ENCODED[kind]
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, name, **options)
    return buffer.getvalue()


def encode_png(picture: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture as PNG; see `encode`.

    Parameters
    ----------
    picture : (H, W, 3) or (H, W) uint8 array
        RGB or grey.

    Returns
    -------
    bytes
        The file's content.
    """
    return encode(picture, "png")


def write_image(path: str | os.PathLike[str], picture: npt.NDArray[np.uint8] | bytes) -> Path:
    """Write a picture to a file, which is either whole or not there.

    Parameters
    ----------
    path : path
        An existing file is replaced. A name that ends in ``.jpg`` or ``.jpeg`` makes the
        file a JPEG, any other a PNG.
    picture : (H, W, 3) or (H, W) uint8 array, or bytes
        A picture, or one already encoded, which is written as it is.

    Returns
    -------
    Path
        Where the file is.

    Raises
    ------
    InputError
        The picture has another shape or dtype.
    MissingExtraError
        Pillow is not installed.
    """
    path = Path(path)
    kind = _FORMAT_OF.get(path.suffix.lower(), "png")
    data = picture if isinstance(picture, bytes) else encode(picture, kind)
    with whole(path) as draft:
        draft.write_bytes(data)
    return path
