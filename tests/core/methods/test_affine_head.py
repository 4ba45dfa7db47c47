"""Ablation-CAM runs nothing where the score is affine in the channels' means, and says the same."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.targets import Class, Contrast, Probability
from camcore.testing import Dense, NumpyAdapter, random_network

RANKS = [1, 2, 3]


def images(rank, count=2):
    return np.random.default_rng(rank).normal(size=(count, 2, *(8, 8, 8)[:rank]))


def evidence_of(network, rank, target=None, **options):
    explainer = camcore.Explainer(network, layer="relu2", method="ablationcam", **options)
    return explainer.evidence(images(rank), target)


def replayed(evidence):
    """The map from one run of what follows the layer for each channel."""
    return methods.ablationcam(evidence.activations, evidence.scores, evidence.resume)


@pytest.fixture
def resumed(monkeypatch):
    """How often what follows a layer is run again."""
    calls = []
    resume = NumpyAdapter.resume

    def counted(self, *given, **options):
        calls.append(given)
        return resume(self, *given, **options)

    monkeypatch.setattr(NumpyAdapter, "resume", counted)
    return calls


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("target", [None, 1, Class([0, 2]), Class(0) - Class(1), Contrast(2)])
def test_behind_pooling_and_a_linear_layer_nothing_is_run(rank, target, resumed):
    network = random_network(rank, head="gap")
    found = camcore.explain(network, images(rank), target, layer="relu2", method="ablationcam")
    assert resumed == []
    evidence = evidence_of(network, rank, target)
    expected = replayed(evidence)
    assert len(resumed) == 2
    np.testing.assert_allclose(found.raw["relu2"], expected, rtol=1e-10, atol=1e-12)
    assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("head", ["flatten", "deep"])
def test_behind_any_other_head_every_channel_is_run(head, resumed):
    network = random_network(2, head=head)
    evidence = evidence_of(network, 2)
    assert evidence.mean_weights is None
    camcore.explain(network, images(2), layer="relu2", method="ablationcam")
    assert len(resumed) == 2


def test_a_target_that_is_not_linear_is_run(resumed):
    network = random_network(2, head="gap")
    evidence = evidence_of(network, 2, Probability(1))
    assert evidence.mean_weights is None
    found = camcore.explain(network, images(2), Probability(1), layer="relu2", method="ablationcam")
    assert len(resumed) == 2
    np.testing.assert_allclose(found.raw["relu2"], replayed(evidence), rtol=1e-12)


def test_a_head_that_is_nearly_linear_is_run():
    network = random_network(2, head="gap")
    weights = network.ops["fc"].weights
    assert evidence_of(network, 2).mean_weights is not None

    class Bent(Dense):
        """A linear layer, but for a thousandth of a square."""

        def forward(self, x):
            linear = super().forward(x)
            return linear + 1e-3 * linear**2

    network.ops["fc"] = Bent(weights, network.ops["fc"].bias)
    assert evidence_of(network, 2).mean_weights is None


def never(sample):
    raise AssertionError("nothing is to be run")


def test_a_hand_value():
    """Means 2 and 1, gains 3 and -1, a score of 4: weights 6/4 and -1/4."""
    activations = np.array([[[[4.0, 0], [2, 2]], [[1, 1], [2, 0]]]])
    found = methods.ablationcam(activations, np.array([4.0]), never, np.array([[3.0, -1.0]]))
    np.testing.assert_allclose(found, [[[5.75, -0.25], [2.5, 3.0]]])


def test_gains_of_other_channels_are_refused():
    with pytest.raises(camcore.errors.InputError, match="mean_weights"):
        methods.ablationcam(np.ones((1, 2, 2, 2)), np.ones(1), never, np.ones((1, 3)))
