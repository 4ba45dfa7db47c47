"""A model's inputs are read once: which array has extent, its size, its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.input_layout import InputLayout
from camcore.inputs import Inputs
from camcore.testing import random_network

IMAGES = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
AGES = np.array([[30.0], [60.0]])


class Detector:
    """An adapter that takes a bare list of images as one argument."""

    input_channels = "first"
    takes_images = True


@dataclass
class Record:
    age: Any
    image: Any


@pytest.mark.parametrize(
    ("nest", "path", "batch"),
    [
        (IMAGES, "", 2),
        ((AGES, IMAGES), "1", 2),
        ({"age": AGES, "image": IMAGES}, "image", 2),
        (Record(AGES, IMAGES), "image", 2),
        ([AGES, {"views": (IMAGES, IMAGES)}], "1.views.0", 2),
        (([*IMAGES],), "0", 2),
    ],
)
def test_inputs_find_the_first_array_with_extent(nest, path, batch):
    inputs = Inputs(nest, "first")
    assert (inputs.path, inputs.size, inputs.batch) == (path, (4, 5), batch)
    assert Inputs(nest, "last").size == (3, 4)


@pytest.mark.parametrize(
    ("chosen", "axes", "path", "size"),
    [
        (None, None, "row", (9,)),
        ("volume", None, "volume", (4, 5, 6)),
        (None, "BCHW", "image", (4, 5)),
        (None, "BHWDC", "volume", (3, 4, 5)),
        (None, "BT", "signal", (7,)),
        ("image", "BHWC", "image", (3, 4)),
    ],
)
def test_what_is_chosen_or_said_of_the_axes_finds_the_array(chosen, axes, path, size):
    arrays = {"weights": (5,), "row": (2, 3, 9), "image": IMAGES.shape}
    arrays |= {"volume": (2, 3, 4, 5, 6), "signal": (2, 7)}
    native = {name: np.zeros(shape) for name, shape in arrays.items()}
    inputs = Inputs.of(native, Detector(), chosen, axes and InputLayout(axes))
    assert (inputs.path, inputs.size, inputs.batch) == (path, size, 2)
    assert inputs.name == (f"@input.{chosen}" if chosen else "@input")


def test_axes_of_no_input_are_refused_with_the_shapes_that_there_are():
    inputs = Inputs.of((AGES, IMAGES[0]), Detector(), layout=InputLayout("BCHWD"))
    assert inputs.pictures == {"1": (3, 4, 5)}
    words = r"'BCHWD' names 5 axes; the model's inputs have the shapes \(2, 1\), \(3, 4, 5\)\. "
    with pytest.raises(InputError, match=words):
        _ = inputs.path


def test_arrays_are_those_that_a_pass_has_made():
    network, images = random_network(), np.ones((2, 2, 8, 8))
    inputs = Inputs.of([*images], network).traced(network.run(images))
    np.testing.assert_array_equal(inputs.arrays[""], images)
    assert len(inputs.native) == 2


def test_inputs_without_extent_have_no_size():
    inputs = Inputs({"age": AGES}, "first")
    assert (inputs.path, inputs.size, inputs.batch) == (None, (), 2)
    with pytest.raises(InputError, match=r"alters images, .* have the shapes \(2, 1\)"):
        inputs.image_path()


def test_inputs_read_a_bare_list_as_one_argument_only_where_the_model_takes_images():
    listed = [*IMAGES]
    assert Inputs.of(listed, Detector()).shapes == {"0": (2, 3, 4, 5)}
    assert Inputs.of(listed, random_network()).shapes == {"0": (3, 4, 5), "1": (3, 4, 5)}


def test_inputs_refuse_images_of_several_sizes():
    with pytest.raises(InputError, match=r"shapes \(3, 4, 5\), \(3, 4, 4\).*one by one"):
        _ = Inputs.of([IMAGES[0], IMAGES[1, :, :, 1:]], Detector()).size


@pytest.mark.parametrize("index", [0, 1])
def test_sample_keeps_the_batch_axis_and_what_has_none(index):
    inputs = Inputs({"image": IMAGES, "age": AGES, "k": 3, "views": [*IMAGES]}, "first")
    alone = inputs.sample(index).native
    np.testing.assert_array_equal(alone["image"], IMAGES[[index]])
    np.testing.assert_array_equal(alone["age"], AGES[[index]])
    np.testing.assert_array_equal(alone["views"], IMAGES[[index]])
    assert alone["k"] == 3


def test_an_input_that_is_not_there_is_answered_with_those_that_are():
    words = r"no input '2' with .* given '0' \(2, 1\), '1' \(2, 3, 4, 5\)\.$"
    with pytest.raises(InputError, match=words):
        _ = Inputs((AGES, IMAGES), "first", chosen="2").path


def test_a_list_of_plain_numbers_is_one_array_of_samples():
    inputs = Inputs({"image": IMAGES, "age": [30, 60]}, "first")
    assert inputs.shapes == {"image": IMAGES.shape, "age": (2,)}
    assert inputs.sample(1).native["age"] == [60]
    assert inputs.with_images(IMAGES[[0, 0, 1]], [0, 0, 1]).native["age"] == [30, 30, 60]
    pair = Inputs({"image": IMAGES, "age": (30, 60)}, "first")
    assert pair.sample(1).native["age"] == (60,)
    assert pair.with_images(IMAGES[[0, 0, 1]], [0, 0, 1]).native["age"] == (30, 30, 60)


def test_others_of_the_same_structure_have_not_been_through_a_pass():
    inputs = Inputs((AGES, IMAGES), "first", {"0": AGES, "1": IMAGES})
    assert inputs.sample(1).arrays == inputs.with_images(IMAGES).arrays == {}
    assert Inputs(IMAGES, "first").arrays == {}


def test_with_images_takes_the_place_of_the_batch():
    inputs = Inputs((AGES, IMAGES), "first")
    ages, images = inputs.with_images(IMAGES + 1).native
    assert ages is AGES
    np.testing.assert_array_equal(images, IMAGES + 1)


def test_with_images_repeats_what_is_beside_a_sample():
    inputs = Inputs((AGES, IMAGES, 7, [*IMAGES]), "first", {"0": AGES, "1": IMAGES})
    ages, images, seven, others = inputs.with_images(np.stack([IMAGES[1]] * 3), 1).native
    np.testing.assert_array_equal(ages, [[60.0]] * 3)
    assert isinstance(others, list)
    np.testing.assert_array_equal(others, [IMAGES[1]] * 3)
    assert images.shape == (3, 3, 4, 5)
    assert seven == 7


def test_with_images_leaves_what_all_samples_share():
    arrays = {"0": AGES, "1": IMAGES}
    inputs = Inputs((AGES, IMAGES), "first", arrays, shared=frozenset("0"))
    assert inputs.with_images(IMAGES[[1, 1, 1]], 1).native[0] is AGES
    assert inputs.sample(1).native[0] is AGES


def test_with_images_keeps_a_list_of_images_a_list():
    altered = Inputs(([*IMAGES],), "first").with_images(IMAGES[::-1]).native
    assert isinstance(altered[0], list)
    np.testing.assert_array_equal(altered[0], IMAGES[::-1])
