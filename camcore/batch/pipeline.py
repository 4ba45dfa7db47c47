"""Reading ahead and writing behind, while the model runs.

A model is run in the caller's thread, batch after batch; what comes before and after
it is done for single items in a few threads at the same time. Decoding, scaling and
encoding let go of Python's lock, so all cores have work.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

from camcore.errors import InputError

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Made = TypeVar("Made")
Done = TypeVar("Done")

_SURVIVED = (InputError, OSError, MemoryError)
"""What says that one item is bad; anything else says that the work is."""


@dataclass(frozen=True)
class Failed:
    """What stands in the place of an item that could not be worked on.

    Parameters
    ----------
    error : Exception
        Why.
    """

    error: Exception

    def __str__(self) -> str:
        return " ".join(str(self.error).split()) or type(self.error).__name__


@dataclass(frozen=True)
class Stages(Generic[Item, Ready, Made, Done]):
    """The work on an item, from what it is called to what is kept of it.

    Parameters
    ----------
    prepare : callable
        Takes an item, in any thread.
    run : callable
        Takes a list of what was prepared, in the caller's thread, and returns as many
        results or failures.
    finish : callable
        Takes a result, in any thread.
    """

    prepare: Callable[[Item], Ready]
    run: Callable[[Sequence[Ready]], Sequence[Made | Failed]]
    finish: Callable[[Made], Done]


_Waiting: TypeAlias = Future[Done] | Failed


def pipelined(
    items: Iterable[Item],
    stages: Stages[Item, Ready, Made, Done],
    *,
    batch: int = 8,
    workers: int | None = None,
) -> Iterator[tuple[Item, Done | Failed]]:
    """Work on items, the stages overlapping, and give them back in order.

    Parameters
    ----------
    items : iterable
        What is worked on; taken as it is needed.
    stages : Stages
        The work. Where a stage raises `InputError`, `OSError` or `MemoryError`, that
        item fails and the others go on; any other error ends the work.
    batch : int
        How many items are run at a time. At most four batches are in memory at once:
        one read ahead, one that is run, two that are finished behind.
    workers : int, optional
        Threads for preparing and finishing; as many as there are cores, from 2 to 8.

    Yields
    ------
    (item, result or Failed)
        In the order of the items.

    Raises
    ------
    InputError
        `batch` or `workers` is less than one.
    """
    count = min(max(os.cpu_count() or 1, 2), 8) if workers is None else workers
    if batch < 1 or count < 1:
        raise InputError(f"batch={batch} and workers={count}; expected at least one of each")
    source = iter(items)
    ahead: deque[tuple[Item, Future[Ready]]] = deque()
    behind: deque[tuple[Item, _Waiting[Done]]] = deque()
    pool = ThreadPoolExecutor(count, thread_name_prefix="camcore")

    def read_ahead() -> None:
        for item in islice(source, batch + count - len(ahead)):
            ahead.append((item, pool.submit(stages.prepare, item)))

    try:
        read_ahead()
        while ahead:
            prepared = _full_batch(ahead, batch)
            read_ahead()
            behind.extend(_run(prepared, stages, pool))
            while behind and (not ahead or len(behind) > batch or _is_ready(behind[0][1])):
                item, waiting = behind.popleft()
                outcome = _settled(waiting)
                yield item, outcome
    finally:
        # What has begun is finished, so that nothing is left half done; the rest is dropped.
        pool.shutdown(wait=True, cancel_futures=True)


def _full_batch(
    ahead: deque[tuple[Item, Future[Ready]]], batch: int
) -> list[tuple[Item, Ready | Failed]]:
    """Take items until a batch of good ones is together."""
    taken: list[tuple[Item, Ready | Failed]] = []
    good = 0
    while ahead and good < batch:
        item, future = ahead.popleft()
        one = _settled(future)
        taken.append((item, one))
        good += not isinstance(one, Failed)
    return taken


def _run(
    prepared: Sequence[tuple[Item, Ready | Failed]],
    stages: Stages[Item, Ready, Made, Done],
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[Item, _Waiting[Done]]]:
    good = [one for _, one in prepared if not isinstance(one, Failed)]
    made = iter(stages.run(good) if good else ())
    for item, one in prepared:
        result = one if isinstance(one, Failed) else next(made)
        yield (
            item,
            result if isinstance(result, Failed) else pool.submit(stages.finish, result),
        )


def _is_ready(waiting: _Waiting[Done]) -> bool:
    return isinstance(waiting, Failed) or waiting.done()


def _settled(waiting: Future[Done] | Failed) -> Done | Failed:
    if isinstance(waiting, Failed):
        return waiting
    try:
        return waiting.result()
    except _SURVIVED as error:
        return Failed(error)
