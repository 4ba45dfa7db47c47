"""What holds for every recipe of the table."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from camcore import methods, recipes
from camcore.errors import InputError
from camcore.recipes import (
    TABLE,
    find_recipe,
)


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


def test_the_documentation_describes_every_recipe_as_it_is():
    page = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text()
    for recipe in recipes.TABLE.values():
        assert f"```\n{recipe.describe()}\n```" in page, "run python benchmarks/peers_apart.py"


@pytest.mark.parametrize("typed", ["keras-io", "Keras_IO", "KERAS-io"])
def test_recipes_are_found_whatever_their_case(typed):
    assert find_recipe(typed) is recipes.TABLE["keras-io"]


@pytest.mark.parametrize("name", TABLE)
def test_a_recipe_names_methods_of_the_table_and_gives_them_what_they_take(name):
    recipe = find_recipe(name)
    assert not {*recipe.alike} & {*recipe.methods}
    for method in recipe.covers():
        paper = methods.find(method.name)
        assert (method.label, method.level) == (paper.label, paper.level)
        assert {*method.options} <= {*method.takes()}
    assert {*recipe.exceptions} <= {method.name for method in recipe.covers()}


ROWS = {
    **{f"the papers': {method.name}": method for method in methods.TABLE},
    **{f"{name}: {method.name}": method for name in TABLE for method in find_recipe(name).covers()},
}
"""The functions of papers, and of libraries."""


@pytest.mark.parametrize("row", ROWS)
def test_a_function_takes_what_its_row_needs_and_no_more(row):
    row = ROWS[row]
    inspect.signature(row.function).bind(**dict.fromkeys(row.needs), **row.options)


ARRAYS = {
    **dict.fromkeys(("activations", "gradients", "hessian_products"), (2, 3, 4, 4)),
    **dict.fromkeys(("images", "image_gradients"), (2, 3, 4, 4)),
    **dict.fromkeys(("guided_gradients", "deconvolved_gradients"), (2, 3, 4, 4)),
    "attention_gradients": (2, 3, 17, 4, 4),
}
"""Shapes of the arrays that functions of rows take."""


@pytest.mark.parametrize("row", ROWS)
def test_an_array_without_space_is_refused_by_its_name(row):
    row = ROWS[row]
    given = {need: np.ones(ARRAYS.get(need, (2,))) for need in row.needs}
    if "layers_activations" in given:
        given["layers_activations"] = [np.ones((2, 3, 4, 4))]
    for need in ARRAYS.keys() & given:
        with pytest.raises(InputError, match=rf"^{need} must be \(batch, .*; got \(2, 3\)\.$"):
            row.function(**{**given, need: np.ones((2, 3))}, **row.options)
