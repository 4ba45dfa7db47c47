"""Choose the layers to look at."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

from camcore.adapter import ACTIVATED, ATTENTION, Adapter, Channels, LayerName, LayerRecord
from camcore.errors import LayerError, MethodError
from camcore.inputs import Inputs
from camcore.layers import layout
from camcore.layers.fed import fed
from camcore.layers.known import known_of
from camcore.layers.names import listed
from camcore.layers.places import Places

_RESIZES = re.compile(r"pool|pad|upsampl|resiz|crop", re.IGNORECASE)
_REARRANGES = re.compile(
    r"dropout|droppath|dropblock|stochasticdepth|identity|flatten|reshape|permute", re.IGNORECASE
)
_DETECTS = re.compile(
    r"RegionProposal|RoI|FeaturePyramid|^FPN$|^\w*Detect$|(Retina|SSD|FCOS|Detection)\w*Head"
)
_SCALE = "one scale of a detector"
_PYRAMID = re.compile(r"(^|[./])(fpn|neck|extra)([./]|$)")
_ATTENDS = re.compile(r"attention|attn", re.IGNORECASE)


def outputs(
    wanted: Sequence[str] | None, model: object, adapter: Adapter, inputs: Inputs
) -> tuple[str, ...]:
    """Name the layers whose output is looked at.

    Parameters
    ----------
    wanted : sequence of str or None
        Full names; None lets one be chosen.
    model : object
        The model, and what is known of it.
    adapter : Adapter
        Its adapter.
    inputs : Inputs
        What it is looked at on.

    Returns
    -------
    tuple of str

    Raises
    ------
    LayerError
        No layer was given, and none has spatial extent.
    MethodError
        A name means attention.
    """
    if wanted is None:
        return ranked(model, adapter, inputs)[:1]
    for name in wanted:
        if LayerName.parse(name).is_attention:
            raise MethodError(
                f"{name!r} is a layer's attention, and the method reads what layers return. "
                f"Leave out {ATTENTION!r}, or choose method='legrad'."
            )
    return tuple(wanted)


def attention(
    wanted: Sequence[str] | None, model: object, adapter: Adapter, inputs: Inputs
) -> tuple[str, ...]:
    """Name the attention that is looked at.

    Parameters
    ----------
    wanted : sequence of str or None
        Full names; a layer stands for all attention inside it. None means all of the
        model's.
    model, adapter, inputs
        As `outputs` takes them.

    Returns
    -------
    tuple of str
        Names that end in ``@attention``, or in ``@attention#N``.

    Raises
    ------
    MethodError
        No attention is computed where it is looked for.
    """
    attending = _surveyed(model, adapter, inputs, _attending)
    over_channels = (
        ()
        if attending and wanted is None
        else _surveyed(model, adapter, inputs, _attending_to_channels)
    )
    if not attending and not over_channels:
        raise MethodError(
            "None of the model's layers computes softmax attention that can be seen, so there "
            "is none to explain by. Grad-CAM works without: method='gradcam'."
        )
    names: list[str] = []
    for one in (attending or over_channels) if wanted is None else wanted:
        asked = LayerName.parse(one)
        inside = re.compile(re.escape(asked.path) + r"($|[./])")
        found = [
            str(replace(asked, path=name, part="attention"))
            for name in attending
            if inside.match(name)
        ]
        if not found and any(map(inside.match, over_channels)):
            raise MethodError(
                f"Layer {one!r} attends to channels, not to places of the input, so its attention "
                "is no map. Choose a layer with attention over the patches, or another method: "
                "method='gradcam'."
            )
        if not found:
            raise MethodError(
                f"Layer {one!r} computes no softmax attention that can be seen, nor does any "
                f"layer inside it. These do: {listed(attending)}."
            )
        names += found
    return tuple(dict.fromkeys(names))


def scales(
    wanted: Sequence[str] | None, model: object, adapter: Adapter, inputs: Inputs
) -> tuple[str, ...]:
    """Name the layers that are looked at at once, each of another size.

    Where none is wanted it is the last layer of each size, up to the one that `outputs` chooses.

    Parameters
    ----------
    wanted, model, adapter, inputs
        As `outputs` takes them.

    Returns
    -------
    tuple of str
        In the order in which they run.

    Raises
    ------
    LayerError, MethodError
        As `outputs` raises them.
    """
    if wanted is not None:
        return outputs(wanted, model, adapter, inputs)
    return _surveyed(model, adapter, inputs, last_of_each_size)


_Rule: TypeAlias = Callable[
    [Sequence[LayerRecord], tuple[int, ...], Channels, Places], tuple[str, ...]
]


def _surveyed(model: object, adapter: Adapter, inputs: Inputs, rule: _Rule) -> tuple[str, ...]:
    """Name the layers that a rule picks from a survey of the model."""
    known = known_of(model, inputs)
    names = known.chosen.get(rule)
    paths = {LayerName.parse(name).path for name in names or ()}
    if names is None or not {layer.name for layer in adapter.layers()}.issuperset(paths):
        records = _of_picture(known.survey(adapter, inputs), model, adapter, inputs)
        names = rule(records, inputs.size, inputs.channels, known.asking(adapter, inputs))
        known.chosen[rule] = names
        known.kept.clear()
    return names


def _of_picture(
    records: Sequence[LayerRecord], model: object, adapter: Adapter, inputs: Inputs
) -> Sequence[LayerRecord]:
    """Leave out what other inputs feed, such as the text tower of a model of pictures and words."""
    if len(inputs.shapes) == 1 or (len(inputs.pictures) > 1 and inputs.chosen is None):
        return records
    names = [record.layer.name for record in records if len(record.shape) > 2]
    found = fed(model, adapter, inputs.sample(0), names, inputs.image_path()) if names else set()
    return [r for r in records if len(r.shape) < 3 or r.layer.name in found]


def ranked(model: object, adapter: Adapter, inputs: Inputs) -> tuple[str, ...]:
    """Name the layers worth looking at, best first.

    Parameters
    ----------
    model, adapter, inputs
        As `outputs` takes them.

    Returns
    -------
    tuple of str

    Raises
    ------
    LayerError
        No layer has spatial extent.
    """
    return _surveyed(model, adapter, inputs, ranking)


def _attending(
    records: Sequence[LayerRecord], size: tuple[int, ...], channels: Channels, places: Places
) -> tuple[str, ...]:
    return tuple(r.layer.name for r in records if r.attends and not layout.relates_channels(r))


def _attending_to_channels(
    records: Sequence[LayerRecord], size: tuple[int, ...], channels: Channels, places: Places
) -> tuple[str, ...]:
    return tuple(r.layer.name for r in records if layout.relates_channels(r))


def choose(
    records: Sequence[LayerRecord],
    input_size: tuple[int, ...],
    input_channels: Channels = "first",
    places: Places | None = None,
) -> str:
    """Name the last layer with spatial extent.

    Layers that only pool, pad, drop or rearrange are passed over, and so are heads: what
    returns the model's own output, or scores that it is joined, added up or pooled of. So is
    what no output is made of. Where a function rectifies a layer's output, that is what is
    looked at (`camcore.adapter.ACTIVATED`). Of a layer and the containers that return
    the same output, the outermost is named (ResNet's ``layer4``), unless the model has
    gone on from it by then. What attention is computed from is part of the attention.
    Heads and feature pyramids of detectors are passed over: the backbone's last layer is
    before all their scales.

    Where patches are tokens among others, it is the last layer before the last attention:
    behind it the score may come from the class token alone, and patches have no gradient.

    Parameters
    ----------
    records : sequence of LayerRecord
        In order of when their last call finished.
    input_size : tuple of int
        Spatial size of the input.
    input_channels : {"first", "last"}
        Where the model takes the input's channel axis.
    places : Places or None
        What the records say of maps and tokens, if that was read before.

    Returns
    -------
    str
        The layer's name.

    Raises
    ------
    LayerError
        No layer has spatial extent.
    """
    return ranking(records, input_size, input_channels, places)[0]


def ranking(
    records: Sequence[LayerRecord],
    input_size: tuple[int, ...],
    input_channels: Channels = "first",
    places: Places | None = None,
) -> tuple[str, ...]:
    """Name the layers worth looking at, the one to `choose` first, then those before it.

    Parameters
    ----------
    records, input_size, input_channels, places
        As `choose` takes them.

    Returns
    -------
    tuple of str

    Raises
    ------
    LayerError
        No layer has spatial extent.
    """
    places = places or Places.of(records, input_size, input_channels)
    records = with_rectified(records)
    good = _maps(records, input_size, input_channels, places)
    return _ranked(records, good, input_size, input_channels, places)


def _ranked(
    records: Sequence[LayerRecord],
    good: Sequence[LayerRecord],
    input_size: tuple[int, ...],
    input_channels: Channels,
    places: Places,
) -> tuple[str, ...]:
    """Name the layers worth looking at, best first, of those that return a map, last first."""
    about = (input_size, input_channels, places)
    if not good:  # all may be inside one layer that attends, or be of one scale or the output
        records = [replace(r, attention=None, several=False, feeds=True) for r in records]
        good = _maps(records, *about)
    if not good:
        raise LayerError(
            f"None of the model's {len(records)} layers returns a map with spatial extent "
            f"for an input of size {input_size}. Name a layer: layer='...'."
        )
    before: list[LayerRecord] = []
    tokens = layout.of_one(good[0], input_size, input_channels, places.likely)
    if tokens.among_others(good[0].shape):
        before = _maps(_before_last_attention(records), *about)
    first, *others = [*before, *good]
    # What a layer of no known kind returns may have other axes than the input's.
    alike = [
        one.channels is not None or layout.is_reduction(map_size(one, *about) or (), input_size)
        for one in others
    ]
    doubtful = [one for one, is_alike in zip(others, alike, strict=True) if not is_alike]
    others = [one for one, is_alike in zip(others, alike, strict=True) if is_alike]
    return _outermost_first(dict.fromkeys(r.layer.name for r in [first, *others, *doubtful]))


def last_of_each_size(
    records: Sequence[LayerRecord],
    input_size: tuple[int, ...],
    input_channels: Channels = "first",
    places: Places | None = None,
) -> tuple[str, ...]:
    """Name the last layer that returns a map of each size, from the largest to the one to `choose`.

    What is inside a block that goes on to another size is passed over.

    Parameters
    ----------
    records, input_size, input_channels, places
        As `choose` takes them.

    Returns
    -------
    tuple of str

    Raises
    ------
    LayerError
        No layer has spatial extent.
    """
    places = places or Places.of(records, input_size, input_channels)
    about = (input_size, input_channels, places)
    rectified = with_rectified(records)
    good = _maps(rectified, *about)
    chosen = _ranked(rectified, good, *about)[0]
    sizes = {r.layer.name: map_size(r, *about) or () for r in rectified}
    before = [record.layer.name for record in good]
    within = _within_blocks(rectified, sizes)
    found, smallest = [chosen], sizes[chosen]
    for name in before[before.index(chosen) + 1 :] if chosen in before else []:
        size = sizes[name]
        larger = len(size) == len(smallest) and size != smallest
        larger = larger and all(a >= b for a, b in zip(size, smallest, strict=True))
        if larger and LayerName.parse(name).path not in within:
            found.append(name)
            smallest = size
    return tuple(found[::-1])


def _within_blocks(
    records: Sequence[LayerRecord], sizes: Mapping[str, tuple[int, ...]]
) -> set[str]:
    """Name what is inside a block that returns a map of another size.

    Some of what flows through the block may pass it by, as through the branches of ResNet's first
    block of each stage. A sequence is none, nor is what holds maps of three sizes or more.
    """
    found: set[str] = set()
    for block in records:
        size = sizes[block.layer.name]
        inside = [n for n in sizes if sizes[n] and _is_inside(n, block.layer.name)]
        is_trunk = len({size, *(sizes[n] for n in inside)}) > 2
        if size and not is_trunk and block.layer.kind not in ("Sequential", "ModuleList"):
            found.update(LayerName.parse(n).path for n in inside if sizes[n] != size)
    return found


def _outermost_first(names: Iterable[str]) -> tuple[str, ...]:
    """Put what is inside a layer named before behind: what the one lacks, the other will."""
    listed = list(names)
    outer = outermost(listed)
    return (*outer, *(name for name in listed if name not in set(outer)))


def outermost(names: Iterable[str]) -> tuple[str, ...]:
    """Leave out the layers that are inside one named before."""
    outer: list[str] = []
    for name in names:
        path = LayerName.parse(name).path
        if not any(_is_inside(path, LayerName.parse(one).path) for one in outer):
            outer.append(name)
    return tuple(outer)


def with_rectified(records: Sequence[LayerRecord]) -> list[LayerRecord]:
    """Add what functions rectify, after the layers and containers that return it as it was.

    Parameters
    ----------
    records : sequence of LayerRecord
        As a survey gives them.

    Returns
    -------
    list of LayerRecord
        One more for each array that a function rectifies, named as in ``features@activated``
        by the outermost layer that returns it.
    """
    found: list[LayerRecord] = []
    alike: list[LayerRecord] = []
    for i, record in enumerate(records):
        found.append(record)
        alike.append(record)
        first = alike[0].repeats or alike[0].layer.name
        if i + 1 < len(records) and records[i + 1].repeats == first:
            continue
        makers = [one for one in alike if not _changes_nothing(one)]
        if record.rectified and makers:
            name = str(LayerName(makers[-1].layer.name, ACTIVATED[1:]))
            made = replace(makers[-1], layer=replace(makers[-1].layer, name=name))
            found.append(replace(made, attention=None, repeats=None, several=False))
        alike = []
    return found


def _changes_nothing(record: LayerRecord) -> bool:
    return bool(_RESIZES.search(record.layer.kind) or _REARRANGES.search(record.layer.kind))


def rejections(
    records: Sequence[LayerRecord],
    input_size: tuple[int, ...],
    input_channels: Channels = "first",
    places: Places | None = None,
) -> list[str]:
    """Give the reason why each layer is passed over, as far as shapes and kinds tell.

    Parameters
    ----------
    records, input_size, input_channels, places
        As `choose` takes them.

    Returns
    -------
    list of str
        Empty for a layer that returns a map of its own.
    """
    found: list[str] = []
    attending = [record.layer.name for record in records if record.attends]
    detecting = [record.layer.name for record in records if _DETECTS.search(record.layer.kind)]
    detecting += _scales_joined(records)
    # Of a layer that runs several times it is not known which call is returned again.
    once = {record.layer.name for record in records if record.calls == 1}
    places = places or Places.of(records, input_size, input_channels)
    passed_over: tuple[LayerRecord, str] | None = None
    before = ""
    for record in records:
        if record.repeats in once and record.repeats != before:
            # The model has gone on from it since, past what is returned here.
            found.append("returned before")
            continue
        before = record.repeats or record.layer.name
        inside = any(_is_inside(record.layer.name, name) for name in attending)
        if inside or (attending and record.in_attention):
            found.append("part of attention")
            continue
        if _PYRAMID.search(record.layer.name) or any(
            record.layer.name == name or _is_inside(record.layer.name, name) for name in detecting
        ):
            # One scale of several: a box is found at one of them, and has no gradient at others.
            found.append(_SCALE)
            passed_over = None
            continue
        if passed_over is not None and _returns_output_of(record, passed_over[0]):
            reason = passed_over[1]
        elif record.is_output and not detecting:  # detectors may return features beside boxes
            reason = "the output"
        elif not record.feeds:
            reason = "feeds no output alone"
        elif record.several:
            reason = "several outputs"
        elif _RESIZES.search(record.layer.kind):
            reason = "resized"
        elif _REARRANGES.search(record.layer.kind):
            # Its values are those before it, so containers of it are as good as any.
            found.append("a copy")
            continue
        else:
            reason = "" if map_size(record, input_size, input_channels, places) else "no map"
        found.append(reason)
        passed_over = (record, reason) if reason in ("the output", "resized") else None
    for i, following in enumerate(records[1:]):
        if following.repeats == records[i].layer.name and found[i + 1] == _SCALE:
            found[i] = _SCALE  # a layer shared with the rest of the model, in its last call
    return found


def _scales_joined(records: Sequence[LayerRecord]) -> list[str]:
    """Name the heads that return the output, and join a pyramid's scales on the way.

    Files keep no kinds of modules, so a detector's head is told by what it joins. What also
    holds larger maps from before is no head, but has the backbone in it.
    """
    returning = [record.layer.name for record in records if record.is_output]
    found: list[str] = []
    for i, record in enumerate(records):
        largest = max((lengths[0] for lengths in record.joins if _are_scales(lengths)), default=0)
        if not largest:
            continue
        for head in returning:
            before = [r for r in records[:i] if _is_inside(r.layer.name, head)]
            is_around = head == record.layer.name or _is_inside(record.layer.name, head)
            if is_around and before and all(math.prod(r.shape[2:]) <= largest for r in before):
                found.append(head)
    return list(dict.fromkeys(found))


def _are_scales(lengths: Sequence[int]) -> bool:
    """Tell whether lengths are of three or more scales, each a quarter of the one before."""
    return len(lengths) > 2 and all(a == 4 * b for a, b in pairwise(lengths))


def map_size(
    record: LayerRecord,
    input_size: tuple[int, ...],
    input_channels: Channels = "first",
    places: Places | None = None,
) -> tuple[int, ...] | None:
    """Find the spatial size of the map that a layer returns; None where it returns none.

    Parameters
    ----------
    record : LayerRecord
        What the layer returned for one sample.
    input_size, input_channels
        As `choose` takes them.
    places : Places or None
        What the whole survey saw; None where there is only this record.

    Returns
    -------
    tuple of int or None
    """
    try:
        read = None if places is None else places.likely
        found = layout.of_one(record, input_size, input_channels, read)
    except LayerError:
        return None
    size = found.size(record.shape)
    return size if math.prod(size) > 1 else None


def _maps(
    records: Sequence[LayerRecord],
    input_size: tuple[int, ...],
    input_channels: Channels,
    places: Places,
) -> list[LayerRecord]:
    """List the layers that return a map of their own, last first."""
    reasons = rejections(records, input_size, input_channels, places)
    good = [record for record, reason in zip(records, reasons, strict=True) if not reason]
    return good[::-1]


def _before_last_attention(records: Sequence[LayerRecord]) -> Sequence[LayerRecord]:
    """Cut the records before the last layer that attends, or what is inside it."""
    attending = [record.layer.name for record in records if record.attends]
    attending = attending or [r.layer.name for r in records if _ATTENDS.search(r.layer.kind)]
    last = attending[-1] if attending else ""
    names = [record.layer.name for record in records]
    return records[: next((i for i, n in enumerate(names) if n == last or _is_inside(n, last)), 0)]


def _is_inside(name: str, container: str) -> bool:
    return name.startswith((container + ".", container + "/"))


def _returns_output_of(container: LayerRecord, last: LayerRecord) -> bool:
    return _is_inside(last.layer.name, container.layer.name) and container.shape == last.shape
