"""Find the layers that a score depends on, in few passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from camcore.adapter import LayerTrace, Trace
from camcore.errors import GradientError


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
