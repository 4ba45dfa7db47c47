"""The fast ways to run a model, next to its eager forward pass, and how far they move the map.

    python benchmarks/fast.py [--ways channels_last compile ...] [--rounds N] [--output FOLDER]

Grad-CAM of ResNet-50 with random weights (batch 1 and 8) and of EfficientNet-Lite0 with
ImageNet weights. ``bfloat16`` is left out unless named where the processor would have to
emulate it. Writes fast.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch_cases
from timing import against, machine, seconds

import camcore
from camcore._shared.progress import track
from camcore.zoo import load_model


def setups() -> Iterator[tuple[str, torch.nn.Module, torch.Tensor]]:
    """Make models and inputs by name."""
    for batch in (1, 8):
        yield f"ResNet-50, batch {batch}", *torch_cases.model_and_images("resnet50", batch)
    torch.manual_seed(0)
    yield (
        "EfficientNet-Lite0, batch 1",
        load_model("demo-torch:efficientnet_lite0").model,
        (torch.randn(1, 3, 224, 224)),
    )


def rows(
    name: str, model: torch.nn.Module, images: torch.Tensor, ways: list[str], rounds: int
) -> Iterator[str]:
    """List rows of the table: one for each way, the first for none."""
    plain = camcore.explain(model, images)
    explainers = {way: camcore.Explainer(model, fast=way.split("+")) for way in ways}
    first = {way: seconds(lambda e=e: e(images)) for way, e in explainers.items()}
    moved = {way: explainer(images).maps for way, explainer in explainers.items()}
    runs = {way: (lambda e=e: e(images)) for way, e in explainers.items()}
    eager = camcore.Explainer(model)
    timed = against(
        torch_cases.forward(model, images), {"none": lambda: eager(images), **runs}, rounds
    )
    yield f"| {name} | none | {timed.ratios['none']:.2f} | | | |"
    for way, maps in moved.items():
        correlation = np.corrcoef(maps.ravel(), plain.maps.ravel())[0, 1]
        yield (
            f"| {name} | {way} | {timed.ratios[way]:.2f} | {np.abs(maps - plain.maps).max():.1e} | "
            f"{correlation:.6f} | {first[way]:.1f} s |"
        )


def main() -> None:
    """Measure, print and write the table."""
    options = arguments()
    lines = [
        "| model | fast | to the eager forward | map moves by at most | Pearson | first call |",
        "|---|---|---|---|---|---|",
    ]
    for setup in track(list(setups()), "models", True):
        lines += rows(*setup, options.ways, options.rounds)
    lines.append(f"\n{machine()}; median of {options.rounds} ratios.")
    print("\n".join(lines))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "fast.md").write_text("# Fast ways\n\n" + "\n".join(lines) + "\n")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    ways = ["channels_last", "compile", "channels_last+compile"]
    if torch.cpu._is_avx512_bf16_supported():
        ways += ["bfloat16", "channels_last+bfloat16"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", nargs="*", default=ways, help="names, joined by + to combine")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
