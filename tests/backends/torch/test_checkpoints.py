"""PyTorch: reentrant checkpoints are left out in one thread, and in no other."""

from __future__ import annotations

import importlib
import os
import threading
from contextlib import contextmanager

import pytest

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
checkpoint = torch.utils.checkpoint
checkpoints = importlib.import_module("camcore_torch.checkpoints")
USUAL = checkpoint.CheckpointFunction


def squared():
    """Square 3 in a checkpoint: its derivative, how often it was computed, and its node."""
    runs = []

    def square(x):
        runs.append(1)
        return x * x

    x = torch.tensor(3.0, requires_grad=True)
    y = checkpoint.checkpoint(square, x, use_reentrant=True)
    y.backward()
    return x.grad.item(), len(runs), y.grad_fn.name()


@contextmanager
def left_out():
    """What a pass does, which may be within another."""
    before = checkpoints.are_left_out()
    checkpoints.leave_out(True)
    try:
        yield
    finally:
        checkpoints.leave_out(before)


CHECKPOINTED = (6.0, 2, "CheckpointFunctionBackward")
LEFT_OUT = (6.0, 1, "MulBackward0")


def test_a_checkpoint_runs_what_it_holds_once_within_and_twice_without():
    assert squared() == CHECKPOINTED
    with left_out():
        assert squared() == LEFT_OUT
        with left_out():
            assert squared() == LEFT_OUT
        assert squared() == LEFT_OUT
    assert squared() == CHECKPOINTED
    assert checkpoint.CheckpointFunction is USUAL


def test_another_threads_checkpoints_stay_what_they_are():
    inside, leave, found = threading.Event(), threading.Event(), []

    def explaining():
        with left_out():
            inside.set()
            leave.wait(60)
            found.append(squared())

    thread = threading.Thread(target=explaining)
    thread.start()
    assert inside.wait(60)
    assert squared() == CHECKPOINTED
    # What begins and ends meanwhile puts nothing back under the other thread.
    with left_out():
        assert squared() == LEFT_OUT
    assert squared() == CHECKPOINTED
    leave.set()
    thread.join(60)
    assert found == [LEFT_OUT]
    assert squared() == CHECKPOINTED
    assert checkpoint.CheckpointFunction is USUAL
