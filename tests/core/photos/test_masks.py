"""Masks that say where objects lie in photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camcore.errors import InputError
from camcore.photos.masks import mask_of, read_mask


def test_a_mask_is_named_as_its_photograph_but_for_the_ending(tmp_path):
    for name in ("a.tif", "a.png", "a.gif", "a.txt", "ab.png", "x[1].jpg"):
        (tmp_path / name).touch()
    assert mask_of(Path("photos/a.jpeg"), tmp_path) == tmp_path / "a.png"
    assert mask_of(Path("x[1].png"), tmp_path) == tmp_path / "x[1].jpg"
    assert mask_of(Path("b.png"), tmp_path) is None
    assert mask_of(Path("a.b.png"), tmp_path) is None


def test_the_object_is_where_a_channel_is_128_or_more(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 1, 2], pixels[1, 0, 1], pixels[1, 2] = 128, 127, 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(
        read_mask(tmp_path / "mask.png"), [[False, True, False], [False, False, True]]
    )
    (tmp_path / "mask.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"mask\.png is no image"):
        read_mask(tmp_path / "mask.png")
