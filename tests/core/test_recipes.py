"""Conventions on 2 x 2 maps, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from camcore import methods, recipes
from camcore.errors import InputError, MethodError, RecipeError
from camcore.recipes import (
    PAPER,
    Normalise,
    Recipe,
    Relu,
    Rendering,
    Resize,
    Stretch,
    Tanh,
    find_recipe,
)
from camcore.recipes import formulas as variants
from camcore.resize import Interpolation

RAW = np.array([[[-1.0, 2.0], [4.0, 3.0]]])
OTHER = np.array([[[2.0, -5.0], [1.0, 0.0]]])

# Twice as long, an output sample falls a quarter from an input sample:
# rows of the weights are (1, 0), (3/4, 1/4), (1/4, 3/4), (0, 1).
DOUBLED = np.array(
    [
        [0, 0.5, 1.5, 2],
        [1, 1.3125, 1.9375, 2.25],
        [3, 2.9375, 2.8125, 2.75],
        [4, 3.75, 3.25, 3],
    ]
)


def test_paper_divides_the_resized_positive_part_by_its_maximum():
    np.testing.assert_array_equal(PAPER.render([RAW], (2, 2)), [[[0, 0.5], [1, 0.75]]])
    np.testing.assert_allclose(PAPER.render([RAW], (4, 4)), [DOUBLED / 4], rtol=1e-7)


@pytest.mark.parametrize(
    ("fusion", "expected"),
    [
        # Scaled, the layers are [[0, 1/2], [1, 3/4]] and [[1, 0], [1/2, 0]].
        (None, [[2 / 3, 1 / 3], [1, 1 / 2]]),
        ("mean", [[2 / 3, 1 / 3], [1, 1 / 2]]),
        ("max", [[1, 1 / 2], [1, 3 / 4]]),
        ("sum", [[2 / 3, 1 / 3], [1, 1 / 2]]),
        ("product", [[0, 0], [1, 0]]),
    ],
)
def test_paper_joins_layers_that_are_scaled_alike(fusion, expected):
    rendered = PAPER.render([RAW, 1000 * OTHER], (2, 2), fusion)
    np.testing.assert_allclose(rendered, [expected], rtol=1e-7)


def test_layers_of_different_sizes_meet_at_the_inputs_size():
    coarse = np.array([[[3.0]]])
    rendered = PAPER.render([RAW, coarse], (4, 4))
    np.testing.assert_allclose(rendered, [(DOUBLED / 4 + 1) / 2], rtol=1e-7)


def test_notebook_scales_by_the_range_after_resizing():
    rendered = find_recipe("notebook").render([RAW + 1], (4, 4))
    # Everything one higher, so the lowest of the shown values is 0 and the highest 5.
    lifted = np.array([[0, 3], [5, 4]])
    weights = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(rendered, [weights @ lifted @ weights.T / 5], rtol=1e-7)
    raised = find_recipe("notebook").render([RAW + 2], (2, 2))
    np.testing.assert_allclose(raised, [[[0, 3 / 5], [1, 4 / 5]]], rtol=1e-7)


def test_keras_io_stays_at_the_layers_size():
    rendered = find_recipe("keras-io").render([RAW], (4, 4))
    np.testing.assert_array_equal(rendered, [[[0, 0.5], [1, 0.75]]])


def test_keras_io_has_its_own_gradcam_and_the_papers_other_methods():
    recipe = find_recipe("keras-io")
    assert recipe.method("Grad-CAM").function is variants.gradcam_batch_mean
    assert recipe.method("hirescam") is methods.find("hirescam")
    # A row given as such was chosen on purpose.
    assert recipe.method(methods.find("gradcam")).function is methods.gradcam
    assert PAPER.method("gradcam").function is methods.gradcam


def test_monai_inverts_and_leaves_a_map_without_evidence_at_zero():
    rendered = find_recipe("monai").render([RAW], (2, 2))
    np.testing.assert_array_equal(rendered, [[[1, 0.5], [0, 0.25]]])
    assert not find_recipe("monai").render([-np.ones((1, 3, 3))], (6, 6)).any()


def test_stretch_multiplies_what_is_constant():
    constant = np.full((1, 2, 2), 3.0)
    np.testing.assert_array_equal(Stretch()(constant, (2, 2)), constant)
    np.testing.assert_array_equal(Stretch(0, 4)(RAW, (2, 2)), [[[0, 2.4], [4, 3.2]]])
    assert (str(Stretch()), str(Stretch(0, 4))) == (
        "1 - (x - min) / (max - min)",
        "0 .. 4 from min .. max",
    )


def test_captum_keeps_signs_and_units():
    rendered = find_recipe("captum").render([RAW], (4, 4))
    np.testing.assert_array_equal(rendered, [np.kron(RAW[0], np.ones((2, 2)))])


def test_tf_explain_scales_what_speaks_against_the_class_into_the_map():
    rendered = find_recipe("tf-explain").render([RAW], (2, 2))
    np.testing.assert_allclose(rendered, [[[0, 3 / 5], [1, 4 / 5]]], rtol=1e-7)


def test_several_layers_meet_at_the_largest_of_them():
    coarse = np.array([[[0.0, 4.0]]])
    fine = np.array([[[8.0, 0.0, 0.0, 0.0]]])
    recipe = find_recipe("torchcam")
    np.testing.assert_allclose(
        recipe.render([coarse, fine], (1, 9)), [[[1, 0.25, 0.75, 1]]], rtol=1e-7
    )
    # LayerCAM's layers are squashed first.
    squashed = recipe.render([coarse, fine], (1, 9), method="layercam")
    one = np.tanh(2)
    np.testing.assert_allclose(squashed, [[[one, one / 4, one * 3 / 4, one]]], rtol=1e-6)
    np.testing.assert_allclose(recipe.render([fine], (1, 9), method="layercam"), fine / 8)


def test_a_method_may_be_shown_otherwise():
    mine = PAPER.derive("mine", exceptions={"fem": Rendering((Tanh(1.0),))})
    np.testing.assert_allclose(mine.render([RAW], (4, 4), method="fem"), np.tanh(RAW))
    np.testing.assert_allclose(mine.render([RAW], (4, 4)), [DOUBLED / 4], rtol=1e-7)
    assert "  FEM\n    each map  tanh(1 x)\n    layers    mean\n" in mine.describe()


@pytest.mark.parametrize("name", ["paper", "notebook", "keras-io"])
def test_maps_without_evidence_stay_zero(name):
    raw = np.stack([-np.ones((3, 3)), np.zeros((3, 3))])
    with np.errstate(all="raise"):
        rendered = find_recipe(name).render([raw], (6, 6))
    assert not rendered.any()


@pytest.mark.parametrize("name", recipes.TABLE)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_rendered_maps_are_finite_single_precision_in_every_rank(name, rank):
    rng = np.random.default_rng(rank)
    raw = rng.normal(size=(2, *[4] * rank))
    raw.setflags(write=False)
    rendered = find_recipe(name).render([raw], (8,) * rank)
    assert rendered.dtype == np.float32
    assert np.all(np.isfinite(rendered))
    assert not np.shares_memory(rendered, raw)
    for i in range(2):
        np.testing.assert_array_equal(
            find_recipe(name).render([raw[i : i + 1]], (8,) * rank), rendered[i : i + 1]
        )


def test_a_map_of_another_rank_than_the_input_is_not_resized():
    assert PAPER.render([RAW], (16,)).shape == (1, 2, 2)
    assert PAPER.render([RAW], ()).shape == (1, 2, 2)


def test_a_derived_recipe_changes_what_it_names():
    nearest = Resize(Interpolation("nearest"))
    mine = PAPER.derive("mine", layer_steps=(Relu(), nearest), final_steps=(Normalise("min_max"),))
    assert (mine.name, mine.source, mine.score) == ("mine", "derived from 'paper'", "logit")
    expected = np.repeat(np.repeat([[[0, 0.5], [1, 0.75]]], 2, axis=1), 2, axis=2)
    np.testing.assert_array_equal(mine.render([RAW], (4, 4)), expected)
    assert PAPER.layer_steps == (Relu(), Resize(), Normalise())


def test_describe_says_what_is_done():
    assert PAPER.describe() == (
        "paper: the methods' papers: logit, ReLU, linear interpolation, division by the maximum\n"
        "  score     logit\n"
        "  each map  ReLU -> resize, linear, half pixel -> x / max\n"
        "  layers    mean -> x / max\n"
        "  overlay   inferno, alpha 0.5, mix"
    )
    text = find_recipe("keras-io").describe().splitlines()
    assert "  each map  ReLU -> x / max" in text
    assert "  layers    mean" in text
    at = text.index("  Grad-CAM")
    assert text[at + 1 : at + 3] == [
        "    paper   Σ_c mean_s(g_c) · A_c",
        "    here    Σ_c w_c · A_c with w = mean of g over space and over the batch",
    ]
    assert "  overlay   jet, alpha 0.4, add_rescale" in text
    assert sum(line.startswith("  note      ") for line in text) == 2
    assert "(x - min) / (max - min + 1e-08)" in find_recipe("notebook").describe()


def test_describe_bears_a_function_without_a_docstring():
    bare = replace(methods.find("gradcam"), function=lambda activations: activations)
    recipe = Recipe("bare", "here", layer_steps=(), methods={"gradcam": bare})
    assert "  each map  as it is" in recipe.describe()
    assert "    here    no description" in recipe.describe()


def test_the_documentation_describes_every_recipe_as_it_is():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    for recipe in recipes.TABLE.values():
        assert f"```\n{recipe.describe()}\n```" in page, "run python benchmarks/peers_apart.py"


@pytest.mark.parametrize("typed", ["keras-io", "Keras_IO", "KERAS-io"])
def test_recipes_are_found_whatever_their_case(typed):
    assert find_recipe(typed) is recipes.TABLE["keras-io"]


def test_a_recipe_is_its_own_name():
    mine = PAPER.derive("mine")
    assert find_recipe(mine) is mine


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: find_recipe("papers"), "no recipe 'papers'. Did you mean paper"),
        (lambda: find_recipe("zzz"), "no recipe 'zzz'. There are paper, .*keras-io"),
        (lambda: PAPER.derive("mine", resize=None), "no field 'resize'; it has name, source"),
        (lambda: PAPER.derive("mine", score="softmax"), "score='softmax'; a recipe explains"),
        (lambda: PAPER.derive("mine", fusion="median"), "fusion='median'; layers are joined by"),
        (lambda: PAPER.derive("mine", alike=("Grad-CAM",)), "write 'gradcam'"),
    ],
)
def test_what_is_no_recipe_is_told(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


def test_errors_of_the_parts_come_through():
    with pytest.raises(MethodError, match="no method 'gradcan'"):
        PAPER.method("gradcan")
    with pytest.raises(InputError, match="no fusion"):
        PAPER.render([RAW], (2, 2), "median")
