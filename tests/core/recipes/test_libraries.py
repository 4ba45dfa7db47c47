"""How each library shows its maps, on 2 x 2 maps worked out by hand."""

from __future__ import annotations

import numpy as np

from camcore import methods
from camcore.recipes import (
    PAPER,
    find_recipe,
    keras_io,
)

RAW = np.array([[[-1.0, 2.0], [4.0, 3.0]]])


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
    assert recipe.method("Grad-CAM").function is keras_io.gradcam_batch_mean
    assert recipe.method("hirescam") is methods.find("hirescam")
    # A row given as such was chosen on purpose.
    assert recipe.method(methods.find("gradcam")).function is methods.gradcam
    assert PAPER.method("gradcam").function is methods.gradcam


def test_monai_inverts_and_leaves_a_map_without_evidence_at_zero():
    rendered = find_recipe("monai").render([RAW], (2, 2))
    np.testing.assert_array_equal(rendered, [[[1, 0.5], [0, 0.25]]])
    assert not find_recipe("monai").render([-np.ones((1, 3, 3))], (6, 6)).any()


def test_captum_keeps_signs_and_units():
    rendered = find_recipe("captum").render([RAW], (4, 4))
    np.testing.assert_array_equal(rendered, [np.kron(RAW[0], np.ones((2, 2)))])


def test_tf_explain_scales_what_speaks_against_the_class_into_the_map():
    rendered = find_recipe("tf-explain").render([RAW], (2, 2))
    np.testing.assert_allclose(rendered, [[[0, 3 / 5], [1, 4 / 5]]], rtol=1e-7)


def test_layers_meet_at_the_largest_of_them():
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
