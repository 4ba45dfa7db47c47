"""Arrays that all samples of a batch share, such as the texts that images are compared with.

Nothing but the model tells three texts for three images from a text for each image. Maps are held
to those of the same model with its texts inside, which takes images alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import camcore

WORDS = np.random.default_rng(2).integers(0, 20, (3, 6))
SETTINGS: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 8, "stride": 8},
    "rise": {"masks": 4},
    "scorecam": {},
    "fasterscorecam": {"channels": 2},
    "ablationcam": {},
}


def torch_towers(inside: bool) -> Any:
    import torch
    from torch import nn

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.project = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4, 5)
            self.words = nn.Embedding(20, 5)

        def forward(self, pixels: Any, words: Any = None) -> Any:
            words = torch.from_numpy(WORDS) if inside else words
            image = self.project(torch.tanh(self.conv(pixels)).mean((2, 3)))
            text = self.words(words).mean(1)
            return (
                image @ text.T
                if inside
                else {
                    "logits": image @ text.T,
                    "text": text,
                    "scale": image.new_tensor(2.0),
                }
            )

    torch.manual_seed(0)
    return Towers().double().eval()


def keras_towers(inside: bool) -> Any:
    import keras
    from keras import layers, ops

    class Towers(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.conv = layers.Conv2D(4, 3, strides=2, activation="tanh", name="conv")
            self.project, self.words = layers.Dense(5), layers.Embedding(20, 5)

        def call(self, inputs: Any) -> Any:
            pixels, words = (inputs, WORDS) if inside else inputs
            image = self.project(ops.mean(self.conv(pixels), axis=(1, 2)))
            text = ops.mean(self.words(words), axis=1)
            logits = ops.matmul(image, ops.transpose(text))
            return (
                logits
                if inside
                else {
                    "logits": logits,
                    "text": text,
                    "scale": ops.convert_to_tensor(2.0),
                }
            )

    keras.utils.set_random_seed(0)
    model = Towers()
    model(np.zeros((1, 24, 24, 3)) if inside else (np.zeros((1, 24, 24, 3)), WORDS))
    return model


MAKERS = {"torch": torch_towers, "keras": keras_towers}


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("method", SETTINGS)
@pytest.mark.parametrize("framework", MAKERS)
def test_texts_of_all_images_are_not_cut_into_samples(framework, method, batch):
    two, one = MAKERS[framework](inside=False), MAKERS[framework](inside=True)
    images = np.random.default_rng(0).normal(size=(batch, 3, 24, 24))
    images = images if framework == "torch" else np.moveaxis(images, 1, -1).astype(np.float32)
    how = {"layer": "conv", "method": method, "progress": False, **SETTINGS[method]}
    for target in range(3):
        expected = camcore.explain(one, images, target, **how).raw
        found = camcore.explain(two, (images, WORDS), target, output="logits", **how).raw
        for expected_map, raw in zip(expected.values(), found.values(), strict=True):
            near = 1e-5 * np.abs(expected_map).max()
            np.testing.assert_allclose(raw, expected_map, rtol=0, atol=near)
            assert raw.any()


def test_a_text_for_each_image_is_cut_with_it():
    import torch
    from torch import nn

    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.words = nn.Conv2d(3, 4, 3, stride=2), nn.Embedding(20, 4)

        def forward(self, pixels: Any, words: Any) -> Any:
            return torch.tanh(self.conv(pixels)).mean((2, 3)) * self.words(words).mean(1)

    torch.manual_seed(0)
    model, images = Pairs().double(), torch.randn(3, 3, 24, 24).double()
    words = torch.from_numpy(WORDS)
    how: dict[str, Any] = {"layer": "conv", "method": "occlusion", "window": 8, "stride": 8}
    together = camcore.explain(model, (images, words), 1, **how)
    for i in range(3):
        alone = camcore.explain(model, (images[i : i + 1], words[i : i + 1]), 1, **how)
        np.testing.assert_allclose(together[i].maps, alone.maps, rtol=0, atol=1e-12)
