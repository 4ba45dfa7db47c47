"""Recipes on 2 x 2 maps, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from camcore import methods
from camcore.errors import InputError, MethodError, RecipeError
from camcore.recipes import (
    PAPER,
    Normalise,
    Recipe,
    Relu,
    Rendering,
    Resize,
    Tanh,
    find_recipe,
)
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


def test_a_method_may_be_shown_otherwise():
    mine = PAPER.derive("mine", exceptions={"fem": Rendering((Tanh(1.0),))})
    np.testing.assert_allclose(mine.render([RAW], (4, 4), method="fem"), np.tanh(RAW))
    np.testing.assert_allclose(mine.render([RAW], (4, 4)), [DOUBLED / 4], rtol=1e-7)
    assert "  FEM\n    each map  tanh(1 x)\n    layers    mean\n" in mine.describe()


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
        "  RefineCAM\n"
        "    each map  ReLU -> resize, linear, half pixel -> (x - min) / (max - min)\n"
        "    layers    product -> (x - min) / (max - min)\n"
        "  overlay   inferno, alpha 0.8, mix_by_heat"
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


def test_a_recipe_is_its_own_name():
    mine = PAPER.derive("mine")
    assert find_recipe(mine) is mine


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: find_recipe("papers"), "no recipe 'papers'. Did you mean 'paper'\\?"),
        (
            lambda: find_recipe("zzz"),
            "no recipe 'zzz'. There are 'paper', 'pytorch-grad-cam', .* more",
        ),
        (
            lambda: PAPER.derive("mine", resize=None),
            "no field 'resize'. There are 'name', 'source', .* more",
        ),
        (lambda: PAPER.derive("mine", score="softmax"), "score='softmax'; a recipe explains"),
        (lambda: PAPER.derive("mine", fusion="median"), "fusion='median'; layers are joined by"),
        (lambda: PAPER.derive("mine", alike=("Grad-CAM",)), "write 'gradcam'"),
    ],
)
def test_recipe_refuses_unknown_fields_and_names(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


def test_errors_of_the_parts_come_through():
    with pytest.raises(MethodError, match="no method 'gradcan'"):
        PAPER.method("gradcan")
    with pytest.raises(InputError, match="no fusion"):
        PAPER.render([RAW], (2, 2), "median")
