"""Frames and words: a convolution and an LSTM over a video, a decoder that writes a caption."""

from __future__ import annotations

from typing import Any

import numpy as np

from architectures.convolutional import torch_images
from architectures.row import Architecture
from camcore.targets import Linear

KIND = "Sequences"
FRAMES, WORDS = 4, 20


def torch_video_classifier() -> Any:
    """Each frame through the same convolutions, then an LSTM over frames; five classes."""
    import torch
    from torch import nn

    class Video(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frame = nn.Sequential(
                nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()
            )
            self.lstm = nn.LSTM(8, 10, batch_first=True)
            self.head = nn.Linear(10, 5)

        def forward(self, x: Any) -> Any:
            frames = self.frame(x.flatten(0, 1)).mean((2, 3))
            hidden, _ = self.lstm(frames.unflatten(0, x.shape[:2]))
            return self.head(hidden[:, -1])

    torch.manual_seed(0)
    return Video().eval()


def torch_video(batch: int) -> Any:
    """Noise, ``(B, T, 3, H, W)``."""
    import torch

    video = np.random.default_rng(0).normal(size=(batch, FRAMES, 3, 24, 32))
    return torch.from_numpy(video.astype(np.float32))


def keras_video_classifier() -> Any:
    """The same in Keras, the frames through a `TimeDistributed` network."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    frame = keras.Sequential(
        [
            layers.Input((24, 32, 3)),
            layers.Conv2D(6, 3, strides=2, activation="relu", name="conv1"),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="conv2"),
        ],
        name="frame",
    )
    x = inputs = layers.Input((FRAMES, 24, 32, 3))
    x = layers.TimeDistributed(frame, name="frames")(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D(), name="pooled")(x)
    return keras.Model(inputs, layers.Dense(5)(layers.LSTM(10)(x)))


def keras_video(batch: int) -> Any:
    """Noise, ``(B, T, H, W, 3)``."""
    video = np.random.default_rng(0).normal(size=(batch, FRAMES, 24, 32, 3))
    return video.astype(np.float32)


def captioner() -> Any:
    """Convolutions, then a GRU that is fed the words so far; ``(B, T, V)`` scores of words."""
    import torch
    from torch import nn

    class Captioner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 10, 3, stride=2), nn.ReLU()
            )
            self.words = nn.Embedding(WORDS, 10)
            self.decoder = nn.GRU(10, 10, batch_first=True)
            self.vocabulary = nn.Linear(10, WORDS)

        def forward(self, image: Any, words: Any) -> Any:
            start = self.encoder(image).mean((2, 3))[None].contiguous()
            hidden, _ = self.decoder(self.words(words), start)
            return self.vocabulary(hidden)

    torch.manual_seed(0)
    return Captioner().eval()


def image_and_words(batch: int) -> Any:
    """Photographs, and six words of each caption."""
    import torch

    words = np.random.default_rng(0).integers(0, WORDS, (batch, 6))
    return torch_images(batch), torch.from_numpy(words)


def word(step: int, index: int) -> np.ndarray:
    """One word at one step, as weights of the outputs."""
    weights = np.zeros((6, WORDS), np.float32)
    weights[step, index] = 1
    return weights


ARCHITECTURES = [
    Architecture(
        name="Keras, convolutions and LSTM over frames",
        framework="keras",
        make=keras_video_classifier,
        inputs=keras_video,
        layer="frames",
        score=lambda outputs: outputs[:, 3],
        target=3,
        arrange=lambda frames: np.moveaxis(np.asarray(frames), -1, 1),
        kind=KIND,
    ),
    Architecture(
        name="caption, one word of one step",
        framework="torch",
        make=captioner,
        inputs=image_and_words,
        layer="encoder",
        score=lambda outputs: outputs[:, 3, 7],
        target=Linear(word(3, 7)),
        options={"layer": "encoder"},
        kind=KIND,
    ),
]
