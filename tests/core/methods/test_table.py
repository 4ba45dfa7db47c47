"""The table of methods: finding, registering and what its rows say."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.chain import Chain
from camcore.errors import MethodError, NotOfferedError
from camcore.methods.arrays import sum_channels
from camcore.methods.masking import PAPER
from camcore.methods.scales import CLIPPED
from camcore.methods.table import NEEDS, ON_IMAGES, TABLE, find, register
from camcore.postprocess import relu
from camcore.resize import LINEAR
from camcore.testing import random_network


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Grad-CAM++", "gradcampp"),
        ("gradcam++", "gradcampp"),
        ("GradCAMpp", "gradcampp"),
        ("grad_cam", "gradcam"),
        ("Element-wise Grad-CAM", "elementwisegradcam"),
        ("EIGEN CAM", "eigencam"),
        (find("cam"), "cam"),
    ],
)
def test_methods_are_found_whatever_their_case_and_punctuation(typed, name):
    assert find(typed).name == name


def test_an_unknown_method_is_answered_with_near_ones():
    with pytest.raises(MethodError, match=r"no method 'gradcamm'. Did you mean 'gradcam', .*\?"):
        find("gradcamm")
    others = rf"no method 'zzz'. There are 'cam', 'gradcam', .* and {len(TABLE) - 6} more\.$"
    with pytest.raises(MethodError, match=others):
        find("zzz")
    with pytest.raises(MethodError, match="named by a string; got int"):
        find(3)


def test_every_row_of_the_table_can_be_called_by_its_label():
    names = [method.name for method in methods.TABLE]
    assert len(set(names)) == len(names)
    for method in methods.TABLE:
        assert find(method.label) is find(method.name) is method
        assert set(method.needs).isdisjoint(method.takes())
        assert set(method.options) <= set(method.takes())


@pytest.fixture
def registered(monkeypatch):
    """A method of one's own, which is one function with its row; taken off again afterwards."""
    monkeypatch.setattr(methods.table, "_rows", [*TABLE])
    monkeypatch.setattr(methods.table, "TABLE", methods.table._rows)

    @register("rectified", "Rectified Grad", ("activations", "gradients"), "1", "nobody, nowhere")
    def rectified(activations, gradients, *, power=1.0):
        """Compute Rectified Grad: Σ_c relu(g_c)^p · A_c."""
        return sum_channels(relu(gradients) ** power * activations)

    return rectified


def test_a_method_is_added_in_one_place(registered):
    row = find("Rectified GRAD")
    assert (row.function, row.needs, row.takes()) == (registered, methods.table.BOTH, ["power"])
    assert (row.backward, row.targeted, row.by_row, row.by_channel) == (True,) * 4
    images = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    model = random_network()
    found = camcore.explain(model, images, 2, "relu2", "rectified")
    expected = camcore.explain(model, images, 2, "relu2", "layercam")
    np.testing.assert_array_equal(found.raw["relu2"], expected.raw["relu2"])
    assert found.method == "rectified"
    camcore.explain(model, images, 2, "relu2", "rectified", power=2, eigen_smooth=True)


def test_methods_of_one_pass_are_listed_first(registered):
    passes = [row.passes == "1" for row in methods.table.TABLE]
    assert passes == sorted(passes, reverse=True)
    assert methods.table.TABLE[sum(passes) - 1].function is registered


@pytest.mark.parametrize(
    ("name", "label", "message"),
    [
        ("My-CAM", "My CAM", "letters and digits; got 'My-CAM'. Name it 'mycam'"),
        ("gradcam", "My CAM", r"'gradcam' \(My CAM\) is called like Grad-CAM, .* Choose another"),
        ("mycam", "grad-cam", r"'mycam' \(grad-cam\) is called like Grad-CAM"),
    ],
)
def test_names_that_cannot_be_registered_are_told(name, label, message):
    before = [*TABLE]
    with pytest.raises(MethodError, match=message):
        register(name, label, ("activations",), "1", "nobody")
    assert [*TABLE] == before


CHAINED = {"attentions", "attentions_gradients", "pooling", "layers_activations"}
"""What is of all layers at once."""


def test_needs_are_attributes_of_the_evidence():
    assert {need for row in TABLE for need in row.needs} <= set(NEEDS)
    for need in NEEDS:
        assert hasattr(Chain if need in CHAINED else camcore.evidence.Rerun, need)
    for row in TABLE:
        assert (row.joins in ("chain", "refined")) == bool(CHAINED & set(row.needs))


def test_what_is_not_of_the_layer_the_scores_or_the_weights_is_of_the_images():
    elsewhere = {"activations", "gradients", "hessian_products", "attention_gradients", "resume"}
    elsewhere |= {"scores", "class_weights", "bias_terms", "gradients_from", "token_logits"}
    elsewhere |= {"own_gradients", "mean_weights"}
    assert set(NEEDS) - elsewhere - CHAINED == ON_IMAGES


DRAWN = {"seed": 0}
MASKED = {"channels": None, "masking": PAPER, "batch_size": 32}
GRID = {"cells": 8, "baseline": 0.0, "enlarge": LINEAR, "batch_size": 32}
DEFAULTS = {
    "segxrescam": {"window": 2, "pool": "max"},
    "kpcacam": {"kernel": "sigmoid", "gamma": None},
    "fem": {"reading": "mean"},
    "refinecam": {"base": "gradcampp"},
    "legrad": {"own_gradients": None, "scored": "model"},
    "relevancy": {"query": None, "first": 0},
    "rollout": {"pooling": None, "query": None, "first": 0, "heads": "mean", "discard": 0.0},
    "fullgrad": {"eps": 0.0},
    "random": DRAWN,
    "smoothgradcampp": {"samples": 4, "sigma": 0.3, **DRAWN},
    "scorecam": MASKED,
    "fasterscorecam": MASKED,
    "sscam": {"samples": 35, "sigma": 2.0, **DRAWN, **MASKED},
    "iscam": {"steps": 10, **MASKED},
    "gscorecam": {**MASKED, "channels": 300},
    "polycam": {**MASKED, "change": "both", "masking": CLIPPED, "interpolation": LINEAR},
    "groupcam": {"groups": 32, "side": 51, "sigma": 50.0, "masking": PAPER, "batch_size": 32},
    "opticam": {"steps": 100, "rate": 0.1},
    "ablationcam": {"mean_weights": None, "batch_size": 64},
    "reciprocam": {"smooth": False, "batch_size": 64},
    "occlusion": {
        **{"window": 15, "stride": 8, "baseline": 0.0, "edge": "shift", "batch_size": 32}
    },
    "rise": {"masks": 4000, "cells": 7, "keep": 0.5, **DRAWN, "batch_size": 32},
    "layerig": {"steps": 50, "baseline": 0.0, "batch_size": 32},
    "dix": {"steps": 10, "batch_size": 32},
    "sobol": {"designs": 32, **GRID},
    "hsic": {"masks": 500, **GRID},
    **{
        name: {"signed": False}
        for name in ("saliency", "guidedbackprop", "deconvnet", "guidedgradcam")
    },
    "smoothgrad": {"samples": 25, "sigma": 0.15, **DRAWN, "signed": False},
    "smoothgradsq": {"samples": 25, "sigma": 0.15, **DRAWN},
    "vargrad": {"samples": 25, "sigma": 0.15, **DRAWN},
    "integratedgradients": {"steps": 50, "baseline": 0.0},
    "tokencam": {"less": (), "smooth": False},
    "idgi": {"steps": 50, "baseline": 0.0, "batch_size": 32},
    "gradientshap": {
        **{"samples": 50, "baseline": 0.0, "sigma": 0.0, "places": "drawn"},
        **DRAWN,
    },
    "guidedig": {"steps": 200, "fraction": 0.25, "max_dist": 0.02, "baseline": 0.0},
    "blurig": {"steps": 100, "max_sigma": 50.0, "grad_step": 0.01},
    "xrai": {"steps": 100, "regions": None, "min_pixels": 50},
}
"""What a map is made with where nothing is said: as the papers have it, or their authors' code."""


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_what_is_left_out_is_as_the_paper_has_it(row):
    parameters = inspect.signature(row.function).parameters.values()
    found = {one.name: one.default for one in parameters if one.default is not one.empty}
    assert found.pop("progress", None) is None
    assert found == DEFAULTS.get(row.name, {})


OF_THE_LAYER = {"activations", "gradients", "hessian_products", "class_weights"}
PULLED_BACK = {"gradients", "attention_gradients", "image_gradients", "attentions_gradients"}


@pytest.mark.parametrize(
    "row", [row for row in TABLE if set(row.needs) <= OF_THE_LAYER], ids=lambda row: row.name
)
def test_rows_and_channels_are_apart_where_the_table_says_so(row):
    rng = np.random.default_rng(0)
    arrays = {need: rng.normal(size=(3, 5, 4, 6)) for need in row.needs}
    if "class_weights" in arrays:
        arrays["class_weights"] = rng.normal(size=(3, 5))
    whole = row.function(**arrays)
    rows = [row.function(**{k: v[i : i + 1] for k, v in arrays.items()}) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(rows), whole, rtol=1e-9, atol=1e-12)
    # The head's weights are gathered for samples, and have no frames.
    assert row.by_row == ("class_weights" not in arrays)
    channels = [row.function(**{k: v[:, c : c + 1] for k, v in arrays.items()}) for c in range(5)]
    apart = np.allclose(sum(channels), whole, rtol=1e-9, atol=1e-12)
    # The mean over channels divides by their number, which one alone does not know.
    assert apart == (row.by_channel and row.name != "activations")


def test_what_runs_the_model_again_knows_neither_rows_nor_channels():
    for row in TABLE:
        # Frames have each their own attention, which is of tokens and no channels.
        of_tokens = {"attention_gradients", "own_gradients"} | CHAINED
        assert not row.by_row or set(row.needs) <= OF_THE_LAYER | of_tokens
        assert not row.by_channel or set(row.needs) <= OF_THE_LAYER
        looks_alone = set(row.needs) <= {"activations", "images", "attentions", "pooling"}
        assert row.targeted != looks_alone
        assert row.backward == bool(PULLED_BACK & set(row.needs))


class Without:
    """Evidence of an adapter that leaves one thing out."""

    def __init__(self, left_out):
        self.left_out = left_out

    def __getattr__(self, need):
        if need == self.left_out:
            raise NotOfferedError("Not offered.")
        return None


AVERAGING = {"smoothgrad", "smoothgradsq", "vargrad", "integratedgradients"}
AVERAGING |= {"gradientshap", "guidedig", "blurig", "xrai"}
SCORING = {"scorecam", "fasterscorecam", "sscam", "iscam", "gscorecam", "groupcam"}
SCORING |= {"polycam", "occlusion", "rise", "sobol", "hsic"}
BOTH = {"idgi", "opticam"}
OF_ONE_PASS = {"activations", "gradients", "scores", "images", "image_gradients"}


@pytest.mark.parametrize(
    ("left_out", "refused"),
    [
        ("resume", {"ablationcam", "reciprocam"}),
        ("gradients_from", {"layerig", "dix"}),
        ("bias_terms", {"fullgrad"}),
        ("hessian_products", {"shapleycam"}),
        ("rerun", {"smoothgradcampp"}),
        ("guided_gradients", {"guidedbackprop", "guidedgradcam"}),
        ("deconvolved_gradients", {"deconvnet"}),
        ("gradients_at", AVERAGING | BOTH),
        ("score_images", SCORING | BOTH),
    ],
)
def test_what_an_adapter_leaves_out_is_answered_with_all_methods_that_do_without(left_out, refused):
    assert refused == {row.name for row in TABLE if left_out in row.needs}
    for name in refused:
        further = set(find(name).needs) - OF_ONE_PASS
        others = ", ".join(row.name for row in TABLE if not further.intersection(row.needs))
        with pytest.raises(MethodError) as caught:
            find(name)(Without(left_out))
        assert str(caught.value) == f"Not offered. Methods that do without: {others}."
