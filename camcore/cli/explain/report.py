"""One HTML page of the photographs of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from camcore import report as reports
from camcore._shared.optional import needs
from camcore.batch import ExplainedPhoto, FoundPhotos
from camcore.cli.explain.request import ExplainRequest
from camcore.explanation import Explanation
from camcore.photos.photo import Photo
from camcore.report import Entry
from camcore.zoo import LoadedModel

SIDE = 448
"""Longer side of its pictures, in pixels."""

PICTURES = 300
"""Largest number of photographs in it; of more, it shows the first."""


def check_report() -> None:
    """Name the extra where what a report needs is missing."""
    with needs("report", "writing a report"):
        import jinja2  # noqa: F401


@dataclass
class ReportDraft:
    """What is kept of photographs until the page is written.

    Parameters
    ----------
    path : Path
        The page.
    wanted : set of Path
        The photographs that it shows.
    call : str
        The command that makes it again.
    """

    path: Path
    wanted: set[Path]
    call: str
    kept: dict[Path, ExplainedPhoto] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, photos: Sequence[Path], call: str) -> ReportDraft:
        """Start a page that shows the first of the `photos`."""
        return cls(path, set(photos[:PICTURES]), call)

    def add(self, path: Path, one: ExplainedPhoto) -> None:
        """Keep the photograph at `path`, if it is to be shown."""
        if path in self.wanted:
            # Read again, and small, when the page is written: together they would be large.
            self.kept[path] = replace(one, photo=np.zeros((1, 1, 3), np.uint8))

    def write(
        self,
        request: ExplainRequest,
        loaded: LoadedModel,
        found: FoundPhotos,
        failed: Mapping[Path, object],
    ) -> bool:
        """Write the page; return False where no photograph could be explained."""
        shown = [path for path in found.paths if path in self.kept]
        if not shown:
            return False
        kept = [self.kept[path] for path in shown]
        entry = Entry(
            Explanation.concatenate([one.explanation for one in kept]),
            request.model.spec,
            crops=[one.crop for one in kept if one.crop is not None] or None,
            classes=loaded.classes,
        )
        notes = [f"Left out {found.within(path)}: {why}" for path, why in failed.items()]
        if len(found.paths) > PICTURES:
            notes.append(f"Of {len(found.paths)} photographs, the first {PICTURES} are shown.")
        reports.write(
            self.path,
            [Photo.read(path, max_dim=SIDE).picture for path in shown],
            [entry],
            names=[str(found.within(path)) for path in shown],
            title=f"Where {request.model.spec} looks",
            call=self.call,
            notes=notes,
            side=SIDE,
        )
        return True
