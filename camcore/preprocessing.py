"""The former place of `camcore.photos.preprocessing`."""

from camcore.photos.preprocessing import Preprocessing, scaled

__all__ = ["Preprocessing", "scaled"]
