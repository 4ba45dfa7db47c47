"""Signals are traces, each sample in the colour of its map."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.resize import LINEAR, resize
from camcore.viz import colour_table, heat_map, signal_figure, signed_map


def collections(panel):
    return [found for found in panel.collections if found.get_segments()]


def test_each_sample_of_a_trace_has_the_colour_of_its_map():
    signal = np.array([0.0, 1.0, -1.0, 2.0])
    drawing = signal_figure(signal, np.array([0.0, 1.0]))
    (line,) = collections(drawing.axes[0])
    weights = resize(np.array([[0.0, 1.0]]), (4,), LINEAR)[0]
    expected = heat_map(weights[None].astype(np.float32))[0, 0] / 255
    assert np.allclose(line.get_colors()[:, :3], expected)
    assert np.allclose(expected[[0, -1]], colour_table("inferno")[[0, -1]], atol=1 / 255)
    middle = line.get_segments()[1]
    assert np.allclose(middle, [[0.5, 0.5], [1, 1], [1.5, 0]])
    assert np.allclose(line.get_segments()[0][0], [0, 0])


def test_channels_stand_one_below_the_other():
    signals = np.random.default_rng(0).normal(size=(2, 50, 3))
    times = np.linspace(0, 1, 50)
    drawing = signal_figure(signals, np.zeros((2, 10)), times=times, titles=["a", "b"])
    for panel, name in zip(drawing.axes, "ab", strict=False):
        lines = [np.concatenate(c.get_segments()) for c in collections(panel)]
        assert len(lines) == 3
        for above, below in pairwise(lines):
            assert above[:, 1].mean() - below[:, 1].mean() > np.ptp(signals[0], axis=0).max() / 2
        assert panel.get_title(loc="left") == name
        assert lines[0][:, 0].max() == 1
    assert drawing.axes[1].get_xlabel() == "time"


def test_signed_signals_and_what_does_not_fit():
    drawing = signal_figure(np.zeros((1, 5)), np.array([[-1.0, 0, 0, 0, 0.5]]), signed=True)
    (line,) = collections(drawing.axes[0])
    expected = signed_map([[-1.0, 0, 0, 0, 0.5]])[0, 0] / 255
    assert np.allclose(line.get_colors()[:, :3], expected)
    with pytest.raises(InputError, match="2 signals, 1 maps"):
        signal_figure(np.zeros((2, 5)), np.zeros((1, 5)))
    with pytest.raises(InputError, match="channels last"):
        signal_figure(np.zeros((2, 5, 1, 1)), np.zeros((2, 5)))
    with pytest.raises(InputError, match="one for each of 5"):
        signal_figure(np.zeros(5), np.zeros(5), times=[1, 2])
    with pytest.raises(InputError, match="NaN"):
        signal_figure(np.full(5, np.nan), np.zeros(5))


def test_channels_are_ticked_at_their_means_and_the_scale_at_its_ends():
    signal = np.stack([np.arange(5.0), 10 * np.arange(5.0), np.full(5, 3.0)], axis=1)
    (panel, scale) = signal_figure(signal[None], np.linspace(0, 1, 5)[None]).axes
    # Channels stand 1.1 times the widest of them apart: 44.
    np.testing.assert_allclose(panel.get_yticks(), [2, 20 - 44, 3 - 88])
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["0", "1", "2"]
    assert (panel.get_ylabel(), panel.get_xlabel()) == ("channel", "sample")
    lines = [np.concatenate(c.get_segments())[:, 1] for c in collections(panel)]
    assert [line.max() for line in lines] == [4, 40 - 44, 3 - 88]
    assert not panel.spines["top"].get_visible()
    assert panel.spines["left"].get_visible()
    assert [tick.get_text() for tick in scale.get_xticklabels()] == ["0", "0.5", "1"]
    assert scale.get_xlabel() == "evidence, relative to the strongest"


def test_a_trace_alone_has_ordinary_ticks_and_a_flat_one_its_own_line():
    (panel, _) = signal_figure(np.full(4, 7.0), np.zeros(4)).axes
    assert panel.get_ylabel() == ""
    assert len(panel.get_yticks()) > 1
    # Channels that do not vary stand one apart.
    (panel, _) = signal_figure(np.full((1, 4, 2), 7.0), np.zeros((1, 4))).axes
    np.testing.assert_allclose(panel.get_yticks(), [7, 6])


def test_the_scale_of_signed_maps_ends_at_the_farthest_from_zero():
    drawing = signal_figure(np.zeros((1, 3)), np.array([[-0.5, 0, 0.25]]), signed=True)
    scale = drawing.axes[-1]
    assert [tick.get_text() for tick in scale.get_xticklabels()] == ["-0.5", "0", "0.5"]
    np.testing.assert_allclose(scale.get_xticks(), [-0.5, 0, 0.5])
    assert scale.get_xlabel() == "against   -   for"


def test_the_scale_is_a_narrow_strip_below_the_traces():
    *panels, scale = signal_figure(np.zeros((2, 50, 3)), np.zeros((2, 50))).axes
    heights = [panel.get_position().height for panel in panels]
    assert heights[0] == pytest.approx(heights[1])
    assert scale.get_position().height < heights[0] / 8
