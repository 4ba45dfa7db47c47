"""Programs compiled for inputs of some sizes, kept by what they answer and the sizes they serve."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from camcore._shared.apart import swapping

Shapes: TypeAlias = tuple[tuple[int | None, ...], ...]
"""Shapes of a model's inputs; None is any size."""

Opening: TypeAlias = Literal["batch", "image"]
"""What is left open: the number of samples, or any other size."""

Serves: TypeAlias = Callable[[Any], bool]
"""Tells whether a program serves the model as it is."""

Attempt: TypeAlias = Callable[[Shapes, "Opening | None"], Any]
"""Makes a program for shapes, or None where it has to know what they leave open.

Shapes that leave nothing open make a program or raise.
"""

# Questions whose answers are kept for a model, and shapes for each; what was used longest ago
# goes first.
QUESTIONS, SHAPES = 64, 16


@dataclass
class Answers:
    """The programs that answer one question, the last used at the end, and what sizes they know."""

    programs: list[tuple[Shapes, Any]] = field(default_factory=list)
    closed: set[Opening] = field(default_factory=set)


class Programs:
    """Programs by question and shapes.

    Parameters
    ----------
    questions : int, optional
        How many questions are kept, fewer where programs are large.
    """

    def __init__(self, questions: int | None = None) -> None:
        self._questions = questions
        self._answers: OrderedDict[Hashable, Answers] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(len(answers.programs) for answers in self._answers.values())

    def fetch(
        self,
        question: Hashable,
        shapes: Shapes,
        attempt: Attempt,
        serves: Serves = lambda program: True,
    ) -> Any:
        """Return a program that serves the shapes, made by `attempt` where none is kept."""
        if (program := self._find(question, shapes, serves)) is not None:
            return program
        with swapping:  # a trace swaps functions, and may compile another model
            if (program := self._find(question, shapes, serves)) is not None:
                return program
            refused = set[Opening]()
            for opened, opening in self._openings(question, shapes).items():
                if (program := attempt(opened, opening)) is not None:
                    self._keep(question, opened, program, refused)
                    break
                assert opening is not None
                refused.add(opening)
            return program

    def _find(self, question: Hashable, shapes: Shapes, serves: Serves) -> Any:
        """Find a program that serves the shapes; None where there is none."""

        def fits(known: Shapes) -> bool:
            pairs = zip(known, shapes, strict=True)
            return all(a in (None, b) for one in pairs for a, b in zip(*one, strict=True))

        with self._lock:
            if (answers := self._answers.get(question)) is None:
                return None
            self._answers.move_to_end(question)
            kept = answers.programs[::-1]
        for known, program in sorted(kept, key=lambda one: one[0] != shapes):
            if fits(known) and serves(program):
                with self._lock:
                    _use((known, program), answers.programs)
                return program
        return None

    def _keep(
        self, question: Hashable, shapes: Shapes, program: Any, closed: Collection[Opening]
    ) -> None:
        """Keep a program, and what it turned out that this question's programs have to know."""
        with self._lock:
            answers = self._answers.setdefault(question, Answers())
            _use((shapes, program), answers.programs)
            answers.closed.update(closed)
            del answers.programs[:-SHAPES]
            while len(self._answers) > (self._questions or QUESTIONS):
                self._answers.popitem(last=False)

    def _openings(self, question: Hashable, shapes: Shapes) -> dict[Shapes, Opening | None]:
        """List the shapes to compile for, the most open first; only what varied is left open.

        The first axis of the first shape counts samples, and those of others that equal it.
        """
        answers, batch = self._answers.get(question, Answers()), shapes[0][0]

        def opened(kind: Opening) -> Shapes:
            def size(leaf: int, axis: int, own: int | None) -> int | None:
                of: Opening = "batch" if axis == 0 and own == batch else "image"
                is_open = of in (kind, "batch") and of not in answers.closed
                varies = any(known[leaf][axis] != own for known, _ in answers.programs)
                return None if is_open and varies else own

            return tuple(
                tuple(size(leaf, axis, own) for axis, own in enumerate(shape))
                for leaf, shape in enumerate(shapes)
            )

        return {opened("image"): "image", opened("batch"): "batch", shapes: None}


def _use(one: tuple[Shapes, Any], programs: list[tuple[Shapes, Any]]) -> None:
    """Put a program at the end, as the one that was used last."""
    programs[:] = [other for other in programs if other[1] is not one[1]] + [one]
