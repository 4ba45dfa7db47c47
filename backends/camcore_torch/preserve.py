"""How a pass runs: inference behaviour, on shells, a thread's own switches as before afterwards."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules import module as every_module

from camcore.adapter import Mode
from camcore.errors import BackendError
from camcore_torch import checkpoints, modes
from camcore_torch.shells import Shells, stop_originals
from camcore_torch.traits import traits_of

T = TypeVar("T")


def preserved(
    model: nn.Module, body: Callable[[Shells], T], *, graph: bool = False, mode: Mode = "eval"
) -> T:
    """Run a body on shells: in a mode, without gradients, outside of inference mode.

    The model is not written to, so there is nothing to restore on it. What is switched is this
    thread's alone, and is switched back at whatever instant the body is interrupted.

    Parameters
    ----------
    model : nn.Module
        The model.
    body : callable
        Given the shells, which are empty once it has returned.
    graph : bool
        Whether autograd will save weights, which it cannot where they were made in inference
        mode: those have copies stand in for them.
    mode : {"eval", "as-is", "train"}
        The mode that the shells are in.

    Returns
    -------
    object
        What the body returns.
    """
    traits = traits_of(model)
    shells = Shells(
        model,
        traits.blanks,
        plain_objects=traits.hides_modules,
        stand_ins=graph and traits.made_in_inference,
        mode=mode,
        own_buffers=traits.writes_buffers or not traits.is_reached,
    )
    switches = Switches()

    def switched() -> T:
        switches.set()
        return body(shells)

    result = undone(switched, switches.put_back)
    traits.writes_buffers |= shells.wrote_buffers and mode == "eval"
    shells.drop()  # where something was raised, its traceback shows what they hold
    return result


def copied(model: nn.Module, wanted: str) -> nn.Module:
    """Copy a model.

    Parameters
    ----------
    model : nn.Module
        The model.
    wanted : str
        What the copy is for, in the error: ``"the fast ways need"``.

    Raises
    ------
    BackendError
        It cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        said = str(error).partition("\n")[0].rstrip(".")
        raise BackendError(
            f"The {type(model).__name__} cannot be copied, which {wanted}: {said}."
        ) from error


def reached(model: nn.Module, shells: Shells, body: Callable[[], T]) -> T:
    """Run the shells in a body; in a model's first pass, see that none of its own modules runs.

    Raises
    ------
    OriginalRan
        One was about to; see `camcore_torch.traits.on_shells`.
    """
    traits = traits_of(model)
    if traits.is_reached:
        return body()
    stop = stop_originals(shells)

    def watched() -> T:
        every_module.register_module_forward_pre_hook(stop)
        return body()

    def undo() -> None:
        hooks = every_module._global_forward_pre_hooks
        for key in [key for key, hook in list(hooks.items()) if hook is stop]:
            hooks.pop(key, None)

    result = undone(watched, undo)
    traits.is_reached = True
    return result


def undone(body: Callable[[], T], undo: Callable[[], None]) -> T:
    """Run a body, then undo what it did.

    Ctrl-C may come while undoing, so it may be done twice; a ``with`` would do it once. It may
    also leave a context of PyTorch's own half-way, whose end would come when the traceback
    goes: it comes here.
    """
    try:
        try:
            return body()
        except BaseException as error:
            _end_contexts(error)
            raise
        finally:
            undo()
    except BaseException as error:
        _end_contexts(error)
        undo()
        raise


def _end_contexts(error: BaseException) -> None:
    if not isinstance(error, Exception):
        traceback.clear_frames(error.__traceback__)


class Draws:
    """The random numbers to come, so that they can be drawn again."""

    def __init__(self) -> None:
        self._on_cpu = torch.get_rng_state()
        cuda: Any = torch.cuda
        self._on_cuda = cuda.get_rng_state_all() if cuda.is_initialized() else []

    def rewind(self) -> None:
        """Let the same numbers come again."""
        torch.set_rng_state(self._on_cpu)
        torch.cuda.set_rng_state_all(self._on_cuda)


class Switches:
    """What PyTorch keeps for a thread and a pass changes, as it was when this was made."""

    def __init__(self) -> None:
        self._gradients = torch.is_grad_enabled()
        self._out_of_inference = torch.inference_mode(False)
        self._autocast_caches = torch.is_autocast_cache_enabled()
        self._checkpoints = checkpoints.are_left_out()
        self._modes = modes.current()

    def set(self) -> None:
        """Switch off gradients, inference mode, checkpoints, and the memory of autocast."""
        # Older PyTorch trains later with the weights that autocast casts without a graph here.
        torch.set_autocast_cache_enabled(False)
        self._out_of_inference.__enter__()
        torch.set_grad_enabled(False)
        checkpoints.leave_out(True)

    def put_back(self) -> None:
        """Switch everything as it was; done twice, it changes nothing more."""
        if modes.current() != self._modes:
            modes.replace(self._modes)
        checkpoints.leave_out(self._checkpoints)
        if hasattr(self._out_of_inference, "_inference_mode_context"):
            # Else its end would come, and switch all gradients, when the last traceback goes.
            self._out_of_inference.__exit__(None, None, None)
        torch.set_grad_enabled(self._gradients)
        torch.set_autocast_cache_enabled(self._autocast_caches)
