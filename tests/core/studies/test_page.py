"""A study's page, to the letter; its verdict; and how far frameworks are apart."""

from __future__ import annotations

from math import inf, nan

import pytest

from camcore.errors import InputError
from camcore.studies import STUDIES, Finding, Outcome, Setting, Study, Table, find_study, run_study
from camcore.studies import page as pages
from camcore.studies.page import largest_difference, page

CRITERIA = ("Maps are brighter on cats", "Maps are dark elsewhere")


def findings(*held):
    return [
        Finding(criterion, one, f"{0.25 * (at + 1)} against 0.5")
        for at, (criterion, one) in enumerate(zip(CRITERIA, held, strict=True))
    ]


def study(run=None, **changes):
    given = {
        "name": "cats",
        "title": "Cats are bright",
        "claim": "Maps are brighter on cats.",
        "source": "Author et al., Cats, CONF 2020, table 1",
        "protocol": "\nA network sees cats.\n\nThen it sees none.\n",
        "criteria": CRITERIA,
        "data": ("apt install cats", "pip install cats"),
        "minutes": 3,
        "run": run,
    }
    return Study(**{**given, **changes})


@pytest.fixture(autouse=True)
def numbered(monkeypatch):
    """Versions of packages, whether they are installed or not."""
    numbers = {"camcore": "1.0", "torch": "2.0", "tensorflow": "3.0", "keras": "4.0"}
    monkeypatch.setattr(pages, "version", numbers.__getitem__)


PLAIN = Outcome(findings(True, False), [], values={"brightness": 0.25})
WHOLE = Outcome(
    findings(True, True),
    [Table("Brightness", ["Method", "cats | dogs", "none"], [["Grad-CAM", "0.25", "a|b"]])],
    ["One photograph was left out.", "Edges are as bright."],
    {"brightness": 0.2500004},
)


def test_a_page_of_one_framework_reads_so():
    text = page(study(), {"tensorflow": WHOLE}, Setting("tensorflow"), "camcore reproduce cats")
    assert (
        text
        == """\
# Cats are bright

**Claim.** Maps are brighter on cats. (Author et al., Cats, CONF 2020, table 1.)

**Verdict.** Reproduced, in Keras.

`camcore reproduce cats` wrote this page, with camcore 1.0, tensorflow 3.0, keras 4.0.

## Protocol

A network sees cats.

Then it sees none.

Data: `apt install cats`, `pip install cats`.

## Criteria, set beforehand

1. Maps are brighter on cats
2. Maps are dark elsewhere

## Keras: reproduced

1. Held: 0.25 against 0.5
2. Held: 0.5 against 0.5

**Brightness**

| Method | cats \\| dogs | none |
| --- | --- | --- |
| Grad-CAM | 0.25 | a\\|b |

- One photograph was left out.
- Edges are as bright.
"""
    )


def test_a_page_of_both_says_where_they_differ():
    outcomes = {"torch": PLAIN, "tensorflow": WHOLE}
    text = page(study(apart=1e-4, data=()), outcomes, Setting("", small=True), "camcore x")
    lines = text.splitlines()
    assert lines[4:9] == [
        "**Verdict.** Reproduced in part in PyTorch; reproduced in Keras.",
        "",
        "*A small run, which shows that the study works; its numbers say nothing.*",
        "",
        "`camcore x` wrote this page, with camcore 1.0, torch 2.0, tensorflow 3.0, keras 4.0.",
    ]
    assert "Data: " not in text
    at = lines.index("## PyTorch: reproduced in part")
    assert lines[at + 2 : at + 4] == [
        "1. Held: 0.25 against 0.5",
        "2. Did not hold: 0.5 against 0.5",
    ]
    assert lines[-7:] == [
        "2. Held: 0.5 against 0.5",
        "",
        "Of the same weights: the tables are those of PyTorch.",
        "",
        "## Both frameworks",
        "",
        "The largest difference between the numbers of PyTorch and Keras, which run the same "
        "weights: 4.0e-07, and up to 0.0001 is expected.",
    ]


def test_frameworks_that_train_their_own_networks_are_not_compared():
    outcomes = {"torch": WHOLE, "tensorflow": WHOLE}
    text = page(study(), outcomes, Setting(""), "camcore x")
    assert "**Verdict.** Reproduced, in PyTorch and in Keras.\n" in text
    assert text.count("**Brightness**") == 2
    assert "Both frameworks" not in text
    assert "A small run" not in text


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        ((True, True), "reproduced"),
        ((True, False), "reproduced in part"),
        ((False, True), "reproduced in part"),
        ((False, False), "not reproduced"),
    ],
)
def test_the_verdict_follows_from_the_criteria(held, verdict):
    assert Outcome(findings(*held), []).verdict == verdict


def values(**numbers):
    return Outcome((), (), values=numbers)


@pytest.mark.parametrize(
    ("outcomes", "apart"),
    [
        ({"torch": values(a=1.0)}, 0.0),
        ({"torch": values(), "tensorflow": values()}, 0.0),
        ({"torch": values(a=1.0, b=2.0), "tensorflow": values(b=1.5, a=1.25)}, 0.5),
        ({"torch": values(a=nan, b=1.0), "tensorflow": values(a=nan, b=1.5)}, 0.5),
        ({"torch": values(b=1.0, a=nan), "tensorflow": values(b=1.5, a=2.0)}, inf),
        ({"torch": values(b=1.0, a=2.0), "tensorflow": values(b=1.5, a=nan)}, inf),
        ({"torch": values(a=0.0), "tensorflow": values(a=1.0), "jax": values(a=-1.0)}, 2.0),
    ],
)
def test_the_largest_difference_is_that_of_any_two(outcomes, apart):
    assert largest_difference(outcomes) == apart


def test_numbers_of_other_names_cannot_be_compared():
    with pytest.raises(InputError, match=r"numbers of other names: \['b', 'c'\]\."):
        largest_difference({"torch": values(a=1.0, b=1.0), "tensorflow": values(a=1.0, c=1.0)})


def test_a_row_is_as_long_as_the_head():
    with pytest.raises(InputError, match=r"A row of 'T' has 1 cells and the head 2: \['x'\]\."):
        Table("T", ["a", "b"], [["x", "y"], ["x"]])


def test_a_study_answers_its_criteria_in_their_order():
    whole = study(lambda setting: PLAIN)
    assert run_study(whole, Setting("torch")) is PLAIN
    asked = {}
    run_study(study(lambda setting: asked.setdefault("setting", setting) and PLAIN), Setting("x"))
    assert asked["setting"].framework == "x"
    for answered in (PLAIN.findings[:1], PLAIN.findings[::-1], [*PLAIN.findings] * 2, []):
        amiss = study(lambda setting, found=answered: Outcome(found, []))
        with pytest.raises(InputError, match=r"The study 'cats' has criteria \['Maps are bri"):
            run_study(amiss, Setting("torch"))


def test_studies_are_found_by_name():
    assert STUDIES["sanity"] is find_study("sanity") is find_study("Sanity")
    assert [study.name for study in STUDIES.values()] == list(STUDIES)
    with pytest.raises(InputError, match=r"There is no study 'sanitty'\. Did you mean 'sanity'"):
        find_study("sanitty")


def test_a_setting_shows_nothing_unless_told_to():
    with Setting("torch").step("learning") as shown:
        assert shown is None
