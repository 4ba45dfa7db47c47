"""Every architecture of the table: the layer chosen, the map by hand, a batch and its samples."""

from __future__ import annotations

import numpy as np
import pytest
from architectures import ALL, by_hand
from sentinel import unwritten

import camcore


@pytest.fixture(scope="module", params=ALL, ids=str)
def row(request):
    return request.param


@pytest.fixture(scope="module")
def result(row, model):
    return camcore.explain(model, row.inputs(2), row.target, **row.options)


def test_the_layer_is_chosen(row, result):
    assert list(result.raw) == [row.layer]


def test_the_map_is_what_plain_framework_code_gives(row, model, result):
    expected = by_hand.gradcam(row, model, row.inputs(2))
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(result.raw[row.layer], expected, rtol=0, atol=row.tolerance * scale)


def test_a_batch_equals_its_samples(row, model, result):
    inputs = row.inputs(2)
    alone = [
        camcore.explain(model, row.one(inputs, i), row.target, **row.options) for i in range(2)
    ]
    raw = np.concatenate([one.raw[row.layer] for one in alone])
    scale = np.abs(raw).max()
    np.testing.assert_allclose(
        result.raw[row.layer], raw, rtol=0, atol=max(row.tolerance, 1e-5) * scale
    )
    np.testing.assert_allclose(result.scores, np.concatenate([o.scores for o in alone]), rtol=1e-4)


def test_nothing_is_written_to_the_model(row, model, result):
    inputs = row.inputs(1)
    with unwritten(model):
        camcore.explain(model, inputs, row.target, **row.options)
    with unwritten(model):
        camcore.explain(model, inputs, row.target, method="eigencam", **row.options)
