"""Load ONNX files, with what shows them a photograph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from onnx import TensorProto

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.photos.preprocessing import Preprocessing
from camcore.registry import LoadedModel
from camcore.zoo import demonstration, demonstration_weights, unit_scaled, unknown_model

from .inputs import declared_lengths, input_channels
from .sessions import Runtime
from .source import model_of
from .zoo_efficientnet_lite import efficientnet_lite0

_WHOLE = (
    TensorProto.UINT8,
    TensorProto.INT8,
    TensorProto.UINT16,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
)


def load(
    scheme: str, name: str, weights: str | None = None, *, device: str | None = None
) -> LoadedModel:
    """Read a file, and describe how photographs are shown to it.

    A file does not say how pixels are scaled: where it takes floats it is given RGB in [0, 1],
    where it takes whole numbers RGB from 0 to 255.

    Parameters
    ----------
    scheme : {"onnx", "demo-onnx"}
        ``onnx:PATH`` is a file; ``demo-onnx:efficientnet_lite0`` has ImageNet weights from a
        package.
    name : str
        The path of an ``.onnx`` file, or the model's name.
    weights : None
        A file holds its own.
    device : str, optional
        As `Runtime.on` takes it; the processor unless given.

    Raises
    ------
    InputError
        Weights are given, the file cannot be read, or there is no such device.
    """
    if scheme not in ("onnx", "demo-onnx"):
        raise InputError(f"Unknown scheme {scheme!r}; there are onnx and demo-onnx.")
    if weights is not None:
        raise InputError(f"An ONNX file holds its own weights; leave out weights={weights!r}.")
    runtime = Runtime() if device is None else Runtime.on(device)
    if scheme == "demo-onnx":
        if name != "efficientnet_lite0":
            raise unknown_model(scheme, name, ["efficientnet_lite0"])
        model = model_of(efficientnet_lite0(demonstration_weights().values()), runtime)
        return demonstration(model, channels_first=True)
    model = model_of(name, runtime)
    first = input_channels(model.graph) == "first"
    first_input = next(iter(model.graph.inputs.values()))
    shape = declared_lengths(first_input)
    channels, *size = (shape[1:] if first else [shape[-1], *shape[1:-1]]) or [0]
    loaded = unit_scaled(model, channels_first=first, size=size[0] if size else None)
    is_grey, is_whole = channels == 1, first_input.type.tensor_type.elem_type in _WHOLE
    if not is_grey and not is_whole:
        return loaded
    preprocessing = Preprocessing(
        loaded.size,
        loaded.resize,
        mode=_as_they_are if is_whole else _in_unit,
        channels_first=first,
        grey=is_grey,
    )
    colours, most = "grey" if is_grey else "RGB", 255 if is_whole else 1
    return replace(
        loaded,
        preprocess=preprocessing.prepare,
        assumed=f"{colours} from 0 to {most}, {loaded.size}×{loaded.size}",
    )


def _as_they_are(batch: Array) -> Any:
    return batch.round()


def _in_unit(batch: Array) -> Any:
    return batch / 255
