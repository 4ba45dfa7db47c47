"""What is kept about a model is kept by identity, and goes with the model."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import pytest

from camcore._shared import remembered as module
from camcore._shared.remembered import remembered


class Plain:
    pass


@dataclass
class Unhashable:
    weights: int = 0


@dataclass(frozen=True)
class Equal:
    weights: int = 0


@pytest.mark.parametrize("kind", [Plain, Unhashable, Equal])
def test_facts_are_of_one_model_and_go_with_it(kind):
    store, known = WeakKeyDictionary(), len(module._keys)
    one, other = kind(), kind()
    facts = remembered(store, one, {})
    assert remembered(store, one, {}) is facts
    assert remembered(store, other, {}) is not facts
    assert len(store) == 2
    del one
    gc.collect()
    assert len(store) == 1
    assert remembered(store, other, {}) is not facts
    del other
    gc.collect()
    assert (len(store), len(module._keys)) == (0, known)


def test_what_cannot_be_referred_to_weakly_has_nothing_kept():
    store, model = WeakKeyDictionary(), {}
    assert remembered(store, model, [1]) is not remembered(store, model, [1])
    assert len(store) == 0
