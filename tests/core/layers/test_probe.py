"""Altered samples tell whose the rows of a layer are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.inputs import Inputs
from camcore.layers import probe

ROWS = {
    "sample by sample": (lambda x: x.reshape(-1, *x.shape[2:]), False),
    "frame by frame": (lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), True),
    "mixed": (lambda x: np.tile(x.mean((0, 1)), (len(x) * x.shape[1], 1, 1)), None),
}


@pytest.mark.parametrize("order", ROWS)
def test_an_altered_video_tells_whether_rows_are_frame_by_frame(order):
    layer, expected = ROWS[order]

    class Rows:
        def run(self, inputs, layers=(), **how):
            return SimpleNamespace(layers={"conv": SimpleNamespace(activations=layer(inputs))})

    videos = np.random.default_rng(0).normal(size=(2, 3, 4, 4))  # (B, T, H, W)
    inputs = Inputs(videos, "first", arrays={"": videos})
    assert probe.frames_first(Rows(), inputs, "conv", layer(videos)) is expected
