"""What a model takes, read back into the pictures that it was made of."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.photos.preprocessing import Preprocessing
from camcore.photos.read_back import ReadBack

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 56, 40, 3), np.uint8)


@pytest.mark.parametrize("mode", ["torch", "tf", "caffe", "raw"])
def test_pictures_come_back_as_they_were_whatever_scaled_them(mode):
    images = Preprocessing(mode=mode).prepare(PICTURES)
    read = ReadBack.of(images, PICTURES)
    assert read.known
    for image, picture in zip(images, PICTURES, strict=True):
        np.testing.assert_array_equal(read(image), picture)
    # Zeros are what deletion leaves: ImageNet's mean colour, mid grey, ImageNet's again, or black.
    zeros = {
        "torch": np.rint(255 * np.array([0.485, 0.456, 0.406])),
        "tf": [128, 128, 128],
        "caffe": np.rint([123.68, 116.779, 103.939]),
        "raw": [0, 0, 0],
    }
    found = read(np.zeros((3, 1, 1)))[0, 0].astype(int)
    np.testing.assert_allclose(found, zeros[mode], atol=1)


def test_a_grey_input_gives_grey_pictures():
    images = Preprocessing(mode="raw", grey=True).prepare(PICTURES)
    grey = np.repeat(PICTURES @ [0.299, 0.587, 0.114], 1).reshape(3, 56, 40, 1)
    views = np.rint(np.broadcast_to(grey, PICTURES.shape)).astype(np.uint8)
    read = ReadBack.of(images, views)
    assert read.known
    np.testing.assert_allclose(read(images[0]).astype(int), views[0].astype(int), atol=1)


def test_colours_of_grey_photographs_are_not_guessed_from_one_another():
    """Each colour is that of its channel, though any mixture of the channels would fit."""
    grey = np.broadcast_to(PICTURES[..., :1], PICTURES.shape)
    images = Preprocessing(mode="torch").prepare(grey)
    read = ReadBack.of(images, list(grey))
    found = read(np.zeros((3, 1, 1)))[0, 0].astype(int)
    np.testing.assert_allclose(found, 255 * np.array([0.485, 0.456, 0.406]), atol=1)


def test_views_of_another_filter_do():
    large = np.kron(PICTURES[:, ::14, ::10], np.ones((1, 112, 80, 1))).astype(np.uint8)
    near = (large.astype(int) + np.roll(large, 1, 1) + np.roll(large, -1, 1)) // 3
    assert np.abs(near - large).max() > 50
    read = ReadBack.of(Preprocessing(mode="torch").prepare(large), list(near.astype(np.uint8)))
    assert read.known
    zero = read(np.zeros((3, 1, 1)))[0, 0].astype(int)
    np.testing.assert_allclose(zero, 255 * np.array([0.485, 0.456, 0.406]), atol=2)


def test_what_is_not_known_is_stretched():
    images = np.random.default_rng(1).normal(size=(2, 3, 8, 8))
    for views in ([None, None], list(PICTURES[:2, :8, :8])):
        read = ReadBack.of(images, views)
        assert not read.known
        pictures = np.stack([read(image) for image in images])
        for channel in range(3):
            own = images[:, channel]
            scaled = 255 * (own - own.min()) / np.ptp(own)
            np.testing.assert_allclose(pictures[..., channel], scaled, atol=0.51)
    bands = np.random.default_rng(1).normal(size=(1, 5, 8, 8))
    read = ReadBack.of(bands, [None])
    picture = read(bands[0])
    assert (picture == picture[..., :1]).all()
    assert (picture.min(), picture.max()) == (0, 255)
    constant = ReadBack.of(np.ones((1, 1, 4, 4)), [None])
    assert (constant(np.ones((1, 4, 4))) == 0).all()
