"""The contract's own arithmetic: names of layers, cotangents, replays, what layers add."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.adapter import Bias, LayerName, SeedRun, check_cotangents, replays
from camcore.errors import LayerError, TargetError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("layer4", ("layer4", "", None)),
        ("layer4.0.relu#1", ("layer4.0.relu", "", 1)),
        ("head/fc#-2", ("head/fc", "", -2)),
        ("blocks.11@attention", ("blocks.11", "attention", None)),
        ("blocks.11@attention#0", ("blocks.11", "attention", 0)),
        ("conv@linear#3", ("conv", "linear", 3)),
        ("@input", ("", "input", None)),
        ("Conv@0", ("Conv@0", "", None)),
        ("@odd", ("@odd", "", None)),
    ],
)
def test_layer_name_is_taken_apart_and_put_together(text, parts):
    name = LayerName.parse(text)
    assert (name.path, name.part, name.call) == parts
    assert str(name) == text


@pytest.mark.parametrize("text", ["relu#", "relu#last", "relu#1.5", "relu#1#2"])
def test_layer_name_takes_a_number_for_the_call(text):
    with pytest.raises(LayerError, match="after '#' comes the number of the call"):
        LayerName.parse(text)


@pytest.mark.parametrize(
    ("text", "ran", "index"),
    [("relu", 3, 2), ("relu#0", 3, 0), ("relu#-3", 3, 0), ("relu#2", 3, 2)],
)
def test_layer_name_counts_calls_from_either_end(text, ran, index):
    assert LayerName.parse(text).index(ran) == index


@pytest.mark.parametrize(
    ("text", "ran", "message"),
    [
        ("relu#3", 3, "'relu#3': the layer ran 3 times, so #0 to #2 exist"),
        ("relu#-4", 3, "'relu#-4': the layer ran 3 times"),
        ("relu#1", 1, "the layer ran once, so there is only #0"),
        ("relu", 0, "Layer 'relu' did not run in this pass"),
        ("relu@attention", 0, "'relu@attention': the layer computed no softmax attention"),
    ],
)
def test_layer_name_refuses_a_call_that_did_not_happen(text, ran, message):
    with pytest.raises(LayerError, match=message):
        LayerName.parse(text).index(ran)


OUTPUTS = {"logits": np.zeros((2, 3), np.float32), "kept": np.zeros(2, int)}


def test_cotangents_of_floating_outputs_pass():
    check_cotangents({}, OUTPUTS)
    check_cotangents({"logits": np.ones((2, 3))}, OUTPUTS)


@pytest.mark.parametrize(
    ("cotangents", "message"),
    [
        ({"boxes": np.ones(2)}, "an output 'boxes'; the model's floating outputs are 'logits'"),
        ({"kept": np.ones(2)}, "an output 'kept'; the model's floating outputs are 'logits'"),
        ({"logits": np.ones((2, 1))}, r"has shape \(2, 1\); the output has \(2, 3\)"),
        ({"logits": 1.0}, r"has shape \(\); the output has \(2, 3\)"),
    ],
)
def test_cotangents_that_do_not_fit_are_refused(cotangents, message):
    with pytest.raises(TargetError, match=message):
        check_cotangents(cotangents, OUTPUTS)


def test_replays_agree_to_four_epsilons_and_no_less_than_a_hundred_thousandth():
    once = np.array([[1.0, -4.0]])
    twice = np.concatenate([once, once])
    single, half = np.finfo(np.float32).eps, np.finfo(np.float16).eps
    assert replays({"": twice}, {"": once}, single)
    assert replays({"": twice + 3.9e-5}, {"": once}, single)
    assert not replays({"": twice + 4.1e-5}, {"": once}, single)
    assert replays({"": twice + 15 * half}, {"": once}, half)
    assert not replays({"": twice + 17 * half}, {"": once}, half)


def test_replays_refuses_other_shapes_and_missing_outputs():
    once = np.array([[1.0, -4.0]])
    assert not replays({"": once}, {"": once}, 0.0)
    assert not replays({}, {"": once}, 0.0)
    assert replays({}, {"count": np.array(3), "kept": np.array([1, 2])}, 0.0)
    nan = np.array([[np.nan]])
    assert replays({"": np.concatenate([nan, nan])}, {"": nan}, 0.0)


def test_bias_of_batch_norm_is_its_shift_at_zero():
    mean, variance = np.array([1.0, 2.0]), np.array([3.0, 8.0])
    known = {"mean": mean, "variance": variance, "epsilon": 1.0}
    full = Bias.of_batch_norm("n", gamma=np.array([2.0, 3.0]), beta=np.array([5.0, 7.0]), **known)
    np.testing.assert_allclose(full.added, [5 - 2 / 2, 7 - 2 * 3 / 3], rtol=1e-15)
    bare = Bias.of_batch_norm("n", gamma=None, beta=None, **known)
    np.testing.assert_allclose(bare.added, [-1 / 2, -2 / 3], rtol=1e-15)
    np.testing.assert_array_equal(Bias("c", np.array([4.0])).added, [4.0])


def test_an_error_of_a_seed_is_kept_and_zeros_stand_for_every_answer():
    class MinusOne(Exception):
        pass

    def raises(outputs):
        raise MinusOne

    def weighs(outputs):
        return {"": np.ones((2, 3), np.float32)}

    run = SeedRun([weighs, raises])
    answers = run.ask({"": np.zeros((2, 3), np.float32), "kept": np.zeros(2, int)})
    assert isinstance(run.error, MinusOne)
    assert [answer.tolist() for answer in answers] == [np.zeros((2, 3)).tolist()] * 2
    fine = SeedRun([weighs])
    assert np.array_equal(fine.ask({"": np.zeros((2, 3), np.float32)}), np.ones((1, 2, 3)))
    assert fine.error is None
    assert fine.weighed == [{""}]
