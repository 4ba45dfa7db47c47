"""The same figure is the same file; files for print keep letters and pixels."""

from __future__ import annotations

import re

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.viz import figure, png_bytes, save_figure


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_saved_figure_is_the_same_file_each_time(kind, photo, tmp_path):
    paths = [
        save_figure(figure(photo, np.eye(4), titles=["tiger cat"]), tmp_path / f"{i}.{kind}")
        for i in range(2)
    ]
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"0.{kind}", f"1.{kind}"]


def test_pixels_per_inch_are_those_asked_for(photo, tmp_path, require):
    drawing = figure(photo, np.eye(4))
    path = save_figure(drawing, tmp_path / "a.png", dpi=200)
    with require("PIL.Image").open(path) as image:
        assert np.abs(np.subtract(image.size, 200 * drawing.get_size_inches())).max() <= 1


def test_letters_stay_letters_and_photographs_keep_their_pixels(photo, tmp_path, require):
    drawing = figure(photo, np.eye(4), titles=["tiger cat"])
    svg = save_figure(drawing, tmp_path / "a.svg").read_text("utf-8")
    assert re.search(r"<text[^>]*>[^<]*tiger cat", svg)
    pdf = save_figure(drawing, tmp_path / "a.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf
    widths = [int(width) for width in re.findall(rb"/Subtype /Image.*?/Width (\d+)", pdf, re.S)]
    assert widths.count(30) == 3, widths
    # Writing them leaves the figure as it was: on a screen they are smoothed.
    assert {axes.images[0].get_interpolation() for axes in drawing.axes[:3]} == {"auto"}


def test_other_endings_are_refused(photo, tmp_path):
    with pytest.raises(InputError, match=r"\.pdf, \.svg or \.png"):
        save_figure(figure(photo, np.eye(4)), tmp_path / "a.jpg")
    with pytest.raises(InputError, match="dpi is 0"):
        save_figure(figure(photo, np.eye(4)), tmp_path / "a.png", dpi=0)


@pytest.mark.parametrize("shape", [(20, 30), (40, 30), (39, 30)])
def test_a_figure_with_titles_is_the_same_the_second_time(shape):
    photos, maps = np.zeros((2, *shape, 3), np.uint8), np.ones((2, 4, 4))
    drawing = figure(photos, maps, titles=["a cat", "a title that takes more than one line"])
    assert png_bytes(drawing, dpi=90) == png_bytes(drawing, dpi=90)
