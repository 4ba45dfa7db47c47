"""Explain a data set into rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from camcore.batch import explain_dataset
from camcore.batch.dataset.run import OVERLAY_SIZE
from camcore.cli import console
from camcore.cli.dataset import DatasetOptions, end, run
from camcore.cli.explain.request import ExplainRequest
from camcore.cli.options import AUGMENTS


def explain_rows(
    request: ExplainRequest,
    sources: Sequence[str],
    folder: Path,
    dataset: DatasetOptions,
    recursive: bool,
    batch: int,
    resume: bool,
    overlay_size: int | None,
) -> None:
    """Explain the photographs of `sources` into rows below `folder`, and print a summary.

    Raises
    ------
    typer.Exit
        1 where photographs failed, 130 after Ctrl-C.
    """
    request.check()
    console.folder(folder)
    given: dict[str, Any] = {"layer": list(request.layer), "activation": request.activation}
    made = partial(
        explain_dataset,
        sources,
        request.model,
        folder,
        target=request.target,
        recursive=recursive,
        max_dim=request.max_dim,
        value_range=request.value_range,
        batch=batch,
        resume=resume,
        ray=dataset.cluster,
        image_column=dataset.image_column,
        id_column=dataset.id_column,
        overlays=overlay_size is not None,
        overlay_size=overlay_size or OVERLAY_SIZE,
        method=request.method,
        recipe=request.drawn_recipe,
        augment=() if request.augment is None else AUGMENTS[request.augment],
        **{name: value for name, value in given.items() if value},
    )
    found, results = run(made, folder, "Explained", quiet=False)
    if counts := results.most_common("class_name"):
        often = ", ".join(f"{name} ({count})" for name, count in counts)
        console.say(f"Most often: {often}")
    console.wrote(folder, ["parts/*.parquet", *(["overlays/"] if overlay_size else [])])
    console.say(f"Read them: camcore.batch.read_results({str(folder)!r}).to_pandas()")
    end(found, results)
