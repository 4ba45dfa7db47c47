"""Work that Ctrl-C may not stop half-way."""

from __future__ import annotations

import functools
import os
import threading
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class Worker:
    """A thread that works for the main one. Ctrl-C may come at any instruction of what is here."""

    def __init__(self) -> None:
        self.tasks: SimpleQueue[tuple[Callable[[], None], LockType] | None] = SimpleQueue()
        self.is_started = False

    def put(self, task: Callable[[], None], done: LockType) -> None:
        """Add a task, and a lock to release when nothing of it is left."""
        if not self.is_started:
            # A thread starts it that is not interrupted, as starting one may not be.
            start_new_thread(threading.Thread(target=self._work, daemon=True).start, ())
            self.is_started = True
        self.tasks.put((task, done))

    def _work(self) -> None:
        for task, done in iter(self.tasks.get, None):
            task()
            del task
            done.release()


_workers = [Worker()]


def _replace_worker() -> None:
    _workers[0] = Worker()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_worker)  # threads stay behind


def uninterrupted(settings: Callable[[], AbstractContextManager[object]]) -> Callable[[F], F]:
    """Let a function run to its end, and only then Ctrl-C through; a second one waits no longer.

    Ctrl-C stops the main thread between any two instructions, those by which a framework cleans
    up among them, and some that it does not survive. So the main thread lets another one run
    the function, in its own context, and waits.

    Parameters
    ----------
    settings : callable
        Called in the main thread; the other one enters the context that it returns.
    """

    def protect(function: F) -> F:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != threading.main_thread().ident:
                return function(*args, **kwargs)
            inside, values = settings(), copy_context()
            to_do, done = {"begin": True}, allocate_lock()
            outcome: list[tuple[Any, BaseException | None]] = []
            done.acquire()

            def task() -> None:
                if not to_do.pop("begin", False):
                    return
                try:
                    with inside:
                        outcome.append((values.run(function, *args, **kwargs), None))
                except BaseException as error:
                    outcome.append((None, error))

            try:
                _workers[0].put(task, done)
                with done:
                    pass
            except KeyboardInterrupt:
                if not to_do.pop("begin", False):
                    _wait(done)
                raise
            result, error = outcome.pop()
            try:
                if error is not None:
                    raise error
                return result
            finally:
                del error  # its traceback holds this frame

        return cast(F, run)

    return protect


def _wait(done: LockType) -> None:
    """Wait for what was begun; what is not waited for keeps its thread, which then ends."""
    try:
        with done:
            pass
    except KeyboardInterrupt:
        _workers[0].tasks.put(None)
        _replace_worker()
        raise
