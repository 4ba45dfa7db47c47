"""The token map by hand: the head read at image tokens, less earlier tokens, filtered by rank."""

from __future__ import annotations

import numpy as np
import pytest

from camcore import methods
from camcore.errors import InputError, MethodError
from camcore.methods.tokens import rank_gaussian


def test_it_is_what_is_positive_of_the_logits():
    found = methods.tokencam(np.array([[[1.0, -2.0], [0.0, 3.0]]]))
    np.testing.assert_array_equal(found, [[[1, 0], [0, 3]]])
    halves = methods.tokencam(np.array([[1, -1]], np.float16))
    assert halves.dtype == np.float32
    np.testing.assert_array_equal(halves, [[1, 0]])


def test_it_is_cam_with_the_head_of_a_language_model():
    rng = np.random.default_rng(0)
    hidden, head = rng.normal(size=(2, 5, 3, 4)), rng.normal(size=(7, 5))
    ids = [6, 2]
    logits = np.einsum("bchw,vc->bhwv", hidden, head)
    read = np.stack([logits[i, ..., v] for i, v in enumerate(ids)])
    expected = np.maximum(methods.cam(hidden, head[ids]), 0)
    np.testing.assert_allclose(methods.tokencam(read), expected, rtol=1e-13, atol=1e-14)


def test_earlier_tokens_are_taken_out_by_least_squares():
    # a = (1 + 2 + 6) / (1 + 1 + 4) = 3/2: [1, 2, 3] - 3/2 [1, 1, 2] = [-1/2, 1/2, 0].
    one, earlier = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 1.0, 2.0]])
    np.testing.assert_allclose(methods.tokencam(one, less=earlier), [[0, 0.5, 0]], atol=1e-15)
    # Several are added up, each sample has a share of its own, and none where nothing is.
    both = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.0, 1.0, 0.0]])
    parts = [
        np.array([[1.0, 0, 1], [0, 0, 0], [3, 0, 0]]),
        np.array([[0.0, 1, 1], [0, 0, 0], [0] * 3]),
    ]
    expected = [[0, 0.5, 0], [4, 5, 6], [0, 1, 0]]
    np.testing.assert_allclose(methods.tokencam(both, less=parts), expected, atol=1e-15)
    # What is negative of the logits has no part in it.
    shifted = np.array([[1.0, 2.0, 3.0, -9.0]])
    found = methods.tokencam(shifted, less=[np.array([[1.0, 1.0, 2.0, 0.0]])])
    np.testing.assert_allclose(found, [[0, 0.5, 0, 0]], atol=1e-15)


def weighted_by_rank(window):
    """The filter of one window, value by value."""
    values = sorted(window)
    mean = sum(values) / len(values)
    if mean == 0:
        return 0.0
    deviation = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
    sigma = deviation / mean
    half = len(values) // 2
    if sigma == 0:
        return values[half]
    weights = [np.exp(-((k - half) ** 2) / (2 * sigma**2)) for k in range(len(values))]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def test_the_filter_weighs_a_window_by_rank():
    rng = np.random.default_rng(0)
    maps = np.maximum(rng.normal(size=(2, 4, 5)), 0)
    maps[1, :3, :3] = 2.5
    around = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    expected = [
        [[weighted_by_rank(one[i : i + 3, j : j + 3].ravel()) for j in range(5)] for i in range(4)]
        for one in around
    ]
    np.testing.assert_allclose(rank_gaussian(maps), expected, rtol=1e-13)
    np.testing.assert_array_equal(methods.tokencam(maps, smooth=True), rank_gaussian(maps))
    # Nine values 0 but one: σ = √8, the largest at rank 4, weighed by e^-1 among e^-k²/16.
    alone = np.zeros((1, 5, 5))
    alone[0, 2, 2] = 1
    share = np.exp(-1) / np.exp(-(np.arange(-4.0, 5) ** 2) / 16).sum()
    np.testing.assert_allclose(
        rank_gaussian(alone)[0, 1:4, 1:4], np.full((3, 3), share), rtol=1e-13
    )


@pytest.mark.parametrize("value", [0.0, 3.0, 1e-30, 1e30])
def test_the_filter_leaves_what_is_alike_everywhere(value):
    maps = np.full((1, 4, 4), value, np.float32)
    np.testing.assert_array_equal(rank_gaussian(maps), maps)


def test_the_filter_sees_each_frame_alone_and_any_rank():
    rng = np.random.default_rng(1)
    clip = rng.random((2, 3, 4, 4))
    frames = np.stack([rank_gaussian(clip[:, t]) for t in range(3)], axis=1)
    np.testing.assert_array_equal(rank_gaussian(clip), frames)
    row = rng.random((1, 6))
    around = np.pad(row[0], 1, mode="reflect")
    expected = [[weighted_by_rank(around[i : i + 3]) for i in range(6)]]
    np.testing.assert_allclose(rank_gaussian(row), expected, rtol=1e-13)


def test_the_scale_of_a_map_does_not_matter_to_the_filter():
    maps = np.random.default_rng(2).random((1, 6, 7))
    np.testing.assert_allclose(rank_gaussian(maps * 1024), rank_gaussian(maps) * 1024, rtol=1e-13)


@pytest.mark.parametrize("logits", [np.zeros(4), np.zeros((2, 0)), np.float32(1)])
def test_what_is_no_grid_of_logits_is_refused(logits):
    with pytest.raises(InputError, match="token_logits must be real numbers"):
        methods.tokencam(logits)


def test_maps_of_other_tokens_are_of_the_same_grid():
    with pytest.raises(InputError, match=r"less= holds a map of shape \(1, 3\), and this one is"):
        methods.tokencam(np.ones((1, 4)), less=[np.ones((1, 4)), np.ones((1, 3))])
    with pytest.raises(InputError, match="less"):
        methods.tokencam(np.ones((1, 4)), less=np.full((1, 4), np.nan))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("ODAM", "method='hirescam' with target=camcore.targets.Box"),
        ("D-RISE", "method='rise', cells=16, with target=camcore.targets.Box"),
        ("Seg-Grad-CAM", r"method='gradcam' with target=camcore.targets.Segmentation\(class, mask"),
        ("seg_hires_cam", "method='hirescam' with target=camcore.targets.Segmentation"),
        ("TAM", r"method='tokencam', less=\[maps of earlier tokens\], smooth=True, with target="),
        ("Token Activation Map", "method='tokencam'"),
        ("Chefer", "method='relevancy'"),
        ("vit-explain", "method='rollout'"),
        ("ViT-Recipro-CAM", "method='reciprocam', smooth=True"),
        ("SESS", r"any method, with augment=camcore.augment.crops\(\)"),
        ("expected gradients", "method='gradientshap', baseline=images"),
        ("LRP", "method='saliency', signed=True within"),
        ("Relevance-CAM", "method='gradcam' within"),
    ],
)
def test_what_has_another_name_here_is_answered_with_the_call_that_does_it(name, call):
    with pytest.raises(MethodError, match=rf"is no method of its own here. It is {call}"):
        methods.find(name)
