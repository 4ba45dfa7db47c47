"""Programs are found by the sizes they serve, left open where sizes vary, and bounded."""

from __future__ import annotations

import pytest

from camcore._shared import programs as module
from camcore._shared.programs import Programs


def compiler(refused=()):
    """Make programs that are the shapes they are for, and note what was tried."""

    def attempt(shapes, opening):
        tried.append(opening)
        return None if opening in refused else shapes

    tried = []
    return attempt, tried


def served(attempt, shapes):
    programs = Programs()
    return [programs.fetch("q", tuple(each), attempt) for each in shapes]


def test_the_first_shapes_are_taken_as_they_are_and_others_opened_one_by_one():
    attempt, tried = compiler()
    first, other, both, batch, again = served(
        attempt, [[(2, 8, 8, 3)], [(2, 9, 8, 3)], [(2, 9, 7, 3)], [(1, 5, 5, 3)], [(2, 8, 8, 3)]]
    )
    assert first is again
    assert [first, other] == [((2, 8, 8, 3),), ((2, None, 8, 3),)]
    assert [both, batch] == [((2, None, None, 3),), ((None, None, None, 3),)]
    assert tried == [None, "image", "image", "image"]


def test_only_the_batch_is_opened_where_only_it_varies_and_for_every_array_that_has_it():
    attempt, tried = compiler()
    found = served(attempt, [[(2, 4), (2, 3), (7, 1)], [(3, 4), (3, 3), (7, 1)]])
    assert found[1] == ((None, 4), (None, 3), (7, 1))
    assert tried == [None, "batch"]


def test_what_has_to_be_known_is_tried_once():
    attempt, tried = compiler(["image"])
    found = served(attempt, [[(2, 8)], [(2, 9)], [(3, 9)], [(4, 9)], [(3, 7)], [(5, 7)]])
    assert found[2] == found[3] == ((None, 9),)
    assert found[4] == found[5] == ((None, 7),)
    assert tried == [None, "image", None, "batch", "batch"]
    attempt, tried = compiler(["image", "batch"])
    assert served(attempt, [[(2, 8)], [(3, 9)], [(4, 7)]])[2] == ((4, 7),)
    assert tried == [None, "image", "batch", None, None]


def test_a_program_that_fails_for_any_sizes_closes_nothing():
    def attempt(shapes, opening):
        tried.append(opening)
        if fails and opening is None:
            raise ValueError("own")
        return None if fails else shapes

    tried, fails = [], []
    programs = Programs()
    programs.fetch("q", ((2, 8),), attempt)
    fails.append(1)
    with pytest.raises(ValueError, match="own"):
        programs.fetch("q", ((2, 9),), attempt)
    fails.clear()
    assert programs.fetch("q", ((2, 7),), attempt) == ((2, None),)
    assert tried == [None, "image", None, "image"]


def test_what_was_used_longest_ago_goes_first(monkeypatch):
    monkeypatch.setattr(module, "SHAPES", 2)
    monkeypatch.setattr(module, "QUESTIONS", 3)
    attempt, tried = compiler(["image", "batch"])
    programs = Programs()
    for size in (1, 2, 1, 3, 1, 2):
        programs.fetch("q", ((9, size),), attempt)
    assert len(programs) == 2
    assert tried.count(None) == 4  # 2 went when 3 came
    for question in ("a", "b", "q", "c", "q", "a"):
        programs.fetch(question, ((9, 2),), attempt)
    assert tried.count(None) == 8  # a went when c came
    assert len(programs) == 2 + 1 + 1
