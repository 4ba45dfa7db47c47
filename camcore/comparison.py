"""How far explanations are from one another: of libraries, methods, frameworks or models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError, MissingExtraError
from camcore.explanation import Explanation
from camcore.metrics import agreement
from camcore.postprocess import normalise
from camcore.resize import resize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Explanations: TypeAlias = "Explanation | Sequence[Explanation] | Mapping[str, Explanation]"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two explanations of the same images, measured image by image.

    Parameters
    ----------
    names : (str, str)
        What the two are called.
    maps : pair of (B, *S) array
        Their maps, at the size of the larger.
    largest : (B,) array
        The largest absolute difference.
    pearson, spearman : (B,) array
        Linear and rank correlation; NaN where a map is constant.
    ssim : (B,) array or None
        Structural similarity; None without scikit-image (extra ``metrics``).
    overlap : (B,) array
        Share of the strongest positions that they have in common.
    """

    names: tuple[str, str]
    maps: tuple[Array, Array]
    largest: Array
    pearson: Array
    spearman: Array
    ssim: Array | None
    overlap: Array

    @property
    def worst(self) -> int:
        """Index of the image whose maps are farthest apart."""
        return int(np.argmax(self.largest))

    @property
    def where(self) -> tuple[tuple[int, ...], ...]:
        """For each image, the position where the two differ most."""
        gaps = np.abs(self.maps[0] - self.maps[1])
        return tuple(
            tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape)) for gap in gaps
        )


@dataclass(frozen=True)
class Comparison:
    """Explanations held against one another, pair by pair.

    Parameters
    ----------
    pairs : tuple of Pair
        Each with each, or each with its namesake.
    share : float
        Which share of the positions counts as the strongest.
    """

    pairs: tuple[Pair, ...]
    share: float

    @property
    def largest(self) -> float:
        """The largest difference anywhere."""
        return max(float(pair.largest.max()) for pair in self.pairs)

    def table(self) -> list[dict[str, Any]]:
        """One row for each pair; of several images, the one that agrees least.

        Returns
        -------
        list of dict
            ``first``, ``second``, ``largest``, ``pearson``, ``spearman``, ``ssim``,
            ``overlap``, ``image`` (the one that differs most) and ``where`` in it.
        """
        return [
            {
                "first": pair.names[0],
                "second": pair.names[1],
                "largest": float(pair.largest.max()),
                "pearson": _least(pair.pearson),
                "spearman": _least(pair.spearman),
                "ssim": None if pair.ssim is None else _least(pair.ssim),
                "overlap": _least(pair.overlap),
                "image": pair.worst,
                "where": pair.where[pair.worst],
            }
            for pair in self.pairs
        ]

    def figure(self) -> Figure:
        """Both maps and their difference, a row for each pair, at the image that differs most.

        Raises
        ------
        InputError
            The maps are not flat.
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        from camcore.viz.comparison import comparison_figure

        return comparison_figure(self.pairs)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def __str__(self) -> str:
        top = f"top {self.share:.0%}"
        heads = ["", "", "largest", "Pearson", "Spearman", "SSIM", top, "where"]
        rows = [heads]
        for row in self.table():
            place = ", ".join(map(str, row["where"]))
            rows.append(
                [
                    row["first"],
                    row["second"],
                    f"{row['largest']:.2g}",
                    *(_short(row[key]) for key in ("pearson", "spearman", "ssim", "overlap")),
                    f"image {row['image']} at ({place})",
                ]
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        if any(pair.ssim is None for pair in self.pairs):
            lines.append('SSIM needs scikit-image: pip install "camcore[metrics]"')
        return "\n".join(lines)


def compare(
    first: Explanations,
    second: Explanations | None = None,
    *,
    share: float = 0.1,
    scaled: bool = False,
) -> Comparison:
    """Measure how far explanations of the same images are apart.

    Parameters
    ----------
    first : Explanation, or sequence or mapping of these
        Alone, each of several is held against each other.
    second : Explanation, or sequence or mapping of these, optional
        What `first` is held against: one by one in order, or by name.
    share : float
        Which share of the positions counts as the strongest, in (0, 1].
    scaled : bool
        Bring each map to [0, 1] by its own extremes first, for conventions that leave
        maps in the units of the score.

    Returns
    -------
    Comparison
        Its ``str`` is a table. Maps of two sizes meet at the larger, by linear
        interpolation.

    Raises
    ------
    InputError
        There is nothing to compare, or the maps are not of the same images.

    Examples
    --------
    >>> by_recipe = {r: camcore.explain(model, x, recipe=r) for r in names}  # doctest: +SKIP
    >>> print(camcore.compare(by_recipe))                                    # doctest: +SKIP
    """
    if second is None:
        named = _named(first)
        couples = [(named[a], named[b], (a, b)) for a, b in combinations(named, 2)]
    else:
        couples = _couples(first, second)
    if not couples:
        raise InputError("One explanation alone has nothing to be compared with; give another.")
    return Comparison(tuple(_pair(*couple, share, scaled) for couple in couples), share)


def _named(explanations: Explanations) -> dict[str, Explanation]:
    """Explanations by what tells them apart: their methods, recipes or layers."""
    if isinstance(explanations, Explanation):
        explanations = [explanations]
    if isinstance(explanations, Mapping):
        return dict(explanations)
    facts = [(e.method, e.recipe, ", ".join(e.layers)) for e in explanations]
    telling = [len(set(column)) > 1 for column in zip(*facts, strict=True)]
    names = [
        " ".join(fact for fact, tells in zip(row, telling, strict=True) if tells) for row in facts
    ]
    names = [
        name if name and names.count(name) == 1 else f"{name} #{i}".strip()
        for i, name in enumerate(names)
    ]
    return dict(zip(names, explanations, strict=True))


def _couples(
    first: Explanations, second: Explanations
) -> list[tuple[Explanation, Explanation, tuple[str, str]]]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if set(first) != set(second):
            raise InputError(
                f"Explanations of {', '.join(first)} and of {', '.join(second)} cannot be "
                "compared by name; the two need the same names."
            )
        return [(first[name], second[name], (name, name)) for name in first]
    ones, others = (
        [e] if isinstance(e, Explanation) else list(e.values() if isinstance(e, Mapping) else e)
        for e in (first, second)
    )
    if len(ones) != len(others):
        raise InputError(
            f"{len(ones)} explanations and {len(others)} cannot be compared one by one; "
            "give as many of each."
        )
    names = [list(_named([one, other])) for one, other in zip(ones, others, strict=True)]
    return [(a, b, (n[0], n[1])) for a, b, n in zip(ones, others, names, strict=True)]


def _pair(
    first: Explanation, second: Explanation, names: tuple[str, str], share: float, scaled: bool
) -> Pair:
    a, b = np.asarray(first.maps), np.asarray(second.maps)
    if len(a) != len(b) or a.ndim != b.ndim:
        raise InputError(
            f"Maps of shape {a.shape} ({names[0]}) and {b.shape} ({names[1]}) are not of the "
            "same images."
        )
    size = tuple(np.maximum(a.shape[1:], b.shape[1:]))
    a, b = (maps if maps.shape[1:] == size else resize(maps, size) for maps in (a, b))
    if scaled:
        a, b = (normalise(maps, "min_max") for maps in (a, b))
    try:
        ssim = agreement.ssim(a, b)
    except MissingExtraError:
        ssim = None
    return Pair(
        names=names,
        maps=(a, b),
        largest=agreement.largest_difference(a, b),
        pearson=agreement.pearson(a, b),
        spearman=agreement.spearman(a, b),
        ssim=ssim,
        overlap=agreement.top_overlap(a, b, share),
    )


def _least(values: Array) -> float:
    """The smallest that is a number; NaN where none is."""
    numbers = values[~np.isnan(values)]
    return float(numbers.min()) if len(numbers) else float("nan")


def _short(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.4f}"
