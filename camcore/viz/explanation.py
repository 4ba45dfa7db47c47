"""Draw explanations: flat, of volumes or of signals; as shown, signed or by layer."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

import numpy as np

from camcore._shared.optional import installed_version
from camcore.adapter import Array
from camcore.errors import InputError, MissingExtraError
from camcore.medical.space import check_affines, check_covers, resized_affine
from camcore.methods.table import registered
from camcore.recipes import OverlayStyle
from camcore.viz.channels import channels_figure
from camcore.viz.colormaps import coloured
from camcore.viz.export import png_bytes
from camcore.viz.figure import figure
from camcore.viz.grid import ExplainedMaps, grid
from camcore.viz.panels import add_caption, add_heading, add_letters, label, panels, show
from camcore.viz.signal import signal_figure
from camcore.viz.volume import own_affines, volume_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind: TypeAlias = Literal["map", "signed", "layers", "channels"]

_LIMIT = 8
"""How many samples of a batch a notebook shows."""

_NAMED = 3
"""How many samples a caption names one by one."""

_WIDTH = 1.9


class ExplainedBatch(ExplainedMaps, Protocol):
    """What is drawn of an explanation: its maps, and what they explain."""

    @property
    def scores(self) -> Array:
        """The explained scores, ``(B,)``."""

    @property
    def classes(self) -> Array | None:
        """The explained classes, ``(B,)``, where the target is about one class."""

    @property
    def class_scores(self) -> Array | None:
        """Scores of the classes, ``(B, K)``, where outputs are class scores."""

    @property
    def probabilities(self) -> Array | None:
        """Probabilities of the classes, ``(B, K)``, where it is known what makes them."""

    @property
    def is_raw_number(self) -> bool:
        """Whether the model gives one number of which nothing is known."""

    @property
    def recipe(self) -> str:
        """Name of the recipe that made the maps."""

    @property
    def by_channel(self) -> Array | None:
        """What signed maps are joined from, ``(B, C, *S)``, where the method joins channels."""

    @property
    def affines(self) -> Array | None:
        """From voxels to millimetres, ``(B, 4, 4)``, where volumes that know it were explained."""

    @property
    def names(self) -> Sequence[str] | None:
        """Names of the classes by index, where they are known."""

    def __len__(self) -> int: ...

    def top(self, count: int = 5) -> list[list[tuple[int, float]]]:
        """Rank the `count` highest classes of each sample, by probability or score."""


def explanation_figure(
    explanation: ExplainedBatch,
    images: Any = None,
    kind: Kind = "map",
    *,
    names: Sequence[str] | None = None,
    model: str | None = None,
    letters: bool = False,
    caption: bool = False,
    top: int = 5,
    **options: Any,
) -> Figure:
    """Draw an explanation; see `camcore.Explanation.figure`."""
    drawing = _figure(explanation, images, kind, names, top, options)
    if letters:
        add_letters(drawing)
    if caption:
        add_caption(drawing, caption_text(explanation, kind, names=names, model=model))
    else:
        add_heading(drawing, heading(explanation, model))
    return drawing


def heading(explanation: ExplainedBatch, model: str | None = None) -> str:
    """Say which method made an explanation, at which layers, by which recipe, of which model."""
    made = f"{_label(explanation)} at {', '.join(explanation.raw)}, recipe {explanation.recipe}"
    return f"{made}, {model}" if model else made


def caption_text(
    explanation: ExplainedBatch,
    kind: Kind = "map",
    *,
    names: Sequence[str] | None = None,
    model: str | None = None,
) -> str:
    """Write a caption of an explanation's figure, for a paper.

    Parameters
    ----------
    explanation : Explanation
        What is drawn.
    kind : {"map", "signed", "layers", "channels"}
        As `camcore.Explanation.figure` takes it.
    names : sequence of str, optional
        Names of the classes by index.
    model : str, optional
        Name of the model.

    Returns
    -------
    str
        A sentence about what is explained, by which method, and one about the colours.
    """
    what = [title(explanation, names, i) for i in range(len(explanation))]
    of = f" of {' and '.join(what)}" if len(what) <= _NAMED else f" of {len(what)} samples"
    layers = "layers" if len(explanation.raw) > 1 else "layer"
    at = f" at the {layers} {', '.join(explanation.raw)}"
    by = f" of {model}" if model else ""
    by_sign = kind == "channels" and float(_by_channel(explanation).min()) < 0
    colours = (
        "Red speaks for what is explained, blue against it."
        if kind == "signed" or by_sign
        else "Colours show evidence for what is explained, relative to the strongest of each map."
    )
    return (
        f"{_label(explanation)}{of}{at}{by}, by the recipe {explanation.recipe} of camcore "
        f"{installed_version('camcore')}. {colours}"
    )


def _label(explanation: ExplainedMaps) -> str:
    row = registered(explanation.method)
    return explanation.method if row is None else row.label


def _figure(
    explanation: ExplainedBatch,
    images: Any,
    kind: Kind,
    names: Sequence[str] | None,
    top: int,
    options: dict[str, Any],
) -> Figure:
    if kind not in get_args(Kind):
        raise InputError(f"kind={kind!r} is unknown; choose from {', '.join(get_args(Kind))}.")
    signed = kind == "signed"
    side_by_side = kind == "layers" or (signed and len(explanation.raw) > 1)
    flat = explanation.maps.ndim == 3
    options = {"style": explanation.overlay_style, **options}
    alone = flat and not side_by_side and kind != "channels"
    options = {**_named(explanation, names, top if alone else 0), **options}
    if kind == "channels":
        return channels_figure(images, _by_channel(explanation), **options)
    if side_by_side:
        if not flat or images is None:
            raise InputError(
                f"Maps of {len(explanation.raw)} layers side by side need flat images; "
                "pass images (B, H, W, 3), or draw one of explanation.by_layer() by itself."
            )
        return grid(images, explanation, kind="signed" if signed else "overlay", **options)
    maps = next(iter(explanation.raw.values())) if signed else explanation.maps
    return _drawn(images, maps, signed=signed, **{**_place(explanation, images, maps), **options})


def _place(explanation: ExplainedBatch, images: Any, maps: Array) -> dict[str, Any]:
    """Tell where voxels lie that are drawn, unless the images bring that with them."""
    affines, own = explanation.affines, own_affines(images)
    if affines is None:
        return {}
    size = maps.shape[1:] if images is None else np.shape(images)[-3:]
    if own is not None:
        pairs = zip(affines, check_affines(own, len(affines)), strict=True)
        for affine, over in pairs:
            check_covers(affine, explanation.maps.shape[1:], over, size)
    return {"affine": resized_affine(affines, explanation.maps.shape[1:], size)[: len(maps)]}


def _by_channel(explanation: ExplainedBatch) -> Array:
    if explanation.by_channel is None:
        raise InputError(
            f"{_label(explanation)} does not join attributions of the input's channels, so that "
            "they cannot be drawn by channel. Explain with one that does, as integrated gradients "
            "or gradient x input."
        )
    return explanation.by_channel


def _drawn(images: Any, maps: Array, **options: Any) -> Figure:
    if maps.ndim == 3:
        return figure(images, maps, **options)
    if maps.ndim == 4:
        return volume_figure(images, maps, **options)
    return signal_figure(np.zeros(maps.shape) if images is None else images, maps, **options)


def html(explanation: ExplainedBatch) -> str:
    """Describe an explanation for a notebook: a table of what is explained, and its maps."""
    rows = "".join(
        f"<tr><td>{i}</td><td>{explained_name(explanation, explanation.names, i)}</td>"
        f"<td>{float(explanation.scores[i]):.4g}</td></tr>"
        for i in range(min(len(explanation), _LIMIT))
    )
    table = f"<table><tr><th>sample</th><th>explained</th><th>score</th></tr>{rows}</table>"
    more = len(explanation) - _LIMIT
    rest = f"<p>and {more} more</p>" if more > 0 else ""
    picture = png(explanation)
    image = ""
    if picture is not None:
        data = base64.b64encode(picture).decode()
        image = f'<img style="max-width: 100%" src="data:image/png;base64,{data}"/>'
    head = (
        f"{explanation.method} at {', '.join(explanation.raw)}, recipe {explanation.recipe}, "
        f"maps {explanation.maps.shape}"
    )
    return f"<div><p><b>{escape(head)}</b></p>{table}{rest}{image}</div>"


def png(explanation: ExplainedBatch) -> bytes | None:
    """Encode the first maps of an explanation as PNG; None where matplotlib is missing.

    Maps outside of [0, 1], which some recipes leave, are drawn by their sign.
    """
    maps = explanation.maps[:_LIMIT]
    signed = not (float(maps.min()) >= 0 and float(maps.max()) <= 1)
    try:
        if maps.ndim == 3:
            drawing = _strip(maps, signed, explanation.overlay_style)
        else:
            place = _place(explanation, None, maps)
            drawing = _drawn(None, maps, signed=signed, style=explanation.overlay_style, **place)
        return png_bytes(drawing, dpi=80)
    except MissingExtraError:
        return None


def _strip(maps: Array, signed: bool, style: OverlayStyle) -> Figure:
    """Draw flat maps side by side, numbered."""
    heats, colours = coloured(maps, signed, style, None)
    drawing, grid = panels([maps.shape[1:]], len(heats), _WIDTH)
    for panel, heat in zip(grid[0], heats, strict=True):
        show(panel, colours.heat(heat, heat.shape))
    label(grid, [f"sample {i}" for i in range(len(heats))])
    colours.scale().draw(drawing, slice(None))
    return drawing


def class_name(names: Sequence[str] | None, index: int) -> str:
    """Name the class `index`, by its number where `names` do not tell."""
    return f"class {index}" if names is None or index >= len(names) else str(names[index])


def explained_name(explanation: ExplainedBatch, names: Sequence[str] | None, sample: int) -> str:
    """Name what is explained of a sample: its class, or that it is no class."""
    if explanation.classes is None:
        return "the score asked for"
    if explanation.is_raw_number and len(names or ()) != 1:
        return "the number that the model gives"
    return class_name(names, int(explanation.classes[sample]))


def title(explanation: ExplainedBatch, names: Sequence[str] | None, sample: int) -> str:
    """Name what is explained of a sample, with its probability, or its score."""
    return with_score(explained_name(explanation, names, sample), explanation, sample)


def with_score(name: str, explanation: ExplainedBatch, sample: int) -> str:
    """Write the probability of what is explained of a sample, or its score, behind its name."""
    shares = explanation.probabilities
    if explanation.classes is None or explanation.is_raw_number or shares is None:
        return f"{name} (score {float(explanation.scores[sample]):.4g})"
    return f"{name} ({shares[sample, int(explanation.classes[sample])]:.1%})"


def _named(explanation: ExplainedBatch, names: Sequence[str] | None, top: int) -> dict[str, Any]:
    """Write titles; where classes have names, the `top` highest classes too."""
    samples = range(len(explanation))
    found: dict[str, Any] = {"titles": [title(explanation, names, i) for i in samples]}
    ranked = explanation.class_scores is not None and not explanation.is_raw_number
    if top and names is not None and ranked:
        found |= highest(explanation, names, top)
    return found


def highest(
    explanation: ExplainedBatch, names: Sequence[str] | None, top: int = 5
) -> dict[str, Any]:
    """List the `top` highest classes of each sample, and the explained one where it is none.

    Returns
    -------
    dict
        `bars`, `shares` and `explained`, as `camcore.viz.figure` takes them.
    """
    assert explanation.class_scores is not None
    values = explanation.probabilities
    values = explanation.class_scores if values is None else values
    bars, explained = [], []
    for sample, row in enumerate(explanation.top(top)):
        ranked = list(row)
        which = None if explanation.classes is None else int(explanation.classes[sample])
        order = [index for index, _ in ranked]
        if which is not None and which >= 0 and which not in order:
            ranked.append((which, float(values[sample, which])))
            order.append(which)
        bars.append([(class_name(names, index), value) for index, value in ranked])
        explained.append(order.index(which) if which in order else None)
    return {
        "bars": bars,
        "shares": explanation.probabilities is not None,
        "explained": explained,
    }
