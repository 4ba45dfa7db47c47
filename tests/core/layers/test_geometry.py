"""Where a model's input has its channels is found out by no more passes than tell."""

from __future__ import annotations

import numpy as np

from camcore.inputs import Inputs
from camcore.layers.geometry import Geometry
from camcore.testing import Dense, NumpyAdapter


def test_a_table_is_altered_for_no_model_without_maps():
    flat = NumpyAdapter(fc=Dense(np.eye(3), np.zeros(3)))
    inputs = Inputs(np.ones((2, 3)), "first")
    assert Geometry(flat, flat).laid_out(inputs) is inputs
    assert flat.passes == 1  # the survey
