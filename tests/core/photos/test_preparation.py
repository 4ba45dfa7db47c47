"""Photographs become what a model takes, by what is known of the model or said of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.photos import CentreCrop, Photo, Preprocessing
from camcore.photos.crop import Crop
from camcore.photos.photo import are_photos, is_photo, photos_of
from camcore.photos.preparation import preparation
from camcore.registry import LoadedModel

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
TIMM = SimpleNamespace(
    pretrained_cfg={
        "input_size": (3, 32, 32),
        "crop_pct": 0.8,
        "interpolation": "bicubic",
        "mean": (0.5, 0.25, 0.5),
        "std": (0.5, 0.5, 0.25),
    }
)


def prepared(photos, preprocess=None, model=None, loaded=None, channels="first"):
    found = preparation(preprocess, model, loaded, channels)
    return found, *found.batch(photos_of(photos))


@pytest.fixture
def image(require):
    return require("PIL.Image")


def test_paths_images_and_whole_numbers_are_photographs(image, tmp_path):
    path = tmp_path / "one.png"
    image.fromarray(PHOTO).save(path)
    for source in (path, str(path), image.fromarray(PHOTO), PHOTO, Photo(PHOTO)):
        assert is_photo(source)
        (one,) = photos_of(source)
        np.testing.assert_array_equal(one.pixels, PHOTO)
    assert photos_of(path)[0].path == path
    assert len(photos_of((path, PHOTO))) == 2
    for other in (
        PHOTO / 255,
        PHOTO.astype(int),
        PHOTO[None],
        PHOTO[..., 0] / 255,
        None,
        [],
        [PHOTO, 3],
    ):
        assert photos_of(other) is None


def test_grey_and_transparent_arrays_become_rgb(image):
    for grey in (PHOTO[..., :1], PHOTO[..., 0]):
        found = photos_of(grey)[0].pixels
        np.testing.assert_array_equal(found, np.repeat(PHOTO[..., :1], 3, -1))
    thin = PHOTO[:, :1, 0]
    assert photos_of([thin, thin])[1].pixels.shape == (60, 1, 3)
    # One array is a photograph, or several.
    greys, colours = np.zeros((5, 6, 7), np.uint8), np.zeros((5, 6, 3), np.uint8)
    assert [are_photos(one) for one in (greys, greys[0], colours, colours[None])] == [
        True,
        False,
        False,
        True,
    ]
    assert (photos_of(greys), len(photos_of(list(greys)))) == (None, 5)
    clear = np.concatenate([PHOTO, np.zeros_like(PHOTO[..., :1])], -1)
    assert (photos_of(clear)[0].pixels == 255).all()


def test_an_image_is_turned_upright_as_a_file_is(image):
    turned = image.fromarray(PHOTO)
    turned.getexif()[0x0112] = 6
    np.testing.assert_array_equal(photos_of(turned)[0].pixels, np.rot90(PHOTO, -1))


def test_what_timm_says_of_a_model_is_done(image):
    found, inputs, (one,) = prepared(PHOTO, model=TIMM)
    own = Preprocessing(32, 40, "bicubic", mean=(0.5, 0.25, 0.5), std=(0.5, 0.5, 0.25))
    np.testing.assert_array_equal(inputs, own(PHOTO))
    assert one.crop == CentreCrop(PHOTO.shape, 32, 40, "bicubic")
    assert one.inputs is None
    np.testing.assert_array_equal(one.photo, PHOTO)
    assert found.said == (
        "timm's pretrained_cfg: short side to 40 (bicubic), middle 32 × 32, RGB from 0 to 1, "
        "less (0.5, 0.25, 0.5), divided by (0.5, 0.5, 0.25)"
    )


def test_what_is_said_comes_before_what_is_known(image):
    said = Preprocessing(16, mode="raw", channels_first=False)
    found, inputs, _ = prepared(PHOTO, said, TIMM, channels="last")
    assert inputs.shape == (1, 16, 16, 3)
    assert (
        found.said == "as given: short side to 16 (bilinear), middle 16 × 16, pixels from 0 to 255"
    )


def test_a_loaded_model_says_what_is_assumed(image):
    loaded = LoadedModel(None, lambda view: view[None] / 255, 16, 20, assumed="RGB from 0 to 1")
    found, inputs, (one, _) = prepared([PHOTO, PHOTO[::-1]], loaded=loaded)
    assert found.said == "assumed, as nothing is known of it: RGB from 0 to 1"
    np.testing.assert_array_equal(inputs[0], one.crop.to_model(PHOTO) / 255)
    assert len(inputs) == 2


def whole(picture):
    """Every second pixel, from 0 to 1, channels first."""
    return np.moveaxis(np.asarray(picture)[::2, ::2] / 255, -1, 0)


def test_a_function_is_called_and_its_crop_is_found(image):
    found, inputs, (one, _) = prepared([image.fromarray(PHOTO), PHOTO], whole)
    np.testing.assert_array_equal(inputs[1], whole(PHOTO))
    assert one.crop == Crop.whole(PHOTO.shape, (30, 45))
    assert found.said == "whole"


def test_channels_go_where_the_model_takes_them(image):
    _, first, _ = prepared(PHOTO, lambda picture: np.asarray(picture) / 255)
    _, last, _ = prepared(PHOTO, whole, channels="last")
    assert first.shape == (1, 3, 60, 90)
    np.testing.assert_array_equal(last[0], PHOTO[::2, ::2] / 255)


def test_a_function_of_arrays_is_given_arrays(image):
    _, inputs, (one,) = prepared(PHOTO, lambda picture: picture.transpose(2, 0, 1)[None] / 255)
    np.testing.assert_array_equal(inputs[0], PHOTO.transpose(2, 0, 1) / 255)
    assert one.crop == Crop.whole(PHOTO.shape, (60, 90))


def test_a_crop_that_cannot_be_found_is_not_claimed(image):
    _, inputs, (one,) = prepared(PHOTO, lambda picture: whole(picture)[..., ::-1])
    np.testing.assert_array_equal(inputs[0], whole(PHOTO)[..., ::-1])
    assert one.crop is None


def draws(picture):
    return whole(picture) + draws.generator.random()


draws.generator = np.random.default_rng(0)


class RandomResizedCrop:
    def __repr__(self):
        return "Compose(RandomResizedCrop(size=224), ToTensor())"

    def __call__(self, picture):
        raise AssertionError("it is refused before it is called")


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (draws, "returns something else each time"),
        (RandomResizedCrop(), r"draws random numbers \(RandomResizedCrop\)"),
        (lambda picture: 1 / 0, "fails for a photograph of shape .*both as a PIL image"),
        (lambda picture: "text", "returned str, which holds no array.*ToTensor"),
        (lambda picture: np.zeros((2, 3, 8, 8)), r"made an array of shape \(2, 3, 8, 8\)"),
        (object(), "Nothing is known of the preprocessing of a object"),
    ],
)
def test_what_prepares_no_photograph_is_refused(image, preprocess, message):
    with pytest.raises(InputError, match=message):
        prepared(PHOTO, preprocess)


def test_where_nothing_is_known_the_next_step_is_told():
    with pytest.raises(InputError, match=r"It is not known how photographs are shown.*Say it: "):
        preparation(None, object(), None, "first")


def test_photographs_of_two_sizes_become_one_batch_or_an_error(image):
    _, inputs, ones = prepared([PHOTO, PHOTO[:50]], Preprocessing(16))
    assert inputs.shape == (2, 3, 16, 16)
    assert [one.crop.photo_shape[:2] for one in ones] == [(60, 90), (50, 90)]
    with pytest.raises(InputError, match="cannot be one batch"):
        prepared([PHOTO, PHOTO[:50]], whole)
