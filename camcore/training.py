"""Log maps of the same images while a model is trained.

`MapLog` needs nothing but a writer with ``add_image``, such as PyTorch's
``SummaryWriter``. Callbacks on top of it are in ``camcore_torch.lightning`` and
``camcore_tensorflow.training``.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.explainer import Explainer, Several
from camcore.methods.table import MethodLike
from camcore.targets import Each, TargetLike

__all__ = ["ImageWriter", "MapLog"]


class ImageWriter(Protocol):
    """What pictures are written to: PyTorch's ``SummaryWriter``, or anything like it."""

    def add_image(self, tag: str, img_tensor: Any, global_step: int, *, dataformats: str) -> object:
        """Write a picture under a tag and a step."""


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

    def __call__(self, model: object, writer: ImageWriter, step: int) -> None:
        """Write the maps of a model as it is now.

        Parameters
        ----------
        model : torch.nn.Module, keras.Model, or camcore.adapter.Adapter
            Left exactly as it is.
        writer : ImageWriter
            Gets a picture of each sample, under ``tag/method/sample``.
        step : int
            Epoch or step of the training.
        """
        for tag, overlays in self.pictures(model).items():
            for sample, picture in enumerate(overlays):
                writer.add_image(f"{tag}/{sample}", picture, step, dataformats="HWC")
