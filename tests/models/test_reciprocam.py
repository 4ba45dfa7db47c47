"""Recipro-CAM at the tokens of transformers: patches are masked, and no other token."""

from __future__ import annotations

import numpy as np
import pytest
from architectures import ALL

import camcore

NAMES = [
    "timm ViT",
    "timm ViT, class and register tokens",
    "timm DeiT, class and distillation tokens",
    "Keras ViT, a class token",
    "Keras ViT, the mean of the patches",
]
ROWS = [row for row in ALL if row.name in NAMES]
KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16


def torch_score(row, model, inputs):
    """The layer's tokens, and what scores others put in their place."""
    import torch

    module, kept = model.get_submodule(row.layer), []

    def hooked(hook, images):
        handle = module.register_forward_hook(hook)
        try:
            with torch.no_grad():
                return row.score(model(images)).numpy()
        finally:
            handle.remove()

    hooked(lambda module, args, output: kept.append(output.numpy().copy()), inputs)

    def score(tokens):
        put = torch.from_numpy(tokens)
        return hooked(lambda module, args, output: put, inputs.repeat(len(tokens), 1, 1, 1))

    return kept[0], score


def keras_score(row, model, inputs):
    """The same, by a second model that takes the tokens and the residual beside them."""
    import keras

    cut = [model.get_layer(row.layer).output]
    if row.layer != "norm":
        cut.append(model.get_layer("block_0").output)
    found = keras.tree.flatten(keras.Model(model.input, cut)(inputs))
    tokens, *beside = (array.numpy() for array in found)
    rest = keras.Model(cut, model.output)

    def score(altered):
        given = [altered, *(one.repeat(len(altered), 0) for one in beside)]
        return row.score(rest(given if beside else altered)).numpy()

    return tokens, score


@pytest.fixture(scope="module", params=ROWS, ids=str)
def row(request):
    return request.param


@pytest.mark.parametrize("smooth", [False, True])
def test_patches_are_masked_and_other_tokens_stay(row, model, smooth):
    inputs = row.inputs(1)
    tokens, score = {"torch": torch_score, "keras": keras_score}[row.framework](row, model, inputs)
    (rows, columns), prefix = row.arrange.grid, row.arrange.prefix
    altered = []
    for i, j in np.ndindex(rows, columns):
        mask = np.zeros((rows + 2, columns + 2))
        mask[i : i + 3, j : j + 3] = KERNEL if smooth else KERNEL == 1 / 4
        one = tokens[0].copy()
        one[prefix:] *= mask[1:-1, 1:-1].reshape(-1, 1)
        altered.append(one)
    expected = score(np.stack(altered)).reshape(1, rows, columns)
    found = camcore.explain(model, inputs, row.target, row.layer, "reciprocam", smooth=smooth)
    np.testing.assert_allclose(
        found.raw[row.layer], expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )
    assert np.ptp(expected) > 1e-3
