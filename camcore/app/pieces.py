"""Pieces of the page as HTML: pictures with their captions, tables, curves.

Pictures lie within the page, so that no file is served for them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from camcore._shared.optional import needs
from camcore.app.session import Compared, Curve, Hidden, Picture, Shown
from camcore.methods.table import find

_WIDTH, _HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 10, 34


def picture_uri(picture: Picture) -> str:
    """Encode a picture as a JPEG within a ``data:`` address."""
    with needs("app", "encoding pictures"):
        from PIL import Image
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def figure(picture: Picture, caption: str, alt: str) -> str:
    """Write a picture with its caption, and what it shows for those who do not see it."""
    return _figure(picture_uri(picture), (picture.shape[0], picture.shape[1]), caption, alt)


def _figure(uri: str, size: tuple[int, int], caption: str, alt: str) -> str:
    return (
        f'<figure><img src="{uri}" width="{size[1]}" height="{size[0]}" '
        f'alt="{escape(alt, quote=True)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def classes(shown: Shown) -> str:
    """Write the highest classes as buttons with bars; the one that is explained is pressed."""
    if not shown.top:
        score = float(shown.explanation.scores[0])
        return f'<p class="cam-note">The model tells no classes; the score is {score:.4g}.</p>'
    explained = shown.explanation.classes
    pressed = None if explained is None else int(explained[0])
    known = shown.explanation.probabilities is not None
    values = [value for *_, value in shown.top]
    low, high = (0.0, 1.0) if known else (min(0.0, *values), max(0.0, *values) or 1.0)
    items = []
    for index, name, value in shown.top:
        number = f"{value:.1%}" if known else f"{value:.4g}"
        bar = 100 * (value - low) / (high - low)
        items.append(
            f'<li><button type="button" data-class="{index}" '
            f'aria-pressed="{"true" if index == pressed else "false"}">'
            f'<span class="cam-name">{escape(name)}</span>'
            f'<span class="cam-value">{number}</span>'
            f'<span class="cam-bar" style="width:{bar:.1f}%" aria-hidden="true"></span>'
            "</button></li>"
        )
    kind = "probability" if known else "score"
    return (
        f'<p class="cam-head" id="cam-top">Highest classes, by {kind}: press one to explain it</p>'
        f'<ol class="cam-classes" aria-labelledby="cam-top">{"".join(items)}</ol>'
    )


def scale(signed: bool) -> str:
    """Write what the colours mean."""
    if signed:
        return (
            '<p class="cam-note">against<span class="cam-scale cam-sign" aria-hidden="true"></span>'
            "for: blue counts against the class, red for it</p>"
        )
    return (
        '<p class="cam-note">nothing<span class="cam-scale cam-heat" aria-hidden="true"></span>'
        "strongest evidence</p>"
    )


def sentence(shown: Shown) -> str:
    """Say in words what is shown, and where the map is strongest."""
    result = shown.explanation
    told = f"{find(result.method).label} for {shown.explained} at {', '.join(result.layers)}"
    return f"{told}, recipe {result.recipe}" if result.recipe != "paper" else told


def place(shown: Shown) -> str:
    """Say in words where the map is strongest."""
    if result_empty(shown):
        return "The map is empty."
    heat = shown.photo.map()
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    down = ("top", "middle", "bottom")[min(2, int(3 * row / heat.shape[0]))]
    across = ("left", "centre", "right")[min(2, int(3 * column / heat.shape[1]))]
    return f"Strongest at the {down} {across} of the photograph."


def result_empty(shown: Shown) -> bool:
    """Tell whether nothing speaks for what is explained."""
    return bool(shown.explanation.empty[0])


def one(shown: Shown) -> str:
    """Write the picture of one explanation, with all that is to be known of it."""
    boxes = ""
    if shown.asked.threshold is not None:
        found = [f"({', '.join(map(str, box))})" for box in shown.boxes.tolist()]
        boxes = (
            f'<p class="cam-note">{len(found)} box{"" if len(found) == 1 else "es"} around what '
            f"reaches {shown.asked.threshold:.0%} (left, top, right, bottom): "
            f"{', '.join(found)}</p>"
        )
    note = f'<p class="cam-note" role="status">{escape(shown.note)}</p>' if shown.note else ""
    caption = sentence(shown)
    drawn = figure(shown.picture(), caption, f"{caption}. {place(shown)}")
    return f'<div class="cam-one">{drawn}{scale(shown.asked.signed)}{boxes}{note}</div>'


def grid(cells: Iterable[tuple[Picture, str, str]]) -> str:
    """Write pictures side by side, below one another where there is no room."""
    return f'<div class="cam-grid">{"".join(figure(*cell) for cell in cells)}</div>'


def side_by_side(found: Sequence[Shown]) -> str:
    """Write explanations side by side."""
    cells = []
    for shown in found:
        label = find(shown.explanation.method).label
        cells.append((shown.picture(420), label, f"{sentence(shown)}. {place(shown)}"))
    signed = bool(found) and found[0].asked.signed
    return grid(cells) + (scale(signed) if found else "")


def by_layer(found: Sequence[Shown], labels: Sequence[str]) -> str:
    """Write the map of each layer, from fine to deep."""
    pairs = zip(found, labels, strict=True)
    cells = [(s.picture(420), label, f"{sentence(s)}. {place(s)}") for s, label in pairs]
    return grid(cells) + scale(bool(found) and found[0].asked.signed)


def compared(result: Compared) -> str:
    """Write two models' maps, their difference, and the numbers."""
    (pair,) = result.comparison.pairs
    first, second = pair.names
    cells = [
        (shown.picture(420), f"{name}: {shown.explained}", f"{name}: {sentence(shown)}")
        for name, shown in zip(pair.names, (result.first, result.second), strict=True)
    ]
    told = f"Difference, strongest colours at ±{result.limit:.2g}"
    words = f"Where {first} is above {second} it is red, below it blue"
    cells.append((result.difference(420), told, f"{told}. {words}"))
    numbers = pair.numbers(0)
    rows = {
        "largest difference": f"{numbers['largest']:.3g}",
        "Pearson": _number(numbers["pearson"]),
        "Spearman": _number(numbers["spearman"]),
        "SSIM": _number(numbers["ssim"]),
        f"top {result.comparison.share:.0%} in common": _number(numbers["overlap"]),
        f"explained by {first}": result.first.explained,
        f"explained by {second}": result.second.explained,
    }
    return grid(cells) + f'<p class="cam-note">{escape(words)}.</p>' + table(rows)


def _number(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.5f}"


def table(rows: dict[str, str]) -> str:
    """Write a table of two columns."""
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f'<table class="cam-table">{cells}</table>'


@dataclass(frozen=True, eq=False)
class DrawnCurve:
    """A curve whose pictures are encoded, so that keeping it for each visitor costs little.

    Parameters
    ----------
    curve : Curve
        Without its pictures.
    uris : sequence of str
        These, as ``data:`` addresses.
    size : (int, int)
        Their height and width.
    """

    curve: Curve
    uris: Sequence[str]
    size: tuple[int, int]

    @classmethod
    def of(cls, curve: Curve) -> DrawnCurve:
        """Encode the pictures of a curve."""
        height, width = curve.pictures[0].shape[:2]
        uris = [picture_uri(one) for one in curve.pictures]
        return cls(replace(curve, pictures=()), uris, (height, width))


def fed(curves: Sequence[DrawnCurve], at: int) -> str:
    """Write what the network was fed at one point of each curve, and the curves."""
    parts = []
    for drawn in curves:
        curve = drawn.curve
        point = min(max(at, 0), len(curve.fractions) - 1)
        share, score = float(curve.fractions[point]), float(curve.scores[point])
        done = "deleted" if curve.name == "deletion" else "inserted"
        told = f"{curve.name}: {share:.0%} {done}, {curve.scored} {score:.3f}"
        picture = _figure(drawn.uris[point], drawn.size, told, f"What the network was fed. {told}")
        parts.append(f"<div>{picture}{chart(curve, point)}</div>")
    return f'<div class="cam-grid">{"".join(parts)}</div>'


def chart(curve: Curve, point: int) -> str:
    """Draw a curve with the point that is looked at."""
    scores = np.asarray(curve.scores, float)
    low, high = (
        (0.0, 1.0)
        if scores.min() >= 0 and scores.max() <= 1
        else (float(scores.min()), float(max(scores.max(), scores.min() + 1)))
    )
    across = _LEFT + np.asarray(curve.fractions, float) * (_WIDTH - _LEFT - _RIGHT)
    up = _HEIGHT - _BOTTOM - (scores - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True))
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    told = f"{curve.name} curve, area {curve.area:.3f}, from {scores[0]:.3f} to {scores[-1]:.3f}"
    return (
        f'<svg class="cam-chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(told, quote=True)}">'
        f'<line x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
        f'<line x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{bottom}"/>'
        f'<text x="{_LEFT - 5}" y="{bottom}" text-anchor="end">{low:.2g}</text>'
        f'<text x="{_LEFT - 5}" y="{_TOP + 9}" text-anchor="end">{high:.2g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 20}">0 %</text>'
        f'<text x="{right}" y="{_HEIGHT - 20}" text-anchor="end">100 %</text>'
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">'
        f"{escape(curve.name)}: area {curve.area:.3f}</text>"
        f'<polyline points="{points}"/>'
        f'<line class="now" x1="{across[point]:.1f}" y1="{_TOP}" x2="{across[point]:.1f}" '
        f'y2="{bottom}"/><circle cx="{across[point]:.1f}" cy="{up[point]:.1f}" r="4"/></svg>'
    )


def hidden(result: Hidden, patches: int) -> str:
    """Say what hiding patches did to the score."""
    kind = "probability" if result.is_probability else "score"
    change = result.after - result.before
    rows = {
        "class": result.name,
        f"{kind} of the whole photograph": f"{result.before:.4f}",
        f"{kind} with {patches} patch{'' if patches == 1 else 'es'} hidden": f"{result.after:.4f}",
        "change": f"{change:+.4f}",
    }
    return f'<div role="status">{table(rows)}</div>'
