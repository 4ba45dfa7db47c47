"""What earlier passes taught about a model, so that later ones run once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from camcore.errors import BackendError
from camcore_torch.shells import OriginalRan

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

    hides_modules: bool = False
    """It holds modules in objects that are neither modules, containers nor functions."""


_traits: weakref.WeakKeyDictionary[nn.Module, ModelTraits] = weakref.WeakKeyDictionary()


def traits_of(model: nn.Module) -> ModelTraits:
    """Look up what is known of a model; it is forgotten when the model goes."""
    return _traits.setdefault(model, ModelTraits())


def on_shells(model: nn.Module, run: Callable[[], T]) -> T:
    """Run what takes a pass, again with a deeper search where a module was reached past its shell.

    Raises
    ------
    BackendError
        A module is held where it cannot be reached; nothing of it has run.
    """
    try:
        return run()
    except OriginalRan:
        traits_of(model).hides_modules = True
    try:
        return run()
    except OriginalRan as error:
        raise BackendError(
            f"The model runs its {error} through an object that camcore cannot look into, so it "
            "cannot be explained without writing to it. Hold the module as an attribute of the "
            "module that runs it."
        ) from error
