"""What explaining a data set costs, next to a bare Ray `map_batches` that only forwards.

    python benchmarks/dataset.py [--photos N] [--rounds N] [--models NAME ...] [--output FOLDER]

Two workers of one core each, on this machine. The bare pass reads photographs with Pillow, scales,
crops and normalises them, and runs the model on batches without gradients; it keeps nothing.
Explaining does that, explains the predicted classes at the default layer, and writes rows of maps
and scores. Both are timed from when a first block is done to the last, so that neither Ray's start
nor the model's is in it. The same is explained by one process of two threads, too. Photographs are
500 x 375 JPEG; models have random weights, but for those of the demo. Writes dataset.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from folder import forward, photographs
from timing import machine

from camcore import zoo
from camcore.batch import Cluster, Done, explain_dataset
from camcore.nest import batch_of
from camcore.photos.crop import CentreCrop

MODELS = ("torchvision:resnet50", "demo-onnx:efficientnet_lite0")
SIZE = "500 x 375"
BATCH = 8
WORKERS = 2
GOAL = 0.9


def main() -> None:
    """Measure, print and write the table."""
    options = arguments()
    import ray

    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(search_path())}},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    lines = [
        "| model | bare `map_batches`, a second | camcore on Ray, a second | ratio "
        f"(goal {GOAL}) | camcore in one process, a second | hours a million, on Ray |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        paths = photographs(Path(scratch), SIZE, options.photos)
        for name in options.models:
            rates: dict[str, list[float]] = {"bare": [], "ray": [], "alone": []}
            for _ in range(options.rounds):
                rates["bare"].append(bare(name, paths))
                for kind in ("ray", "alone"):
                    out = Path(scratch) / "out"
                    shutil.rmtree(out, ignore_errors=True)
                    rates[kind].append(explained(name, paths[0].parent, out, kind == "ray"))
            ratios = [ours / plain for ours, plain in zip(rates["ray"], rates["bare"], strict=True)]
            plain, ours, alone = (statistics.median(rates[kind]) for kind in rates)
            lines.append(
                f"| {name} | {plain:.1f} | {ours:.1f} | {statistics.median(ratios):.2f} | "
                f"{alone:.1f} | {1e6 / ours / 3600:.1f} |"
            )
            print(lines[-1], flush=True)
    lines.append(
        f"\n{machine()}; {options.photos} photographs of {SIZE}, batches of {BATCH}, {WORKERS} "
        f"workers; medians of {options.rounds} rounds."
    )
    print("\n".join(lines))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "dataset.md").write_text("# A data set\n\n" + "\n".join(lines) + "\n")


class Forward:
    """A worker that runs a model on photographs, batch by batch."""

    def __init__(self, name: str) -> None:
        self.loaded = zoo.load_model(name)
        self.run = runner(self.loaded.model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Run the photographs of a batch of paths."""
        import numpy as np
        from PIL import Image

        made = []
        for path in batch["path"]:
            with Image.open(path) as image:
                photo = np.asarray(image.convert("RGB"))
            loaded = self.loaded
            crop = CentreCrop(photo.shape, loaded.size, loaded.resize, loaded.interpolation)
            made.append(loaded.preprocess(crop.to_model(photo)))
        self.run(batch_of(made))
        return {"path": batch["path"]}


def runner(model: object) -> Callable[[Any], object]:
    """Run a model in its framework's own way."""
    if type(model).__module__.startswith("torch"):
        return forward(model)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.graph.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})


def bare(name: str, paths: list[Path]) -> float:
    """Forward photographs by Ray, and return how many a second."""
    import ray

    rows = ray.data.from_items(
        [{"path": str(path)} for path in paths], override_num_blocks=len(paths) // BATCH
    )
    done = rows.map_batches(
        Forward,
        fn_constructor_args=(name,),
        batch_size=BATCH,
        concurrency=WORKERS,
        num_cpus=1,
    )
    blocks = done.iter_batches(batch_size=BATCH, prefetch_batches=0)
    times = [time.perf_counter() for _ in blocks]
    return rate(times, [BATCH] * len(times))


def explained(name: str, folder: Path, out: Path, on_ray: bool) -> float:
    """Explain photographs into rows, and return how many a second."""
    times: list[float] = []
    rows: list[int] = []

    def progress(part: Done, total: int | None) -> None:
        times.append(time.perf_counter())
        rows.append(part.rows)

    cluster = Cluster(workers=WORKERS, cpus=1) if on_ray else False
    done = explain_dataset(
        folder, name, out, batch=BATCH, part=2 * BATCH, threads=2, ray=cluster, progress=progress
    )
    assert not done.failed
    return rate(times, rows)


def rate(times: list[float], rows: list[int]) -> float:
    """How many were done a second, from when the first of each worker's blocks was."""
    begun = WORKERS - 1
    return sum(rows[begun + 1 :]) / (times[-1] - times[begun])


def search_path() -> list[str]:
    """Where workers find the modules that this process does."""
    import sys

    return [path for path in sys.path if path]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=256, help="how many")
    parser.add_argument("--rounds", type=int, default=3, help="ratios to take the median of")
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="as camcore names them")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
