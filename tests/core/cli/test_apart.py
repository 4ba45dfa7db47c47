"""What frameworks log is no part of what a command prints; all else still is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOGS = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1796024331.389873   30154 port.cc:153] oneDNN custom operations are on.",
    "E0000 00:00:1796024331.4  30154 cuda_dnn.cc:8310] Unable to register cuDNN factory",
    "W1130 07:40:55.123456   30154 gpu_device.cc:2344] Cannot dlopen some GPU libraries.",
    "2026-11-30 07:40:55.123456: I tensorflow/core/util/port.cc:153] oneDNN is on.",
)


def run(code):
    start = (
        "import logging, os, sys, warnings\n"
        "from camcore.cli.apart import framework_logs_dropped\n"
        "from camcore.errors import PoorMapWarning\n"
        "def native(line): os.write(2, (line + '\\n').encode())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", start + code],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.mark.parametrize("line", LOGS)
def test_lines_of_a_log_are_dropped_and_others_are_printed(line):
    done = run(
        f"with framework_logs_dropped():\n"
        f"    native({line!r})\n    native('F0000 the end')\n    native('malloc: corrupted')\n"
        f"    print('ours', file=sys.stderr)\n"
        f"print('after', file=sys.stderr)\nnative('native after')\n"
    )
    assert done.stderr.splitlines() == [
        *("ours", "F0000 the end", "malloc: corrupted", "after", "native after")
    ]


def test_warnings_of_others_are_dropped_and_ours_are_notes():
    done = run(
        "with framework_logs_dropped():\n"
        "    logging.getLogger('timm').warning('theirs')\n"
        "    logging.getLogger('timm').error('failed')\n"
        "    warnings.warn('theirs')\n"
        "    warnings.warn(PoorMapWarning('The map is poor.'))\n"
    )
    assert done.stderr.splitlines() == ["failed", "Note: The map is poor."]


def test_an_error_leaves_the_streams_as_they_were():
    done = run(
        "before = sys.stderr\n"
        "try:\n    with framework_logs_dropped():\n        raise KeyboardInterrupt\n"
        "except KeyboardInterrupt:\n    pass\n"
        "assert sys.stderr is before\nnative('I0000 00:00:1.0 1 port.cc:1] after')\n"
    )
    assert done.stderr == "I0000 00:00:1.0 1 port.cc:1] after\n"


def test_a_closed_stream_of_errors_is_no_failure():
    code = "import camcore.cli as c, sys; sys.stderr = None; sys.argv[1:] = ['--version']; c.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout[:8]) == (0, "camcore ")


def test_explaining_with_tensorflow_prints_our_lines_alone(keras, photo, tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    words = ("--model", "keras:MobileNet", "--output", str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-m", "camcore", "explain", str(photo), *words],
        capture_output=True,
        text=True,
        env={**env, "COLUMNS": "200"},
        check=True,
    )
    lines = done.stderr.splitlines()
    assert lines[:2] == ["loading keras:MobileNet …", "explaining …"]
    assert all(line.startswith("Note: ") for line in lines[2:])
