"""Answer the usual mistakes about what is explained, in the words of what was given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np

from camcore.adapter import Adapter, Channels
from camcore.errors import CamcoreError, InputError, MethodError
from camcore.medical.volume import Volume
from camcore.nest import flatten, shape_of

_WORDS: Mapping[str, str] = {
    "target_layers": "layer=, a layer or a list of them",
    "target_layer": "layer=",
    "layer_name": "layer=",
    "last_conv_layer_name": "layer=",
    "conv_layer": "layer=",
    "penultimate_layer": "layer=",
    "layers": "layer=, a layer or a list of them",
    "targets": "target=, a class or one for each image",
    "target_category": "target=",
    "category": "target=",
    "class_idx": "target=",
    "class_index": "target=",
    "pred_index": "target=",
    "labels": "target=",
    "reshape_transform": "layout=camcore.Layout('tokens', ...), where it is needed",
    "aug_smooth": "augment=camcore.augment.FLIPS_AND_SCALES",
    "input_tensor": "the second argument",
    "inputs": "the second argument",
    "image": "the second argument",
    "transform": "preprocess=",
    "transforms": "preprocess=",
    "processor": "preprocess=",
    "class_names": "classes=",
    "names": "classes=",
    "methods": "method=, a name or a list of them",
    "use_cuda": "nothing: a model is explained on the device that it is on",
    "device": "nothing: a model is explained on the device that it is on",
}
"""camcore's word for what other libraries call otherwise."""

_FEW = 4
"""The most channels that a picture has."""


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse keywords of other libraries by the word for them here.

    Parameters
    ----------
    options : mapping of str to object
        Keywords that are none of `camcore.Explainer`'s.

    Raises
    ------
    MethodError
        Says what to write in place of the first of them.
    """
    for name in options:
        if name in _WORDS:
            raise MethodError(f"Unknown option {name!r}: camcore's word for it is {_WORDS[name]}.")


def check_settings(layout: Any, augment: Any) -> None:
    """Refuse settings of an explainer that are of another kind than what is taken.

    Parameters
    ----------
    layout, augment : object
        As `camcore.Explainer` takes them.

    Raises
    ------
    InputError
        Says what to write in place of the first of them.
    """
    if isinstance(layout, str):
        raise InputError(f"layout={layout!r}; expected camcore.Layout({layout!r}).")
    views = augment if isinstance(augment, (list, tuple)) else [augment]
    if views is not augment or not all(hasattr(view, "undo") for view in views):
        raise InputError(
            f"augment={augment!r}; expected a list of views, such as "
            "camcore.augment.FLIPS_AND_SCALES or [camcore.augment.Flip()]."
        )


def check_order(model: object, inputs: object) -> None:
    """Refuse a model and inputs that have changed places.

    Raises
    ------
    InputError
        The first is an array or tensor, and the second has layers.
    """
    if _is_array(model) and not _is_array(inputs):
        raise InputError(
            f"The model comes first, then what is explained; got {_said(model)} and then a "
            f"{type(inputs).__name__}. Write camcore.explain(model, images)."
        )


def check_given(inputs: Any, preprocess: Any = None) -> None:
    """Refuse what no model takes and no photograph is.

    Parameters
    ----------
    inputs : object
        What a user gives to be explained, photographs aside.
    preprocess : object or None
        What the user says that photographs are prepared by.

    Raises
    ------
    InputError
        It is nothing, or a loader of batches, or an empty batch, or holds no array; or it is read
        otherwise, such as a file that is open; or a
        preprocessing is said, and it is no photograph.
    """
    if inputs is None:
        raise InputError("There is nothing to explain: got None. Give a batch, or photographs.")
    kind = type(inputs).__name__
    if advice := _photograph_otherwise(inputs):
        raise InputError(f"A {kind} is none of what is explained. {advice}")
    gives_batches = isinstance(inputs, Iterator) or kind.endswith(("DataLoader", "Dataset"))
    leaves = {} if gives_batches else dict(flatten(inputs))
    if not leaves and not gives_batches:
        raise InputError(f"There is nothing to explain: got an empty {kind}. Give a batch.")
    if leaves:
        _check_no_flat_patches(inputs)
    arrays = {path: leaf for path, leaf in leaves.items() if hasattr(leaf, "shape")}
    if gives_batches or (not arrays and _is_loader(inputs)):
        raise InputError(
            f"A {kind} gives one batch after the other, and one is explained at a time: make "
            "explainer = camcore.Explainer(model), and for images, labels in loader: "
            "explainer(images)."
        )
    if isinstance(inputs, Volume) or hasattr(inputs, "dataobj"):
        raise InputError(
            f"A {kind} of shape {inputs.shape} is no batch. Give its array as the model takes it, "
            "such as torch.from_numpy(camcore.medical.read_volume(...).array)[None, None], and "
            "then the volume to figure(volume) and save_nifti(path, like=volume)."
        )
    if not arrays:
        raise InputError(_without_arrays(inputs, leaves.values()))
    if preprocess is not None:
        raise InputError(
            f"preprocess= turns photographs into what the model takes, and {_listed(arrays)} is "
            "taken as that already. Leave preprocess= out; or give photographs: paths, PIL "
            "images, or arrays (H, W, 3) or (H, W) of uint8."
        )
    for path, leaf in arrays.items():
        shape = shape_of(leaf)
        if shape and shape[0] == 0:
            where = f" at {path!r}" if path else ""
            raise InputError(
                f"The batch{where} is empty: its shape is {shape}. Give at least one sample."
            )
        if getattr(getattr(leaf, "dtype", None), "kind", "") in ("O", "S", "U"):
            raise InputError(
                f"An array of {leaf.dtype} of shape {shape} holds no numbers. Give one array of "
                "numbers, (B, C, H, W) or as the model takes it; or photographs as a list."
            )


@contextmanager
def answering(inputs: Any, model: object, adapter: Adapter) -> Iterator[None]:
    """Answer a model's failure in the words of its inputs, where they are what is wrong.

    Parameters
    ----------
    inputs, model, adapter
        As `answered` takes them.

    Raises
    ------
    InputError
        What is wrong with the inputs, from the model's own error. That stays as it is where
        nothing is known to be wrong with them.
    """
    try:
        yield
    except CamcoreError:
        raise
    except Exception as error:
        if (known := answered(inputs, model, adapter)) is None:
            raise
        raise known from error


def _check_no_flat_patches(inputs: Any) -> None:
    """Refuse patches that a processor has cut and stacked, in which no picture is seen.

    Raises
    ------
    InputError
        Says how to give pictures.
    """
    shapes = {path: shape_of(leaf) for path, leaf in flatten(inputs)}
    for grid in [path for path in shapes if path.endswith("_grid_thw")]:
        flat = next((path for path in shapes if path.startswith("pixel_values")), None)
        if flat is not None and len(shapes[flat]) == 2:
            raise InputError(
                f"{flat!r} {shapes[flat]} holds patches cut flat and stacked, as {grid!r} says, "
                "with no batch axis and no picture for a map to lie over. Explain a module that "
                "takes pictures (B, C, H, W), cuts them itself and calls the model: see "
                "docs/language.md."
            )


def _photograph_otherwise(inputs: Any) -> str | None:
    """Say how photographs are given that are given in a way that is not read."""
    if isinstance(inputs, (bytes, bytearray, memoryview)):
        return "Give a photograph's path, or PIL.Image.open(io.BytesIO(data))."
    if callable(getattr(inputs, "read", None)):
        return "Give the photograph's path, or PIL.Image.open(file)."
    if isinstance(inputs, (set, frozenset)):
        return "Give a list, which has an order."
    return None


def _is_photograph(leaf: Any) -> bool:
    return isinstance(leaf, (str, PathLike)) or type(leaf).__module__.startswith("PIL.")


def _is_loader(inputs: Any) -> bool:
    """Tell whether an object of no known kind gives one thing after the other."""
    nothing_else = not (callable(inputs) or _is_nest(inputs) or _is_photograph(inputs))
    return isinstance(inputs, Iterable) and nothing_else


def _is_nest(inputs: Any) -> bool:
    return [path for path, _ in flatten(inputs)] != [""]


def _without_arrays(inputs: Any, leaves: Collection[Any]) -> str:
    """Say what to give in place of what holds no array."""
    kind = type(inputs).__name__
    if all(_is_photograph(leaf) for leaf in leaves):
        return (
            "Photographs are read by camcore.explain and camcore.Explainer; here, give a batch as "
            "the model takes it."
        )
    if all(isinstance(leaf, (bool, int, float)) for leaf in leaves):
        what = f"a {kind} of numbers" if _is_nest(inputs) else "a number"
        advice = "Make an array of it, np.asarray(images, np.float32), batch first."
        return f"Got {what}, where the model takes arrays. {advice}"
    return (
        f"A {kind} holds no array to be explained. Give a batch as the model takes it, an array or "
        "a tensor; or photographs: paths, PIL images, or arrays (H, W, 3) of uint8."
    )


def check_addresses(inputs: Any) -> None:
    """Refuse photographs that are elsewhere.

    Parameters
    ----------
    inputs : object
        What a user gives to be explained.

    Raises
    ------
    InputError
        Names the address of the first of them.
    """
    for one in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
        if isinstance(one, str) and "://" in one:
            raise InputError(
                f"{one} is an address, and photographs are read from files alone. Download it, and "
                "give the path."
            )


def answered(inputs: Any, model: object, adapter: Adapter) -> InputError | None:
    """Explain why a model failed, where what it was given is not what it takes.

    Parameters
    ----------
    inputs : object
        What it was given.
    model : object
        What failed.
    adapter : Adapter
        Its adapter. Its ``input_shape``, or else the model's, where they have one, is what the
        model takes: a length for each axis, None where it may be any.

    Returns
    -------
    InputError or None
        None where nothing is wrong with what was given, as far as is known.
    """
    wanted = getattr(adapter, "input_shape", None) or getattr(model, "input_shape", None)
    leaves = [(path, leaf) for path, leaf in flatten(inputs) if hasattr(leaf, "shape")]
    if not leaves or not isinstance(wanted, tuple) or isinstance(wanted[0], tuple):
        return None
    leaf = max(leaves, key=lambda one: len(shape_of(one[1])))[1]
    said = _of_several([leaf for _, leaf in leaves], wanted) or advice(
        shape_of(leaf), _dtype(leaf), wanted, adapter.input_channels
    )
    if said is None and isinstance(inputs, Mapping) and len(leaves) == 1:
        said = f"It is given by the name {leaves[0][0]!r}: give the array alone."
    return None if said is None else _failed(inputs, wanted, said)


def _of_several(leaves: Sequence[Any], wanted: tuple[int | None, ...]) -> str | None:
    """Say what to give in place of several arrays, where the model takes one."""
    shapes = [shape_of(leaf) for leaf in leaves]
    if len(shapes) == 2 and not shapes[1][1:]:
        return "They look like the images and labels of a loader: give the images alone."
    if len(shapes) > 1 and len({len(shape) for shape in shapes}) == 1:
        if len(shapes[0]) == len(wanted) - 1:
            return "They look like images without a batch axis: make one batch, np.stack(images)."
        if len(shapes[0]) == len(wanted):
            return "A list is what a model of several inputs takes: join it, np.concatenate(list)."
    return None


def advice(
    shape: tuple[int, ...], dtype: str, wanted: Sequence[int | None], input_channels: Channels
) -> str | None:
    """Say what to change of an array that a model does not take.

    Parameters
    ----------
    shape : tuple of int
        The array's shape.
    dtype : str
        Its dtype's name.
    wanted : sequence of int or None
        What the model takes: a length for each axis, None where it may be any.
    input_channels : {"first", "last"}
        Where the model takes the channel axis.

    Returns
    -------
    str or None
        None where nothing is known to be wrong.
    """
    first = input_channels == "first"
    rank, channels = len(wanted), wanted[1 if first else -1]
    said: list[str] = []
    several_grey = len(shape) == 3 and channels == 1 and 1 not in shape
    if rank == 4 and (len(shape) == 2 or several_grey):
        return _grey_advice(len(shape), channels or 1, first)
    if len(shape) == rank - 1:
        said.append("It has no batch axis: give images[None].")
        shape = (1, *shape)
    if len(shape) != rank:
        return f"It has {len(shape)} axes, and {rank} are expected."
    mine, others = (shape[1], shape[-1]) if first else (shape[-1], shape[1])
    if channels is not None and mine != channels:
        if others == channels:
            where, there = ("last", "first") if first else ("first", "last")
            axes = "-1, 1" if first else "1, -1"
            said.append(
                f"It has its channels {where}, and the model takes them {there}: give "
                f"np.moveaxis(images, {axes}), or the same of a tensor."
            )
        elif mine <= _FEW or others <= _FEW:
            count = mine if mine <= _FEW else others
            said.append(
                f"It has {count} {'channel' if count == 1 else 'channels'}, and the model takes "
                f"{channels}: {_channel_advice(count, channels)}"
            )
        else:
            said.append(f"The model takes {channels} channels, on axis {1 if first else rank - 1}.")
    else:
        sides = [
            (have, want)
            for have, want in zip(shape[1:], wanted[1:], strict=True)
            if want is not None and have != want
        ]
        if sides:
            size = "×".join(str(side) for side in (wanted[2:] if first else wanted[1:-1]))
            said.append(f"The model takes pictures of {size}: scale them to that size.")
    if "complex" in dtype:
        said.insert(0, f"It holds complex numbers ({dtype}): give np.abs(images), or two channels.")
    elif "int" in dtype or "bool" in dtype:
        said.insert(
            0,
            f"It holds whole numbers ({dtype}), and the model takes floating ones. Photographs "
            "are given as a list of arrays (H, W, 3), with preprocess= where the model does not "
            "say it; else scale the numbers as the model was trained.",
        )
    return " ".join(said) or None


def _grey_advice(axes: int, channels: int, first: bool) -> str:
    """Say how grey images become what a model takes."""
    lacks = "batch and no channel axis" if axes == 2 else "channel axis"
    index = ("[None, None]" if first else "[None, ..., None]") if axes == 2 else ""
    given = "images" + (index or ("[:, None]" if first else "[..., None]"))
    if channels > 1:
        given = f"np.repeat({given}, {channels}, {1 if first else -1})"
    return (
        f"It has no {lacks}: give {given}. A grey photograph that is yet to be preprocessed is an "
        "array (H, W) of uint8."
    )


def _channel_advice(count: int, channels: int) -> str:
    if count == 1 and channels == 3:
        return "repeat the grey one three times."
    if count == 4 and channels == 3:
        return "leave the transparency out."
    if count == 3 and channels == 1:
        return "make the picture grey."
    return "give what the model was trained on."


def _failed(inputs: Any, wanted: tuple[int | None, ...], advice: str) -> InputError:
    arrays = {path: leaf for path, leaf in flatten(inputs) if hasattr(leaf, "shape")}
    return InputError(f"The model fails for {_listed(arrays)}; it takes {_axes(wanted)}. {advice}")


def _axes(wanted: tuple[int | None, ...]) -> str:
    """Write a shape with letters where it may be anything: ``(B, 3, H, W)``."""
    letters = {3: "BCL", 4: "BCHW", 5: "BCDHW"}.get(len(wanted), "B" + "N" * (len(wanted) - 1))
    if (wanted[-1] is not None and wanted[1] is None) or (wanted[-1] or 9) <= _FEW:
        letters = letters[0] + letters[2:] + letters[1]
    return f"({', '.join(str(n or letter) for n, letter in zip(wanted, letters, strict=True))})"


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and not hasattr(value, "layers")


def _listed(arrays: Mapping[str, Any]) -> str:
    return " and ".join(map(_said, arrays.values())) or "what holds no array"


def _said(value: Any) -> str:
    """Describe an array: its type, shape, dtype and range."""
    shape, dtype = shape_of(value), _dtype(value)
    kind = "an array" if isinstance(value, np.ndarray) else "a tensor"
    return f"{kind} of shape {shape} and {dtype}{_range(value)}"


def _dtype(value: Any) -> str:
    """Name the dtype of an array or tensor, whatever its framework."""
    dtype = getattr(value, "dtype", "")
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def _range(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "iuf":
        return f" from {value.min():.3g} to {value.max():.3g}"
    return ""
