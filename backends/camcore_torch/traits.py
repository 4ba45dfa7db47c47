"""What earlier passes taught about a model, so that later ones run once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from torch import nn

from camcore.errors import BackendError
from camcore_torch.shells import Blanks, OriginalRan

T = TypeVar("T")


@dataclass
class ModelTraits:
    """What earlier passes taught about a model."""

    ends_in_activation: bool = False
    """Its outputs come out of a softmax or sigmoid: watch for the scores before it."""

    switches_grad_off: bool = False
    """It leaves a ``no_grad`` block after the layer, so grad mode must be on before it."""

    is_built: bool = False
    """Its weights exist, as is known for Keras models."""

    is_reached: bool = False
    """In a whole pass none of its own modules ran, only shells."""

    writes_buffers: bool = False
    """In a first pass, in eval mode, it wrote to buffers in place."""

    hides_modules: bool = False
    """It holds modules in objects that are neither modules, containers nor functions."""

    made_in_inference: bool = False
    """Autograd refused weights of it that were made in inference mode."""

    blanks: Blanks = field(default_factory=dict)
    """Empty shells of earlier passes."""


_traits: weakref.WeakKeyDictionary[nn.Module, ModelTraits] = weakref.WeakKeyDictionary()


def traits_of(model: nn.Module) -> ModelTraits:
    """Look up what is known of a model; it is forgotten when the model goes."""
    return _traits.setdefault(model, ModelTraits())


def on_shells(model: nn.Module, run: Callable[[], T]) -> T:
    """Run what takes a pass, and again where it teaches how the shells must be made.

    Raises
    ------
    BackendError
        A module is held where it cannot be reached; nothing of it has run.
    """
    try:
        return run()
    except OriginalRan:
        traits_of(model).hides_modules = True
    except RuntimeError as error:
        traits = traits_of(model)
        if traits.made_in_inference or not _is_of_inference(model, error):
            raise
        traits.made_in_inference = True
    try:
        return run()
    except OriginalRan as error:
        raise BackendError(
            f"The model runs its {error} through an object that camcore cannot look into, so it "
            "cannot be explained without writing to it. Hold the module as an attribute of the "
            "module that runs it."
        ) from error


def _is_of_inference(model: nn.Module, error: RuntimeError) -> bool:
    """Tell whether autograd refused a weight that was made in inference mode."""
    tensors = chain(model.parameters(), model.buffers())
    return "nference tensor" in str(error) and any(tensor.is_inference() for tensor in tensors)
