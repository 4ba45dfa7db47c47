"""Steps and counts on stderr: a bar in a terminal, lines or nothing elsewhere."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def console(require, monkeypatch):
    """The module, with consoles that write to what is captured."""
    from rich.console import Console

    from camcore.cli import console

    monkeypatch.setattr(console, "err", Console(stderr=True, width=100))
    return console


@pytest.fixture
def terminal(monkeypatch, require):
    """Make what is captured a terminal; called in the test, where stderr is captured."""
    require("tqdm")
    return lambda: monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


def run(console):
    with console.Steps(2) as steps:
        with steps.step("loading", noisy=True):
            print("a framework greets", file=sys.stderr)
        with steps.step("explaining"):
            pass


def test_steps_are_lines_where_there_is_no_terminal(console, capsys):
    run(console)
    assert capsys.readouterr() == ("", "loading …\na framework greets\nexplaining …\n")


def test_steps_are_a_bar_in_a_terminal_and_a_noisy_one_hides_it(console, terminal, capsys):
    terminal()
    run(console)
    err = capsys.readouterr().err
    before, line, after = err.partition("loading …\na framework greets\n")
    assert line
    assert before.endswith("\r")  # The bar is erased, and the cursor back at the left.
    assert "explaining" in after
    assert "2/2" in after
    assert "…" not in after


def test_counts_are_hidden_where_results_are_printed_to_the_same_terminal(
    console, terminal, monkeypatch, capsys
):
    terminal()
    for shared in (True, False):
        monkeypatch.setattr(type(console.out), "is_terminal", shared)
        with console.count(3, "photo", hidden=True) as bar:
            assert bool(bar) is not shared
            bar.advance()
    with console.count(3, "photo") as bar:
        assert bar


@pytest.mark.parametrize("print_line", ["say", "detail"])
def test_brackets_in_what_is_printed_are_no_markup(console, print_line, monkeypatch, capsys):
    from rich.console import Console

    monkeypatch.setattr(console, "out", Console(width=100))
    getattr(console, print_line)("into photos[red]/a[0].png")
    assert "".join(capsys.readouterr()).strip() == "into photos[red]/a[0].png"
