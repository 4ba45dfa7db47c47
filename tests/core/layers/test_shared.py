"""Which arrays have a row for each sample, and which all samples share."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.inputs import Inputs
from camcore.layers.known import Known

RNG = np.random.default_rng(0)
IMAGES, TEXTS = RNG.normal(size=(3, 2, 4, 4)), RNG.normal(size=(3, 2))

MODELS = {
    "every image with every text": (lambda images, texts: images @ texts.T, {"texts"}),
    "each image with its own text": (lambda images, texts: images * texts, set()),
}


@pytest.mark.parametrize("kind", MODELS)
def test_as_many_texts_as_images_are_told_apart_by_what_the_model_makes_of_one(kind):
    compare, expected = MODELS[kind]

    class Towers:
        def run(self, inputs, **how):
            found = compare(inputs["images"].mean((2, 3)), inputs["texts"])
            return SimpleNamespace(outputs={"": found})

    native = {"images": IMAGES, "texts": TEXTS}
    inputs = Inputs(native, "first", arrays=native)
    outputs = Towers().run(native).outputs
    known = Known()
    for _ in range(2):  # found out, then remembered
        assert known.told_apart(Towers(), inputs, outputs, logits=True).shared == expected
