"""A picture mixed strip by strip is the picture mixed at once, to the last bit."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from camcore.photos.crop import CentreCrop, Crop
from camcore.photos.fit import Letterbox
from camcore.recipes import Blend, OverlayStyle
from camcore.viz import blends, heat_map, overlay, signed_map, signed_overlay
from camcore.viz.photograph import overlay_over

SIZE = (61, 47)
CROPS = {
    "crop": CentreCrop(SIZE, 30, 34),
    "letterbox": Letterbox(SIZE, 40),
    "shifted": Crop(SIZE, (32, 32), (40, 36), (-5, 8)),
}
MAPS = {"dense": (7, 9), "taps": (70, 90), "both": (7, 90), "its size": SIZE}


@pytest.fixture(autouse=True)
def _libraries(require):
    require("cv2")
    require("matplotlib")


@pytest.fixture
def random():
    return np.random.default_rng(0)


def in_strips(monkeypatch, draw):
    """Draw in strips of three rows, and at once."""
    monkeypatch.setattr(blends, "STRIP", 3 * SIZE[1])
    assert len(list(blends.strips(SIZE))) == 21
    cut = draw()
    monkeypatch.setattr(blends, "STRIP", 10**9)
    assert list(blends.strips(SIZE)) == [slice(0, SIZE[0])]
    return cut, draw()


def test_strips_cover_each_row_once():
    assert list(blends.strips((7, 10), 30)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(blends.strips((2, 100), 30)) == [slice(0, 1), slice(1, 2)]


@pytest.mark.parametrize("blend", get_args(Blend))
@pytest.mark.parametrize("size", MAPS.values(), ids=MAPS)
def test_an_overlay_in_strips_is_the_overlay(blend, size, random, monkeypatch):
    images = random.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    heats = random.random((2, *size)).astype(np.float32)
    style = OverlayStyle("cv2:JET", 0.4, blend)
    for photos in (images, images[0], images / 255, images[..., :1]):
        cut, whole = in_strips(monkeypatch, lambda p=photos: overlay(p, heats, style=style))
        assert np.array_equal(cut, whole)


@pytest.mark.parametrize("blend", get_args(Blend))
@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_an_overlay_of_a_crop_in_strips_is_that_of_the_whole_map(blend, crop, random, monkeypatch):
    photo = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    heat, style = random.random((8, 8)).astype(np.float32), OverlayStyle("cv2:JET", 0.4, blend)
    cut, whole = in_strips(monkeypatch, lambda: overlay_over(photo, heat, crop, style, exact=True))
    assert np.array_equal(cut, whole)
    window = crop.seen_window
    assert np.array_equal(
        whole[window], overlay(photo, crop.to_photo(heat), style=style)[0][window]
    )


@pytest.mark.parametrize("size", MAPS.values(), ids=MAPS)
def test_maps_alone_and_signed_ones_in_strips_are_the_same(size, random, monkeypatch):
    images = random.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    heats = random.random((2, *size)).astype(np.float32)
    for draw in (
        lambda: heat_map(heats, SIZE),
        lambda: signed_map(heats - 0.3, SIZE),
        lambda: signed_overlay(images, heats - 0.3),
        lambda: signed_overlay(images[0], heats - 0.3, limit=0.2),
    ):
        cut, whole = in_strips(monkeypatch, draw)
        assert np.array_equal(cut, whole)


def test_no_more_than_a_strip_is_enlarged_at_a_time(random, monkeypatch):
    asked, computed = [], blends.resized_rows

    def counted(*about):
        rows = computed(*about)
        return lambda some: asked.append(some.stop - some.start) or rows(some)

    monkeypatch.setattr(blends, "resized_rows", counted)
    monkeypatch.setattr(blends, "STRIP", 3 * SIZE[1])
    overlay(np.zeros((*SIZE, 3), np.uint8), random.random((70, 90)))
    assert asked == [3] * 20 + [1]
