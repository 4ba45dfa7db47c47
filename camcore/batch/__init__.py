"""Explain many photographs, a data set of any size, or the frames of a video, with one model."""

from camcore.batch.dataset.cluster import Cluster
from camcore.batch.dataset.fold import EvaluationTable
from camcore.batch.dataset.results import Results, read_results
from camcore.batch.dataset.run import DatasetRun, evaluate_dataset, explain_dataset
from camcore.batch.dataset.work import Done
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
    "Cluster",
    "DatasetRun",
    "Done",
    "EvaluationTable",
    "ExplainedPhoto",
    "Failed",
    "FoundPhotos",
    "PreparedPhoto",
    "Results",
    "TemporalSmoothing",
    "evaluate_dataset",
    "explain_dataset",
    "explain_frames",
    "explain_photos",
    "explain_prepared",
    "find_photos",
    "is_photo",
    "is_video",
    "overlay_video",
    "read_results",
    "write_video",
]
