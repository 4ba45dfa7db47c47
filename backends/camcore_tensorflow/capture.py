"""What is captured of a layer, and the floating tensors in what a layer returned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import tensorflow as tf

from camcore.adapter import LayerName
from camcore.errors import LayerError
from camcore.layers.leaves import absent
from camcore.layers.names import not_rectified
from camcore.nest import flatten, map_leaves

# What a layer gave, call by call; None where that was no floating tensor.
Calls: TypeAlias = list[tf.Tensor | None]

# The floating tensors of what a layer returned, by path.
Leaves: TypeAlias = Mapping[str, tf.Tensor]

# Which calls to look at: the layer's identity, and what of it is meant.
Key: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Capture:
    """A layer to capture.

    Parameters
    ----------
    name : LayerName
        The name asked for: of what the layer returns or a leaf of that, of that ``activated`` by
        a function of the model, of its ``attention``, or of its ``linear`` part, which is what
        its own activation function is applied to.
    layer : keras.Layer or None
        The layer; None for the model's own input.
    """

    name: LayerName
    layer: Any

    @property
    def key(self) -> Key:
        """What captures have in common that differ only in the call."""
        return id(self.layer), self.name.part

    def choose(self, calls: Calls, returned: Leaves = MappingProxyType({})) -> tf.Tensor:
        """Choose the call meant out of all calls of the layer, which `returned` several tensors.

        Raises
        ------
        LayerError
            The layer did not run, not as often as asked, or returned no floating tensor.
        """
        if self.layer is None and not calls:
            raise LayerError(
                f"The model's inputs hold no floating array at {self.name.input_path!r}."
                if self.name.input_path
                else "The model's inputs hold no floating array, so there are no gradients at "
                "them. Choose the layer that embeds them, or a method that reads a layer "
                "(method='gradcam') or alters inputs (method='occlusion')."
            )
        tensor = calls[self.name.index(len(calls))]
        if tensor is None and self.name.part == "activated":
            raise not_rectified(self.name)
        if tensor is None and self.name.part and not self.name.is_input:
            raise absent(str(self.name), {path: tuple(t.shape) for path, t in returned.items()})
        if tensor is None:
            raise LayerError(
                f"Layer {str(self.name)!r} gave no floating tensor. Choose another one."
            )
        return tensor


def floating_tensors(nest: Any) -> list[tf.Tensor]:
    """List the floating tensors of a nest, in order."""
    return list(floating_leaves(nest).values())


def floating_leaves(nest: Any) -> dict[str, tf.Tensor]:
    """List the floating tensors of a nest by path, in order."""
    return {
        path: leaf
        for path, leaf in flatten(nest)
        if isinstance(leaf, tf.Tensor) and leaf.dtype.is_floating
    }


def replace_tensor(nest: Any, old: tf.Tensor, new: tf.Tensor) -> Any:
    """Put another tensor in the place of one of a nest, with its Keras mask."""
    if (mask := getattr(old, "_keras_mask", None)) is not None:
        new._keras_mask = mask
    return map_leaves(nest, lambda _, leaf: new if leaf is old else leaf)


def reachable(start: Iterable[Any], following: Callable[[Any], Iterable[Any]]) -> dict[int, Any]:
    """Collect the tensors or operations that steps lead to from `start`, by their ids."""
    found, todo = {}, list(start)
    while todo:
        if id(item := todo.pop()) not in found:
            found[id(item)] = item
            todo.extend(following(item))
    return found


def edge(tensor: tf.Tensor) -> tf.Tensor:
    """Cast half precision to float32: NumPy has no bfloat16, and no use for float16."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor
