"""Methods along a path of a layer's activations: by hand, by identities, and how often they ask."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.errors import InputError, MethodError
from camcore.testing import random_network

RNG = np.random.default_rng(0)
ACTIVATIONS = RNG.normal(size=(2, 5, 3, 3))
ACTIVATIONS.setflags(write=False)  # whoever alters them fails
WEIGHTS = RNG.normal(size=(5, 3, 3))
RANKS = [1, 2, 3]


class Score:
    """A score of activations with its gradient, as `Evidence.gradients_from` gives them."""

    def __init__(self, score, gradient):
        self.score, self.gradient = score, gradient
        self.seen = {}

    @contextmanager
    def __call__(self, sample):
        sizes = self.seen.setdefault(sample, [])

        def at(activations):
            sizes.append(len(activations))
            return self.score(activations), self.gradient(activations)

        yield at


def total(array):
    return array.reshape(len(array), -1).sum(axis=1)


def cubic():
    """Σ w · A³, whose gradient is of degree 2."""
    return Score(lambda a: total(WEIGHTS * a**3), lambda a: 3 * WEIGHTS * a**2)


def affine(weights=WEIGHTS):
    return Score(lambda a: total(weights * a) + 2, lambda a: np.broadcast_to(weights, a.shape))


def images(rank, batch=3):
    return np.random.default_rng(rank).normal(size=(batch, 2, *[8] * rank))


def test_layerig_of_a_product_and_a_sum_by_hand():
    # y = A_00 · A_10 + 3 · A_01, channel before place. On the way from 0 the product gives each
    # of its factors ∫ t dt = 1/2 of it, and both are at the first place.
    score = Score(
        lambda a: a[:, 0, 0] * a[:, 1, 0] + 3 * a[:, 0, 1],
        lambda a: np.stack([a[:, ::-1, 0], np.array([[3.0, 0.0]] * len(a))], axis=2),
    )
    found = methods.layer_integrated_gradients(np.array([[[2.0, 5.0], [7.0, 1.0]]]), score)
    np.testing.assert_allclose(found, [[14, 15]], rtol=1e-14)


def test_layerig_of_a_square_from_a_baseline_by_hand():
    square = Score(lambda a: total(a**2), lambda a: 2 * a)
    found = methods.layer_integrated_gradients(np.array([[[3.0]]]), square, baseline=1, steps=1)
    np.testing.assert_allclose(found, [[9 - 1]], rtol=1e-15)


@pytest.mark.parametrize("baseline", [0.0, -0.7])
def test_layerig_sums_to_the_change_of_the_score(baseline):
    # Two nodes integrate a gradient of degree 3 exactly.
    found = methods.layer_integrated_gradients(ACTIVATIONS, cubic(), steps=2, baseline=baseline)
    change = total(WEIGHTS * ACTIVATIONS**3) - (WEIGHTS * baseline**3).sum()
    np.testing.assert_allclose(total(found), change, rtol=1e-13)


@pytest.mark.parametrize("head", ["gap", "flatten"])
@pytest.mark.parametrize("rank", RANKS)
def test_layerig_before_an_affine_head_is_hirescam(rank, head):
    about = (random_network(rank, head=head), images(rank), 2, "relu2")
    found = camcore.explain(*about, ["layerig", "hirescam"], steps=3)
    ours, theirs = (one.raw["relu2"] for one in found.values())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13 * np.abs(theirs).max())


@pytest.mark.parametrize("rank", RANKS)
def test_layerig_sums_to_the_score_less_that_of_the_baseline(rank):
    network = random_network(rank, head="deep")
    result = camcore.explain(network, images(rank), 2, "conv2", "layerig", steps=400)
    activations = network.run(images(rank), ["conv2"]).layers["conv2"].activations
    with network.resume(images(rank)[:1], "conv2") as head:
        change = result.scores - head(0 * activations[:1])[""][0, 2]
    np.testing.assert_allclose(total(result.raw["conv2"]), change, atol=2e-3)


def test_dix_by_hand():
    # Channels 1 and 3 at one place: the path leads from 1 and 1. The gradient is -1 and 2, so
    # only the second counts, whose mean on the way is 2.
    weights = np.array([[-1.0], [2.0]])
    found = methods.dix(np.array([[[1.0], [3.0]]]), affine(weights))
    np.testing.assert_allclose(found, [[4]], rtol=1e-15)
    # y = A² of channels 0 and 2, in two steps: gradients 0, 2, 4 at 0, 1, 2.
    square = Score(lambda a: total(a**2), lambda a: 2 * a)
    found = methods.dix(np.array([[[0.0], [2.0]]]), square, steps=2)
    np.testing.assert_allclose(found, [[(0 + 2 + 8) / 3]], rtol=1e-15)


@pytest.mark.parametrize("rank", RANKS)
def test_dix_of_a_rectified_layer_before_an_affine_head_has_a_formula(rank):
    network = random_network(rank, head="flatten")
    seed = {"": np.eye(5)[[2] * 3]}
    trace = network.run(images(rank), ["relu2"], [lambda _: seed]).layers["relu2"]
    a, g = trace.activations, trace.gradients[0]
    expected = (np.maximum(g, 0) * (a + a.min(axis=1, keepdims=True)) / 2).sum(axis=1)
    found = camcore.explain(network, images(rank), 2, "relu2", "dix").raw["relu2"]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert found.max() > 0


def test_dix_of_several_layers_is_the_product_of_its_maps():
    network = random_network(head="deep", channels=6)
    each = [camcore.explain(network, images(2), 2, n, "dix").maps for n in ("relu1", "relu2")]
    product = each[0].astype(np.float64) * each[1]
    largest = product.max(axis=(1, 2), keepdims=True)
    found = camcore.explain(network, images(2), 2, ["relu1", "relu2"], "dix").maps
    np.testing.assert_allclose(found, product / largest, rtol=0, atol=1e-5)
    assert largest.min() > 0


METHODS = {
    "layerig": (methods.layer_integrated_gradients, {"steps": 7}, 7),
    "dix": (methods.dix, {"steps": 6}, 7),
}


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_taken_once_at_each_place_and_no_more_than_the_batch_size_at_once(
    name, batch_size
):
    function, options, places = METHODS[name]
    score = cubic()
    found = function(ACTIVATIONS, score, batch_size=batch_size, **options)
    sizes = [min(batch_size, places - i) for i in range(0, places, batch_size)]
    assert score.seen == {0: sizes, 1: sizes}
    np.testing.assert_allclose(found, function(ACTIVATIONS, cubic(), **options), rtol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_a_sample_has_the_same_map_alone_as_in_a_batch(name):
    function, options, _ = METHODS[name]
    together = function(ACTIVATIONS, cubic(), **options)
    for sample in range(2):
        alone = function(ACTIVATIONS[sample : sample + 1], cubic(), **options)
        np.testing.assert_allclose(together[sample], alone[0], rtol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_the_activations_precision_is_kept(name):
    function, options, _ = METHODS[name]
    narrow = function(ACTIVATIONS.astype(np.float32), cubic(), **options)
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, function(ACTIVATIONS, cubic(), **options), rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("option", ["steps", "batch_size"])
def test_options_below_one_are_named(name, option):
    score = cubic()
    with pytest.raises(MethodError, match=f"{option}=0; it must be at least 1"):
        METHODS[name][0](ACTIVATIONS, score, **{option: 0})
    assert score.seen == {}


@pytest.mark.parametrize("name", METHODS)
def test_gradients_of_another_shape_are_told(name):
    score = Score(total, lambda a: a[:, :1])
    with pytest.raises(
        InputError, match=r"altered activations must be of shape \(1, 5, 3, 3\); got \(1, 1, 3, 3\)"
    ):
        METHODS[name][0](ACTIVATIONS, score, batch_size=1)


@pytest.mark.parametrize("name", METHODS)
def test_a_native_callable_is_refused(name):
    def native(outputs):
        return outputs[:, 3], np.eye(outputs.shape[1])[[3] * len(outputs)]

    with pytest.raises(MethodError, match=r"a target in NumPy, which .*native.* Give a class"):
        camcore.explain(random_network(), images(2), native, "relu2", name)


@pytest.mark.parametrize("name", METHODS)
def test_what_comes_before_the_layer_runs_once_a_sample(name):
    network = random_network(head="deep")
    before, after = [], []
    for layer, rows in (("conv1", before), ("hidden", after)):
        op = network.ops[layer]
        plain = op.forward
        op.forward = lambda x, plain=plain, rows=rows: (rows.append(len(x)), plain(x))[1]
    explainer = camcore.Explainer(network, layer="relu2", method=name, **METHODS[name][1])
    explainer(images(2), 2)
    before.clear()
    after.clear()
    explainer(images(2), 2)
    # The pass itself, then each of three samples up to the layer, and seven places from it on.
    assert before == [3, 1, 1, 1]
    assert after == [3, 1, 7, 1, 7, 1, 7]
