"""The command ``camcore``, a command line for the library."""

from __future__ import annotations

import io
import sys
from typing import Any

from camcore.errors import CamcoreError, FileError


def main() -> None:
    """Run the command line, or name the extra where its packages are missing."""
    try:
        from camcore.cli.apart import framework_logs_dropped
        from camcore.cli.app import app
        from camcore.cli.console import fail
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.exit(
            f"The command line needs a package that is not installed ({error.name}). "
            'Install it with: pip install "camcore[cli]"'
        )
    if sys.stdout is None:  # as after "camcore ... >&-"
        sys.exit("Standard output is closed. Send it to a file, or to /dev/null.")
    if not sys.stdout.isatty():
        sys.stdout = _checked(sys.stdout)
    with framework_logs_dropped():
        try:
            try:
                app(prog_name="camcore")
            finally:
                sys.stdout.flush()
        except CamcoreError as error:
            fail(str(error))
            sys.exit(1)


class _CheckedFile(io.FileIO):
    """A file whose first failure to write is a clear error; what comes after it is dropped."""

    _failed = False

    def write(self, data: Any, /) -> int:
        """Write `data`, and return how many bytes were taken."""
        if self._failed:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._failed = True
            raise FileError(
                f"Standard output cannot be written to: {error.strerror}. What it was to show is "
                "cut short; results that are whole stay where they are."
            ) from error


def _checked(stream: Any) -> io.TextIOWrapper:
    """Reopen a text stream so that writing to it fails with a clear error."""
    stream.flush()
    raw = _CheckedFile(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=stream.line_buffering
    )
