"""Write figures to files, for a screen and for print."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.photos.io import encode_png, write_image
from camcore.viz.arrays import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a format calls its date of creation: left out, so that the same figure is the same file.
_DATES = {"png": None, "pdf": "CreationDate", "svg": "Date"}

_LAYOUTS = 6
"""How often a figure is laid out at most; two to four are enough."""

_FOR_PRINT: Final[Any] = {
    # Letters stay letters, which can be searched and edited; journals refuse Type 3 fonts.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "camcore",
    "image.composite_image": False,
}


def png_bytes(picture: Figure | Picture, *, dpi: int = 150) -> bytes:
    """Encode a figure or a picture as PNG.

    Parameters
    ----------
    picture : matplotlib.figure.Figure, or (H, W, 3) uint8 array
        A figure, or RGB pixels.
    dpi : int
        Pixels per inch of a figure.

    Returns
    -------
    bytes

    Raises
    ------
    MissingExtraError
        matplotlib or Pillow is not installed.
    """
    if isinstance(picture, np.ndarray):
        return encode_png(picture)
    return _encoded(picture, "png", dpi)


def save_figure(drawing: Figure, path: str | os.PathLike[str], *, dpi: int = 300) -> Path:
    """Write a figure for print; the same figure gives the same bytes.

    Parameters
    ----------
    drawing : matplotlib.figure.Figure
        Any figure.
    path : str or path
        Ends in ``.pdf``, ``.svg`` or ``.png``. An existing file is replaced; the file is
        either whole or not there.
    dpi : int
        Pixels per inch of a PNG. In PDF and SVG, photographs and maps keep the pixels that
        they have, up to four megapixels each, and everything else is lines and letters.

    Returns
    -------
    Path
        Where the file is.

    Raises
    ------
    InputError
        The path has another ending, or `dpi` is not positive.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in _DATES:
        raise InputError(f"{path} ends in .{kind}; choose a name that ends in .pdf, .svg or .png.")
    if dpi <= 0:
        raise InputError(f"dpi is {dpi}; pass a positive number of pixels per inch, such as 300.")
    return write_image(path, _encoded(drawing, kind, dpi))


def _encoded(drawing: Figure, kind: str, dpi: int) -> bytes:
    with needs("viz", "writing figures"):
        from matplotlib import rc_context
    date = _DATES[kind]
    buffer = io.BytesIO()
    with rc_context(_FOR_PRINT):
        _settle(drawing)
        metadata = None if date is None else {date: None}
        with _own_pixels(drawing) if kind in ("pdf", "svg") else nullcontext():
            drawing.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def _settle(drawing: Figure) -> None:
    """Lay a figure out until its panels stay where they are, so that it is the same each time.

    One execution starts from where panels were: those that keep an aspect move once more.
    """
    engine = drawing.get_layout_engine()
    if engine is None:
        return
    before = None
    for _ in range(_LAYOUTS):
        engine.execute(drawing)
        places = np.array([axes.get_position().bounds for axes in drawing.axes])
        if before is not None and np.allclose(places, before, atol=1e-6):
            return
        before = places


@contextmanager
def _own_pixels(drawing: Figure) -> Iterator[None]:
    """Write pictures with the pixels they have, not resampled, within the context."""
    images = [image for axes in drawing.axes for image in axes.images]
    kept = [image.get_interpolation() for image in images]
    try:
        for image in images:
            image.set_interpolation("none")
        yield
    finally:
        for image, interpolation in zip(images, kept, strict=True):
            image.set_interpolation(interpolation)


def show_figure(drawing: Figure) -> None:
    """Show a figure in the notebook that runs, else in the system's picture viewer.

    Parameters
    ----------
    drawing : matplotlib.figure.Figure
        The figure.

    Raises
    ------
    MissingExtraError
        matplotlib or Pillow is not installed.
    """
    shell = sys.modules.get("IPython")
    if shell is not None and shell.get_ipython() is not None:
        shell.display.display(drawing)
        return
    with needs("viz", "showing pictures"):
        from PIL import Image
    Image.open(io.BytesIO(png_bytes(drawing))).show()
