"""Where ids say that an image's tokens stand, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.errors import LayerError
from camcore.layers.image_tokens import check_run, on_grid, placed, stated_image_tokens
from camcore.layers.layout import Layout

IDS = np.array([[1, 9, 9, 9, 9, 9, 9, 2]])
MASK = np.ones((1, 8), np.int64)


def model(**config):
    return SimpleNamespace(config=SimpleNamespace(**config))


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (model(image_token_id=9), {9}),
        (model(image_token_index=9, video_token_id=8), {8, 9}),
        (model(image_token_id=None), set()),
        (model(vocab_size=50), set()),
        (object(), set()),
    ],
)
def test_the_configuration_says_which_ids_hold_the_place_of_image_tokens(stated, expected):
    assert stated_image_tokens(stated) == expected


def test_the_run_of_image_tokens_is_read_off_the_ids():
    # Masks and positions hold the same numbers by chance.
    given = {"attention_mask": MASK * 9, "position_ids": MASK * 9, "input_ids": IDS}
    assert placed(given, frozenset({9}), 8) == (1, 6)
    assert placed({"words.input_ids": np.repeat(IDS, 3, axis=0)}, frozenset({9, 7}), 8) == (1, 6)
    assert placed({"input_ids": IDS[:, ::-1]}, frozenset({1}), 8) == (7, 1)


@pytest.mark.parametrize(
    ("given", "ids", "count"),
    [
        ({"input_ids": IDS}, {9}, 7),  # of another layer
        ({"input_ids": IDS}, {5}, 8),
        ({"input_ids": IDS}, set(), 8),
        ({"input_ids": IDS[0]}, {9}, 8),
        ({"attention_mask": MASK}, {1}, 8),
        ({}, {9}, 8),
    ],
)
def test_nothing_is_read_off_other_arrays(given, ids, count):
    assert placed(given, frozenset(ids), count) is None


def test_what_no_one_grid_lies_over_is_refused():
    both = np.concatenate([IDS, IDS[:, ::-1]])
    with pytest.raises(LayerError, match=r"they begin at \[1\], \[1\]\)|one by one"):
        placed({"input_ids": np.concatenate([IDS, np.roll(IDS, 1)])}, frozenset({9}), 8)
    assert placed({"input_ids": both}, frozenset({9}), 8) == (1, 6)
    apart = IDS.copy()
    apart[0, 3] = 2
    with pytest.raises(LayerError, match=r"The ids have 2 runs of image tokens"):
        placed({"input_ids": apart}, frozenset({9}), 8)


def test_a_run_lies_on_the_grid_that_is_said_or_on_that_of_a_map():
    assert on_grid(1, 6, [(3, 2), (2, 3)], None) == Layout("tokens", (3, 2), 1)
    assert on_grid(1, 6, [(3, 2)], Layout("tokens", (2, 3))) == Layout("tokens", (2, 3), 1)
    assert on_grid(1, 6, [(6, 4)], None) is None
    with pytest.raises(LayerError, match=r"\(2, 2\) does not fit the 6 image tokens"):
        on_grid(1, 6, [], Layout("tokens", (2, 2)))


def test_a_grid_that_is_found_elsewhere_is_refused():
    found = Layout("tokens", (2, 3), 1)
    assert check_run(found, 1, 6) is found
    for other in (Layout("tokens", (2, 3), 0), Layout("tokens", (2, 2), 1)):
        with pytest.raises(LayerError, match="The ids have 6 image tokens from 1 on"):
            check_run(other, 1, 6)
