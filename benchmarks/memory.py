"""What an explanation holds in memory above the loaded model, next to the plain forward pass.

    python benchmarks/memory.py [--batch 8] [--calls 1000] [--output FOLDER]

Each figure comes from a process of its own (Linux: the peak is VmHWM, reset before the call).
Then resident memory over many calls in a loop. Writes memory.md.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from timing import machine

PEERS = ("camcore", "grad-cam", "captum", "torchcam")


def torch_run(who: str, batch: int) -> Callable[[], object]:
    """Set up one way of looking at ResNet-50 in PyTorch, the model loaded and nothing run."""
    import torch_cases

    model, images = torch_cases.model_and_images("resnet50", batch)
    if who == "forward":
        return torch_cases.forward(model, images)
    if who == "camcore":
        import camcore

        explainer = camcore.Explainer(model, layer="layer4")
        return lambda: explainer(images)
    return torch_cases.peers(model, images, "layer4")[who]


def tensorflow_run(who: str, batch: int) -> Callable[[], object]:
    """Set up one way of looking at ResNet50 in TensorFlow."""
    import tensorflow_cases

    import camcore

    model, images = tensorflow_cases.model_and_images("ResNet50", batch)
    if who == "forward":
        return tensorflow_cases.forward(model, images)
    explainer = camcore.Explainer(model, layer="conv5_block3_out")
    return lambda: explainer(images)


def peak(run: Callable[[], object]) -> float:
    """Measure the megabytes that a call needs at its highest above what is held before it.

    A first call loads code and compiles; what it freed is given back before the second.
    """
    run()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    run()
    return status("VmHWM") - before


def growth(run: Callable[[], object], calls: int) -> float:
    """Measure by how many megabytes resident memory grows over the calls but a first tenth."""
    for _ in range(calls // 10):
        run()
    gc.collect()
    before = status("VmRSS")
    for _ in range(calls):
        run()
    gc.collect()
    return status("VmRSS") - before


def status(key: str) -> float:
    """Read a line of /proc/self/status, in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"/proc/self/status has no {key}")


def loop(framework: str) -> Callable[[], object]:
    """Make a small explanation to repeat, its target and its images changing."""
    import itertools

    import camcore

    if framework == "torch":
        import torch_cases

        model, images = torch_cases.model_and_images("mobilenet_v2", 1)
        images = images[..., :64, :64]
    else:
        import tensorflow_cases

        model, images = tensorflow_cases.model_and_images("MobileNetV2", 1)
    targets = itertools.cycle(range(1000))
    return lambda: camcore.explain(model, images, target=next(targets))


def alone(what: str, framework: str, who: str, amount: int) -> float:
    """Measure in processes of its own: the median of three peaks, or one growth."""
    command = [sys.executable, __file__, "--one", what, framework, who, str(amount)]
    # Blocks from 64 KiB on go back to the system when freed, so that peaks show what is held.
    exact = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"} if what == "peak" else None
    found = []
    for _ in range(3 if what == "peak" else 1):
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=exact)
        found.append(float(done.stdout.splitlines()[-1]))
    return statistics.median(found)


def main() -> None:
    """Measure, print and write the table."""
    options = arguments()
    if options.one:
        what, framework, who, amount = options.one
        if what == "growth":
            print(growth(loop(framework), int(amount)))
        else:
            make = torch_run if framework == "torch" else tensorflow_run
            print(peak(make(who, int(amount))))
        return
    lines = [f"| ResNet-50, batch {options.batch} | peak above the model | to the forward | goal |"]
    lines.append("|---|---|---|---|")
    for framework, goal, names in (("torch", 1.05, PEERS), ("tensorflow", 1.10, PEERS[:1])):
        plain = alone("peak", framework, "forward", options.batch)
        lines.append(f"| {framework}, plain forward | {plain:.0f} MB | 1.00 | |")
        for who in names:
            try:
                high = alone("peak", framework, who, options.batch)
            except subprocess.CalledProcessError:
                lines.append(f"| {framework}, {who} | not installed | | |")
                continue
            aim = f"{goal:.2f}" if who == "camcore" else ""
            lines.append(f"| {framework}, {who} | {high:.0f} MB | {high / plain:.2f} | {aim} |")
    lines.append("")
    for framework in ("torch", "tensorflow"):
        grown = alone("growth", framework, "camcore", options.calls)
        lines.append(
            f"{options.calls} calls of `camcore.explain` in a loop, {framework}: "
            f"resident memory grows by {grown:.1f} MB (goal 5)."
        )
    lines.append(f"\n{machine()}.")
    print("\n".join(lines))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "memory.md").write_text("# Memory\n\n" + "\n".join(lines) + "\n")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
