"""Find the layers that a score depends on, in few passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from camcore.adapter import LayerTrace, Leaves, Trace
from camcore.errors import GradientError, LayerError
from camcore.inputs import Inputs
from camcore.layers import layout
from camcore.layers.layout import Layout, Reader


def dependent_layers(
    run: Callable[[Sequence[str]], Trace], names: Sequence[str]
) -> dict[str, LayerTrace]:
    """Trace those of the layers that the score depends on.

    Parameters
    ----------
    run : callable
        Takes names of layers and returns a pass with gradients there.
    names : sequence of str
        Layers, some of which may feed another output.

    Returns
    -------
    dict of str to LayerTrace
        In the order of the names, the others left out.
    """
    if not names:
        return {}
    try:
        return dict(run(names).layers)
    except GradientError:
        # It names one such layer only; halves find them all in a few passes.
        half = len(names) // 2
        return (
            {**dependent_layers(run, names[:half]), **dependent_layers(run, names[half:])}
            if half
            else {}
        )


def any_score(outputs: Leaves) -> Leaves:
    """Weigh every output at random, so that a gradient is zero nowhere by chance."""
    rng = np.random.default_rng(0)
    return {
        path: rng.normal(size=leaf.shape).astype(leaf.dtype)
        for path, leaf in outputs.items()
        if np.issubdtype(leaf.dtype, np.floating)
    }


def has_gradient(
    traced: LayerTrace, inputs: Inputs, read: Reader, wanted: Layout | None = None
) -> bool:
    """Tell whether some score has a gradient at a place of the layer's map.

    Parameters
    ----------
    traced : LayerTrace
        The layer in a pass.
    inputs : Inputs
        What the pass was run on.
    read : callable
        Finds the patches among tokens, as `camcore.layers.layout.infer` takes it.
    wanted : Layout or None
        What the user says of the layer's layout.

    Returns
    -------
    bool
        False where only class tokens have one.
    """
    about = traced.channels, inputs.size, wanted, inputs.channels
    for gradients in traced.gradients:
        batch = layout.axis_of_one(gradients.shape) if inputs.batch == 1 else 0
        try:
            found = layout.infer(gradients.shape, *about, batch=batch, read=read)
            places = found.canonical(gradients)
        except LayerError:
            places = gradients
        if np.any(places):
            return True
    return False
