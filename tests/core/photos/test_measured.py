"""Where a preprocessing's own output lies in a photograph is found to the pixel, or not claimed."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.photos.crop import CentreCrop, Crop
from camcore.photos.measured import measured_crop
from camcore.resize import LINEAR, resize

SHAPES = [(300, 451), (512, 512), (400, 233), (1000, 224), (1500, 2000), (90, 600), (33, 50)]


def by_torchvision(transform, require):
    image = require("PIL.Image")
    return lambda picture: np.asarray(transform(image.fromarray(picture)), np.float64).mean(0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["bilinear", "bicubic", "nearest"])
def test_a_centre_crop_is_found_to_the_pixel(shape, kind, require):
    transforms = require("torchvision.transforms")
    side = 235 if kind == "bicubic" else 256
    transform = transforms.Compose(
        [
            transforms.Resize(side, transforms.InterpolationMode(kind)),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    expected = CentreCrop(shape, 224, side)
    found = measured_crop(by_torchvision(transform, require), shape)
    assert found == Crop(shape, (224, 224), expected.scaled, expected.corner)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_letterbox_is_found(shape, require):
    transforms = require("torchvision.transforms")
    # As the short side becomes 200, and 260 are cut, what is missing is filled up.
    transform = transforms.Compose(
        [transforms.Resize(200), transforms.CenterCrop((260, 150)), transforms.ToTensor()]
    )
    scaled = CentreCrop(shape, 200).scaled
    found = measured_crop(by_torchvision(transform, require), shape)
    assert found is not None
    # torchvision rounds the corner down where the photograph is filled up.
    corner = [
        -((side - length) // 2) if side > length else round((length - side) / 2)
        for side, length in zip((260, 150), scaled, strict=True)
    ]
    expected = Crop(shape, (260, 150), scaled, (corner[0], corner[1]))
    # Of little of a long side, its scaled length is told but to a pixel or two.
    assert found.box == pytest.approx(expected.box, abs=0.3)
    assert (found.grid, found.corner[0]) == ((260, 150), corner[0])


def test_a_stretched_photograph_is_found(require):
    transforms = require("torchvision.transforms")
    transform = transforms.Compose([transforms.Resize((96, 64)), transforms.ToTensor()])
    found = measured_crop(by_torchvision(transform, require), (300, 451))
    assert found == Crop.whole((300, 451), (96, 64))


def scaled(picture):
    return resize(picture[None, ..., 0].astype(np.float64), (32, 32), LINEAR)[0]


@pytest.mark.parametrize(
    "see",
    [
        pytest.param(lambda picture: scaled(picture)[:, ::-1], id="mirrored"),
        pytest.param(lambda picture: scaled(picture).T, id="turned"),
        pytest.param(lambda picture: scaled(picture) ** 2, id="curved"),
        pytest.param(lambda picture: scaled(picture) * np.eye(32), id="in part"),
        pytest.param(lambda picture: np.zeros((32, 32)), id="nothing"),
        pytest.param(
            lambda picture: scaled(picture) - scaled(picture).mean(), id="by its own range"
        ),
    ],
)
def test_what_is_no_crop_is_not_claimed(see):
    assert measured_crop(see, (64, 48)) is None
    assert measured_crop(scaled, (64, 48)) == Crop.whole((64, 48), (32, 32))


@pytest.mark.parametrize("shape", [(200, 48), (48, 200), (301, 451), (64, 63)])
def test_the_whole_of_a_letterbox_is_found_to_the_pixel(shape, require):
    image = require("PIL.Image")

    def see(picture):
        ratio = 64 / max(shape)
        size = [round(side * ratio) for side in shape[::-1]]
        square = image.new("RGB", (64, 64), (30, 30, 30))
        corner = [(64 - side) // 2 for side in size]
        square.paste(image.fromarray(picture).resize(size), corner)
        return np.asarray(square, np.float64).mean(2)

    sides = [round(side * 64 / max(shape)) for side in shape]
    top, left = (-((64 - side) // 2) for side in sides)
    assert measured_crop(see, shape) == Crop(shape, (64, 64), (sides[0], sides[1]), (top, left))
