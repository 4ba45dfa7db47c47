"""Which axes of a model's input are spatial, and which one holds channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from camcore.adapter import Array, Channels
from camcore.errors import InputError

_SPATIAL = {0: "", 1: "T", 2: "HW", 3: "DHW"}


@dataclass(frozen=True)
class InputLayout:
    """The axes of an input, a letter each.

    Parameters
    ----------
    axes : str
        ``B`` for the batch, first; ``C`` for channels, where there are any; every other
        letter is a spatial axis: ``"BCHW"``, ``"BHWC"``, ``"BHW"``, ``"BTCHW"``.

    Raises
    ------
    InputError
        The letters name no such axes.
    """

    axes: str

    def __post_init__(self) -> None:
        axes = self.axes
        fault = ""
        if not isinstance(axes, str) or not (axes.isascii() and axes.isalpha()):
            fault = "is no string of letters"
        elif not axes.isupper():
            fault = "has small letters"
        elif axes[0] != "B":
            fault = "does not begin with the batch, B"
        elif len(set(axes)) < len(axes):
            fault = "names an axis twice"
        elif not self.spatial:
            fault = "has no spatial axis"
        if fault:
            raise InputError(
                f"input_layout={axes!r} {fault}. Name the input's axes in order, a letter each: B "
                "for the batch, C for channels, any other for a spatial axis, as in 'BCHW', "
                "'BHWC', 'BHW' or 'BTCHW'."
            )

    @classmethod
    @cache
    def of(cls, rank: int, channel: int | None) -> InputLayout:
        """Name the axes of an array of `rank` axes with its channels at the axis `channel`."""
        count = rank - 1 - (channel is not None)
        letters = _SPATIAL.get(count, "DEFGHIJKLM"[:count])
        at = rank if channel is None else channel
        return cls(f"B{letters[: at - 1]}{'' if channel is None else 'C'}{letters[at - 1 :]}")

    @classmethod
    def usual(cls, rank: int, channels: Channels) -> InputLayout:
        """Name the axes of an array of images as a framework has them."""
        return cls.of(rank, 1 if channels == "first" else rank - 1)

    @cached_property
    def channel(self) -> int | None:
        """Where the channel axis is; None where there is none."""
        return self.axes.index("C") if "C" in self.axes else None

    @cached_property
    def spatial(self) -> tuple[int, ...]:
        """Where the spatial axes are."""
        return tuple(i for i, letter in enumerate(self.axes) if letter not in "BC")

    def size(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Read the spatial size off an array's shape."""
        return tuple(shape[axis] for axis in self.spatial)

    def canonical(self, array: Array) -> Array:
        """View an array of this layout as ``(B, C, *S)``; C is 1 where it has no channel axis."""
        return array[:, None] if self.channel is None else np.moveaxis(array, self.channel, 1)

    def native(self, images: Array) -> Array:
        """Undo `canonical`: view ``(N, C, *S)`` in this layout."""
        return images[:, 0] if self.channel is None else np.moveaxis(images, 1, self.channel)
