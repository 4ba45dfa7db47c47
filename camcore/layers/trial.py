"""Try the layers worth looking at in a first pass: the best that has a gradient is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from camcore.adapter import LayerTrace, Trace
from camcore.errors import GradientError

_FEW = 3
"""How many are traced in the first pass; each takes memory from where it runs on."""

Run: TypeAlias = Callable[[Sequence[str]], Trace]
"""Traces layers in one pass; of several, the gradient is zeros where no score depends on one."""


def tried(
    run: Run, names: Sequence[str], is_good: Callable[[LayerTrace], bool], *, singly: bool
) -> tuple[Trace, str] | None:
    """Trace the best of some layers that is good.

    The best few are traced in one pass, and others in a second only where none of them will do.

    Parameters
    ----------
    run : callable
        As `Run` says.
    names : sequence of str
        Layers, best first.
    is_good : callable
        Tells whether the layer can be explained.
    singly : bool
        Whether to trace the best alone at first: an adapter that compiles a program for the
        layers asked for would compile another one for the next pass.

    Returns
    -------
    tuple of (Trace, str) or None
        The pass, and the layer; None where none of those tried is good.
    """
    for some in _groups(names, singly):
        try:
            trace = run(some)
        except GradientError:
            continue
        for name in some:
            if is_good(trace.layers[name]):
                return trace, name
    return None


def _groups(names: Sequence[str], singly: bool) -> Iterator[Sequence[str]]:
    first = 1 if singly else _FEW
    last = _FEW * 2
    # Behind the next few there are ever fewer, down to the first layers of the model.
    others = [names[i] for i in range(last, len(names)) if not i & (i - 1)]
    return filter(None, [names[:first], [*names[first:last], *others]])
