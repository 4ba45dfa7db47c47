"""Many photographs, or the frames of a video, through one explainer."""
