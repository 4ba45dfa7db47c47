"""Whatever the layout, the core sees ``(B, C, *S)`` and can put it back."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.adapter import Layer, LayerRecord
from camcore.errors import LayerError
from camcore.layers.layout import (
    Layout,
    axis_moved,
    axis_of_one,
    infer,
    keys_on_grid,
    relates_channels,
    shape_of_one,
)

FIRST, LAST = Layout("channels_first"), Layout("channels_last")
SQUARE, WIDE = (224, 224), (224, 448)


@pytest.mark.parametrize(
    ("shape", "channels", "size", "found"),
    [
        # The framework says it.
        ((2, 64, 7, 7), "first", SQUARE, FIRST),
        ((2, 7, 7, 64), "last", SQUARE, LAST),
        ((2, 7, 7, 7), "last", SQUARE, LAST),
        ((2, 64, 25), "first", (100,), FIRST),
        ((2, 25, 64), "last", (100,), LAST),
        ((2, 4, 4, 4, 8), "last", (16, 16, 16), LAST),
        # It is seen from the shape: Swin's maps, and ordinary ones.
        ((2, 7, 7, 768), None, SQUARE, LAST),
        ((2, 56, 56, 96), None, SQUARE, LAST),
        ((2, 7, 14, 768), None, WIDE, LAST),
        ((2, 768, 7, 7), None, SQUARE, FIRST),
        ((2, 768, 7, 14), None, WIDE, FIRST),
        ((2, 64, 4, 4, 4), None, (16, 16, 16), FIRST),
        ((2, 4, 4, 4, 64), None, (16, 16, 16), LAST),
        # Nothing to tell by.
        ((2, 14, 14, 14), None, SQUARE, FIRST),
        ((2, 64, 25), None, (100,), FIRST),
        ((2, 12, 40), None, (), FIRST),
        # ViT: class token, distillation token, registers, none at all.
        ((2, 197, 768), None, SQUARE, Layout("tokens", (14, 14), 1)),
        ((2, 198, 192), None, SQUARE, Layout("tokens", (14, 14), 2)),
        ((2, 201, 384), None, SQUARE, Layout("tokens", (14, 14), 5)),
        ((2, 261, 384), None, SQUARE, Layout("tokens", (16, 16), 5)),
        ((2, 1374, 384), None, (518, 518), Layout("tokens", (37, 37), 5)),
        ((2, 49, 512), None, SQUARE, Layout("tokens", (7, 7), 0)),
        ((2, 197, 768), "last", SQUARE, Layout("tokens", (14, 14), 1)),
        # An input that is no square, and one that patches do not fill.
        ((2, 393, 768), None, WIDE, Layout("tokens", (14, 28), 1)),
        ((2, 393, 768), None, WIDE[::-1], Layout("tokens", (28, 14), 1)),
        ((2, 397, 768), None, WIDE, Layout("tokens", (14, 28), 5)),
        ((2, 197, 768), None, (230, 230), Layout("tokens", (14, 14), 1)),
        ((2, 65, 64), None, (8, 8, 8), Layout("tokens", (4, 4, 4), 1)),
    ],
)
def test_the_layout_is_seen_from_the_shape(shape, channels, size, found):
    assert infer(shape, channels, size) == found


@pytest.mark.parametrize(
    ("shape", "size", "found"),
    [
        # A signal could be laid out either way.
        ((2, 64, 6), (64,), LAST),
        ((2, 32, 64), (64,), LAST),
        ((2, 14, 14, 14), SQUARE, LAST),
        ((2, 12, 40), (), LAST),
        # What the shape shows comes first.
        ((2, 768, 7, 7), SQUARE, FIRST),
        ((2, 16, 100), (100,), LAST),
        ((2, 128, 50), (100,), FIRST),
    ],
)
def test_ambiguous_shapes_follow_the_model(shape, size, found):
    assert infer(shape, None, size, convention="last") == found


@pytest.mark.parametrize(
    ("shape", "channels", "found"),
    [
        ((5, 2, 64, 7, 7), "first", Layout("channels_first", batch=1)),
        ((5, 2, 7, 7, 64), None, Layout("channels_last", batch=1)),
        ((5, 2, 8), "first", Layout("channels_last", batch=1)),
    ],
)
def test_what_is_worked_out_keeps_the_axis_of_the_batch(shape, channels, found):
    assert infer(shape, channels, (16,) if len(shape) == 3 else (56, 56), batch=1) == found


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((1, 197, 768), 0), ((197, 1, 768), 1), ((7, 7, 1, 64), 2), ((1, 1, 64), 0), ((4, 9, 64), 0)],
)
def test_a_batch_of_one_is_where_an_axis_is_one_long(shape, axis):
    assert axis_of_one(shape) == axis


@pytest.mark.parametrize(
    ("of_one", "of_batch", "axis"),
    [
        ((1, 197, 8), (3, 197, 8), 0),
        ((197, 1, 8), (197, 3, 8), 1),
        ((4, 8), (12, 8), 0),  # four rows a sample
        ((197, 1, 8), (197, 1, 8), 1),  # a batch of one
        ((5, 8), (5, 8), 0),
    ],
)
def test_the_batch_is_where_a_layers_output_grows(of_one, of_batch, axis):
    assert axis_moved(of_one, of_batch) == axis


@pytest.mark.parametrize(
    ("wanted", "shape", "found"),
    [
        (FIRST, (2, 14, 14, 14), FIRST),
        (LAST, (2, 14, 14, 14), LAST),
        (Layout("tokens", (7, 28)), (2, 197, 8), Layout("tokens", (7, 28), 1)),
        (Layout("tokens", (14, 14), 0), (2, 197, 8), Layout("tokens", (14, 14), 0)),
        (Layout("tokens", prefix=1), (2, 197, 8), Layout("tokens", (14, 14), 1)),
        (Layout("tokens", (10, 10)), (2, 120, 8), Layout("tokens", (10, 10), 20)),
        (Layout("tokens"), (2, 201, 8), Layout("tokens", (14, 14), 5)),
        (Layout("tokens", (14, 14), suffix=4), (2, 201, 8), Layout("tokens", (14, 14), 1)),
        (Layout("tokens", prefix=1, suffix=4), (2, 201, 8), Layout("tokens", (14, 14), 1)),
        (Layout("tokens", suffix=4), (2, 200, 8), Layout("tokens", (14, 14), 0)),
        (Layout("tokens", batch=1), (197, 2, 8), Layout("tokens", (14, 14), 1, batch=1)),
        (Layout("channels_last", batch=1), (5, 2, 9, 8), Layout("channels_last", batch=1)),
        (Layout("channels_first", batch=0), (5, 2, 9, 8), FIRST),
    ],
)
def test_given_layout_is_completed_not_replaced(wanted, shape, found):
    assert infer(shape, None, SQUARE, wanted) == found


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (FIRST, (2, 3, 4, 5)),
        (LAST, (2, 4, 5, 3)),
        (LAST, (2, 4, 3)),
        (LAST, (2, 4, 5, 6, 3)),
        (Layout("tokens", (4, 5), 1), (2, 21, 3)),
        (Layout("tokens", (4, 5), 0), (2, 20, 3)),
        (Layout("tokens", (2, 3), 2), (2, 12, 3)),
        (Layout("tokens", (2, 3), 1, suffix=5), (2, 12, 3)),
        (Layout("tokens", (2, 3), 2, batch=1), (12, 2, 3)),
        (Layout("channels_first", batch=1), (4, 2, 3)),
        (Layout("channels_first", batch=1), (4, 2, 3, 5, 6)),
        (Layout("channels_last", batch=1), (4, 2, 5, 6, 3)),
        (Layout("channels_last", batch=2), (4, 5, 2, 3)),
    ],
)
def test_native_undoes_canonical(layout, shape):
    native = np.random.default_rng(0).normal(size=shape)
    native.setflags(write=False)
    canonical = layout.canonical(native)
    assert canonical.shape[:2] == (2, 3)
    one = layout.sample(native, 0)
    np.testing.assert_array_equal(layout.native(canonical[:1], one), one)
    if layout.kind != "tokens":
        assert layout.size(shape) == canonical.shape[2:]


def test_time_steps_before_the_batch_become_places():
    native = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    first = Layout("channels_first", batch=1).canonical(native)
    last = Layout("channels_last", batch=1).canonical(native)
    assert first[2, 3, 1, 4] == last[2, 4, 1, 3] == native[1, 2, 3, 4]


def test_tokens_become_rows_and_columns():
    tokens = np.arange(7.0)[None, :, None] * [1, 10]  # one prefix token, six patches
    canonical = Layout("tokens", (2, 3), 1).canonical(tokens)
    np.testing.assert_array_equal(canonical[0, 0], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(canonical[0, 1], [[10, 20, 30], [40, 50, 60]])


def test_channels_last_is_turned_without_a_copy():
    native = np.arange(24.0).reshape(1, 3, 4, 2)
    canonical = LAST.canonical(native)
    assert canonical[0, 1, 2, 3] == native[0, 2, 3, 1]
    assert np.shares_memory(canonical, native)


def test_altered_patches_keep_the_prefix_tokens():
    layout = Layout("tokens", (1, 2), 1)
    own = np.array([[[9.0], [1.0], [2.0]]])
    altered = np.array([[[[5.0, 6.0]]], [[[7.0, 8.0]]]])
    np.testing.assert_array_equal(layout.native(altered, own), [[[9], [5], [6]], [[9], [7], [8]]])
    np.testing.assert_array_equal(own, [[[9], [1], [2]]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((2, 1000), None, SQUARE), r"output \(2, 1000\) has no spatial extent.*earlier layer"),
        (((2, 1000), None, SQUARE, LAST), "has no spatial extent"),
        (((2, 230, 8), None, SQUARE), r"returns 230 tokens.*Layout\('tokens', grid="),
        (((2, 197, 8), None, (), Layout("tokens")), "197 tokens, which no patch grid over"),
        (((2, 197, 8), None, SQUARE, Layout("tokens", prefix=3)), "returns 197 tokens"),
        (
            ((2, 197, 8), None, SQUARE, Layout("tokens", (20, 20))),
            r"grid of \(20, 20\) with -203 prefix tokens does not fit the layer's 197",
        ),
        (
            ((2, 197, 8), None, SQUARE, Layout("tokens", (14, 14), 5)),
            r"grid of \(14, 14\) with 5 prefix tokens does not fit",
        ),
        (
            ((2, 197, 8), None, SQUARE, Layout("tokens", (14, 14), suffix=2)),
            r"grid of \(14, 14\) with -1 prefix tokens and 2 suffix tokens does not fit",
        ),
        (
            ((2, 197, 8), None, SQUARE, Layout("channels_last", batch=3)),
            r"batch=3.*\(2, 197, 8\)",
        ),
        (
            ((2, 8, 7, 7), None, SQUARE, Layout("tokens")),
            r"Tokens are \(batch, tokens, channels\); the layer's output is \(2, 8, 7, 7\)",
        ),
    ],
)
def test_shapes_without_layout_are_refused(arguments, message):
    with pytest.raises(LayerError, match=message):
        infer(*arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layout("nhwc"), "Unknown layout 'nhwc'; expected 'channels_first'"),
        (lambda: Layout("tokens", (0, 5)), r"positive lengths.*grid=\(0, 5\)"),
        (lambda: Layout("tokens", ()), r"positive lengths.*grid=\(\)"),
        (lambda: Layout("tokens", prefix=-1), "prefix is not negative.*prefix=-1"),
        (lambda: Layout("tokens", suffix=-1), "not negative; got suffix=-1, batch=None"),
        (lambda: Layout("tokens", batch=-2), "not negative; got suffix=None, batch=-2"),
    ],
)
def test_an_impossible_layout_is_refused(make, message):
    with pytest.raises(LayerError, match=message):
        make()


@pytest.mark.parametrize(
    ("shape", "attention", "between_channels"),
    [
        ((1, 196, 128), (1, 4, 196, 196), False),
        ((1, 196, 128), (1, 4, 32, 32), True),
        ((1, 196, 128), (4, 32, 32), True),
        ((1, 196, 128), (1, 1, 128, 128), True),
        ((1, 64, 14, 14), (1, 64, 64), True),
        ((1, 64, 14, 14), (1, 196, 196), False),
        ((1, 14, 14, 64), (1, 2, 32, 32), True),
        ((1, 1, 128), (1, 4, 1, 197), False),  # a class token attends to patches
        ((1, 128), (1, 4, 32, 32), False),
        ((1, 196, 128), (1, 4, 196, 49), False),  # keys reduced, as PVT does
        ((64, 49, 96), (64, 3, 49, 49), False),  # windows
    ],
)
def test_attention_between_channels_is_told_from_attention_between_places(
    shape, attention, between_channels
):
    attends = LayerRecord(Layer("attn", "Attention", None), shape, None, attention=attention)
    assert relates_channels(attends) is between_channels


@pytest.mark.parametrize(
    ("wanted", "first", "grid"),
    [
        (None, 0, (3, 4)),  # of the input's shape, nothing before it
        (Layout("tokens"), 0, (3, 4)),
        (Layout("tokens", grid=(2, 5), prefix=2), 2, (2, 5)),
        (Layout("tokens", grid=(2, 6)), 0, (2, 6)),
        (Layout("tokens", prefix=0), 0, (3, 4)),
        (Layout("channels_last"), 0, (3, 4)),  # says nothing of keys
    ],
)
@pytest.mark.parametrize("folded", [False, True], ids=["apart", "heads in the batch"])
def test_keys_of_attention_lie_where_the_user_says(wanted, first, grid, folded):
    attention = np.random.default_rng(0).normal(size=(2, 3, 12, 12))
    given = attention.reshape(6, 12, 12) if folded else attention
    found = keys_on_grid(given, 2, (30, 40), wanted)
    keys = np.prod(grid)
    expected = attention[..., first : first + keys].reshape(2, 3, 12, *grid)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 8, 5, 5), (1, 8, 5, 5)),
        ((5, 3, 8), (5, 1, 8)),
        ((12, 8, 5, 5), (4, 8, 5, 5)),  # four frames a sample
        ((7, 8), (7, 8)),
        ((), ()),
    ],
)
def test_the_shape_for_one_sample_is_read_off_that_for_three(shape, expected):
    assert shape_of_one(shape, 3) == expected
