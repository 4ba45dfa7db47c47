"""Libraries' conventions for metrics: what each computes, and what it does not have."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.metrics import METRIC_RECIPES, deletion, find_metric_recipe, insertion, masked_scores
from camcore.metrics.table import TABLE
from camcore.targets import Class, Probability
from camcore.testing import random_network

IMAGES = np.random.default_rng(0).normal(size=(6, 2, 8, 8))
NETWORK = random_network(head="deep")
pytestmark = pytest.mark.filterwarnings("ignore::camcore.errors.PoorMapWarning")


@pytest.fixture(scope="module")
def explained():
    return camcore.explain(NETWORK, IMAGES, None, "relu2", "layercam")


def score_of(target):
    return camcore.Explainer(NETWORK, layer="relu2").evidence(IMAGES, target).score_images


def values(recipe, *metrics, method="layercam", **options):
    found = camcore.evaluate(
        NETWORK,
        IMAGES,
        methods=method,
        metrics=metrics,
        layer="relu2",
        metric_recipe=recipe,
        controls=False,
        **options,
    )
    return [found.values[method][metric] for metric in metrics]


def test_torchcam_scores_logits_in_twenty_steps(explained):
    score = score_of(Class(explained.classes.tolist()))
    deleted, inserted, drop, increase = values(
        "torchcam", "deletion", "insertion", "average_drop", "increase"
    )
    steps = [*range(0, 64, 4), 64]  # 64 positions, rounded up to 4 a step
    given = IMAGES, explained.maps, score
    np.testing.assert_allclose(deleted, deletion(*given, steps=steps).auc, rtol=1e-9)
    np.testing.assert_allclose(inserted, insertion(*given, steps=steps, baseline=0.0).auc)
    before = masked_scores(IMAGES, np.ones((6, 8, 8)), score)
    after = masked_scores(*given)
    np.testing.assert_allclose(drop, np.maximum(before - after, 0) / (before + 1e-7), atol=1e-9)
    np.testing.assert_array_equal(increase, before < after)


def test_pytorch_grad_cam_does_not_divide_by_the_score(explained):
    score = score_of(Class(explained.classes.tolist()))
    (drop,) = values("pytorch-grad-cam", "average_drop")
    before = masked_scores(IMAGES, np.ones((6, 8, 8)), score)
    after = masked_scores(IMAGES, explained.maps, score)
    np.testing.assert_allclose(drop, np.maximum(before - after, 0), atol=1e-9)


def test_pytorch_grad_cam_refuses_to_remove_everything():
    zeros = np.zeros((1, 8, 8))
    zeros[0, 0, 0] = 1
    case = camcore.metrics.case.Case(
        IMAGES[:1],
        zeros,
        camcore.metrics.case.Counted(score_of(Probability(0))),
        lambda sample, images: zeros,
        np.ones(1),
    )
    with pytest.raises(InputError, match="mostly zeros is all of it"):
        METRIC_RECIPES["pytorch-grad-cam"](TABLE["road"], case)


def test_xplique_masks_by_the_range_of_the_magnitude(explained):
    score = score_of(Probability(explained.classes.tolist()))
    drop, gain = values("xplique", "average_drop", "average_gain")
    low, high = (f(explained.maps, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    after = masked_scores(IMAGES, (explained.maps - low) / (high - low), score)
    before = masked_scores(IMAGES, np.ones((6, 8, 8)), score)
    np.testing.assert_allclose(drop, np.maximum(before - after, 0) / (before + 1e-8), atol=1e-7)
    lacking = 1 - before + 1e-8
    np.testing.assert_allclose(gain, np.maximum(after - before, 0) / lacking, atol=1e-7)


def test_the_papers_are_the_table(explained):
    paper, plain = (
        camcore.evaluate(
            NETWORK,
            IMAGES,
            methods="layercam",
            metrics=["road", "entropy"],
            layer="relu2",
            controls=False,
            **options,
        ).values["layercam"]
        for options in ({"metric_recipe": "paper"}, {})
    )
    for name in paper:
        np.testing.assert_array_equal(paper[name], plain[name])


@pytest.mark.parametrize("name", METRIC_RECIPES)
def test_every_metric_of_a_recipe_gives_a_number_for_each_sample(name, require):
    recipe = METRIC_RECIPES[name]
    masks = np.zeros((6, 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    metrics = [*recipe.own, *recipe.alike]
    assert set(metrics) <= set(TABLE)
    if any("boxes" in TABLE[metric].needs for metric in metrics):
        require("cv2")
    classes = camcore.explain(NETWORK, IMAGES, layer="relu2").classes.tolist()
    options = {"target": classes, "masks": masks, "boxes": [[2, 2, 6, 6]] * 6}
    each = values(name, *metrics, **options, method="random")  # whose maps have no zeros
    for metric, found in zip(metrics, each, strict=True):
        assert found.shape == (6,), metric
        assert np.isfinite(found).all(), metric


@pytest.mark.parametrize(
    ("recipe", "metric", "message"),
    [
        ("torchcam", "road", "torchcam 0.5.0 does not have road. It has deletion, insertion"),
        ("quantus", "road", "road is refused. Its indices"),
        ("grad-cam", "deletion", "There is no recipe for metrics 'grad-cam'"),
    ],
)
def test_what_a_library_does_not_have(recipe, metric, message):
    with pytest.raises(InputError, match=message):
        values(recipe, metric)
    assert find_metric_recipe(METRIC_RECIPES["captum"]).name == "captum"
