"""Photographs of every kind come out as a person sees them; pictures come back as written."""

from __future__ import annotations

import os
import stat
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

import camcore.images
from camcore.errors import InputError
from camcore.photos.io import encode, read_photo, write_image


@pytest.fixture
def pillow(require):
    return require("PIL.Image")


@pytest.fixture
def photo():
    """Smooth, so that lossy formats and scaling keep it nearly as it is."""
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, 255 - columns * 4], -1).astype(np.uint8)


def test_a_png_comes_back_bit_for_bit(tmp_path, photo, pillow):
    path = write_image(tmp_path / "a.png", photo)
    assert np.array_equal(read_photo(path), photo)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_rotation_is_applied(orientation, tmp_path, photo, pillow):
    stored = {
        1: photo,
        2: photo[:, ::-1],
        3: photo[::-1, ::-1],
        4: photo[::-1],
        5: photo.transpose(1, 0, 2),
        6: np.rot90(photo, 1),
        7: np.rot90(photo, 2).transpose(1, 0, 2),
        8: np.rot90(photo, -1),
    }[orientation]
    exif = pillow.Exif()
    exif[0x0112] = orientation
    image = pillow.fromarray(np.ascontiguousarray(stored))
    image.save(tmp_path / "a.png", exif=exif)
    image.save(tmp_path / "a.tiff", exif=exif)
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert np.array_equal(read_photo(tmp_path / "a.png"), photo)
    assert np.array_equal(read_photo(tmp_path / "a.tiff"), photo)
    assert np.abs(read_photo(tmp_path / "a.jpg").astype(int) - photo).mean() < 3


def test_transparency_is_laid_over_white(tmp_path, photo, pillow):
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[:20], alpha[20:30] = 0, 51
    pillow.fromarray(np.dstack([photo, alpha])).save(tmp_path / "a.png")
    seen = read_photo(tmp_path / "a.png")
    assert (seen[:20] == 255).all()
    assert np.abs(seen[20:30] - (0.2 * photo[20:30] + 0.8 * 255)).max() <= 1
    assert np.array_equal(seen[30:], photo[30:])


def test_grey_with_alpha_and_palette_with_transparency(tmp_path, photo, pillow):
    grey = pillow.fromarray(np.dstack([photo[..., 0], np.zeros(photo.shape[:2], np.uint8)]))
    assert grey.mode == "LA"
    grey.save(tmp_path / "la.png")
    assert (read_photo(tmp_path / "la.png") == 255).all()
    palette = pillow.new("P", (4, 2), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "p.png", transparency=0)
    seen = read_photo(tmp_path / "p.png")
    assert seen[0, 0].tolist() == [255, 255, 255]
    assert seen[1, 1].tolist() == [200, 100, 50]


def test_grey_one_bit_and_palette(tmp_path, photo, pillow):
    grey = photo[..., 0]
    pillow.fromarray(grey).save(tmp_path / "l.png")
    assert np.array_equal(read_photo(tmp_path / "l.png"), np.repeat(grey[..., None], 3, -1))
    pillow.fromarray(grey > 100).save(tmp_path / "1.png")
    assert np.array_equal(read_photo(tmp_path / "1.png")[..., 2], 255 * (grey > 100))
    pillow.new("P", (3, 3)).save(tmp_path / "p.gif")
    assert read_photo(tmp_path / "p.gif").shape == (3, 3, 3)


def test_cmyk(tmp_path, pillow):
    cmyk = pillow.new("CMYK", (32, 32), (0, 255, 255, 0))
    cmyk.save(tmp_path / "a.tiff")
    cmyk.save(tmp_path / "a.jpg", quality=95)
    assert read_photo(tmp_path / "a.tiff")[3, 3].tolist() == [255, 0, 0]
    assert np.abs(read_photo(tmp_path / "a.jpg")[3, 3].astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_rounded_to_eight(suffix, tmp_path, pillow):
    values = np.array([[0, 255, 256], [32768, 65279, 65535]], np.uint16)
    pillow.fromarray(values).save(tmp_path / f"a.{suffix}")
    seen = read_photo(tmp_path / f"a.{suffix}")
    assert seen[..., 0].tolist() == [[0, 1, 1], [128, 254, 255]]
    assert (seen[..., 0] == seen[..., 2]).all()


def test_the_first_frame_of_an_animation(tmp_path, pillow):
    frames = [pillow.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    for name in ("a.gif", "a.png"):
        assert read_photo(tmp_path / name)[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_max_dim_scales_down_and_keeps_the_aspect_ratio(suffix, tmp_path, pillow):
    tall = np.random.default_rng(0).integers(0, 256, (900, 300, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    pillow.fromarray(tall).save(path)
    assert read_photo(path, max_dim=240).shape == (240, 80, 3)
    assert read_photo(path, max_dim=2000).shape == (900, 300, 3)
    with pytest.raises(InputError, match="max_dim is 0"):
        read_photo(path, max_dim=0)


def test_what_is_no_photograph_is_named(tmp_path, photo, pillow):
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture")
    with pytest.raises(InputError, match=r"notes\.jpg is no image.*JPEG"):
        read_photo(text)
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match="is no image"):
        read_photo(tmp_path / "empty.png")
    with pytest.raises(InputError, match="does not exist"):
        read_photo(tmp_path / "nothing.png")
    with pytest.raises(InputError, match="is a folder"):
        read_photo(tmp_path)
    whole = write_image(tmp_path / "a.png", photo).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"half\.png is damaged"):
        read_photo(tmp_path / "half.png")
    pillow.new("LAB", (4, 4)).save(tmp_path / "l.tiff")
    with pytest.raises(InputError, match=r"l\.tiff holds Lab pixels"):
        read_photo(tmp_path / "l.tiff")


def test_what_may_not_be_read_is_said_so(tmp_path, photo, pillow, monkeypatch):
    path = write_image(tmp_path / "a.png", photo)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pillow, "open", refuse)
    with pytest.raises(InputError, match=r"a\.png may not be read by you"):
        read_photo(path)


def test_reading_in_many_threads_leaves_the_filters_of_warnings_as_they_were(
    tmp_path, photo, pillow
):
    path = write_image(tmp_path / "a.png", photo)
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(read_photo, [path] * 200))
    assert all(np.array_equal(one, photo) for one in read)
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.png", "PNG"), ("a.part", "PNG")]
)
def test_the_name_says_the_format(name, kind, tmp_path, photo, pillow):
    with pillow.open(write_image(tmp_path / name, photo)) as image:
        assert image.format == kind
    assert write_image(tmp_path / name, b"as they are").read_bytes() == b"as they are"
    with pillow.open(camcore.images.write_png(tmp_path / name, photo)) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_encoded_pictures_come_back(kind, tmp_path, photo, pillow):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(encode(photo, kind))
    back = read_photo(path).astype(int)
    assert np.abs(back - photo).mean() < (2 if kind == "jpg" else 1e-9)
    with pytest.raises(InputError, match="float64"):
        encode(photo / 255, kind)


def test_a_decompression_bomb_is_refused_unread(tmp_path, pillow, monkeypatch):
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 1000)
    path = write_image(tmp_path / "a.png", np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(InputError, match="more pixels than is safe"):
        read_photo(path)
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 2000)
    assert read_photo(path, max_dim=25).shape == (25, 25, 3)


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tiff", "webp", "bmp"])
def test_damaged_files_never_escape_as_anything_else(kind, tmp_path, photo, pillow):
    random = np.random.default_rng(0)
    path = tmp_path / f"a.{kind}"
    pillow.fromarray(photo).save(path)
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 8):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(whole))])
        # An error of any other type would fail the test.
        with suppress(InputError):
            assert read_photo(path).shape[-1] == 3


def test_an_image_is_whole_or_not_there(tmp_path, pillow, monkeypatch):
    before = write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8)).read_bytes()

    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_image(tmp_path / "a.png", np.ones((4, 4, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before
    monkeypatch.undo()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o666 & ~mask
    with pytest.raises(InputError, match="float64"):
        write_image(tmp_path / "b.png", np.zeros((4, 4, 3)))
