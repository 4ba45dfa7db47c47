"""Embeddings, regression and several labels at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from architectures.convolutional import channels_last_to_first, images, torch_images, torchvision
from architectures.row import Architecture
from camcore.targets import Class, Probability, Similarity

EMBEDDING = np.random.default_rng(1).normal(size=12).astype(np.float32)
"""Of another image, or of a text."""


def embedder() -> Any:
    """A ResNet-18 without its classes: an embedding of length one, as for face verification."""
    import torch

    class Embedder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = torchvision("resnet18")
            self.features.fc = torch.nn.Linear(512, 12)

        def forward(self, x: Any) -> Any:
            return torch.nn.functional.normalize(self.features(x), dim=1)

    torch.manual_seed(0)
    return Embedder().eval()


def two_towers() -> Any:
    """An image and a text in one space, and how like each image is to each text."""
    import torch
    from torch import nn

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()
            )
            self.image_projection = nn.Linear(8, 12)
            self.words = nn.Embedding(20, 12)
            self.text = nn.GRU(12, 12, batch_first=True)

        def forward(self, pixels: Any, words: Any) -> Any:
            image = self.image_projection(self.image(pixels).mean((2, 3)))
            _, (text,) = self.text(self.words(words))
            image, text = (nn.functional.normalize(one, dim=1) for one in (image, text))
            return {"logits": 10 * image @ text.T, "image": image, "text": text}

    torch.manual_seed(0)
    return Towers().eval()


def pixels_and_words(batch: int) -> Any:
    """Photographs, and the same three texts whatever the batch."""
    import torch

    words = torch.from_numpy(np.random.default_rng(2).integers(0, 20, (3, 6)))
    return torch_images(batch), words


def keras_embedder(outputs: int, activation: str | None = None) -> Any:
    """Four convolutions, pooled, and one dense layer."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    x = inputs = layers.Input((64, 64, 3))
    for i, filters in enumerate((4, 6, 8, 8)):
        conv = layers.Conv2D(filters, 3, strides=2, activation="relu", name=f"conv{i}")
        x = conv(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(outputs, activation=activation)(x))


def headed(outputs: int, activation: str | None = None, *, flat: bool = False) -> Any:
    """A ResNet-18 with another head."""
    import torch
    from torch import nn

    model = torchvision("resnet18")
    torch.manual_seed(1)
    head: list[Any] = [nn.Linear(512, outputs)]
    if activation is not None:
        head.append(getattr(nn, activation)())
    if flat:
        head.append(nn.Flatten(0))
    model.fc = nn.Sequential(*head)
    return model.eval()


def torch_cosine(outputs: Any) -> Any:
    """Cosine similarity to the embedding."""
    import torch

    return torch.cosine_similarity(outputs, torch.from_numpy(EMBEDDING)[None])


def keras_cosine(outputs: Any) -> Any:
    """Cosine similarity to the embedding."""
    import tensorflow as tf

    own = tf.math.l2_normalize(outputs, axis=1)
    return tf.linalg.matvec(own, EMBEDDING / np.linalg.norm(EMBEDDING))


def probability(outputs: Any) -> Any:
    """Softmax probability of the second of three texts."""
    return outputs["logits"].softmax(1)[:, 1]


def logit(outputs: Any) -> Any:
    """The score before a sigmoid, of the third label."""
    return outputs[:, 2].logit()


resnet = partial(
    Architecture, framework="torch", inputs=torch_images, needs=("torchvision",), tolerance=2e-5
)
convolutions = partial(
    Architecture,
    framework="keras",
    inputs=partial(images, channels="last"),
    layer="conv3",
    arrange=channels_last_to_first,
)
towers = partial(
    Architecture,
    framework="torch",
    make=two_towers,
    inputs=pixels_and_words,
    layer="image",
    alone=lambda inputs, index: (inputs[0][index : index + 1], inputs[1]),
)

ARCHITECTURES = [
    resnet(
        name="ResNet-18 embedding, like another image",
        make=embedder,
        layer="features.layer4",
        score=torch_cosine,
        target=Similarity(EMBEDDING),
        kind="Embeddings",
    ),
    convolutions(
        name="Keras embedding, like another image",
        make=partial(keras_embedder, 12),
        score=keras_cosine,
        target=Similarity(EMBEDDING),
        kind="Embeddings",
    ),
    towers(
        name="two towers, an image like a given text",
        score=lambda outputs: torch_cosine(outputs["image"]),
        target=Similarity(EMBEDDING),
        options={"output": "image", "layer": "image"},
        kind="Embeddings",
    ),
    towers(
        name="two towers, one of several texts",
        score=probability,
        target=Probability(1),
        options={"layer": "image"},
        kind="Embeddings",
    ),
    resnet(
        name="ResNet-18 regression, (B, 1)",
        make=partial(headed, 1),
        layer="layer4",
        score=lambda outputs: outputs[:, 0],
        target=None,
        kind="Regression",
    ),
    resnet(
        name="ResNet-18 regression, (B,)",
        make=partial(headed, 1, flat=True),
        layer="layer4",
        score=lambda outputs: outputs,
        target=None,
        kind="Regression",
    ),
    resnet(
        name="ResNet-18 regression, what lowers the number",
        make=partial(headed, 1),
        layer="layer4",
        score=lambda outputs: -outputs[:, 0],
        target=-Class(0),
        kind="Regression",
    ),
    convolutions(
        name="Keras regression, (B, 1)",
        make=partial(keras_embedder, 1),
        score=lambda outputs: outputs[:, 0],
        target=None,
        kind="Regression",
    ),
    resnet(
        name="ResNet-18, several labels, before the sigmoid",
        make=partial(headed, 5, "Sigmoid"),
        layer="layer4",
        score=logit,
        target=2,
        kind="Several labels",
    ),
    resnet(
        name="ResNet-18, several labels, the probability",
        make=partial(headed, 5, "Sigmoid"),
        layer="layer4",
        score=lambda outputs: outputs[:, 2],
        target=2,
        options={"score": "output"},
        kind="Several labels",
    ),
    convolutions(
        name="Keras, several labels, two together",
        make=partial(keras_embedder, 5, "sigmoid"),
        score=lambda outputs: outputs[:, 2] + outputs[:, 4],
        target=Class(2) + Class(4),
        options={"score": "output"},
        kind="Several labels",
    ),
]
