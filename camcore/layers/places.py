"""Where the patches are among a model's tokens, as far as one survey of its layers tells.

The patches' grid is that of the map they were cut from, and what was joined to them says
how many tokens stand before and behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from camcore.adapter import Channels, LayerRecord
from camcore.errors import LayerError
from camcore.layers import layout
from camcore.layers.layout import Layout


@dataclass(frozen=True)
class Places:
    """What a survey saw of maps and tokens, each with the index of its record.

    Parameters
    ----------
    names : sequence of str
        The layers' names.
    size : tuple of int
        Spatial size of the input.
    maps : sequence of (int, tuple of int)
        Sizes of maps.
    tokens : sequence of (int, int, int)
        Number of tokens, and of their channels.
    joins : sequence of (int, tuple of int)
        Lengths of what was concatenated.
    ask : callable or None
        Finds the patches among so many tokens by a further pass, where one may be made.
    rows : frozenset of int
        Numbers of rows of arrays without a batch axis.
    """

    names: Sequence[str]
    size: tuple[int, ...]
    maps: Sequence[tuple[int, tuple[int, ...]]]
    tokens: Sequence[tuple[int, int, int]]
    joins: Sequence[tuple[int, tuple[int, ...]]]
    ask: Callable[[int], Layout | None] | None = None
    rows: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls, records: Sequence[LayerRecord], size: tuple[int, ...], convention: Channels
    ) -> Places:
        """Read the records of a survey of one sample."""
        maps, tokens, joins = [], [], []
        rows = frozenset(r.shape[0] for r in records if len(r.shape) == 2 and r.shape[0] > 1)
        for i, record in enumerate(records):
            joins += [(i, lengths) for lengths in record.joins]
            shape, batch = record.shape, layout.axis_of_one(record.shape)
            if len(shape) < 3 or shape[batch] != 1:
                continue
            if len(shape) == 3:
                tokens.append((i, shape[1 - batch], shape[2]))
            elif len(shape) == len(size) + 2 and batch < len(shape) - 1:
                grid = layout.of_one(record, size, convention).size(shape)
                if record.channels is not None or layout.is_reduction(grid, size):
                    maps.append((i, grid))
        names = [record.layer.name for record in records]
        return cls(names, size, maps, tokens, joins, rows=rows)

    def returning(self, count: int) -> list[str]:
        """Name the layers that return so many tokens, the least mixed first."""
        return [self.names[i] for i, tokens, _ in self.tokens if tokens == count]

    def packs(self, count: int) -> bool:
        """Tell whether so many tokens stand in rows without a batch axis, and nowhere else."""
        return count in self.rows and not self.returning(count)

    def lack(self, count: int) -> bool:
        """Tell whether layers return tokens, but none so many: the model was altered since."""
        return bool(self.tokens) and not self.returning(count)

    def find(self, count: int) -> Layout | None:
        """Find the patches among so many tokens; None where the survey leaves that open."""
        at = next((i for i, tokens, _ in self.tokens if tokens == count), len(self.names))
        return self._cut_from_map(count, at) or self._joined(count, at) or self._merged(count, at)

    def likely(self, count: int, wanted: Layout | None) -> Layout:
        """Find the patches among so many tokens, by their number where there is no evidence.

        Raises
        ------
        LayerError
            No square patches fit either, or a further pass does not show them.
        """
        found = self.find(count)
        if found is None:
            found = layout.by_shape(count, self.size, wanted)
            if self.ask is not None:
                found = self.ask(count)
        if found is None:
            raise LayerError(_unclear(self, count))
        return found

    def fits(self, grid: tuple[int, ...]) -> bool:
        """Tell whether a grid is that of a map, or of one with neighbours merged alike."""
        return not self.maps or any(
            len(size) == len(grid)
            and any(
                tuple(-(-length // factor) for length in size) == grid
                for factor in range(1, max(size) + 1)
            )
            for _, size in self.maps
        )

    @property
    def patches(self) -> tuple[int, ...] | None:
        """Size of the last map before the first tokens, or None."""
        first = self.tokens[0][0] if self.tokens else len(self.names)
        return next((size for i, size in reversed(self.maps) if i < first), None)

    def _cut_from_map(self, count: int, at: int) -> Layout | None:
        for i, size in reversed(self.maps):
            if i <= at and math.prod(size) == count > 1:
                return Layout("tokens", size, 0)
        return None

    def _joined(self, count: int, at: int) -> Layout | None:
        for i, lengths in reversed(self.joins):
            if i <= at and sum(lengths) == count:
                longest = lengths.index(max(lengths))
                within = self.find(lengths[longest])
                if within is not None and lengths.count(max(lengths)) == 1:
                    before = sum(lengths[:longest]) + (within.prefix or 0)
                    return Layout("tokens", within.grid, before)
        return None

    def _merged(self, count: int, at: int) -> Layout | None:
        """Find neighbours that were put side by side: fewer tokens, as many values."""
        here = next((c for i, tokens, c in self.tokens if i == at), 0)
        before = [(tokens, c) for i, tokens, c in self.tokens if i < at and tokens != count]
        if not before or before[-1][0] < count or math.prod(before[-1]) != count * here:
            return None
        whole = self.find(before[-1][0])
        if whole is None or whole.prefix or math.prod(whole.grid or ()) != before[-1][0]:
            return None
        grid = whole.grid or ()
        factor = round((before[-1][0] / count) ** (1 / len(grid)))
        merged = tuple(length // factor for length in grid)
        return Layout("tokens", merged, 0) if math.prod(merged) == count else None


def settle(places: Places, count: int, wanted: Layout | None, found: Layout | None) -> Layout:
    """Settle where the patches are: as was found, if the user does not say otherwise.

    Parameters
    ----------
    places : Places
        What a survey saw.
    count : int
        Number of tokens.
    wanted : Layout or None
        What the user says of them.
    found : Layout or None
        What was found by evidence.

    Returns
    -------
    Layout
        Complete.

    Raises
    ------
    LayerError
        What is said does not fit, or nothing tells which of several readings is right.
    """
    said = wanted or Layout("tokens")
    if found is not None and _agrees(found, said, count):
        return found
    if said.grid is None and said.prefix is None and said.suffix is None:
        raise LayerError(_unclear(places, count))
    left = count - (said.prefix or 0) - (said.suffix or 0)
    if said.grid is None and said.prefix is not None:
        sizes = [size for _, size in reversed(places.maps)]
        exact = next((size for size in sizes if math.prod(size) == left), None)
        within = places.patches if said.suffix is None else None
        if exact or (within and math.prod(within) < left):
            return layout.on_said_grid(count, replace(said, grid=exact or within))
    return layout.by_shape(count, places.size, said)


def _agrees(found: Layout, said: Layout, count: int) -> bool:
    grid, patches = found.patches
    behind = count - patches.stop
    return (
        said.grid in (None, grid)
        and said.prefix in (None, found.prefix)
        and said.suffix in (None, behind)
    )


def _unclear(places: Places, count: int) -> str:
    """Say how so many tokens can be read, and how to choose."""
    patches, readings = places.patches, []
    if patches is not None and math.prod(patches) > count:
        return (
            f"The layer returns {count} tokens, fewer than the model's {_times(patches)} patches: "
            "some were dropped or merged, and nothing tells where the rest lie. Choose a layer "
            "before that, or say it: layout=camcore.Layout('tokens', grid=(rows, columns), "
            "prefix=n, suffix=m)."
        )
    if patches is not None:
        more = count - math.prod(patches)
        readings.append(f"{_times(patches)} patches with {more} more before or behind them")
    for before in range(min(layout.MAX_PREFIX_TOKENS, count - 1) + 1):
        grid = layout.square_patches(count - before, places.size)
        if grid not in (None, patches):
            readings.append(f"{_times(grid)} patches behind {before}")
    listed = " or ".join(readings) or f"no square patches over an input of {places.size}"
    return (
        f"The layer returns {count} tokens, which may be {listed}. Say it: "
        "layout=camcore.Layout('tokens', grid=(rows, columns), prefix=n, suffix=m)."
    )


def _times(size: Iterable[int]) -> str:
    return "x".join(map(str, size))
