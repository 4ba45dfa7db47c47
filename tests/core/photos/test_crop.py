"""The square a model sees is torchvision's, and its maps lie back at their place, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.photos.crop import CentreCrop, Crop
from camcore.resize import LINEAR, resize


@pytest.fixture
def pillow(require):
    return require("PIL.Image")


@pytest.mark.parametrize("shape", [(300, 451), (512, 512), (400, 233), (1000, 224)])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_to_model_is_torchvisions_resize_and_centre_crop(shape, kind, torch, require):
    transforms = require("torchvision.transforms")
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    crop = CentreCrop(photo.shape, 224, 256, kind)
    image = require("PIL.Image").fromarray(photo)
    mode = transforms.InterpolationMode(kind)
    expected = transforms.CenterCrop(224)(transforms.Resize(256, mode)(image))
    assert np.array_equal(crop.to_model(photo), np.asarray(expected))


def test_a_square_photograph_of_the_right_size_passes_through(pillow):
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    crop = CentreCrop(photo.shape, 32)
    assert np.array_equal(crop.to_model(photo), photo)
    heat = np.random.default_rng(1).random((32, 32)).astype(np.float32)
    assert np.array_equal(crop.to_photo(heat), heat)
    assert crop.seen().all()


def test_the_box_is_the_middle_of_the_photograph():
    crop = CentreCrop((300, 451), 224, 256)
    assert crop.scaled == (256, 384)
    assert crop.corner == (16, 80)
    top, left, bottom, right = crop.box
    assert (top, bottom) == pytest.approx((18.75, 281.25))
    assert (left, right) == pytest.approx((80 * 451 / 384, 304 * 451 / 384))
    seen = crop.seen()
    assert seen.sum(0).max() == 262  # row centres 19.5 to 280.5
    assert seen.sum(1).max() == 263  # column centres 94.5 to 356.5
    assert seen[0].sum() == seen[:, 0].sum() == 0


@pytest.mark.parametrize("shape", [(300, 451), (400, 233), (90, 600)])
def test_what_the_model_sees_at_a_place_lies_at_that_place_in_the_photograph(shape, pillow):
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    crop = CentreCrop(shape, 112, 128)
    # Position as colour: the map is the model's own view of it, and must come back as itself.
    for position in (rows, columns):
        scale = position.max()
        photo = np.repeat(np.rint(255 * position / scale)[..., None], 3, -1).astype(np.uint8)
        back = crop.to_photo(crop.to_model(photo)[..., 0] / np.float32(255)) * scale
        inside = crop.seen()
        slack = scale / 255 + 1.5 * max(shape) / max(crop.scaled)
        assert np.abs(back - position)[inside].max() <= slack
        assert np.abs((back - position)[inside].mean()) <= 0.02 * slack + scale / 255 / 2
        assert (back[~inside] == 0).all()


def test_to_photo_takes_batches_and_any_resolution():
    crop = CentreCrop((50, 80, 3), 32, 40)
    heat = np.ones((2, 3, 7, 7), np.float32)
    back = crop.to_photo(heat)
    assert back.shape == (2, 3, 50, 80)
    assert back.dtype == np.float32
    # A constant stays constant up to its rim: nothing bleeds in from outside.
    assert np.array_equal(back[1, 2], crop.seen().astype(np.float32))


def test_geometry_that_cannot_be_is_named(pillow):
    with pytest.raises(InputError, match="does not fit"):
        CentreCrop((50, 80), 64, 32)
    with pytest.raises(InputError, match="interpolation"):
        CentreCrop((50, 80), 32, 32, "psychic")
    with pytest.raises(InputError, match=r"\(50, 80, 3\) and uint8"):
        CentreCrop((50, 80), 32).to_model(np.zeros((80, 50, 3), np.uint8))
    with pytest.raises(InputError, match="strip"):
        CentreCrop((2, 5000), 224)


@pytest.mark.parametrize(("shape", "scaled", "corner"), [((60, 90), (64, 96), (-16, 0))])
def test_a_letterbox_lies_back_without_its_bars(shape, scaled, corner):
    crop = Crop(shape, (96, 96), scaled, corner)
    assert crop.box == pytest.approx((-15, 0, 75, 90))
    assert crop.seen().all()
    rows = np.mgrid[0:96, 0:96][0].astype(np.float32)
    # A pixel of the grid is 60 / 64 of the photograph's; its first row is the grid's 16th.
    centres = (np.arange(60) + 0.5) * 64 / 60 - 0.5 + 16
    expected = np.clip(centres, 16, 79)
    np.testing.assert_allclose(crop.to_photo(rows)[:, 7], expected, atol=1e-4)


def test_a_stretched_photograph_is_seen_whole():
    crop = Crop.whole((50, 200, 3), (20, 20))
    assert crop.box == (0, 0, 50, 200)
    assert crop.seen().all()
    np.testing.assert_array_equal(
        crop.to_photo(np.eye(20)), resize(np.eye(20, dtype=np.float32)[None], (50, 200), LINEAR)[0]
    )


def test_the_view_of_a_letterbox_is_the_photograph_between_grey_bars(pillow):
    picture = np.full((60, 90, 3), 200, np.uint8)
    picture[:, 45:] = 50
    shown = Crop((60, 90), (96, 96), (64, 96), (-16, 0)).view(picture, (48, 48))
    assert (shown[:8] == 114).all()
    assert (shown[40:] == 114).all()
    assert (shown[8:40, :20] == 200).all()
    assert (shown[8:40, 28:] == 50).all()


def test_the_view_of_a_centre_crop_is_what_the_model_is_shown(pillow):
    photo = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    crop = CentreCrop(photo.shape, 96)
    assert np.array_equal(crop.view(photo, (96, 96)), crop.to_model(photo))


def test_a_crop_beside_the_photograph_is_refused():
    with pytest.raises(InputError, match="Nothing of a photograph of shape"):
        Crop((60, 90), (10, 10), (60, 90), (70, 0))


@pytest.mark.parametrize("corner", [(-5, 8), (3, 0), (0, 0)])
def test_rows_of_a_map_on_the_photograph_are_those_of_the_whole(corner):
    crop = Crop((150, 110), (32, 32), (40, 36), corner)
    heat = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    whole, rows = crop.to_photo(heat), crop.rows_on_photo(heat)
    found = np.concatenate([rows(slice(start, start + 7)) for start in range(0, 150, 7)])
    assert np.array_equal(found, whole)
    canvas = crop.carried_on(resize(heat[None], crop.grid, LINEAR))
    assert np.array_equal(whole, resize(canvas, (150, 110), LINEAR)[0] * crop.seen())


def test_what_is_not_scaled_is_enlarged_once():
    crop = Crop((46, 60), (48, 64), (46, 60), (-2, 0))
    heat = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    assert np.array_equal(crop.to_photo(heat), resize(heat, (48, 64), LINEAR)[2:, :60])


def test_a_mask_goes_where_the_model_sees_it():
    # 4 x 8 scaled by a half to 2 x 4, of which the middle two columns are seen.
    mask = np.zeros((4, 8), bool)
    mask[:2, 2:4] = True
    crop = Crop((4, 8), (2, 2), (2, 4), (0, 1))
    np.testing.assert_array_equal(crop.mask_to_model(mask), [[True, False], [False, False]])
    # A letterbox: a row above and one below lie beyond the photograph.
    boxed = Crop((2, 4), (4, 4), (2, 4), (-1, 0))
    found = boxed.mask_to_model(np.ones((2, 4)))
    np.testing.assert_array_equal(found.sum(axis=1), [0, 4, 4, 0])
    # Enlarged three times, each pixel is nine.
    larger = Crop.whole((2, 2), (6, 6))
    np.testing.assert_array_equal(
        larger.mask_to_model([[1, 0], [0, 2]]), np.kron([[1, 0], [0, 1]], np.ones((3, 3)))
    )
    with pytest.raises(InputError, match=r"does not lie over a photograph of \(2, 2\)"):
        larger.mask_to_model(np.ones((3, 2)))


def test_boxes_go_where_the_model_sees_them():
    # 4 x 8 scaled by a half to 2 x 4, of which the middle two columns are seen.
    crop = Crop((4, 8), (2, 2), (2, 4), (0, 1))
    found = crop.boxes_to_model([[2, 0, 4, 2], [0, 1, 8, 4]])
    np.testing.assert_array_equal(found, [[0, 0, 1, 1], [-1, 0.5, 3, 2]])
    # A letterbox: a row above the photograph.
    boxed = Crop((2, 4), (4, 4), (2, 4), (-1, 0))
    np.testing.assert_array_equal(boxed.boxes_to_model([[0, 0, 4, 2]]), [[0, 1, 4, 3]])
