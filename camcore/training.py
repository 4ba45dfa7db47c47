"""Log maps of the same images while a model is trained.

`MapLog` needs nothing but a writer with ``add_image``, such as PyTorch's ``SummaryWriter``;
`image_writer` makes one of a run of Weights & Biases or of MLflow. Callbacks on top of it are in
``camcore_torch.lightning`` and ``camcore_tensorflow.training``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.explainer import Explainer, Several
from camcore.methods.table import MethodLike
from camcore.targets import Each, TargetLike

__all__ = ["ImageWriter", "MapLog", "image_writer"]


class ImageWriter(Protocol):
    """What pictures are written to: PyTorch's ``SummaryWriter``, or anything like it."""

    def add_image(self, tag: str, img_tensor: Any, global_step: int, *, dataformats: str) -> object:
        """Write a picture under a tag and a step."""


def image_writer(logger: Any) -> ImageWriter:
    """Make a writer of images of a logger of any of the usual kinds.

    Parameters
    ----------
    logger : object
        A ``SummaryWriter`` of TensorBoard; a run of Weights & Biases; the module ``mlflow`` while
        a run is active, or a pair of an ``MlflowClient`` and the id of a run; or a logger of
        Lightning for one of these.

    Returns
    -------
    ImageWriter

    Raises
    ------
    InputError
        It takes no images, as far as is known.
    """
    if hasattr(logger, "add_image"):
        writer: ImageWriter = logger
        return writer
    inner = getattr(logger, "experiment", None)
    run_id = getattr(logger, "run_id", None)
    if inner is not None and inner is not logger:
        return image_writer((inner, run_id) if hasattr(inner, "log_image") else inner)
    if isinstance(logger, tuple) and hasattr(logger[0], "log_image"):
        client, run = logger
        return _Writer(lambda tag, image, step: client.log_image(run, image, key=tag, step=step))
    if type(logger).__module__.partition(".")[0] == "wandb" and hasattr(logger, "log"):
        return _Writer(lambda tag, image, step: _log_to_wandb(logger, tag, image, step))
    if getattr(logger, "__name__", "") == "mlflow":
        return _Writer(lambda tag, image, step: logger.log_image(image, key=tag, step=step))
    raise InputError(
        f"Images cannot be written to a {type(logger).__name__}. Give a SummaryWriter of "
        "TensorBoard, a run of Weights & Biases, mlflow, a logger of Lightning for one of these, "
        "or anything with add_image(tag, picture, step, dataformats='HWC')."
    )


@dataclass(frozen=True)
class _Writer:
    """Writes pictures by a function of a tag, a picture and a step."""

    write: Callable[[str, Array, int], object]

    def add_image(self, tag: str, img_tensor: Any, global_step: int, *, dataformats: str) -> object:
        """Write a picture, whose channels are last."""
        return self.write(tag, np.asarray(img_tensor), global_step)


def _log_to_wandb(run: Any, tag: str, image: Array, step: int) -> None:
    """Log a picture beside its step: a step of the run's own that has passed would drop it."""
    import wandb  # whose run it is

    run.log({tag: wandb.Image(image), "camcore/step": step})


class MapLog:
    """Draw maps over the same images for any state of a model.

    The model is left as it is: its mode, its gradients, its weights and the framework's
    random numbers, so that training goes on as if nothing had happened.

    Parameters
    ----------
    inputs : array, tensor, or nest of these
        What the model takes; the same at each step.
    images : (B, H, W, 3) array
        The same images for people: RGB, uint8 or floating in [0, 1].
    target : None, int, sequence of int, Target, or callable
        What is explained. None is the class that the model predicts at that step, so give
        the true classes where maps of different steps are to be compared.
    tag : str
        What the pictures are kept under.
    method : str, Method, or list of these
        As `camcore.explain` takes it.
    **options
        `layer`, `recipe`, ...: as `camcore.Explainer` takes them.

    Raises
    ------
    InputError
        The target is several at once.

    Examples
    --------
    >>> log = MapLog(inputs, photos, target=labels)              # doctest: +SKIP
    >>> for epoch in range(epochs):                              # doctest: +SKIP
    ...     train(model)
    ...     log(model, writer, epoch)
    """

    def __init__(
        self,
        inputs: Any,
        images: Array,
        target: TargetLike = None,
        *,
        tag: str = "camcore",
        method: MethodLike | Several = "gradcam",
        **options: Any,
    ) -> None:
        if isinstance(target, Each):
            raise InputError("A log follows one target for each image; make a log for each target.")
        self.inputs = inputs
        self.images = np.asarray(images)
        self.target = target
        self.tag = tag
        self.methods: tuple[MethodLike, ...] = (
            tuple(method) if isinstance(method, list | tuple) else (method,)
        )
        self.options = options

    def pictures(self, model: object) -> dict[str, Array]:
        """Draw the maps of a model as it is now.

        Parameters
        ----------
        model : torch.nn.Module, keras.Model, or camcore.adapter.Adapter
            Left exactly as it is.

        Returns
        -------
        dict of str to (B, H, W, 3) uint8 array
            Overlays by tag and method, such as ``"camcore/gradcam"``.
        """
        explainer = Explainer(model, method=self.methods, **self.options)
        drawn = {}
        for name, result in explainer(self.inputs, self.target).items():
            if self.images.shape[0] != len(result):
                raise InputError(
                    f"{len(self.images)} images of {len(result)} inputs cannot be logged; pass as "
                    "many images as inputs."
                )
            drawn[f"{self.tag}/{name}"] = result.overlay(self.images)
        return drawn

    def __call__(self, model: object, writer: Any, step: int) -> None:
        """Write the maps of a model as it is now.

        Parameters
        ----------
        model : torch.nn.Module, keras.Model, or camcore.adapter.Adapter
            Left exactly as it is.
        writer : object
            Gets a picture of each sample, under ``tag/method/sample``; as `image_writer` takes it.
        step : int
            Epoch or step of the training.

        Raises
        ------
        InputError
            The writer takes no images.
        """
        writer = image_writer(writer)
        for tag, overlays in self.pictures(model).items():
            for sample, picture in enumerate(overlays):
                writer.add_image(f"{tag}/{sample}", picture, step, dataformats="HWC")
