"""Files of more than 8 bits: every grey level reaches the model, and windows are for looking."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from camcore.batch import PreparedPhoto
from camcore.errors import InputError
from camcore.photos import CentreCrop, Photo, Preprocessing, read_photo
from camcore.registry import LoadedModel


@pytest.fixture(autouse=True)
def libraries(require):
    require("PIL")
    require("cv2")


def ramp(levels, dtype=np.uint16, shape=(40, 60)):
    """Values from 0 to `levels` - 1, both among them."""
    values = np.random.default_rng(0).integers(0, levels, shape)
    values.flat[:2] = 0, levels - 1
    return values.astype(dtype)


def saved(path, values):
    """Write values as they are: by Pillow in one channel, by OpenCV in several."""
    if values.ndim == 2:
        from PIL import Image

        Image.fromarray(values).save(path)
    else:
        import cv2

        assert cv2.imwrite(str(path), values[..., [2, 1, 0, 3][: values.shape[2]]])
    return path


def grey_with_alpha(path, values, alpha):
    """Write a PNG of 16 bits, grey and alpha, which neither library writes."""
    rows = np.stack([values, alpha], -1).astype(">u2").reshape(len(values), -1)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 4, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    )
    return path


HOUNSFIELD = (ramp(4096).astype(np.int32)) - 1024
DECIBEL = np.random.default_rng(1).normal(-40, 20, (40, 60)).astype(np.float32)

CASES = {
    "12 bits in a PNG of 16": ("a.png", ramp(4096), (0, 4095)),
    "10 bits in a PNG of 16": ("a.png", ramp(1024), (0, 1023)),
    "14 bits in a TIFF of 16": ("a.tif", ramp(16384), (0, 16383)),
    "all 16 bits": ("a.png", ramp(65536), (0, 65535)),
    "8 bits in a PNG of 16": ("a.png", ramp(256), (0, 255)),
    "colours of 12 bits, PNG": ("a.png", ramp(4096, shape=(40, 60, 3)), (0, 4095)),
    "colours of 10 bits, TIFF": ("a.tif", ramp(1024, shape=(40, 60, 3)), (0, 1023)),
    "colours of 12 bits, PPM": ("a.ppm", ramp(4096, shape=(40, 60, 3)), (0, 4095)),
    "floats within [0, 1]": ("a.tif", ramp(4096).astype(np.float32) / 8192, (0, 1)),
    "floats of a spectrogram in dB": ("a.tif", DECIBEL, (DECIBEL.min(), DECIBEL.max())),
    "signed, as of computed tomography": ("a.tif", HOUNSFIELD, (-1024, 3071)),
    "one value throughout": ("a.tif", np.full((4, 4), 7.5, np.float32), (7.5, 8.5)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_level_reaches_the_models_preprocessing(case, tmp_path):
    name, values, (low, high) = CASES[case]
    photo = Photo.read(saved(tmp_path / name, values))
    expected = 255 * (np.atleast_3d(values).astype(np.float64) - low) / (high - low)
    assert photo.value_range == (low, high)
    np.testing.assert_allclose(
        photo.pixels, np.broadcast_to(expected, photo.pixels.shape), rtol=0, atol=2e-5
    )
    # The square of the model is the whole picture here, so nothing is interpolated.
    side = min(values.shape[:2])
    prepare = Preprocessing(side, mean=(0, 0, 0), std=(1, 1, 1)).prepare
    loaded = LoadedModel(None, prepare, side, side)
    inputs = PreparedPhoto.for_model(loaded, photo).inputs
    crop = CentreCrop(values.shape, side)
    left = crop.corner[1]
    np.testing.assert_allclose(
        inputs[0],
        np.broadcast_to(expected[:, left : left + side].transpose(2, 0, 1) / 255, inputs[0].shape),
        rtol=0,
        atol=1e-6,
    )
    assert len(np.unique(inputs)) == len(np.unique(values[:, left : left + side]))


def test_eight_bits_stay_as_they_are(tmp_path):
    values = ramp(256, np.uint8, (40, 60, 3))
    photo = Photo.read(saved(tmp_path / "a.png", values))
    assert photo.value_range is None
    np.testing.assert_array_equal(photo.pixels, values)
    assert photo.picture is photo.pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_range_that_is_said_counts(dtype, tmp_path):
    values = ramp(256, dtype)
    photo = Photo.read(saved(tmp_path / "a.png", values), value_range=(50, 150))
    expected = 255 * np.clip((values.astype(float) - 50) / 100, 0, 1)
    assert photo.value_range == (50, 150)
    np.testing.assert_allclose(photo.pixels[..., 1], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("value_range", [(5, 5), (5, 4), (0, float("inf")), (float("nan"), 1)])
def test_a_range_that_is_none_is_refused(value_range, tmp_path):
    path = saved(tmp_path / "a.png", ramp(4096))
    with pytest.raises(InputError, match=r"value_range is .*pass the values of black and of white"):
        Photo.read(path, value_range=value_range)


def test_alpha_of_16_bits_lies_over_white(tmp_path):
    colours = np.dstack([ramp(65536, shape=(40, 60, 3)), np.full((40, 60), 65535, np.uint16)])
    colours[:10, :, 3], colours[10:20, :, 3] = 0, 13107
    pixels = Photo.read(saved(tmp_path / "a.png", colours)).pixels
    opaque = colours[..., :3] / 65535 * 255
    assert (pixels[:10] == 255).all()
    np.testing.assert_allclose(pixels[10:20], 0.2 * opaque[10:20] + 0.8 * 255, rtol=0, atol=3e-5)
    np.testing.assert_allclose(pixels[20:], opaque[20:], rtol=0, atol=3e-5)
    grey, alpha = ramp(4096), np.full((40, 60), 65535)
    alpha[:10] = 0
    photo = Photo.read(grey_with_alpha(tmp_path / "la.png", grey, alpha))
    assert (photo.pixels[:10] == 255).all()
    np.testing.assert_allclose(photo.pixels[10:, :, 2], grey[10:] / 4095 * 255, rtol=0, atol=2e-5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_rotation_is_applied(orientation, tmp_path):
    from PIL import Image

    values = ramp(4096)
    picture = Image.fromarray(values)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    upright = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.T,
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].T,
        8: np.rot90(values),
    }[orientation]
    pixels = Photo.read(tmp_path / "a.png").pixels
    np.testing.assert_allclose(pixels[..., 0], upright / 4095 * 255, rtol=0, atol=2e-5)


def test_max_dim_scales_down_without_rounding(tmp_path):
    values = np.repeat(np.repeat(ramp(4096, shape=(10, 20)), 4, 0), 4, 1)
    pixels = Photo.read(saved(tmp_path / "a.png", values), max_dim=20).pixels
    assert pixels.shape == (10, 20, 3)
    assert len(np.unique(pixels)) > 150


def test_values_that_are_not_finite_are_refused(tmp_path):
    values = DECIBEL.copy()
    values[3, 4] = np.nan
    with pytest.raises(InputError, match=r"a\.tif holds values that are NaN or infinite"):
        Photo.read(saved(tmp_path / "a.tif", values))


def test_windows_are_for_looking_only(tmp_path):
    values = ramp(1000).astype(np.int64)
    values[1, 1] = 60000  # a marker burnt into an X-ray
    photo = Photo.read(saved(tmp_path / "a.png", values.astype(np.uint16)))
    assert photo.value_range == (0, 65535)
    low, high = np.percentile(values, (0.5, 99.5))
    expected = np.rint(255 * np.clip((values - low) / (high - low), 0, 1))
    assert photo.picture.dtype == np.uint8
    assert np.abs(photo.picture[..., 0] - expected).max() <= 1
    assert photo.pixels.max() == pytest.approx(60000 / 65535 * 255, abs=1e-4)


def test_read_photo_rounds_what_photo_keeps(tmp_path):
    path = saved(tmp_path / "a.png", ramp(4096))
    np.testing.assert_array_equal(read_photo(path), np.rint(Photo.read(path).pixels))
    narrow = read_photo(path, value_range=(1000, 1255))
    np.testing.assert_array_equal(narrow[..., 0], np.clip(ramp(4096).astype(int) - 1000, 0, 255))


def only_bytes(view):
    if view.dtype != np.uint8:
        raise TypeError("Cannot handle this data type")
    return view[None] / np.float32(255)


def divides_bytes_alone(view):
    """As torchvision's ``ToTensor`` does it."""
    return view[None] / np.float32(255 if view.dtype == np.uint8 else 1)


@pytest.mark.parametrize("preprocess", [only_bytes, divides_bytes_alone])
def test_a_preprocessing_for_bytes_alone_is_given_the_nearest_bytes(preprocess):
    pixels = (ramp(4096)[:40, :40, None] / 4095 * 255).astype(np.float32).repeat(3, -1)
    loaded = LoadedModel(None, preprocess, 40, 40)
    inputs = PreparedPhoto.for_model(loaded, Photo(pixels, (0, 4095))).inputs
    np.testing.assert_allclose(inputs[0] * 255, np.rint(pixels), rtol=0, atol=2e-5)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_floats_are_scaled_like_bytes(interpolation):
    pixels = np.random.default_rng(2).integers(0, 256, (30, 45, 3), dtype=np.uint8)
    crop = CentreCrop(pixels.shape, 8, 9, interpolation)
    exact, rounded = crop.to_model(pixels.astype(np.float32)), crop.to_model(pixels)
    # Pillow rounds bytes after each of the two axes.
    assert np.abs(exact - rounded).max() <= 1
    hard = 255 * (np.indices((30, 45)).sum(0) // 9 % 2)[..., None].repeat(3, -1)
    scaled = CentreCrop(hard.shape, 20, 60, interpolation).to_model(hard.astype(np.float32))
    assert (scaled.min(), scaled.max()) == (0, 255)
