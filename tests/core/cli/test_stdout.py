"""What a command does where its standard output takes nothing, or a disk has no more room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[2] / "support"
MODEL = ("--model", "tiny_models:named")


def run(*words, stdout=subprocess.PIPE, prepare="", **options):
    """Run the command in a process of its own, after the lines `prepare`."""
    path = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    code = f"{prepare}\nfrom camcore.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        check=False,
        **options,
    )


COMMANDS = {
    "--help": (),
    "--version": (),
    "methods": (),
    "recipes": ("paper",),
    "info": (),
    "layers": ("tiny_models:named", "--json"),
    "explain": ("{photo}", *MODEL, "--output", "{out}"),
    "explain many": ("{photo}", *MODEL, "--json", "--output", "{out}"),
    "compare": ("{photo}", *MODEL, *MODEL, "--output", "{out}"),
    "compare as JSON": ("{photo}", *MODEL, *MODEL, "--json", "--output", "{out}"),
}


def words(command, photo, out):
    given = [word.format(photo=photo, out=out) for word in COMMANDS[command]]
    return [command.partition(" ")[0], *given]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("where", ["full", "closed"])
def test_an_output_that_takes_nothing_is_one_line_and_exit_code_1(command, where, photo, tmp_path):
    if where == "full":
        full = Path("/dev/full")
        if not full.exists():
            pytest.skip("this system has no /dev/full")
        with full.open("w") as stdout:
            done = run(*words(command, photo, tmp_path / "out"), stdout=stdout)
        says = "No space left on device"
    else:
        reader, writer = os.pipe()
        os.close(reader)
        done = run(*words(command, photo, tmp_path / "out"), stdout=writer)
        os.close(writer)
        says = "Broken pipe"
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if not line.endswith("…")]
    assert line.startswith(f"Error: Standard output cannot be written to: {says}.")


def test_a_standard_output_that_is_not_there_is_an_error_and_no_file_takes_its_place(tmp_path):
    out = tmp_path / "out"
    done = run("--version", stdout=None, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert done.stderr == "Standard output is closed. Send it to a file, or to /dev/null.\n"
    assert not out.exists()


FEW_BYTES = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
"""


@pytest.mark.parametrize(
    "command", ["explain", "explain many", "compare", "compare as JSON", "explain figures"]
)
def test_files_for_which_there_is_no_room_are_named_and_not_there(command, photo, tmp_path):
    pytest.importorskip("resource")
    out = tmp_path / "out"
    given = words(command.replace("figures", "many"), photo, out)
    if "figures" in command:
        given += ["--figures", "--save", "npz"]
    done = run(*given, prepare=FEW_BYTES)
    assert done.returncode == 1
    assert "cannot be written: File too large." in done.stderr
    assert "Traceback" not in done.stderr
    assert str(out) in done.stderr
    assert {path.name for path in out.rglob("*")} <= {"camcore-run.json"}
