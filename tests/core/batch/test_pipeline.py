"""Overlapping stages: everything once, in order, bounded, and stopped cleanly."""

from __future__ import annotations

import threading
import time

import pytest

from camcore.batch.pipeline import Failed, Stages, pipelined
from camcore.errors import InputError, TargetError


def refuse(bad, error):
    def work(item):
        if item in bad:
            raise error(f"{item} is bad")
        return item

    return work


def same(batch):
    return list(batch)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 50])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_every_item_comes_back_once_and_in_order(count, batch):
    sizes = []

    def run(batch):
        sizes.append(len(batch))
        return [10 * one for one in batch]

    stages = Stages(lambda item: item + 1, run, lambda made: made - 1)
    done = list(pipelined(range(count), stages, batch=batch))
    assert done == [(item, 10 * (item + 1) - 1) for item in range(count)]
    assert sum(sizes) == count
    assert sizes[:-1] == [batch] * (len(sizes) - 1)


@pytest.mark.parametrize("error", [InputError, OSError, MemoryError])
@pytest.mark.parametrize("stage", ["prepare", "finish"])
def test_a_bad_item_fails_alone_and_batches_stay_full(stage, error):
    sizes = []

    def run(batch):
        sizes.append(len(batch))
        return list(batch)

    work = {"prepare": lambda item: item, "finish": lambda item: item}
    work[stage] = refuse({0, 5, 6, 19}, error)
    done = list(pipelined(range(20), Stages(run=run, **work), batch=4))
    assert [item for item, _ in done] == list(range(20))
    failed = {item: str(one) for item, one in done if isinstance(one, Failed)}
    assert failed == {item: f"{item} is bad" for item in (0, 5, 6, 19)}
    assert [one for item, one in done if item not in failed] == [*range(1, 5), *range(7, 19)]
    assert sizes == ([4] * 4 if stage == "prepare" else [4] * 5)


def test_the_model_may_refuse_an_item():
    def run(batch):
        return [Failed(InputError("odd")) if item % 2 else item for item in batch]

    done = list(pipelined(range(6), Stages(lambda i: i, run, lambda i: i), batch=4))
    assert [isinstance(one, Failed) for _, one in done] == [False, True] * 3


@pytest.mark.parametrize("stage", ["prepare", "finish"])
def test_an_error_of_the_work_itself_ends_it(stage):
    work = {"prepare": lambda item: item, "finish": lambda item: item}
    work[stage] = refuse({9}, TargetError)
    done = pipelined(range(100), Stages(run=same, **work), batch=4)
    with pytest.raises(TargetError, match="9 is bad"):
        list(done)
    assert not any(thread.name.startswith("camcore") for thread in threading.enumerate())


def test_no_more_than_four_batches_are_in_memory():
    taken, given, most = [], [], []

    def items():
        for item in range(200):
            taken.append(item)
            most.append(len(taken) - len(given))
            yield item

    for item, _ in pipelined(items(), Stages(lambda i: i, same, lambda i: i), batch=5, workers=2):
        given.append(item)
        time.sleep(0.0005)
    assert max(most) <= 4 * 5 + 2
    assert len(given) == 200


def test_closing_early_waits_for_what_has_begun_and_for_nothing_else():
    begun, ended = [], []

    def finish(item):
        begun.append(item)
        time.sleep(0.01)
        ended.append(item)

    done = pipelined(range(1000), Stages(lambda i: i, same, finish), batch=4, workers=2)
    next(done)
    done.close()
    assert sorted(begun) == sorted(ended)
    assert len(ended) < 12


def test_reading_and_writing_go_on_while_the_model_runs():
    busy = threading.Event()
    overlapped = {"prepare": 0, "finish": 0}

    def count(stage):
        def work(item):
            time.sleep(0.002)
            overlapped[stage] += busy.is_set()
            return item

        return work

    def run(batch):
        busy.set()
        time.sleep(0.02)
        busy.clear()
        return list(batch)

    stages = Stages(count("prepare"), run, count("finish"))
    list(pipelined(range(40), stages, batch=4, workers=2))
    assert min(overlapped.values()) >= 10


def test_batches_and_workers_below_one_are_refused():
    for wrong in ({"batch": 0}, {"workers": 0}):
        with pytest.raises(InputError, match="at least one"):
            next(pipelined([1], Stages(lambda i: i, same, lambda i: i), **wrong))
