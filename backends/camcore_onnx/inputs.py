"""What a file is called with: any nest in, arrays by the file's own names out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ValueInfoProto, helper

from camcore.adapter import Array, Channels, LayerName
from camcore.errors import InputError, LayerError
from camcore.layers.names import listed
from camcore.mistakes import advice
from camcore.nest import flatten

from .graph import Graph, attributes


@dataclass(frozen=True)
class Given:
    """A batch as the file takes it.

    Parameters
    ----------
    feed : mapping of str to array
        By the file's names.
    names : mapping of str to str
        Those names by the paths in the nest that the user gave.
    """

    feed: Mapping[str, Array]
    names: Mapping[str, str]

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(next(iter(self.feed.values())))

    def rows(self, start: int, stop: int, times: int = 1) -> dict[str, Array]:
        """Take some samples, each so many times; what has no row for each is shared."""
        return {
            name: np.repeat(array[start:stop], times, axis=0) if self.batched(array) else array
            for name, array in self.feed.items()
        }

    def shapes(self, samples: int) -> list[tuple[int, ...]]:
        """List the arrays' shapes for a number of samples."""
        return [
            (samples, *array.shape[1:]) if self.batched(array) else array.shape
            for array in self.feed.values()
        ]

    def batched(self, array: Array) -> bool:
        """Tell whether an array has a row for each sample."""
        return bool(array.shape) and len(array) == self.samples

    def image(self, name: LayerName) -> str:
        """Find the file's name of the input that a layer's name means.

        Raises
        ------
        LayerError
            There is no such floating input.
        """
        floats = {p: n for p, n in self.names.items() if self.feed[n].dtype.kind == "f"}
        if name.input_path is not None and name.input_path in floats:
            return floats[name.input_path]
        images = [n for n in floats.values() if self.feed[n].ndim > 2] or list(floats.values())
        if name.input_path is not None or not images:
            raise LayerError(
                f"{str(name)!r}: the model is given no such floating array; it is given "
                f"{', '.join(map(repr, self.names)) or 'none'}. Choose a layer, or a method that "
                "alters inputs (method='occlusion')."
            )
        return images[0]


def prepare(graph: Graph, inputs: Any) -> Given:
    """Match what the user gives with the file's inputs, in the dtypes that it declares.

    Raises
    ------
    InputError
        There are more or fewer arrays, or some of another rank, size or dtype.
    """
    leaves = {path: leaf for path, leaf in flatten(inputs) if leaf is not None}
    if set(leaves) == set(graph.inputs):
        names = {path: path for path in leaves}
    elif len(leaves) == len(graph.inputs):
        names = dict(zip(leaves, graph.inputs, strict=True))
    else:
        count = len(graph.inputs)
        raise InputError(
            f"The model takes {count} {'input' if count == 1 else 'inputs'} ({_declared(graph)}), "
            f"and {len(leaves)} arrays were given: {listed(list(leaves)) or 'none'}. Give one for "
            "each, by name or in order; several images are one array, np.stack(images)."
        )
    paths = {name: path for path, name in names.items()}
    channels = input_channels(graph)
    feed = {n: _typed(_array(leaves[paths[n]]), one, channels) for n, one in graph.inputs.items()}
    return Given(feed, names)


def fixed_batch(graph: Graph) -> int | None:
    """Read how many samples the file takes at a time; None where it leaves that open."""
    return next(iter([*declared_lengths(next(iter(graph.inputs.values()))), None]))


def declared_lengths(declared: ValueInfoProto) -> list[int | None]:
    """List the lengths of an input's axes; None for those left open, where a file may say -1."""
    lengths = declared.type.tensor_type.shape.dim
    return [length.dim_value if length.dim_value > 0 else None for length in lengths]


def input_channels(graph: Graph) -> Channels:
    """Read where images have their channels: off the first transposition, else off the shape."""
    for one in graph.inputs.values():
        shape = declared_lengths(one)
        rank = len(shape)
        if rank < 3:
            continue
        turned = [n for n in graph.users[one.name] if n.op_type == "Transpose"]
        if any(attributes(n).get("perm") == [0, rank - 1, *range(1, rank - 1)] for n in turned):
            return "last"
        few = {1, 3, 4}
        return "last" if shape[-1] in few and shape[1] not in few else "first"
    return "first"


def _array(leaf: Any) -> Array:
    """Read an array, or a tensor of PyTorch wherever it is."""
    return np.asarray(leaf.detach().cpu() if hasattr(leaf, "detach") else leaf)


def _typed(array: Array, declared: ValueInfoProto, channels: Channels) -> Array:
    """Check an array's shape, and bring it to the dtype that the file declares."""
    kind = declared.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    lengths = declared_lengths(declared)
    free = zip(lengths[1:], array.shape[1:], strict=False)
    known = kind.HasField("shape")
    if not array.shape or not len(array):
        what = "holds no sample" if array.shape else "is a single number, not a batch"
        raise InputError(f"Input {declared.name!r} {what}. Give an array (B, ...).")
    if known and (len(lengths) != array.ndim or any(a not in (None, b) for a, b in free)):
        # Whatever number of samples the file takes, it is given them in batches of as many.
        said = advice(array.shape, dtype.name, [None, *lengths[1:]], channels)
        raise InputError(
            f"Input {declared.name!r} has shape {array.shape}; the file takes {_shape(declared)}. "
            f"{said}"
        )
    if array.dtype.kind == "c" and dtype.kind != "c":
        raise InputError(
            f"Input {declared.name!r} is of {dtype}, and what was given is complex. Give "
            "np.abs(images), or what the model was trained on."
        )
    if dtype.kind in "iu" and array.dtype.kind == "f" and (array != np.round(array)).any():
        raise InputError(
            f"Input {declared.name!r} is of {dtype}, and what was given has fractions. Give whole "
            "numbers."
        )
    return np.ascontiguousarray(array, dtype)


def _declared(graph: Graph) -> str:
    return ", ".join(f"{name!r} {_shape(one)}" for name, one in graph.inputs.items())


def _shape(declared: ValueInfoProto) -> str:
    names = [length.dim_param or "?" for length in declared.type.tensor_type.shape.dim]
    lengths = [n or name for n, name in zip(declared_lengths(declared), names, strict=True)]
    return f"({', '.join(map(str, lengths))})"
