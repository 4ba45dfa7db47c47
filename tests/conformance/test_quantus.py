"""Metrics against the installed Quantus, where it parts from camcore, and camcore's maps in it."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.metrics import (
    effective_complexity,
    energy_pointing_game,
    entropy,
    grid_pointing_game,
    pointing_game,
    quantus_explain_func,
    relevance_rank,
    roc_auc,
    sparseness,
)


@pytest.fixture(scope="session")
def quantus(require):
    return require("quantus")


@pytest.fixture(scope="session")
def theirs(quantus):
    """The library's values of maps and masks; it asks for inputs and labels, and ignores them."""

    def values(name, maps, masks=None, **options):
        metric = getattr(quantus, name)(disable_warnings=True, **options)
        found = metric(
            model=None,
            x_batch=np.zeros((len(maps), 3, *maps.shape[1:])),
            y_batch=np.zeros(len(maps), int),
            a_batch=maps[:, None].copy(),
            s_batch=None if masks is None else masks[:, None],
        )
        return np.array(found, np.float64)

    return values


@pytest.fixture(scope="session")
def maps(torch_lite0):
    """Grad-CAM of photographs, of which a quarter of the positions are equal to another."""
    made = [batch.explain("gradcam", "paper").maps for batch in torch_lite0.few]
    return np.concatenate(made).astype(np.float64)


@pytest.fixture(scope="session")
def signed(maps):
    """Some of each map's values below 0, none of them equal."""
    return maps - 0.2 + 1e-6 * np.random.default_rng(0).random(maps.shape)


@pytest.fixture(scope="session")
def masks(maps):
    """A disc in the upper left, and one in the middle."""
    row, column = np.indices(maps.shape[1:])
    sides = np.array(maps.shape[1:])
    centres = [(0.3, 0.3), (0.5, 0.5)] * len(maps)
    return np.stack([
        np.hypot(*(np.stack([row, column]) - (sides * c)[:, None, None])) < sides.min() / 5
        for c in map(np.array, centres[: len(maps)])
    ])  # fmt: skip


def test_pointing_game(theirs, maps, masks):
    ours = pointing_game(maps, masks)
    assert 0 < ours.mean() < 1
    np.testing.assert_array_equal(ours, theirs("PointingGame", maps, masks))


def test_empty_masks_are_hits_of_the_library_alone(theirs, maps, masks):
    assert np.isnan(pointing_game(maps, masks & False)).all()
    np.testing.assert_array_equal(theirs("PointingGame", maps, masks & False), np.ones(len(maps)))


def test_relevance_mass_is_the_energy_with_its_sign(theirs, maps, signed, masks):
    for some in (maps, signed):
        ours = energy_pointing_game(some, masks, negative="keep")
        mass = theirs("RelevanceMassAccuracy", some, masks)
        known = ~np.isnan(ours)
        assert known.sum() > 3
        np.testing.assert_allclose(ours[known], mass[known], rtol=1e-12)
        # Nothing is a share of what is below 0 in all; the library divides by it.
        assert np.isfinite(mass).all()
        assert (some[~known].sum(axis=(1, 2)) <= 0).all()


@pytest.mark.parametrize(
    ("options", "negative"),
    [({}, "abs"), ({"abs": False, "positive_attributions": True}, "clip")],
)
def test_attribution_localisation_is_the_energy_without_its_sign(
    theirs, signed, masks, options, negative
):
    found = theirs("AttributionLocalisation", signed, masks, **options)
    ours = energy_pointing_game(signed, masks, negative=negative)
    # The library adds 1e-9 to the sum.
    np.testing.assert_allclose(ours, found, rtol=0, atol=1e-11)


def test_relevance_rank(theirs, signed, masks):
    ours = relevance_rank(signed, masks)
    assert np.ptp(ours) > 0.1
    np.testing.assert_array_equal(ours, theirs("RelevanceRankAccuracy", signed, masks))


def test_roc_area(theirs, maps, signed, masks):
    for some in (maps, signed):
        np.testing.assert_allclose(roc_auc(some, masks), theirs("AUC", some, masks), rtol=1e-12)


@pytest.mark.parametrize("cell", range(4))
def test_focus_of_one_cell_is_the_grid_pointing_game(quantus, signed, cell):
    focus = quantus.Focus(disable_warnings=True)
    cells = np.eye(4)[[cell] * len(signed)]
    found = focus.evaluate_batch(a_batch=signed[:, None], c_batch=cells)
    ours = grid_pointing_game(signed, cell, grid=2)
    np.testing.assert_allclose(ours, found, rtol=0, atol=1e-11)


def test_complexity_is_entropy(theirs, maps, signed):
    for some in (maps, signed):
        # The library adds 1e-12 to each of the shares in the logarithm.
        some_error = 2e-12 * some[0].size
        np.testing.assert_allclose(entropy(some), theirs("Complexity", some), atol=some_error)


def test_sparseness_of_values_that_the_library_adds_to(theirs, maps, signed):
    for some in (maps, signed):
        sizes = np.abs(some)
        added = sizes / sizes.max() + 1e-7
        gini = theirs("Sparseness", some)
        np.testing.assert_allclose(sparseness(added), gini, rtol=0, atol=1e-12)
        np.testing.assert_allclose(sparseness(some), gini, rtol=0, atol=1e-6)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_effective_complexity_of_each_map_alone(theirs, maps, signed, eps):
    for some in (maps, signed):
        alone = [theirs("EffectiveComplexity", one[None], eps=eps)[0] for one in some]
        np.testing.assert_array_equal(effective_complexity(some, eps=eps), alone)


def test_effective_complexity_of_a_batch_depends_on_its_largest_map_in_the_library(theirs, maps):
    pair = np.stack([maps[0], 10 * maps[1]])
    alone = effective_complexity(maps[:2], eps=0.3)
    np.testing.assert_array_equal(effective_complexity(pair, eps=0.3), alone)
    found = theirs("EffectiveComplexity", pair, eps=0.3)
    assert found[0] == 0 < alone[0]
    assert found[1] == alone[1]


RANDOM = (
    ("PixelFlipping", {"features_in_step": 12}),
    ("FaithfulnessCorrelation", {"nr_runs": 5, "subset_size": 20, "return_aggregate": False}),
    ("Selectivity", {"patch_size": 4}),
    ("MaxSensitivity", {"nr_samples": 3}),
    ("AvgSensitivity", {"nr_samples": 3}),
    ("LocalLipschitzEstimate", {"nr_samples": 3}),
    ("RelativeInputStability", {"nr_samples": 3}),
    ("RandomLogit", {"num_classes": 5}),
    ("Complexity", {}),
    ("Sparseness", {}),
    ("RelevanceMassAccuracy", {}),
    ("PointingGame", {}),
)
"""Metrics that the library draws for, or explains other inputs or classes for, and others."""


def torch_subject(require):
    torch = require("torch")
    torch.manual_seed(1)
    layers = torch.nn
    model = layers.Sequential(
        *(layers.Conv2d(3, 6, 3), layers.ReLU(), layers.AdaptiveAvgPool2d(1)),
        *(layers.Flatten(), layers.Linear(6, 5)),
    )
    return model.eval(), "1", lambda images: images


def keras_subject(require):
    keras = require("keras")
    keras.utils.set_random_seed(1)
    image = keras.Input((12, 14, 3))
    hidden = keras.layers.Conv2D(6, 3, activation="relu", name="seen")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    model = keras.Model(image, keras.layers.Dense(5)(pooled))
    return model, "seen", lambda images: np.ascontiguousarray(images.transpose(0, 2, 3, 1))


@pytest.fixture(scope="module", params=[torch_subject, keras_subject])
def bridged(request, quantus):
    """Evaluate by a metric of the library, with maps given, or with camcore to make them."""
    model, layer, laid = request.param(request.getfixturevalue("require"))
    images = laid(np.random.default_rng(0).normal(size=(3, 3, 12, 14)).astype(np.float32))
    classes = np.array([0, 1, 2])
    masks = np.zeros((3, 1, 12, 14), bool)
    masks[:, :, 3:9, 2:7] = True
    about = {"method": "layercam", "layer": layer}
    maps = camcore.explain(model, images, classes.tolist(), **about).maps

    def evaluate(name, options, *, given):
        np.random.seed(0)  # noqa: NPY002  The library draws by it.
        metric = getattr(quantus, name)(disable_warnings=True, **options)
        return metric(
            model=model,
            x_batch=images.copy(),
            y_batch=classes,
            a_batch=maps[:, None].astype(np.float64) if given else None,
            s_batch=masks,
            explain_func=quantus_explain_func,
            explain_func_kwargs=dict(about),
        )

    return evaluate


@pytest.mark.parametrize(("name", "options"), RANDOM)
def test_the_library_explains_by_camcore_as_if_given_its_maps(bridged, name, options):
    found, expected = (
        np.array(bridged(name, options, given=given), np.float64) for given in (False, True)
    )
    assert found.shape[0] == 3
    np.testing.assert_array_equal(found, expected)
    assert np.ptp(found[~np.isnan(found)]) > 0 or name == "PointingGame"


def test_the_library_evaluates_several_methods_by_camcore(quantus, require):
    model, layer, _ = torch_subject(require)
    images = np.random.default_rng(0).normal(size=(3, 3, 12, 14)).astype(np.float32)
    classes = np.array([0, 1, 2])
    found = quantus.evaluate(
        metrics={"entropy": quantus.Complexity(disable_warnings=True)},
        xai_methods={
            name: quantus_explain_func(model, images, classes, method=name, layer=layer)
            for name in ("gradcam", "layercam")
        },
        model=model,
        x_batch=images,
        y_batch=classes,
        agg_func=np.array,
    )
    for name, scores in found.items():
        maps = camcore.explain(model, images, classes.tolist(), layer, name).maps
        np.testing.assert_allclose(scores["entropy"], entropy(maps), atol=1e-9)


METRICS = (
    *("entropy", "sparseness", "pointing_game"),
    *("energy_pointing_game", "relevance_rank", "roc_auc"),
)
NAMES = (
    *("Complexity", "Sparseness", "PointingGame"),
    *("RelevanceMassAccuracy", "RelevanceRankAccuracy", "AUC"),
)


def test_recipe_quantus_is_quantus_as_it_comes(theirs, torch_lite0, masks):
    batch = torch_lite0.four
    about = {"methods": "gradcam", "layer": batch.layer, "controls": False}
    marked = masks[: len(batch.images)]
    found = camcore.evaluate(
        *(batch.model, batch.images, list(batch.classes)),
        **about,
        metrics=METRICS,
        metric_recipe="quantus",
        masks=marked,
    ).values["gradcam"]
    maps = batch.explain("gradcam", "paper").maps.astype(np.float64)
    for metric, name in zip(METRICS, NAMES, strict=True):
        # Within what the library adds to each share and to each value.
        np.testing.assert_allclose(found[metric], theirs(name, maps, marked), rtol=0, atol=1e-6)


def test_what_recipe_quantus_refuses_is_of_no_use(quantus, torch_lite0):
    """What it says of the library, of the library."""
    one = torch_lite0.alone[0]
    maps = one.explain("gradcam", "paper").maps[:, None].astype(np.float64)
    given = {"model": one.model, "x_batch": one.images, "y_batch": np.array(one.classes)}
    with pytest.raises(IndexError):
        quantus.ROAD(percentages=[50], disable_warnings=True)(**given, a_batch=maps)
    with pytest.raises(AssertionError, match="features_in_step"):  # no whole pixels at a time
        quantus.PixelFlipping(features_in_step=3 * 1024, disable_warnings=True)(
            **given, a_batch=maps
        )
    order = np.random.default_rng(0).permutation(maps.size).reshape(maps.shape)
    steps = {"features_in_step": 3584, "disable_warnings": True}
    rises = [
        quantus.Monotonicity(**steps)(**given, a_batch=each)[0]
        for each in (maps, 1 - maps, order.astype(np.float64))
    ]
    assert rises == [True, True, True]


def test_the_page_lists_every_metric_of_the_installed_libraries(quantus, require):
    from evaluation_page import PEERS

    registry = quantus.AVAILABLE_METRICS.values()
    assert {c.__name__ for group in registry for c in group.values()} == set(PEERS["Quantus 0.6.0"])
    theirs = require("captum.metrics")
    assert set(PEERS["captum 0.9.0"]) == {
        name for name in theirs.__all__ if not name.endswith("decorator")
    }
    classes = {
        "pytorch-grad-cam 1.5.7": ("arcc", "cam_mult_image", "perturbation_confidence", "road"),
        "torchcam 0.5.0": ("",),
    }
    # What removes and fills in, and what averages or types, is no metric.
    others = ("Remove", "Averager", "NoisyLinear", "_")
    for library, modules in classes.items():
        package = "pytorch_grad_cam" if "grad" in library else "torchcam"
        found = [require(".".join(filter(None, (package, "metrics", one)))) for one in modules]
        names = {
            name
            for module in found
            for name, thing in vars(module).items()
            if isinstance(thing, type)
            and thing.__module__ == module.__name__
            and not name.startswith(others)
        }
        assert names == set(PEERS[library])
