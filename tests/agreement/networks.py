"""Networks for the identities: real architectures with random weights, in each framework.

``pooled`` ends in global average pooling and a linear layer, ``flat`` in a linear layer over
all positions. ``smooth`` has activation functions with a second derivative; ``residual`` has
few channels, batch normalisation, max-pooling and no activation but ReLU; ``shared`` runs its
layers twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import camcore

CLASSES = 5
TARGET = [4, 2]
BATCH = len(TARGET)


@dataclass(frozen=True)
class Subject:
    """A model, a batch, and how the model's own framework runs it.

    Parameters
    ----------
    model : object
        In double precision.
    images : array
        A batch in the framework's own layout.
    forward : callable
        Logits of a batch, by the framework itself.
    head : tuple of array
        The last linear layer's weights ``(K, C)`` and bias ``(K,)``.
    early, last, affine : str
        A layer in the middle, the last feature layer, and the one from which on the model
        is affine.
    curved : callable or None
        Of activations at `early` in the framework's own layout, H·A by the framework itself.
    """

    model: Any
    images: np.ndarray
    forward: Callable[[np.ndarray], np.ndarray]
    head: tuple[np.ndarray, np.ndarray]
    early: str
    last: str
    affine: str
    curved: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def target(self) -> list[int]:
        """A class for each sample."""
        return TARGET

    @property
    def logits(self) -> np.ndarray:
        """What the framework itself says."""
        return self.forward(self.images)

    @property
    def scores(self) -> np.ndarray:
        """Each sample's logit of its target."""
        return self.logits[np.arange(BATCH), TARGET]

    @property
    def unbiased(self) -> np.ndarray:
        """Each sample's score without the head's bias."""
        return self.scores - self.head[1][TARGET]

    def evidence(self, layer: str | None, target: Any = TARGET, method: str = "gradcam") -> Any:
        """What is seen at a layer."""
        explainer = camcore.Explainer(self.model, layer=layer, method=method)
        return explainer.evidence(self.images, target)

    def raw(self, layer: str, *methods: str, target: Any = TARGET, **options: Any) -> Any:
        """Signed maps by method, from one pass; a list of them where there are several targets."""
        results = camcore.explain(self.model, self.images, target, layer, list(methods), **options)
        maps = [
            [one.raw[layer] for one in result] if isinstance(result, list) else result.raw[layer]
            for result in results.values()
        ]
        return maps if len(maps) > 1 else maps[0]


def batch(side: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(BATCH, 3, side, side))


def drawn(rng: np.random.Generator, role: str, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Draw a weight that keeps signals at their size, by its role in Keras' words."""
    if role in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, shape)
    return rng.normal(0, np.sqrt(2 / fan_in) if role == "kernel" else 0.2, shape)


def torch_subject(torch, model, linear: str, early: str, last: str, affine: str) -> Subject:
    rng, images = np.random.default_rng(1), batch(36)
    for name, tensor in model.double().state_dict().items():
        if tensor.is_floating_point():
            kernel, scale = tensor.ndim > 1, name.endswith(("weight", "running_var"))
            role = "kernel" if kernel else "gamma" if scale else "beta"
            value = drawn(rng, role, tuple(tensor.shape), tensor[0].numel() if kernel else 1)
            tensor.copy_(torch.from_numpy(value))

    def forward(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.eval()(torch.from_numpy(images)).numpy()

    fc = model.get_submodule(linear)
    with torch.no_grad():
        fc.weight /= forward(images).std()
    head = (fc.weight.detach().numpy(), fc.bias.detach().numpy())
    return Subject(model, images, forward, head, early, last, affine)


def torch_pooled(torch, models) -> Subject:
    model = models.resnet18(num_classes=CLASSES)
    return torch_subject(torch, model, "fc", "layer3", "layer4", "layer4")


def torch_flat(torch, models) -> Subject:
    features = models.vgg.make_layers(models.vgg.cfgs["A"], batch_norm=True)
    model = torch.nn.Sequential(features, torch.nn.Flatten(), torch.nn.Linear(512, CLASSES))
    return torch_subject(torch, model, "2", "0.20", "0.27", "0.28")


def torch_smooth(torch, models) -> Subject:
    model = models.VisionTransformer(36, 6, 3, 2, 16, 32, num_classes=CLASSES)
    first, last = (f"encoder.layers.encoder_layer_{i}" for i in (0, 2))
    sdpa = torch.nn.attention

    def curved(tokens: np.ndarray) -> np.ndarray:
        def score(a):
            classes = model.heads(model.encoder.ln(model.encoder.layers[1:](a))[:, 0])
            return classes[torch.arange(BATCH), TARGET].sum()

        at = torch.from_numpy(tokens)
        with sdpa.sdpa_kernel(sdpa.SDPBackend.MATH):
            return torch.func.jvp(torch.func.grad(score), (at,), (at,))[1].detach().numpy()

    subject = torch_subject(torch, model, "heads.head", first, last, last)
    return replace(subject, curved=curved)


def torch_residual(torch, models) -> Subject:
    model = models.DenseNet(4, (2, 2, 2), 8, num_classes=CLASSES)
    last = "features.norm5"
    return torch_subject(torch, model, "classifier", "features.denseblock2", last, last)


def torch_shared(torch, models) -> Subject:
    nn = torch.nn

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
            self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(3, CLASSES)

        def forward(self, x):
            for _ in range(2):
                x = self.relu(self.norm(self.conv(x)))
            return self.fc(x.mean((2, 3)))

    return torch_subject(torch, Twice(), "fc", "conv", "relu", "relu")


def torch_golden(torch) -> tuple[Any, np.ndarray, list[str]]:
    """Captum's golden example: a model, its input and its two layers."""
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 4), nn.ReLU()
    )
    conv, dense, (bias, rows) = model[0], model[3], golden_weights()
    with torch.no_grad():
        conv.weight.fill_(1)
        conv.bias.copy_(torch.from_numpy(bias))
        dense.weight.copy_(torch.from_numpy(rows))
        dense.bias.zero_()
    return model, np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), ["0", "1"]


def keras_subject(keras, model, linear: str, early: str, last: str, affine: str) -> Subject:
    rng, images = np.random.default_rng(1), np.moveaxis(batch(64), 1, -1)
    for layer in model.layers:
        for variable in layer.variables:
            shape = tuple(variable.shape)
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            fan_in = int(np.prod(shape[:-2] if depthwise else shape[:-1]))
            variable.assign(drawn(rng, variable.name, shape, fan_in))

    def forward(images: np.ndarray) -> np.ndarray:
        return model(images, training=False).numpy()

    fc = model.get_layer(linear)
    fc.kernel.assign(fc.kernel / forward(images).std())
    head = (fc.kernel.numpy().reshape(-1, CLASSES).T, fc.bias.numpy())
    return Subject(model, images, forward, head, early, last, affine)


def keras_pooled(keras) -> Subject:
    model = keras.applications.MobileNet(
        (64, 64, 3), alpha=0.25, weights=None, classes=CLASSES, classifier_activation=None
    )
    last = "conv_pw_13_relu"
    return keras_subject(keras, model, "conv_preds", "conv_pw_6_relu", last, last)


def keras_flat(keras) -> Subject:
    features = keras.applications.VGG16(False, weights=None, input_shape=(64, 64, 3))
    flat = keras.layers.Flatten()(features.output)
    model = keras.Model(features.input, keras.layers.Dense(CLASSES, name="fc")(flat))
    return keras_subject(keras, model, "fc", "block4_conv2", "block5_conv3", "block5_pool")


def keras_smooth(keras) -> Subject:
    model = keras.applications.MobileNetV3Small(
        (64, 64, 3), weights=None, classes=CLASSES, classifier_activation=None,
        include_preprocessing=False,
    )  # fmt: skip
    early, last = "expanded_conv_9_add", "conv_1_bn"
    after = keras.Model(model.get_layer(early).output, model.output)

    def curved(activations: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        at = tf.constant(activations)
        with tf.autodiff.ForwardAccumulator(at, at) as forward:
            with tf.GradientTape() as tape:
                tape.watch(at)
                score = tf.reduce_sum(tf.gather(after(at), TARGET, axis=1, batch_dims=1))
            gradient = tape.gradient(score, at)
        return forward.jvp(gradient).numpy()

    return replace(keras_subject(keras, model, "logits", early, last, last), curved=curved)


def keras_residual(keras) -> Subject:
    layers = keras.layers

    def normalised(x, channels, kernel, strides=1):
        x = layers.Conv2D(channels, kernel, strides, "same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    def block(x, channels, name, strides=1):
        y = layers.ReLU()(normalised(x, channels, 3, strides))
        y = layers.Add()([normalised(x, channels, 1, strides), normalised(y, channels, 3)])
        return layers.ReLU(name=name)(y)

    inputs = keras.Input((64, 64, 3))
    x = layers.ReLU()(normalised(inputs, 8, 7, 2))
    x = layers.MaxPooling2D(3, 2, "same")(x)
    x = block(block(x, 12, "block1"), 16, "block2", 2)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="fc")(x))
    return keras_subject(keras, model, "fc", "block1", "block2", "block2")


def keras_shared(keras) -> Subject:
    layers = keras.layers
    conv = layers.Conv2D(3, 3, padding="same", activation="relu", name="conv")
    norm = layers.BatchNormalization(name="norm")
    x = inputs = keras.Input((64, 64, 3))
    for _ in range(2):
        x = norm(conv(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="fc")(x))
    return keras_subject(keras, model, "fc", "conv", "norm", "norm")


def keras_golden(keras) -> tuple[Any, np.ndarray, list[str]]:
    """Captum's golden example: a model, its input and its two layers."""
    layers, (bias, rows) = keras.layers, golden_weights()
    dense = layers.Dense(4, activation="relu")
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(2, 3, kernel_initializer="ones", name="conv"),
            layers.ReLU(name="relu"),
            layers.Flatten(),
            dense,
        ]
    )
    model.get_layer("conv").bias.assign(bias)
    # Keras flattens with channels last.
    rows = np.moveaxis(rows.reshape(4, 2, 2, 2), 1, -1).reshape(4, 8)
    dense.set_weights([rows.T, np.zeros(4)])
    return model, np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1), ["conv", "relu"]


def golden_weights() -> tuple[np.ndarray, np.ndarray]:
    """Biases of the convolution, and the dense layer's rows over channels first."""
    return np.array([-50.0, -75.0]), np.tile([1.0] * 5 + [-1.0] * 3, (4, 1))
