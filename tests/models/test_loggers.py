"""Maps of a model in training reach the loggers that people use, picture for picture."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.testing import random_network
from camcore.training import MapLog, image_writer

INPUTS = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
IMAGES = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def log():
    return MapLog(INPUTS, IMAGES, layer="relu2")


@pytest.fixture
def expected(log):
    return log.pictures(random_network())["camcore/gradcam"]


def test_mlflow_has_the_pictures(log, expected, require, tmp_path, monkeypatch):
    mlflow, image = require("mlflow"), require("PIL.Image")
    monkeypatch.chdir(tmp_path)
    # A data base needs packages that the skinny MLflow leaves out.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        log(random_network(), mlflow, 3)
        log(random_network(), (mlflow.MlflowClient(), run.info.run_id), 4)
    written = sorted((tmp_path / "runs").rglob("images/*.png"))
    assert len(written) == 4
    for number, path in enumerate(written):
        found = np.asarray(image.open(path))
        assert any(np.array_equal(found, picture) for picture in expected), (number, path)
    assert sorted({path.name.split("step")[1][1] for path in written}) == ["3", "4"]


def test_weights_and_biases_has_the_pictures(log, expected, require, tmp_path, monkeypatch):
    wandb, image = require("wandb"), require("PIL.Image")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=tmp_path, project="maps") as run:
        run.log({"loss": 1.0}, step=500)
        log(random_network(), run, 3)
    written = sorted(tmp_path.rglob("media/images/**/*.png"))
    assert len(written) == 2
    for path, picture in zip(written, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(image.open(path)), picture)


def test_what_takes_no_images_is_refused(log):
    with pytest.raises(InputError, match="cannot be written to a CSVLogger"):
        log(random_network(), type("CSVLogger", (), {})(), 0)
    assert image_writer(writer := type("Writer", (), {"add_image": print})()) is writer


def test_lightning_refuses_to_log_nothing(require, tmp_path, torch):
    lightning = require("lightning.pytorch")
    from camcore_torch.lightning import MapCallback

    class Trained(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            conv = torch.nn.Conv2d(2, 2, 3)
            pool, flat = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
            self.net = torch.nn.Sequential(conv, pool, flat, torch.nn.Linear(2, 3))

        def forward(self, images):
            return self.net(images)

        def training_step(self, batch, _):
            return self.net(batch).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    images = torch.from_numpy(INPUTS).float()
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=lightning.loggers.CSVLogger(tmp_path),
        callbacks=[MapCallback(MapLog(images, IMAGES, layer="net.0"))],
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    with pytest.raises(InputError, match="No logger of the trainer takes images; there is CSVLog"):
        trainer.fit(Trained(), torch.utils.data.DataLoader(images))
