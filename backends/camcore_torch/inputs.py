"""Turn what a model takes into tensors, tensors into NumPy arrays, and call the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.nest import flatten, inner_images, map_leaves, map_parts
from camcore_torch.layers import is_keras


def to_numpy(tensor: torch.Tensor, *, copy: bool = False) -> Array:
    """Make an array of a tensor; half precision becomes float32, memory is shared unless `copy`."""
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    array: Array = tensor.numpy(force=True)
    return array.copy() if copy else array


def leaves(inputs: Any) -> dict[str, Array]:
    """List the tensors of the inputs as arrays by path; a list of images is one array."""
    found: dict[str, Array] = {}
    for path, leaf in flatten(inputs, is_leaf=inner_images):
        if isinstance(leaf, list):
            found[path] = np.stack([to_numpy(image) for image in leaf])
        elif isinstance(leaf, torch.Tensor):
            found[path] = to_numpy(leaf)
    return found


def outputs(returned: Any, scores: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """List what the model returned as arrays by path; of its floating tensors, the `scores`.

    Copies: neither a seed nor a later call of the model may reach into these.
    """
    return {path: to_numpy(scores.get(path, t), copy=True) for path, t in tensors(returned)}


def tensors(nest: Any) -> list[tuple[str, torch.Tensor]]:
    """List the tensors of a nest with their paths."""
    return [(path, leaf) for path, leaf in flatten(nest) if isinstance(leaf, torch.Tensor)]


def floating(nest: Any) -> dict[str, torch.Tensor]:
    """List the floating tensors of a nest by path, and quantised ones, which stand for such."""
    return {path: t for path, t in tensors(nest) if t.is_floating_point() or t.is_quantized}


def first_floating(nest: Any) -> tuple[str, torch.Tensor] | None:
    """Find the first floating tensor of a nest, and its path."""
    return next(iter(floating(nest).items()), None)


def takes_images(model: nn.Module) -> bool:
    """Tell whether the model's first argument is a list of images, as detectors take it."""
    first = next(iter(inspect.signature(model.forward).parameters.values()), None)
    return first is not None and (
        first.name == "images"
        or str(first.annotation).lower().removeprefix("typing.")[:4] == "list"
    )


def image_shape(model: nn.Module) -> tuple[int | None, ...] | None:
    """Read what images the model takes, ``(B, C, *S)``, as far as its modules say; else None."""
    if is_keras(model):
        return None  # which declares it itself
    convolutions = (m for m in model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d)))
    first = next(convolutions, None)
    if first is None:
        return None
    rank = len(first.kernel_size)
    homes = (getattr(model, "patch_embed", None), model, getattr(model, "config", None))
    sizes = (getattr(home, name, None) for home in homes for name in ("img_size", "image_size"))
    side = next((size for size in sizes if size is not None), None)
    sides = list(side) if isinstance(side, (list, tuple)) else [side] * rank
    return (None, first.in_channels, *(sides if len(sides) == rank else [None] * rank))


def versions(inputs: Any) -> list[int]:
    """Count how often each tensor of a nest was written to."""
    return [version(tensor) for _, tensor in tensors(inputs)]


def version(tensor: torch.Tensor) -> int:
    """Count how often a tensor was written to; one of inference mode does not say."""
    return 0 if tensor.is_inference() else tensor._version


def prepare(model: nn.Module, inputs: Any) -> Any:
    """Copy the inputs as tensors, on the model's device and in its floating dtype.

    A model that works in place does not reach the caller's data so.
    """
    device = next((t.device for t in _weights(model)), torch.device("cpu"))
    dtype = next((t.dtype for t in _weights(model) if t.is_floating_point()), None)

    def own(path: str, value: Any) -> Any:
        is_tensor = isinstance(value, torch.Tensor)
        if not is_tensor and not hasattr(value, "__array__"):
            return value
        tensor = value.detach() if is_tensor else _tensor(np.asarray(value), path)
        cast = dtype if tensor.is_floating_point() else None
        return tensor.to(device, cast, copy=is_tensor)

    return map_leaves(inputs, own)


def _weights(model: nn.Module) -> Iterator[torch.Tensor]:
    return chain(model.parameters(), model.buffers())


def _tensor(array: Array, path: str) -> torch.Tensor:
    """Copy an array into a tensor."""
    try:
        # PyTorch takes no foreign byte order or negative strides, and warns of read-only memory.
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
    except TypeError as error:
        where = f" at {path!r}" if path else ""
        raise InputError(
            f"The input{where} is an array of {array.dtype}, which PyTorch has no tensor for. "
            "Give numbers."
        ) from error


def first_sample(inputs: Any) -> Any:
    """Cut out the first sample, batch axis kept.

    Batches are cut along their first axis; a list among the arguments holds one
    entry for each sample (detectors take images of different sizes so).
    """
    return _per_sample(inputs, lambda tensor: tensor[:1], lambda samples: samples[:1])


def expand(inputs: Any, times: int, axis: int = 0) -> Any:
    """Repeat the tensors of one sample, without copying: the first axis, or else this one."""

    def expanded(tensor: torch.Tensor) -> torch.Tensor:
        at = 0 if len(tensor) == 1 else axis
        if tensor.shape[at : at + 1] != (1,):
            return tensor
        return tensor.expand(*tensor.shape[:at], times, *tensor.shape[at + 1 :])

    return _per_sample(inputs, expanded, lambda samples: samples * times)


def clone(inputs: Any) -> Any:
    """Copy a nest's tensors."""
    return map_leaves(inputs, lambda _, v: v.clone() if isinstance(v, torch.Tensor) else v)


def _per_sample(
    inputs: Any,
    of_batch: Callable[[torch.Tensor], torch.Tensor],
    of_list: Callable[[list[Any]], list[Any]],
) -> Any:
    def visit(_: Any, value: Any) -> Any:
        if isinstance(value, list):
            return of_list(value)
        if isinstance(value, torch.Tensor):
            return of_batch(value) if value.ndim else value
        return map_parts(value, visit)

    is_nest = not isinstance(inputs, torch.Tensor)
    return map_parts(inputs, visit) if is_nest else visit(None, inputs)


def call(model: nn.Module, inputs: Any) -> Any:
    """Run the model: a mapping is its keyword arguments, a tuple or list its arguments.

    A Keras model takes several inputs as one nest, unless its ``call`` has an argument for each.
    """
    options = {"training": False} if is_keras(model) else {}
    spread = not options or _wants_several(model)
    if spread and isinstance(inputs, Mapping):
        return model(**inputs, **options)
    if spread and isinstance(inputs, (list, tuple)):
        return model(*inputs, **options)
    return model(inputs, **options)


def _wants_several(model: Any) -> bool:
    """Tell whether a Keras model's ``call`` has more than one argument for inputs."""
    wanted = {
        name
        for name, parameter in inspect.signature(model.call).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.default is parameter.empty
    }
    return len(wanted - {"training", "mask"}) > 1
