"""Painting whole photographs quickly gives what the library's overlay gives, to a level."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.photos.crop import CentreCrop
from camcore.recipes import OverlayStyle
from camcore.viz import overlay


@pytest.fixture(autouse=True)
def paint(require):
    require("cv2")
    return require("camcore.viz.painting").paint


@pytest.mark.parametrize("shape", [(90, 120), (301, 200), (50, 700), (33, 32), (224, 224)])
@pytest.mark.parametrize("side", [7, 64])
@pytest.mark.parametrize(
    "style",
    [
        OverlayStyle(),
        OverlayStyle("cv2:JET", 0.3),
        OverlayStyle("viridis", 1.0),
        OverlayStyle("inferno", 0.0),
        OverlayStyle("jet", 0.4, "add_rescale"),
        OverlayStyle("jet", 0.7, "mix_squared"),
    ],
    ids=lambda style: f"{style.blend}-{style.alpha}",
)
def test_paints_as_the_overlay_does(shape, side, style, paint):
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    heat = random.random((side, side), dtype=np.float32)
    heat[0, 0], heat[-1, -1] = 0, 1
    crop = CentreCrop(shape, 64, 73)
    whole, seen = crop.to_photo(heat), crop.seen()
    painted = paint(photo, heat, crop, style)
    assert np.array_equal(painted[~seen], photo[~seen])
    expected = overlay(photo, whole, style=style)[0].astype(int)
    # Where 255 times the map is a whole number to float precision, the colour is one or the next.
    clear = seen & (np.abs(255 * whole - np.rint(255 * whole)) > 1e-3)
    assert clear[seen].mean() > 0.9
    assert np.abs(painted - expected)[clear].max() <= 1
    assert photo.flags.writeable
    if style.alpha == 0:
        assert np.array_equal(painted, photo)
