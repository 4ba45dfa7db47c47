"""Keep what frameworks log apart from what a command prints."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, Any, Final

_LOG: Final = re.compile(
    rb"(I|W|E)\d{4} [\d: .]+\] .*"  # as absl logs: I0000 00:00:17.3  30154 port.cc:153] ...
    rb"|(I|W|E)\d{4} .*\b\w+\.(cc|cpp|h):\d+\] .*"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: (I|W|E) .*"
    rb"|WARNING: All log messages before absl::InitializeLog\(\) .*"
)
"""Lines that frameworks log from C++, but for those about what ends the process."""


@contextmanager
def framework_logs_dropped() -> Iterator[None]:
    """Drop what frameworks log within the context; camcore's own warnings are notes.

    What they write to the stream of errors from C++ goes to a file, and of that what is no line of
    a log is printed in the end.
    """
    quiet = ("TF_CPP_MIN_LOG_LEVEL", "3"), ("YOLO_VERBOSE", "False")
    for name, value in quiet:
        os.environ.setdefault(name, value)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _show_ours()
        if sys.stderr is None:  # as after "camcore ... 2>&-"
            yield
            return
        with _errors_of_python_alone():
            yield


def _show_ours() -> None:
    """Print camcore's own warnings as notes."""
    from camcore.cli.console import warn
    from camcore.errors import CamcoreWarning, PoorMapWarning

    for kind in (CamcoreWarning, PoorMapWarning):
        warnings.simplefilter("default", kind)

    def note(message: Warning | str, *where: Any, **more: Any) -> None:
        warn(str(message))

    warnings.showwarning = note


@contextmanager
def _errors_of_python_alone() -> Iterator[None]:
    """Give Python a stream of errors of its own, and send what is written beside it to a file."""
    before = sys.stderr
    before.flush()
    shared = before.fileno()
    how: dict[str, Any] = {"encoding": before.encoding, "errors": before.errors, "buffering": 1}
    with TemporaryFile() as others, open(os.dup(shared), "w", **how) as own:
        os.dup2(others.fileno(), shared)
        sys.stderr = own
        try:
            yield
        finally:
            own.flush()
            os.dup2(own.fileno(), shared)
            sys.stderr = before
            _print_rest(others)


def _print_rest(others: IO[bytes]) -> None:
    """Print the lines of a file that are no log."""
    others.seek(0)
    for line in others:
        if line.strip() and not _LOG.fullmatch(line.rstrip()):
            sys.stderr.write(line.decode("utf-8", "replace"))
    sys.stderr.flush()
