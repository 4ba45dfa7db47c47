"""Resize arrays of any rank, by the convention of any library.

Interpolation is separable: along one axis it is a small matrix of weights, so a
resize is one product per axis. Libraries differ only in where an output sample
falls on the input axis, in the kernel, and in what happens at the border; each of
these is a field of `Interpolation`, and `PEERS` names the combinations that recipes use.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite, without_overflow
from camcore.adapter import Array
from camcore.errors import InputError

Kind: TypeAlias = Literal["nearest", "linear", "cubic", "spline"]
Coordinates: TypeAlias = Literal["half_pixel", "align_corners", "asymmetric"]
Border: TypeAlias = Literal["clamp", "renormalise"]
Arithmetic: TypeAlias = Literal["exact", "float64", "fused", "float32"]

_Axis: TypeAlias = tuple[int, int]

# Up to here a dense product beats gathering the taps, even with two taps a sample.
_DENSE_LENGTH = 64

# Beyond these a size is a mistake, or asks for more memory than a map can be worth.
_LONGEST: Final = 2**27
_LARGEST: Final = 2**32

# Where rounding happens: to the scale, to its product with the index, to the result.
_ROUNDING: Final[Mapping[str, tuple[type[np.floating[Any]], ...]]] = {
    "float64": (np.float64, np.float64, np.float64),
    "fused": (np.float32, np.float64, np.float32),
    "float32": (np.float32, np.float32, np.float32),
}


@dataclass(frozen=True)
class Interpolation:
    """How values between samples are computed.

    Parameters
    ----------
    kind : {"nearest", "linear", "cubic", "spline"}
        The kernel: the closest sample, a straight line between two, Keys' cubic
        convolution over four, or the cubic spline through all of them, mirrored at the
        edges whatever `border` says.
    coordinates : {"half_pixel", "align_corners", "asymmetric"}
        Where output sample `i` falls on an axis resized from `n` to `m`:
        ``(i + 1/2) n/m - 1/2``, ``i (n - 1)/(m - 1)`` (0 where ``m = 1``), or
        ``i n/m``. Nearest rounds it, halves upwards; asymmetric nearest rounds down.
    cubic_coefficient : float
        Keys' `a`, the slope of the kernel at distance 1, in [-3, 0]. OpenCV and
        PyTorch take -0.75; TensorFlow, like Keys, -0.5.
    border : {"clamp", "renormalise"}
        Taps beyond the edge repeat the edge, or are left out and the remaining
        weights scaled to sum to one (where none remain, the edge is repeated).
    arithmetic : {"exact", "float64", "fused", "float32"}
        The precision in which a library computes the coordinate. It moves values
        by less than 1e-6 on maps up to a few dozen samples long, by about 1e-5 on
        photographs, and nearest by a whole sample at some ties. ``"exact"`` divides
        whole numbers and so meets every tie. The others round the scale `n/m`, its
        product with `i`, and the coordinate: to double throughout (``"float64"``), to
        single throughout (``"float32"``), or the product alone not at all, as a
        fused multiply-add does (``"fused"``).
    phases : int or None
        Round the fraction of a coordinate to multiples of ``1/phases``. TensorFlow
        looks cubic weights up in a table of 1024, which moves values by up to 1e-3.

    Raises
    ------
    InputError
        A field has a value other than those listed.

    See Also
    --------
    PEERS : settings that equal a library's.

    References
    ----------
    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE
    Transactions on Acoustics, Speech, and Signal Processing 29(6), 1981, eq. 15
    where ``a = -1/2``.
    """

    kind: Kind = "linear"
    coordinates: Coordinates = "half_pixel"
    cubic_coefficient: float = -0.75
    border: Border = "clamp"
    arithmetic: Arithmetic = "exact"
    phases: int | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise InputError(
                    f"Interpolation {name}={value!r} is unknown; choose from "
                    f"{', '.join(map(repr, choices))}."
                )
        # Beyond these the kernel loses its positive core and weights may sum to zero.
        if not -3 <= self.cubic_coefficient <= 0:
            raise InputError(
                f"Interpolation cubic_coefficient={self.cubic_coefficient!r} is outside "
                "[-3, 0]; use -0.75 (OpenCV, PyTorch) or -0.5 (TensorFlow, Keys)."
            )
        if self.phases is not None and self.phases < 1:
            raise InputError(
                f"Interpolation phases={self.phases!r} is not positive; use None for no "
                "rounding, or 1024 for TensorFlow's table."
            )

    def __str__(self) -> str:
        kind = f"cubic (a = {self.cubic_coefficient:g})" if self.kind == "cubic" else self.kind
        return f"{kind}, {self.coordinates.replace('_', ' ')}"


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "kind": get_args(Kind),
    "coordinates": get_args(Coordinates),
    "border": get_args(Border),
    "arithmetic": get_args(Arithmetic),
}

LINEAR: Final = Interpolation()
"""Linear with half-pixel centres, the default everywhere in camcore."""

PEERS: Final[Mapping[str, Interpolation]] = MappingProxyType(
    {
        "opencv-linear": LINEAR,
        "torch-nearest": Interpolation("nearest", "asymmetric", arithmetic="float32"),
        "torch-linear": Interpolation(arithmetic="fused"),
        "torch-linear-aligned": Interpolation("linear", "align_corners", arithmetic="float32"),
        "tensorflow-cubic": Interpolation(
            "cubic",
            cubic_coefficient=-0.5,
            border="renormalise",
            arithmetic="float32",
            phases=1024,
        ),
        "scipy-linear": Interpolation("linear", "align_corners"),
        "scipy-spline": Interpolation("spline", "align_corners"),
    }
)
"""Settings that equal a library's, by library and mode.

- ``opencv-linear``: ``cv2.resize`` of floats, ``INTER_LINEAR``.
- ``torch-*``: ``torch.nn.functional.interpolate`` of float32 without antialiasing, one to
  three dimensions; ``-aligned`` is ``align_corners=True``. PyTorch interpolates float64
  linearly with exact coordinates.
- ``tensorflow-cubic``: ``tf.image.resize`` without antialiasing.
- ``scipy-linear``: ``scipy.ndimage.zoom`` with ``order=1, mode="nearest"``. Its default
  mode is the same, save that rounding puts the last sample beyond the edge at some
  sizes, such as 30 to 15, and zeroes it. ``scipy-spline``: with ``order=3``, its default.
"""


def resize(
    array: npt.ArrayLike,
    size: Sequence[int],
    interpolation: Interpolation = LINEAR,
    *,
    leading: int | None = None,
) -> Array:
    """Resize the last axes of an array.

    A batch equals its samples. Nothing is smoothed before it is made smaller.

    Parameters
    ----------
    array : (..., *S) array
        Finite real values in any range, of any spatial rank; it is not altered.
    size : sequence of int
        The new lengths of the last ``len(size)`` axes, `T`.
    interpolation : Interpolation
        The convention; `PEERS` has those of other libraries.
    leading : int, optional
        How many axes there are before those to resize: 1 for a batch of maps, ``(B, *S)``. A
        size of another rank is then refused, which would else reach into them.

    Returns
    -------
    (..., *T) array
        Always a new array. float32 and float64 stay what they are; float16, bool and
        integers of 8 and 16 bits become float32, integers of 32 and 64 bits float64.
        Nearest and linear stay within the range of `array`; cubic may overshoot.

    Raises
    ------
    InputError
        `array` is empty, not real or not finite, `size` does not fit its shape, is of another
        rank or larger than memory, or a cubic or spline that overshoots overflows.

    Examples
    --------
    >>> resize([0.0, 1.0], (4,))
    array([0.  , 0.25, 0.75, 1.  ])
    """
    values = _real(array)
    lengths = _lengths(size, values.shape)
    if leading is not None and values.ndim - len(lengths) != leading:
        raise InputError(
            f"Maps of shape {values.shape} have {values.ndim - leading} spatial axes, and the size "
            f"{lengths} has {len(lengths)}. Give a size of as many, in the order of the map's own "
            "axes."
        )
    steps = _steps(values.shape, lengths, interpolation)
    for axis, spans, along in steps:
        values = along(values, axis, spans, interpolation)
    return without_overflow(values, "A resize") if steps else values.copy()


def resized_rows(
    array: npt.ArrayLike, size: tuple[int, int], interpolation: Interpolation = LINEAR
) -> Callable[[slice], Array]:
    """Resize a flat map, and compute its rows only once they are asked for.

    What is made for pictures of many megapixels a strip of rows at a time is to the last bit
    what `resize` makes of the whole.

    Parameters
    ----------
    array : (h, w) array
        As `resize` takes it.
    size : (H, W)
        The new size.
    interpolation : Interpolation
        The convention.

    Returns
    -------
    callable
        Takes a slice of rows, and returns them, ``(n, W)``.

    Raises
    ------
    InputError
        As `resize` raises it.

    Examples
    --------
    >>> resized_rows([[0.0], [1.0]], (4, 1))(slice(1, 3))
    array([[0.25],
           [0.75]])
    """
    values = _real(array)
    steps = _steps(values.shape, _lengths(size, values.shape), interpolation)
    if not steps or steps[-1][2] is _multiply:
        # A product of fewer rows may be rounded in another way; such maps are small.
        whole = resize(array, size, interpolation)
        return lambda rows: whole[rows]
    for axis, spans, along in steps[:-1]:
        values = along(values, axis, spans, interpolation)
    axis, spans, _ = steps[-1]

    def computed(rows: slice) -> Array:
        if axis == 0:
            found = _gather(values, axis, spans, interpolation, rows)
        else:
            found = _gather(values[rows], axis, spans, interpolation)
        return without_overflow(found, "A resize")

    return computed


def along_axes(array: Array, matrices: Iterable[Array], *, leading: int) -> Array:
    """Multiply an array by a matrix along each axis behind the leading ones.

    Parameters
    ----------
    array : (..., *S) array
        What to multiply.
    matrices : iterable of (S_i, T_i) array
        One for each of these axes.
    leading : int
        How many axes come before them.

    Returns
    -------
    (..., *T) array
    """
    for axis, matrix in enumerate(matrices, leading):
        array = np.moveaxis(np.tensordot(array, matrix, (axis, 0)), -1, axis)
    return array


def _steps(
    shape: tuple[int, ...], lengths: tuple[int, ...], interpolation: Interpolation
) -> list[tuple[int, _Axis, Callable[..., Array]]]:
    """List the axes to resize in their order, each with its lengths and how it is resized."""
    first = len(shape) - len(lengths)
    axes = [a for a in range(first, len(shape)) if shape[a] != lengths[a - first]]
    # Shrinking first and growing last leaves the least to compute in between.
    axes.sort(key=lambda a: lengths[a - first] / shape[a])
    # In one dimension a dense product would take the batch for a matrix, whose rounding may
    # depend on its height.
    dense = interpolation.kind != "nearest" and len(lengths) > 1
    steps: list[tuple[int, _Axis, Callable[..., Array]]] = []
    for axis in axes:
        spans = shape[axis], lengths[axis - first]
        whole = interpolation.kind == "spline" or (dense and spans[0] <= _DENSE_LENGTH)
        steps.append((axis, spans, _multiply if whole else _gather))
    return steps


def _real(array: npt.ArrayLike) -> Array:
    values = np.asarray(array)
    if values.dtype.kind not in "biuf":
        raise InputError(
            f"An array of dtype {values.dtype} cannot be resized; pass real numbers: "
            'convert it first, as with array.astype("float32").'
        )
    if not values.size:
        raise InputError(
            f"An empty array of shape {values.shape} cannot be resized; every axis needs a sample."
        )
    return finite(values, "Values to resize").astype(
        np.result_type(values.dtype, np.float32), copy=False
    )


def _lengths(size: Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    try:
        lengths = tuple(map(operator.index, size))
    except TypeError as error:
        raise InputError(
            f"size={size!r} is no size; pass one whole number per axis, such as (224, 224)."
        ) from error
    if not 1 <= len(lengths) <= len(shape):
        raise InputError(
            f"{len(lengths)} lengths, {lengths}, do not fit an array of shape {shape}; "
            f"pass one for each axis to resize, 1 to {len(shape)}."
        )
    if min(lengths) < 1:
        raise InputError(f"size={lengths} is no size; every length must be at least 1.")
    count = math.prod((*shape[: len(shape) - len(lengths)], *lengths))
    if max(lengths) > _LONGEST or count > _LARGEST:
        raise InputError(
            f"size={lengths} would make {count:,} values of an array of shape {shape}, more than "
            "memory holds. Give a smaller size, or fewer samples at a time."
        )
    return lengths


def _multiply(values: Array, axis: int, spans: _Axis, interpolation: Interpolation) -> Array:
    """Apply the weights as one matrix, sample by sample so that a batch equals its samples."""
    matrix = _matrix(spans, interpolation, values.dtype)
    if axis == values.ndim - 1:
        rows: Array = np.matmul(values, matrix.T)
        return rows
    lead, trail = values.shape[:axis], values.shape[axis + 1 :]
    stacked = values.reshape(math.prod(lead), spans[0], math.prod(trail))
    columns: Array = np.matmul(matrix, stacked)
    return columns.reshape(*lead, spans[1], *trail)


def _gather(
    values: Array,
    axis: int,
    spans: _Axis,
    interpolation: Interpolation,
    some: slice = slice(None),
) -> Array:
    """Apply the weights one tap at a time, for all samples at once; only `some` are computed."""
    index, weights = (part[:, some] for part in _taps(spans, interpolation))
    total: Array = values.take(index[0], axis)
    if len(index) == 1:
        return total
    factors = weights.astype(values.dtype).reshape(
        len(weights), -1, *[1] * (values.ndim - axis - 1)
    )
    total *= factors[0]
    for positions, factor in zip(index[1:], factors[1:], strict=True):
        tap = values.take(positions, axis)
        tap *= factor
        total += tap
    return total


@lru_cache(maxsize=64)
def _matrix(spans: _Axis, interpolation: Interpolation, dtype: np.dtype[Any]) -> Array:
    """Gather the weights in a matrix ``(out, in)``."""
    index, weights = _taps(spans, interpolation)
    matrix = np.zeros(spans[::-1])
    np.add.at(matrix, (np.arange(spans[1]), index), weights)
    if interpolation.kind == "spline" and spans[0] > 1:
        matrix = matrix @ _coefficients(spans[0])
    return _frozen(matrix.astype(dtype))


def _coefficients(length: int) -> Array:
    """Compute the matrix from samples to the weights of B-splines that pass through them."""
    values = (4 * np.eye(length) + np.eye(length, k=1) + np.eye(length, k=-1)) / 6
    values[0, 1] += 1 / 6
    values[-1, -2] += 1 / 6
    inverse: Array = np.linalg.inv(values)
    return inverse


@lru_cache(maxsize=64)
def _taps(spans: _Axis, interpolation: Interpolation) -> tuple[Array, Array]:
    """Find which samples ``(taps, out)`` make an output sample, and their weights."""
    last = spans[0] - 1
    position = _positions(spans, interpolation)
    if interpolation.kind == "nearest":
        half = 0.0 if interpolation.coordinates == "asymmetric" else 0.5
        index = np.floor(position + half)[None]
        weights = np.ones_like(index)
    else:
        base = np.floor(position)
        fraction = position - base
        if interpolation.phases is not None:
            fraction = np.rint(fraction * interpolation.phases) / interpolation.phases
        offsets, weights = _kernel(fraction, interpolation)
        index = base + offsets[:, None]
        if interpolation.kind == "spline":
            index = last - np.abs(last - np.abs(index))
        if interpolation.border == "renormalise":
            inside = np.where((index >= 0) & (index <= last), weights, 0.0)
            total = inside.sum(axis=0)
            # Past the last sample nothing may remain to be scaled; the edge then repeats.
            weights = np.divide(inside, total, out=weights, where=total > 1e-6)
    return _frozen(np.clip(index, 0, last).astype(np.intp)), _frozen(weights)


def _kernel(fraction: Array, interpolation: Interpolation) -> tuple[Array, Array]:
    """Compute offsets ``(taps,)`` from the sample below, and weights ``(taps, out)``."""
    if interpolation.kind == "linear":
        return np.arange(2), np.stack([1 - fraction, fraction])
    a = interpolation.cubic_coefficient
    offsets = np.arange(-1, 3)
    d = np.abs(fraction - offsets[:, None])
    if interpolation.kind == "spline":
        return offsets, np.where(d <= 1, (4 - 6 * d**2 + 3 * d**3) / 6, (2 - d) ** 3 / 6)
    near = ((a + 2) * d - (a + 3)) * d**2 + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return offsets, np.where(d <= 1, near, far)


def _positions(spans: _Axis, interpolation: Interpolation) -> Array:
    """Find where each output sample ``(out,)`` falls on the input axis."""
    n, m = spans
    index = np.arange(m)
    if interpolation.coordinates == "align_corners":
        if min(spans) == 1:
            return np.zeros(m)
        n, m = n - 1, m - 1
    half = int(interpolation.coordinates == "half_pixel")
    if interpolation.arithmetic == "exact":
        # One division of whole numbers, so every tie is met exactly.
        return ((2 * index + half) * n - half * m) / (2 * m)
    scale_type, product_type, result_type = _ROUNDING[interpolation.arithmetic]
    # OpenCV inverts the magnification, which is not the same number in the last bit.
    scale = np.float32(n) / np.float32(m) if scale_type is np.float32 else 1 / (m / n)
    product = (index.astype(product_type) + half / 2) * product_type(scale) - half / 2
    return product.astype(result_type).astype(np.float64)


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
