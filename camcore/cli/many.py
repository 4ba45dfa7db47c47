"""Many photographs, one model: an overlay of each, and an account of what failed."""

from __future__ import annotations

import errno
import json
import time
import warnings
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import typer

import camcore
from camcore._shared.atomic import alone_in, clear_drafts
from camcore.batch.find import Found
from camcore.batch.photos import Explained, explain_photos
from camcore.batch.pipeline import Failed
from camcore.cli import console, sight
from camcore.cli.call import Call
from camcore.cli.run import Kept, Places, differences, record
from camcore.errors import CamcoreError, InputError
from camcore.explanation import Explanation
from camcore.photos.io import encode, write_image
from camcore.viz import figure, png_bytes
from camcore.zoo import LoadedModel

_DRAWING = Lock()
"""matplotlib draws one figure at a time."""

_NO_ROOM = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)


@dataclass(frozen=True)
class Said:
    """What is told about a photograph."""

    output: Path
    index: int | None
    name: str | None
    probability: float | None
    score: float
    empty: bool
    stretched: bool


@dataclass
class Account:
    """What has happened so far."""

    total: int
    skipped: int = 0
    explained: int = 0
    empty: int = 0
    stretched: bool = False
    classes: Counter[str] = field(default_factory=Counter)
    failed: dict[Path, Failed] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def add(self, path: Path, one: Said | Failed) -> None:
        """Count a photograph in."""
        if isinstance(one, Failed):
            self.failed[path] = one
            return
        self.explained += 1
        self.empty += one.empty
        self.stretched |= one.stretched
        if one.index is not None:
            self.classes[one.name or f"class {one.index}"] += 1

    @property
    def seconds(self) -> float:
        """Since the first photograph."""
        return time.perf_counter() - self.started


def explain_many(
    call: Call,
    found: Found,
    folder: Path,
    kept: Kept,
    *,
    batch: int,
    resume: bool,
    as_json: bool,
) -> None:
    """Explain photographs into a folder, and end with what scripts can use.

    Raises
    ------
    typer.Exit
        1 where photographs failed, 130 after Ctrl-C.
    """
    call.check()
    places = Places.of(found, folder, kept)
    said = {**call.said(), "photographs below": str(found.root), "format": kept.kind}
    done = _done(folder, places, said) if resume else set()
    account = Account(len(found.paths), skipped=len(done))
    try:
        with console.Steps(1) as steps:
            loaded = call.load(steps)
        target = call.class_index(loaded)
        with alone_in(console.folder(folder)):
            clear_drafts(folder)
            record(folder, camcore.__version__, said)
            account.started = time.perf_counter()
            _run(loaded, call, target, places, batch, done, account, as_json)
    except KeyboardInterrupt:
        finished = account.skipped + account.explained
        console.fail(
            f"interrupted; {finished} of {account.total} photographs are done and stay in "
            f"{folder}. The same command with --resume does the others."
        )
        raise typer.Exit(130) from None
    _report(loaded, found, folder, kept, account, as_json)
    if account.failed:
        raise typer.Exit(1)


def _done(folder: Path, places: Places, said: dict[str, Any]) -> set[Path]:
    """Photographs that an earlier run of the same call has finished."""
    changed = differences(folder, said)
    if changed:
        raise InputError(
            f"{folder} holds the results of another call: {'; '.join(changed)}. Repeat that call "
            "to go on with it, leave --resume out to start over, or choose another --output."
        )
    return set() if changed is None else {path for path in places.stems if places.is_done(path)}


def _run(
    loaded: LoadedModel,
    call: Call,
    target: int | None,
    places: Places,
    batch: int,
    done: set[Path],
    account: Account,
    as_json: bool,
) -> None:
    # Pillow's remarks on odd files would garble the bar; what it cannot read fails anyway.
    warnings.filterwarnings("ignore", module="PIL")
    for path in places.stems:
        if path in done and as_json:
            _print_line(path, output=str(places.file(path, "overlay")), skipped=True)

    def finish(path: Path, one: Explained) -> Said:
        try:
            return _write(loaded, places, path, one)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            # Every photograph after this one would fail in the same way.
            raise CamcoreError(
                f"Cannot write {error.filename or places.stems[path]}: {error.strerror}. Make "
                "room, then repeat the command with --resume."
            ) from error

    todo = [path for path in places.stems if path not in done]
    results = explain_photos(
        loaded,
        todo,
        target=target,
        finish=finish,
        batch=batch,
        max_dim=call.max_dim,
        **call.options(loaded),
    )
    with closing(results), console.counting(len(todo), hidden=as_json) as advance:
        for path, one in results:
            account.add(path, one)
            if as_json:
                _print_result(path, one)
            advance()


def _write(loaded: LoadedModel, places: Places, path: Path, one: Explained) -> Said:
    """Write what is kept of a photograph, its overlay last."""
    result, kept = one.explanation, places.kept
    overlay = places.file(path, "overlay")
    overlay.parent.mkdir(parents=True, exist_ok=True)
    if kept.arrays:
        result.save(places.file(path, "arrays"))
    if kept.figures:
        with _DRAWING:
            page = draw(loaded, one)
        write_image(places.file(path, "figure"), page)
    write_image(overlay, encode(one.overlay(), kept.kind))
    return _said(loaded, result, overlay)


def draw(loaded: LoadedModel, one: Explained) -> bytes:
    """Draw photograph, map, overlay and highest classes, as PNG."""
    result = one.explanation
    bars = sight.top(loaded, result)
    drawing = figure(
        one.photo,
        one.map(),
        titles=None if result.classes is None else [sight.label(loaded, int(result.classes[0]))],
        bars=[bars] if bars else None,
        seen=[one.crop.seen()],
        style=result.overlay_style,
    )
    return png_bytes(drawing)


def _said(loaded: LoadedModel, result: Explanation, output: Path) -> Said:
    index = None if result.classes is None else int(result.classes[0])
    probabilities = result.probabilities
    low, high = float(result.maps.min()), float(result.maps.max())
    return Said(
        output=output,
        index=index,
        name=None if index is None or loaded.classes is None else sight.label(loaded, index),
        probability=None
        if index is None or probabilities is None
        else float(probabilities[0, index]),
        score=float(result.scores[0]),
        empty=bool(result.empty[0]),
        stretched=low < 0 or high > 1,
    )


def _print_result(path: Path, one: Said | Failed) -> None:
    if isinstance(one, Failed):
        _print_line(path, error=str(one))
        return
    _print_line(
        path,
        **{"class": one.index},
        class_name=one.name,
        probability=one.probability,
        score=one.score,
        empty=one.empty,
        output=str(one.output),
    )


_KEYS = ("class", "class_name", "probability", "score", "empty", "output", "error")


def _print_line(path: Path, **values: Any) -> None:
    """Print a photograph's line: always the same keys, null where there is nothing to say."""
    line = {"path": str(path), **dict.fromkeys(_KEYS), "skipped": False, **values}
    typer.echo(json.dumps(line))


def _report(
    loaded: LoadedModel, found: Found, folder: Path, kept: Kept, account: Account, as_json: bool
) -> None:
    if not loaded.pretrained:
        console.warn("random weights: the picture shows that all parts work, not what they learned")
    if account.stretched:
        console.warn("the recipe leaves maps beyond 0..1; drawn stretched to 0..1")
    if account.empty:
        console.warn(f"maps that are all zeros, nothing speaking for the class: {account.empty}")
    if found.passed:
        console.warn(f"files passed over, which are no photographs by their names: {found.passed}")
    if as_json:
        counts = {
            "photographs": account.total,
            "explained": account.explained,
            "skipped": account.skipped,
            "failed": len(account.failed),
            "seconds": round(account.seconds, 3),
            "output": str(folder),
        }
        typer.echo(json.dumps({"summary": counts}))
    else:
        _print_summary(folder, kept, account)
    if account.failed:
        console.fail(f"{len(account.failed)} of {account.total} photographs failed:")
        for path, one in account.failed.items():
            reason = str(one)
            console.detail(reason if str(path) in reason else f"{path}: {reason}")


def _print_summary(folder: Path, kept: Kept, account: Account) -> None:
    rate = account.explained / account.seconds
    skipped = f", {account.skipped} were done before" if account.skipped else ""
    lines = [
        f"Explained {account.explained} of {account.total} photographs in "
        f"{account.seconds:.1f} s ({rate:.1f} a second){skipped}"
    ]
    if account.classes:
        often = ", ".join(f"{name} ({n})" for name, n in account.classes.most_common(5))
        lines.append(f"Most often: {often}")
    console.say("\n".join(lines))
    console.wrote(folder, [f"NAME{ending}" for ending in kept.endings.values()])
