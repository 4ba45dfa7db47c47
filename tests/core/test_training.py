"""Logged pictures are camcore's own overlays, and training goes on as without them."""

from __future__ import annotations

import io

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.testing import random_network
from camcore.training import MapLog

EPOCHS, CLASSES, SIDE = 3, 4, 16


@pytest.fixture(autouse=True)
def _drawing(require):
    require("matplotlib")


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(2).integers(0, CLASSES, 12)


@pytest.fixture(scope="module")
def logged(require):
    """Pictures of a folder's event files, by tag and step."""
    require("tensorboard")
    loader = require("tensorboard.backend.event_processing.event_file_loader")
    util = require("tensorboard.util.tensor_util")
    image = require("PIL.Image")

    def read(folder):
        found = {}
        for path in sorted(folder.rglob("events*")):
            for event in loader.EventFileLoader(str(path)).Load():
                for value in event.summary.value:
                    if value.metadata.plugin_data.plugin_name == "images":
                        data = util.make_ndarray(value.tensor)[2]
                        picture = np.asarray(image.open(io.BytesIO(data)))
                        found[value.tag, event.step] = picture
        return found

    return read


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self):
        self.pictures = {}

    def add_image(self, tag, img_tensor, global_step, *, dataformats):
        assert dataformats == "HWC"
        self.pictures[tag, global_step] = img_tensor


def test_map_log_writes_overlays_by_method_and_sample():
    network = random_network()
    inputs = np.random.default_rng(1).normal(size=(2, 2, 8, 8))
    photos = np.random.default_rng(0).random((2, 8, 8, 3))
    log = MapLog(inputs, photos, [0, 1], tag="maps", method=["gradcam", "layercam"], layer="relu2")
    writer = Kept()
    log(network, writer, 7)
    for method in ("gradcam", "layercam"):
        result = camcore.explain(network, inputs, [0, 1], layer="relu2", method=method)
        for i, picture in enumerate(result.overlay(photos)):
            assert np.array_equal(writer.pictures.pop((f"maps/{method}/{i}", 7)), picture)
    assert not writer.pictures


def test_map_log_refuses_what_it_cannot_log():
    inputs = np.zeros((2, 2, 8, 8))
    with pytest.raises(InputError, match="one target"):
        MapLog(inputs, np.zeros((2, 8, 8, 3)), camcore.targets.top(2))
    with pytest.raises(InputError, match="1 images of 2 inputs"):
        MapLog(inputs, np.zeros((1, 8, 8, 3)), 0, layer="relu2").pictures(random_network())


def torch_network(torch):
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Dropout2d(0.3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, CLASSES),
    )


def torch_training(torch, inputs, labels, after):
    """A plain loop; `after` runs at each epoch's end, with gradients still there."""
    model = torch_network(torch)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(labels))
        for batch in order.split(4):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs[batch]), labels[batch])
            loss.backward()
            optimiser.step()
        gradients = [p.grad.clone() for p in model.parameters()]
        after(model, epoch)
        assert model.training
        assert all(module.training for module in model.modules())
        kept = zip(gradients, model.parameters(), strict=True)
        assert all(torch.equal(one, p.grad) for one, p in kept)
    return model, torch.get_rng_state()


def test_map_log_in_pytorchs_plain_loop(torch, require, photos, labels, logged, tmp_path):
    require("tensorboard")
    writer = require("torch.utils.tensorboard").SummaryWriter(tmp_path)
    inputs = torch.tensor(np.random.default_rng(3).normal(size=(12, 3, SIDE, SIDE))).float()
    targets = torch.tensor(labels)
    log = MapLog(inputs[:2], photos, labels[:2], layer="2")
    own = {}

    def follow(model, epoch):
        log(model, writer, epoch)
        result = camcore.explain(model, inputs[:2], labels[:2], layer="2")
        for i, picture in enumerate(result.overlay(photos)):
            own[f"camcore/gradcam/{i}", epoch] = picture

    watched, state = torch_training(torch, inputs, targets, follow)
    alone, unwatched = torch_training(torch, inputs, targets, lambda *_: None)
    writer.close()
    assert torch.equal(state, unwatched)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    same(logged(tmp_path), own)
    assert not np.array_equal(own["camcore/gradcam/0", 0], own["camcore/gradcam/0", 2])


def same(found, expected):
    assert found.keys() == expected.keys()
    for key, picture in expected.items():
        assert np.array_equal(found[key], picture), key


def test_map_callback_in_lightning(torch, require, photos, labels, logged, tmp_path):
    lightning = require("lightning.pytorch")
    loggers = require("lightning.pytorch.loggers")
    callback = require("camcore_torch.lightning").MapCallback
    inputs = torch.tensor(np.random.default_rng(3).normal(size=(12, 3, SIDE, SIDE))).float()
    data = torch.utils.data.TensorDataset(inputs, torch.tensor(labels))

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = torch_network(torch)

        def forward(self, x):
            return self.network(x)

        def training_step(self, batch, _):
            x, y = batch
            return torch.nn.functional.cross_entropy(self(x), y)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    own = {}
    log = MapLog(inputs[:2], photos, labels[:2], layer="network.2")

    class Own(lightning.Callback):
        def on_train_epoch_end(self, trainer, module):
            for tag, overlays in log.pictures(module).items():
                for i, picture in enumerate(overlays):
                    own[f"{tag}/{i}", trainer.current_epoch] = picture

    def fit(callbacks):
        lightning.seed_everything(0)
        module = Module()
        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            callbacks=callbacks,
            logger=loggers.TensorBoardLogger(tmp_path) if callbacks else False,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            log_every_n_steps=1,
        )
        trainer.fit(module, torch.utils.data.DataLoader(data, 4, shuffle=True))
        return module.state_dict(), torch.get_rng_state()

    watched, state = fit([callback(log, every=2), Own()])
    alone, unwatched = fit([])
    assert torch.equal(state, unwatched)
    assert all(torch.equal(value, watched[name]) for name, value in alone.items())
    same(logged(tmp_path), {key: value for key, value in own.items() if key[1] % 2 == 0})
    with pytest.raises(InputError, match="every=0"):
        callback(log, every=0)


def keras_network(keras):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 3)),
            layers.Conv2D(6, 3),
            layers.BatchNormalization(),
            layers.ReLU(name="relu"),
            layers.SpatialDropout2D(0.3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    return model


def test_map_callback_in_tf_keras(tf, require, photos, labels, logged, tmp_path):
    legacy = require("tf_keras")
    callback = require("camcore_tensorflow.training").MapCallback
    layers = legacy.layers
    model = legacy.Sequential(
        [
            legacy.Input((SIDE, SIDE, 3)),
            layers.Conv2D(4, 3, activation="relu", name="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    inputs = np.random.default_rng(3).normal(size=(12, SIDE, SIDE, 3)).astype(np.float32)
    log = MapLog(inputs[:2], photos, labels[:2], layer="relu")
    model.fit(inputs, np.arange(12) % CLASSES, 4, 2, verbose=0,
              callbacks=[callback(log, tmp_path, every=1)])  # fmt: skip
    expected = camcore.explain(model, inputs[:2], labels[:2], layer="relu").overlay(photos)
    found = logged(tmp_path)
    for i in range(2):
        np.testing.assert_array_equal(found[f"camcore/gradcam/{i}", 1], expected[i])


def test_map_callback_in_keras(keras, tf, require, photos, labels, logged, tmp_path):
    callback = require("camcore_tensorflow.training").MapCallback
    inputs = np.random.default_rng(3).normal(size=(12, SIDE, SIDE, 3)).astype(np.float32)
    log = MapLog(inputs[:2], photos, labels[:2], layer="relu", method=["gradcam", "gradcam++"])
    own = {}

    class Own(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            for name in ("gradcam", "gradcampp"):
                result = camcore.explain(
                    self.model, inputs[:2], labels[:2], layer="relu", method=name
                )
                for i, picture in enumerate(result.overlay(photos)):
                    own[f"camcore/{name}/{i}", epoch] = picture

    def fit(callbacks):
        model = keras_network(keras)
        model.fit(inputs, labels, 4, EPOCHS, verbose=0, callbacks=callbacks)
        later = keras.random.uniform((3,), seed=keras.random.SeedGenerator())
        return [w.copy() for w in model.get_weights()], np.asarray(later), tf.random.uniform((3,))

    watched, *random = fit([callback(log, tmp_path), Own()])
    alone, *unwatched = fit([])
    for one, other in zip((*watched, *random), (*alone, *unwatched), strict=True):
        assert np.array_equal(one, other)
    same(logged(tmp_path), own)
    picture = "camcore/gradcam/0"
    assert not np.array_equal(own[picture, 0], own[picture, EPOCHS - 1])
    with pytest.raises(InputError, match="every=0"):
        callback(log, tmp_path, every=0)
