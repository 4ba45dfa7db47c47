"""Read photographs from files, and write pictures into them."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.atomic import whole
from camcore._shared.optional import needs
from camcore._shared.reading import reading
from camcore.errors import InputError
from camcore.medical.dicom import is_dicom
from camcore.medical.dicom_image import read_image
from camcore.medical.nifti import is_nifti_name

if TYPE_CHECKING:
    from PIL.Image import Image

Format: TypeAlias = Literal["png", "jpg"]
ValueRange: TypeAlias = tuple[float, float]
"""The values of a file that are black and white."""

_ORIENTATION: Final = 0x0112
"""The tag that says how the camera was held."""

_WARNINGS = Lock()
"""Held while filters of warnings change: they belong to the process, and threads read too."""

_ENCODED: Mapping[Format, tuple[str, Mapping[str, int]]] = {
    # A fifth larger than at the usual level, and written five times as fast.
    "png": ("PNG", {"compress_level": 1}),
    "jpg": ("JPEG", {"quality": 92}),
}

_FORMAT_OF: Mapping[str, Format] = {".jpg": "jpg", ".jpeg": "jpg"}


def read_photo(
    path: str | os.PathLike[str],
    *,
    max_dim: int | None = None,
    value_range: ValueRange | None = None,
) -> npt.NDArray[np.uint8]:
    """Read a photograph as a person sees it.

    The camera's rotation is applied, transparency is laid over white, grey,
    palette and CMYK files become RGB, and of an animation the first frame is taken.
    Values of more than 8 bits are rounded to 256 levels; `camcore.photos.Photo` keeps all.

    Parameters
    ----------
    path : path
        A file in any format that Pillow reads; deep colours in any that OpenCV reads; a DICOM
        image, such as a radiograph, rescaled as it says, and inverted where it is MONOCHROME1.
    max_dim : int, optional
        A longer side than this is scaled down to it, with the aspect ratio kept.
    value_range : (float, float), optional
        The file's values that become 0 and 255; those beyond are cut off. Left out, of 8 bits
        the values are kept. Of whole numbers up to 65535 it is from 0 to the largest of 8, 10,
        12, 14 or 16 bits, the fewest that hold them all; of floating values within [0, 1] it is
        0 and 1; of all others the smallest and the largest. Of DICOM it is the file's first
        window, else from the 0.5th to the 99.5th percentile.

    Returns
    -------
    (H, W, 3) uint8 array
        RGB.

    Raises
    ------
    InputError
        There is no such file, or it is no image, damaged, or too large to unpack safely; or
        its values are not finite, or the range is none.
    MissingExtraError
        Pillow is not installed, or pydicom to read DICOM.
    """
    pixels, _ = read_pixels(path, max_dim=max_dim, value_range=value_range)
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8)


def read_pixels(
    path: str | os.PathLike[str],
    *,
    max_dim: int | None = None,
    value_range: ValueRange | None = None,
) -> tuple[npt.NDArray[Any], ValueRange | None]:
    """Read a photograph without rounding it to 8 bits.

    Parameters
    ----------
    path, max_dim, value_range
        As `read_photo` takes them.

    Returns
    -------
    pixels : (H, W, 3) uint8 or float32 array
        RGB from 0 to 255; float32 where the file holds more than 8 bits, or a range is given.
    value_range : (float, float) or None
        The file's values that became 0 and 255, the first the larger where low ones are white;
        None where they are the pixels themselves.
    """
    with needs("viz", "reading photographs"):
        from PIL import Image, UnidentifiedImageError
    if max_dim is not None and max_dim < 1:
        raise InputError(f"max_dim is {max_dim}; pass at least one pixel.")
    if value_range is not None and not (
        np.isfinite(value_range).all() and value_range[0] < value_range[1]
    ):
        raise InputError(f"value_range is {value_range}; pass the values of black and of white.")
    path = Path(path)
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "is a device or pipe"
        state = kind if path.exists() else "does not exist"
        raise InputError(f"{path} {state}; pass the path of a photograph.")
    if is_dicom(path):
        return _dicom_pixels(path, max_dim, value_range)
    try:
        # Pillow warns from half its limit on; up to the limit the photograph is read and scaled.
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
        with opened as image:
            values, turned = _deep_values(path, image), image.getexif().get(_ORIENTATION, 1)
            if values is None:
                if max_dim is not None:
                    image.draft(None, (max_dim, max_dim))
                return _upright(image, max_dim, value_range)
        value_range = value_range or _range_of(values)
        return _floats(values, value_range, turned, max_dim), value_range
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} holds more pixels than is safe to unpack; scale it down first ({error})."
        ) from error
    except UnidentifiedImageError as error:
        if is_nifti_name(path):
            raise InputError(
                f"{path} is named as a volume, no photograph. Read it with "
                "camcore.medical.read_volume, and give the model what it takes of that."
            ) from error
        raise InputError(
            f"{path} is no image that Pillow can read; pass a JPEG, PNG, WebP, TIFF, GIF or BMP, "
            "and floating values as one channel of a TIFF."
        ) from error
    except InputError as error:
        raise InputError(f"{path} {error}") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read by you; change its permissions.") from error
    except Exception as error:  # Pillow raises anything on files that contradict themselves
        raise InputError(f"{path} is damaged or cut short ({error}); save it again.") from error


def _dicom_pixels(
    path: Path, max_dim: int | None, value_range: ValueRange | None
) -> tuple[npt.NDArray[Any], ValueRange | None]:
    """Read an image of DICOM, within its window."""
    from PIL import Image

    with reading(path, "a DICOM image"):
        values, found = read_image(path, value_range)
        if found is None:
            return np.array(_within(Image.fromarray(values), max_dim)), None
        return _floats(values, found, 1, max_dim), found


def image_pixels(
    image: Image, *, value_range: ValueRange | None = None
) -> tuple[npt.NDArray[Any], ValueRange | None]:
    """Take the pixels of a Pillow image, as `read_pixels` takes those of a file.

    Parameters
    ----------
    image : PIL.Image.Image
        Left as it is; the camera's rotation, where the image still has it, is applied.
    value_range : (float, float), optional
        The values that become 0 and 255.

    Returns
    -------
    pixels, value_range
        As `read_pixels` returns them.

    Raises
    ------
    InputError
        Its values are not finite, or of unknown range.
    """
    if image.mode[0] in "IF":
        values = np.asarray(image)
        found = value_range or _range_of(values)
        return _floats(values, found, image.getexif().get(_ORIENTATION, 1), None), found
    return _upright(image, None, value_range)


def _upright(
    image: Image, max_dim: int | None, value_range: ValueRange | None
) -> tuple[npt.NDArray[Any], ValueRange | None]:
    """Turn an image of 8 bits upright, in RGB and no larger than `max_dim`."""
    from PIL import ImageOps

    photo = _as_rgb(ImageOps.exif_transpose(image))
    if value_range is None:
        return np.array(_within(photo, max_dim)), None
    return _floats(np.array(photo), value_range, 1, max_dim), value_range


def _within(photo: Image, max_dim: int | None) -> Image:
    """Scale a photograph whose longer side exceeds `max_dim` down to it."""
    from PIL import Image as pillow

    if max_dim is not None:
        # As sharp as bicubic, and two or three times as quick as Lanczos.
        photo.thumbnail((max_dim, max_dim), pillow.Resampling.HAMMING)
    return photo


def _as_rgb(image: Image) -> Image:
    from PIL import Image as pillow

    if image.mode == "LAB":
        raise InputError("holds Lab pixels, whose range is unknown; save it as 8-bit RGB.")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = pillow.new("RGBA", image.size, "white")
        return pillow.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_values(path: Path, image: Image) -> npt.NDArray[Any] | None:
    """Read values of more than 8 bits as the file has them; None where it has no more.

    Returns
    -------
    (H, W) or (H, W, 3 or 4) array
        Grey, or RGB with what is opaque.
    """
    if image.mode[0] in "IF":
        return np.asarray(image)
    # Of several channels Pillow keeps 8 bits, and says so only of some formats.
    said_deep = ";16" in str(getattr(image, "tile", ""))
    if not said_deep and image.format not in ("JPEG2000", "PPM"):
        return None
    with needs("viz", "reading photographs of more than 8 bits"):
        import cv2
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None and said_deep:
        raise InputError("holds more than 8 bits in a way that OpenCV cannot read; save it as PNG.")
    if values is None or values.dtype == np.uint8:
        return None
    red_green_blue = [2, 1, 0, 3][: values.shape[-1]]
    return np.asarray(values if values.ndim == 2 else values[..., red_green_blue])


def _range_of(values: npt.NDArray[Any]) -> ValueRange:
    """Find which values are black and white; see `read_photo`."""
    colours = np.atleast_3d(values)[..., :3]
    low, high = colours.min(), colours.max()
    if values.dtype.kind in "iu" and low >= 0 and high < 2**16:
        return 0.0, float(next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits))
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return float(low), float(high if high > low else low + 1)


def _floats(
    values: npt.NDArray[Any], value_range: ValueRange, turned: int, max_dim: int | None
) -> npt.NDArray[np.float32]:
    """Scale values to 0 and 255, over white, upright, and no larger than `max_dim`."""
    from PIL import Image as pillow
    from PIL import ImageOps

    if not np.isfinite(values).all():
        raise InputError("holds values that are NaN or infinite; clean it first.")
    low, high = value_range
    layers = np.atleast_3d(values).astype(np.float64)
    colours = 255 * np.clip((layers[..., :3] - low) / (high - low), 0, 1)
    if layers.shape[2] == 4:
        opaque = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
        alpha = layers[..., 3:] / opaque
        colours = alpha * colours + (1 - alpha) * 255
    pictures = []
    for colour in np.moveaxis(colours.astype(np.float32), -1, 0):
        picture = pillow.fromarray(colour)
        picture.getexif()[_ORIENTATION] = turned
        pictures.append(np.array(_within(ImageOps.exif_transpose(picture), max_dim)))
    rgb = np.stack(pictures if len(pictures) == 3 else pictures[:1] * 3, -1)
    return rgb.clip(0, 255)


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
