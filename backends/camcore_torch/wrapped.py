"""Modules inside the objects that libraries hand out around them: pipelines, and YOLO."""

from __future__ import annotations

import sys
from typing import Any

from torch import nn

from camcore.errors import BackendError


def is_pipeline(model: object) -> bool:
    """Tell whether an object is a `transformers.Pipeline`."""
    return _is_a(model, "transformers.pipelines.base", "Pipeline")


def is_yolo(model: object) -> bool:
    """Tell whether an object is an `ultralytics.YOLO`, or another of their models."""
    return _is_a(model, "ultralytics.engine.model", "Model")


def unwrapped(model: Any) -> nn.Module:
    """Take the module that computes out of what a library put around it.

    Parameters
    ----------
    model : nn.Module, transformers.Pipeline or ultralytics.YOLO
        A plain module is returned as it is.

    Returns
    -------
    nn.Module

    Raises
    ------
    BackendError
        There is no module in it, or it does not take images.
    """
    if is_yolo(model):
        if not isinstance(model.model, nn.Module):
            raise BackendError(
                f"The {type(model).__name__} runs an exported file, {model.model}, which has no "
                "layers. Give the .pt file that it was exported from, or an .onnx file itself."
            )
        return model.model
    if is_pipeline(model):
        if getattr(model, "image_processor", None) is None:
            raise BackendError(
                f"The {type(model).__name__} is for {model.task}, which takes no images. Give a "
                "pipeline of image classification, or the module that computes: pipeline.model."
            )
        return model.model  # type: ignore[no-any-return]
    found: nn.Module = model
    return found


def output_of(model: nn.Module) -> str | None:
    """Name the output that a module of ultralytics predicts by; None of all others.

    Beside it they return what their losses are made of.
    """
    return "0" if _is_a(model, "ultralytics.nn.tasks", "BaseModel") else None


def _is_a(model: object, module: str, name: str) -> bool:
    """Tell whether an object is of a class whose module is imported."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(model, kind)
