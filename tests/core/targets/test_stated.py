"""What a model's loss says of its outputs."""

from __future__ import annotations

import pytest

from camcore.targets.scale import Scale
from camcore.targets.stated import of_loss


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("binary_crossentropy", Scale("sigmoid", applied=True)),
        ("SparseCategoricalCrossentropy", Scale("softmax", applied=True)),
        ("mse", Scale("none")),
        ("wasserstein", None),
        (lambda true, found: found - true, None),
        (None, None),
    ],
)
def test_a_loss_says_whether_outputs_are_probabilities(loss, expected):
    assert of_loss(loss) == expected
