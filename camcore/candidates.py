"""The former place of `camcore.layers.candidates`."""

from camcore.layers.candidates import Candidate, candidates

__all__ = ["Candidate", "candidates"]
