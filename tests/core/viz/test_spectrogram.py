"""Spectrograms stand on axes of seconds and hertz, low frequencies at the bottom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.testing import random_network
from camcore.viz import Marks, figure, heat_map, overlay

MELS = 700 * (10 ** (np.linspace(100, 2840, 64) / 2595) - 1)
MAP = np.random.default_rng(0).random((64, 200)).astype(np.float32)
DECIBELS = np.random.default_rng(1).normal(-40, 10, (64, 200))


def pictures(drawing):
    return [panel for panel in drawing.axes if panel.images]


def ticks(axis):
    return dict(
        zip((t.get_text() for t in axis.get_ticklabels()), axis.get_ticklocs(), strict=True)
    )


def test_a_spectrogram_is_grey_from_its_smallest_to_its_largest():
    low, high = DECIBELS.min(), DECIBELS.max()
    grey = np.rint(255 * ((DECIBELS - low) / (high - low)).astype(np.float32)).astype(np.uint8)
    for images in (DECIBELS, DECIBELS[None], DECIBELS[None, None], [DECIBELS]):
        image, heat, over = pictures(figure(images, MAP, rate=100))
        shown = np.asarray(image.images[0].get_array())
        np.testing.assert_array_equal(shown, np.repeat(grey[..., None], 3, -1))
        np.testing.assert_array_equal(np.asarray(heat.images[0].get_array()), heat_map(MAP)[0])
        np.testing.assert_array_equal(np.asarray(over.images[0].get_array()), overlay(grey, MAP)[0])
    flat = pictures(figure(np.full((64, 200), -3.0), MAP, rate=100))[0]
    assert not np.asarray(flat.images[0].get_array()).any()


def test_seconds_and_hertz_stand_where_their_columns_and_rows_are():
    drawing = figure(DECIBELS, MAP, rate=100, frequencies=np.arange(64) * 62.5, titles=["dog"])
    image, heat, over = pictures(drawing)
    for panel in (image, heat, over):
        assert ticks(panel.xaxis) == pytest.approx(
            {"0": 0, "0.4": 40, "0.8": 80, "1.2": 120, "1.6": 160}
        )
        assert panel.get_xlabel() == "time (s)"
        assert panel.get_aspect() == "auto"
        np.testing.assert_allclose(panel.get_yticks(), [0, 12.8, 25.6, 38.4, 51.2])
    assert list(ticks(image.yaxis)) == ["0", "800", "1600", "2400", "3200"]
    assert image.get_ylabel() == "dog\nfrequency (Hz)"
    assert heat.get_ylabel() == ""


@pytest.mark.parametrize("falls", [False, True])
def test_low_frequencies_are_at_the_bottom_in_either_order(falls):
    frequencies = np.arange(64)[::-1] if falls else np.arange(64)
    panel = pictures(figure(None, MAP, frequencies=frequencies))[0]
    bottom, top = panel.get_ylim()
    assert (bottom, top) == ((63.5, -0.5) if falls else (-0.5, 63.5))
    places = ticks(panel.yaxis)
    assert places["0"] == (63 if falls else 0)
    # The picture's rows are as they were, so that marks lie where they should.
    np.testing.assert_array_equal(np.asarray(panel.images[0].get_array()), heat_map(MAP)[0])


def test_frequencies_that_are_not_evenly_spaced_have_round_ticks_where_they_lie():
    panel = pictures(figure(None, MAP, frequencies=MELS))[0]
    places = ticks(panel.yaxis)
    assert list(places) == ["100", "500", "1000", "2000", "5000"]
    for name, place in places.items():
        below, above = MELS[int(place)], MELS[int(place) + 1]
        assert below <= float(name) <= above
        assert below + (place % 1) * (above - below) == pytest.approx(float(name))


def test_rows_that_are_times_are_drawn_as_columns():
    times = np.arange(200) / 100
    expected = pictures(figure(DECIBELS, MAP, times=times, frequencies=MELS))
    turned = pictures(figure(DECIBELS.T, MAP.T, times=times, frequencies=MELS))
    for one, other in zip(turned, expected, strict=True):
        np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())
        assert ticks(one.xaxis) == ticks(other.xaxis)
        assert one.get_ylim() == other.get_ylim()
    lines = figure(None, MAP.T, times=times, frequencies=MELS, marks=Marks(contours=[0.5]))
    assert any(len(path.vertices) for c in lines.axes[0].collections for path in c.get_paths())
    # Where both would fit, rows are frequencies.
    square = np.triu(np.ones((64, 64), np.float32))
    panel = pictures(figure(None, square, times=np.arange(64), frequencies=MELS))[0]
    np.testing.assert_array_equal(np.asarray(panel.images[0].get_array()), heat_map(square)[0])


def test_an_explanations_figure_has_them_too():
    spectrograms = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    result = camcore.explain(random_network(), spectrograms, 1, activation="softmax")
    told = {"rate": 4, "frequencies": np.arange(8) * 100}
    image, _, over = pictures(result.figure(spectrograms[:, 0], names=list("abcde"), **told))[:3]
    assert image.get_xlabel() == "time (s)"
    assert ticks(image.xaxis)["0.8"] == pytest.approx(3.2)
    assert image.get_ylabel().endswith("\nfrequency (Hz)")
    assert image.get_ylim() == over.get_ylim() == (-0.5, 7.5)
    # On a layer's own grid, brought to the size of what the layer sees.
    apart = replace(result, frame="layer").at((64, 200))
    panel = pictures(apart.figure(rate=100, frequencies=MELS))[0]
    assert ticks(panel.xaxis)["0.8"] == pytest.approx(80)
    assert "5000" in ticks(panel.yaxis)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="one for each of 200 samples"):
        figure(DECIBELS, MAP, times=np.arange(7))
    with pytest.raises(InputError, match="frequencies of shape"):
        figure(DECIBELS, MAP, rate=100, frequencies=np.arange(65))
    with pytest.raises(InputError, match="neither rise nor fall"):
        figure(DECIBELS, MAP, frequencies=np.arange(64) % 2)
    with pytest.raises(InputError, match="rate is -1"):
        figure(DECIBELS, MAP, rate=-1)
    with pytest.raises(InputError, match="Spectrograms hold NaN"):
        figure(DECIBELS * np.nan, MAP, rate=100)
    with pytest.raises(InputError, match="do not share"):
        figure(None, [MAP, MAP[:32]], rate=100)
    with pytest.raises(InputError, match="Transpose images, maps and marks"):
        figure(
            None, MAP.T, times=np.arange(200), frequencies=MELS, marks=Marks(boxes=[[[0, 0, 9, 9]]])
        )
