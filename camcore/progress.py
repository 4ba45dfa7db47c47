"""A progress bar for loops over photographs."""

from camcore._shared.progress import track

__all__ = ["track"]
