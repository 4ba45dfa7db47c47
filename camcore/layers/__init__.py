"""Layers of a model: their names, which to look at, and how their arrays are laid out."""

from camcore.layers.candidates import Candidate, candidates
from camcore.layers.layout import Layout

__all__ = ["Candidate", "Layout", "candidates"]
