"""Models by name, with the preprocessing they were trained with; nothing is downloaded."""

from __future__ import annotations

import math
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

from camcore._shared.reading import reading
from camcore.adapter import Array
from camcore.errors import InputError, MissingExtraError
from camcore.photos.preprocessing import Preprocessing
from camcore.zoo import (
    LoadedModel,
    check_weights,
    demonstration_weights,
    imagenet_classes,
    unit_scaled,
    unknown_model,
)
from camcore_torch.inputs import to_numpy


def load(scheme: str, name: str, weights: str | None = None) -> LoadedModel:
    """Find a model by name.

    Parameters
    ----------
    scheme : {"torchvision", "timm", "demo-torch", "pt2"}
        Where the name belongs. ``demo-torch:efficientnet_lite0`` has ImageNet weights
        that come with a package; ``pt2:PATH`` is a program as `torch.export.save` writes it,
        shown RGB in [0, 1]; the others' weights are drawn at random unless given.
    name : str
        The model's name there.
    weights : str, optional
        A file with a state dict, as ``torch.save`` writes it.

    Raises
    ------
    InputError
        The scheme, the name or the file is not known or does not fit.
    MissingExtraError
        A package is not installed.
    """
    if scheme not in SCHEMES:
        raise InputError(f"Unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}.")
    loaded = SCHEMES[scheme](name, weights)
    if isinstance(loaded.model, nn.Module):
        loaded.model.eval()
    return loaded


def _torchvision(name: str, weights: str | None) -> LoadedModel:
    models = _package("torchvision.models")
    _check_name("torchvision", name, models.list_models(module=models))
    model = models.get_model(name, weights=None)
    _load_weights(model, weights)
    shown = _shown_as(models.get_model_weights(name))
    return LoadedModel(
        model,
        classes=_imagenet_classes(model),
        pretrained=weights is not None,
        activation="softmax",
        **shown,
    )


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


def _timm(name: str, weights: str | None) -> LoadedModel:
    timm = _package("timm")
    _check_name("timm", name.partition(".")[0], timm.list_models())
    model = timm.create_model(name, pretrained=False)
    _load_weights(model, weights)
    config = _package("timm.data").resolve_model_data_config(model)
    size = config["input_size"][-1]
    return LoadedModel(
        model,
        preprocess=_normalised(mean=config["mean"], std=config["std"]),
        size=size,
        resize=math.floor(size / config["crop_pct"]),
        interpolation=config["interpolation"],
        classes=_imagenet_classes(model),
        pretrained=weights is not None,
        activation="softmax",
    )


def _demo(name: str, weights: str | None) -> LoadedModel:
    _check_name("demo-torch", name, ["efficientnet_lite0"])
    model = _package("timm").create_model("tf_efficientnet_lite0", pretrained=False)
    if weights is None:
        values = map(torch.from_numpy, demonstration_weights().values())
        # The file's names are another implementation's; its order is this one's.
        model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
    else:
        _load_weights(model, weights)
    return LoadedModel(
        model,
        preprocess=_normalised(mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
        size=224,
        resize=256,
        interpolation="bicubic",
        classes=_imagenet_classes(model),
        pretrained=True,
        default_layer="bn2",
        activation="softmax",
    )


def _program(path: str, weights: str | None) -> LoadedModel:
    if weights is not None:
        raise InputError(f"{path} holds its own weights; got weights={weights!r}.")
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


SCHEMES: Mapping[str, Callable[[str, str | None], LoadedModel]] = {
    "torchvision": _torchvision,
    "timm": _timm,
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


def _load_weights(model: nn.Module, path: str | None) -> None:
    if path is not None:
        with reading(Path(path), "a state dict as torch.save(model.state_dict(), path) writes it"):
            _fill(model, path, torch.load(path, map_location="cpu", weights_only=True))


def _fill(model: nn.Module, path: str, state: Any) -> None:
    """Load the state dict that the file at `path` holds, or say how it does not fit."""
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds a {type(state).__name__}; expected a state dict.")
    given = {key.removeprefix("module."): value for key, value in state.items()}
    own = model.state_dict()
    missing = [key for key in own if key not in given]
    unknown = [key for key in given if key not in own]
    sizes = [
        f"{key} {tuple(given[key].shape)} for {tuple(value.shape)}"
        for key, value in own.items()
        if key in given and given[key].shape != value.shape
    ]
    wrong = {"missing": missing, "not in the model": unknown, "of another shape": sizes}
    if any(wrong.values()):
        said = "; ".join(f"{len(v)} {kind}, such as {v[0]}" for kind, v in wrong.items() if v)
        raise InputError(
            f"The weights in {path} do not fit {type(model).__name__}: of its {len(own)} tensors "
            f"{said}. Give a state dict of this very architecture."
        )
    # As the model is to hold them: a number may be finite in float64 alone.
    held = {k: v if v.is_complex() else v.to(own[k].dtype) for k, v in given.items()}
    check_weights(path, {key: to_numpy(value) for key, value in held.items()})
    model.load_state_dict(given)


def _imagenet_classes(model: nn.Module) -> Sequence[str] | None:
    """List ImageNet's class names, if torchvision is there and the model has a thousand classes."""
    last = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not last or last[-1].out_features != 1000:
        return None
    return imagenet_classes()
