"""Work is done to its end, once, whenever Ctrl-C comes."""

from __future__ import annotations

import contextvars
import random
import signal
import threading
import time
from contextlib import contextmanager, nullcontext

import pytest

from camcore._shared.interrupts import uninterrupted

pytestmark = pytest.mark.usefixtures("alarm")


def test_what_is_begun_is_done_before_the_interrupt_arrives():
    begun, done, chance = [], [], random.Random(0)

    @uninterrupted(nullcontext)
    def work():
        begun.append(1)
        for _ in range(chance.randrange(3000)):
            pass
        done.append(1)
        return len(done)

    interrupts = returned = 0
    threads = [work() and None, threading.active_count()][1]
    while interrupts < 500:
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 3e-4))
            work()
            returned += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupts += 1
            assert len(begun) == len(done)
    assert len(done) > returned
    assert threading.active_count() == threads


def test_a_second_interrupt_waits_no_longer_and_what_was_begun_goes_on():
    release, done = threading.Event(), threading.Event()

    @uninterrupted(nullcontext)
    def work(wait):
        if wait:
            release.wait(60)
            done.set()
        return threading.get_ident()

    first = work(False)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work(True)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert time.monotonic() - start < 30
    assert not done.is_set()
    assert work(False) != first
    release.set()
    assert done.wait(60)
    assert work(False) != threading.get_ident()


def test_results_errors_and_context_are_those_of_the_caller():
    value, entered = contextvars.ContextVar("value"), []

    @contextmanager
    def settings():
        entered.append(threading.get_ident())
        yield

    @uninterrupted(settings)
    def work(x, *, error=None):
        if error is not None:
            raise error
        return x, value.get(), threading.get_ident()

    value.set(3)
    x, found, thread = work(2)
    assert (x, found) == (2, 3)
    assert entered == [thread] != [threading.get_ident()]
    for error in (ValueError("own"), KeyboardInterrupt("own")):
        with pytest.raises(type(error), match="own") as caught:
            work(2, error=error)
        assert caught.value is error

    def beside():
        value.set(4)
        there.append((work(1), threading.get_ident()))

    there = []
    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    (((_, found, where), itself),) = there
    assert (found, where) == (4, itself)
