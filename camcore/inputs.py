"""What a model is given, read once: its nest, and the one array in it that has spatial extent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.adapter import INPUT, Adapter, Array, Channels, Leaves, Trace
from camcore.errors import InputError
from camcore.input_layout import InputLayout
from camcore.nest import flatten, inner_images, lists_images, map_leaves, shape_of


@dataclass(frozen=True)
class Inputs:
    """A batch as the model takes it.

    Parameters
    ----------
    native : array, tensor, or nest of these
        In the framework's own types; a detector's list of images is one argument.
    channels : {"first", "last"}
        Where the model takes the channel axis of an image.
    arrays : mapping of str to (B, ...) array
        The same as NumPy arrays by path, once a pass has made them; see `traced`.
    chosen : str or None
        Path of the array that maps lie over; None for the first with spatial extent.
    said : InputLayout or None
        The axes of that array, where the user says them or the model has shown them; else they
        are as the framework has them in images.
    shared : frozenset of str
        Paths of arrays as long as the batch that are nevertheless not one row a sample, such
        as as many texts that each image is compared with.
    """

    native: Any
    channels: Channels
    arrays: Leaves = field(default_factory=dict)
    chosen: str | None = None
    said: InputLayout | None = None
    shared: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        inputs: Any,
        adapter: Adapter,
        chosen: str | None = None,
        layout: InputLayout | None = None,
    ) -> Inputs:
        """Read what a user gives for the adapter's model."""
        if lists_images(inputs) and adapter.takes_images:
            inputs = (inputs,)
        return cls(inputs, adapter.input_channels, chosen=chosen, said=layout)

    def traced(self, trace: Trace) -> Inputs:
        """Take the arrays that a pass has made of these inputs."""
        return replace(self, arrays=trace.inputs)

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each array by path.

        Raises
        ------
        InputError
            The images of one list differ in size.
        """
        return {path: _shape(leaf) for path, leaf in flatten(self.native, is_leaf=_is_leaf)}

    @cached_property
    def pictures(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each array with spatial extent by path: of three axes, or as many as said."""
        least = 3 if self.said is None else min(3, len(self.said.axes))
        return {path: shape for path, shape in self.shapes.items() if len(shape) >= least}

    @cached_property
    def path(self) -> str | None:
        """Path of the array with spatial extent that is chosen, else of the first, or None.

        Raises
        ------
        InputError
            What is chosen is none of them, or none has as many axes as the user says.
        """
        if self.chosen is not None and self.chosen not in self.pictures:
            raise InputError(
                f"There is no input {self.chosen!r} with spatial extent for a map to lie over; "
                f"the model is given {listed(self.shapes)}."
            )
        if self.said is None:
            return next(iter(self.pictures), None) if self.chosen is None else self.chosen
        rank = len(self.said.axes)
        for path, shape in self.pictures.items():
            if self.chosen in (None, path) and len(shape) == rank:
                return path
        shapes = ", ".join(map(str, self.shapes.values()))
        raise InputError(
            f"input_layout={self.said.axes!r} names {rank} axes; the model's inputs have the "
            f"shapes {shapes}. Name each axis of the one that the map shall lie over."
        )

    @property
    def name(self) -> str:
        """What an adapter calls that array."""
        return f"{INPUT}.{self.chosen}" if self.chosen else INPUT

    @cached_property
    def layout(self) -> InputLayout:
        """The axes of that array."""
        if self.said is not None:
            return self.said
        return InputLayout.usual(len(self.shapes[self.image_path()]), self.channels)

    @cached_property
    def size(self) -> tuple[int, ...]:
        """Spatial size of that array; empty where there is none."""
        return () if self.path is None else self.layout.size(self.shapes[self.path])

    @cached_property
    def batch(self) -> int:
        """Number of samples."""
        path = self.path if self.path is not None else next(iter(self.shapes))
        return self.shapes[path][0]

    def image_path(self) -> str:
        """Name the path of the array with spatial extent, for methods that alter it.

        Raises
        ------
        InputError
            No array has any.
        """
        if self.path is None:
            shapes = ", ".join(map(str, self.shapes.values()))
            raise InputError(
                f"The method alters images, but the model's inputs have the shapes {shapes}. "
                "Choose a method that reads a layer: method='gradcam'; or say which axes are "
                "spatial, as in input_layout='BT'."
            )
        return self.path

    @cached_property
    def by_sample(self) -> frozenset[str]:
        """Paths of the arrays with one row a sample; the others are all samples' alike."""
        alike = {path for path, shape in self.shapes.items() if shape[:1] == (self.batch,)}
        return frozenset(alike - self.shared)

    def sample(self, index: int) -> Inputs:
        """Cut out one sample, batch axis kept."""

        def cut(path: str, leaf: Any) -> Any:
            return leaf[index : index + 1] if path in self.by_sample else leaf

        return self._of(map_leaves(self.native, cut, is_leaf=_is_leaf))

    def with_images(
        self, images: Array, samples: int | npt.NDArray[np.int64] | None = None
    ) -> Inputs:
        """Put other images in place of the array with spatial extent.

        Parameters
        ----------
        images : (N, ...) array
            In the model's own layout.
        samples : int, (N,) int array or None
            The sample that all images, or each of them, are alterations of: its rows of the
            other arrays are repeated to match. Without, the images are the whole batch.
        """
        images_at = self.image_path()
        rows = None if samples is None else np.broadcast_to(samples, len(images))

        def other(path: str, leaf: Any) -> Any:
            if path == images_at:
                return list(images) if isinstance(leaf, list) else images
            if rows is None or path not in self.by_sample:
                return leaf
            if isinstance(leaf, (list, tuple)):
                chosen = [leaf[row] for row in rows]
                return chosen if isinstance(leaf, list) else tuple(chosen)
            return self.arrays[path][rows] if path in self.arrays else leaf

        return self._of(map_leaves(self.native, other, is_leaf=_is_leaf))

    def _of(self, native: Any) -> Inputs:
        """Read others of the same structure."""
        return replace(self, native=native, arrays={})


def listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Join arrays for a message, by path and shape."""
    return ", ".join(f"{path!r} {shape}" for path, shape in shapes.items())


def _is_leaf(path: str, part: Any) -> bool:
    """Tell whether a list is one array: of images, or of plain numbers."""
    numbers = isinstance(part, (list, tuple)) and all(map(np.isscalar, part))
    return numbers or inner_images(path, part)


def _shape(leaf: Any) -> tuple[int, ...]:
    if not lists_images(leaf):
        return shape_of(leaf)
    sizes = list(dict.fromkeys(map(shape_of, leaf)))
    if len(sizes) > 1:
        raise InputError(
            f"The images of one batch have shapes {', '.join(map(str, sizes))}; their maps "
            "would not be one array. Bring them to one size, or explain them one by one."
        )
    return (len(leaf), *sizes[0])
