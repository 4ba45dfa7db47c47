"""The command ``camcore app``: a page on this machine to look at models."""

from __future__ import annotations

import os
import signal
import sys
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from camcore import zoo
from camcore.cli import console
from camcore.cli.options import (
    MODEL_PANEL,
    SPEC,
    CheckpointOption,
    ClassesOption,
    DeviceOption,
    NumClassesOption,
    PretrainedOption,
    WeightsOption,
)
from camcore.errors import InputError

if TYPE_CHECKING:
    from camcore.app.session import Bench

HOST = "127.0.0.1"
"""The address of this machine that no other machine reaches."""


def page(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="SPEC",
            help=f"{SPEC} Repeat it for several.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            metavar="",
            help="Networks that need no download, in PyTorch and Keras.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = False,
    weights: WeightsOption = None,
    checkpoint: CheckpointOption = None,
    pretrained: PretrainedOption = False,
    num_classes: NumClassesOption = None,
    classes: ClassesOption = None,
    device: DeviceOption = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where it is served; 0.0.0.0 lets other machines reach it, with no password.",
        ),
    ] = HOST,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="N",
            help="The first free one from 7860 on unless given.",
            show_default=False,
        ),
    ] = None,
    browser: Annotated[bool, typer.Option("--open", metavar="", help="Open a browser.")] = False,
) -> None:
    """Open a page on this machine where anyone can look at a model; Ctrl-C ends it."""
    import camcore.app.page  # noqa: F401  # tells a missing extra before models are loaded
    from camcore.app.session import Bench, OnBench, demo_specs

    specs = [*(demo_specs() if demo else ()), *(model or ())]
    if not specs:
        raise typer.BadParameter("Name a model, such as --model timm:resnet50, or say --demo.")
    with console.misuse():
        for spec in specs:
            zoo.check_spec(spec)
    given = {
        "weights": weights,
        "checkpoint": checkpoint,
        "pretrained": pretrained,
        "num_classes": num_classes,
        "device": device,
        "classes": None if classes is None else str(classes),
    }
    single = [name for name in ("weights", "checkpoint") if given[name] is not None]
    if single and len(specs) > 1:
        raise typer.BadParameter(
            f"--{single[0]} is of one model, and there are {len(specs)}: {', '.join(specs)}."
        )
    with console.Steps(len(specs)) as steps:
        found: list[OnBench] = []
        for spec in dict.fromkeys(specs):
            with steps.step(f"loading {spec}", noisy=True):
                found += Bench.of(spec, **given).models.values()
    # What is uploaded is kept apart from other apps' files, and goes when the page is closed.
    with TemporaryDirectory(prefix="camcore-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        _serve(Bench(found), host, port, browser)


def _serve(bench: Bench, host: str, port: int | None, browser: bool) -> None:
    """Serve the page until it is ended."""
    from camcore.app import build

    # Whatever ends it, the folder of uploads goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    blocks = build(bench)
    try:
        blocks.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        where = f"port {port}" if port else "a port from 7860 on"
        raise InputError(
            f"{host} cannot be served at {where}: {error}. Give another --port or --host."
        ) from error
    console.say(f"Look at http://{host}:{blocks.server_port} (Ctrl-C ends it)")
    if host not in (HOST, "localhost", "::1"):
        console.warn("whoever reaches this machine can use the page: it has no password")
    blocks.block_thread()
