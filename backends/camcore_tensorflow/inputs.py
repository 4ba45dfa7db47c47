"""What a model is called with: any nest in, typed tensors and their signature out."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from camcore._shared.programs import Shapes
from camcore.errors import InputError
from camcore.nest import fill, flatten


@dataclass(frozen=True)
class Signature:
    """Structure, shapes and dtypes of a model's inputs.

    Parameters
    ----------
    skeleton : nest
        The inputs' nest with the leaves' positions in place of the leaves.
    dtypes : tuple of tf.DType
        One for each leaf.
    shapes : Shapes
        One for each leaf; None is any size.
    batch : int
        Number of samples.
    training : bool or None
        What the model is told of `training`; None for nothing.
    """

    skeleton: Any
    dtypes: tuple[tf.DType, ...]
    shapes: Shapes
    batch: int
    training: bool | None = False

    @property
    def key(self) -> Hashable:
        """What inputs of different sizes have in common."""
        return repr(self.skeleton), self.dtypes, tuple(map(len, self.shapes)), self.training

    @property
    def specs(self) -> list[tf.TensorSpec]:
        """What TensorFlow calls it."""
        return list(map(tf.TensorSpec, self.shapes, self.dtypes))

    def sized(self, batch: int | None) -> Signature:
        """Return the signature for another number of samples; None is any."""
        shapes = tuple((batch, *s[1:]) if s[0] == self.batch else s for s in self.shapes)
        return replace(self, shapes=shapes, batch=self.batch if batch is None else batch)

    def batched(self, tensor: tf.Tensor) -> bool:
        """Tell whether the first axis of a tensor counts samples."""
        return bool(tensor.shape[0] == self.batch)

    def first(self, tensors: Iterable[tf.Tensor]) -> list[tf.Tensor]:
        """Return the first sample, as a batch of one."""
        return [tensor[:1] if self.batched(tensor) else tensor for tensor in tensors]

    def call(self, model: Any, tensors: Sequence[tf.Tensor]) -> Any:
        """Call the model on `tensors`, as its `call` wants them."""
        options = {} if self.training is None else {"training": self.training}
        inputs = fill(self.skeleton, iter(tensors))
        needed = [
            name
            for name, parameter in inspect.signature(model.call).parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            and name not in ("training", "mask")
        ]
        several = len(needed) > 1
        if several and isinstance(inputs, Mapping):
            return model(**inputs, **options)
        arguments = inputs if several and isinstance(inputs, (tuple, list)) else [inputs]
        return model(*arguments, **options)


def prepare(model: Any, inputs: Any) -> tuple[dict[str, tf.Tensor], Signature]:
    """Turn what the model takes into tensors by path, in the dtypes the model wants.

    Raises
    ------
    InputError
        There is no array, or one without a batch axis.
    """
    leaves = {path: leaf for path, leaf in flatten(inputs) if leaf is not None}
    declared, floating = _declared_dtypes(model, list(leaves)), tf.as_dtype(model.variable_dtype)
    tensors = {path: _typed(leaf, declared.get(path), floating) for path, leaf in leaves.items()}
    if not tensors:
        raise InputError(f"The inputs hold no array: {inputs!r}. Give what the model takes.")
    for path, tensor in tensors.items():
        if not tensor.shape.rank:
            raise InputError(
                f"Input {path!r} is a single number, not a batch. Give arrays of shape (B, ...)."
            )
    skeleton = fill(inputs, iter(range(len(tensors))))
    dtypes = tuple(tensor.dtype for tensor in tensors.values())
    shapes = tuple(tuple(tensor.shape) for tensor in tensors.values())
    return tensors, Signature(skeleton, dtypes, shapes, shapes[0][0])


def _declared_dtypes(model: Any, paths: Sequence[str]) -> dict[str, tf.DType]:
    """Read the dtypes of a functional model's own inputs; other models declare none."""
    nest = getattr(model, "input", None)
    symbolic = {path: leaf for path, leaf in flatten(nest) if leaf is not None}
    dtypes = (tf.as_dtype(tensor.dtype) for tensor in symbolic.values())
    names = symbolic if set(symbolic) == set(paths) else paths
    return dict(zip(names, dtypes, strict=True)) if len(symbolic) == len(paths) else {}


def _typed(leaf: Any, declared: tf.DType | None, floating: tf.DType) -> tf.Tensor:
    tensor = leaf if tf.is_tensor(leaf) else np.asarray(leaf)
    given = tf.as_dtype(tensor.dtype)
    dtype = declared if given.is_integer and declared and declared.is_floating else given
    if given.is_floating:
        dtype = declared or floating
    return tf.cast(tensor, dtype)
