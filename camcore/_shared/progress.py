"""Show how far long work has come, with tqdm's bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
AnyBar = TypeVar("AnyBar", bound="Bar")


def track(items: Sequence[Item], label: str, show: bool | None = None) -> Iterable[Item]:
    """Iterate over `items` with a progress bar.

    Parameters
    ----------
    items : sequence
        The work, item by item.
    label : str
        The text before the bar.
    show : bool, optional
        True for a bar, False for none. Left out, a bar appears in a terminal after
        a second of work.

    Notes
    -----
    The bar is tqdm's; without it (extra ``cli``) the work goes on silently.
    """
    tqdm = _tqdm(show)
    if tqdm is None:
        return items
    bar: Iterable[Item] = tqdm(items, desc=label, delay=0 if show else 1, leave=False)
    return bar


class Bar:
    """A progress bar that is advanced by hand; bars of `track` within it stand below it.

    Parameters
    ----------
    total : int or None
        Number of items, where it is known.
    unit : str
        The name of an item beside the rate.
    layout : str, optional
        tqdm's ``bar_format``; by default the count, the rate and the time left.
    show : bool, optional
        True for a bar, False for none. Left out, a bar appears in a terminal.
    """

    def __init__(
        self,
        total: int | None,
        unit: str = "it",
        *,
        layout: str | None = None,
        show: bool | None = None,
    ) -> None:
        tqdm = _tqdm(show)
        self._bar: Any = None
        if tqdm is not None:
            # Items are done in bursts of a batch: each is drawn, or the bar would lag behind,
            # and the rate is the mean from the start, since that of a burst means nothing.
            often = {"mininterval": 0, "miniters": 1, "smoothing": 0}
            look = {"unit": unit, "bar_format": layout, "leave": False, "dynamic_ncols": True}
            self._bar = tqdm(total=total, **look, **often)

    def __enter__(self: AnyBar) -> AnyBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __bool__(self) -> bool:
        return self._bar is not None

    def advance(self, count: int = 1) -> None:
        """Count items as done."""
        if self._bar is not None:
            self._bar.update(count)

    def expect(self, total: int | None) -> None:
        """Set how many items there are, once that is known."""
        if self._bar is not None:
            self._bar.total = total

    def describe(self, text: str) -> None:
        """Set the layout's ``{desc}`` to `text`."""
        if self._bar is not None:
            self._bar.set_description_str(text)

    def clear(self) -> None:
        """Erase the bar until it is advanced, to make room for other output."""
        if self._bar is not None:
            self._bar.clear()


def _tqdm(show: bool | None) -> Any:
    """Return tqdm's class, or None where no bar is to be shown or tqdm is missing."""
    if show is False or (show is None and not sys.stderr.isatty()):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
