"""Which arrays have a row for each sample, and which all samples share."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.inputs import Inputs
from camcore.layers.known import Known

RNG = np.random.default_rng(0)
IMAGES, TEXTS = RNG.normal(size=(3, 2, 4, 4)), RNG.normal(size=(3, 2))


def three_texts(images, texts):
    """Score images by three texts, no more and no fewer."""
    return images @ texts.reshape(3, 2).T


MODELS = {
    "every image with every text": (lambda images, texts: images @ texts.T, {"texts"}),
    "each image with its own text": (lambda images, texts: images * texts, set()),
    "every image with so many texts": (three_texts, {"texts"}),
    "texts returned beside scores": (
        lambda images, texts: {"scores": images @ texts.T, "texts": 2 * texts},
        {"texts"},
    ),
    "the best text beside scores": (
        lambda images, texts: {"scores": images @ texts.T, "best": (images @ texts.T).argmax(1)},
        {"texts"},
    ),
    "images alone": (lambda images, texts: images, set()),  # nothing tells
    "all images with all texts": (lambda images, texts: (images @ texts.T).T, set()),
}


class Towers:
    """A model of images and texts, and how it was run."""

    def __init__(self, compare):
        self.compare, self.runs = compare, []

    def run(self, inputs, **how):
        self.runs.append(how)
        found = self.compare(inputs["images"].mean((2, 3)), inputs["texts"])
        return SimpleNamespace(outputs=found if isinstance(found, dict) else {"": found})


def given(images):
    native = {"images": images, "texts": TEXTS}
    return Inputs(native, "first", arrays=native)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_as_many_texts_as_images_are_told_apart_by_what_the_model_makes_of_one(kind, logits):
    compare, expected = MODELS[kind]
    outputs = Towers(compare).run(given(IMAGES).native).outputs
    known, towers = Known(), Towers(compare)
    for _ in range(2):  # found out, then remembered
        found = known.told_apart(towers, given(IMAGES), outputs, logits=logits)
        assert found.shared == expected
    assert 1 <= len(towers.runs) <= 2
    assert all(how == {"logits": logits} for how in towers.runs)


def test_what_samples_share_is_known_of_so_many_samples():
    towers, known = Towers(three_texts), Known()
    for images, expected in [(IMAGES, {"texts"}), (IMAGES[:2], set()), (IMAGES, {"texts"})]:
        outputs = towers.run(given(images).native).outputs
        found = known.told_apart(towers, given(images), outputs, logits=True)
        assert found.shared == expected
