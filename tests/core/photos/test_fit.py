"""Photographs that are stretched or letterboxed, and maps laid back over them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from camcore.batch import PreparedPhoto
from camcore.errors import InputError
from camcore.photos.crop import CentreCrop, Crop
from camcore.photos.fit import Letterbox, Stretch, fitted
from camcore.photos.prepared import PhotoInput
from camcore.registry import LoadedModel


@pytest.fixture(autouse=True)
def pillow(require):
    require("PIL")


def ramps(height, width):
    """Row and column of each pixel, from 0 to 255."""
    down, across = np.mgrid[0 : 255 : height * 1j, 0 : 255 : width * 1j]
    return np.stack([down, across, down], axis=-1).astype(np.float32)


def test_a_letterbox_puts_the_photograph_between_grey_bars():
    photo = np.full((30, 45, 3), 7, np.uint8)
    seen = Letterbox(photo.shape, 64).to_model(photo)
    # 45 becomes 64, 30 becomes 43, and 21 rows are left: 10 above, 11 below.
    assert seen.shape == (64, 64, 3)
    assert np.array_equal(seen[10:53], np.full((43, 64, 3), 7))
    assert (seen[:10] == 114).all()
    assert (seen[53:] == 114).all()
    turned = Letterbox((45, 30), 64)
    assert (turned.scaled, turned.corner) == ((64, 43), (0, -10))
    assert turned.margins == ((0, 0), (-10, -11))


def test_a_stretch_scales_both_sides_and_takes_the_middle():
    whole = Stretch((240, 400), 64)
    assert (whole.scaled, whole.corner, whole.seen().all()) == ((64, 64), (0, 0), True)
    middle = Stretch((240, 400), 64, 72)
    assert (middle.scaled, middle.corner) == ((72, 72), (4, 4))
    # 4 of 72 are left out on each side: 13.3 of 240 rows, 22.2 of 400 columns.
    np.testing.assert_allclose(middle.box, (240 / 18, 400 / 18, 240 * 17 / 18, 400 * 17 / 18))
    rows, columns = np.nonzero(middle.seen())
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (13, 226, 22, 377)


@pytest.mark.parametrize("shape", [(240, 400), (400, 240), (333, 332)])
@pytest.mark.parametrize("way", [Stretch, Letterbox, CentreCrop])
def test_what_is_seen_of_a_place_is_laid_back_onto_it(way, shape):
    crop = way(shape, 224)
    back = crop.to_photo(np.moveaxis(crop.to_model(ramps(*shape)), -1, 0))
    apart = np.abs(back - np.moveaxis(ramps(*shape), -1, 0))[:, crop.seen()]
    assert apart.max() < 1.5  # levels of 255: less than the two pixels beside a bar or a rim


def test_maps_of_a_letterbox_are_cut_where_bars_are_and_others_carried_outwards():
    square = np.arange(16.0).reshape(4, 4)
    assert Letterbox((2, 4), 4).carried_on(square).tolist() == square[1:3].tolist()
    assert CentreCrop((2, 4), 2).carried_on(square[:2, :2]).tolist() == [[0, 0, 1, 1], [4, 4, 5, 5]]


def test_a_model_says_how_photographs_become_its_square(require):
    cv2 = require("cv2")
    from camcore.viz.overlay import OverlayStyle, overlay, overlay_crop

    model = LoadedModel(None, lambda view: view[None], 64, 72)
    kinds = {"crop": CentreCrop, "stretch": Stretch, "letterbox": Letterbox}
    for fit, kind in kinds.items():
        assert type(fitted(replace(model, fit=fit), (30, 45, 3))) is kind
    photo = np.random.default_rng(0).integers(0, 256, (30, 45, 3), np.uint8)
    boxed = PreparedPhoto.for_model(replace(model, fit="letterbox"), photo)
    assert (boxed.inputs[0, :10] == 114).all()
    mirrored = replace(model, fit="letterbox", view=lambda photo: cv2.flip(photo, 1)[:8, :8])
    np.testing.assert_array_equal(
        PreparedPhoto.for_model(mirrored, photo).inputs[0], photo[:8, ::-1][:, :8]
    )
    heat = np.random.default_rng(1).random((8, 8), np.float32)
    quick = overlay_crop(photo, heat, boxed.crop, OverlayStyle())
    exact = overlay(photo, boxed.crop.to_photo(heat))[0]
    assert np.abs(quick.astype(int) - exact.astype(int)).max() <= 2


def test_what_is_measured_lies_where_its_view_shows_it(require):
    image = require("PIL.Image")

    def view(photo):
        height, width = photo.shape[:2]
        scaled = image.fromarray(photo).resize((2 * width // 5, 2 * height // 5))
        return np.asarray(scaled)[4:-4]

    loaded = LoadedModel(None, lambda seen: seen[None], 32, 32, fit="measured", view=view)
    assert fitted(loaded, (100, 150, 3)) == Crop((100, 150), (32, 60), (40, 60), (4, 0))
    photo = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    assert np.array_equal(PhotoInput.for_model(loaded, photo).inputs[0], view(photo))
    turned = replace(loaded, view=lambda seen: seen[::-1])
    with pytest.raises(InputError, match="more than scaled, cropped and filled up"):
        fitted(turned, (100, 150, 3))
