"""How the cost of a Grad-CAM grows: with the batch, targets, layers, image size and channels.

    python benchmarks/growth.py [--rounds N] [--output FOLDER]

ResNet-50 in PyTorch, each point as a ratio to the plain forward pass of the same batch and
size; the last panel is the NumPy core alone, in milliseconds. Writes growth.md and growth.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch_cases
from timing import Run, against, machine

import camcore
from camcore._shared.progress import track
from camcore.targets import top

Make = Callable[[int], tuple[Run, Run]]
LAYERS = ["layer4", "layer4.1", "layer4.0", "layer3", "layer3.4", "layer3.3", "layer3.2"]


@dataclass(frozen=True)
class Axis:
    """What grows, over which values, and why its slope is what it is."""

    name: str
    values: tuple[int, ...]
    make: Make
    why: str
    unit: str = "forward passes"


def axes() -> list[Axis]:
    """List every panel of the plot."""
    model, _ = torch_cases.model_and_images("resnet50", 1)

    def explained(images: object, target: object = None, **options: object) -> tuple[Run, Run]:
        explainer = camcore.Explainer(model, **options)
        return torch_cases.forward(model, images), lambda: explainer(images, target)

    def images(batch: int = 1, size: int = 224) -> object:
        import torch

        return torch.randn(batch, 3, size, size)

    def core(channels: int) -> tuple[Run, Run]:
        maps = np.random.default_rng(0).normal(size=(2, 16, channels, 7, 7)).astype(np.float32)
        paper = camcore.recipes.TABLE["paper"]
        return (
            lambda: maps.mean(axis=2),
            lambda: paper.render([camcore.methods.gradcam(*maps)], (224, 224)),
        )

    return [
        Axis(
            "batch size",
            (1, 2, 4, 8, 16),
            lambda n: explained(images(n), layer="layer4"),
            "Flat: beyond the forward pass a call costs a constant, the walk over the model's "
            "modules that leaves it as it was, and what grows with the forward pass itself.",
        ),
        Axis(
            "targets of one image",
            (1, 2, 5, 10),
            lambda n: explained(images(), top(n), layer="layer4"),
            "One forward pass for all; each further target adds the backward pass from the "
            "scores to the layer, which here is pooling and one linear layer, and one map.",
        ),
        Axis(
            "layers",
            tuple(range(1, len(LAYERS) + 1)),
            lambda n: explained(images(), layer=LAYERS[:n]),
            "One backward pass for all, as deep as the earliest layer: each step back adds the "
            "backward of one more block, about what its forward costs.",
        ),
        Axis(
            "image side, pixels",
            (96, 160, 224, 320, 448),
            lambda n: explained(images(size=n), layer="layer4"),
            "Falls to one: the constant of a call is spread over a longer forward pass.",
        ),
        Axis(
            "channels (16 maps 7 x 7 to 224, NumPy alone)",
            (256, 512, 1024, 2048, 4096),
            core,
            "A straight line: one multiplication and one addition a channel and place, above "
            "the resizing, which does not know of channels.",
            unit="ms",
        ),
    ]


def main() -> None:
    """Measure, print, and write table and plot."""
    options = arguments()
    measured: dict[str, list[float]] = {}
    lines = []
    for axis in track(axes(), "axes", True):
        points = []
        for value in axis.values:
            baseline, run = axis.make(value)
            timed = against(baseline, {"camcore": run}, options.rounds)
            in_ms = 1e3 * timed.took["camcore"]
            points.append(in_ms if axis.unit == "ms" else timed.ratios["camcore"])
        measured[axis.name] = points
        lines += [
            f"**{axis.name}** ({axis.unit})\n",
            "| " + " | ".join(map(str, axis.values)) + " |",
            "|" + "---|" * len(points),
            "| " + " | ".join(f"{point:.2f}" for point in points) + " |",
            f"\n{axis.why}\n",
        ]
    lines.append(f"{machine()}; median of {options.rounds} ratios.")
    print("\n".join(lines))
    options.output.mkdir(parents=True, exist_ok=True)
    text = "# Growth\n\n![The same as a plot](growth.png)\n\n" + "\n".join(lines) + "\n"
    (options.output / "growth.md").write_text(text)
    plot(measured, options.output / "growth.png")


def plot(measured: dict[str, list[float]], path: Path) -> None:
    """Draw a panel for each thing that grows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(measured), 3.4), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(measured)), axes(), strict=True):
        panel.plot(axis.values, measured[axis.name], marker="o")
        panel.set_xlabel(axis.name)
        panel.set_ylabel(axis.unit)
        panel.set_ylim(0, 1.15 * max(measured[axis.name]))
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
