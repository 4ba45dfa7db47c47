"""Randomisation of parameters: by hand on 2 x 2 maps, and on networks of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.adapter import Adapter
from camcore.errors import InputError, LayerError, MethodError
from camcore.methods.noise import noisy_inputs
from camcore.metrics import edge_maps
from camcore.metrics.sanity import (
    Randomiser,
    Sanity,
    efficient_mprt,
    model_parameter_randomisation,
    permuted,
    randomiser,
    smooth_mprt,
)
from camcore.testing import random_network

IMAGES = np.random.default_rng(0).normal(size=(3, 2, 8, 8))
IMAGES.setflags(write=False)
PLAIN = ("pearson", "spearman", "absolute-spearman")


def hirescam(network):
    found = camcore.explain(network, IMAGES, [0, 1, 2], "relu2", "hirescam")
    return found.raw["relu2"]


def flat(parameters):
    return {name: [array.tolist() for array in arrays] for name, arrays in parameters.items()}


MAPS = {
    (): [[0.0, 1.0], [2.0, 3.0]],
    ("fc",): [[1.0, 0.0], [3.0, 2.0]],
    ("conv",): [[0.0, -1.0], [-2.0, -3.0]],
    ("fc", "conv"): [[3.0, 2.0], [1.0, 0.0]],
    ("conv", "fc"): [[5.0, 5.0], [5.0, 5.0]],
}
"""Of a model that is the names of its random layers: ranks' correlation with the first .6, ..."""


@pytest.mark.parametrize(
    ("order", "layers", "signed", "magnitudes"),
    [
        ("cascading", ("fc", "conv"), [0.6, -1], [0.6, -1]),
        ("independent", ("fc", "conv"), [0.6, -1], [0.6, 1]),
        ("bottom-up", ("conv", "fc"), [-1, np.nan], [1, np.nan]),
    ],
)
def test_similarities_by_hand_in_every_order(order, layers, signed, magnitudes):
    found = model_parameter_randomisation(
        lambda names: np.array([MAPS[names]] * 2),
        lambda names, seed: tuple(names),
        ["fc", "conv"],
        order=order,
        similarities=["spearman", "absolute-spearman"],
        draws=3,
    )
    assert (found.order, found.layers) == (order, layers)
    for name, expected in (("spearman", signed), ("absolute-spearman", magnitudes)):
        whole = np.broadcast_to(np.reshape(expected, (1, 2, 1)), (2, 2, 3))
        np.testing.assert_allclose(found.similarity[name], whole, rtol=1e-14)
        np.testing.assert_allclose(found.mean(name), expected, rtol=1e-14)
        np.testing.assert_allclose(found.interval(name, resamples=5), np.stack([expected] * 2, 1))
        np.testing.assert_array_equal(found.undefined(name), 6 * np.isnan(expected))


def test_draws_have_seeds_of_their_own():
    asked = []

    def randomised(names, seed):
        asked.append((tuple(names), seed))
        return np.random.default_rng(seed)

    model_parameter_randomisation(
        lambda random: random.random((1, 2, 2)), randomised, ["b", "a"], seed=7, draws=2,
        similarities=["pearson"],
    )  # fmt: skip
    steps = [(("b",), 7), (("b", "a"), 7), (("b",), 8), (("b", "a"), 8)]
    assert asked == [((), 7), *steps]


def test_entries_are_permuted():
    values = np.arange(12.0).reshape(3, 4)
    drawn = permuted(values, np.random.default_rng(0))
    expected = np.random.default_rng(0).permutation(np.arange(12.0)).reshape(3, 4)
    np.testing.assert_array_equal(drawn, expected)
    assert not np.array_equal(drawn, values)
    np.testing.assert_array_equal(values, np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(permuted(np.ones(5), np.random.default_rng(0)), np.ones(5))


def test_layers_are_listed_from_the_top():
    assert randomiser(random_network(head="deep")).layers == ("fc", "hidden", "conv2", "conv1")


def test_only_the_layers_named_are_drawn_and_the_network_stays_as_it_is():
    network = random_network(head="deep")
    before = flat(network.parameters())
    copies = randomiser(network)
    drawn = copies(["hidden"], seed=3).parameters()
    assert flat(network.parameters()) == before
    for name in ("conv1", "conv2", "fc"):
        assert flat(drawn)[name] == before[name]
    weights = drawn["hidden"][0]
    assert flat(drawn)["hidden"] != before["hidden"]
    assert sorted(weights.ravel()) == sorted(np.ravel(before["hidden"][0]))
    # Its draw is of its place and the seed, whatever else is drawn.
    cascade = copies(["fc", "hidden"], seed=3).parameters()
    np.testing.assert_array_equal(cascade["hidden"][0], weights)
    random = np.random.default_rng([3, 2, 0])
    expected = random.permutation(network.ops["hidden"].weights.ravel())
    np.testing.assert_array_equal(weights.ravel(), expected)
    assert (copies(["hidden"], seed=4).parameters()["hidden"][0] != weights).any()
    # Drawn into what was copied: writing to a copy does not reach the network.
    copies([]).ops["fc"].weights[:] = 0
    assert flat(network.parameters()) == before
    given = network.parameters()
    written = network.with_parameters(given)
    given["fc"][0][:] = 0
    assert flat(written.parameters()) == before


def test_a_network_randomised_nowhere_has_the_same_maps():
    same = randomiser(random_network(), draw=lambda values, random: values)
    found = model_parameter_randomisation(hirescam, same, similarities=PLAIN, order="independent")
    assert found.layers == ("fc", "conv2", "conv1")
    for name in PLAIN:
        np.testing.assert_allclose(found.similarity[name], np.ones((3, 3, 1)), rtol=1e-14)


def test_maps_of_a_random_network_are_others_and_edges_are_the_same(require):
    require("skimage")
    copies = randomiser(random_network())
    found = model_parameter_randomisation(hirescam, copies, draws=4, similarities=PLAIN)
    assert found.similarity["pearson"].shape == (3, 3, 4)
    assert (found.mean("pearson")[1:] < 0.6).all()
    again = model_parameter_randomisation(hirescam, copies, draws=4, similarities=PLAIN)
    other = model_parameter_randomisation(hirescam, copies, draws=4, similarities=PLAIN, seed=9)
    for name in PLAIN:
        np.testing.assert_array_equal(found.similarity[name], again.similarity[name])
        assert (found.similarity[name] != other.similarity[name]).any()
    edges = model_parameter_randomisation(lambda _: edge_maps(IMAGES), copies)
    for values in edges.similarity.values():
        np.testing.assert_allclose(values, np.ones((3, 3, 1)), rtol=1e-12)


def test_a_sequence_of_layers_is_given_or_that_of_the_model():
    copies = randomiser(random_network())
    found = model_parameter_randomisation(hirescam, copies, ["conv2"], similarities=["pearson"])
    whole = model_parameter_randomisation(
        hirescam, copies, order="independent", similarities=["pearson"]
    )
    np.testing.assert_array_equal(found.similarity["pearson"], whole.similarity["pearson"][:, 1:2])


class Blocks:
    """A model of blocks, whose copies are what they are made with."""

    def parameters(self):
        names = ("stem", "block.a", "block.b", "block2.a", "part/a")
        return {name: [np.arange(40.0)] for name in names}

    def with_parameters(self, parameters):
        return list(parameters)


def test_a_block_means_all_layers_within():
    copies = Randomiser(Blocks())
    assert copies(["block"]) == ["block.a", "block.b"]
    assert copies(["part", "block.b"]) == ["block.b", "part/a"]
    assert copies([]) == []
    with pytest.raises(
        LayerError, match=r"'blok' is no layer with parameters. Did you mean 'block"
    ):
        copies(["blok"])


def test_intervals_are_of_images_and_of_draws():
    values = np.random.default_rng(0).normal(size=(400, 1, 1))
    found = Sanity("cascading", ("fc",), {"ssim": values})
    half = 1.96 * values.std() / 20
    expected = [[values.mean() - half, values.mean() + half]]
    np.testing.assert_allclose(found.interval("ssim"), expected, atol=0.015)
    np.testing.assert_array_equal(found.interval("ssim"), found.interval("ssim"))
    low, high = found.interval("ssim", level=0.5)[0]
    assert high - low == pytest.approx(2 * 0.674 * values.std() / 20, rel=0.1)
    # The same for every image, but not for every draw.
    draws = Sanity("cascading", ("fc",), {"ssim": values.reshape(1, 1, 400).repeat(3, 0)})
    np.testing.assert_allclose(draws.interval("ssim"), expected, atol=0.015)


def test_what_is_not_defined_is_counted_and_left_out_of_the_mean():
    values = np.array([[[0.5], [np.nan]], [[np.nan], [np.nan]], [[0.7], [np.nan]]])
    found = Sanity("cascading", ("fc", "conv"), {"hog": values})
    with np.errstate(all="raise"):
        np.testing.assert_allclose(found.mean("hog"), [0.6, np.nan], rtol=1e-14)
        np.testing.assert_array_equal(found.undefined("hog"), [1, 3])
        bounds = found.interval("hog")
    np.testing.assert_allclose(bounds, [[0.5, 0.7], [np.nan, np.nan]])


def test_smooth_maps_are_averaged_over_noisy_inputs():
    seen = []

    def explain(power, images):
        seen.append(images)
        return np.sum(images**power, axis=1)

    found = smooth_mprt(
        explain, IMAGES, lambda names, seed: 2 + len(names), ["a"], samples=4, sigma=0.3, seed=5,
        similarities=["pearson"],
    )  # fmt: skip
    noisy = list(noisy_inputs(IMAGES, 4, 0.3, 5))
    np.testing.assert_array_equal(seen, noisy * 2)
    maps, others = (np.mean([np.sum(x**p, axis=1) for x in noisy], axis=0) for p in (2, 3))
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps, others, strict=True)]
    np.testing.assert_allclose(found.similarity["pearson"][:, 0, 0], expected, rtol=1e-12)
    assert found.order == "bottom-up"


def test_smooth_maps_without_noise_are_the_maps():
    def explain(network, images):
        return camcore.explain(network, images, 1, "relu2", "hirescam").raw["relu2"]

    copies = randomiser(random_network())
    smooth = smooth_mprt(explain, IMAGES, copies, samples=1, sigma=0, similarities=PLAIN)
    plain = model_parameter_randomisation(
        lambda network: explain(network, IMAGES), copies, order="bottom-up", similarities=PLAIN
    )
    for name in PLAIN:
        np.testing.assert_array_equal(smooth.similarity[name], plain.similarity[name])


def test_rise_of_entropy_by_hand():
    # Two of four in each of two bins: log 2. Three and one: log 4 - 3/4 log 3. All in one: 0.
    maps = [[[0.0, 1], [0, 1]], [[0.0, 1], [0, 1]], [[2.0, 2], [2, 2]], [[0.0, 1], [0, 1]]]
    others = [[[0.0, 0], [0, 1]], [[-9.0, 9], [9, -9]], [[0.0, 1], [0, 1]], [[1.0, 1], [1, 1]]]
    rise = (np.log(4) - 0.75 * np.log(3)) / np.log(2) - 1
    with np.errstate(all="raise"):
        found = efficient_mprt(np.array(maps), np.array(others), bins=2)
    np.testing.assert_allclose(found, [rise, 0, np.nan, -1], rtol=1e-14, atol=1e-15)


def test_entropies_are_scipys_of_numpys_histograms(require):
    entropy = require("scipy.stats").entropy
    maps, others = np.random.default_rng(0).normal(size=(2, 3, 16, 16)) ** 3
    before, after = (
        np.array([entropy(np.histogram(one, bins=100)[0]) for one in both])
        for both in (maps, others)
    )
    np.testing.assert_allclose(efficient_mprt(maps, others), (after - before) / before, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-310, 1e300])
def test_entropy_does_not_mind_the_maps_scale(scale):
    maps, others = np.random.default_rng(0).integers(0, 9, (2, 3, 8, 8)).astype(float)
    found = efficient_mprt(scale * maps, scale * others, bins=7)
    np.testing.assert_allclose(found, efficient_mprt(maps, others, bins=7), rtol=1e-12)


class Least(Adapter):
    """An adapter that offers no more than it must."""

    input_channels = "first"


def run(**options):
    given = {"explain": hirescam, "randomised": lambda names, seed: random_network(), **options}
    return model_parameter_randomisation(**{"layers": ["fc"], "similarities": PLAIN, **given})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: run(order="top-down"), MethodError, "order='top-down'; expected 'cascading'"),
        (lambda: run(draws=0), MethodError, "draws=0; it must be at least 1"),
        (lambda: run(similarities=[]), InputError, "similarities is empty; name at least one"),
        (lambda: run(similarities=["sim"]), InputError, "no similarity 'sim'. Did you mean 'ssim'"),
        (lambda: run(layers=None), LayerError, "No layers were named. Pass them from the output"),
        (lambda: run(explain=lambda _: np.ones(3)), InputError, r"shape \(3,\) cannot be compared"),
        (lambda: run(explain=lambda _: IMAGES * np.nan), InputError, "Maps must be finite"),
        (
            lambda: run(
                explain=lambda size: np.arange(1.0, size**2 + 1).reshape(1, size, size),
                randomised=lambda names, seed: 2 + len(names),
            ),
            InputError,
            r"Maps must be of shape \(1, 2, 2\); got \(1, 3, 3\)",
        ),
        (lambda: randomiser(Least()), MethodError, "Least offers no parameters. Where layers"),
        (
            lambda: randomiser(random_network(), draw=lambda v, _: v[:1])(["fc"]),
            InputError,
            r"drawn for layer 'fc' must be of shape \(5, 4\); got \(1, 4\)",
        ),
        (
            lambda: randomiser(random_network(), draw=lambda v, _: v * np.inf)(["fc"]),
            InputError,
            "What is drawn for layer 'fc' must be finite",
        ),
        (
            lambda: random_network().with_parameters({"conv9": [np.ones(2)]}),
            InputError,
            r"Layer 'conv9' has parameters of shapes none; got \[\(2,\)\]",
        ),
        (
            lambda: random_network().with_parameters({"fc": [np.ones((5, 4))]}),
            InputError,
            r"Layer 'fc' has parameters of shapes \[\(5, 4\), \(5,\)\]; got \[\(5, 4\)\]",
        ),
        (
            lambda: efficient_mprt(np.ones((1, 2)), np.ones((1, 3))),
            InputError,
            "Maps of the random",
        ),
        (lambda: efficient_mprt(np.ones((1, 2)), np.ones((1, 2)), bins=0), MethodError, "bins=0"),
        (lambda: run().mean("ssim"), InputError, "'ssim' was not measured"),
        (lambda: run().interval("pearson", level=1), InputError, "level=1; pass a share"),
        (lambda: run().interval("pearson", resamples=0), MethodError, "resamples=0; it must be"),
        (
            lambda: smooth_mprt(lambda m, x: x[:, 0], IMAGES, lambda n, s: 0, ["a"], samples=0),
            MethodError,
            "samples=0; it must be at least 1",
        ),
        (
            lambda: smooth_mprt(lambda m, x: x[:, 0], IMAGES[0, 0], lambda n, s: 0, ["a"]),
            InputError,
            "images must be",
        ),
    ],
)
def test_what_cannot_be_checked_is_named(call, error, message):
    with np.errstate(invalid="ignore"), pytest.raises(error, match=message):
        call()
