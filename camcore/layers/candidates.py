"""Which layers are worth looking at, and why the others are not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from camcore import registry
from camcore.adapter import Adapter, Channels, Layer, LayerRecord
from camcore.errors import LayerError
from camcore.input_layout import InputLayout
from camcore.inputs import Inputs
from camcore.layers import layout, selection
from camcore.layers.dependent import any_score, dependent_layers, has_gradient
from camcore.layers.geometry import Geometry
from camcore.layers.known import Known
from camcore.layers.places import Places
from camcore.mistakes import answering, check_given

_MOST: Final = 6
"""Grids of which the last layer is listed."""

_LEAST: Final = 2
"""Other grids, below which earlier layers on the chosen one's are listed too."""

_EARLIER: Final = {
    1 / 4: "a quarter of the way back, same grid",
    1 / 2: "halfway back, same grid",
    3 / 4: "three quarters of the way back, same grid",
}


@dataclass(frozen=True)
class Candidate:
    """A layer that ran, and whether it is worth looking at.

    Parameters
    ----------
    layer : Layer
        The layer.
    shape : tuple of int
        Shape of its output, batch axis included.
    calls : int
        How many times it ran; `shape` is that of its last call.
    size : tuple of int or None
        Spatial size of the map that is made there; None where there is none.
    fault : str
        Why it is not worth looking at; empty where it is.
    chosen : bool
        Whether it is the one that is looked at when none is named.
    why : str
        Why it is one of the few that matter; empty for all others. Those are the one chosen,
        the last on each finer or coarser grid, and where a model has hardly more than one grid,
        some earlier ones on that.
    """

    layer: Layer
    shape: tuple[int, ...]
    calls: int
    size: tuple[int, ...] | None
    fault: str
    chosen: bool
    why: str = ""


def candidates(
    model: object, inputs: Any, *, input_layout: str | None = None
) -> tuple[Candidate, ...]:
    """List every layer that runs, and which are worth looking at.

    Such a layer returns a map: an array with spatial extent, or tokens on a grid. It does
    more than pool, pad, drop or rearrange what came before, it is not the model's own
    output, and a gradient reaches it: in transformers, not its class tokens alone.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model, or camcore.adapter.Adapter
        Left exactly as it is.
    inputs : array, tensor, or nest of these
        What the model takes; the first sample is looked at. Take a photograph or noise:
        where an input is all alike, gradients may be absent that others have.
    input_layout : str, optional
        The axes of the input, as `camcore.Explainer` takes them.

    Returns
    -------
    tuple of Candidate
        In the order in which their last calls finished.

    Raises
    ------
    BackendError
        No installed adapter owns the model.
    InputError
        Where the input has its channels is not known, or `input_layout` does not fit it.
    """
    adapter = registry.adapter(model)
    said = None if input_layout is None else InputLayout(input_layout)
    check_given(inputs)
    with answering(inputs, model, adapter):
        given = Inputs.of(inputs, adapter, layout=said)
        return _of_sample(adapter, Geometry(model, adapter).laid_out(given).sample(0))


def _of_sample(adapter: Adapter, one: Inputs) -> tuple[Candidate, ...]:
    """List the layers that run for one sample."""
    about = one.size, one.channels
    known = Known()
    surveyed = known.survey(adapter, one)
    records, places = selection.with_rectified(surveyed), known.asking(adapter, one)
    reasons = selection.rejections(records, *about, places)
    names = [r.layer.name for r, reason in zip(records, reasons, strict=True) if not reason]
    reached = _reached(adapter, one, names, places)
    if hidden := not reached:
        # A head of zeros, as some models start with, hides what would be reached.
        reached = set(names)
    try:
        good = selection.ranking(surveyed, *about, places)
        chosen = next((name for name in good if name in reached), good[0])
    except LayerError:
        good, chosen = (), None
    sizes = [selection.map_size(record, *about, places) for record in records]
    grids = {r.layer.name: size for r, size in zip(records, sizes, strict=True) if size}
    worth = [name for name in good if name in reached and name in grids]
    if hidden and chosen is not None:
        worth = _not_behind(chosen, worth, records, *about, places)
    why = {} if chosen is None else _few(worth, chosen, grids)
    return tuple(
        Candidate(
            record.layer,
            record.shape,
            record.calls,
            size,
            _fault(record.layer.name in reached, reason, size),
            record.layer.name == chosen,
            why.get(record.layer.name, ""),
        )
        for record, reason, size in zip(records, reasons, sizes, strict=True)
    )


def _not_behind(
    chosen: str,
    worth: Sequence[str],
    records: Sequence[LayerRecord],
    size: tuple[int, ...],
    channels: Channels,
    places: Places,
) -> list[str]:
    """Leave out layers behind one whose patches are tokens among others.

    It is the last before the last attention, behind which class tokens alone may be read.
    """
    order = {record.layer.name: i for i, record in enumerate(records)}
    record = records[order[chosen]]
    if not layout.of_one(record, size, channels, places.likely).among_others(record.shape):
        return list(worth)
    return [name for name in worth if order[name] <= order[chosen]]


def _few(worth: Sequence[str], chosen: str, grids: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Say of the few layers that matter why they do; of those `worth` it, the best is first."""
    own = grids.get(chosen, ())
    last: dict[tuple[int, ...], str] = {own: chosen}
    for name in worth:
        last.setdefault(grids[name], name)
    # Those of grids near to the chosen one's matter most.
    sizes = sorted(last, key=lambda size: abs(math.log(math.prod(size) / math.prod(own))))
    few = {
        last[size]: f"last on a {'finer' if math.prod(size) > math.prod(own) else 'coarser'} grid"
        for size in sizes[:_MOST]
        if size != own
    }
    if len(few) < _LEAST:
        alike = [name for name in selection.outermost(worth) if grids[name] == own]
        for part, said in _EARLIER.items():
            name = alike[round(part * (len(alike) - 1))] if alike else chosen
            few.setdefault(name, said)
    return {**few, chosen: "explained when none is named"}


def _fault(reached: bool, reason: str, size: tuple[int, ...] | None) -> str:
    if size is None:
        return "no map"
    return reason or ("" if reached else "no gradient")


def _reached(adapter: Adapter, inputs: Inputs, names: Sequence[str], places: Places) -> set[str]:
    """Find the layers where some output has a gradient, class tokens aside."""
    found = dependent_layers(lambda some: adapter.run(inputs.native, some, [any_score]), names)
    return {name for name, traced in found.items() if has_gradient(traced, inputs, places.likely)}
