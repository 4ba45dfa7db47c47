"""One HTML page of the photographs of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from camcore import report as reports
from camcore._shared.optional import needs
from camcore.batch import ExplainedPhoto, FoundPhotos
from camcore.cli.explain.request import ExplainRequest
from camcore.explanation import Explanation
from camcore.photos.crop import Crop
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
    kept: dict[Path, tuple[Explanation, Crop | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, photos: Sequence[Path], call: str) -> ReportDraft:
        """Start a page that shows the first of the `photos`."""
        return cls(path, set(photos[:PICTURES]), call)

    def add(self, path: Path, one: ExplainedPhoto) -> None:
        """Keep the photograph at `path`, if it is to be shown."""
        if path in self.wanted:
            self.kept[path] = (one.explanation, one.crop)

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
        explanations, crops = zip(*(self.kept[path] for path in shown), strict=True)
        entry = Entry(
            Explanation.concatenate(explanations),
            request.model.spec,
            crops=None if None in crops else crops,
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
