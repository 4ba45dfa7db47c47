"""What was read of objects is told from what they have become, and nothing is kept alive."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from camcore._shared.reads import Snapshot, note, noting


class Library:
    """An object of a library's class."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


class Own(Library):
    """An object of a class of the user's."""


class OwnLayer(Own):
    """A layer of Keras, what is read of which is a read of its own."""

    def _flatten_layers(self):
        raise AssertionError


def is_own(kind):
    return kind.__name__.startswith("Own")


def seen(thing, *names, **options):
    return Snapshot([(thing, name) for name in names or vars(thing)], is_own, **options)


def large():
    return np.zeros(4097, np.uint8)  # one byte more than is compared by value


def at_its_place(thing, name, value):
    """Give an attribute a new value, which often has the number of the one that went."""
    setattr(thing, name, None)
    setattr(thing, name, value())


CHANGES = {
    "another number": lambda thing: setattr(thing, "number", 3),
    "an attribute less": lambda thing: delattr(thing, "number"),
    "an attribute more": lambda thing: setattr(thing, "missing", None),
    "another array": lambda thing: setattr(thing, "large", large()),
    "another array at its place": lambda thing: at_its_place(thing, "large", large),
    "another number at its place": lambda thing: at_its_place(thing, "real", lambda: float("2")),
    "an element of an array": lambda thing: thing.small.__setitem__(0, 1),
    "an element of a list": lambda thing: thing.list.__setitem__(0, 7),
    "one more in a list": lambda thing: thing.list.append(1),
    "one in a list in a list": lambda thing: thing.list[-1].append(1),
    "one more in a set": lambda thing: thing.set.add(2),
    "a key of a dictionary": lambda thing: thing.dict.update(b=thing.dict.pop("a")),
    "a value of a dictionary": lambda thing: thing.dict.update(a=2),
    "an own object's attribute": lambda thing: setattr(thing.own, "number", 2),
    "an own object in a tuple": lambda thing: setattr(thing.tuple[0], "number", 2),
}
UNSEEN = {
    "nothing": lambda thing: None,
    "what was not read": lambda thing: setattr(thing, "other", 1),
    "an equal small number": lambda thing: setattr(thing, "number", 2),
    "an element of a large array": lambda thing: thing.large.__setitem__(0, 1),
    "a library's object's attribute": lambda thing: setattr(thing.library, "number", 2),
    "an own layer's attribute": lambda thing: setattr(thing.layer, "number", 2),
}


@pytest.mark.parametrize("kind", [Library, Own])
@pytest.mark.parametrize("change", [*CHANGES, *UNSEEN])
def test_what_was_read_is_current_until_it_or_what_it_holds_changes(kind, change):
    thing = kind(
        number=2,
        real=float("1"),
        large=large(),
        small=np.zeros(512),
        list=[1, 2, []],
        set={1},
        dict={"a": 1},
        own=Own(number=1),
        tuple=(Own(number=1),),
        library=Library(number=1),
        layer=OwnLayer(number=1),
    )
    snapshot = seen(thing, *vars(thing), "missing")
    (CHANGES | UNSEEN)[change](thing)
    assert snapshot.is_current() == (change in UNSEEN)


@pytest.mark.parametrize(
    ("kind", "private", "current"),
    [(Library, False, True), (Library, True, False), (Own, False, False)],
)
def test_what_a_librarys_private_lists_hold_counts_where_it_is_asked_for(kind, private, current):
    thing = kind(_list=[1])
    snapshot = seen(thing, private=private)
    thing._list.append(2)
    assert snapshot.is_current() == current
    thing._list = [1]
    assert not snapshot.is_current()


class Tensor:
    """A framework's array."""

    def numpy(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("value", "current"), [(Tensor, True), (large, True), (float, True), (Library, False)]
)
def test_of_what_goes_from_a_librarys_private_list_objects_alone_count(value, current):
    thing = Library(_list=[value()])
    snapshot = seen(thing)
    thing._list.clear()
    gc.collect()
    assert snapshot.is_current() == current


@pytest.mark.parametrize("changed", [0, 1])
def test_every_object_counts(changed):
    things = Own(number=1), Own(number=1)
    snapshot = Snapshot([(thing, "number") for thing in things], is_own)
    assert snapshot.is_current()
    things[changed].number = 2
    assert not snapshot.is_current()


@pytest.mark.parametrize("own", [True, False])
def test_what_a_class_of_the_users_defines_counts_and_its_bases_too(own):
    base = type("OwnBase" if own else "Base", (), {"factor": 2})
    thing = type("Thing", (base,), {})()
    snapshot = seen(thing, "number")
    assert snapshot.is_current()
    base.factor = 3
    assert snapshot.is_current() != own


def test_an_object_that_was_given_another_class_is_not_current_once_its_own_is_gone():
    own = type("OwnOnce", (), {})
    thing = own()
    snapshot = seen(thing, "number")
    thing.__class__ = type("Thing", (), {})
    del own
    gc.collect()
    assert not snapshot.is_current()


WITHIN = [lambda one: one, lambda one: [one], lambda one: {"a": [one]}]


@pytest.mark.parametrize("within", WITHIN)
def test_nothing_is_kept_alive_and_what_is_gone_is_not_current(within):
    held = Library()
    thing = Library(value=within(held))
    snapshot, gone = seen(thing), [weakref.ref(thing), weakref.ref(held)]
    del thing, held
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert not snapshot.is_current()


@pytest.mark.parametrize("within", WITHIN)
def test_another_object_at_the_place_of_one_that_is_gone_is_told_from_it(within):
    thing = Library(value=within(Library()), beside=Library())
    snapshot = seen(thing)
    at_its_place(thing, "value", lambda: within(Library()))
    assert not snapshot.is_current()


def test_reads_are_noted_once_each_in_the_innermost_context():
    one, other = Library(), Library()
    note(one, "before")
    with noting() as outer:
        note(one, "a")
        with noting() as inner:
            note(other, "a")
        note(one, "a")
        note(one, "b")
    note(one, "after")
    assert outer() == [(one, "a"), (one, "b")]
    assert inner() == [(other, "a")]


def test_an_object_of_another_class_by_now_is_not_current():
    class Other(Library):
        pass

    thing = Library(value=1)
    snapshot = seen(thing)
    thing.__class__ = Other
    assert not snapshot.is_current()
    thing.__class__ = Library
    assert snapshot.is_current()
