"""``camcore reproduce``: a made-up study is run in each framework and written down."""

from __future__ import annotations

import json
from dataclasses import replace
from math import nan
from types import MappingProxyType

import pytest

from camcore.cli import reproduce
from camcore.errors import BackendError, CamcoreError
from camcore.studies import Finding, Outcome, Study, Table
from camcore.studies import page as pages
from camcore.studies import table as studies

NUMBERS = {"camcore": "1.0", "torch": "2.0", "tensorflow": "3.0", "keras": "4.0"}


@pytest.fixture
def settings():
    """What the study was run with."""
    return []


@pytest.fixture
def made_up(monkeypatch, settings):
    """A study of one criterion, in frameworks that need not be installed; changes to it."""

    def run(setting):
        settings.append(setting)
        with setting.step("counting cats"):
            value = {"torch": 0.5, "tensorflow": 0.625}[setting.framework]
        return Outcome(
            [Finding("There are cats.", setting.framework == "torch", f"[{value}] cats")],
            [Table("Cats", ["Where", "How many"], [["on [mats]", f"{value}"]])],
            ["No dog was seen."],
            {"cats": value, "dogs": nan},
        )

    def install(**changes):
        given = ("cats", "Cats", "There are cats.", "Author, CONF 2020", "Count.")
        study = replace(
            Study(*given, ("There are cats.",), ("apt install cats",), 7, run), **changes
        )
        held = MappingProxyType({"cats": study})
        monkeypatch.setattr(studies, "STUDIES", held)
        monkeypatch.setattr(reproduce, "STUDIES", held)

    monkeypatch.setattr(pages, "version", NUMBERS.__getitem__)
    monkeypatch.setattr(
        reproduce.registry, "frameworks", lambda: {"torch": True, "tensorflow": True, "jax": True}
    )
    monkeypatch.setattr(reproduce.registry, "backend", lambda name: name)
    install()
    return install


@pytest.fixture
def ran(camcore, made_up, tmp_path):
    def run(*words, code=0):
        done = camcore("reproduce", "cats", *words, "-o", tmp_path / "out")
        assert done.exit_code == code, done.output
        return done

    return run


def test_without_a_name_the_studies_are_listed(camcore, made_up):
    lines = camcore("reproduce").stdout.splitlines()
    (row,) = [line for line in lines if "cats" in line]
    assert row.split() == ["cats", "There", "are", "cats.", "7", "apt", "install", "cats"]


def test_the_studies_of_the_package_are_listed(camcore):
    listed = camcore("reproduce").stdout
    for name in studies.STUDIES:
        assert f"\n  {name} " in listed


def test_a_study_is_run_in_each_framework_and_written_down(ran, settings, tmp_path):
    done = ran()
    assert [one.framework for one in settings] == ["torch", "tensorflow"]
    text = (tmp_path / "out" / "cats.md").read_text("utf-8")
    assert text.startswith("# Cats\n\n**Claim.** There are cats. (Author, CONF 2020.)\n")
    assert "**Verdict.** Reproduced in PyTorch; not reproduced in Keras.\n" in text
    assert "`camcore reproduce cats` wrote this page, with camcore 1.0, torch 2.0, " in text
    assert "| on [mats] | 0.625 |" in text
    assert json.loads((tmp_path / "out" / "cats.json").read_text("utf-8")) == {
        "study": "cats",
        "command": "camcore reproduce cats",
        "versions": NUMBERS,
        "frameworks": {
            framework: {
                "verdict": verdict,
                "findings": [
                    {"criterion": "There are cats.", "held": held, "figures": f"[{value}] cats"}
                ],
                "values": {"cats": value, "dogs": None},
                "notes": ["No dog was seen."],
            }
            for framework, verdict, held, value in (
                ("torch", "reproduced", True, 0.5),
                ("tensorflow", "not reproduced", False, 0.625),
            )
        },
    }
    printed = done.stdout
    assert "PyTorch: Cats" in printed
    assert "on [mats]" in printed
    assert "✓ There are cats: [0.5] cats" in printed
    assert "✗ There are cats: [0.625] cats" in printed
    assert "Keras: not reproduced.\n" in printed
    assert "Wrote cats.md, cats.json into " in printed
    assert "cats in PyTorch: counting cats …" in done.stderr
    assert "cats in Keras: counting cats …" in done.stderr


def test_json_alone_is_printed_where_it_is_asked_for(ran, tmp_path):
    printed = ran("--json").stdout
    assert printed == (tmp_path / "out" / "cats.json").read_text("utf-8")
    assert json.loads(printed)["frameworks"]["torch"]["values"]["dogs"] is None


def test_one_framework_is_run_alone(ran, settings, tmp_path):
    ran("--framework", "tensorflow")
    assert [one.framework for one in settings] == ["tensorflow"]
    numbers = json.loads((tmp_path / "out" / "cats.json").read_text("utf-8"))
    assert list(numbers["frameworks"]) == ["tensorflow"]
    assert numbers["command"] == "camcore reproduce cats --framework tensorflow"
    assert "**Verdict.** Not reproduced, in Keras." in (tmp_path / "out" / "cats.md").read_text()


def test_choices_come_to_the_study_and_stand_in_the_command(ran, settings, tmp_path):
    folders = {name: tmp_path / f"my {name}" for name in ("photos", "masks", "data")}
    words = []
    for name, folder in folders.items():
        folder.mkdir()
        words += [f"--{name}", folder]
    ran("--small", *words, "--seed", 3, "--framework", "torch")
    (setting,) = settings
    assert (setting.small, setting.seed) == (True, 3)
    assert (setting.photos, setting.masks, setting.data) == tuple(folders.values())
    text = (tmp_path / "out" / "cats.md").read_text("utf-8")
    assert (
        "`camcore reproduce cats --framework torch --small --photos 'my photos' --masks 'my masks' "
        "--data 'my data' --seed 3` wrote this page" in text
    )


def test_only_installed_frameworks_are_run(ran, settings, monkeypatch):
    monkeypatch.setattr(reproduce.registry, "frameworks", lambda: {"torch": False, "tensorflow": 1})
    ran()
    assert [one.framework for one in settings] == ["tensorflow"]


def test_without_a_framework_it_says_what_to_install(ran, monkeypatch):
    monkeypatch.setattr(reproduce.registry, "frameworks", lambda: {"jax": True})
    assert ran(code=1).stderr == (
        "Error: Neither PyTorch nor TensorFlow is installed, in which studies run. Install them "
        'with: pip install "camcore[demo]"\n'
    )


def test_a_framework_that_is_missing_is_named(ran, monkeypatch, settings):
    def missing(name):
        raise BackendError(f"{name} is not installed.")

    monkeypatch.setattr(reproduce.registry, "backend", missing)
    done = ran("--framework", "tensorflow", code=1)
    assert done.stderr == "Error: tensorflow is not installed.\n"
    assert not settings


def test_frameworks_that_are_too_far_apart_fail_once_all_is_written(ran, made_up, tmp_path):
    made_up(apart=0.125)
    ran()
    made_up(apart=0.1)
    assert ran(code=1).stderr.endswith(
        "Error: The frameworks' numbers are up to 1.2e-01 apart, and up to 0.1 was expected of the "
        "same weights.\n"
    )
    text = (tmp_path / "out" / "cats.md").read_text("utf-8")
    assert "which run the same weights: 1.2e-01, and up to 0.1 is expected." in text
    ran("--framework", "torch")


def test_a_criterion_that_was_not_looked_at_fails_before_anything_is_written(
    ran, made_up, tmp_path
):
    made_up(criteria=("There are cats.", "There are dogs."))
    assert ran(code=1).stderr.endswith(
        "Error: The study 'cats' has criteria ['There are cats.', 'There are dogs.'] and answers "
        "['There are cats.'].\n"
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_study_is_misuse(camcore, made_up):
    done = camcore("reproduce", "cat")
    assert done.exit_code == 2
    assert "There is no study 'cat'. Did you mean 'cats'" in done.stderr


def test_a_folder_that_is_not_there_is_misuse(camcore, made_up, tmp_path):
    done = camcore("reproduce", "cats", "--data", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "does not exist" in " ".join(done.stderr.split())


def test_every_error_of_a_study_reaches_the_command(ran, made_up):
    def run(setting):
        raise CamcoreError("No cat was found.")

    made_up(run=run)
    assert ran(code=1).stderr == "Error: No cat was found.\n"
