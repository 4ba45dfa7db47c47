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
