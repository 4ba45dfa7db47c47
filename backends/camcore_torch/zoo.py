"""Models by name, with the preprocessing they were trained with."""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from camcore._shared.efficientnet_lite import SIZES
from camcore._shared.reading import reading, said
from camcore.adapter import Array
from camcore.errors import InputError, MissingExtraError
from camcore.photos.preprocessing import Preprocessing
from camcore.registry import LoadOptions
from camcore.zoo import (
    LoadedModel,
    check_weights,
    demonstration_weights,
    imagenet_classes,
    library_weights,
    unit_scaled,
    unknown_model,
)
from camcore_torch.inputs import to_numpy
from camcore_torch.zoo_states import fill, refuse_program

_OF_WEIGHTS = frozenset(["weights", "checkpoint", "device"])
LOAD_OPTIONS = ("checkpoint", "pretrained", "num_classes", "device")


def load(scheme: str, name: str, weights: str | None = None, **options: Any) -> LoadedModel:
    """Find a model by name.

    Parameters
    ----------
    scheme : {"torchvision", "timm", "hf", "ultralytics", "torch", "pt2", "demo-torch"}
        Where the name belongs. ``hf:NAME`` is a folder as ``save_pretrained`` writes it, or a
        name on the Hugging Face Hub; ``ultralytics:FILE`` a ``.pt`` or ``.yaml`` of theirs;
        ``torch:FILE`` a pickled module of classes that PyTorch was told are safe;
        ``pt2:PATH`` a program as `torch.export.save` writes it. The last two are
        shown RGB in [0, 1]. ``demo-torch:efficientnet_lite0`` has ImageNet weights that come
        with a package. Weights are drawn at random unless given, but for files that hold them.
    name : str
        The model's name there.
    weights : str, optional
        A file with a state dict, as ``torch.save`` writes it, or ``.safetensors``.
    **options
        Of `camcore.registry.LoadOptions`: `checkpoint`, `pretrained`, `num_classes`, `device`.

    Raises
    ------
    InputError
        The scheme, the name, the file or an option is not known or does not fit.
    MissingExtraError
        A package is not installed.
    """
    if scheme not in SCHEMES:
        raise InputError(f"Unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}.")
    wanted = LoadOptions(weights, **options)
    loaded = SCHEMES[scheme](name, wanted)
    if isinstance(loaded.model, nn.Module):
        loaded.model.eval()
        if wanted.device is not None:
            _move(loaded.model, wanted.device)
    return loaded


def _move(model: nn.Module, device: str) -> None:
    try:
        model.to(torch.device(device))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"The model cannot be moved to the device {device!r}: {said(error)} Name one that "
            "PyTorch has here, such as cpu, cuda:0 or mps."
        ) from error


def _torchvision(name: str, options: LoadOptions) -> LoadedModel:
    models = _package("torchvision.models")
    _check_name("torchvision", name, models.list_models(module=models))
    if options.pretrained:
        with library_weights(f"torchvision:{name}"):
            model = models.get_model(name, weights="DEFAULT")
    else:
        model = models.get_model(name, weights=None, **_counted(options))
        fill(model, options)
    known = models.get_model_weights(name)
    return LoadedModel(
        model,
        classes=_categories(known) if options.num_classes is None else None,
        pretrained=options.has_weights,
        activation="softmax",
        **_shown_as(known),
    )


def _categories(weights: Any) -> Sequence[str] | None:
    """List the classes of the model's default weights."""
    default = getattr(weights, "DEFAULT", None)
    return None if default is None else tuple(default.meta["categories"])


def _counted(options: LoadOptions) -> dict[str, Any]:
    """Say how many classes a model is made for, where that is asked for."""
    return {} if options.num_classes is None else {"num_classes": options.num_classes}


def _shown_as(weights: Any) -> dict[str, Any]:
    """Say how the model's default weights expect a photograph; the weights themselves stay away."""
    default = getattr(weights, "DEFAULT", None)
    if default is None:
        return {"preprocess": _normalised(), "size": 224, "resize": 256}
    transforms = default.transforms()
    return {
        "preprocess": _normalised(mean=tuple(transforms.mean), std=tuple(transforms.std)),
        "size": transforms.crop_size[0],
        "resize": transforms.resize_size[0],
        "interpolation": transforms.interpolation.value,
    }


def _timm(name: str, options: LoadOptions) -> LoadedModel:
    timm = _package("timm")
    _check_name("timm", name.partition(".")[0], timm.list_models())
    if options.pretrained:
        with library_weights(f"timm:{name}"):
            model = timm.create_model(name, pretrained=True)
    else:
        model = timm.create_model(name, pretrained=False, **_counted(options))
        fill(model, options)
    config = _package("timm.data").resolve_model_data_config(model)
    size = config["input_size"][-1]
    return LoadedModel(
        model,
        preprocess=_normalised(mean=config["mean"], std=config["std"]),
        size=size,
        resize=math.floor(size / config["crop_pct"]),
        interpolation=config["interpolation"],
        classes=_imagenet_classes(model),
        pretrained=options.has_weights,
        activation="softmax",
    )


def _demo(name: str, options: LoadOptions) -> LoadedModel:
    _check_name("demo-torch", name, list(SIZES))
    options.only(_OF_WEIGHTS, f"demo-torch:{name} is for ImageNet's classes, with their weights")
    model = _package("timm").create_model(f"tf_{name}", pretrained=False)
    if options.has_weights:
        fill(model, options)
    else:
        values = map(torch.from_numpy, demonstration_weights(name).values())
        # The file's names are another implementation's; its order is this one's.
        model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
    return LoadedModel(
        model,
        preprocess=_normalised(mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
        size=SIZES[name].side,
        resize=SIZES[name].side + 32,
        interpolation="bicubic",
        classes=_imagenet_classes(model),
        pretrained=True,
        default_layer="bn2",
        activation="softmax",
    )


def _program(path: str, options: LoadOptions) -> LoadedModel:
    options.only((), f"{path} holds its own weights")
    with reading(Path(path), "a program as torch.export.save(program, path) writes it"):
        zipfile.ZipFile(path).close()  # of another file PyTorch logs pages
        program = torch.export.load(path)
    check_weights(path, {k: to_numpy(v.detach()) for k, v in program.state_dict.items()})
    given = [
        node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs
    ]
    sizes = [node.meta["val"].shape[-1] for node in given if node.meta["val"].ndim == 4]
    side = next((size for size in sizes if isinstance(size, int)), None)
    return unit_scaled(program, channels_first=True, size=side)


def _pickled(path: str, options: LoadOptions) -> LoadedModel:
    options.only({"device"}, f"{path} holds its own weights")
    with reading(Path(path), "a module as torch.save(model, path) writes it"):
        refuse_program(path)
        try:
            model = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if asked := re.search(r"GLOBAL ([\w.]+) was not an allowed", str(error)):
                raise InputError(_of_pickled_code(path, asked[1])) from error
            raise
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{path} holds weights, a {type(model).__name__}, and no model. Name the model that "
            "they are of, and give the file beside it: torchvision:resnet50 with weights or "
            "checkpoint, on the command line --weights or --checkpoint."
        )
    check_weights(path, {k: to_numpy(v.detach()) for k, v in model.state_dict().items()})
    return unit_scaled(model, channels_first=True)


def _of_pickled_code(path: str, kind: str) -> str:
    """Say what to do with a file that PyTorch does not load without running code."""
    return (
        f"{path} holds pickled code (a {kind}), which is run when it is loaded, whatever it does. "
        "If you trust it, load it yourself, torch.load(path, weights_only=False), and give the "
        "module to camcore.explain, or name a function that returns it: package.module:function. "
        "Or have it saved as data: its state dict, or a program by torch.export.save, .pt2."
    )


def _hub(name: str, options: LoadOptions) -> LoadedModel:
    from camcore_torch.zoo_transformers import load_hub

    return load_hub(name, options)


def _ultralytics(name: str, options: LoadOptions) -> LoadedModel:
    from camcore_torch.zoo_ultralytics import load_yolo

    return load_yolo(name, options)


SCHEMES: Mapping[str, Callable[[str, LoadOptions], LoadedModel]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _hub,
    "ultralytics": _ultralytics,
    "torch": _pickled,
    "demo-torch": _demo,
    "pt2": _program,
}


def _package(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed. Install it with: pip install 'camcore[demo]'"
        ) from error


def _check_name(scheme: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise unknown_model(scheme, name, known)


def _normalised(**pixels: Any) -> Callable[[npt.NDArray[np.uint8]], Array]:
    """Scale the pixels of a photograph that is cropped already, by a mean and a deviation."""
    return Preprocessing(precision="float64", **pixels).prepare


def _imagenet_classes(model: nn.Module) -> Sequence[str] | None:
    """List ImageNet's class names, if torchvision is there and the model has a thousand classes."""
    last = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not last or last[-1].out_features != 1000:
        return None
    return imagenet_classes()
