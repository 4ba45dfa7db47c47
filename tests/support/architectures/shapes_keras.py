"""Keras models as people put them together: nested, shared, subclassed, never called before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from architectures.convolutional import application, channels_last_to_first, images
from architectures.row import Architecture

KIND = "Shapes of models"

pictures = partial(images, size=(32, 32), channels="last")


def seeded(which: str = "keras") -> Any:
    """Keras or tf_keras, with the same weights to come each time."""
    from importlib import import_module

    keras = import_module(which)
    keras.utils.set_random_seed(0)
    return keras


def backbone(keras: Any, features: int = 6, **options: Any) -> Any:
    """Two convolutions."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(4, 3, strides=2, name="one", **options),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="rectifier"),
            layers.Conv2D(features, 3, strides=2, activation="relu", name="two", **options),
        ],
        name="backbone",
    )


def headed(keras: Any, body: Any, size: tuple[int, ...] = (32, 32, 3), **last: Any) -> Any:
    """A classifier of four classes on a body."""
    x = keras.Input(size)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(body(x))
    return keras.Model(x, keras.layers.Dense(4, name="fc", **last)(pooled))


def nested() -> Any:
    """A Keras application within a functional model within another."""
    keras = seeded()
    body = application("MobileNetV2")
    body = keras.Model(body.inputs, body.get_layer("out_relu").output, name="mobilenet")
    x = keras.Input((64, 64, 3))
    scaled = keras.layers.Rescaling(0.5, name="scaled")(x)
    return headed(keras, keras.Model(x, body(scaled), name="pipeline"), (64, 64, 3))


def siamese() -> Any:
    """One encoder for two images; the score is how like they are."""
    keras = seeded()
    encoder = backbone(keras)
    ends = [keras.Input((32, 32, 3), name=side) for side in ("left", "right")]
    pooled = [keras.layers.GlobalAveragePooling2D()(encoder(end)) for end in ends]
    return keras.Model(ends, keras.layers.Dot(1, normalize=True, name="likeness")(pooled))


def shared() -> Any:
    """One convolution that runs three times."""
    keras = seeded()
    conv = keras.layers.Conv2D(6, 3, activation="relu", name="conv")
    x = keras.Input((32, 32, 3))
    h = keras.layers.Conv2D(6, 3, name="stem")(x)
    for _ in range(3):
        h = conv(h)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(h)
    return keras.Model(x, keras.layers.Dense(4, name="fc")(pooled))


def image_and_table() -> Any:
    """An image and a row of a table, as inputs with names."""
    keras = seeded()
    layers, image, table = keras.layers, keras.Input((32, 32, 3), name="image"), None
    table = keras.Input((5,), name="table")
    gate = layers.Dense(6, activation="sigmoid", name="gate")(table)
    pooled = layers.GlobalAveragePooling2D(name="pool")(backbone(keras)(image))
    return keras.Model({"image": image, "table": table}, layers.Dense(4, name="fc")(pooled * gate))


def image_and_table_inputs(batch: int, nest: Callable[[Any, Any], Any]) -> Any:
    table = np.random.default_rng(1).normal(size=(batch, 5)).astype(np.float32)
    return nest(pictures(batch), table)


def several_arguments() -> Any:
    """A subclassed model whose call takes an image and a table."""
    keras = seeded()

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone = backbone(keras)
            self.gate = keras.layers.Dense(6, activation="sigmoid", name="gate")
            self.fc = keras.layers.Dense(4, name="fc")

        def call(self, image, table):
            pooled = keras.ops.mean(self.backbone(image), (1, 2))
            return self.fc(pooled * self.gate(table))

    return Net()


def returning(nest: Callable[[Any, Any], Any]) -> Any:
    """A functional classifier that returns its features and logits in some nest."""
    keras = seeded()
    x = keras.Input((32, 32, 3))
    features = backbone(keras)(x)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    return keras.Model(x, nest(features, keras.layers.Dense(4, name="fc")(pooled)))


def subclassed() -> Any:
    """Layers made in the constructor; never called, so without weights yet."""
    keras = seeded()

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.one = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="one")
            self.two = keras.layers.Conv2D(6, 3, strides=2, name="two")
            self.fc = keras.layers.Dense(4, name="fc")

        def call(self, x, training=True):
            x = self.two(self.one(x))
            if training:
                x = 0 * x
            return {"logits": self.fc(keras.ops.mean(keras.ops.relu(x), (1, 2)))}

    return Net()


def never_built(which: str = "keras") -> Any:
    """A Sequential that does not know its input yet."""
    keras = seeded(which)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Conv2D(4, 3, strides=2, activation="relu", name="one"),
            layers.Dropout(0.5, name="drop"),
            layers.Conv2D(6, 3, strides=2, name="two"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(4, name="fc"),
        ]
    )


def legacy() -> Any:
    """A nested functional model of tf_keras."""
    keras = seeded("tf_keras")
    return headed(keras, backbone(keras))


def channels_first() -> Any:
    """Channels before space, but in convolutions, which TensorFlow cannot run so on a CPU."""
    keras = seeded()
    layers, first = keras.layers, {"data_format": "channels_first"}
    conv = layers.Conv2D(6, 3, name="conv", data_format=_CONVOLVES[keras.backend.backend()])
    last = conv.data_format == "channels_last"
    x = keras.Input((3, 32, 32))
    h = layers.AveragePooling2D(2, name="halved", **first)(x)
    h = conv(layers.Permute((2, 3, 1))(h) if last else h)
    h = layers.Permute((3, 1, 2))(h) if last else h
    h = layers.ReLU(name="rectifier")(layers.BatchNormalization(axis=1, name="norm")(h))
    pooled = layers.GlobalAveragePooling2D(name="pool", **first)(h)
    return keras.Model(x, layers.Dense(4, name="fc")(pooled))


_CONVOLVES = {"tensorflow": "channels_last", "torch": "channels_first"}


def functional_rectifiers() -> Any:
    """Every rectifier and pooling is an operation, not a layer."""
    keras = seeded()
    ops, x = keras.ops, keras.Input((32, 32, 3))
    h = ops.max_pool(ops.relu(keras.layers.Conv2D(6, 3, name="one")(x)), 2)
    h = ops.relu(keras.layers.Conv2D(6, 3, name="two")(h))
    return keras.Model(x, keras.layers.Dense(4, name="fc")(ops.mean(h, (1, 2))))


def without_parameters() -> Any:
    """Nothing to learn: where the picture changes."""
    keras = seeded()
    layers, x = keras.layers, keras.Input((32, 32, 3))
    h = layers.Subtract(name="edges")([x, layers.AveragePooling2D(3, 1, "same", name="blur")(x)])
    h = layers.ReLU(name="rectifier")(h)
    return keras.Model(x, layers.GlobalAveragePooling2D(name="pool")(h * h))


def rematerialised(mode: str | None = "full") -> Any:
    """Layers that are computed again in the backward pass."""
    keras = seeded()
    options = {"layer_names": ["one", "drop"], "output_size_threshold": 1000}
    with keras.RematScope(mode=mode, **options):
        body = backbone(keras)
        x = keras.Input((32, 32, 3))
        h = keras.layers.Dropout(0.5, name="drop")(body(x))
        pooled = keras.ops.mean(h * 2, (1, 2))
        return keras.Model(x, keras.layers.Dense(4, name="fc")(pooled))


def quantised(mode: str | None = "int8") -> Any:
    """Dense layers with whole numbers for weights, as Keras quantises them."""
    keras = seeded()
    x = keras.Input((32, 32, 3))
    h = keras.layers.Dense(8, activation="relu", name="pointwise")(backbone(keras)(x))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(h)
    model = keras.Model(x, keras.layers.Dense(4, name="fc")(pooled))
    if mode is not None:
        model.quantize(mode)
    return model


def two_pictures(batch: int) -> Any:
    """Two images for each sample."""
    several = pictures(2 * batch)
    return [several[::2], several[1::2]]


def row(name: str, make: Callable[[], Any], layer: str, **other: Any) -> Architecture:
    expected = {
        "inputs": pictures,
        "score": lambda outputs: outputs[:, 3],
        "target": 3,
        "arrange": channels_last_to_first,
        "kind": KIND,
    }
    return Architecture(f"Keras {name}", "keras", make, layer=layer, **(expected | other))


_CALLS = {"score": lambda outputs: outputs[:, 0], "target": 0, "inputs": two_pictures}

ARCHITECTURES = [
    row("nested applications", nested, "pipeline",
        inputs=partial(images, channels="last")),
    row("Siamese, the second image", siamese, "backbone", **_CALLS),
    row("Siamese, the first image", siamese, "backbone#0", options={"layer": "backbone#0"},
        **_CALLS),
    row("nested layer of a Siamese network, its first call", siamese, "backbone/two#0",
        options={"layer": "backbone/two#0"}, **_CALLS),
    row("shared layer, its last call", shared, "conv"),
    row("shared layer, its first call", shared, "conv#0", options={"layer": "conv#0"}),
    row("shared layer, its second call", shared, "conv#-2", options={"layer": "conv#-2"}),
    row("image and table by name", image_and_table, "backbone",
        inputs=partial(image_and_table_inputs, nest=lambda i, t: {"image": i, "table": t})),
    row("image and table as arguments", several_arguments, "backbone",
        inputs=partial(image_and_table_inputs, nest=lambda i, t: (i, t))),
    row("dict of outputs", partial(returning, lambda f, y: {"features": f, "logits": y}),
        "backbone", score=lambda outputs: outputs["logits"][:, 3]),
    row("list of outputs, one chosen", partial(returning, lambda f, y: [f, y]), "backbone",
        score=lambda outputs: outputs[1][:, 3], options={"output": "1"}),
    row("subclassed, never called", subclassed, "two@activated",
        score=lambda outputs: outputs["logits"][:, 3]),
    row("Sequential, never called", never_built, "norm"),
    row("(tf_keras) nested functional", legacy, "backbone", needs=("tf_keras",)),
    row("(tf_keras) Sequential, never called", partial(never_built, "tf_keras"), "norm",
        needs=("tf_keras",)),
    row("channels first", channels_first, "rectifier", arrange=lambda activations: activations,
        inputs=partial(images, size=(32, 32))),
    row("functional rectifiers", functional_rectifiers, "two@activated"),
    row("no parameters", without_parameters, "rectifier",
        score=lambda outputs: outputs[:, 1], target=1),
    row("int8 quantised", quantised, "pointwise"),
]  # fmt: skip
