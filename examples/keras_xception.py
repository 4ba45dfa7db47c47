"""The Keras Grad-CAM example on camcore: Xception, the top class, a heat map, an overlay.

Also computes the example's map with the example's own steps, and checks that
``recipe="keras-io"`` is the same.

    python examples/keras_xception.py [PHOTO] [--weights xception.weights.h5] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import camcore
from camcore.photos import read_photo, write_image
from camcore.zoo import imagenet_classes

LAYER = "block14_sepconv2_act"


def main() -> None:
    """Explain one photograph."""
    options = arguments()
    photo = read_photo(options.photo) if options.photo else sample_photo()
    keras.utils.set_random_seed(0)
    model = keras.applications.Xception(weights=options.weights and str(options.weights))
    if not options.weights:
        print("No --weights: Xception has random weights, so what it sees means nothing.")
    small = tf.image.resize(photo[None], (299, 299)).numpy()
    images = np.asarray(keras.applications.xception.preprocess_input(small))

    result = camcore.explain(model, images, layer=LAYER, recipe="keras-io")

    (index, probability), *_ = result.top(1)[0]
    classes = imagenet_classes()
    print(f"{probability:6.1%}  {classes[index] if classes else index}")
    difference = np.abs(result.maps[0] - example(model, images, index)).max()
    print(f"largest difference to the example's own steps: {difference:.1e}")

    options.output.mkdir(parents=True, exist_ok=True)
    write_image(options.output / "cam.png", result.overlay(photo, alpha=0.4, stretch=True)[0])
    print(f"wrote cam.png into {options.output}")
    if difference > 1e-5:
        raise SystemExit("the maps differ by more than 1e-5")


def example(model: keras.Model, images: np.ndarray, index: int) -> np.ndarray:
    """Go the example's way: no softmax on the last layer, a second model, a tape."""
    softmax, model.layers[-1].activation = model.layers[-1].activation, None
    try:
        both = keras.models.Model(model.input, [model.get_layer(LAYER).output, model.output])
        with tf.GradientTape() as tape:
            activations, scores = both(images)
            score = scores[:, index]
        gradients = tape.gradient(score, activations)
    finally:
        model.layers[-1].activation = softmax
    weights = tf.reduce_mean(gradients, axis=(0, 1, 2))
    heat = tf.squeeze(activations[0] @ weights[:, tf.newaxis])
    shown: np.ndarray = (tf.maximum(heat, 0) / tf.math.reduce_max(heat)).numpy()
    return shown


def sample_photo() -> np.ndarray:
    """Take the cup of coffee that scikit-image ships."""
    from skimage import data

    photo: np.ndarray = data.coffee()
    return photo


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, help="an image file")
    parser.add_argument("--weights", type=Path, help="a weights file of keras' Xception")
    parser.add_argument("--output", type=Path, default=Path("camcore-out"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
