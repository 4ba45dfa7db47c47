"""What explaining a folder costs, next to a bare loop over the same photographs.

    python benchmarks/folder.py [--photos N] [--rounds N] [--models NAME ...] [--output FOLDER]

The bare loop reads a photograph with Pillow, scales, crops and normalises it, and runs the
model on batches without gradients; it keeps nothing. Explaining does that, and writes an
overlay of each photograph as JPEG, scaled down as the command does. Models have random weights.
Writes folder.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from timing import against, machine

from camcore import zoo
from camcore._shared.atomic import whole
from camcore.batch import ExplainedPhoto, explain_photos
from camcore.cli.explain.output import OVERLAY_SIZE
from camcore.nest import batch_of
from camcore.photos.crop import CentreCrop
from camcore.photos.io import encode
from camcore.zoo import LoadedModel

SIZES = {"500 x 375": (500, 375), "1600 x 1200": (1600, 1200), "4000 x 3000": (4000, 3000)}
MODELS = ("torchvision:resnet50", "torchvision:mobilenet_v2")
BATCH = 8
GOAL = 1.10


def main() -> None:
    """Measure, print and write the table."""
    options = arguments()
    lines = [
        f"| model | photographs | bare loop, a second | camcore, a second | ratio (goal {GOAL}) |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.models:
            loaded = zoo.load_model(name)
            for size in options.sizes:
                paths = photographs(Path(scratch), size, options.photos)
                out = Path(scratch) / "out"
                timed = against(
                    partial(bare, loaded, paths),
                    {"camcore": partial(explain, loaded, paths, out)},
                    options.rounds,
                )
                rates = (len(paths) / timed.seconds, len(paths) / timed.took["camcore"])
                lines.append(
                    f"| {name} | {len(paths)} of {size} | {rates[0]:.1f} | {rates[1]:.1f} | "
                    f"{timed.ratios['camcore']:.2f} |"
                )
                print(lines[-1], flush=True)
    lines.append(f"\n{machine()}; batches of {BATCH}; median of {options.rounds} ratios.")
    print("\n".join(lines))
    options.output.mkdir(parents=True, exist_ok=True)
    text = "# A folder of photographs\n\n" + "\n".join(lines) + "\n"
    (options.output / "folder.md").write_text(text)


def photographs(scratch: Path, size: str, count: int) -> list[Path]:
    """Write photographs of one size, as JPEG."""
    from PIL import Image
    from skimage import data

    folder = scratch / size
    folder.mkdir(exist_ok=True)
    sources = [Image.fromarray(getattr(data, name)()) for name in ("chelsea", "coffee", "rocket")]
    paths = [folder / f"{number:04}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            sources[number % 3].resize(SIZES[size]).save(path, quality=90)
    return paths


def bare(loaded: LoadedModel, paths: list[Path]) -> int:
    """Read, preprocess and run the photographs."""
    from PIL import Image

    run = forward(loaded.model)
    seen = 0
    for start in range(0, len(paths), BATCH):
        batch = []
        for path in paths[start : start + BATCH]:
            with Image.open(path) as image:
                photo = np.asarray(image.convert("RGB"))
            crop = CentreCrop(photo.shape, loaded.size, loaded.resize, loaded.interpolation)
            batch.append(loaded.preprocess(crop.to_model(photo)))
        seen += len(run(batch_of(batch)))
    return seen


def forward(model: object) -> Callable[[np.ndarray], object]:
    """Run a model in its framework's own way: no gradients in PyTorch, compiled in Keras."""
    import torch

    if not isinstance(model, torch.nn.Module):
        return model.predict_on_batch

    def run(batch: np.ndarray) -> object:
        with torch.no_grad():
            return model(torch.from_numpy(batch))

    return run


def explain(loaded: LoadedModel, paths: list[Path], out: Path) -> int:
    """Explain the same, and draw it."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()

    def write(path: Path, one: ExplainedPhoto) -> None:
        with whole(out / path.name) as draft:
            draft.write_bytes(encode(one.within(OVERLAY_SIZE).overlay(), "jpg"))

    results: Iterator[object] = explain_photos(loaded, paths, finish=write, batch=BATCH)
    return sum(1 for _ in results)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=64, help="how many of each size")
    parser.add_argument("--rounds", type=int, default=7, help="ratios to take the median of")
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="as camcore names them")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
