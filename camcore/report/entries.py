"""The entries of a report: explanations of the same photographs, and which are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

import numpy as np

from camcore.adapter import Array
from camcore.comparison import compare
from camcore.errors import InputError
from camcore.explanation import Explanation
from camcore.methods.table import registered
from camcore.metrics.agreement import Pair
from camcore.photos.crop import Crop
from camcore.recipes import OverlayStyle
from camcore.viz.explanation import explained_name

AXES = ("model", "recipe", "method")
"""Attributes in which entries may differ, in the order in which they are compared."""

STRETCHED = (
    "Some maps do not go from 0 to 1, as their recipes have it; they were stretched to that range "
    "to be compared."
)
"""The note beside a comparison of such maps."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One explanation of all photographs: a model, a method and a recipe.

    Parameters
    ----------
    explanation : Explanation
        Of B photographs, in their order.
    model : str
        Name of the model.
    framework : str
        Name of its framework.
    crops : sequence of B Crop, optional
        The square of each photograph that its map covers; all of it unless given.
    classes : sequence of str, optional
        Class names by index.
    seconds : float, optional
        Time for one photograph.
    passes : float, optional
        The same, in forward passes of the model.
    """

    explanation: Explanation
    model: str = ""
    framework: str = ""
    crops: Sequence[Crop] | None = None
    classes: Sequence[str] | None = None
    seconds: float | None = None
    passes: float | None = None

    def __getitem__(self, samples: Sequence[int]) -> Entry:
        """Select photographs by their indices."""
        crops = self.crops and [self.crops[index] for index in samples]
        return replace(self, explanation=self.explanation[samples], crops=crops)

    @property
    def method(self) -> str:
        """The method's name, as papers write it."""
        row = registered(self.explanation.method)
        return self.explanation.method if row is None else row.label

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return self.explanation.recipe

    @property
    def style(self) -> OverlayStyle:
        """How its maps are laid over photographs."""
        return self.explanation.overlay_style

    @property
    def best(self) -> Array | None:
        """The highest class of each photograph, ``(B,)``; None without class scores."""
        scores = self.explanation.class_scores
        if scores is None or scores.shape[1] < 2:
            return None
        best: Array = scores.argmax(axis=1)
        return best

    def explained(self, index: int) -> str:
        """Name what is explained in the photograph `index`."""
        return explained_name(self.explanation, self.classes, index)


@dataclass(frozen=True, eq=False)
class ComparedPair:
    """Two entries that differ in one of `AXES` alone, compared.

    Parameters
    ----------
    first, second : Entry
        The two.
    axis : str
        The one of `AXES` in which they differ.
    alike : tuple of str
        Their values on the other axes, as far as these tell pairs apart.
    pair : Pair
        How far they are apart on each photograph.
    same : (B,) bool array or None
        Whether both rank the same class highest; None without class scores.
    """

    first: Entry
    second: Entry
    axis: str
    alike: tuple[str, ...]
    pair: Pair
    same: Array | None

    @property
    def names(self) -> tuple[str, str]:
        """Names of the two: their values on the axis."""
        return getattr(self.first, self.axis), getattr(self.second, self.axis)

    @property
    def largest(self) -> float:
        """The largest difference on any photograph."""
        return float(self.pair.largest.max())


Reportable: TypeAlias = (
    "Explanation | Entry | Sequence[Explanation | Entry] "
    "| Mapping[str, Explanation | Entry | Mapping[str, Explanation]]"
)


def as_entries(explanations: Reportable) -> list[Entry]:
    """Convert `explanations` to entries with names of their own.

    Parameters
    ----------
    explanations : Explanation, Entry, sequence of these, or mapping
        A mapping has the name of the model as key, and as value an explanation or what
        `camcore.explain` returns for several methods: a mapping by method. The latter
        may also be given alone.

    Returns
    -------
    list of Entry

    Raises
    ------
    InputError
        There are none, they are of different numbers of photographs, or their maps do
        not have one, two or three spatial axes, as many in each; or maps lie on a layer's own
        grid, and it is not said by crops where over photographs that is.
    """
    found = _unique(list(map(_with_photographs, _listed(explanations))))
    if not found:
        raise InputError("A report needs at least one explanation; got none.")
    counts = {len(entry.explanation) for entry in found}
    if len(counts) > 1:
        raise InputError(
            f"Explanations of {' and '.join(map(str, sorted(counts)))} photographs cannot share "
            "a report. Explain the same ones."
        )
    for entry in found:
        if entry.explanation.frame == "layer" and entry.crops is None:
            raise InputError(
                f"The maps of {', '.join(entry.explanation.layers)} lie on the layer's own grid "
                f"{entry.explanation.maps.shape[1:]}, not over the model's input, so they cannot "
                "be shown over it in a report. Draw them alone: explanation.figure()."
            )
    shapes = {entry.explanation.maps.ndim: entry.explanation.maps.shape for entry in found}
    if len(shapes) > 1 or not shapes.keys() <= {2, 3, 4}:
        raise InputError(
            f"Maps of shape {' and '.join(map(str, shapes.values()))} cannot share a report; "
            "expected (B, H, W) of photographs, or (B, D, H, W) of volumes, or (B, L) of signals."
        )
    return found


def _with_photographs(entry: Entry) -> Entry:
    """Take the crops and the classes' names that an explanation of photographs has itself."""
    own = [one.crop for one in entry.explanation.photographs]
    known = [crop for crop in own if crop is not None]
    return replace(
        entry,
        crops=known if entry.crops is None and own and len(known) == len(own) else entry.crops,
        classes=entry.explanation.names if entry.classes is None else entry.classes,
    )


def _listed(explanations: Reportable) -> list[Entry]:
    if isinstance(explanations, Explanation):
        return [Entry(explanations)]
    if isinstance(explanations, Entry):
        return [explanations]
    if not isinstance(explanations, Mapping):
        return [_entry(one, "") for one in explanations]
    listed = []
    for name, value in explanations.items():
        if isinstance(value, Mapping):
            listed += [_entry(one, name) for one in value.values()]
        else:
            by_method = isinstance(value, Explanation) and value.method == name.partition("#")[0]
            listed.append(_entry(value, "" if by_method else name))
    return listed


def _entry(value: object, model: str) -> Entry:
    if isinstance(value, Explanation):
        return Entry(value, model)
    if isinstance(value, Entry):
        return value if value.model or not model else replace(value, model=model)
    raise InputError(
        f"A report is made of explanations; got a {type(value).__name__}. "
        "Give one explanation for each name where there are several targets."
    )


def _unique(entries: Sequence[Entry]) -> list[Entry]:
    """Give entries that agree on every axis names with their layers, or with a number."""

    def ambiguous(several: Sequence[Entry]) -> bool:
        return len({tuple(getattr(e, axis) for axis in AXES) for e in several}) < len(several)

    if ambiguous(entries):
        entries = [
            replace(e, model=f"{e.model} at {', '.join(e.explanation.layers)}".strip())
            for e in entries
        ]
    if ambiguous(entries):
        entries = [replace(e, model=f"{e.model} #{i}") for i, e in enumerate(entries, 1)]
    return list(entries)


def values(entries: Sequence[Entry], axis: str) -> list[str]:
    """List the values of `entries` on an axis, in order, each once."""
    return list(dict.fromkeys(getattr(entry, axis) for entry in entries))


def compared_axis(entries: Sequence[Entry]) -> str | None:
    """Find the axis on which entries are compared: the first on which they differ."""
    return next((axis for axis in AXES if len(values(entries, axis)) > 1), None)


def sort_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Sort entries so that those that are compared are neighbours."""
    last = compared_axis(entries)
    order = [axis for axis in AXES if axis != last] + ([last] if last else [])
    known = {axis: values(entries, axis) for axis in order}
    return sorted(entries, key=lambda e: [known[axis].index(getattr(e, axis)) for axis in order])


def compare_entries(
    entries: Sequence[Entry], *, share: float = 0.1, scaled: bool | None = None
) -> list[ComparedPair]:
    """Compare each two entries that differ on one axis alone.

    The axis is the model where there are several, else the recipe, else the method: of
    two models and two methods, two pairs are compared, not six.

    Parameters
    ----------
    entries : sequence of Entry
        Explanations of the same photographs.
    share : float
        Share of the positions that counts as the strongest.
    scaled : bool, optional
        Bring each map to [0, 1] by its own extremes first. Left out, where a recipe
        leaves maps in other units.

    Returns
    -------
    list of ComparedPair
        Those that agree least first; none where nothing differs.
    """
    axis = compared_axis(entries)
    if axis is None:
        return []
    if scaled is None:
        scaled = unscaled(entries)
    others = [other for other in AXES if other != axis]
    telling = [other for other in others if len(values(entries, other)) > 1]
    pairs = [
        _compared(first, second, axis, tuple(getattr(first, one) for one in telling), share, scaled)
        for first, second in combinations(entries, 2)
        if all(getattr(first, other) == getattr(second, other) for other in others)
    ]
    return sorted(pairs, key=lambda one: -one.largest)


def unscaled(entries: Sequence[Entry]) -> bool:
    """Tell whether any map that is not empty leaves [0, 1] or does not reach 1.

    Some recipes leave maps in the units of the score.
    """
    for entry in entries:
        maps = entry.explanation.maps[~entry.explanation.empty]
        tops = maps.max(axis=tuple(range(1, maps.ndim)))
        if np.any(np.abs(tops - 1) > 0.01) or np.any(maps < -1e-6):
            return True
    return False


def _compared(
    first: Entry, second: Entry, axis: str, alike: tuple[str, ...], share: float, scaled: bool
) -> ComparedPair:
    one, other = _common_squares(first, second)
    names = (getattr(first, axis), getattr(second, axis))
    pair = compare({"first": one, "second": other}, share=share, scaled=scaled).pairs[0]
    best = first.best, second.best
    same = None
    if best[0] is not None and best[1] is not None:
        same = np.asarray(best[0] == best[1])
    return ComparedPair(first, second, axis, alike, replace(pair, names=names), same)


def _common_squares(first: Entry, second: Entry) -> tuple[Explanation, Explanation]:
    """Cut both maps to the square that both models see; all squares are centred."""
    if not first.crops or not second.crops:
        return first.explanation, second.explanation
    seen = [crops[0].grid[0] / min(crops[0].scaled) for crops in (first.crops, second.crops)]
    common = min(seen)
    one, other = (
        _middle(entry.explanation, common / share)
        for entry, share in zip((first, second), seen, strict=True)
    )
    return one, other


def _middle(explanation: Explanation, share: float) -> Explanation:
    """Cut the maps to the middle `share` of their sides."""
    if share == 1:
        return explanation
    cuts = [round(side * (1 - share) / 2) for side in explanation.maps.shape[1:]]
    rows, columns = (slice(cut, -cut or None) for cut in cuts)
    return replace(explanation, maps=explanation.maps[:, rows, columns])
