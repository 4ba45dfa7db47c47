"""Forward passes that keep what is asked for, and the gradients pulled back from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnxruntime

from camcore.adapter import Array, Leaves, Rectifier, Seed, SeedRun, unreached
from camcore.errors import TargetError

from .backward import PullBack, Question, is_floating
from .inputs import Given
from .logits import End, end_of
from .model import Model
from .sizes import Sizes

CUTS = ("argmax", "rounding")
"""What has no gradient."""


@dataclass(frozen=True)
class Request:
    """What is asked of a pass.

    Parameters
    ----------
    layers : mapping of str to str
        Tensors by the names that they were asked by.
    logits : bool
        Whether outputs are taken before their final activation.
    seeds : int
        How many there are.
    rectifier : {"guided", "deconvolution"} or None
        The rule for pulling back through rectifiers.
    """

    layers: Mapping[str, str]
    logits: bool
    seeds: int = 0
    rectifier: Rectifier | None = None


class Program:
    """What runs a file forward, and pulls cotangents back.

    Parameters
    ----------
    model : Model
        The file.
    sizes : Sizes
        Of its tensors.
    asked : Request
        What for.
    samples : int
        How many samples a pass has.
    """

    def __init__(self, model: Model, sizes: Sizes, asked: Request, samples: int) -> None:
        graph = model.graph
        self.sizes, self.asked, self.samples = sizes, asked, samples
        arrays = [name for name in graph.outputs if name in sizes.dtypes]
        ends = [end_of(graph, name, sizes, logits=asked.logits) for name in arrays]
        self.ends: Mapping[str, End] = {path_of(model, one.output): one for one in ends}
        self.backs: dict[int, PullBack] = {}
        if asked.seeds and asked.layers:
            self.backs[1] = self._pull_back(model, 1)
            if asked.seeds > 1 and self.backs[1].repeatable:
                self.backs[asked.seeds] = self._pull_back(model, asked.seeds)
        places: Mapping[str, str] = {}
        wanted = [*(one.tensor for one in ends), *asked.layers.values()]
        for back in self.backs.values():
            wanted += back.saved
            places = back.places
        made = [tensor for tensor in dict.fromkeys(wanted) if tensor not in graph.inputs]
        self._session = model.runtime.session(graph.asking(made, places))

    def _pull_back(self, model: Model, repeats: int) -> PullBack:
        scores = {
            path: end.tensor
            for path, end in self.ends.items()
            if is_floating(self.sizes.dtypes[end.tensor])
        }
        layers = list(dict.fromkeys(self.asked.layers.values()))
        question = Question(scores, layers, self.samples, repeats, self.asked.rectifier)
        return PullBack(model.graph, self.sizes, question, model.runtime)

    @property
    def activation(self) -> dict[str, str]:
        """The activations left off, by the path of the output."""
        return {path: end.activation for path, end in self.ends.items() if end.activation}

    @property
    def applied(self) -> dict[str, str]:
        """The activations that are still there, by the path of the output."""
        return {path: end.applied for path, end in self.ends.items() if end.applied}

    def forward(self, feed: Mapping[str, Array]) -> dict[str, Any]:
        """Run some samples, and keep the tensors that are wanted, as OrtValues by name."""
        given = {name: onnxruntime.OrtValue.ortvalue_from_numpy(a) for name, a in feed.items()}
        return {**given, **self._session(given)}

    def outputs(self, kept: Mapping[str, Any]) -> dict[str, Array]:
        """Hand over the outputs of a pass by path, in the outputs' own shapes."""
        arrays = {end.tensor: kept[end.tensor].numpy() for end in self.ends.values()}
        return shown(self.ends, arrays, self.sizes, self.samples)

    def gradients(
        self, cotangents: Sequence[Leaves], kept: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Array]]:
        """Pull the cotangents of every seed back, together where that is exact.

        Returns
        -------
        list of mapping of str to (B, ...) array
            For each seed, the gradient at each tensor.
        """
        seeds = len(cotangents)
        if not self.backs:
            return [{} for _ in cotangents]
        if seeds in self.backs and seeds > 1:
            return self.backs[seeds].several(cotangents, kept)
        back = self.backs[1]
        return [back(one, kept) for one in cotangents]

    def check(self, weighed: Collection[str], optional: Collection[str]) -> None:
        """Refuse a score, of the outputs weighed, that does not depend on a layer.

        Raises
        ------
        GradientError
            It does not, or an operator between has no gradient.
        """
        for name, tensor in self.asked.layers.items() if self.backs else ():
            back = self.backs[1]
            for path in weighed:
                if path in back.refused:
                    raise back.refused[path]
            if not back.reached[tensor].intersection(weighed) and name not in optional:
                raise unreached(name, self.activation, *CUTS)


class Runs(Protocol):
    """What runs a file forward, some samples at a time, and pulls cotangents back."""

    sizes: Sizes
    samples: int

    def forward(self, feed: Mapping[str, Array]) -> dict[str, Any]:
        """Run some samples, and keep the tensors that are wanted."""

    def gradients(
        self, cotangents: Sequence[Leaves], kept: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Array]]:
        """Pull cotangents back, each to the tensors that it is for."""


class Passes:
    """A batch run through a program, as many samples at a time as the file takes.

    Parameters
    ----------
    program : Runs
        What runs it.
    given : Given
        The batch.
    """

    def __init__(self, program: Runs, given: Given) -> None:
        self._program, self._given = program, given
        self._starts = range(0, given.samples, program.samples)
        self._kept = [program.forward(self._rows(start)) for start in self._starts]

    def outputs(self, program: Program) -> dict[str, Array]:
        """Hand over the outputs by path, of the program that was run."""
        each, ends = [program.outputs(kept) for kept in self._kept], program.ends
        return {
            path: self._joined(end.output, [one[path] for one in each])
            for path, end in ends.items()
        }

    def activations(self, tensor: str) -> Array:
        """Hand over a tensor that was asked for."""
        return self._joined(tensor, [as_float(kept[tensor].numpy()) for kept in self._kept])

    def gradients(self, cotangents: Sequence[Leaves]) -> list[dict[str, Array]]:
        """Pull the cotangents of each seed back, and give the gradients at each tensor."""
        pulled = [
            self._program.gradients([self._share(one, start) for one in cotangents], kept)
            for start, kept in zip(self._starts, self._kept, strict=True)
        ]
        return [
            {tensor: self._joined(tensor, [one[k][tensor] for one in pulled]) for tensor in first}
            for k, first in enumerate(pulled[0])
        ]

    def _rows(self, start: int) -> dict[str, Array]:
        """Take the samples of one pass; where too few are left, the last one again."""
        samples, given = self._program.samples, self._given
        if given.samples == samples:
            return dict(given.feed)
        taken = np.minimum(np.arange(start, start + samples), given.samples - 1)
        return {n: a.take(taken, 0) if given.batched(a) else a for n, a in given.feed.items()}

    def _share(self, cotangents: Leaves, start: int) -> Leaves:
        """Take the cotangents of one pass; those of a sample taken again are zero."""
        samples, given = self._program.samples, self._given
        if given.samples == samples:
            return cotangents

        def part(array: Array) -> Array:
            each = len(array) // given.samples
            rows = array[start * each : (start + samples) * each]
            short = samples * each - len(rows)
            return np.pad(rows, [(0, short), *[(0, 0)] * (array.ndim - 1)])

        return {path: part(array) for path, array in cotangents.items()}

    def _joined(self, tensor: str, parts: Sequence[Array]) -> Array:
        """Put a tensor of all passes together along its batch, without samples taken again."""
        samples, given = self._program.samples, self._given
        if given.samples == samples or not parts[0].shape:
            return parts[0]
        axis = self._program.sizes.axis(tensor) or 0
        whole = np.concatenate(parts, axis)
        return whole.take(range(parts[0].shape[axis] // samples * given.samples), axis)


def ask(
    seeds: Sequence[Seed], program: Program, outputs: Leaves, optional: Collection[str]
) -> list[Leaves]:
    """Ask every seed for its cotangents of the floating outputs.

    Raises
    ------
    TargetError
        No output is floating, or a cotangent fits none.
    GradientError
        A score does not depend on a layer.
    """
    floating = [path for path, leaf in outputs.items() if leaf.dtype.kind == "f"]
    if seeds and not floating:
        raise TargetError(
            f"No output of the model is floating ({', '.join(map(repr, outputs)) or 'none'}), so "
            "no score of it has a gradient. Explain a model that returns scores."
        )
    run = SeedRun(seeds, program.activation, program.applied)
    answers = run.ask(outputs)
    if run.error is not None:
        raise run.error
    for weighed in run.weighed:
        program.check(weighed, optional)
    each = len(floating)
    return [
        dict(zip(floating, answers[k * each : (k + 1) * each], strict=True))
        for k in range(len(seeds))
    ]


def shown(
    ends: Mapping[str, End], arrays: Mapping[str, Array], sizes: Sizes, samples: int
) -> dict[str, Array]:
    """Give what scores are read from by path, in the outputs' own shapes."""
    found = {}
    for path, end in ends.items():
        array = as_float(arrays[end.tensor])
        if end.tensor != end.output:
            array = array.reshape(sizes.shape(end.output, samples))
        found[path] = array
    return found


def path_of(model: Model, output: str) -> str:
    """Give an output's path: its name, or the empty one where there is one output."""
    return output if len(model.graph.outputs) > 1 else ""


def as_float(array: Array) -> Array:
    """Give half precision as float32."""
    half = is_floating(array.dtype) and array.dtype.itemsize < 4
    return array.astype(np.float32) if half else array
