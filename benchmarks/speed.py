"""What an explanation costs, as a ratio to the plain forward pass of the same run.

    python benchmarks/speed.py [--quick] [--only WORDS] [--rounds N] [--output FOLDER]

Float32, inference mode, the map resized to the input included. The baseline is a no-grad
forward in PyTorch, a compiled one in TensorFlow and JAX, and a run of the session in ONNX Runtime.
Peers that are installed are timed in the
same rounds. Writes speed.json as it goes, then speed.md and speed.png; with ``--only``
the other rows stay as they were.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from timing import Case, Run, Timed, against, machine, seconds

import camcore
from camcore._shared.progress import track

IMPORTS = {"import camcore": 50, "import camcore; camcore.explain": None}
"""What is imported, and the milliseconds aimed at."""


def cases() -> Iterator[Case]:
    """List every row of the table."""
    import torch_cases

    yield from torch_cases.cases()
    import tensorflow_cases

    yield from tensorflow_cases.cases()
    import jax_cases
    import onnx_cases

    yield from jax_cases.cases()
    yield from onnx_cases.cases()
    core = "NumPy core: 64 maps 2048 x 7 x 7 to 224"
    yield Case(core, 2.0, core_against_opencv, "x OpenCV", quick=True)
    yield Case(f"{core}, in ms", 10.0, core_against_opencv, "ms", quick=True)
    yield Case("Eigen-CAM, one image 2048 x 7 x 7", 3.0, eigencam_alone, "ms", quick=True)


def core_against_opencv() -> tuple[Run, dict[str, Run]]:
    """Time the core next to the same steps by hand with NumPy and OpenCV."""
    import cv2

    rng = np.random.default_rng(0)
    activations, gradients = rng.normal(size=(2, 64, 2048, 7, 7)).astype(np.float32)
    paper = camcore.recipes.TABLE["paper"]

    def ours() -> object:
        return paper.render([camcore.methods.gradcam(activations, gradients)], (224, 224))

    def by_hand() -> object:
        weights = gradients.mean(axis=(2, 3))
        maps = np.maximum(np.einsum("bc,bchw->bhw", weights, activations), 0)
        large = np.stack([cv2.resize(m, (224, 224)) for m in maps])
        return large / large.max(axis=(1, 2), keepdims=True)

    return by_hand, {"camcore": ours}


def eigencam_alone() -> tuple[Run, dict[str, Run]]:
    """Time Eigen-CAM in milliseconds, next to the mean over channels."""
    activations = np.random.default_rng(0).normal(size=(1, 2048, 7, 7)).astype(np.float32)
    return lambda: activations.mean(axis=1), {
        "camcore": lambda: camcore.methods.eigencam(activations)
    }


def import_milliseconds(code: str, rounds: int) -> float:
    """Time what running `code` adds to `import numpy`, in fresh interpreters."""

    def start(code: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))

    added = [start(f"import numpy; {code}") - start("import numpy") for _ in range(rounds)]
    return 1e3 * float(np.median(added))


def main() -> None:
    """Measure, and write each row to the table as soon as it is known."""
    options = arguments()
    rounds = options.rounds or (5 if options.quick else 25)
    chosen = [c for c in cases() if all(w in c.name for w in options.only)]
    if options.quick:
        chosen = [c for c in chosen if c.quick]
    options.output.mkdir(parents=True, exist_ok=True)
    for case in track(chosen, "cases", True):
        baseline, candidates = case.make()
        timed = against(baseline, candidates, case.rounds or rounds)
        record(options.output, case.name, row(case, timed), case.rounds or rounds)
    if not options.only:
        for code, goal in IMPORTS.items():
            ours = import_milliseconds(code, 15)
            found = {"goal": f"{goal} ms" if goal else "", "ours": ours}
            found["met"] = not goal or ours <= goal
            record(options.output, f"`{code}` beyond `import numpy`, ms", found, 15)
    known = json.loads((options.output / "speed.json").read_text())
    text = "\n".join(table(known))
    print(text)
    (options.output / "speed.md").write_text(f"# Speed\n\n{text}\n")
    plot(known, options.output / "speed.png")


def row(case: Case, timed: Timed) -> dict[str, Any]:
    """Write what the table says of a case."""
    absolute = case.unit == "ms"
    ours = 1e3 * timed.took["camcore"] if absolute else timed.ratios["camcore"]
    return {
        "goal": f"{case.goal:g} {case.unit}",
        "met": ours <= case.goal,
        "ours": ours,
        "baseline": f"{1e3 * timed.seconds:.1f} ms",
        "took": f"{1e3 * timed.took['camcore']:.1f} ms",
        "first": f"{timed.first['camcore']:.2f} s",
        "peers": {name: ratio for name, ratio in timed.ratios.items() if name != "camcore"},
    }


def record(folder: Path, name: str, found: dict[str, Any], rounds: int) -> None:
    """Add a row to those measured before, or put it in place of the last time's."""
    path = folder / "speed.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = {**found, "rounds": rounds, "machine": machine()}
    path.write_text(json.dumps(known, indent=1) + "\n")


def table(known: dict[str, dict[str, Any]]) -> list[str]:
    """Write rows of a Markdown table: ours, the goal, and every peer."""
    peers = sorted({peer for found in known.values() for peer in found.get("peers", {})})
    lines = [
        f"| case | baseline | goal | camcore | {''.join(f'{p} | ' for p in peers)}first call |",
        "|---|---|---|---|" + "---|" * (len(peers) + 1),
    ]
    for name, found in known.items():
        ours = f"{found['ours']:.2f}" + ("" if found["met"] else " (missed)")
        theirs = found.get("peers", {})
        others = "".join(f"{theirs[p]:.2f} | " if p in theirs else "| " for p in peers)
        lines.append(
            f"| {name} | {found.get('baseline', '')} | {found['goal']} | {ours} | {others}"
            f"{found.get('first', '')} |"
        )
    for where in dict.fromkeys(found["machine"] for found in known.values()):
        rounds = [found["rounds"] for found in known.values() if found["machine"] == where]
        lines.append(f"\nMedians of {min(rounds)} to {max(rounds)} ratios: {where}.")
    return lines


def plot(known: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw bars of the ratios, ours and the peers', on a logarithmic axis."""
    from matplotlib.figure import Figure

    rows = [
        (name, {"camcore": found["ours"], **found["peers"]})
        for name, found in known.items()
        if found.get("peers")
    ]
    if not rows:
        return
    peers = ["camcore", *sorted({p for _, r in rows for p in r} - {"camcore"})]
    bars = [(i + 1.2 * j, peer, ratio) for i, j, peer, ratio in _stacked(rows, peers)]
    figure = Figure(figsize=(9, 1.2 + 0.2 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    for colour, peer in enumerate(peers):
        own = [(at, ratio) for at, name, ratio in bars if name == peer]
        axes.barh(*zip(*own, strict=True), 0.9, color=f"C{colour}", label=peer)
    middles = [np.mean([i + 1.2 * j for i, j, *_ in group]) for group in _groups(rows, peers)]
    axes.set_yticks(middles, [name for name, _ in rows])
    axes.set_ylim(bars[-1][0] + 1, -1)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time, relative to a plain forward pass")
    figure.legend(loc="outside upper center", ncols=4)
    figure.savefig(path, dpi=110)


Bar = tuple[int, int, str, float]
"""Place among all bars, row, name, ratio."""


def _stacked(rows: list[tuple[str, dict[str, float]]], peers: list[str]) -> Iterator[Bar]:
    """Draw bars from the top down, only those that there are."""
    place = itertools.count()
    for j, (_, ratios) in enumerate(rows):
        yield from ((next(place), j, peer, ratios[peer]) for peer in peers if peer in ratios)


def _groups(rows: list[tuple[str, dict[str, float]]], peers: list[str]) -> list[list[Bar]]:
    by_row = itertools.groupby(_stacked(rows, peers), key=lambda bar: bar[1])
    return [list(group) for _, group in by_row]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute's look: fewer rows, rounds")
    parser.add_argument("--only", nargs="*", default=[], help="rows whose name has all these words")
    parser.add_argument("--rounds", type=int, help="ratios per row")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
