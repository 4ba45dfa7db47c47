"""A Lightning callback that logs maps of fixed images while a model is trained."""

from __future__ import annotations

from camcore.errors import InputError, MissingExtraError
from camcore.training import ImageWriter, MapLog, image_writer

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:
    try:
        from pytorch_lightning import (  # type: ignore[assignment]
            Callback,
            LightningModule,
            Trainer,
        )
    except ImportError as error:
        raise MissingExtraError(
            "Lightning is not installed. Install it with: pip install 'camcore[lightning]'"
        ) from error

__all__ = ["MapCallback"]


class MapCallback(Callback):
    """Writes maps at the end of training epochs, to each logger that takes images.

    Parameters
    ----------
    log : MapLog
        What is drawn; the module itself is explained.
    every : int
        Epochs between two pictures; the first epoch has one.

    Raises
    ------
    InputError
        `every` is not positive.
    """

    def __init__(self, log: MapLog, every: int = 1) -> None:
        super().__init__()
        if every < 1:
            raise InputError(f"every={every}; expected a number of epochs, 1 or more.")
        self.log_of_maps = log
        self.every = every

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the maps of the module as it is now."""
        if trainer.current_epoch % self.every or not trainer.is_global_zero:
            return
        for writer in _writers(trainer):
            self.log_of_maps(pl_module, writer, trainer.current_epoch)


def _writers(trainer: Trainer) -> list[ImageWriter]:
    """Make writers of the trainer's loggers that take images.

    Raises
    ------
    InputError
        None of them does, so that nothing would be logged.
    """
    writers, refused = [], []
    for logger in trainer.loggers:
        try:
            writers.append(image_writer(logger))
        except InputError:
            refused.append(type(logger).__name__)
    if not writers:
        listed = ", ".join(refused) or "none"
        raise InputError(
            f"No logger of the trainer takes images; there is {listed}. Give it one that does: "
            "Trainer(logger=TensorBoardLogger(...)), WandbLogger or MLFlowLogger."
        )
    return writers
