"""The command ``camcore``, a command line for the library."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or name the extra where its packages are missing."""
    try:
        from camcore.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.exit(
            f"The command line needs a package that is not installed ({error.name}). "
            'Install it with: pip install "camcore[cli]"'
        )
    app(prog_name="camcore")
