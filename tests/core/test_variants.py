"""Libraries' own formulas, written out position by position on small arrays in float64."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from camcore import methods
from camcore.errors import MethodError
from camcore.methods.masking import Masking
from camcore.recipes import TABLE, find_recipe
from camcore.recipes import formulas as variants
from camcore.recipes.targets import NormalisedLog, WeightedContrast, probability, weighted_contrast
from camcore.resize import resize
from camcore.targets import Class, Linear, Probability


@pytest.fixture
def pair():
    """Activations as after a rectifier, and gradients."""
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.normal(size=(2, 3, 3, 2)), 0)
    gradients = rng.normal(size=activations.shape)
    gradients[0, 1] = 0
    return activations, gradients


def weighted(weigh, activations, gradients):
    """Σ_c w · A_c, channel by channel."""
    return np.stack(
        [
            sum(weigh(a, g) * a for a, g in zip(one, other, strict=True))
            for one, other in zip(activations, gradients, strict=True)
        ]
    )


FORMULAS = {
    "gradcam_guided": lambda a, g: np.where((a > 0) & (g > 0), g, 0).mean(),
    "gradcampp_sum": lambda a, g: sum(
        s**2 / (2 * s**2 + a.sum() * s**3 + 1e-6) * max(s, 0) for s in g.flat if s
    ),
    "gradcampp_product": lambda a, g: sum(
        s**2 / (2 * s**2 + (a * g**3).sum() + 1e-7) * max(s, 0) for s in g.flat if s
    ),
    "gradcampp_cubed": lambda a, g: (np.maximum(g, 0) ** 3).sum(),
    "gradcampp_mean": lambda a, g: (
        sum(s**2 / (2 * s**2 + a.mean() * s**3) * max(s, 0) for s in g.flat if s) / g.size
    ),
    "xgradcam_eps": lambda a, g: (a * g).sum() / (a.sum() + 1e-7),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_weights(pair, name):
    signed = getattr(variants, name)(*pair)
    np.testing.assert_allclose(signed, weighted(FORMULAS[name], *pair), rtol=1e-12, atol=1e-15)


def test_normalised_gradcampp_grows_with_the_exponential_of_the_score(pair):
    low = variants.gradcampp_normalised(*pair, np.array([0.0, 0.0]))
    high = variants.gradcampp_normalised(*pair, np.array([1.0, -2.0]))
    np.testing.assert_allclose(high, low * np.exp([1.0, -2.0])[:, None, None], rtol=1e-12)


def test_components_are_the_papers_up_to_their_sign(pair):
    for one, other in (
        (variants.eigencam_svd(pair[0]), methods.eigencam(pair[0])),
        (variants.eigengradcam_svd(*pair), methods.eigengradcam(*pair)),
        (variants.kpcacam_peaked(pair[0]), methods.kpcacam(pair[0])),
    ):
        for mine, paper in zip(one, other, strict=True):
            sign = np.sign(np.vdot(mine, paper))
            np.testing.assert_allclose(mine, sign * paper, atol=1e-12)
    peaked = variants.kpcacam_peaked(-pair[0])
    assert np.all(peaked.max(axis=(1, 2)) >= -peaked.min(axis=(1, 2)))


def linear(head):
    """A head that is linear in the activations, as `Evidence.resume` gives it."""

    @contextmanager
    def resume(sample):
        yield lambda altered: (altered * head).reshape(len(altered), -1).sum(axis=1)

    return resume


def test_ablation_sets_rectified_channels_to_zero(pair):
    activations, head = pair
    activations[:, :, 0, 0] = 0
    scores = (activations * head[0]).reshape(2, -1).sum(axis=1)
    mine = variants.ablationcam_sinking(activations, scores, linear(head[0]))
    paper = methods.ablationcam(activations, scores, linear(head[0]))
    np.testing.assert_allclose(mine, paper, rtol=1e-6)


def test_ablation_sinks_each_channel_of_a_batch_further(pair):
    seen = []

    @contextmanager
    def resume(sample):
        yield lambda altered: seen.append(altered.copy()) or np.zeros(len(altered))

    activations = pair[1][:1]
    variants.ablationcam_sinking(activations, np.ones(1), resume, batch_size=2)
    lowest = activations.min()
    assert [batch.shape[0] for batch in seen] == [2, 1]
    np.testing.assert_array_equal(seen[0][0, 0], lowest - 1e7)
    np.testing.assert_array_equal(seen[0][1, 1], lowest - 1e7 - 1e7)
    np.testing.assert_array_equal(seen[1][0, 2], lowest - 1e7)
    np.testing.assert_array_equal(seen[0][1, 0], activations[0, 0])


def test_iscam_strengths_add_up(pair):
    images = np.ones((1, 1, 3, 2))
    seen = []

    def score(sample, masked):
        seen.append(masked.max())
        return masked.sum(axis=(1, 2, 3))

    variants.iscam_cumulative(pair[0][:1], images, score, steps=4)
    np.testing.assert_allclose(seen, [1 / 4, 3 / 4, 6 / 4, 10 / 4])


def test_masking_orders_scaling_and_enlarging():
    channels = np.array([[[0.0, 1.0, 3.0]], [[2.0, 2.0, 2.0]]])
    before = Masking(scaled="before", eps=1.0).masks(channels, (1, 6))
    np.testing.assert_allclose(before, resize([[[0, 0.25, 0.75]], [[0, 0, 0]]], (1, 6)))
    after = Masking().masks(channels, (1, 6))
    np.testing.assert_allclose(after[0], resize(channels[0], (1, 6)) / 3)
    assert not after[1].any()
    assert Masking().live(channels).tolist() == [0]
    assert Masking(constant=True).live(channels).tolist() == [0, 1]
    assert Masking(weights="score").weigh(np.array([3.0, 4.0])).tolist() == [3, 4]


def test_patches_stand_for_squares_of_the_input():
    images = np.ones((1, 2, 4, 5))
    maps = variants.patches(images, lambda _, x: x[:, 0].mean(axis=(1, 2)), window=2, baseline=0.0)
    np.testing.assert_allclose(maps, [[[4 / 20, 4 / 20, 2 / 20]] * 2])
    with pytest.raises(MethodError, match="larger than the input"):
        variants.patches(images, lambda _, x: x, window=5)


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


def squared(x):
    """Gradient of Σ x³ / 3."""
    return x**2


@pytest.mark.parametrize(
    ("rule", "average"), [("trapezoid", (0 / 2 + 1 / 4 + 1 / 2) / 2), ("endpoints", 1.25 / 3)]
)
def test_integrals_count_their_ends(rule, average):
    images = np.array([[[1.0, 2.0]], [[3.0, 0.0]]])
    options = {"steps": 3, "rule": rule, "join": "sum"}
    maps = variants.joined_integrated_gradients(images, squared, **options)
    np.testing.assert_allclose(maps, average * images[:, 0] ** 3)
    bare = variants.joined_integrated_gradients(images, squared, **options, times_input=False)
    np.testing.assert_allclose(bare, average * images[:, 0] ** 2)


@pytest.mark.parametrize("join", ["max", "sum", "mean"])
def test_channels_are_joined(join):
    gradients = np.array([[[-3.0, 1.0], [2.0, 1.0]]])
    expected = {"max": [3, 1], "sum": [5, 2], "mean": [2.5, 1]}[join]
    np.testing.assert_array_equal(variants.joined_saliency(gradients, join=join), [expected])
    signed = {"max": [2, 1], "sum": [-1, 2], "mean": [-0.5, 1]}[join]
    np.testing.assert_array_equal(variants.joined_gradient(gradients, join=join), [signed])


@pytest.mark.parametrize(
    ("average", "expected"),
    [
        ("mean", abs(4 - 3) / 2),
        ("mean of magnitudes", (4 + 3) / 2),
        ("root of squares", 5 / 2),
    ],
)
def test_smoothgrad_averages(average, expected):
    draws = iter([4.0, -3.0])
    maps = variants.joined_smoothgrad(
        np.zeros((1, 1, 2)),
        lambda x: np.full(x.shape, next(draws)),
        samples=2,
        average=average,
        magnitude=True,
    )
    np.testing.assert_allclose(maps, [[expected, expected]])


def test_absolute_noise_does_not_grow_with_the_image():
    images = np.stack([np.zeros((1, 50)), np.arange(50.0)[None]])
    seen = []
    variants.joined_smoothgrad(
        images, lambda x: seen.append(x - images) or x, samples=1, of_range=False
    )
    np.testing.assert_allclose(seen[0][0], seen[0][1], atol=1e-12)
    assert 0.05 < seen[0].std() < 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: variants.joined_saliency(x, join="least"), "join='least'; expected 'max'"),
        (lambda x: variants.joined_integrated_gradients(x, squared, rule="simpson"), "rule="),
        (lambda x: variants.joined_integrated_gradients(x, squared, steps=1), "steps=1"),
        (lambda x: variants.joined_smoothgrad(x, squared, average="median"), "average='median'"),
    ],
)
def test_options_out_of_range_are_told(make, message):
    with pytest.raises(MethodError, match=message):
        make(np.ones((1, 1, 4)))


@pytest.mark.parametrize(
    "target", [WeightedContrast(gamma=0.7), WeightedContrast([2, 4]), NormalisedLog([1, 3])]
)
def test_cotangents_are_the_derivatives_of_the_scores(target):
    outputs = np.abs(np.random.default_rng(0).normal(size=(2, 6))) + 0.1
    target = target.settled(outputs)
    cotangent = target(outputs).cotangent
    step = 1e-6
    for place in np.ndindex(outputs.shape):
        moved = [outputs.copy(), outputs.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (target(one).scores[place[0]] for one in moved)
        assert cotangent[place] == pytest.approx((up - down) / (2 * step), abs=1e-8)


def test_a_share_that_is_cut_off_has_no_slope():
    scored = NormalisedLog(0)(np.array([[-1.0, 2.0], [1.0, 1.0]]))
    np.testing.assert_allclose(scored.scores, np.log([1e-7, 0.5]))
    assert not scored.cotangent[0].any()


def test_targets_that_recipes_explain_are_made_of_classes():
    assert isinstance(probability(Class(3)), Probability)
    assert isinstance(weighted_contrast(Class()), WeightedContrast)
    for aim in (probability, weighted_contrast):
        with pytest.raises(MethodError, match="recipe='paper'"):
            aim(Linear(np.ones(3)))
    with pytest.raises(MethodError, match="Name the class"):
        weighted_contrast(Class(rank=1))


@pytest.mark.parametrize("name", TABLE)
def test_a_recipe_names_methods_of_the_table_and_gives_them_what_they_take(name):
    recipe = find_recipe(name)
    assert not {*recipe.alike} & {*recipe.methods}
    for method in recipe.covers():
        paper = methods.find(method.name)
        assert (method.label, method.level) == (paper.label, paper.level)
        assert {*method.options} <= {*method.takes()}
    assert {*recipe.exceptions} <= {method.name for method in recipe.covers()}
