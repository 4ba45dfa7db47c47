"""Showing how far long work has come."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Sequence[Item], label: str, show: bool | None = None) -> Iterable[Item]:
    """Go through the items with a progress bar.

    Parameters
    ----------
    items : sequence
        What the work goes through.
    label : str
        What it is called beside the bar.
    show : bool, optional
        True for a bar, False for none. Left out, a bar appears in a terminal after
        a second of work.

    Notes
    -----
    The bar is tqdm's; without it (extra ``cli``) the work goes on silently.
    """
    if show is False or (show is None and not sys.stderr.isatty()):
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    bar: Iterable[Item] = tqdm(items, desc=label, delay=0 if show else 1, leave=False)
    return bar
