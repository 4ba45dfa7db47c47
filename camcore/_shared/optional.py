"""Import optional packages where they are used, and name the extra of a missing one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from camcore.errors import MissingExtraError


def installed_version(package: str) -> str | None:
    """Find the version of a distribution; None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version(package)
    except PackageNotFoundError:
        return None


@contextmanager
def needs(extra: str, purpose: str) -> Iterator[None]:
    """Name the `extra` to install when an import within this context fails.

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
            f"{purpose} failed to start ({error}). "
            f'Install what it needs with: pip install "camcore[{extra}]"'
        ) from error
