"""Run the notebooks of examples/ and keep what they show.

    python tests/support/notebooks.py

writes outputs into the notebooks; tests hold them to what a run shows.
"""

from __future__ import annotations

import base64
import copy
import io
import re
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import numpy as np
from PIL import Image

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))

SIDE = 900
"""Longest side of a picture that is kept, in pixels."""


def executed(path: Path, folder: str) -> Any:
    """Run a notebook in a folder of its own; nothing of when or where it ran is kept."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": folder}}
    client = nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources=resources
    )
    ran = client.execute()
    for cell in ran.cells:
        cell.metadata.pop("execution", None)
        outputs = [out for out in cell.get("outputs", ()) if out.get("name") != "stderr"]
        if cell.cell_type == "code":
            cell.outputs = outputs
    return ran


def picture(data: str) -> np.ndarray:
    """The pixels of a picture in a notebook."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def shrunk(data: str) -> str:
    """Encode a picture as JPEG, no larger than is looked at."""
    image = Image.fromarray(picture(data))
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, subsampling=0)
    return base64.b64encode(buffer.getvalue()).decode()


def keep(notebook: Any) -> Any:
    """Shrink the pictures of a notebook that was run, also those within HTML."""
    kept = copy.deepcopy(notebook)
    for cell in kept.cells:
        for out in cell.get("outputs", ()):
            data = out.get("data", {})
            if "image/png" in data:
                data["image/jpeg"] = shrunk(data.pop("image/png"))
            if "text/html" in data:
                inner = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
                data["text/html"] = inner.sub(
                    lambda found: f"data:image/jpeg;base64,{shrunk(found[1])}", data["text/html"]
                )
    return kept


def texts(notebook: Any) -> list[str]:
    """What a notebook says, cell by cell, without small numbers and where they are."""
    found = []
    for cell in notebook.cells:
        for out in cell.get("outputs", ()):
            data = out.get("data", {})
            drawn = data.keys() & {"image/png", "image/jpeg"}
            said = out.get("text", "" if drawn else data.get("text/plain", ""))
            said = re.sub(r"\d\.\d+e-\d+", "small", said)
            found.append(re.sub(r"(small .*) image \d+ at \(.*\)", r"\1 somewhere", said))
    return found


def pictures(notebook: Any) -> list[np.ndarray]:
    """The pictures that a notebook keeps, in order."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    kept = [out.data for out in outputs if "image/jpeg" in out.get("data", {})]
    return [picture(data["image/jpeg"]) for data in kept]


if __name__ == "__main__":
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(keep(executed(path, folder)), path)
        print(path.name, f"{path.stat().st_size / 1024:.0f} KB")
