"""The context in which a pass runs: inference behaviour, on shells of the model's modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from camcore_torch import checkpoints
from camcore_torch.shells import Shells, originals_stopped
from camcore_torch.traits import traits_of


@contextmanager
def preserved(model: nn.Module, *, graph: bool = False) -> Iterator[Shells]:
    """Run shells within: in eval mode, without gradients, outside of inference mode.

    The model is not written to, so there is nothing to restore. The switches set here are
    those of this thread.

    Parameters
    ----------
    model : nn.Module
        The model.
    graph : bool
        Whether autograd will save weights, which it cannot where they were made in inference
        mode: those have copies stand in for them.

    Yields
    ------
    Shells
        Empty once the context is left.
    """
    traits = traits_of(model)
    shells = Shells(
        model,
        traits.blanks,
        plain_objects=traits.hides_modules,
        stand_ins=graph and traits.made_in_inference,
    )
    autocast_caches = torch.is_autocast_cache_enabled()
    try:
        # Older PyTorch trains later with the weights that autocast casts without a graph here.
        torch.set_autocast_cache_enabled(False)
        with torch.inference_mode(False), torch.set_grad_enabled(False), checkpoints.left_out():
            yield shells
        shells.drop()  # where something was raised, its traceback shows what they hold
    finally:
        torch.set_autocast_cache_enabled(autocast_caches)


@contextmanager
def reached(model: nn.Module, shells: Shells) -> Iterator[None]:
    """Run the shells within; in a model's first pass, see that none of its own modules runs.

    Raises
    ------
    OriginalRan
        One was about to; see `camcore_torch.traits.on_shells`.
    """
    traits = traits_of(model)
    if traits.is_reached:
        yield
        return
    with originals_stopped(shells):
        yield
    traits.is_reached = True
