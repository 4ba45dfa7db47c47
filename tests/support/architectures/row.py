"""What a row of the table of architectures says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Refused:
    """A method that an architecture is refused, and the words that say why."""

    error: str
    """Name of the error's class in `camcore.errors`."""

    words: str
    """Found in its message."""


@dataclass(frozen=True)
class Architecture:
    """One architecture, and what is expected of it.

    Parameters
    ----------
    name : str
        As people know it: ``"torchvision ViT-B/16"``.
    framework : {"torch", "keras", "jax", "onnx"}
        Which adapter serves it.
    make : callable
        Returns the model, seeded, in inference mode; as small as its kind allows.
    inputs : callable
        Takes a number of samples, returns what the model takes.
    layer : str
        The layer chosen when none is named.
    score : callable
        Takes the model's own outputs, in its framework, and returns the explained score
        of each sample, ``(B,)``.
    target : object
        The same score as camcore's target.
    arrange : callable
        Takes the layer's output, in its framework, and returns it as ``(B, C, *S)``.
    plain : callable or None
        Takes inputs and returns activations and gradients ``(B, C, *S)`` by plain code, of what
        PyTorch's and Keras' own hooks do not reach.
    options : mapping
        What else `camcore.explain` has to be told: ``output=``, ``layout=``, ``score=``.
    alone : callable or None
        Takes inputs of a batch and an index, returns the inputs of that sample as a
        batch of one; None slices the first axis of every array in the nest.
    refused : mapping of str to Refused
        Methods, by canonical name, that cannot explain it.
    narrow : str or None
        A layer of few channels, for methods that score channels one by one where the
        chosen one has many and a pass is dear.
    tolerance : float
        Largest difference of float32 maps to plain framework code, relative to the
        largest value.
    needs : tuple of str
        Packages beyond the framework, by import name.
    kind : str
        Heading it stands under in the documentation.
    """

    name: str
    framework: Literal["torch", "keras", "jax", "onnx"]
    make: Callable[[], Any]
    inputs: Callable[[int], Any]
    layer: str
    score: Callable[[Any], Any]
    target: Any
    arrange: Callable[[Any], Any] = lambda activations: activations
    plain: Callable[[Any], Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    alone: Callable[[Any, int], Any] | None = None
    refused: Mapping[str, Refused] = field(default_factory=dict)
    narrow: str | None = None
    tolerance: float = 1e-5
    needs: tuple[str, ...] = ()
    kind: str = "Classifiers"

    def one(self, inputs: Any, index: int) -> Any:
        """Inputs of one sample of a batch."""
        if self.alone is not None:
            return self.alone(inputs, index)
        if isinstance(inputs, Mapping):
            return {key: self.one(value, index) for key, value in inputs.items()}
        if isinstance(inputs, (tuple, list)):
            return type(inputs)(self.one(value, index) for value in inputs)
        return inputs[index : index + 1]

    def __str__(self) -> str:
        return self.name
