"""Explain many photographs, or the frames of a video, with one model."""

from camcore.batch.find import FoundPhotos, find_photos, is_photo, is_video
from camcore.batch.photos import ExplainedPhoto, PreparedPhoto, explain_photos, explain_prepared
from camcore.batch.pipeline import Failed
from camcore.batch.video import (
    Clip,
    TemporalSmoothing,
    explain_frames,
    overlay_video,
    write_video,
)

__all__ = [
    "Clip",
    "ExplainedPhoto",
    "Failed",
    "FoundPhotos",
    "PreparedPhoto",
    "TemporalSmoothing",
    "explain_frames",
    "explain_photos",
    "explain_prepared",
    "find_photos",
    "is_photo",
    "is_video",
    "overlay_video",
    "write_video",
]
