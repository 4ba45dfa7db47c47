"""Find the layers that an input feeds, and so the input that a layer's map lies over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from camcore._shared.remembered import remembered
from camcore.adapter import Adapter
from camcore.errors import InputError
from camcore.inputs import Inputs, listed
from camcore.layers import seen

_known: WeakKeyDictionary[Any, dict[Any, set[str]]] = WeakKeyDictionary()
"""The layers of each model that were asked about and are fed."""


def fed(
    model: object, adapter: Adapter, inputs: Inputs, layers: Sequence[str], path: str
) -> set[str]:
    """Find those of the layers whose output changes where an input does.

    Parameters
    ----------
    model : object
        The model, and what is known of it.
    adapter : Adapter
        Its adapter; asked for two forward passes, once a model.
    inputs : Inputs
        What the model is given.
    layers : sequence of str
        Names of layers.
    path : str
        Of the input.

    Returns
    -------
    set of str
    """
    known = remembered(_known, model, {})
    key = (tuple(layers), path, tuple(shape[1:] for shape in inputs.shapes.values()))
    if key not in known:
        plain = adapter.run(inputs.native, layers)
        given = replace(inputs, chosen=path or None, arrays=plain.inputs)
        noise = seen.altered(given.arrays[path])
        other = adapter.run(given.with_images(noise).native, layers)
        known[key] = {
            name
            for name in layers
            if not seen.same(other.layers[name].activations, plain.layers[name].activations)
        }
    return known[key]


def pictured(
    model: object, adapter: Adapter, inputs: Inputs, layers: Sequence[str], alters: bool
) -> Inputs:
    """Choose the input that maps lie over, of several with spatial extent.

    Parameters
    ----------
    model, adapter, inputs
        As `fed` takes them.
    layers : sequence of str
        The layers that are looked at; none where a method looks at the input alone.
    alters : bool
        Whether a method reads or alters the input itself, so that another of the same size
        would not do.

    Returns
    -------
    Inputs
        With the one input that feeds the layers chosen. As they are where all are of one size
        and not altered.

    Raises
    ------
    InputError
        Several feed them. The message lists them.
    """
    alike = len({shape[1:] for shape in inputs.pictures.values()}) == 1
    if alike and not alters:
        return inputs
    feeding = [
        path for path in inputs.pictures if layers and fed(model, adapter, inputs, layers, path)
    ]
    if len(feeding) == 1:
        return replace(inputs, chosen=feeding[0])
    several = {
        path: shape for path, shape in inputs.pictures.items() if path in feeding or not feeding
    }
    raise InputError(
        f"{len(several)} inputs of the model have spatial extent: {listed(several)}. Say which "
        f"one the map lies over and the method alters: input={next(iter(several))!r}."
    )
