"""Segmentation networks: where a pixel's evidence lies, and methods of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from architectures import segmentation

import camcore
from camcore.targets import Segmentation


@pytest.fixture(scope="module")
def unet(keras):
    return segmentation.keras_unet()


@pytest.fixture(scope="module")
def ended_unet(keras):
    return segmentation.keras_unet("softmax")


@pytest.fixture(scope="module")
def deeplab(torch, require):
    require("torchvision")
    return segmentation.segmenter("deeplabv3_mobilenet_v3_large")


def raw(result):
    (maps,) = result.raw.values()
    return maps


def test_regions_add_up(deeplab):
    """A class everywhere is the class in a region and outside of it."""
    images, region = segmentation.torch_images(2), segmentation.region()
    inside, outside, everywhere = (
        raw(camcore.explain(deeplab, images, Segmentation(2, mask), "backbone.16"))
        for mask in (region, ~region, None)
    )
    np.testing.assert_allclose(
        inside + outside, everywhere, rtol=0, atol=1e-4 * np.abs(everywhere).max()
    )


def test_a_pixel_is_explained_by_what_it_can_see(unet):
    """HiResCAM of one pixel is zero beyond the receptive field of what follows the layer."""
    images = segmentation.images(1, channels="last")
    target = Segmentation(2, segmentation.pixel(20, 30))
    seen = np.argwhere(raw(camcore.explain(unet, images, target, "up_high", "hirescam"))[0])
    assert len(seen)
    assert np.abs(seen - [20, 30]).max() <= 2  # two 3 x 3 convolutions
    deep = np.argwhere(raw(camcore.explain(unet, images, target, "bottleneck_2", "hirescam"))[0])
    assert np.abs(deep - [5, 7]).max() <= 2


def test_a_softmax_over_classes_is_left_off(unet, ended_unet):
    images = segmentation.images(2, channels="last")
    target = Segmentation(2, segmentation.region())
    ended = camcore.explain(ended_unet, images, target, "bottleneck_2")
    assert ended.activation == "softmax"
    expected = raw(camcore.explain(unet, images, target, "bottleneck_2"))
    np.testing.assert_allclose(raw(ended), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_class_is_that_of_most_pixels_in_the_region(deeplab, torch):
    images, region = segmentation.torch_images(2), segmentation.region()
    result = camcore.explain(deeplab, images, Segmentation(mask=region))
    with torch.no_grad():
        predicted = deeplab(images)["out"].argmax(1).numpy()[:, region]
    expected = [np.bincount(one).argmax() for one in predicted]
    np.testing.assert_array_equal(result.classes, expected)


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "eigencam", "segxrescam"])
def test_methods_of_every_kind(unet, method):
    images = segmentation.images(2, channels="last")
    target = None if method == "eigencam" else Segmentation(1, segmentation.region())
    result = camcore.explain(unet, images, target, "bottleneck_2", method)
    assert result.maps.shape == (2, segmentation.SIDE, segmentation.SIDE)
    assert not result.empty.all()
