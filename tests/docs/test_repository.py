"""What stands at the root of the repository agrees with what is built from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from camcore._shared.version import VERSION

ROOT = Path(__file__).parents[2]
try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
OF_THE_SITE = ("methods/", "api/", "command_line.md")
"""What is made with the site, whose own links are checked as it is built."""

LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#]+)(?:#[^)]*)?\)")
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("[be]*/*.md")})


def test_the_version_is_the_same_wherever_it_stands():
    cited = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.findall(r"^version: (.*)$", cited, re.M) == [VERSION]
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## ([\d.]+)", changes, re.M)[0] == VERSION


def test_the_licence_is_the_one_that_the_package_names():
    assert PROJECT["project"]["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License\n")


def test_every_package_of_the_wheel_says_that_it_has_types():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert len(packages) == 5
    assert [one for one in packages if not (ROOT / one / "py.typed").is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_of_a_page_leads_to_a_file(page):
    links = [
        one for one in LINK.findall(page.read_text("utf-8")) if not one.startswith(OF_THE_SITE)
    ]
    assert [one for one in links if not (page.parent / one).exists()] == []
