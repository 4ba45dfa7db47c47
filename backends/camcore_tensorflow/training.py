"""A callback of Keras or tf_keras that logs maps of fixed images to TensorBoard in training."""

from __future__ import annotations

import os
from typing import Any

import keras
import tensorflow as tf

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.training import MapLog

__all__ = ["MapCallback"]


class MapCallback(keras.callbacks.Callback):
    """Writes maps at the end of epochs, as images of TensorBoard.

    Parameters
    ----------
    log : MapLog
        What is drawn.
    log_dir : str or path
        Where TensorBoard looks, beside what ``keras.callbacks.TensorBoard`` writes.
    every : int
        Epochs between two pictures; the first epoch has one.

    Raises
    ------
    InputError
        `every` is not positive.
    MissingExtraError
        TensorBoard is not installed.
    """

    def __init__(self, log: MapLog, log_dir: str | os.PathLike[str], every: int = 1) -> None:
        super().__init__()
        with needs("training", "writing for TensorBoard"):
            import tensorboard  # noqa: F401
        if every < 1:
            raise InputError(f"every={every}; expected a number of epochs, 1 or more.")
        self.log_of_maps = log
        self.log_dir = os.fspath(log_dir)
        self.every = every
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the maps of the model as it is now."""
        if epoch % self.every:
            return
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)
        with self._writer.as_default(step=epoch):
            for tag, overlays in self.log_of_maps.pictures(self.model).items():
                for sample, picture in enumerate(overlays):
                    tf.summary.image(f"{tag}/{sample}", picture[None])

    def _no_batch_hooks(self) -> bool:
        """Answer tf_keras, which asks each callback whether it follows batches."""
        return False

    _implements_train_batch_hooks = _no_batch_hooks
    _implements_test_batch_hooks = _no_batch_hooks
    _implements_predict_batch_hooks = _no_batch_hooks

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
