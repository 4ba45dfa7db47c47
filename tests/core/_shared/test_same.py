"""Functions have one key where they compute the same, and none where that cannot be told."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from camcore._shared.same import function_key

SCALE = 2.0
SHIFTS = {"by": [1.0, 2.0]}
STATE = SimpleNamespace(scale=1)


def scaled(by, shift=0.0):
    return lambda y: by * y + shift


def helper(y):
    return SCALE * y


def recursive(y):
    return recursive(y - 1) if y > 0 else y


def using_helper():
    return lambda y: helper(y) + SHIFTS["by"][0]


SAME = {
    "number": lambda: scaled(3),
    "array": lambda: scaled(np.arange(3.0)),
    "nest": lambda: scaled((1, [2.0, {"a": {3}}])),
    "default": lambda: lambda y, by=3: by * y,
    "keyword": lambda: lambda y, *, by=3: by * y,
    "helper": using_helper,
    "library": lambda: lambda y: np.sum(y) + math.sqrt(2) + len([y]),
    "partial": lambda: functools.partial(helper),
    "recursive": lambda: lambda y: recursive(y),
    "nan": lambda: scaled(float("nan")),
    "inner": lambda: lambda y: [helper(each) for each in y],
}


@pytest.mark.parametrize("case", SAME)
def test_functions_written_anew_have_one_key(case):
    assert function_key(SAME[case]()) is not None
    assert function_key(SAME[case]()) == function_key(SAME[case]())
    assert hash(function_key(SAME[case]())) == hash(function_key(SAME[case]()))


OTHERS = [
    lambda y: y,
    lambda y: y + 1,
    lambda y: y + 1.0,
    *map(scaled, [1, 1.0, True, 0.0, -0.0, "1", b"1", None, (1,), [1], {1}, {1: 1}, {1: 2}]),
    *map(scaled, [np.float32(1), np.float64(1), np.ones(1), np.ones((1, 1)), np.zeros(1)]),
    scaled(1, 1.0),
    functools.partial(helper),
    functools.partial(helper, y=1),
    math.sqrt,
    math.exp,
    np.exp,
]


def test_functions_that_differ_in_anything_have_keys_of_their_own():
    keys = list(map(function_key, OTHERS))
    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_what_a_function_reads_is_in_its_key(monkeypatch):
    array = np.zeros(3)
    functions = using_helper(), scaled(array), lambda y: [helper(each) for each in y]
    before = list(map(function_key, functions))
    array[1] = 1
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert [a == b for a, b in zip(before, map(function_key, functions), strict=True)] == [
        False
    ] * 3
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    assert function_key(functions[0]) == before[0]
    SHIFTS["by"][0] = 5.0
    assert function_key(functions[0]) != before[0]


def test_a_module_of_ones_own_counts_by_what_is_read_of_it(monkeypatch):
    from types import ModuleType

    settings = ModuleType("settings_of_a_test")
    settings.scale, settings.other = 1.0, 1.0
    key = function_key(lambda y: settings.scale * y)

    def again():
        return function_key(function)

    function = (lambda settings: lambda y: settings.scale * y)(settings)
    before = again()
    settings.other = 2.0
    assert again() == before
    settings.scale = 2.0
    assert again() != before
    assert key is not None


@pytest.mark.parametrize(
    "function",
    [
        scaled(STATE),
        lambda y: STATE.scale * y,
        STATE.__eq__,
        np.random.default_rng(0).normal,
        [].append,
        functools.partial(helper, STATE),
        scaled(np.array([STATE])),
    ],
)
def test_what_may_change_unseen_has_no_key(function):
    assert function_key(function) is None


def test_objects_with_state_are_told_apart_as_one_likes():
    one, other = (functools.partial(helper, SimpleNamespace()) for _ in range(2))
    assert function_key(one, id) == function_key(one, id) != function_key(other, id)
