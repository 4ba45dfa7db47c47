"""Rows of the speed table in TensorFlow."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from timing import GRADIENT_METHODS, Case, Run

import camcore
from camcore.targets import top

SIZES = {"Xception": 299}


def cases() -> Iterator[Case]:
    """List every row."""
    for name in ("ResNet50", "Xception", "MobileNetV2"):
        for batch in (1, 8):
            quick = name == "ResNet50" and batch == 1
            yield Case(
                f"TensorFlow {name}, Grad-CAM, batch {batch}",
                1.10,
                partial(gradcam, name, batch),
                quick=quick,
            )
    yield Case(
        "TensorFlow ResNet50, conv5_block3_3_conv, batch 1",
        1.15,
        partial(gradcam, "ResNet50", 1, layer="conv5_block3_3_conv"),
    )
    yield Case("TensorFlow ResNet50, five classes", 1.15, five)
    yield Case("TensorFlow ResNet50, all gradient methods", 1.15, all_methods)
    yield Case("TensorFlow ResNet50, conv2_block3_out (to the same by hand)", 1.05, early)
    yield Case("TensorFlow ResNet50, Ablation-CAM, 2048 channels", 12, ablation, rounds=5)


def model_and_images(name: str, batch: int) -> tuple[keras.Model, np.ndarray]:
    """Make a model with random weights and a batch of noise."""
    keras.utils.set_random_seed(0)
    size = SIZES.get(name, 224)
    model = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    images = np.random.default_rng(0).normal(size=(batch, size, size, 3)).astype(np.float32)
    return model, images


def forward(model: keras.Model, images: np.ndarray) -> Run:
    """Run the compiled forward pass."""
    compiled = tf.function(lambda x: model(x, training=False))
    tensor = tf.constant(images)
    return lambda: compiled(tensor).numpy()


def gradcam(name: str, batch: int, layer: str | None = None) -> tuple[Run, dict[str, Run]]:
    """Explain the predicted class by Grad-CAM."""
    model, images = model_and_images(name, batch)
    explainer = camcore.Explainer(model, layer=layer)
    (chosen,) = explainer.layers(images)
    runs: dict[str, Run] = {"camcore": lambda: explainer(images)}
    if batch == 1:
        runs |= peers(model, images, chosen)
    return forward(model, images), runs


def five() -> tuple[Run, dict[str, Run]]:
    """Explain five classes of one image."""
    model, images = model_and_images("ResNet50", 1)
    explainer, target = camcore.Explainer(model), top(5)
    return forward(model, images), {"camcore": lambda: explainer(images, target)}


def all_methods() -> tuple[Run, dict[str, Run]]:
    """Explain by every gradient method from one pass."""
    model, images = model_and_images("ResNet50", 1)
    explainer = camcore.Explainer(model, method=GRADIENT_METHODS)
    return forward(model, images), {"camcore": lambda: explainer(images)}


def early() -> tuple[Run, dict[str, Run]]:
    """Time an early layer, next to its forward and the backward of what follows by hand."""
    model, images = model_and_images("ResNet50", 1)
    explainer = camcore.Explainer(model, layer="conv2_block3_out")
    cut = model.get_layer("conv2_block3_out").output
    before, after = keras.Model(model.input, cut), keras.Model(cut, model.output)

    @tf.function
    def by_hand(x: tf.Tensor) -> tf.Tensor:
        activations = before(x, training=False)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(activations)
            score = tf.reduce_max(after(activations, training=False))
        return activations, tape.gradient(score, activations)

    tensor = tf.constant(images)
    return lambda: [t.numpy() for t in by_hand(tensor)], {"camcore": lambda: explainer(images)}


def ablation() -> tuple[Run, dict[str, Run]]:
    """Ablate all 2,048 channels of the last block."""
    model, images = model_and_images("ResNet50", 1)
    explainer = camcore.Explainer(
        model, layer="conv5_block3_out", method="ablationcam", progress=False
    )
    return forward(model, images), {"camcore": lambda: explainer(images)}


def peers(model: keras.Model, images: np.ndarray, layer: str) -> dict[str, Run]:
    """Time the same by the Keras example and by the libraries that are installed."""
    both = keras.Model(model.input, [model.get_layer(layer).output, model.output])

    def example() -> object:
        with tf.GradientTape() as tape:
            activations, scores = both(images)
            score = scores[:, int(tf.argmax(scores[0]))]
        weights = tf.reduce_mean(tape.gradient(score, activations), axis=(0, 1, 2))
        heat = tf.squeeze(activations[0] @ weights[:, tf.newaxis])
        heat = tf.maximum(heat, 0) / tf.math.reduce_max(heat)
        return tf.image.resize(heat[..., None], images.shape[1:3]).numpy()

    runs: dict[str, Run] = {"Keras example": example}
    if importlib.util.find_spec("tf_explain"):
        from tf_explain.core.grad_cam import GradCAM

        def by_tf_explain() -> object:
            found = int(np.argmax(model(images)[0]))
            return GradCAM().explain((images, None), model, found, layer_name=layer)

        runs["tf-explain"] = by_tf_explain
    if importlib.util.find_spec("tf_keras_vis"):
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.utils.scores import CategoricalScore

        vis = Gradcam(model, clone=False)

        def by_tf_keras_vis() -> object:
            found = int(np.argmax(model(images)[0]))
            return vis(
                CategoricalScore(found),
                images,
                penultimate_layer=layer,
                seek_penultimate_conv_layer=False,
            )

        runs["tf-keras-vis"] = by_tf_keras_vis
    return runs
