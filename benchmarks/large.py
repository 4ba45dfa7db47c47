"""What pictures of a photograph of 48 megapixels cost, which a model has seen scaled down.

    python benchmarks/large.py [--output FOLDER]

Each is drawn in a process of its own. Writes large.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
from memory import status
from timing import machine

import camcore
from camcore.photos import CentreCrop
from camcore.photos.prepared import PhotoInput
from camcore.recipes import Blend

SIZE = (6000, 8000)
SECONDS, MEGABYTES = 3, 1024
"""What a picture is to cost at most; libraries that encode files take what they take."""


def explained() -> camcore.Explanation:
    """Make an explanation of a photograph of smooth colours, of which 224 by 224 were seen."""
    small = np.random.default_rng(0).random((24, 32, 3))
    photo = camcore.resize.resize(np.moveaxis(small, -1, 0), SIZE)
    photo = np.ascontiguousarray(np.moveaxis((255 * photo).astype(np.uint8), 0, -1))
    heat = camcore.resize.resize(np.random.default_rng(1).random((1, 7, 7)), (224, 224))
    one = PhotoInput(photo, CentreCrop(photo.shape, 224, 256))
    return camcore.Explanation(
        maps=heat.astype(np.float32),
        raw={"layer": heat},
        scores=np.ones(1),
        classes=np.array([1]),
        empty=np.zeros(1, bool),
        outputs=np.eye(1, 3, 1),
        photographs=(one,),
        preprocessing="none",
    )


def pictures(folder: Path) -> Mapping[str, Callable[[camcore.Explanation], object]]:
    """List what is drawn, by name."""
    blends = {
        f"`overlay`, {blend}": lambda one, blend=blend: one.overlay(blend=blend)
        for blend in get_args(Blend)
    }
    return {
        **blends,
        "`save_overlay`, JPEG": lambda one: one.save_overlay(folder / "one.jpg"),
        "`save_overlay`, PNG": lambda one: one.save_overlay(folder / "one.png"),
        "`maps_on_photographs`": lambda one: one.maps_on_photographs(),
        "`figure`, drawn": lambda one: one.figure().savefig(folder / "figure.png"),
        "`viz.figure` of the photograph itself, drawn": lambda one: camcore.viz.figure(
            one.photographs[0].photo, one.maps
        ).savefig(folder / "figure.png"),
        "`viz.signed_overlay`": lambda one: camcore.viz.signed_overlay(
            one.photographs[0].photo, one.maps - 0.5
        ),
    }


def cost(name: str) -> tuple[float, float]:
    """Measure one picture: seconds of the processor, and megabytes above the photograph."""
    one = explained()
    with tempfile.TemporaryDirectory() as folder:
        draw = pictures(Path(folder))[name]
        # What is loaded for the first picture is not this picture's cost.
        camcore.viz.figure(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8))).savefig(
            Path(folder) / "first.png"
        )
        Path("/proc/self/clear_refs").write_text("5")
        before, start = status("VmRSS"), time.process_time()
        draw(one)
        return time.process_time() - start, status("VmHWM") - before


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*cost(options.one))
        return
    lines = [
        f"| a photograph of {SIZE[0]} × {SIZE[1]} | seconds (goal {SECONDS}) "
        f"| above the photograph (goal {MEGABYTES} MB) |",
        "|---|---|---|",
    ]
    for name in pictures(Path()):
        command = [sys.executable, __file__, "--one", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, megabytes = map(float, done.stdout.split()[-2:])
        lines.append(f"| {name} | {seconds:.1f} | {megabytes:.0f} MB |")
    lines.append(f"\nSeconds are the processor's. {machine()}.")
    print("\n".join(lines))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "large.md").write_text("# Large photographs\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
