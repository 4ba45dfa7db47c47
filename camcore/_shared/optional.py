"""Optional packages are imported where they are used; what is missing is named with its extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from camcore.errors import MissingExtraError


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Name the extra to install when an import within this context fails.

    Parameters
    ----------
    extra : str
        An extra of the distribution: ``"viz"``.
    purpose : str
        What the import is for: ``"drawing figures"``.

    Raises
    ------
    MissingExtraError
        An import within the context failed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} failed to start ({error}); "
            f'install what it needs with: pip install "camcore[{extra}]"'
        ) from error
