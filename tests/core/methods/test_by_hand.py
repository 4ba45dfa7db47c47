"""Every row of the table, from the model to the signed map, against figures made on paper."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.errors import MethodError
from camcore.methods.gradient import Base
from camcore.testing import Conv, Dense, Flatten, GlobalAveragePool, NumpyAdapter, ReLU

X = np.array([[[[0.0, 1.0], [2.0, 3.0]], [[3.0, 0.0], [0.0, 2.0]]]])
# The convolution adds 1 to the first channel and -1 to the second:
#   z1 = [[1, 2], [3, 4]]    z2 = [[2, -1], [-1, 1]]
#   A1 = [[1, 2], [3, 4]]    A2 = [[2, 0], [0, 1]]       after the rectifier
# y = sum G A + 6 = (2 - 2 + 6 + 4) + (-2 + 0 + 0 - 4) + 6 = 10 for class 0.
#   G1 = [[2, -1], [2, 1]]   G2 = [[-1, 2], [-1, -4]]    means 1 and -1
# Past the rectifier G2 is g2 = [[-1, 0], [0, -4]].
CONV = Conv(np.eye(2)[:, :, None, None], np.array([1.0, -1.0]))
ROWS = [[2, -1, 2, 1, -1, 2, -1, -4], [-5] * 4 + [0] * 4, [0] * 4 + [5] * 4, [0] * 8]
NETWORK = NumpyAdapter(
    conv=CONV, relu=ReLU(), flat=Flatten(), fc=Dense(np.array(ROWS, float), np.eye(4)[0] * 6)
)
POOLED = NumpyAdapter(
    conv=CONV, relu=ReLU(), pool=GlobalAveragePool(), fc=Dense(np.array([[2.0, -1.0]]), np.ones(1))
)


def mixed(difference):
    """A1 and A2 weighted by the softmax of two scores that differ by so much."""
    w = 1 / (1 + np.exp(-difference))
    return [[w + 2 * (1 - w), 2 * w], [3 * w, 4 * w + (1 - w)]]


S = (128 / 545) ** 2
"""Of a blur in two axes, whose weights halve over one position: 1, 1/2, 1/16 and 1/512."""

BY_HAND = {
    # A1 - A2
    "gradcam": [[-1, 2], [3, 3]],
    "counterfactual": [[1, -2], [-3, -3]],
    # Against all others, each with weight 0.2: means 1 + 0.2 * 5 and -1 - 0.2 * 5.
    "finercam": [[-2, 4], [6, 6]],
    # The network is piecewise linear.
    "shapleycam": [[-1, 2], [3, 3]],
    # w1 = 2 / (2 + 10 * 2) + 2 / 22 + 1 / 12 = 35/132, w2 = 2 / (2 + 3 * 2) = 33/132
    "gradcampp": [[101 / 132, 70 / 132], [105 / 132, 173 / 132]],
    # The noise is too small to reach a kink.
    "smoothgradcampp": [[101 / 132, 70 / 132], [105 / 132, 173 / 132]],
    # w1 = 10 / 10, w2 = -6 / 3
    "xgradcam": [[-3, 2], [3, 2]],
    # G1 A1 = [[2, -2], [6, 4]], G2 A2 = [[-2, 0], [0, -4]]
    "hirescam": [[0, -2], [6, 0]],
    "elementwisegradcam": [[2, 0], [6, 4]],
    "layercam": [[2, 0], [6, 4]],
    # The largest gradients of the one window are 2 and 2.
    "segxrescam": [[6, 4], [6, 10]],
    # Of the centred channels [-1.5, -0.5, 0.5, 1.5] and [1.25, -0.75, -0.75, 0.25] the
    # scatter is [[5, -1.5], [-1.5, 2.75]]: largest eigenvalue 5.75, vector (2, -1) / sqrt 5.
    "eigencam": np.array([[-4.25, -0.25], [1.75, 2.75]]) / np.sqrt(5),
    # Of G A, centred [-0.5, -4.5, 3.5, 1.5] and [-0.5, 1.5, 1.5, -2.5], it is
    # [[35, -5], [-5, 11]]: largest eigenvalue 36, vector (5, -1) / sqrt 26.
    "eigengradcam": np.array([[-2, -24], [16, 10]]) / np.sqrt(26),
    # Of |G| A, [2, 2, 6, 4] and [2, 0, 0, 4], centred [-1.5, -1.5, 2.5, 0.5] and
    # [0.5, -1.5, -1.5, 2.5], it is [[11, -1], [-1, 11]]: largest eigenvalue 12, vector
    # (1, -1) / sqrt 2.
    "segeigencam": np.array([[-2, 0], [4, -2]]) / np.sqrt(2),
    # Of four values none exceeds the mean by more than sqrt 3 deviations.
    "fem": [[0, 0], [0, 0]],
    "activations": [[1.5, 1], [1.5, 2.5]],
    # Masks [[0, 1/3], [2/3, 1]] and [[1, 0], [0, 1/2]].
    # Under the first A1 = [[1, 4/3], [7/3, 4]], A2 = [[0, 0], [0, 1]]:
    #   y = 2 - 4/3 + 14/3 + 4 - 4 + 6 = 34/3.
    # Under the second A1 = [[1, 1], [1, 5/2]], A2 = [[2, 0], [0, 0]]:
    #   y = 2 - 1 + 2 + 5/2 - 2 + 6 = 19/2.
    "scorecam": mixed(34 / 3 - 19 / 2),
    # At half their strength A1 = [[1, 7/6], [5/3, 5/2]], A2 = 0: y = 38/3, on average 12;
    # and A1 = [[1, 1], [1, 7/4]], A2 = [[1/2, 0], [0, 0]]: y = 41/4, on average 79/8.
    "iscam": mixed(12 - 79 / 8),
    "sscam": mixed(34 / 3 - 19 / 2),
    # Variances 5/4 and 11/16: the first channel alone.
    "fasterscorecam": [[1, 2], [3, 4]],
    # Means of the gradient are 1 and -1: the first channel alone.
    "gscorecam": [[1, 2], [3, 4]],
    # Without a step the mean of the channels.
    "opticam": [[1.5, 1], [1.5, 2.5]],
    # Without the first channel y = 0, without the second 16: w = (1, -0.6).
    "ablationcam": [[-0.2, 2], [3, 3.4]],
    # G A of each position alone, and 6.
    "reciprocam": [[6, 4], [12, 6]],
    # Blanking a position gives y = 12, 11, 6 and 10 - 3 + 4.
    "occlusion": [[-2, -1], [4, -1]],
    # Every mask keeps everything.
    "rise": [[10, 10], [10, 10]],
    # The larger of |G1| and |g2|.
    "saliency": [[2, 1], [2, 4]],
    "smoothgrad": [[2, 1], [2, 4]],
    "smoothgradsq": [[4, 1], [4, 16]],
    "vargrad": [[0, 0], [0, 0]],
    # x1 G1 = [[0, -1], [4, 3]], x2 g2 = [[-3, 0], [0, -8]]
    "gradienttimesinput": [[-3, -1], [4, -5]],
    # At the nodes 0.21 and 0.79, z2 = 3t - 1 and 2t - 1 are positive once each.
    "integratedgradients": [[-1.5, -1], [4, -1]],
    # From 10 at 0, where z2 is closed, to 12.5 halfway: 2.5 [[4, 1], [4, 1]] / 10. From there,
    # where one place of z2 is open, to 10: -2.5 [[4 + 1, 1], [4, 1]] / 11.
    "idgi": [[-6 / 44, 1 / 44], [4 / 44, 1 / 44]],
    # At the places 1/4 and 3/4, z2 is [[-1/4, -1], [-1, -1/2]] and [[5/4, -1], [-1, 1/2]]: g2 is
    # on average [[-1/2, 0], [0, -2]].
    "gradientshap": [[-1.5, -1], [4, -1]],
    # x1 and x2 are 11 away. At 0 the gradients [[2, -1], [2, 1]] and 0: first x2 goes all its
    # way of 5, then of what is left of 5.5 the shares 1/8 and 3/8 of the smallest, -1 and 1. At
    # the end of x2 the rest of x1 goes.
    "guidedig": [[0, -1], [4, 3]],
    # The blur's matrix is 128 / 545 [[2, 1], [1, 2]] along either axis: x less its blur is
    # x1 - s [[9, 12], [15, 18]] and x2 - s [[14, 10], [10, 11]], which G1 and g2 weigh.
    "blurig": [[-3 - 4 * S, -1 + 12 * S], [4 - 30 * S, -5 + 26 * S]],
    # From 0: (G1 x1, x2 [[-1/2, 0], [0, -2]]); from 3: (G1 (x1 - 3), (x2 - 3) [[-1, 1], [-1/2,
    # -4]]). Their mean is [[-3, 1/2], [1, 3/2]] and [[-3/4, -3/2], [3/4, 0]]; of the larger the
    # lower row is first, then what is left of the right column, and of the upper row.
    "xrai": [[-0.75, 0.5], [1.25, 1.25]],
    # What is positive of G1, and of G2 where z2 is positive: nothing.
    "guidedbackprop": [[2, 0], [2, 1]],
    # What is positive of G1 and G2, wherever the rectifier was open.
    "deconvnet": [[2, 2], [2, 1]],
    # Guided backpropagation times the positive part of A1 - A2.
    "guidedgradcam": [[0, 0], [6, 3]],
    # |x G| / max:             [[0, 1/4], [1, 3/4]] and [[3/8, 0], [0, 1]].
    # |b G| less min, / max:   [[1, 0], [1, 0]]     and [[1/4, 0], [0, 1]].
    "fullgrad": [[1.625, 0.25], [2, 2.75]],
}
OPTIONS = {
    "smoothgradcampp": {"sigma": 0.01, "samples": 2},
    "smoothgrad": {"sigma": 0.01, "samples": 2},
    "iscam": {"steps": 2},
    "sscam": {"sigma": 0, "samples": 2},
    "fasterscorecam": {"channels": 1},
    "gscorecam": {"channels": 1},
    "opticam": {"steps": 0},
    "occlusion": {"window": 1, "stride": 1},
    "rise": {"masks": 3, "keep": 1},
    "smoothgradsq": {"sigma": 0.01, "samples": 2},
    "vargrad": {"sigma": 0.01, "samples": 2},
    "integratedgradients": {"steps": 2},
    "idgi": {"steps": 2},
    "guidedig": {"steps": 2, "max_dist": 1},
    "blurig": {"steps": 1, **dict.fromkeys(("max_sigma", "grad_step"), (2 * np.log(2)) ** -0.5)},
    "xrai": {
        "steps": 2,
        "regions": np.array([[[0, 0], [1, 1]], [[0, 1], [0, 1]], [[1, 1], [0, 0]]], bool),
        "min_pixels": 1,
    },
    "gradientshap": {"samples": 2, "places": "even"},
}
APART = {"cam", "groupcam", "kpcacam", "polycam", "random", "refinecam"}


@pytest.mark.parametrize("name", BY_HAND)
def test_equals_the_hand_computation(name):
    result = camcore.explain(NETWORK, X, 0, "relu", name, **OPTIONS.get(name, {}))
    (raw,) = result.raw.values()
    np.testing.assert_allclose(raw, [BY_HAND[name]], rtol=1e-13, atol=1e-13)
    # FinerCAM's is 10 - 0.2 * (-50 + 15 + 0).
    scores = {"counterfactual": -10, "finercam": 17}
    np.testing.assert_allclose(result.scores, [scores.get(name, 10)], rtol=1e-14)


def test_no_row_of_the_table_is_left_out():
    # These need attention, tokens or a few passes more, and have hand values in files of their own.
    apart = {"legrad", "relevancy", "rollout", "tokencam", "layerig", "dix", "sobol", "hsic"}
    assert {method.name for method in methods.TABLE} == {*BY_HAND, *APART, *apart}


def test_cam_weights_channels_by_the_head():
    # 2 A1 - A2
    raw = camcore.explain(POOLED, X, 0, "relu", "cam").raw["relu"]
    np.testing.assert_allclose(raw, [[[0, 4], [6, 7]]], rtol=1e-14, atol=1e-14)


def test_refinecam_multiplies_what_each_layer_shows():
    # At the convolution: means of G1 and g2 are 1 and -5/4, the map z1 - 5/4 z2 is
    # [[-3/2, 13/4], [17/4, 11/4]], shown [[0, 13], [17, 11]] / 17.
    # At the rectifier [[-1, 2], [3, 3]] is shown [[0, 2], [3, 3]] / 3.
    layers = ["conv", "relu"]
    maps = camcore.explain(NETWORK, X, 0, layers, "refinecam", base="gradcam").maps
    np.testing.assert_allclose(maps, [[[0, 26 / 51], [1, 11 / 17]]], rtol=1e-6)


@pytest.mark.parametrize("base", get_args(Base))
def test_refinecam_has_the_map_of_its_base_at_each_layer(base):
    layers = ["conv", "relu"]
    refined = camcore.explain(NETWORK, X, 0, layers, "refinecam", base=base).raw
    plain = camcore.explain(NETWORK, X, 0, layers, base).raw
    for layer in layers:
        np.testing.assert_array_equal(refined[layer], plain[layer])


def test_refinecam_has_no_base_that_needs_more_than_gradients():
    with pytest.raises(
        MethodError, match=r"base='scorecam'; expected 'gradcampp', .* or 'layercam"
    ):
        methods.refinecam(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), base="scorecam")


@pytest.mark.parametrize(
    ("kernel", "own", "other"),
    # A1 = A2 = [[1, 1], [3, 3]], centred -1 or 1 in both channels: products are 2 and -2.
    # Kernels a among equals and b across leave the component (-c, -c, c, c), c^2 = (a - b) / 2.
    [
        ("sigmoid", np.tanh(0.5 * 2 + 1), np.tanh(0.5 * -2 + 1)),
        ("rbf", 1, np.exp(-0.5 * 8)),
        ("linear", 2, -2),
    ],
)
def test_kpcacam_of_two_kinds_of_positions(kernel, own, other):
    images = np.array([[[[0.0, 0.0], [2.0, 2.0]], [[2.0, 2.0], [4.0, 4.0]]]])
    raw = camcore.explain(NETWORK, images, 0, "relu", "kpcacam", kernel=kernel).raw["relu"]
    c = np.sqrt((own - other) / 2)
    np.testing.assert_allclose(raw, [[[-c, -c], [c, c]]], rtol=1e-14)


def test_random_maps_are_drawn_from_their_seed():
    raw = camcore.explain(NETWORK, X, 0, "relu", "random", seed=7).raw["relu"]
    np.testing.assert_array_equal(raw, [np.random.default_rng(7).random((2, 2))])
