"""Pixels computed by hand, and the published pictures to the last bit."""

from __future__ import annotations

import sys
from typing import get_args

import numpy as np
import pytest

from camcore.errors import InputError, MissingExtraError
from camcore.photos.crop import CentreCrop
from camcore.recipes import Blend, OverlayStyle
from camcore.viz.overlay import colour_table, framed, heat_map, overlay, overlay_crop

GREY = np.full((2, 2, 3), 100, np.uint8)
HOT, COLD = np.ones((1, 2, 2)), np.zeros((1, 2, 2))


@pytest.fixture(autouse=True)
def _opencv(require):
    require("cv2")


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["jet", "cv2:JET"])
def test_jet_runs_from_blue_to_red_whatever_order_the_library_keeps(name):
    table = colour_table(name)
    assert table.shape == (256, 3)
    assert np.rint(255 * table[255]).tolist() == [128, 0, 0]
    assert np.rint(255 * table[0]).tolist() == [0, 0, 128]


def test_viridis_of_both_libraries_is_one():
    assert np.abs(colour_table("viridis") - colour_table("cv2:VIRIDIS")).max() < 1.5 / 255


def test_mix_by_heat_weighs_the_colour_by_the_heat():
    # jet at 1 is (127.5, 0, 0); half the heat has 0.5 (2 - 0.5) = 3/4 of its weight.
    assert overlay(GREY, HOT, colormap="jet", alpha=0.4)[0, 0, 0].tolist() == [111, 60, 60]
    half = overlay(GREY, HOT / 2, colormap="gray", alpha=0.4)[0, 0, 0]
    assert half.tolist() == [round(100 + 0.4 * 0.75 * (127 - 100))] * 3


def test_an_image_stays_bit_for_bit_where_there_is_no_heat(photo):
    assert np.array_equal(overlay(photo, COLD)[0], photo)


def test_more_heat_takes_a_picture_farther_from_its_image_and_never_in_a_step():
    levels = np.linspace(0, 1, 512, dtype=np.float32)
    drawn = overlay(np.full((1, 512, 3), 128, np.uint8), levels[None])[0, 0].astype(int)
    assert np.abs(np.diff(drawn, axis=0)).max() <= 4
    lightest = drawn[256:].sum(axis=1)
    assert (np.diff(lightest) >= -2).all()
    assert lightest[-1] - lightest[0] > 200


def test_mix_is_the_weighted_mean():
    style = OverlayStyle("jet", 0.4, "mix")
    assert overlay(GREY, HOT, style=style)[0, 0, 0].tolist() == [111, 60, 60]
    assert overlay(GREY, COLD, style=style)[0, 0, 0].tolist() == [60, 60, 111]


def test_without_weight_the_photograph_stays_bit_for_bit(photo):
    heat = np.random.default_rng(1).random((7, 7))
    assert np.array_equal(overlay(photo, heat, alpha=0)[0], photo)
    assert np.array_equal(overlay(photo / 255, heat, alpha=0)[0], photo)


def test_full_weight_is_the_heat_alone(photo):
    heat = np.random.default_rng(1).random((7, 7))
    assert np.array_equal(
        overlay(photo, heat, alpha=1, blend="mix")[0],
        heat_map(heat, photo.shape[:2], colormap="inferno")[0],
    )


def test_add_clip_is_cut_off_at_white():
    style = OverlayStyle("jet", 0.4, "add_clip")
    bright = np.full((2, 2, 3), 240, np.uint8)
    assert overlay(bright, HOT, style=style)[0, 0, 0].tolist() == [255, 240, 240]
    assert overlay(GREY, HOT, style=style)[0, 0, 0].tolist() == [151, 100, 100]


def test_add_clip_is_the_notebook_tutorial(photo, require):
    cv2 = require("cv2")
    heat = np.random.default_rng(2).random(photo.shape[:2]).astype(np.float32)
    colours = cv2.applyColorMap(np.uint8(255 * heat), cv2.COLORMAP_JET)
    colours = np.float32(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)) / 255
    expected = np.clip(0.4 * colours + np.float32(photo) / 255, 0, 1)
    shown = overlay(photo, heat, style=OverlayStyle("cv2:JET", 0.4, "add_clip"))[0]
    assert np.abs(shown / 255 - expected).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("darker", [1, 3])
def test_mix_peak_is_show_cam_on_image(darker, photo, require):
    cv2, photo = require("cv2"), photo // darker
    heat = np.random.default_rng(2).random(photo.shape[:2]).astype(np.float32)
    image = np.float32(photo) / 255
    colours = cv2.applyColorMap(np.uint8(255 * heat), cv2.COLORMAP_JET)
    colours = np.float32(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)) / 255
    expected = 0.5 * colours + 0.5 * image
    expected = np.uint8(255 * (expected / np.max(expected)))
    shown = overlay(photo, heat, style=OverlayStyle("cv2:JET", 0.5, "mix_peak"))[0]
    assert np.array_equal(shown, expected)
    assert shown.max() == 255


def test_add_dimmed_is_cut_off_at_white():
    style = OverlayStyle("jet", 0.25, "add_dimmed")
    assert overlay(GREY, HOT, style=style)[0, 0, 0].tolist() == [202, 75, 75]
    bright = np.full((2, 2, 3), 240, np.uint8)
    assert overlay(bright, HOT, style=style)[0, 0, 0].tolist() == [255, 180, 180]


def test_mix_squared_mixes_the_colour_of_the_square():
    half = np.full((2, 2), 0.5)
    shown = overlay(GREY, half, style=OverlayStyle("gray", 0.5, "mix_squared"))
    # 256 x 1/4 is the colour looked up: 64 of 255.
    assert shown[0, 0, 0].tolist() == [82, 82, 82]


@pytest.mark.parametrize("seed", range(4))
def test_add_rescale_is_the_keras_example_bit_for_bit(seed, keras, require):
    matplotlib = require("matplotlib")
    random = np.random.default_rng(seed)
    photo = random.integers(20, 230, (61, 47, 3), dtype=np.uint8)
    heat = random.random((10, 10)).astype(np.float32)
    image = keras.utils.img_to_array(photo)
    colours = matplotlib.colormaps["jet"](np.arange(256))[:, :3][np.uint8(255 * heat)]
    picture = keras.utils.array_to_img(colours).resize((image.shape[1], image.shape[0]))
    expected = keras.utils.array_to_img(keras.utils.img_to_array(picture) * 0.4 + image)
    shown = overlay(photo, heat, style=OverlayStyle("jet", 0.4, "add_rescale"))[0]
    assert np.array_equal(shown, np.asarray(expected))


def test_flat_pictures_do_not_divide_by_zero():
    black = np.zeros((3, 3, 3), np.uint8)
    for blend in get_args(Blend):
        style = OverlayStyle("gray", 0.5, blend)
        assert overlay(black, np.zeros((3, 3)), style=style).max() == 0


def test_maps_are_brought_to_the_image_with_half_pixel_centres(require):
    cv2 = require("cv2")
    heat = np.random.default_rng(3).random((7, 5)).astype(np.float32)
    shown = heat_map(heat, (60, 80), colormap="gray")[0, :, :, 0].astype(int)
    assert np.abs(shown - 255 * cv2.resize(heat, (80, 60))).max() <= 1


def test_overlay_lays_many_maps_over_one_image(photo):
    heat = np.random.default_rng(4).random((3, 7, 7))
    together = overlay(photo, heat)
    assert together.shape == (3, *photo.shape)
    assert together.dtype == np.uint8
    for one, shown in zip(heat, together, strict=True):
        assert np.array_equal(overlay(photo, one)[0], shown)


def test_grey_is_rgb_with_equal_channels(photo):
    grey = photo[..., 0]
    expected = overlay(np.repeat(grey[..., None], 3, -1), HOT)
    for shown in (grey, grey[None], grey[..., None], grey[None, None], grey[None, ..., None]):
        assert np.array_equal(overlay(shown, HOT), expected)
        assert np.array_equal(overlay(shown / 255, HOT), expected)


def test_grey_images_of_a_batch_have_each_its_own_map(photo):
    greys, maps = np.moveaxis(photo, -1, 0)[:2], np.random.default_rng(5).random((2, 7, 7))
    expected = [overlay(one, heat)[0] for one, heat in zip(greys, maps, strict=True)]
    for shown in (greys, greys[:, None], greys[..., None]):
        assert np.array_equal(overlay(shown, maps), expected)
    with pytest.raises(InputError, match=r"channel axis last: image.transpose\(1, 2, 0\)"):
        overlay(np.moveaxis(photo, -1, 0), maps)


def test_inputs_are_left_alone(photo):
    heat = np.random.default_rng(5).random((7, 7)).astype(np.float32)
    for array in (photo, heat):
        array.setflags(write=False)
    for blend in get_args(Blend):
        overlay(photo, heat, style=OverlayStyle("jet", 0.5, blend))
    assert not colour_table("jet").flags.writeable


@pytest.mark.parametrize(
    ("images", "maps", "says"),
    [
        (GREY, np.full((2, 2), -0.2), "Maps range from -0.2 to -0.2"),
        (GREY, np.full((2, 2), np.nan), "Maps range from nan"),
        (GREY * 1.0, HOT, "Images range from 100"),
        (GREY.astype(np.int32), HOT, "int32"),
        (GREY[..., 0].astype(np.int32), HOT, "int32"),
        (GREY[..., 0] * 1.0, HOT, "Images range from 100"),
        (np.zeros((1, 3, 8, 9), np.uint8), HOT, "channels-first"),
        (np.stack([GREY] * 3), HOT, "3 images and 1 maps"),
        (GREY, np.zeros((1, 2, 2, 2)), "cut a slice"),
        ([GREY, np.zeros((3, 3, 3), np.uint8)], HOT, "several shapes"),
        (np.zeros((0, 3, 3), np.uint8), HOT, "(0, 3, 3)"),
        (np.zeros((0, 5), np.uint8), HOT, "(0, 5)"),
        (np.zeros((2, 2, 8, 9), np.uint8), HOT, "or grey ones, (B, H, W) or (H, W)"),
    ],
)
def test_overlay_refuses_what_is_no_picture(images, maps, says):
    with pytest.raises(InputError) as caught:
        overlay(images, maps)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "cv2:NOTHING"])
def test_an_unknown_colour_map_lists_some(name):
    with pytest.raises(InputError, match=r"(?i)viridis"):
        colour_table(name)


def test_styles_are_checked():
    with pytest.raises(InputError, match="blend"):
        overlay(GREY, HOT, blend="stir")
    with pytest.raises(InputError, match="between 0 and 1"):
        overlay(GREY, HOT, alpha=40)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    colour_table.cache_clear()
    with pytest.raises(MissingExtraError, match=r"camcore\[viz\]"):
        colour_table("cv2:JET")


@pytest.mark.parametrize("shape", [(90, 120), (301, 200), (50, 700), (33, 32), (224, 224)])
@pytest.mark.parametrize("side", [7, 64])
@pytest.mark.parametrize(
    "style",
    [
        OverlayStyle(),
        OverlayStyle("cv2:JET", 1.0),
        OverlayStyle("cv2:JET", 0.3, "mix"),
        OverlayStyle("viridis", 1.0, "mix"),
        OverlayStyle("inferno", 0.0, "mix"),
        OverlayStyle("jet", 0.4, "add_rescale"),
        OverlayStyle("jet", 0.7, "mix_squared"),
    ],
    ids=lambda style: f"{style.blend}-{style.alpha}",
)
def test_overlay_crop_is_the_overlay_to_a_level(shape, side, style):
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    heat = random.random((side, side), dtype=np.float32)
    heat[0, 0], heat[-1, -1] = 0, 1
    crop = CentreCrop(shape, 64, 73)
    whole, seen = crop.to_photo(heat), crop.seen()
    covered = overlay_crop(photo, heat, crop, style)
    bare = ~(seen | frame(crop))
    assert np.array_equal(covered[bare], photo[bare])
    assert np.isin(covered[frame(crop)], [0, 255]).all()
    expected = overlay(photo, whole, style=style)[0].astype(int)
    # Where 255 times the map is a whole number to float precision, the colour is one or the next.
    clear = seen & (np.abs(255 * whole - np.rint(255 * whole)) > 1e-3)
    assert clear[seen].mean() > 0.9
    assert np.abs(covered - expected)[clear].max() <= 1
    assert photo.flags.writeable
    if style.alpha == 0:
        assert np.array_equal(covered[~frame(crop)], photo[~frame(crop)])


def frame(crop):
    """Mask the two pixels around what the model saw, as wide as a frame is on small photographs."""
    seen = crop.seen()
    padded = np.pad(seen, 2)
    rows, columns = seen.shape
    near = [padded[i : i + rows, j : j + columns] for i in range(5) for j in range(5)]
    return np.any(near, axis=0) & ~seen


def test_a_frame_of_white_within_black_goes_around_what_the_model_saw():
    photo = np.full((400, 500, 3), 100, np.uint8)
    picture = framed(photo, np.full((300, 200, 3), 7, np.uint8), (slice(50, 350), slice(2, 202)))
    # Lines are a 200th of 400 pixels wide; on the left there is room for one.
    assert picture[200, :5, 0].tolist() == [255, 255, 7, 7, 7]
    assert picture[200, 200:208, 0].tolist() == [7, 7, 255, 255, 0, 0, 100, 100]
    assert picture[44:52, 100, 1].tolist() == [100, 100, 0, 0, 255, 255, 7, 7]
    assert (picture[50:350, 2:202] == 7).all()
    assert (photo == 100).all()


def test_there_is_no_frame_where_the_model_saw_everything_or_nothing(photo):
    whole = (slice(0, 37), slice(0, 53))
    assert np.array_equal(framed(photo, photo, whole), photo)
    nothing = (slice(0, 0), slice(0, 53))
    assert np.array_equal(framed(photo, photo[nothing], nothing), photo)


def test_the_hint_at_channels_first_is_for_images_of_three_channels():
    for shape, hinted in {(2, 3, 8, 9): True, (2, 2, 8, 9): False, (2, 8, 9, 5): False}.items():
        with pytest.raises(InputError) as caught:
            overlay(np.zeros(shape, np.uint8), np.zeros((2, 4, 4), np.float32))
        assert ("channels-first" in str(caught.value)) == hinted
