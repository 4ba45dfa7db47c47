"""Which of several arrays that a layer returns is its map."""

from __future__ import annotations

import pytest

from camcore.errors import LayerError
from camcore.layers.leaves import meant

TOKENS = (2, 16, 8)


@pytest.mark.parametrize(
    ("beside", "path"),
    [
        # Attention of each head, and its mean over heads.
        ((2, 4, 16, 16), "0"),
        ((2, 16, 16), "0"),
        # The last states of two layers, beside steps of as many features.
        ((2, 2, 8), "0"),
        # Nothing of a batch, or without places.
        ((3, 16, 8), "0"),
        ((2, 8), "0"),
    ],
)
def test_what_stands_beside_tokens_is_no_map(beside, path):
    assert meant("block", {"0": TOKENS, "1": beside}, (32, 32), "first") == path


@pytest.mark.parametrize("other", [(2, 16, 4), (2, 4, 8, 8), TOKENS])
def test_of_two_maps_one_must_be_chosen(other):
    with pytest.raises(LayerError, match=r"returns 2 maps: .* Say which is meant: layer='block@1'"):
        meant("block", {"0": TOKENS, "1": other}, (32, 32), "first")


def test_maps_within_a_nest_are_passed_over_for_one_outside():
    nest = {"0.0": TOKENS, "0.1": TOKENS, "1": (2, 4, 8, 8)}
    assert meant("block", nest, (32, 32), "first") == "1"
    assert meant("block", {"0": (2, 5), "1": (2, 3)}, (32, 32), "first") == "0"
