"""Radiographs and other images of DICOM are photographs, as pydicom and the standard show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.photos import Photo, read_photo
from camcore.testing import random_network


@pytest.fixture
def examples(require):
    require("PIL")
    require("pydicom")
    return Path(require("pydicom.data").__file__).parent / "test_files"


@pytest.fixture
def radiograph(write_slices, require):
    """A radiograph of 12 bits, from black at 0 to white at 4095, with what it says changed."""
    require("PIL")
    plane = np.linspace(0, 4095, 48).reshape(6, 8).round()
    plain = {"RescaleSlope": 1, "RescaleIntercept": 0}

    def write(**says):
        return next(write_slices([plane], [(0, 0, 0)], **{**plain, **says}).glob("*"))

    return write, plane


def grey(path, **options):
    pixels = Photo.read(path, **options).pixels
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    return pixels[..., 0]


def test_a_window_is_what_pydicom_makes_of_it(examples, require):
    pydicom = require("pydicom")
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    for name in ("MR_small", "693_J2KI", "examples_overlay"):
        dataset = pydicom.dcmread(examples / f"{name}.dcm")
        values = apply_modality_lut(dataset.pixel_array, dataset).astype(np.float64)
        # Far values beside the picture's show which ones pydicom makes black and white.
        several = np.append(values, [-1e6, 1e6])
        shown = apply_voi_lut(several, dataset, prefer_lut=False)
        low, high = shown[-2:]
        expected = 255 * (shown[:-2].reshape(values.shape) - low) / (high - low)
        assert grey(examples / f"{name}.dcm") == pytest.approx(expected, abs=1e-3)


def test_what_low_values_are_is_not_lost(radiograph):
    write, plane = radiograph
    says = {"WindowCenter": 2048, "WindowWidth": 4096}
    light = grey(write(name="light", **says))
    dark = grey(write(name="dark", PhotometricInterpretation="MONOCHROME1", **says))
    assert light == pytest.approx(255 * plane / 4095, abs=1e-3)
    assert dark == pytest.approx(255 - light, abs=1e-3)
    photo = Photo.read(write(name="again", PhotometricInterpretation="MONOCHROME1", **says))
    assert photo.value_range == (4095, 0)


def test_a_window_is_of_rescaled_values(radiograph):
    write, plane = radiograph
    says = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 0, "WindowWidth": 1001}
    found = grey(write(**says))
    expected = np.clip((plane * 2 - 1024 + 500.5) / 1000, 0, 1) * 255
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_first_of_several_windows_and_exact_ones(radiograph):
    write, _ = radiograph
    several = Photo.read(write(name="a", WindowCenter=[500, 40], WindowWidth=[200, 400]))
    assert several.value_range == (400, 599)
    exact = write(name="b", WindowCenter=500, WindowWidth=200, VOILUTFunction="LINEAR_EXACT")
    assert Photo.read(exact).value_range == (400, 600)


def test_a_curve_is_applied(radiograph):
    write, plane = radiograph
    curve = {"VOILUTFunction": "SIGMOID", "WindowCenter": 2048, "WindowWidth": 800}
    found = grey(write(**curve))
    expected = 1 / (1 + np.exp(-4 * (plane - 2048) / 800))
    low, high = expected.min(), expected.max()
    assert found == pytest.approx(255 * (expected - low) / (high - low), abs=1e-3)


def test_one_bright_pixel_does_not_blacken_a_radiograph_without_a_window(radiograph, write_slices):
    plane = np.linspace(0, 999, 2500).reshape(50, 50).round()
    plane[7, 9] = 60000
    says = {"RescaleSlope": 1, "RescaleIntercept": 0}
    file = next(write_slices([plane], [(0, 0, 0)], name="bright", **says).glob("*"))
    assert Photo.read(file).value_range == pytest.approx(np.percentile(plane, (0.5, 99.5)))
    assert np.median(grey(file)) == pytest.approx(127.5, abs=1)


def test_colours_are_kept(examples, require):
    pydicom = require("pydicom")
    rgb = pydicom.dcmread(examples / "examples_rgb_color.dcm").pixel_array
    assert np.array_equal(read_photo(examples / "examples_rgb_color.dcm"), rgb)
    palette = read_photo(examples / "examples_palette.dcm")
    assert palette.shape == (350, 800, 3)
    assert np.ptp(palette, axis=2).max() > 100
    assert read_photo(examples / "examples_rgb_color.dcm", max_dim=32).shape == (24, 32, 3)


@pytest.mark.filterwarnings("ignore::camcore.errors.PoorMapWarning")
def test_a_radiograph_is_explained_as_a_photograph(radiograph, require):
    write, plane = radiograph
    require("cv2")
    file = write(WindowCenter=2048, WindowWidth=4096)

    def preprocess(picture):
        return np.stack([np.asarray(picture, np.float64)[..., 0] / 255] * 2)

    result = camcore.explain(random_network(), file, 1, preprocess=preprocess)
    shown = np.rint(255 * plane / 4095) / 255
    plain = camcore.explain(random_network(), np.stack([shown] * 2)[None], 1)
    assert np.array_equal(result.raw["relu2"], plain.raw["relu2"])
    assert np.abs(plain.raw["relu2"]).max() > 0.05
    assert result.photographs[0].value_range == (0, 4095)
    assert result.overlay().shape == (1, 6, 8, 3)


def test_images_that_are_no_photograph_are_named(examples, write_slices, tmp_path, hot, oblique):
    for name, message in (
        ("rtdose.dcm", r"rtdose\.dcm holds 15 frames.*read_volume"),
        ("rtplan.dcm", "holds no image"),
        ("badVR.dcm", "badVR"),
        ("MR_truncated.dcm", "cannot be decoded"),
        ("JPEGLSNearLossless_16.dcm", "pylibjpeg"),
    ):
        with pytest.raises(InputError, match=message):
            read_photo(examples / name)
    camcore.medical.Volume(hot, oblique).save(tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match="read_volume"):
        read_photo(tmp_path / "scan.nii.gz")
