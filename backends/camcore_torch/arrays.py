"""Where tensors become NumPy arrays, and what a model takes becomes tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from camcore.adapter import Array
from camcore.errors import InputError
from camcore_torch import nest
from camcore_torch.naming import is_keras


def to_numpy(tensor: torch.Tensor, *, copy: bool = False) -> Array:
    """Array of a tensor; half precision becomes float32, and memory is shared unless `copy`."""
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    array: Array = tensor.numpy(force=True)
    return array.copy() if copy else array


def leaves(inputs: Any) -> dict[str, Array]:
    """The nest's tensors as arrays, by path; a list of images is one, by the list's path."""
    found: dict[str, Array] = {}
    for path, leaf in _tensors(inputs):
        images = images_at(inputs, path)
        if images is None:
            found[path] = to_numpy(leaf)
        elif path.endswith(".0"):
            found[path.rpartition(".")[0]] = np.stack([to_numpy(image) for image in images])
    return found


def outputs(returned: Any, scores: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """What the model returned, by path, as arrays of their own; of its floating tensors, `scores`.

    Copies: neither a seed nor a later call of the model may reach into these.
    """
    return {path: to_numpy(scores.get(path, leaf), copy=True) for path, leaf in _tensors(returned)}


def images_at(inputs: Any, path: str) -> list[torch.Tensor] | None:
    """The list of images among the arguments that the tensor at `path` belongs to, if any."""
    where, _, last = path.rpartition(".")
    if not where or not last.isdecimal():
        return None
    holder = nest.at(inputs, where)
    listed = isinstance(holder, list) and all(
        isinstance(image, torch.Tensor) and image.ndim == 3 for image in holder
    )
    return holder if listed else None


def takes_images(model: nn.Module) -> bool:
    """Tell whether the model's first argument is a list of images, as detectors take it."""
    first = next(iter(inspect.signature(model.forward).parameters.values()), None)
    return first is not None and (
        first.name == "images"
        or str(first.annotation).lower().removeprefix("typing.")[:4] == "list"
    )


def versions(inputs: Any) -> list[int]:
    """How often each of the nest's tensors was written to."""
    return [version(leaf) for _, leaf in _tensors(inputs)]


def version(tensor: torch.Tensor) -> int:
    """How often a tensor was written to; one of inference mode does not count it."""
    return 0 if tensor.is_inference() else tensor._version


def _tensors(inputs: Any) -> list[tuple[str, torch.Tensor]]:
    return [(p, leaf) for p, leaf in nest.flatten(inputs) if isinstance(leaf, torch.Tensor)]


def prepare(model: nn.Module, inputs: Any) -> Any:
    """Inputs as tensors of their own, on the model's device and in its floating dtype.

    They are copies, so a model that works in place does not reach the caller's data.
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

    return nest.transform(inputs, own)


def _weights(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _tensor(array: Array, path: str) -> torch.Tensor:
    """Copy of an array."""
    try:
        # PyTorch takes no foreign byte order or negative strides, and warns of read-only memory.
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
    except TypeError as error:
        where = f" at {path!r}" if path else ""
        raise InputError(
            f"The input{where} is an array of {array.dtype}, which PyTorch has no tensor for; "
            "give numbers."
        ) from error


def first_sample(inputs: Any) -> Any:
    """Inputs of the first sample alone.

    Batches are cut along their first axis; a list among the arguments holds one
    entry for each sample (detectors take images of different sizes so).
    """
    return _per_sample(inputs, lambda tensor: tensor[:1], lambda samples: samples[:1])


def expand(inputs: Any, times: int) -> Any:
    """Inputs of one sample, `times` over, without copying."""
    return _per_sample(
        inputs,
        lambda tensor: tensor.expand(times, *tensor.shape[1:]) if len(tensor) == 1 else tensor,
        lambda samples: samples * times,
    )


def clone(inputs: Any) -> Any:
    """Nest whose tensors have memory of their own."""
    return nest.transform(
        inputs, lambda _, value: value.clone() if isinstance(value, torch.Tensor) else value
    )


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
        return nest.map_parts(value, visit)

    is_nest = not isinstance(inputs, torch.Tensor)
    return nest.map_parts(inputs, visit) if is_nest else visit(None, inputs)


def call(model: nn.Module, inputs: Any) -> Any:
    """Run the model: a mapping is its keyword arguments, a tuple or list its arguments.

    A Keras model takes several inputs as one nest, unless its ``call`` has an argument for each.
    """
    if is_keras(model):
        inference = {"training": False}
        if _wants_several(model) and isinstance(inputs, Mapping):
            return model(**inputs, **inference)
        several = _wants_several(model) and isinstance(inputs, (list, tuple))
        return model(*inputs, **inference) if several else model(inputs, **inference)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (list, tuple)):
        return model(*inputs)
    return model(inputs)


def _wants_several(model: Any) -> bool:
    """Whether a Keras model's ``call`` has more than one argument for inputs."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD,)
    named = inspect.signature(model.call).parameters.items()
    wanted = [
        name
        for name, parameter in named
        if parameter.kind in kinds and parameter.default is parameter.empty
    ]
    return len(set(wanted) - {"training", "mask"}) > 1
