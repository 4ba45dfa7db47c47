"""Models of ultralytics, shown photographs as their predictors show them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import nn

from camcore._shared.optional import needs
from camcore._shared.reading import reading, said
from camcore.errors import CamcoreError, InputError
from camcore.photos.preprocessing import Preprocessing
from camcore.registry import LoadedModel, LoadOptions
from camcore.targets import Box
from camcore.zoo import check_weights, known_classes, library_weights
from camcore_torch.inputs import to_numpy
from camcore_torch.zoo_states import fill

_BOXES: Final = ("detect", "segment", "pose", "obb")
"""Tasks whose models return boxes."""


def load_yolo(name: str, options: LoadOptions) -> LoadedModel:
    """Load a model of ultralytics.

    Parameters
    ----------
    name : str
        A ``.pt`` file, of which only tensors and ultralytics' own classes are read; or a
        ``.yaml`` file or a name of theirs, ``yolo11n.yaml``, with weights drawn at random.
    options : LoadOptions
        Weights for it, a number of classes; of a name, the weights that ultralytics publishes.

    Returns
    -------
    LoadedModel

    Raises
    ------
    InputError
        It cannot be loaded.
    MissingExtraError
        ultralytics is not installed.
    """
    with needs("models", "loading models of ultralytics"):
        import ultralytics
    if name.endswith((".yaml", ".yml")):
        options.only(
            {"weights", "checkpoint", "num_classes", "device"},
            f"{name} describes a model without weights",
        )
        model = _from_yaml(name, options)
        return described(model, pretrained=options.has_weights)
    if not Path(name).is_file() and options.pretrained:
        options.only({"pretrained", "device"}, f"{name} brings its own weights")
        with _quiet(), library_weights(f"ultralytics:{name}"):
            return described(ultralytics.YOLO(name).model)
    options.only({"device"}, f"{name} holds its own weights")
    with reading(Path(name), "a .pt or .yaml file of ultralytics"), _quiet():
        model = _from_file(name)
    check_weights(name, {k: to_numpy(v) for k, v in model.state_dict().items()})
    return described(model)


def described(model: nn.Module, *, pretrained: bool = True) -> LoadedModel:
    """Describe a model of ultralytics: its classes, and how its predictor shows photographs.

    Photographs for boxes are letterboxed to a square, as by ``predict(rect=False)``.

    Parameters
    ----------
    model : ultralytics.nn.tasks.BaseModel
        The module that computes.
    pretrained : bool
        Whether its weights were loaded.

    Returns
    -------
    LoadedModel
    """
    from ultralytics.nn.tasks import guess_model_task

    about: Any = model
    task = getattr(about, "task", None) or guess_model_task(about)
    settings = dict(getattr(about, "args", None) or {})
    side = _side(settings.get("imgsz", 640), about.stride)
    shown = _cropped(about, side) if task == "classify" else _letterboxed(side)
    return LoadedModel(
        model,
        classes=known_classes(model),
        pretrained=pretrained,
        activation="softmax" if task == "classify" else None,
        aim=_aim(about) if task in _BOXES else None,
        **shown,
    )


def _side(asked: Any, stride: Any) -> int:
    """Round the side of the square up to what the model's strides divide, as predictors do."""
    largest = max(int(asked if isinstance(asked, int) else max(asked)), 1)
    step = int(max(stride))
    return math.ceil(largest / step) * step


def _cropped(model: Any, side: int) -> dict[str, Any]:
    """Show photographs as classifiers take them: the middle, by the transforms they keep."""
    from ultralytics.data.augment import classify_transforms

    steps = getattr(getattr(model, "transforms", None), "transforms", None)
    steps = steps or classify_transforms(side).transforms
    known = [type(step).__name__ for step in steps]
    if known != ["Resize", "CenterCrop", "ToTensor", "Normalize"]:
        raise InputError(
            f"The model shows photographs by {', '.join(known)}, which is no plain crop of the "
            "middle. Make its inputs yourself, and give them to camcore.explain with the model."
        )
    scale, cut, _, normalise = steps
    pixels = Preprocessing(
        mean=tuple(map(float, normalise.mean)),
        std=tuple(map(float, normalise.std)),
        precision="float64",
    )
    first = cut.size[0] if isinstance(cut.size, (tuple, list)) else cut.size
    resize = scale.size[0] if isinstance(scale.size, (tuple, list)) else scale.size
    return {
        "preprocess": pixels.prepare,
        "size": int(first),
        "resize": int(resize),
        "interpolation": scale.interpolation.value,
    }


def _letterboxed(side: int) -> dict[str, Any]:
    """Show photographs as detectors take them: whole, with grey bars."""
    unit = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1), precision="float64")
    return {
        "preprocess": unit.prepare,
        "size": side,
        "resize": side,
        "fit": "letterbox",
        "view": partial(_boxed, side),
    }


def _boxed(side: int, photo: npt.NDArray[Any]) -> npt.NDArray[Any]:
    from ultralytics.data.augment import LetterBox

    boxed: npt.NDArray[Any] = LetterBox((side, side), auto=False)(image=photo)
    return np.ascontiguousarray(boxed)


def _aim(model: Any) -> Any:
    """Make targets of boxes, as the model's head arranges them."""
    end = getattr(model.model[-1], "end2end", False)
    arranged = "yolo-end2end" if end else "yolo"
    return lambda index: Box(of_class=index, arranged=arranged)


def _from_yaml(name: str, options: LoadOptions) -> nn.Module:
    import ultralytics

    try:
        with _quiet():
            made: Any = ultralytics.YOLO(name, verbose=False)
            model = made.model
            if options.num_classes is not None:
                kind = made.task_map[made.task]["model"]
                model = kind(name, nc=options.num_classes, verbose=False)
                model.task, model.args = made.task, made.model.args
    except Exception as error:  # of a file that describes no model it raises anything
        raise InputError(
            f"ultralytics:{name} cannot be made: {said(error)} Give a .pt or .yaml file, or the "
            "name of a model that ultralytics describes, such as yolo11n.yaml."
        ) from error
    fill(model, options)
    return model  # type: ignore[no-any-return]


def _from_file(path: str) -> nn.Module:
    from ultralytics.nn import tasks

    load: Any = tasks.torch_safe_load
    try:
        found, _ = load(path, safe_only=True)
    except CamcoreError:
        raise
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as a model of ultralytics' own classes: {said(error)} If you "
            "trust it, load it yourself, ultralytics.YOLO(path), and give that to camcore.explain, "
            "or name a function that returns it: package.module:function."
        ) from error
    model: Any = found.get("ema") or found.get("model") if isinstance(found, dict) else None
    if not isinstance(model, nn.Module) or found.get("modelopt"):
        raise InputError(
            f"{path} holds no plain model of ultralytics. Give the .pt file that its training "
            "wrote, or load it yourself, and give the YOLO to camcore.explain."
        )
    trained: Any = model.float().eval()
    trained.args = found.get("train_args") or {}
    return trained  # type: ignore[no-any-return]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ultralytics from printing while it loads."""
    from ultralytics.utils import LOGGER

    level = LOGGER.level
    LOGGER.setLevel(logging.ERROR)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
