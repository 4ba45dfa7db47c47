"""Damage files of every format and call the core with odd arrays: writes into docs/reliability.md.

Each kind runs in a process of its own, so that a crash or a case that never ends is counted like
any other. The same seed makes the same cases.

    python benchmarks/fuzz.py [--seed 0] [--files 10000] [--arrays 10000] [--output docs]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from camcore._shared.atomic import whole

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests" / "support"))

from fuzz import arrays, files  # noqa: E402

PATIENCE = 60
"""Seconds after which a case counts as one that never ends."""

SHARES = {"npz": 15, "pth": 12, "old.pth": 8, "json": 7, "keras": 3, "weights.h5": 3}
"""Percent of the files that a format makes up; the others share what is left alike."""

GOOD = ("refused", "read", "finite")
BEGIN, END = "<!-- written by benchmarks/fuzz.py -->\n", "<!-- until here -->"
PACKAGES = ("numpy", "pillow", "opencv-python", "torch", "keras", "tensorflow")


def main() -> None:
    """Run all cases, print those that went wrong, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--arrays", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=HERE / "docs")
    options = parser.parse_args()
    started = time.perf_counter()
    # The native libraries complain on stderr about each of the files.
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", OPENCV_LOG_LEVEL="SILENT", OMP_NUM_THREADS="1")
    found = {}
    for name, count in {**shares(options.files), "arrays": options.arrays}.items():
        first = options.seed * 1_000_000
        found[name] = tally(name, range(first, first + count))
        print(f"{name}: {dict(found[name])}", flush=True)
    text = table(found, options.seed, time.perf_counter() - started)
    page = options.output / "reliability.md"
    before, _, after = page.read_text("utf-8").partition(BEGIN)
    with whole(page) as draft:
        draft.write_text(before + BEGIN + text + END + after.partition(END)[2], "utf-8")
    sys.exit(any(counts.total() - sum(counts[kind] for kind in GOOD) for counts in found.values()))


def shares(count: int) -> dict[str, int]:
    """Say how many files of each format there are, `count` together."""
    given = {name: count * percent // 100 for name, percent in SHARES.items()}
    others = [name for name in files.FORMATS if name not in given]
    left = count - sum(given.values())
    lengths = [len(part) for part in np.array_split(np.arange(left), len(others))]
    return {**dict(zip(others, lengths, strict=True)), **given}


def tally(name: str, cases: range) -> Counter[str]:
    """Count what came of the cases, and print those that went wrong."""
    counts: Counter[str] = Counter()
    for kind, case in outcomes(name, cases):
        counts[kind] += 1
        if kind not in GOOD:
            print(f"  {kind}: {case}", flush=True)
    return counts


def outcomes(name: str, cases: range) -> Iterator[tuple[str, str]]:
    """Run cases in another process, and in a new one after each that ends it or never ends."""
    context = multiprocessing.get_context("spawn")
    while cases:
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(name, cases, theirs))
        worker.start()
        theirs.close()
        ours.recv()  # the worker has imported what it needs
        try:
            while cases and ours.poll(PATIENCE):
                yield ours.recv()
                cases = cases[1:]
            if cases:
                yield "hang", f"{name}, case {cases[0]}"
        except EOFError:
            yield "crash", f"{name}, case {cases[0]}"
        cases = cases[1:]
        worker.kill()
        worker.join()


def work(name: str, cases: range, answers: Connection) -> None:
    """Send what came of each case."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    with tempfile.TemporaryDirectory() as folder:
        one = outcome(name, Path(folder))
        answers.send("ready")
        for case in cases:
            answers.send(one(case))


def outcome(name: str, folder: Path) -> Callable[[int], tuple[str, str]]:
    """Make the function that runs a case of this kind."""
    if name == "arrays":
        return arrays.outcome
    good = {}
    for part in dict.fromkeys([name, "npz", "png"]):  # pieces of others are put in, too
        path = folder / f"good.{part}"
        files.FORMATS[part].make(path)
        good[part] = path.read_bytes()
    return partial(files.outcome, name, whole=good, folder=folder)


def table(found: dict[str, Counter[str]], seed: int, seconds: float) -> str:
    """Lay the figures out as a table, with what they were made with."""
    lines = [
        "| what | cases | refused with a clear error | read | other errors | NaN | "
        "crashed or never ended |",
        "|---|---|---|---|---|---|---|",
    ]
    total: Counter[str] = Counter()
    for name, counts in found.items():
        if name != "arrays":
            total += counts
        else:
            lines.append(_row("all files", total))
        lines.append(_row("arrays" if name == "arrays" else f"`.{name}`", counts))
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    made = f"Seed {seed}, {seconds:.0f} s on {os.cpu_count()} cores, with {versions}."
    return "\n".join([*lines, "", made, ""])


def _row(name: str, counts: Counter[str]) -> str:
    read = counts["read"] + counts["finite"]
    dead = counts["crash"] + counts["hang"]
    cells = [counts.total(), counts["refused"], read, counts["raw"], counts["NaN"], dead]
    return f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |"


if __name__ == "__main__":
    main()
