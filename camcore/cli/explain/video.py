"""Explain a video: a video of its overlays."""

from __future__ import annotations

import json
import time
from pathlib import Path

import typer

from camcore._shared.atomic import alone_in, check_apart, clear_drafts
from camcore.batch import Clip, overlay_video
from camcore.cli import console
from camcore.cli.explain.request import ExplainRequest


def explain_video(
    request: ExplainRequest,
    path: Path,
    output: Path | None,
    steady: float,
    every: int,
    batch: int,
    as_json: bool,
) -> None:
    """Explain the video at `path`, write the video of overlays, and print a summary.

    Raises
    ------
    typer.Exit
        130 after Ctrl-C.
    """
    request.check()
    clip = Clip.open(path)
    folder = output or Path(f"camcore-{path.stem}")
    made = folder / f"{path.stem}.overlay.mp4"
    check_apart([path, *request.files], [made])
    try:
        with console.Steps(1) as steps:
            loaded = request.load_model(steps)
        target = request.class_index(loaded)
        if not loaded.pretrained:
            console.warn("random weights: the video shows that all parts work, no more than that")
        started = time.perf_counter()
        with alone_in(console.folder(folder)):
            clear_drafts(folder)
            with console.count(clip.length or None, "frame", hidden=as_json) as bar:
                frames = overlay_video(
                    loaded,
                    path,
                    made,
                    progress=bar.advance,
                    target=target,
                    steady=steady,
                    every=every,
                    batch=batch,
                    **request.options(loaded),
                )
    except KeyboardInterrupt:
        console.fail(f"interrupted; of {path.name} nothing was written")
        raise typer.Exit(130) from None
    seconds = time.perf_counter() - started
    if as_json:
        line = {
            "path": str(path),
            "frames": frames,
            "fps": clip.fps,
            "output": str(made),
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps(line))
        return
    if clip.length > frames:
        console.warn(f"{path.name} says it has {clip.length} frames; {frames} could be read")
    console.say(f"Explained {frames} frames in {seconds:.1f} s ({frames / seconds:.1f} a second)")
    console.wrote(folder, [made.name])
