"""What the numbers of the explained output are, by the model and by the user."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.adapter import NativeScore, Outputs, Trace
from camcore.errors import TargetError
from camcore.outputs import OutputSelector
from camcore.targets import Box, Class, Nothing
from camcore.targets.scale import DISTRIBUTION, UNKNOWN, Scale

LOGITS = np.array([[1.0, -2.0, 0.5]])


@pytest.mark.parametrize("said", [None, "softmax"])
@pytest.mark.parametrize("ends", ["softmax", "log_softmax"])
def test_what_the_user_says_may_be_what_the_model_ends_in(ends, said):
    selector = OutputSelector(None, "logit", activation=said)
    assert selector.scale(Outputs({"": LOGITS}, {"": ends})) == Scale(ends)
    assert selector.scale(Outputs({"": LOGITS}, {}, {"": ends})) == Scale(ends, applied=True)


@pytest.mark.parametrize(
    ("ends", "said"), [("log_softmax", "sigmoid"), ("softmax", "sigmoid"), ("sigmoid", "softmax")]
)
def test_the_user_cannot_say_otherwise_than_the_model_ends(ends, said):
    selector = OutputSelector(None, "logit", activation=said)
    with pytest.raises(TargetError, match=f"activation='{said}' was said, but .* in a {ends}"):
        selector.scale(Outputs({"": LOGITS}, {"": ends}))


def test_what_is_explained_without_one_output_is_its_scores_which_are_plain_numbers():
    pair = {"one": LOGITS, "other": np.array([[0.25, 0.75]])}
    trace, scores = Trace({}, "first", pair, {}, {}), np.array([3.0])
    free = NativeScore(lambda outputs: outputs)
    unchosen, chosen = (OutputSelector(output, "logit") for output in (None, "other"))
    for selector, target in [
        (unchosen, free),
        (unchosen, Nothing()),
        (unchosen, Box(0)),
        (chosen, Box(0)),
    ]:
        values, scale = selector.explained(target, trace, scores)
        assert values is scores
        assert scale == Scale("none")
    for target in (free, Nothing(), Class(1)):
        values, scale = chosen.explained(target, trace, scores)
        assert values is pair["other"]
        assert scale == DISTRIBUTION


IN_UNIT, SUM_TO_ONE = np.array([[0.2, 0.3]]), np.array([[0.25, 0.75]])


@pytest.mark.parametrize("ends", ["softmax", None])
def test_an_output_that_is_said_to_be_plain_is(ends):
    selector = OutputSelector(None, "output", activation="none")
    assert selector.scale(Outputs({"": SUM_TO_ONE}, {"": ends} if ends else {})) == Scale("none")


@pytest.mark.parametrize("demanded", [False, True])
def test_a_sigmoid_that_is_said_has_been_applied_to_the_output_alone(demanded):
    selector = OutputSelector(None, "output", activation="sigmoid", demanded_output=demanded)
    assert selector.scale({"": IN_UNIT}) == Scale("sigmoid", applied=demanded)


@pytest.mark.parametrize(
    ("values", "stated", "expected"),
    [
        (LOGITS, {}, UNKNOWN),
        (SUM_TO_ONE, {}, DISTRIBUTION),
        (LOGITS, {"*": Scale("sigmoid")}, Scale("sigmoid")),
        (SUM_TO_ONE, {"*": Scale("none")}, Scale("none")),
        (LOGITS, {"*": Scale("softmax"), "": Scale("sigmoid")}, Scale("sigmoid")),
        (LOGITS, {"other": Scale("sigmoid")}, UNKNOWN),
        (IN_UNIT, {"*": Scale("sigmoid", applied=True)}, Scale("sigmoid", applied=True)),
        (LOGITS, {"*": Scale("sigmoid", applied=True)}, UNKNOWN),  # the numbers say otherwise
    ],
)
def test_what_a_model_states_counts_unless_the_numbers_contradict(values, stated, expected):
    selector = OutputSelector(None, "logit", model=SimpleNamespace(stated_scales=stated))
    assert selector.scale({"": values}) == expected
    said = OutputSelector(None, "logit", activation="softmax", model=selector.model)
    assert said.scale({"": LOGITS}) == Scale("softmax")
