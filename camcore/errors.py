"""Errors and warnings of camcore.

An error says what came, what was expected and what to do next.
"""

from __future__ import annotations


class CamcoreError(Exception):
    """Base of every error that camcore raises."""


class BackendError(CamcoreError):
    """No adapter can serve the model, or the adapter's framework is missing."""


class LayerError(CamcoreError, ValueError):
    """A layer is unknown, ambiguous, or its output is no spatial map."""


class TargetError(CamcoreError, ValueError):
    """A target does not fit the model's outputs."""


class InputError(CamcoreError, ValueError):
    """Inputs or arrays have the wrong shape, kind or values."""


class FileError(CamcoreError, OSError):
    """A file cannot be written, or would take the place of one that is not to be lost."""


class MissingFileError(InputError, FileNotFoundError):
    """There is no such file to read."""


class GradientError(CamcoreError):
    """No gradient reaches the layer from the explained score."""


class MethodError(CamcoreError, ValueError):
    """A method is unknown, or the model or adapter cannot serve it."""


class NotOfferedError(MethodError):
    """An adapter leaves out what it may leave out."""


class RecipeError(CamcoreError, ValueError):
    """A recipe is unknown or contradicts itself."""


class MissingExtraError(CamcoreError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class CamcoreWarning(UserWarning):
    """Something the user should know, though the work goes on."""


class PoorMapWarning(UserWarning):
    """A map shows little: its layer has hardly any places, or no gradient comes to them."""
