"""TensorFlow: which layer returns the scores, however they are shown again."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.registry import adapter as adapt

SHOWN_AGAIN = {
    "as it is": lambda tf, z: z,
    "identity": lambda tf, z: tf.identity(z),
    "softmax": lambda tf, z: tf.nn.softmax(z),
    "log softmax": lambda tf, z: tf.nn.log_softmax(z),
    "sigmoid": lambda tf, z: tf.sigmoid(z),
    "cast": lambda tf, z: tf.cast(z, tf.float64),
    "reshaped": lambda tf, z: tf.reshape(z, (-1, 36, 5)),
    "expanded": lambda tf, z: tf.expand_dims(z, 1),
    "squeezed": lambda tf, z: tf.squeeze(tf.expand_dims(z, 1), 1),
    "transposed": lambda tf, z: tf.transpose(z, (0, 3, 1, 2)),
    "of a shape": lambda tf, z: tf.ensure_shape(z, (None, 6, 6, 5)),
    "bilinear": lambda tf, z: tf.image.resize(z, (12, 12)),
    "bicubic": lambda tf, z: tf.image.resize(z, (12, 12), "bicubic"),
    "nearest": lambda tf, z: tf.image.resize(z, (12, 12), "nearest"),
    "several": lambda tf, z: tf.nn.softmax(tf.image.resize(tf.transpose(z, (0, 2, 1, 3)), (9, 9))),
}
COMPUTED = {
    "doubled": lambda tf, z: 2 * z,
    "rectified": lambda tf, z: tf.nn.relu(z),
    "a part": lambda tf, z: z[:, 1:],
}


@pytest.mark.parametrize("end", [*SHOWN_AGAIN, *COMPUTED])
def test_the_layer_whose_output_is_shown_again_is_the_output(tf, keras, end):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.stem, self.head = keras.layers.Conv2D(4, 3), keras.layers.Conv2D(5, 1)

        def call(self, x):
            return (SHOWN_AGAIN | COMPUTED)[end](tf, self.head(tf.nn.relu(self.stem(x))))

    records = adapt(Net()).survey(np.zeros((2, 8, 8, 3), np.float32))
    assert [(r.shape, r.channels, r.calls) for r in records] == [
        ((1, 6, 6, 4), "last", 1),
        ((1, 6, 6, 5), "last", 1),
    ]
    assert [r.is_output for r in records] == [False, end in SHOWN_AGAIN]


def test_a_layer_that_returns_what_another_returned_names_it(keras):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.copy = keras.layers.Conv2D(4, 3), keras.layers.Dropout(0.5)
            self.head = keras.layers.Dense(2)

        def call(self, x):
            return self.head(self.copy(self.conv(x)))

    net = Net()
    records = adapt(net).survey(np.zeros((2, 8, 8, 3), np.float32))
    names = [layer.name for layer in (net.conv, net.copy, net.head)]
    assert [(r.layer.name, r.repeats) for r in records] == list(
        zip(names, [None, names[0], None], strict=True)
    )
