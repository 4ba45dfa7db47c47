"""Draw grids: images by methods, images by layers, frameworks by methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.table import registered
from camcore.recipes import OverlayStyle
from camcore.viz.annotations import Marks
from camcore.viz.colormaps import Coloured, coloured
from camcore.viz.panels import (
    Pictures,
    add_letters,
    bare,
    label,
    panels,
    pictures,
    same_number,
    show,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind: TypeAlias = Literal["overlay", "map", "signed"]
Column: TypeAlias = "ExplainedMaps | Pictures"
Columns: TypeAlias = "Mapping[str, Column]"


@runtime_checkable
class ExplainedMaps(Protocol):
    """What a grid draws of an explanation: its maps, and the layers they were made from."""

    @property
    def maps(self) -> Array:
        """The shown maps, ``(B, *S)``."""

    @property
    def raw(self) -> Mapping[str, Array]:
        """Each layer's signed maps, ``(B, *S)``."""

    @property
    def method(self) -> str:
        """Name of the method that made the maps."""

    @property
    def overlay_style(self) -> OverlayStyle:
        """How the maps are laid over a photograph."""

    def by_layer(self) -> Mapping[str, ExplainedMaps]:
        """Split into an explanation of each layer by itself."""


_WIDTH = 1.9


def grid(
    images: Pictures,
    explanations: ExplainedMaps | Columns | Mapping[str, Columns],
    *,
    kind: Kind = "overlay",
    titles: Sequence[str] | None = None,
    style: OverlayStyle | None = None,
    colormap: str | None = None,
    marks: Marks | None = None,
    letters: bool = False,
) -> Figure:
    """Draw many explanations of the same images, in rows and columns.

    Parameters
    ----------
    images : (B, H, W, 3) or (H, W, 3) array, or B arrays (H, W, 3)
        RGB, uint8 or floating in [0, 1].
    explanations : Explanation, or mapping of str to these, or mapping of str to such mappings
        One explanation has a column for each of its layers. A mapping, such as `explain`
        returns for several methods, has a column for each name. A mapping of mappings has
        a row of each image for each outer name: frameworks, say, by methods. In place of
        an explanation, its maps ``(B, h, w)`` will do.
    kind : {"overlay", "map", "signed"}
        Maps over images, maps alone, or signed maps over grey images.
    titles : B strings, optional
        What is explained in each image.
    style : OverlayStyle, optional
        How image and map are mixed; the explanations' own where they share one.
    colormap : str, optional
        Instead of the style's, as `overlay` takes it; a diverging one where maps are signed.
    marks : Marks, optional
        Level lines, boxes and outlines over the pictures.
    letters : bool
        Put (a), (b), ... before the columns' titles.

    Returns
    -------
    matplotlib.figure.Figure
        One scale serves all maps in [0, 1]. Signed maps, in the units of each column's
        score, have one scale for each column.

    Raises
    ------
    InputError
        Names or numbers do not match, or signed maps are asked for and an explanation
        beside others has several layers.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> results = camcore.explain(model, x, method=["gradcam", "layercam"])  # doctest: +SKIP
    >>> camcore.viz.grid(photos, results)                                    # doctest: +SKIP
    """
    if kind not in get_args(Kind):
        raise InputError(f"kind={kind!r} is unknown; choose from {', '.join(get_args(Kind))}.")
    photos, marks = pictures(images), marks or Marks()
    blocks = _blocks(explanations)
    names = list(next(iter(blocks.values())))
    style = style or _common_style(blocks)
    columns = [_column(blocks, name, kind, (style, colormap)) for name in names]
    for name, (heats, _) in zip(names, columns, strict=True):
        same_number(
            images=photos,
            titles=titles,
            boxes=marks.boxes,
            masks=marks.masks,
            **{f"maps of {name}": heats[:: len(blocks)]},
        )
    rows = [(i, outer) for i in range(len(photos)) for outer in range(len(blocks))]
    drawing, places = panels([photos[i].shape for i, _ in rows], 1 + len(names), _WIDTH)
    for place, (i, outer) in zip(places, rows, strict=True):
        if outer == 0:
            show(place[0], photos[i])
            marks.draw(place[0], i, photos[i].shape)
        else:
            place[0].set_facecolor("none")
            bare(place[0])
        for panel, (heats, colours) in zip(place[1:], columns, strict=True):
            heat = heats[i * len(blocks) + outer]
            if kind == "map":
                show(panel, colours.heat(heat, photos[i].shape))
            else:
                show(panel, colours.over(photos[i], heat))
            marks.draw(panel, i, photos[i].shape, heat)
    heads = [_head(name, next(iter(blocks.values()))[name]) for name in names]
    label(places, ["image", *heads], titles and [titles[i] for i, _ in rows], _WIDTH)
    if len(blocks) > 1:
        for place, (_, outer) in zip(places, rows, strict=True):
            place[1].set_ylabel(list(blocks)[outer], fontsize=9)
    if kind == "signed":
        for index, (_, colours) in enumerate(columns, start=1):
            colours.scale_over().draw(drawing, slice(index, index + 1))
    else:
        colours = columns[0][1]
        scale = colours.scale() if kind == "map" else colours.scale_over()
        scale.draw(drawing, slice(1, None))
    if letters:
        add_letters(drawing)
    return drawing


def _blocks(explanations: Any) -> dict[str, dict[str, Any]]:
    """Sort explanations by outer name, then by the columns' names."""
    if isinstance(explanations, ExplainedMaps):
        return {"": dict(explanations.by_layer())}
    if not isinstance(explanations, Mapping) or not explanations:
        raise InputError(
            f"A grid of a {type(explanations).__name__} cannot be drawn; pass an explanation, or "
            'one or more by name: {"Grad-CAM": result, ...}.'
        )
    nested = [isinstance(value, Mapping) for value in explanations.values()]
    if not any(nested):
        return {"": dict(explanations)}
    if not all(nested):
        raise InputError(
            "A grid of explanations and of mappings at once cannot be drawn; give one kind."
        )
    first, *others = explanations.values()
    for other in others:
        if set(other) != set(first) or not first:
            raise InputError(
                f"There are columns {', '.join(first)} in one row and {', '.join(other)} in "
                "another; a grid needs the same in each."
            )
    return {outer: dict(columns) for outer, columns in explanations.items()}


def _head(name: str, column: Any) -> str:
    """Name a column: by a method's label where `name` is the method's own."""
    row = registered(name) if name == getattr(column, "method", None) else None
    return name if row is None else row.label


def _column(
    blocks: dict[str, dict[str, Any]],
    name: str,
    kind: Kind,
    look: tuple[OverlayStyle, str | None],
) -> Coloured:
    """List a column's maps from top to bottom, and choose the colours that they share."""
    found = [_maps(columns[name], name, kind) for columns in blocks.values()]
    if len({len(maps) for maps in found}) != 1:
        counts = ", ".join(str(len(maps)) for maps in found)
        raise InputError(f"There are {counts} maps of {name!r}; a grid needs as many in each row.")
    ordered = [maps[i] for i in range(len(found[0])) for maps in found]
    return coloured(ordered, kind == "signed", *look)


def _maps(column: Any, name: str, kind: Kind) -> list[Any]:
    if isinstance(column, ExplainedMaps):
        if kind != "signed":
            return list(column.maps)
        if len(column.raw) != 1:
            raise InputError(
                f"{name!r} has a signed map for each of {', '.join(column.raw)}; draw them by "
                'layer: grid(images, explanation, kind="signed").'
            )
        return list(next(iter(column.raw.values())))
    values = list(column) if isinstance(column, list | tuple) else np.asarray(column)
    return [values] if isinstance(values, np.ndarray) and values.ndim == 2 else list(values)


def _common_style(blocks: dict[str, dict[str, Any]]) -> OverlayStyle:
    styles = {
        getattr(column, "overlay_style", OverlayStyle())
        for columns in blocks.values()
        for column in columns.values()
    }
    return styles.pop() if len(styles) == 1 else OverlayStyle()
