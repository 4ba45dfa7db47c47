"""The target of models that score every id of a vocabulary at every position of a sequence."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from camcore.adapter import Array
from camcore.errors import TargetError
from camcore.targets.base import Scored, Target
from camcore.targets.classes import integers, real_outputs


class Token(Target):
    """The score of one id of the vocabulary at one position: z[t, v] of outputs ``(B, T, V)``.

    A causal language model scores at position t what comes next: a word that stands at position
    t + 1 of ``input_ids`` is explained by ``Token(t, id)``. Words of several ids are sums:
    ``Token(7, 310) + Token(8, 42)``.

    Parameters
    ----------
    position : int or sequence of int
        Where in the sequence, or one place for each sample; negative from its end, padding
        included.
    id : int, sequence of int, str, or None
        Of the vocabulary, or one for each sample. With a tokenizer, the text of one id, as it is
        written in the caption: many tokenizers tell ``" cat"`` from ``"cat"``. None is the id
        that scores highest at that position.
    tokenizer : object, optional
        Has ``encode(text, add_special_tokens=False)``, as those of transformers and tokenizers.
    """

    linear = True

    def __init__(
        self,
        position: int | Sequence[int] | Array,
        id: int | Sequence[int] | str | Array | None = None,
        *,
        tokenizer: Any = None,
    ) -> None:
        self.position = _one_or_each(position, "position", "")
        if isinstance(id, str):
            id = _id_of(id, tokenizer)
        hint = " Give its text together with a tokenizer: Token(-1, ' cat', tokenizer=...)."
        self.id = None if id is None else _one_or_each(id, "id", hint)

    def __repr__(self) -> str:
        return f"Token({self.position.tolist()}, {None if self.id is None else self.id.tolist()})"

    def __call__(self, outputs: Array) -> Scored:
        """Score z[t, v], cotangent 1 there."""
        outputs = _token_wise(outputs)
        rows, positions, ids = np.arange(len(outputs)), self.positions(outputs), self.ids(outputs)
        cotangent = np.zeros_like(outputs)
        cotangent[rows, positions, ids] = 1
        return Scored(outputs[rows, positions, ids], cotangent)

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """Fix the positions and ids that these outputs choose."""
        fixed = copy.copy(self)
        positions, ids = self.positions(outputs), self.ids(outputs)
        fixed.position = positions if sample is None else positions[sample]
        fixed.id = ids if sample is None else ids[sample]
        return fixed

    def positions(self, outputs: Array) -> Array:
        """Find the position in each sample, ``(B,)``, and check it against the outputs."""
        batch, count, _ = _token_wise(outputs).shape
        positions = _of_batch(self.position, batch, "positions")
        wrong = positions[(positions < -count) | (positions >= count)]
        if wrong.size:
            raise TargetError(
                f"Position {wrong[0]} is out of range: the model scores {count} positions, 0 to "
                f"{count - 1}, or {-count} to -1 from the end."
            )
        return np.where(positions < 0, positions + count, positions)

    def ids(self, outputs: Array) -> Array:
        """Find the id in each sample, ``(B,)``, and check it against the outputs."""
        batch, _, count = _token_wise(outputs).shape
        if self.id is None:
            best: Array = outputs[np.arange(batch), self.positions(outputs)].argmax(axis=1)
            return best
        ids = _of_batch(self.id, batch, "ids")
        wrong = ids[(ids < 0) | (ids >= count)]
        if wrong.size:
            raise TargetError(
                f"Id {wrong[0]} is out of range: the model scores a vocabulary of {count}, 0 to "
                f"{count - 1}."
            )
        return ids


def _one_or_each(value: Any, what: str, hint: str) -> Array:
    """Read a whole number, or one for each sample."""
    read = integers(value)
    if read is None or read.ndim > 1:
        raise TargetError(
            f"A token's {what} is an integer, or one for each sample; got {value!r}.{hint}"
        )
    return read


def _of_batch(given: Array, batch: int, what: str) -> Array:
    """Repeat what is given for all samples."""
    if given.ndim == 1 and len(given) != batch:
        raise TargetError(
            f"The target names {len(given)} {what} for a batch of {batch} samples; give one, or "
            "one for each sample."
        )
    return np.broadcast_to(given, (batch,))


def _token_wise(outputs: Array) -> Array:
    """Read outputs as floating scores of each id at each position, ``(B, T, V)``."""
    if outputs.ndim == 3:
        return real_outputs(outputs)
    raise TargetError(
        "A token target needs outputs of shape (batch, positions, vocabulary), as language models "
        f"give; the model's are {outputs.shape}. Use camcore.targets.Class for class scores."
    )


def _id_of(text: str, tokenizer: Any) -> int:
    """Find the one id of a text."""
    if not hasattr(tokenizer, "encode"):
        given = "no tokenizer" if tokenizer is None else f"tokenizer={tokenizer!r}"
        raise TargetError(
            f"The text {text!r} was given with {given}. Give the model's, which has encode(text, "
            f"add_special_tokens=False): Token(position, {text!r}, tokenizer=...); or an id."
        )
    encoded = tokenizer.encode(text, add_special_tokens=False)
    ids = [int(one) for one in getattr(encoded, "ids", encoded)]
    if len(ids) != 1:
        raise TargetError(
            f"The tokenizer makes {len(ids)} ids of {text!r}: {ids}. A token is one of them; add "
            "up those that the caption has: Token(t, first) + Token(t + 1, second)."
        )
    if ids[0] == getattr(tokenizer, "unk_token_id", None):
        raise TargetError(
            f"{text!r} is not in the tokenizer's vocabulary: its id {ids[0]} stands for all text "
            "that is unknown. Give a text that the vocabulary has, or an id."
        )
    return ids[0]
