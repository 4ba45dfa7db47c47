"""The options that several commands have, worded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer

from camcore.augment import FLIPS_AND_SCALES, Augmentation, Flip

MODEL_PANEL: Final = "The model"
WHAT_PANEL: Final = "What is explained"
"""Headings of groups of options."""

SPEC: Final = (
    "timm:NAME, torchvision:NAME, keras:NAME, hf:FOLDER, ultralytics:FILE; a .keras, .pt2 or .onnx "
    "file; or package.module:function, whose code is run."
)
MODEL = typer.Option("--model", "-m", metavar="SPEC", help=SPEC, rich_help_panel=MODEL_PANEL)
ModelOption = Annotated[str, MODEL]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Weights to load into the model.",
        rich_help_panel=MODEL_PANEL,
    ),
]
CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="What training wrote: the weights in it are found by whatever name.",
        rich_help_panel=MODEL_PANEL,
    ),
]
PretrainedOption = Annotated[
    bool,
    typer.Option(
        "--pretrained",
        metavar="",
        help="Take the library's own weights, downloaded unless its cache has them.",
        rich_help_panel=MODEL_PANEL,
    ),
]
NumClassesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Make the model for this many classes, as its checkpoint is.",
        rich_help_panel=MODEL_PANEL,
        show_default=False,
    ),
]
ClassesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Names of the classes: one a line, or JSON, a list or {index: name}.",
        rich_help_panel=MODEL_PANEL,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Where the model runs, by its framework's name: cuda:1, mps; of ONNX coreml.",
        rich_help_panel=MODEL_PANEL,
    ),
]
ActivationOption = Annotated[
    Literal["softmax", "sigmoid", "none"] | None,
    typer.Option(
        metavar="softmax|sigmoid|none",
        help="What makes probabilities of the model's scores, where the model does not end in it; "
        "sigmoid for one unit that tells two classes.",
        rich_help_panel=WHAT_PANEL,
        show_default=False,
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="CLASS",
        help="A class by index or name; the predicted one unless given.",
        rich_help_panel=WHAT_PANEL,
    ),
]
LayersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="NAME",
        help="Where to look; repeat it to join several. `camcore layers` lists them.",
        rich_help_panel=WHAT_PANEL,
    ),
]
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="`camcore recipes` lists them.",
        rich_help_panel=WHAT_PANEL,
    ),
]
ValueRangeOption = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="LOW HIGH",
        help="A file's values that are black and white: 0 4095, say. Unless given, what the "
        "number of its bits says, or its smallest and largest value.",
        show_default=False,
    ),
]

Views: TypeAlias = Literal["flip", "flips-and-scales"]

AUGMENTS: Final[Mapping[str, Sequence[Augmentation]]] = {
    "flip": (Flip(),),
    "flips-and-scales": FLIPS_AND_SCALES,
}
"""Views that maps are averaged over, by what a person types."""

AugmentOption = Annotated[
    Views | None,
    typer.Option(
        metavar="flip|flips-and-scales",
        help="Average over views of the photograph: mirrored, and darker and brighter too.",
        rich_help_panel=WHAT_PANEL,
        show_default=False,
    ),
]


def folder_option(text: str) -> Any:
    """Make an option of a folder that is there, with its help."""
    return typer.Option(exists=True, file_okay=False, metavar="FOLDER", help=text)
