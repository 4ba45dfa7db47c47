"""What the numbers of the explained output are, by the model and by the user."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.adapter import Outputs
from camcore.errors import TargetError
from camcore.outputs import OutputSelector
from camcore.targets.scale import Scale

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
