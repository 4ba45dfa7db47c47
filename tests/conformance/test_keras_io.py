"""Recipe "keras-io" against the Keras example's own steps."""

from __future__ import annotations

import numpy as np


def test_gradcam(keras_cases, keras, tf, assert_alike):
    for one in keras_cases.alone:
        assert_alike(one.explain("gradcam", "keras-io").maps, example(keras, tf, one)[None])


def example(keras, tf, batch) -> np.ndarray:
    """The logits, a second model, a tape, and the mean over batch and space."""
    last = batch.model.layers[-1]
    scores = last.input if isinstance(last, keras.layers.Softmax) else batch.model.output
    layer = batch.model.get_layer(batch.layer)
    both = keras.models.Model(batch.model.inputs, [layer.output, scores])
    with tf.GradientTape() as tape:
        activations, outputs = both(batch.images)
        score = outputs[:, batch.classes[0]]
    gradients = tape.gradient(score, activations)
    weights = tf.reduce_mean(gradients, axis=(0, 1, 2))
    heat = tf.squeeze(activations[0] @ weights[..., tf.newaxis])
    return (tf.maximum(heat, 0) / tf.math.reduce_max(heat)).numpy()


def test_images_of_a_batch_share_their_weights(keras_resnet):
    batch = keras_resnet.four
    together = batch.explain("gradcam", "keras-io").maps
    alone = np.concatenate([o.explain("gradcam", "keras-io").maps for o in batch.one_by_one()])
    assert np.abs(together - alone).max() > 1e-2


def test_a_torch_model_is_shown_as_the_example_shows_its_twin(
    torch_lite0, keras_lite0, keras, tf, assert_alike
):
    for here, there in zip(keras_lite0.alone[:3], torch_lite0.alone, strict=False):
        assert there.classes == here.classes
        maps = example(keras, tf, here)[None]
        assert_alike(there.explain("gradcam", "keras-io").maps, maps, 1e-4)
