"""Prepare the next items and finish the last ones while the model runs.

The model runs in the caller's thread, batch after batch. What comes before and after it
is done item by item in a few threads at the same time. Decoding, scaling and encoding
release Python's global lock, so all cores have work.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
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
"""Errors that fail one item; any other ends the work."""


@dataclass(frozen=True)
class Failed:
    """The result of an item that failed.

    Parameters
    ----------
    error : Exception
        Why it failed.
    """

    error: Exception

    def __str__(self) -> str:
        return " ".join(str(self.error).split()) or type(self.error).__name__


@dataclass(frozen=True)
class Stages(Generic[Item, Ready, Made, Done]):
    """The three stages of the work on an item.

    Parameters
    ----------
    prepare : callable
        Takes an item, in any thread.
    run : callable
        Takes a list of prepared items, in the caller's thread, and returns a result or
        `Failed` for each.
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
) -> Generator[tuple[Item, Done | Failed], None, None]:
    """Run `items` through overlapping stages and yield their results in order.

    Parameters
    ----------
    items : iterable
        Consumed as they are needed.
    stages : Stages
        The work. Where a stage raises `InputError`, `OSError` or `MemoryError`, that
        item fails and the others go on; any other error ends the work.
    batch : int
        Number of items in one run. At most four batches are in memory at once: one being
        prepared, one being run, and two being finished.
    workers : int, optional
        Threads that prepare and finish; as many as there are cores, from 2 to 8.

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
        raise InputError(f"batch={batch} and workers={count}. Give at least one of each.")
    source = iter(items)
    preparing: deque[tuple[Item, Future[Ready]]] = deque()
    finishing: deque[tuple[Item, _Waiting[Done]]] = deque()
    pool = ThreadPoolExecutor(count, thread_name_prefix="camcore")

    def prepare_more() -> None:
        for item in islice(source, batch + count - len(preparing)):
            preparing.append((item, pool.submit(stages.prepare, item)))

    try:
        prepare_more()
        while preparing:
            prepared = _full_batch(preparing, batch)
            prepare_more()
            finishing.extend(_run(prepared, stages, pool))
            while finishing and (
                not preparing or len(finishing) > batch or _is_ready(finishing[0][1])
            ):
                item, waiting = finishing.popleft()
                outcome = _outcome(waiting)
                yield item, outcome
    finally:
        # Stages that have begun end normally, so that no file is left half written.
        pool.shutdown(wait=True, cancel_futures=True)


def _full_batch(
    preparing: deque[tuple[Item, Future[Ready]]], batch: int
) -> list[tuple[Item, Ready | Failed]]:
    """Take prepared items until `batch` of them have not failed."""
    taken: list[tuple[Item, Ready | Failed]] = []
    good = 0
    while preparing and good < batch:
        item, future = preparing.popleft()
        one = _outcome(future)
        taken.append((item, one))
        good += not isinstance(one, Failed)
    return taken


def _run(
    prepared: Sequence[tuple[Item, Ready | Failed]],
    stages: Stages[Item, Ready, Made, Done],
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[Item, _Waiting[Done]]]:
    """Run the items that have not failed, and start to finish their results."""
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


def _outcome(waiting: Future[Done] | Failed) -> Done | Failed:
    if isinstance(waiting, Failed):
        return waiting
    try:
        return waiting.result()
    except _SURVIVED as error:
        return Failed(error)
