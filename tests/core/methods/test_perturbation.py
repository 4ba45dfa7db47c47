"""Methods that alter the input or the activations: how often, how many at once, how exactly."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.errors import MethodError
from camcore.methods.masking import Masking
from camcore.testing import random_network

RNG = np.random.default_rng(0)


IMAGES = RNG.normal(size=(2, 3, 6, 6))


ACTIVATIONS = RNG.normal(size=(2, 5, 3, 3))


SCORES = np.array([2.0, -3.0])


WEIGHTS = RNG.normal(size=(3, 6, 6))


for array in (IMAGES, ACTIVATIONS, SCORES):
    array.setflags(write=False)  # whoever alters them fails


class Scorer:
    """Curved functions of images and of activations, which write down what they are given."""

    def __init__(self):
        self.seen = {0: [], 1: []}

    def __call__(self, sample, images):
        self.seen[sample].append(len(images))
        return np.tanh((images * WEIGHTS).reshape(len(images), -1).sum(axis=1) / 8)

    @contextmanager
    def resume(self, sample):
        def score(activations):
            self.seen[sample].append(len(activations))
            return np.tanh((activations * np.arange(9).reshape(3, 3)).sum(axis=(1, 2, 3)) / 9)

        yield score


MASKING = {
    "scorecam": (methods.scorecam, {}),
    "fasterscorecam": (methods.scorecam, {"channels": 3}),
    "sscam": (methods.sscam, {"samples": 2}),
    "iscam": (methods.iscam, {"steps": 3}),
}


# How many alterations of an image: 5 channels, the 3 that vary most, 5 in each of 2 draws,
# 5 in each of 3 steps, 5 channels, 3 x 3 positions, 3 x 3 windows, 11 masks, 2 masks and
# those with another draw for each of 3 x 3 cells, 11 masks; and how many of a kind.
ALTERATIONS = {
    "scorecam": (5, 5),
    "fasterscorecam": (3, 3),
    "sscam": (10, 5),
    "iscam": (15, 5),
    "ablationcam": (5, 5),
    "reciprocam": (9, 9),
    "occlusion": (9, 9),
    "rise": (11, 11),
    "sobol": (20, 20),
    "hsic": (11, 11),
}


def call(name, scorer, of=slice(None), activations=ACTIVATIONS, **options):
    """A method by name, on the samples that are meant."""
    images, scores, activations = IMAGES[of], SCORES[of], activations[of]
    if name in MASKING:
        function, fixed = MASKING[name]
        return function(activations, images, scorer, **fixed, **options)
    if name == "ablationcam":
        return methods.ablationcam(activations, scores, scorer.resume, **options)
    if name == "reciprocam":
        return methods.reciprocam(activations, scorer.resume, **options)
    if name == "occlusion":
        return methods.occlusion(images, scores, scorer, window=2, stride=2, **options)
    if name == "sobol":
        return methods.sobol(images, scorer, designs=2, cells=3, **options)
    return getattr(methods, name)(images, scorer, masks=11, cells=3, **options)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
@pytest.mark.parametrize("name", ALTERATIONS)
def test_no_more_than_the_batch_size_is_scored_at_once(name, batch_size):
    scorer = Scorer()
    maps = call(name, scorer, batch_size=batch_size)
    total, alike = ALTERATIONS[name]
    for sizes in scorer.seen.values():
        assert sum(sizes) == total
        assert max(sizes) == min(batch_size, alike)
        assert len(sizes) == total // alike * -(-alike // batch_size)
    # Neither the scores nor the noise depend on it.
    np.testing.assert_allclose(maps, call(name, Scorer()), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ALTERATIONS)
def test_a_sample_has_the_same_map_alone_as_in_a_batch(name):
    together = call(name, Scorer())
    for sample in range(2):
        alone = call(name, Scorer(), of=slice(sample, sample + 1))
        np.testing.assert_allclose(together[sample], alone[0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ablation_keeps_the_activations_precision(dtype):
    found = call("ablationcam", Scorer(), activations=ACTIVATIONS.astype(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, call("ablationcam", Scorer()), rtol=1e-4)


@pytest.mark.parametrize("name", ["sscam", "rise"])
def test_the_seed_alone_decides_the_noise(name):
    again, other = (call(name, Scorer(), seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(again, call(name, Scorer()))
    assert np.abs(other - again).max() > 1e-3


@pytest.mark.parametrize("name", MASKING)
def test_channels_that_do_not_vary_are_not_scored(name):
    flat = ACTIVATIONS.copy()
    flat[0, 1] = 0.5
    flat[1] = np.arange(5).reshape(5, 1, 1)
    scorer = Scorer()
    maps = call(name, scorer, activations=flat)
    total, alike = ALTERATIONS[name]
    assert sum(scorer.seen[0]) == total // alike * min(4, alike)
    assert scorer.seen[1] == []
    np.testing.assert_array_equal(maps[1], np.zeros((3, 3)))
    # The rest is as if the channel were not there.
    without = call(name, Scorer(), of=slice(0, 1), activations=np.delete(flat, 1, axis=1))
    if name != "sscam":  # whose noise belongs to the channel's number
        np.testing.assert_allclose(maps[:1], without, rtol=1e-12)


def test_a_convention_may_score_channels_that_do_not_vary():
    flat = np.ones((2, 5, 3, 3))
    scorer = Scorer()
    maps = call("scorecam", scorer, activations=flat, masking=Masking(constant=True))
    assert scorer.seen == {0: [5], 1: [5]}
    np.testing.assert_allclose(maps, np.ones((2, 3, 3)), rtol=1e-14)


def test_channels_that_are_zero_are_not_ablated():
    dead = ACTIVATIONS.copy()
    dead[0, [1, 3]] = 0
    dead[1] = 0
    scorer = Scorer()
    maps = call("ablationcam", scorer, activations=dead)
    assert scorer.seen == {0: [3], 1: []}
    np.testing.assert_array_equal(maps[1], np.zeros((3, 3)))


def test_ablation_puts_every_channel_back():
    given = []

    @contextmanager
    def resume(sample):
        def score(activations):
            given.append(activations.copy())
            return np.zeros(len(activations))

        yield score

    methods.ablationcam(ACTIVATIONS[:1], SCORES[:1], resume, batch_size=2)
    for channel, altered in enumerate(np.concatenate(given)):
        expected = ACTIVATIONS[0].copy()
        expected[channel] = 0
        np.testing.assert_array_equal(altered, expected)


def test_ablation_of_a_score_of_zero_is_a_map_of_zeros():
    maps = methods.ablationcam(ACTIVATIONS, np.zeros(2), Scorer().resume)
    np.testing.assert_array_equal(maps, np.zeros((2, 3, 3)))


def test_faster_scorecam_takes_the_channels_of_largest_variance():
    order = np.argsort(-ACTIVATIONS.reshape(2, 5, 9).var(axis=2), axis=1)
    maps = call("fasterscorecam", Scorer())
    for sample in range(2):
        best = np.sort(order[sample, :3])
        alone = methods.scorecam(
            ACTIVATIONS[sample : sample + 1, best], IMAGES[sample : sample + 1], Scorer()
        )
        np.testing.assert_allclose(maps[sample], alone[0], rtol=1e-12)


def test_occlusion_averages_over_the_windows_that_cover_a_position():
    # The score is the sum. Windows of 2, one step apart: blanking the first two positions
    # costs 1 + 2, the next 2 + 4, the last 4 + 8; inside, two windows are averaged.
    line = np.array([[[1.0, 2.0, 4.0, 8.0]]])
    options = {"window": 2, "stride": 1}
    maps = methods.occlusion(line, np.array([15.0]), lambda _, x: x.sum((1, 2)), **options)
    np.testing.assert_array_equal(maps, [[3, (3 + 6) / 2, (6 + 12) / 2, 12]])
    # Filled with 1 a window costs 2 less.
    maps = methods.occlusion(
        line, np.array([15.0]), lambda _, x: x.sum((1, 2)), **options, baseline=1
    )
    np.testing.assert_array_equal(maps, [[1, (1 + 4) / 2, (4 + 10) / 2, 10]])


@pytest.mark.parametrize(
    ("edge", "expected"),
    # Windows of 3 at 0 and 2 over five positions cover the third twice; at 0 and 3, cut
    # short, none.
    [("shift", [7, 7, 35 / 2, 28, 28]), ("cut", [7, 7, 7, 24, 24])],
)
def test_the_last_window_is_moved_back_or_cut_short(edge, expected):
    line = 2.0 ** np.arange(5).reshape(1, 1, 5)
    maps = methods.occlusion(
        line, np.array([31.0]), lambda _, x: x.sum((1, 2)), window=3, stride=3, edge=edge
    )
    np.testing.assert_array_equal(maps, [expected])


def test_a_window_larger_than_the_image_blanks_all_of_it():
    maps = methods.occlusion(IMAGES[:1], SCORES[:1], lambda *_: np.zeros(1), window=99)
    np.testing.assert_array_equal(maps, np.full((1, 6, 6), 2))


def test_rise_sums_masks_by_their_scores():
    # Two cells a side of one position each; drawn with seed 2, those kept are
    # [[1, 1], [0, 1]] and [[0, 0], [1, 1]]. Enlarged to 3 x 3, the first two rows and
    # columns of the grid g are R g R', R = [[1, 0], [1/2, 1/2]].
    rng = np.random.default_rng(2)
    for kept in ([[1, 1], [0, 1]], [[0, 0], [1, 1]]):
        np.testing.assert_array_equal(rng.random((2, 2)) < 0.5, kept)
        rng.integers(1, size=2)
    # Masks [[1, 1], [1/2, 3/4]] and [[0, 0], [1/2, 1/2]]; scores, the sums of images of
    # ones, 13/4 and 1; divided by N p = 1.
    maps = methods.rise(
        np.ones((1, 1, 2, 2)), lambda _, x: x.sum((1, 2, 3)), masks=2, cells=2, seed=2
    )
    expected = [[13 / 4, 13 / 4], [13 / 8 + 1 / 2, 39 / 16 + 1 / 2]]
    np.testing.assert_allclose(maps, [expected], rtol=1e-14)


@pytest.mark.parametrize(("seed", "mask"), [(8, [1, 1, 2 / 3, 1 / 3]), (18, [1, 2 / 3, 1 / 3, 0])])
def test_rise_shifts_its_masks_by_less_than_a_cell(seed, mask):
    # Two cells of two positions, the first kept: enlarged to six positions they are
    # [1, 1, 2/3, 1/3, 0, 0], of which four are taken from the first or the second on.
    maps = methods.rise(np.ones((1, 1, 4)), lambda *_: np.ones(1), masks=1, cells=2, seed=seed)
    np.testing.assert_allclose(maps, [2 * np.array(mask)], rtol=1e-14, atol=1e-15)


def test_rise_masks_keep_the_probability_on_average():
    # Where the score is 1 throughout, the map is the masks' mean over p.
    maps = methods.rise(
        np.ones((1, 1, 9, 9)), lambda _, x: np.ones(len(x)), masks=4000, cells=3, keep=0.3
    )
    # A position's standard error is at most sqrt(p (1 - p) / N) / p = 0.024.
    np.testing.assert_allclose(maps, np.ones((1, 9, 9)), atol=0.1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        *((name, {"batch_size": 0}, "batch_size=0; it must be at least 1") for name in ALTERATIONS),
        ("scorecam", {"channels": 0}, "channels=0; it must be at least 1"),
        ("sscam", {"sigma": -0.1}, "sigma=-0.1; it must be finite and at least 0"),
        ("sscam", {"sigma": np.nan}, "sigma=nan; it must be finite"),
        ("occlusion", {"edge": "wrap"}, "edge='wrap'; expected 'shift' or 'cut'"),
        ("rise", {"keep": 0}, r"keep=0; the probability of keeping a cell is in \(0, 1\]"),
        ("rise", {"keep": 1.5}, r"keep=1.5; the probability"),
    ],
)
def test_options_out_of_range_are_named(name, options, message):
    scorer = Scorer()
    with pytest.raises(MethodError, match=message):
        call(name, scorer, **options)
    assert scorer.seen == {0: [], 1: []}


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (methods.sscam, {"samples": 0}),
        (methods.iscam, {"steps": 0}),
        (methods.rise, {"masks": 0}),
        (methods.rise, {"cells": 0}),
        (methods.occlusion, {"window": 0}),
        (methods.occlusion, {"stride": 0}),
    ],
)
def test_counts_below_one_are_named(function, options):
    arguments = {methods.rise: (IMAGES,), methods.occlusion: (IMAGES, SCORES)}
    given = arguments.get(function, (ACTIVATIONS, IMAGES))
    ((option, value),) = options.items()
    with pytest.raises(MethodError, match=f"{option}={value}; it must be at least 1"):
        function(*given, Scorer(), **options)


NETWORK = random_network()


PHOTOS = np.random.default_rng(1).normal(size=(2, 2, 8, 8))


def native(outputs):
    """A score in the model's own framework: here with its derivative."""
    return 2 * outputs[:, 3], 2 * np.eye(outputs.shape[1])[[3] * len(outputs)]


@pytest.mark.parametrize("name", ["scorecam", "iscam", "occlusion", "rise", "sobol", "smoothgrad"])
def test_native_callables_score_altered_inputs(name):
    few = {"masks": 8, "designs": 2, "cells": 3, "window": 4, "steps": 2, "samples": 2}
    options = {k: v for k, v in few.items() if k in methods.find(name).takes()}
    found = camcore.explain(NETWORK, PHOTOS, native, "relu2", name, **options)
    expected = camcore.explain(
        NETWORK, PHOTOS, 2 * camcore.targets.Class(3), "relu2", name, **options
    )
    for layer, raw in expected.raw.items():
        np.testing.assert_allclose(found.raw[layer], raw, rtol=1e-12)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "ablationcam",
            "Outputs for altered .* the native callable <function native.*. Give a class",
        ),
        ("cam", "a target's cotangent, which a native callable does not give. Give a class"),
        ("shapleycam", "ShapleyCAM needs a target that is linear.*; got NativeScore"),
        ("counterfactual", "Negate a native callable yourself"),
        ("finercam", "FinerCAM contrasts a class with its nearest ones; got NativeScore"),
    ],
)
def test_ablationcam_refuses_native_callables(method, message):
    with pytest.raises(MethodError, match=message):
        camcore.explain(NETWORK, PHOTOS, native, "relu2", method)


def test_occlusion_cuts_the_last_window():
    images = np.ones((1, 1, 5))

    def score(_, x):
        return x.sum(axis=(1, 2))

    cut = methods.occlusion(images, np.array([5.0]), score, window=2, stride=2, edge="cut")
    np.testing.assert_allclose(cut, [[2, 2, 2, 2, 1]])
    shifted = methods.occlusion(images, np.array([5.0]), score, window=2, stride=2)
    np.testing.assert_allclose(shifted, [[2, 2, 2, 2, 2]])
    with pytest.raises(MethodError, match="edge='wrap'"):
        methods.occlusion(images, np.array([5.0]), score, edge="wrap")
