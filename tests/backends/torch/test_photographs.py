"""From a photograph to an overlay in one call: the evidence lies where occlusion says it does."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.photos import CentreCrop

SHAPES = [
    *((60, 90), (90, 60), (64, 64), (48, 200), (200, 48)),
    *((123, 77), (301, 451), (72, 72), (33, 50), (240, 500)),
]
SIDE = 64


@pytest.fixture(scope="module")
def bright(torch):
    """A network whose score is how bright the bright places are."""
    conv = torch.nn.Conv2d(3, 1, 3, padding=1)
    with torch.no_grad():
        conv.weight.fill_(1 / 27)
        conv.bias.fill_(-0.4)
    head = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        head.weight.fill_(1)
    return torch.nn.Sequential(
        conv, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head
    )


def preprocessing(kind, require):
    transforms = require("torchvision.transforms")
    tensor = transforms.ToTensor()
    if kind == "crop":
        return transforms.Compose([transforms.Resize(72), transforms.CenterCrop(SIDE), tensor])
    if kind == "stretch":
        return transforms.Compose([transforms.Resize((SIDE, SIDE)), tensor])

    def letterbox(image):
        image = image.copy()
        image.thumbnail((SIDE, SIDE))
        if max(image.size) < SIDE:
            ratio = SIDE / max(image.size)
            image = image.resize([round(side * ratio) for side in image.size])
        square = require("PIL.Image").new("RGB", (SIDE, SIDE), (30, 30, 30))
        square.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
        return tensor(square)

    return letterbox


def dotted(shape, kind):
    """A dark photograph with one bright dot, well inside of any crop, and the dot's place."""
    rng = np.random.default_rng(sum(shape))
    photo = rng.integers(0, 60, (*shape, 3), dtype=np.uint8)
    window = CentreCrop(shape, SIDE, 72).seen_window
    side = max(6, min(shape) // 5)
    parts = []
    for part, share in zip(window, (0.3, 0.65), strict=True):
        start = part.start + int(share * (part.stop - part.start - side))
        parts.append(slice(start, start + side))
    photo[parts[0], parts[1]] = 255
    return photo, parts


def darkest(photo, side, score):
    """The patch of a photograph whose darkening lowers the score most, of some four hundred."""
    rows, columns = (
        np.unique(np.linspace(0, length - side, 20).astype(int)) for length in photo.shape[:2]
    )
    places = [(row, column) for row in rows for column in columns]
    occluded = np.repeat(photo[None], len(places), 0)
    for picture, (row, column) in zip(occluded, places, strict=True):
        picture[row : row + side, column : column + side] = 0
    return places[int(np.argmin(score(occluded)))]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["crop", "stretch", "letterbox"])
def test_the_peak_lies_where_occlusion_of_the_photograph_says(shape, kind, bright, torch, require):
    image, prepare = require("PIL.Image"), preprocessing(kind, require)
    photo, (rows, columns) = dotted(shape, kind)

    def score(pictures):
        with torch.no_grad():
            return bright(torch.stack([prepare(image.fromarray(p)) for p in pictures])).numpy()

    result = camcore.explain(bright, photo, preprocess=prepare, layer="1")
    (heat,) = result.maps_on_photographs()
    side = rows.stop - rows.start
    top, left = darkest(photo, side, score)
    peak = np.unravel_index(np.argmax(heat), heat.shape)
    pixel = max(1, max(shape) / SIDE)
    # The patches stand some twentieth of a side apart.
    apart = np.array(shape) / 40
    assert abs(peak[0] - (top + side / 2)) <= side / 2 + apart[0] + pixel
    assert abs(peak[1] - (left + side / 2)) <= side / 2 + apart[1] + pixel
    total = heat.sum()
    centre = [
        float((heat.sum(1 - axis) @ np.arange(n)) / total) + 0.5 for axis, n in enumerate(shape)
    ]
    expected = [(part.start + part.stop) / 2 for part in (rows, columns)]
    # To half a pixel of the photograph or of what the model sees, whichever is larger.
    assert centre == pytest.approx(expected, abs=0.5 * pixel)


def test_an_overlay_is_that_of_the_path_by_hand(bright, torch, require, tmp_path):
    image, prepare = require("PIL.Image"), preprocessing("crop", require)
    photo, _ = dotted((60, 90), "crop")
    image.fromarray(photo).save(tmp_path / "photo.png")
    result = camcore.explain(bright, tmp_path / "photo.png", preprocess=prepare, layer="1")
    by_hand = camcore.explain(bright, prepare(image.fromarray(photo))[None], layer="1")
    np.testing.assert_array_equal(result.maps, by_hand.maps)
    crop = CentreCrop(photo.shape, SIDE, 72)
    window = crop.seen_window
    laid = camcore.viz.overlay(photo, crop.to_photo(by_hand.maps))[0]
    np.testing.assert_array_equal(result.overlay()[0][window], laid[window])
