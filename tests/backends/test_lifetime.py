"""Explainers go to other processes with their models, and keep no model alive."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import weakref

import numpy as np
import pytest

import camcore

SIZE = (16, 16)
METHODS = ["gradcam", "eigencam", "ablationcam"]


@pytest.fixture(params=["torch", "keras"])
def subject(request):
    """Make models of a framework, and inputs for them; how many references Keras keeps itself."""
    framework = request.getfixturevalue(request.param)
    images = np.random.default_rng(0).normal(size=(2, *SIZE, 3)).astype(np.float32)
    if request.param == "torch":

        def make():
            nn = framework.nn
            framework.manual_seed(0)
            body = (nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3), nn.ReLU())
            return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

        return make, framework.from_numpy(images.transpose(0, 3, 1, 2).copy()), False

    def make():
        layers = framework.layers
        framework.utils.set_random_seed(0)
        body = [layers.Conv2D(6, 3, activation="relu"), layers.BatchNormalization()]
        head = [layers.GlobalAveragePooling2D(), layers.Dense(5)]
        top = layers.Conv2D(8, 3, activation="relu", name="top")
        return framework.Sequential([framework.Input((*SIZE, 3)), *body, top, *head])

    return make, images, True


ELSEWHERE = """
import pickle, sys
explainer, inputs = pickle.load(open(sys.argv[1], "rb"))
for name, one in explainer(inputs).items():
    one.save(f"{sys.argv[1]}.{name}.npz")
"""


def assert_same(found, expected):
    for name, one in expected.items():
        np.testing.assert_array_equal(found[name].maps, one.maps)
        np.testing.assert_array_equal(found[name].scores, one.scores)
        assert found[name].layers == one.layers
        for layer, raw in one.raw.items():
            np.testing.assert_array_equal(found[name].raw[layer], raw)


def test_an_explainer_goes_to_another_process_and_gives_the_same_maps(subject, tmp_path):
    make, inputs, _ = subject
    explainer = camcore.Explainer(make(), method=METHODS)
    expected = explainer(inputs)
    assert max(one.maps.max() for one in expected.values()) == 1
    there = pickle.loads(pickle.dumps(explainer))
    assert there.model is not explainer.model
    assert_same(there(inputs), expected)
    assert_same(pickle.loads(pickle.dumps(expected)), expected)
    path = tmp_path / "explainer.pickle"
    path.write_bytes(pickle.dumps((explainer, inputs)))
    subprocess.run([sys.executable, "-c", ELSEWHERE, path], check=True, capture_output=True)
    assert_same({name: camcore.load(f"{path}.{name}.npz") for name in METHODS}, expected)


def test_a_model_is_freed_when_its_last_name_goes(subject):
    """Keras models are in circles of their own: there, no reference may be added to these."""
    make, inputs, circles = subject
    gc.collect()
    gc.disable()
    try:
        model = make()
        model(inputs)
        before = sys.getrefcount(model)
        results = camcore.explain(model, inputs, method=METHODS)
        camcore.Explainer(model)(inputs)
        assert sys.getrefcount(model) == before
        known = weakref.ref(model)
        del model
        if circles:
            gc.collect()
        assert known() is None
        assert set(results) == set(METHODS)
    finally:
        gc.enable()
