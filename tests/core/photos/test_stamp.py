"""Stamps on pictures: nothing that is shown changes, and no damage goes unseen."""

from __future__ import annotations

import io

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.photos.io import encode
from camcore.photos.stamp import read_stamp, stamped

ABOUT = {"photograph": [123, 1_700_000_000_000_000_000], "run": "0123456789abcdef", "arrays": None}


@pytest.fixture
def pillow(require):
    return require("PIL.Image")


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)


@pytest.fixture(params=["jpg", "png", "jpg without JFIF"])
def data(request, picture, pillow):
    if request.param != "jpg without JFIF":
        return encode(picture, request.param)
    jpg = encode(picture, "jpg")
    assert jpg[2:4] == b"\xff\xe0"
    return jpg[:2] + jpg[4 + int.from_bytes(jpg[4:6], "big") :]


def test_a_stamp_is_read_back_and_no_pixel_changes(data, tmp_path, pillow):
    path = tmp_path / "a"
    path.write_bytes(stamped(data, ABOUT))
    assert read_stamp(path) == ABOUT
    with pillow.open(path) as shown, pillow.open(io.BytesIO(data)) as expected:
        shown.load()
        assert np.array_equal(np.asarray(shown), np.asarray(expected))
        comment = shown.info.get("comment") or shown.text["Comment"]
        assert b"camcore" in (comment if isinstance(comment, bytes) else comment.encode())


def test_a_damaged_picture_has_no_stamp(data, tmp_path):
    path = tmp_path / "a"
    whole = stamped(data, ABOUT)
    for end in (0, 1, 3, 20, 34, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert read_stamp(path) is None
    shift = len(whole) - len(data)
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        # The checksum of a PNG's comment is nobody's but its reader's.
        assert read_stamp(path) != ABOUT or 20 <= place < 40 + shift
    path.write_bytes(whole + b"more")
    assert read_stamp(path) is None


def test_what_is_not_stamped_has_no_stamp(data, tmp_path):
    path = tmp_path / "a"
    assert read_stamp(path) is None
    assert read_stamp(tmp_path) is None
    for other in (data, b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"):
        path.write_bytes(other)
        assert read_stamp(path) is None
    with pytest.raises(InputError, match="Only a JPEG or PNG"):
        stamped(b"GIF89a", ABOUT)
