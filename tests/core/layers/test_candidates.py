"""Which layers are worth looking at, and why others are not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from camcore.adapter import LayerTrace
from camcore.errors import GradientError
from camcore.layers.candidates import candidates
from camcore.layers.dependent import any_score, dependent_layers
from camcore.testing import Conv, Dense, GlobalAveragePool, NumpyAdapter, random_network


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(2, 2, 8, 8))


def said(found):
    return {one.layer.name: one.fault for one in found}


def test_maps_that_the_score_depends_on_are_worth_it(images):
    found = candidates(random_network(), images)
    assert said(found) == {
        "conv1": "",
        "relu1": "",
        "conv2": "",
        "relu2": "",
        "pool": "no map",
        "fc": "no map",
    }
    assert [one.layer.name for one in found if one.chosen] == ["relu2"]
    assert [one.size for one in found] == [(6, 6), (6, 6), (4, 4), (4, 4), None, None]
    assert found[0].shape == (1, 3, 6, 6)


def why(model, images):
    return {one.layer.name: one.why for one in candidates(model, images) if one.why}


def test_the_last_layer_on_each_grid_matters(images):
    found = why(random_network(), images)
    assert found["relu1"] == "last on a finer grid"
    assert found["relu2"] == "explained when none is named"


def test_of_one_grid_earlier_layers_matter_too_and_none_behind_the_last_gradient():
    rng = np.random.default_rng(0)
    kernels = {f"conv{i}": rng.normal(size=(2, 2, 1, 1)) for i in range(9)}
    ops = {name: Conv(kernel, np.zeros(2)) for name, kernel in kernels.items()}
    ops |= {"pool": GlobalAveragePool(), "fc": Dense(np.eye(2), np.zeros(2))}

    class Ends(NumpyAdapter):
        """The score does not depend on the last layer, as behind a class token."""

        def run(self, inputs, layers=(), seeds=(), **options):
            if seeds and "conv8" in layers:
                raise GradientError("The score does not depend on conv8.")
            return super().run(inputs, layers, seeds, **options)

    assert why(Ends(**ops), rng.normal(size=(1, 2, 8, 8))) == {
        "conv2": "three quarters of the way back, same grid",
        "conv3": "halfway back, same grid",
        "conv5": "a quarter of the way back, same grid",
        "conv7": "explained when none is named",
    }


class Cut(NumpyAdapter):
    """Refuses layers as adapters do that no gradient reaches, naming one of them."""

    def run(self, inputs, layers=(), seeds=(), **options):
        if seeds and {"conv1", "conv2"} & set(layers):
            raise GradientError("The score does not depend on some layer.")
        return super().run(inputs, layers, seeds, **options)


def test_layers_that_no_gradient_reaches_are_found_among_the_others(images):
    faults = said(candidates(Cut(**random_network().ops), images))
    assert [name for name, fault in faults.items() if fault == "no gradient"] == ["conv1", "conv2"]
    assert faults["relu1"] == faults["relu2"] == ""


class Tokens(NumpyAdapter):
    """Four patches behind one class token, of which only the class token is read at the end."""

    def survey(self, inputs):
        shapes = {"conv1": (1, 5, 3), "relu1": (1, 5, 3)}
        return [
            replace(record, shape=shapes.get(record.layer.name, (1, 3)), channels=None)
            for record in super().survey(inputs)
        ]

    def run(self, inputs, layers=(), seeds=(), **options):
        trace = super().run(inputs, (), ())
        patches = np.ones((1, 5, 3))
        alone = patches * (np.arange(5) == 0)[:, None]
        gradients = {"conv1": patches, "relu1": alone}
        traces = {name: LayerTrace(patches, (gradients[name],)) for name in layers}
        return replace(trace, layers=traces)


def test_a_gradient_of_class_tokens_alone_is_none(images):
    faults = said(candidates(Tokens(**random_network().ops), images))
    assert (faults["conv1"], faults["relu1"]) == ("", "no gradient")


def test_a_head_of_zeros_hides_nothing(images):
    ops = random_network().ops
    ops["fc"] = Dense(np.zeros_like(ops["fc"].weights), ops["fc"].bias)
    assert said(candidates(NumpyAdapter(**ops), images))["relu2"] == ""


def test_any_score_weighs_floating_outputs_in_their_own_precision():
    outputs = {"scores": np.zeros((2, 3), np.float32), "boxes": np.zeros((2, 4)), "n": np.arange(2)}
    weights = any_score(outputs)
    assert {path: leaf.dtype for path, leaf in weights.items()} == {
        "scores": np.float32,
        "boxes": np.float64,
    }
    assert all(leaf.shape == outputs[path].shape and leaf.all() for path, leaf in weights.items())


def test_a_model_without_maps_has_no_candidates():
    flat = NumpyAdapter(fc=Dense(np.eye(3), np.zeros(3)))
    (one,) = candidates(flat, np.ones((2, 3)))
    assert (one.fault, one.size, one.chosen) == ("no map", None, False)


def test_dependent_layers_are_found_among_others():
    asked = []

    def run(names):
        asked.append(tuple(names))
        if {"b", "e"} & set(names):
            raise GradientError("The score does not depend on some layer.")
        return SimpleNamespace(layers=dict.fromkeys(names, "seen"))

    assert dependent_layers(run, "abcdef") == dict.fromkeys("acdf", "seen")
    assert asked[0] == tuple("abcdef")
    assert dependent_layers(run, []) == dependent_layers(run, "b") == {}
