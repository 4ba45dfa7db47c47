"""Tokens: the score of one id at one position, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.errors import TargetError
from camcore.targets import Token

# Two samples, three positions, a vocabulary of four.
OUTPUTS = np.array(
    [
        [[1.0, 2.0, 3.0, 4.0], [8.0, 5.0, 6.0, 7.0], [0.0, -1.0, -2.0, -3.0]],
        [[9.0, 0.0, 9.5, 1.0], [0.5, 1.5, 2.5, 3.5], [-4.0, -2.0, 1.0, -8.0]],
    ]
)
OUTPUTS.setflags(write=False)

# Scores, and where each sample's cotangent is 1.
TOKENS = {
    "one for all": (Token(1, 2), [6, 2.5], [(1, 2), (1, 2)]),
    "from the end": (Token(-1, 1), [-1, -2], [(2, 1), (2, 1)]),
    "the first from the end": (Token(-3, 3), [4, 1], [(0, 3), (0, 3)]),
    "a position each": (Token([0, -2], 3), [4, 3.5], [(0, 3), (1, 3)]),
    "an id each": (Token(2, [0, 2]), [0, 1], [(2, 0), (2, 2)]),
    "both each": (Token([1, 0], [0, 2]), [8, 9.5], [(1, 0), (0, 2)]),
    "the highest": (Token(-1), [0, 1], [(2, 0), (2, 2)]),
    "the highest, a position each": (Token([0, 1]), [4, 3.5], [(0, 3), (1, 3)]),
    "as an array": (Token(np.int64(1), np.array([1, 3])), [5, 3.5], [(1, 1), (1, 3)]),
}


@pytest.mark.parametrize("case", TOKENS)
def test_a_token_scores_one_id_at_one_position(case):
    target, scores, places = TOKENS[case]
    scored = target(OUTPUTS)
    expected = np.zeros((2, 3, 4))
    for row, place in enumerate(places):
        expected[row][place] = 1
    np.testing.assert_array_equal(scored.scores, scores)
    np.testing.assert_array_equal(scored.cotangent, expected)
    assert scored.classes is None


def test_tokens_add_up():
    # z[0, 3] + z[1, 0] / 2 of the first: 4 + 8 / 2; of the second 1 + 0.5 / 2.
    scored = (Token(0, 3) + 0.5 * Token(1, 0))(OUTPUTS)
    np.testing.assert_array_equal(scored.scores, [8, 1.25])
    assert (scored.cotangent[:, 0, 3] == 1).all()
    assert (scored.cotangent[:, 1, 0] == 0.5).all()
    assert scored.cotangent.sum() == 3


@pytest.mark.parametrize("target", [Token([0, -1]), Token(0), Token([1, 0], [3, 1])])
def test_choices_settle_for_the_batch_and_for_alterations_of_one_sample(target):
    other = -OUTPUTS
    whole = target(OUTPUTS)
    settled = target.settled(OUTPUTS)(other)
    np.testing.assert_array_equal(settled.scores, -whole.scores)
    np.testing.assert_array_equal(settled.cotangent, whole.cotangent)
    altered = np.repeat(other[1:], 5, axis=0)
    one = target.settled(OUTPUTS, 1)(altered)
    np.testing.assert_array_equal(one.scores, [-whole.scores[1]] * 5)
    np.testing.assert_array_equal(one.cotangent, np.repeat(whole.cotangent[1:], 5, axis=0))


def test_integers_are_scored_as_numbers():
    scored = (-Token(0, 1))(np.arange(12, dtype=np.uint8).reshape(1, 3, 4))
    np.testing.assert_array_equal(scored.scores, [-1])


class Words:
    """Encodes words as the ids of a list; ``" cat"`` is another than ``"cat"``."""

    unk_token_id = 3

    def __init__(self, wraps=False):
        self.wraps = wraps

    def encode(self, text, add_special_tokens=True):
        assert not add_special_tokens
        known = {"cat": [1], " cat": [2], "caption": [1, 2]}
        ids = known.get(text, [3])
        return SimpleNamespace(ids=ids) if self.wraps else ids


@pytest.mark.parametrize("wraps", [False, True])
def test_an_id_is_given_by_its_text(wraps):
    words = Words(wraps)
    for text, score in {"cat": -1, " cat": -2}.items():
        np.testing.assert_array_equal(Token(-1, text, tokenizer=words)(OUTPUTS[:1]).scores, [score])
    assert repr(Token(-1, " cat", tokenizer=words)) == "Token(-1, 2)"


REFUSED = {
    "position": (lambda: Token(3, 0), r"Position 3 is out of range: .* 3 positions, 0 to 2, or -3"),
    "before": (lambda: Token([0, -4], 0), r"Position -4 is out of range"),
    "id": (lambda: Token(0, 4), r"Id 4 is out of range: .* a vocabulary of 4, 0 to 3\."),
    "negative id": (lambda: Token(0, -1), r"Id -1 is out of range"),
    "positions": (lambda: Token([0, 1, 2], 0), r"names 3 positions for a batch of 2 samples"),
    "ids": (lambda: Token(0, [1]), r"names 1 ids for a batch of 2 samples; give one, or"),
    "no number": (lambda: Token(0.5, 0), r"position is an integer, or one for each.* got 0\.5\."),
    "no id": (lambda: Token(0, 1.5), r"id is an integer.* got 1\.5\. Give its text together with"),
    "two axes": (lambda: Token(0, [[1, 2]]), r"id is an integer, or one for each sample"),
    "none": (lambda: Token([], 0), r"position is an integer"),
    "no tokenizer": (lambda: Token(0, " cat"), r"' cat' was given with no tokenizer\. Give the mo"),
    "other tokenizer": (lambda: Token(0, "cat", tokenizer=5), r"with tokenizer=5\. Give the model"),
    "several ids": (
        lambda: Token(0, "caption", tokenizer=Words()),
        r"makes 2 ids of 'caption': \[1, 2\]\. .* Token\(t, first\) \+ Token\(t \+ 1, second\)",
    ),
    "unknown": (lambda: Token(0, "dog", tokenizer=Words()), r"'dog' is not in the tokenizer's voc"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_token_is_refused(case):
    make, words = REFUSED[case]
    with pytest.raises(TargetError, match=words):
        make()(OUTPUTS)


@pytest.mark.parametrize("shape", [(2,), (2, 4), (2, 3, 4, 5)])
def test_outputs_that_are_not_token_wise_are_refused(shape):
    with pytest.raises(TargetError, match=r"\(batch, positions, vocabulary\), .*camcore.targets.C"):
        Token(0, 0)(np.zeros(shape))
