"""What a model's loss or configuration says of its outputs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from camcore.targets.scale import Scale
from camcore.targets.stated import of_loss, stated_scales

PLAIN = Scale("none")
SIGMOID, SOFTMAX = Scale("sigmoid", applied=True), Scale("softmax", applied=True)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("binary_crossentropy", Scale("sigmoid", applied=True)),
        ("SparseCategoricalCrossentropy", Scale("softmax", applied=True)),
        ("mse", Scale("none")),
        ("wasserstein", None),
        (lambda true, found: found - true, None),
        (None, None),
    ],
)
def test_a_loss_says_whether_outputs_are_probabilities(loss, expected):
    assert of_loss(loss) == expected


KERAS = {
    SIGMOID: "binary_crossentropy bce BinaryCrossentropy binary_focal_crossentropy",
    SOFTMAX: "categorical_crossentropy categorical_focal_crossentropy "
    "sparse_categorical_crossentropy CategoricalFocalCrossentropy",
    PLAIN: "mean_squared_error mse MeanSquaredError mean_absolute_error mae "
    "mean_absolute_percentage_error mape mean_squared_logarithmic_error msle log_cosh huber Huber",
}


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(loss, scale) for scale, names in KERAS.items() for loss in names.split()],
)
def test_a_loss_of_keras_is_known_by_its_name(loss, expected):
    assert of_loss(loss) == expected


def loss(name, module="keras.src.losses.losses", **config):
    """An object of a loss, as Keras makes one around a function."""

    def function(true, found):
        return found - true

    function.__name__, function.__module__ = name, module
    return SimpleNamespace(fn=function, get_config=lambda: config)


def test_an_object_of_a_loss_says_whether_it_takes_logits():
    assert of_loss(loss("binary_crossentropy")) == SIGMOID
    assert of_loss(loss("binary_crossentropy", from_logits=False)) == SIGMOID
    assert of_loss(loss("binary_crossentropy", from_logits=True)) == Scale("sigmoid")
    assert of_loss(loss("bce", "tf_keras.src.losses", from_logits=True)) == Scale("sigmoid")
    assert of_loss(loss("binary_crossentropy", "losses_of_ones_own")) is None


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("multi_label_classification", {"*": Scale("sigmoid")}),
        ("single_label_classification", {"*": Scale("softmax")}),
        ("regression", {"*": PLAIN}),
        ("riddle", {}),
        (None, {}),
    ],
)
def test_a_configuration_of_hugging_face_says_what_its_loss_takes(problem, expected):
    model = SimpleNamespace(config=SimpleNamespace(problem_type=problem))
    assert stated_scales(model) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mse", {"*": PLAIN}),
        (["mse"], {"*": PLAIN}),
        ([], {}),
        (["mse", "bce"], {"size": PLAIN, "0": PLAIN, "kind": SIGMOID, "1": SIGMOID}),
        ({"kind": "bce"}, {"kind": SIGMOID, "1": SIGMOID}),
        ({"kind": "bce", "size": "own"}, {"kind": SIGMOID, "1": SIGMOID}),
    ],
)
def test_the_losses_of_several_outputs_are_told_by_name_and_number(given, expected):
    assert stated_scales(SimpleNamespace(loss=given, output_names=["size", "kind"])) == expected
