"""The commands that list things, and how the program starts and ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import camcore as library
from camcore.methods.cards import QUESTIONS


def test_version_and_help_are_printed(camcore):
    assert camcore("--version").stdout == f"camcore {library.__version__}\n"
    for command in ("demo", "explain", "layers", "methods", "recipes", "info"):
        assert command in camcore("--help").stdout
        assert camcore(command, "--help").exit_code == 0


@pytest.mark.parametrize("command", ["explain", "compare", "layers"])
def test_the_help_says_that_functions_are_run(command, camcore):
    shown = camcore(command, "--help").stdout
    words = " ".join(shown.replace("│", " ").split())
    assert "package.module:function, whose code is run" in words


def test_misuse_is_exit_code_2(camcore):
    assert camcore("wat").exit_code == 2
    assert camcore("layers").exit_code == 2


def test_methods_lists_every_row_of_the_table(camcore):
    shown = camcore("methods").stdout
    for method in library.methods.TABLE:
        assert method.label in shown
        assert method.name in shown
    places = [shown.index(question) for question in QUESTIONS]
    assert places == sorted(places)
    worth = list(QUESTIONS).index("What is each pixel worth to the score?")
    assert places[worth] < shown.index("\n  XRAI") < places[worth + 1]
    assert "of your own" not in shown


def test_recipes_describes_them(camcore):
    listed = camcore("recipes").stdout
    assert all(f" {name} " in listed for name in library.recipes.TABLE)
    for recipe in library.recipes.TABLE.values():
        assert camcore("recipes", recipe.name).stdout == recipe.describe() + "\n"
    assert camcore("recipes", "keras-io").stdout.startswith("keras-io")
    unknown = camcore("recipes", "keras")
    assert unknown.exit_code == 2
    assert "keras-io" in unknown.stderr


def test_layers_lists_what_runs_what_is_worth_it_and_what_is_explained(camcore):
    shown = camcore("layers", "tiny_models:named", "--all").stdout
    assert camcore("layers", "-m", "tiny_models:named", "--all").stdout == shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["•", "conv1", "Conv", "3×6×6"] in rows
    assert ["→", "relu2", "ReLU", "4×4×4"] in rows
    assert ["fc", "Dense", "5", "no", "map"] in rows
    assert "no layer is asked for: relu2" in shown
    assert f"• {sum(row[:1] in (['•'], ['→']) for row in rows) - 2} of" in shown


def test_the_layers_that_matter_come_finest_first_with_their_grid_and_why(camcore):
    shown = camcore("layers", "tiny_models:named").stdout
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    assert [row for row in rows if row and "─" not in row] == [
        "layer grid why",
        "relu1 6×6 last on a finer grid",
        "conv2 4×4 three quarters of the way back, same grid",
        "→ relu2 4×4 explained when none is named",
        "4 of 6 layers are worth looking at; --all lists every one.",
        "→ is explained when no layer is asked for: relu2",
    ]


def test_layers_are_printed_as_json(camcore):
    found = json.loads(camcore("layers", "tiny_models:named", "--json").stdout)
    assert [one["name"] for one in found if one["chosen"]] == ["relu2"]
    assert found[0] == {
        "name": "conv1",
        "kind": "Conv",
        "shape": [1, 3, 6, 6],
        "calls": 1,
        "size": [6, 6],
        "good": True,
        "fault": "",
        "chosen": False,
        "why": "",
    }
    assert [one["why"] for one in found if one["chosen"]] == ["explained when none is named"]
    assert found[-1]["fault"] == "no map"
    assert found[-1]["size"] is None


def test_layers_takes_one_model_at_a_time(camcore):
    assert camcore("layers", "tiny_models:named", "-m", "tiny_models:named").exit_code == 2


def test_info_names_versions_and_extras(camcore):
    shown = camcore("info").stdout
    assert library.__version__ in shown
    row = next(line.split() for line in shown.splitlines() if "matplotlib" in line)
    assert row[1] == pytest.importorskip("matplotlib").__version__
    assert re.search(r"package +version +in the extras", shown)
    assert "viz" in row[2:]


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_its_packages_the_command_line_names_the_extra(package):
    code = f"import sys; sys.modules['{package}'] = None; import camcore.cli; camcore.cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'pip install "camcore[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_command_line_loads_no_framework():
    code = (
        "import sys, camcore.cli.app;"
        "assert not {'torch', 'tensorflow', 'cv2', 'matplotlib', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_left_out_of_a_command_is_fixed():
    import typer

    from camcore.cli.app import app

    shared = {"max_dim": 2048, "batch": 8}
    expected = {
        "demo": {"output": Path("camcore-demo")},
        "explain": {
            **{"method": "gradcam", "recipe": "paper", "steady": 0.0, "every": 1, "top": 5},
            **{"tile": 0, "overlap": 0},
            **shared,
        },
        "compare": {"output": Path("camcore-compare"), "seed": 0, **shared},
        "evaluate": {
            **{"recipe": "paper", "metric_recipe": "paper", "controls": True, "steps": 50},
            **{"batch": 32, "seed": 0, "output": Path("camcore-evaluate")},
        },
        "reproduce": {"output": Path("camcore-reproduce"), "seed": 0},
        "app": {"host": "127.0.0.1"},
        **{name: {} for name in ("layers", "methods", "recipes", "info")},
    }
    found = {
        name: {
            one.name: one.default
            for one in command.params
            if one.default is not None and one.default is not False
        }
        for name, command in typer.main.get_command(app).commands.items()
    }
    assert found == expected


def test_a_card_says_what_there_is_to_know_of_a_method(camcore):
    shown = camcore("methods", "Grad-CAM", "occlusion").stdout
    for said in (
        *("Grad-CAM  gradcam", "Σ_c mean_s(g_c) · A_c", "one forward pass and one backward"),
        *("@inproceedings{selvaraju2017gradcam,", "eprint = {1610.02391},", "HiResCAM does not."),
        *("Occlusion  occlusion", "window, stride, baseline, edge", "Zeiler and Fergus, ECCV 2014"),
    ):
        assert said in shown
    assert camcore("methods", "random").stdout.count("@") == 0
    assert camcore("methods", "gradcamm").exit_code == 2


def words(text):
    return {word.strip("│╭╮╰╯─•→") for word in text.split()} - {""}


LISTS = {
    "methods": (),
    "methods NAMES": tuple(row.name for row in library.methods.TABLE),
    "recipes": (),
    "recipes NAMES": tuple(library.recipes.TABLE),
    "info": (),
    "layers": ("tiny_models:named",),
    "layers --all": ("tiny_models:named", "--all"),
}


@pytest.mark.parametrize("command", LISTS)
def test_every_word_is_whole_at_80_columns(command, camcore, monkeypatch):
    from camcore.cli import console

    shown = []
    for width in (80, 400):
        monkeypatch.setattr(console.out, "_width", width)
        done = camcore(command.split()[0], *LISTS[command])
        assert done.exit_code == 0
        shown.append(done.stdout)
    # An address may go on in the next line, behind a slash.
    narrow = words(shown[0].replace("github.com/ ", "github.com/"))
    broken = narrow - words(shown[1])
    assert {word for word in broken if word not in ADDRESS} == set()
    if command not in ("recipes NAMES",):
        assert max(map(len, shown[0].splitlines())) <= 80


ADDRESS = ("github.com/", "tabayashi0117/", "Score-CAM", "github.com/tabayashi0117/")


@pytest.mark.parametrize(
    "command", ["", "demo", "explain", "compare", "layers", "methods", "recipes", "info"]
)
def test_help_breaks_no_word_at_80_columns(command, require, monkeypatch):
    from typer.testing import CliRunner

    from camcore.cli.app import app

    shown = []
    for width in ("80", "400"):
        monkeypatch.setenv("COLUMNS", width)
        monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", int(width))
        shown.append(CliRunner().invoke(app, [*command.split(), "--help"]).stdout)
    assert words(shown[0]) - words(shown[1]) == set()
    assert max(map(len, shown[0].splitlines())) <= 80


def test_the_program_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "camcore", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"camcore {library.__version__}\n"


def test_shells_complete_what_is_typed():
    run = [sys.executable, "-m", "camcore"]
    shell = {**os.environ, "SHELL": "/bin/bash"}
    script = subprocess.run(
        [*run, "--show-completion", "bash"], capture_output=True, text=True, env=shell
    )
    assert "complete -o default -F _camcore_completion camcore" in script.stdout
    typed = {"_CAMCORE_COMPLETE": "complete_bash", "COMP_WORDS": "camcore la", "COMP_CWORD": "1"}
    done = subprocess.run(run, capture_output=True, text=True, env={**shell, **typed})
    assert done.stdout.split() == ["layers"]
