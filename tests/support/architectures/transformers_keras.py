"""A Keras ViT, written as its textbooks write it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from architectures.row import Architecture
from architectures.transformers_torch import WIDE, Tokens


def images(batch: int, size: tuple[int, int]) -> Any:
    """Noise, as an array."""
    return np.random.default_rng(0).normal(size=(batch, *size, 3)).astype(np.float32)


def vit(size: tuple[int, int], *, class_token: bool, width: int = 32, blocks: int = 2) -> Any:
    """A functional ViT of ten classes, with a class token or the mean of its patches."""
    import keras
    from keras import layers

    class WithToken(layers.Layer):
        def build(self, shape: Any) -> None:
            self.token = self.add_weight(shape=(1, 1, width), initializer="normal")

        def call(self, patches: Any) -> Any:
            token = keras.ops.broadcast_to(self.token, (keras.ops.shape(patches)[0], 1, width))
            return keras.ops.concatenate([token, patches], axis=1)

    class WithPlaces(layers.Layer):
        def build(self, shape: Any) -> None:
            self.places = self.add_weight(shape=(1, *shape[1:]), initializer="normal")

        def call(self, tokens: Any) -> Any:
            return tokens + self.places

    keras.utils.set_random_seed(0)
    image = keras.Input((*size, 3))
    x = layers.Conv2D(width, 16, strides=16, name="patches")(image)
    x = layers.Reshape((-1, width))(x)
    x = WithPlaces(name="places")(WithToken(name="token")(x) if class_token else x)
    for i in range(blocks):
        y = layers.LayerNormalization(name=f"before_attention_{i}")(x)
        y = layers.MultiHeadAttention(2, width // 2, name=f"attention_{i}")(y, y)
        x = layers.Add(name=f"attended_{i}")([x, y])
        y = layers.LayerNormalization(name=f"before_mlp_{i}")(x)
        y = layers.Dense(2 * width, activation="gelu", name=f"widen_{i}")(y)
        y = layers.Dense(width, name=f"narrow_{i}")(y)
        x = layers.Add(name=f"block_{i}")([x, y])
    x = layers.LayerNormalization(name="norm")(x)
    x = x[:, 0] if class_token else layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, layers.Dense(10, name="head")(x))


ARCHITECTURES = [
    Architecture(
        name=f"Keras ViT, {'a class token' if class_token else 'the mean of the patches'}",
        framework="keras",
        make=partial(vit, size, class_token=class_token),
        inputs=partial(images, size=size),
        layer=layer,
        score=lambda outputs: outputs[:, 3],
        target=3,
        arrange=arrange,
        tolerance=2e-5,
        kind="Transformers",
    )
    for size, class_token, layer, arrange in [
        (WIDE, True, "before_attention_1", Tokens((4, 6), 1)),
        ((64, 64), False, "norm", Tokens((4, 4))),
    ]
]
