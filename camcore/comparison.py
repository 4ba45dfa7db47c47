"""Compare explanations with one another: of libraries, methods, frameworks or models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations, compress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from camcore.errors import InputError, MissingExtraError
from camcore.explanation import Explanation
from camcore.metrics import agreement
from camcore.metrics.agreement import Pair
from camcore.postprocess import normalise
from camcore.resize import resize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "Explanations", "Pair", "compare"]

Explanations: TypeAlias = "Explanation | Sequence[Explanation] | Mapping[str, Explanation]"
_Match: TypeAlias = "tuple[tuple[str, str], Explanation, Explanation]"


@dataclass(frozen=True)
class Comparison:
    """Explanations compared with one another, pair by pair.

    Parameters
    ----------
    pairs : tuple of Pair
        Each explanation with each other, or each with its namesake.
    share : float
        How much of the positions counts as the strongest.
    """

    pairs: tuple[Pair, ...]
    share: float

    @property
    def largest(self) -> float:
        """The largest difference anywhere."""
        return max(float(pair.largest.max()) for pair in self.pairs)

    def table(self) -> list[dict[str, Any]]:
        """Tabulate the pairs, a row for each; of several images, the one that agrees least.

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
                **pair.numbers(),
                "image": pair.worst,
                "where": pair.where[pair.worst],
            }
            for pair in self.pairs
        ]

    def figure(self) -> Figure:
        """Draw both maps and their difference, a row for each pair.

        Returns
        -------
        matplotlib.figure.Figure
            Of each pair, the image whose maps are farthest apart.

        Raises
        ------
        InputError
            The maps are not flat.
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        from camcore.viz.figure import comparison_figure

        maps = [(one.maps[0][one.worst], one.maps[1][one.worst]) for one in self.pairs]
        return comparison_figure([one.names for one in self.pairs], maps)

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
        Alone, each of several is compared with each other.
    second : Explanation, or sequence or mapping of these, optional
        What `first` is compared with: one by one in order, or by name.
    share : float
        How much of the positions counts as the strongest, in (0, 1].
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
        named = list(_by_name(first).items())
        matches = [((a, b), one, other) for (a, one), (b, other) in combinations(named, 2)]
    else:
        matches = _matches(first, second)
    if not matches:
        raise InputError("One explanation alone has nothing to be compared with; give another.")
    return Comparison(tuple(_measured(*match, share, scaled) for match in matches), share)


def _by_name(explanations: Explanations) -> dict[str, Explanation]:
    """Name explanations by what sets them apart: their methods, recipes or layers."""
    if isinstance(explanations, Mapping):
        return dict(explanations)
    listed = _listed(explanations)
    origins = [(e.method, e.recipe, ", ".join(e.layers)) for e in listed]
    differs = [len(set(column)) > 1 for column in zip(*origins, strict=True)]
    names = [" ".join(compress(origin, differs)) for origin in origins]
    names = [
        name if name and names.count(name) == 1 else f"{name} #{i}".strip()
        for i, name in enumerate(names)
    ]
    return dict(zip(names, listed, strict=True))


def _listed(explanations: Explanations) -> list[Explanation]:
    if isinstance(explanations, Explanation):
        return [explanations]
    listed = list(explanations.values() if isinstance(explanations, Mapping) else explanations)
    for one in listed:
        if not isinstance(one, Explanation):
            raise InputError(
                f"Explanations are compared; got a {type(one).__name__} in a "
                f"{type(explanations).__name__}. Give results of camcore.explain."
            )
    return listed


def _matches(first: Explanations, second: Explanations) -> list[_Match]:
    """Match explanations by name where both sides are mappings, otherwise in order."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        if set(first) != set(second):
            raise InputError(
                f"Explanations of {', '.join(first)} and of {', '.join(second)} cannot be "
                "compared by name; the two need the same names."
            )
        return [((name, name), first[name], second[name]) for name in first]
    ones, others = _listed(first), _listed(second)
    if len(ones) != len(others):
        raise InputError(
            f"{len(ones)} explanations and {len(others)} cannot be compared one by one; "
            "give as many of each."
        )
    names = [list(_by_name(pair)) for pair in zip(ones, others, strict=True)]
    return [((n[0], n[1]), a, b) for n, a, b in zip(names, ones, others, strict=True)]


def _measured(
    names: tuple[str, str], first: Explanation, second: Explanation, share: float, scaled: bool
) -> Pair:
    a, b = np.asarray(first.maps), np.asarray(second.maps)
    if len(a) != len(b) or a.ndim != b.ndim:
        raise InputError(
            f"Maps of shape {a.shape} ({names[0]}) and {b.shape} ({names[1]}) are not of the "
            "same images; explain the same batch twice."
        )
    size = tuple(np.maximum(a.shape[1:], b.shape[1:]))
    a, b = (maps if maps.shape[1:] == size else resize(maps, size, leading=1) for maps in (a, b))
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


def _short(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.4f}"
