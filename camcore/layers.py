"""Naming and choosing layers."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import TypeAlias

from camcore import layout
from camcore.errors import LayerError
from camcore.trace import INPUT, Layer, LayerRecord

LayerLike: TypeAlias = "str | object"
"""A layer's name, its bare name where that is unique, or the framework's layer object."""

_RESIZES = re.compile(r"pool|pad|upsampl|resiz|crop", re.IGNORECASE)
_REARRANGES = re.compile(
    r"dropout|droppath|dropblock|stochasticdepth|identity|flatten|reshape|permute", re.IGNORECASE
)
_ATTENDS = re.compile(r"attention|attn", re.IGNORECASE)


def resolve(wanted: LayerLike | Sequence[LayerLike], layers: Sequence[Layer]) -> tuple[str, ...]:
    """Full names of the layers a user asks for.

    Parameters
    ----------
    wanted : str, layer object, or sequence of these
        A name may end in ``#N`` to mean the N-th call of a layer that runs
        several times.
    layers : sequence of Layer
        All layers of the model.

    Raises
    ------
    LayerError
        A layer is unknown or its bare name is ambiguous.
    """
    several = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    if not several:
        raise LayerError("An empty list of layers was given; name at least one layer.")
    names = tuple(
        _by_name(one, layers) if isinstance(one, str) else _by_object(one, layers)
        for one in several
    )
    if len(set(names)) < len(names):
        raise LayerError(f"The same layer is asked for twice: {', '.join(names)}.")
    return names


def _by_name(wanted: str, layers: Sequence[Layer]) -> str:
    name, mark, call = wanted.partition("#")
    if mark and not re.fullmatch(r"-?\d+", call):
        raise LayerError(
            f"{wanted!r}: after '#' comes the number of the call, as in {name + '#0'!r}."
        )
    if name == INPUT or any(layer.name == name for layer in layers):
        return wanted
    paths = [layer.name for layer in layers if re.split(r"[./]", layer.name)[-1] == name]
    if len(paths) == 1:
        return paths[0] + mark + call
    if paths:
        raise LayerError(
            f"{name!r} names {len(paths)} layers: {_listed(paths)}. Give the whole path."
        )
    every = [layer.name for layer in layers]
    near = difflib.get_close_matches(name, every, n=4, cutoff=0.4)
    hint = f"Did you mean {_listed(near)}?" if near else f"It has {_listed(every)}."
    raise LayerError(f"The model has no layer {name!r}. {hint}")


def _by_object(wanted: object, layers: Sequence[Layer]) -> str:
    for layer in layers:
        if layer.native is wanted:
            return layer.name
    raise LayerError(
        f"The {type(wanted).__name__} given as a layer is not part of the model; "
        "give one of its layers, or a layer's name."
    )


def _listed(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def choose(records: Sequence[LayerRecord], input_size: tuple[int, ...]) -> str:
    """Name the last layer with spatial extent.

    Layers that only pool, pad, drop or rearrange are passed over, and so is what
    merely returns the model's own output. Of a layer and the containers that return
    the same output, the outermost is named (ResNet's ``layer4``). Where class tokens
    precede the patches, it is the last layer before the last attention: behind it
    the score may come from the class token alone, and patches have no gradient.

    Parameters
    ----------
    records : sequence of LayerRecord
        In order of when their last call finished.
    input_size : tuple of int
        Spatial size of the input.

    Returns
    -------
    str
        The layer's name.

    Raises
    ------
    LayerError
        No layer has spatial extent.
    """
    chosen = _last_map(records, input_size)
    if chosen is None:
        raise LayerError(
            f"None of the model's {len(records)} layers returns a map with spatial extent "
            f"for an input of size {input_size}. Name a layer: layer='...'."
        )
    if layout.infer(chosen.shape, chosen.channels, input_size).prefix:
        chosen = _last_map(_before_last_attention(records), input_size) or chosen
    return chosen.layer.name


def _last_map(records: Sequence[LayerRecord], input_size: tuple[int, ...]) -> LayerRecord | None:
    chosen: LayerRecord | None = None
    passed_over: LayerRecord | None = None
    for record in records:
        if passed_over is not None and _returns_output_of(record, passed_over):
            passed_over = record
        elif record.is_output or _RESIZES.search(record.layer.kind):
            passed_over = record
        elif _REARRANGES.search(record.layer.kind):
            # Its values are those before it, so containers of it are as good as any.
            continue
        elif _has_extent(record, input_size):
            chosen, passed_over = record, None
        else:
            passed_over = None
    return chosen


def _before_last_attention(records: Sequence[LayerRecord]) -> Sequence[LayerRecord]:
    names = [r.layer.name for r in records if _ATTENDS.search(r.layer.kind)]
    if not names:
        return ()
    inside = re.compile(re.escape(names[-1]) + r"($|[./])")
    first = next(i for i, record in enumerate(records) if inside.match(record.layer.name))
    return records[:first]


def _returns_output_of(container: LayerRecord, last: LayerRecord) -> bool:
    inside = re.match(re.escape(container.layer.name) + r"[./]", last.layer.name)
    return bool(inside) and container.shape == last.shape


def _has_extent(record: LayerRecord, input_size: tuple[int, ...]) -> bool:
    try:
        found = layout.infer(record.shape, record.channels, input_size)
    except LayerError:
        return False
    size = {
        "channels_first": record.shape[2:],
        "channels_last": record.shape[1:-1],
        "tokens": found.grid or (),
    }[found.kind]
    return math.prod(size) > 1
