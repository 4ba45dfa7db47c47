"""Maps as other libraries' metrics ask for them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.metrics import quantus_explain_func
from camcore.testing import random_network

IMAGES = np.random.default_rng(0).normal(size=(3, 2, 8, 8))
CLASSES = np.array([2, 0, 4])


def test_maps_are_camcores_own_with_an_axis_for_the_channels():
    about = {"method": "layercam", "layer": "relu2"}
    network = random_network()
    found = quantus_explain_func(network, IMAGES, CLASSES, **about, device="cpu")
    expected = camcore.explain(network, IMAGES, CLASSES.tolist(), **about).maps
    assert found.shape == (3, 1, 8, 8)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found[:, 0], expected)
    plain = quantus_explain_func(network, inputs=IMAGES, targets=CLASSES)
    np.testing.assert_array_equal(
        plain[:, 0], camcore.explain(network, IMAGES, CLASSES.tolist()).maps
    )


@pytest.mark.parametrize("targets", [CLASSES[:2], CLASSES / 2, np.eye(3, dtype=int)])
def test_targets_are_a_class_each(targets):
    with pytest.raises(InputError, match="one class, a whole number, for each of 3 inputs"):
        quantus_explain_func(random_network(), IMAGES, targets)


def test_several_methods_are_refused():
    with pytest.raises(InputError, match="evaluates one method"):
        quantus_explain_func(random_network(), IMAGES, CLASSES, method=["gradcam", "layercam"])


def test_the_library_that_asks_is_not_imported():
    code = (
        "import sys, numpy as np; from camcore.metrics import quantus_explain_func as explain;"
        "from camcore.testing import random_network;"
        "explain(random_network(), np.ones((1, 2, 8, 8)), np.array([1]));"
        "assert 'quantus' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
