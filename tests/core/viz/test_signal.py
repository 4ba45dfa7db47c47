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
    assert drawing.axes[1].get_xlabel() == "time (s)"


@pytest.mark.parametrize("last", [False, True])
def test_each_channel_has_the_colours_of_its_own_map(last):
    signals = np.random.default_rng(0).normal(size=(2, 3, 40))
    maps = np.random.default_rng(1).normal(size=(2, 3, 40)).astype(np.float32)
    shown = signals.swapaxes(1, 2) if last else signals
    drawing = signal_figure(shown, maps, signed=True)
    expected = signed_map(maps.reshape(6, 1, 40))[:, 0].reshape(2, 3, 40, 3) / 255
    for panel, of_channels in zip(drawing.axes, expected, strict=False):
        for line, colours in zip(collections(panel), of_channels, strict=True):
            # Neighbours of one colour are one piece.
            apart = np.concatenate([[True], (np.diff(colours, axis=0) != 0).any(axis=1)])
            np.testing.assert_allclose(line.get_colors()[:, :3], colours[apart])
    one = signal_figure(signals[:, 0], maps[:, :1], signed=True)
    (line,) = collections(one.axes[0])
    limit = np.abs(maps[:, 0]).max()
    first = signed_map(maps[0, :1], limit=limit)[0, 0, 0] / 255
    np.testing.assert_allclose(line.get_colors()[0, :3], first)


def test_shorter_maps_of_channels_are_each_brought_to_the_signals_length():
    maps = np.random.default_rng(1).random((1, 2, 5)).astype(np.float32)
    drawing = signal_figure(np.zeros((1, 2, 40)), maps)
    expected = heat_map(resize(maps, (40,), LINEAR, leading=2))[0] / 255
    for line, colours in zip(collections(drawing.axes[0]), expected, strict=True):
        np.testing.assert_allclose(line.get_colors()[[0, -1], :3], colours[[0, -1]])
    with pytest.raises(InputError, match=r"no 3 channels, as maps of shape \(1, 3, 5\)"):
        signal_figure(np.zeros((1, 2, 40)), np.zeros((1, 3, 5)))
    with pytest.raises(InputError, match="channel_axis=1 for"):
        signal_figure(np.zeros((1, 3, 3)), np.zeros((1, 3, 3)))


def test_signed_signals_and_what_does_not_fit():
    drawing = signal_figure(np.zeros((1, 5)), np.array([[-1.0, 0, 0, 0, 0.5]]), signed=True)
    (line,) = collections(drawing.axes[0])
    expected = signed_map([[-1.0, 0, 0.5]], limit=1)[0, 0] / 255
    assert np.allclose(line.get_colors()[:, :3], expected)
    with pytest.raises(InputError, match="2 signals, 1 maps"):
        signal_figure(np.zeros((2, 5)), np.zeros((1, 5)))
    with pytest.raises(InputError, match=r"\(B, C, L\) or \(B, L, C\), and \(B, l\) or"):
        signal_figure(np.zeros((2, 5, 1, 1)), np.zeros((2, 5)))
    with pytest.raises(InputError, match="one for each of 5"):
        signal_figure(np.zeros(5), np.zeros(5), times=[1, 2])
    with pytest.raises(InputError, match="NaN"):
        signal_figure(np.full(5, np.nan), np.zeros(5))


def traces(panel):
    return [np.concatenate(found.get_segments())[:, 1] for found in collections(panel)]


@pytest.mark.parametrize("length", [40, 9])
def test_channels_first_and_last_are_the_same_figure(length):
    signals = np.random.default_rng(0).normal(size=(1, 12, 40))
    maps = np.random.default_rng(1).random((1, length))
    first = signal_figure(signals, maps).axes[0]
    last = signal_figure(signals.swapaxes(1, 2), maps).axes[0]
    assert len(traces(first)) == 12
    for one, other in zip(traces(first), traces(last), strict=True):
        np.testing.assert_array_equal(one, other)
    assert traces(first)[0].max() == pytest.approx(np.ptp(signals[0, 0]) / 2)


def test_the_samples_lie_along_the_axis_of_the_maps_length_though_it_be_the_shorter():
    signals = np.random.default_rng(0).normal(size=(1, 12, 8))
    panel = signal_figure(signals, np.zeros((1, 8))).axes[0]
    assert len(traces(panel)) == 12
    lone = signal_figure(signals[0], np.zeros(8)).axes[0]
    assert len(traces(lone)) == 12


def test_which_axis_holds_the_channels_is_asked_where_nothing_tells():
    square = np.arange(9.0).reshape(1, 3, 3)
    with pytest.raises(InputError, match="channel_axis=1 for"):
        signal_figure(square, np.zeros((1, 3)))
    for axis, ends in ((1, [-1, 1]), (2, [-3, 3])):
        panel = signal_figure(square, np.zeros((1, 3)), channel_axis=axis).axes[0]
        assert traces(panel)[0][[0, -1]].tolist() == ends


def test_an_electrocardiogram_has_its_leads_names_and_seconds_and_a_bounded_size():
    leads = ["I", "II", "III", "aVR", "aVL", "aVF", *(f"V{i}" for i in range(1, 7))]
    signals = np.random.default_rng(0).normal(size=(1, 12, 5000))
    drawing = signal_figure(signals, np.zeros((1, 5000)), channels=leads, rate=500)
    panel = drawing.axes[0]
    assert [tick.get_text() for tick in panel.get_yticklabels()] == leads
    assert panel.get_xlabel() == "time (s)"
    assert np.concatenate(collections(panel)[0].get_segments())[:, 0].max() == 4999 / 500
    assert tuple(drawing.get_size_inches()) == (8, pytest.approx(10.4))


def test_many_traces_are_drawn_lower_and_more_are_refused():
    drawing = signal_figure(np.zeros((2, 100, 300)), np.zeros((2, 300)))
    assert drawing.get_figheight() == pytest.approx(41)
    with pytest.raises(InputError, match="1 signals of 5000 channels"):
        signal_figure(np.zeros((1, 12, 5000)), np.zeros((1, 12)))


def test_spectra_have_an_axis_of_frequencies():
    where = np.array([10.0, 20, 40])
    panel = signal_figure([1.0, 2, 3], np.zeros(3), frequencies=where).axes[0]
    assert panel.get_xlabel() == "frequency (Hz)"
    points = collections(panel)[0].get_segments()[0]
    assert points[[0, -1], 0].tolist() == [10, 40]


def test_axes_and_names_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="2 names for 3 channels"):
        signal_figure(np.zeros((1, 3, 5)), np.zeros((1, 5)), channels=["a", "b"])
    with pytest.raises(InputError, match="rate and times"):
        signal_figure(np.zeros(5), np.zeros(5), rate=2, times=np.arange(5))
    with pytest.raises(InputError, match="rate is 0"):
        signal_figure(np.zeros(5), np.zeros(5), rate=0)
    with pytest.raises(InputError, match="frequencies of shape"):
        signal_figure(np.zeros(5), np.zeros(5), frequencies=[1])


def test_successive_samples_of_one_colour_are_one_piece():
    panel = signal_figure(np.arange(6.0), np.array([0, 0, 0, 1, 1, 0.5])).axes[0]
    (line,) = collections(panel)
    assert [len(piece) for piece in line.get_segments()] == [7, 5, 3]
    assert line.get_segments()[1].tolist() == [[x, x] for x in (2.5, 3, 3.5, 4, 4.5)]


def test_channels_are_ticked_at_their_middles_and_the_scale_at_its_ends():
    # Their offsets, which would have them cross, are left out.
    signal = np.stack([np.arange(5.0), 90 + 10 * np.arange(5.0), np.full(5, 300.0)], axis=1)
    (panel, scale) = signal_figure(signal[None], np.linspace(0, 1, 5)[None]).axes
    # Channels stand 1.1 times the widest of them apart: 44.
    np.testing.assert_allclose(panel.get_yticks(), [0, -44, -88])
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["0", "1", "2"]
    assert (panel.get_ylabel(), panel.get_xlabel()) == ("channel", "sample")
    lines = [np.concatenate(c.get_segments())[:, 1] for c in collections(panel)]
    assert [line.max() for line in lines] == [2, 20 - 44, -88]
    assert [line.min() for line in lines] == [-2, -20 - 44, -88]
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
    np.testing.assert_allclose(panel.get_yticks(), [0, -1])


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
