"""What a user writes type-checks without a cast, by mypy and by pyright."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ["mypy", "--strict", "tests/typing/twenty_calls.py", "examples"],
        ["mypy", "--strict", "-p", "camcore_torch", "-p", "camcore_tensorflow"],
        ["pyright", "--project", "tests/typing"],
    ],
    ids=["mypy on a user's script", "mypy on the adapters", "pyright on a user's script"],
)
def test_type_checker_has_nothing_to_say(command, require):
    require(command[0])
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
