"""Models run in the modes that their users put them in, against plain code on the same draws."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from architectures.shapes_keras import pictures

import camcore
from camcore.errors import BackendError, LayerError


def apart(one, other):
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    assert one.shape == other.shape
    return float(np.abs(one - other).max() / np.abs(other).max())


def network(torch, *between, end=()):
    nn = torch.nn
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), *between, nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 4), *end),
    ).eval()


def only_dropout(model, torch):
    """In inference, with nothing but dropout in training."""
    kinds = (torch.nn.Dropout, torch.nn.Dropout2d, torch.nn.AlphaDropout)
    for module in model.modules():
        if isinstance(module, kinds):
            module.train()
    return model


def by_hand(torch, model, layer, inputs, target):
    kept = []
    hook = model[layer].register_forward_hook(lambda m, a, out: kept.append(out))
    outputs = model(inputs)
    hook.remove()
    if isinstance(model[-1], torch.nn.Softmax):
        outputs = outputs.log()  # the same gradient as of the logits, up to what all have
        outputs = outputs[:, target] + torch.logsumexp(outputs - outputs, 1) * 0
    else:
        outputs = outputs[:, target]
    (gradients,) = torch.autograd.grad(outputs.sum(), kept)
    weighed = gradients.mean((2, 3), keepdim=True) * kept[0]
    return weighed.sum(1).detach().numpy(), outputs.detach().numpy()


def of_dropout(torch):
    nn = torch.nn
    return only_dropout(network(torch, nn.BatchNorm2d(16), nn.Dropout2d(0.5)), torch)


def of_batch_statistics(torch):
    return network(torch, torch.nn.BatchNorm2d(16, momentum=0.5)).train()


def of_one_submodule(torch):
    model = network(torch, torch.nn.BatchNorm2d(16), torch.nn.Dropout2d(0.3))
    model[2].train()
    return model


def of_power_iteration(torch):
    """A parametrisation that goes on where it is trained."""
    from torch.nn.utils.parametrizations import spectral_norm

    model = network(torch)
    spectral_norm(model[2])
    return model.train()


def of_stochastic_depth(torch):
    nn = torch.nn
    from torchvision.ops import StochasticDepth

    model = network(torch, StochasticDepth(0.5, "row"), nn.RReLU())
    return model.train()


IN_TORCH = [of_dropout, of_batch_statistics, of_one_submodule, of_power_iteration,
            of_stochastic_depth]  # fmt: skip


def frozen(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("make", IN_TORCH, ids=lambda make: make.__name__)
def test_a_torch_model_runs_as_it_is(torch, make):
    model, inputs = make(torch), torch.rand(3, 3, 32, 32)
    layer = str(len(model) - 5)
    twin, modes = copy.deepcopy(model), [m.training for m in model.modules()]
    state = frozen(model)
    explainer = camcore.Explainer(model, mode="as-is", layer=layer)
    for seed in (1, 2):
        torch.manual_seed(seed)
        found = explainer(inputs, 1)
        drawn = torch.rand(1)
        torch.manual_seed(seed)
        raw, scores = by_hand(torch, copy.deepcopy(twin), int(layer), inputs, 1)
        assert apart(found.raw[layer], raw) < 1e-5
        assert apart(found.scores, scores) < 1e-5
        assert torch.equal(torch.rand(1), drawn)  # as many numbers as a call draws
    assert apart(camcore.explain(model, inputs, 1, layer).scores, scores) > 1e-3
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_the_first_call_draws_no_more_than_a_later_one(torch):
    inputs = torch.rand(2, 3, 32, 32)
    model = only_dropout(network(torch, end=[torch.nn.Softmax(1)]), torch)
    torch.manual_seed(5)
    first = camcore.explain(model, inputs, 1, mode="as-is")  # looks for a layer and for the logits
    torch.manual_seed(5)
    later = camcore.explain(model, inputs, 1, mode="as-is")
    np.testing.assert_array_equal(first.scores, later.scores)
    torch.manual_seed(5)
    np.testing.assert_allclose(later.outputs, model[:-1](inputs).detach(), rtol=1e-5, atol=1e-6)


def test_the_whole_of_a_torch_model_can_be_run_in_training(torch):
    model = network(torch, torch.nn.BatchNorm2d(16), torch.nn.Dropout2d(0.5))
    inputs = torch.rand(3, 3, 32, 32)
    torch.manual_seed(3)
    found = camcore.explain(model, inputs, 2, "5", mode="train")
    torch.manual_seed(3)
    raw, scores = by_hand(torch, copy.deepcopy(model).train(), 5, inputs, 2)
    assert apart(found.raw["5"], raw) < 1e-5
    assert apart(found.scores, scores) < 1e-5
    assert not model.training
    assert int(model[2].num_batches_tracked) == 0


def test_the_spread_of_maps_is_that_of_plain_draws(torch):
    model, inputs = of_dropout(torch), torch.rand(1, 3, 32, 32)
    explainer = camcore.Explainer(model, layer="5", mode="as-is")
    torch.manual_seed(0)
    found = np.std([explainer(inputs, 1).raw["5"] for _ in range(30)], axis=0)
    torch.manual_seed(0)
    plain = np.std([by_hand(torch, model, 5, inputs, 1)[0] for _ in range(30)], axis=0)
    assert plain.max() > 0
    assert apart(found, plain) < 1e-4
    fixed = [camcore.explain(model, inputs, 1, "5").raw["5"] for _ in range(2)]
    np.testing.assert_array_equal(*fixed)


@pytest.mark.parametrize("make", [of_dropout, of_batch_statistics], ids=["draws", "mixes"])
def test_going_on_from_a_layer_is_refused_where_it_gives_something_else(torch, make):
    model, inputs = make(torch), torch.rand(2, 3, 32, 32)
    layer = str(len(model) - 5)
    with pytest.raises(LayerError, match=r"does not give its outputs again.*mode='eval'"):
        camcore.explain(model, inputs, 1, layer, "ablationcam", mode="as-is")
    camcore.explain(model, inputs, 1, layer, "ablationcam")


def test_a_replay_of_what_draws_before_the_layer_is_of_the_same_draw(torch):
    model, inputs = network(torch, torch.nn.Dropout2d(0.5)), torch.rand(1, 3, 32, 32)
    model[2].train()
    found = camcore.explain(model, inputs, 1, "4", "ablationcam", mode="as-is")
    assert np.isfinite(found.raw["4"]).all()


def test_what_cannot_be_run_in_another_mode_says_so(torch):
    model = network(torch)
    with pytest.raises(BackendError, match=r"mode='evaluation'; expected 'eval'"):
        camcore.Explainer(model, mode="evaluation")
    with pytest.raises(BackendError, match="leave out `fast`, or mode='as-is'"):
        camcore.Explainer(model, mode="as-is", fast=True)


def in_keras(keras, kind):
    layers = keras.layers

    class Always(layers.Dropout):
        def call(self, x, training=None):
            return super().call(x, training=True)

    class Net(keras.Model):
        """Trains unless it is told otherwise."""

        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")
            self.drop, self.fc = layers.Dropout(0.5), layers.Dense(4)

        def call(self, x, training=True):
            x = self.drop(self.conv(x), training=training)
            return self.fc(keras.ops.mean(x, (1, 2)))

    keras.utils.set_random_seed(0)
    if kind == "default":
        model = Net()
        model(pictures(1), training=False)
        return model
    x = keras.Input((32, 32, 3))
    h = layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(x)
    h = layers.BatchNormalization(momentum=0.5)(h)
    if kind == "argument":
        h = layers.Dropout(0.5)(h, training=True)
    h = Always(0.5)(h) if kind == "class" else layers.Dropout(0.5)(h)
    h = layers.GaussianNoise(0.1)(h) if kind == "noise" else h
    return keras.Model(x, layers.Dense(4)(layers.GlobalAveragePooling2D()(h)))


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("argument", "as-is", {}),
        ("class", "eval", {"training": False}),  # on whatever the mode
        ("default", "as-is", {}),
        ("plain", "train", {"training": True}),
        ("noise", "train", {"training": True}),
        ("class", "as-is", {}),
    ],
)
def test_a_keras_model_draws_as_a_call_does(keras, tf, kind, mode, options):
    model, inputs = in_keras(keras, kind), pictures(2)
    twin = in_keras(keras, kind)
    state = [np.array(v) for v in model.variables]
    explainer = camcore.Explainer(model, layer="conv", mode=mode)
    found = [explainer(inputs, 1) for _ in range(4)]
    for one in found:  # the twin's own draws go on from call to call
        layer = twin.get_layer("conv")
        kept, usual = [], layer.call
        for variable, value in zip(twin.variables, state, strict=True):
            if "seed_generator" not in variable.path:
                variable.assign(value)
        with tf.GradientTape() as tape:

            def call(x, tape=tape, kept=kept, usual=usual):
                kept.append(usual(x))
                tape.watch(kept[-1])
                return kept[-1]

            layer.call = call
            scores = twin(inputs, **options)[:, 1]
        del layer.call
        gradients = tape.gradient(scores, kept[0]).numpy()
        weighed = (gradients.mean((1, 2), keepdims=True) * kept[0].numpy()).sum(-1)
        assert apart(one.raw["conv"], weighed) < 1e-5
        assert apart(one.scores, scores.numpy()) < 1e-5
    assert all(apart(found[i].scores, found[i + 1].scores) > 1e-3 for i in range(3))
    for variable, value in zip(model.variables, state, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


def test_a_keras_model_in_inference_draws_nothing(keras):
    model, inputs = in_keras(keras, "plain"), pictures(2)
    found = [camcore.explain(model, inputs, 1, "conv").scores for _ in range(2)]
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], np.array(model(inputs))[:, 1], rtol=1e-5)


def test_going_on_from_a_keras_layer_is_refused_where_it_draws(keras):
    with pytest.raises(LayerError, match="mixes the samples of a batch or draws at random"):
        camcore.explain(in_keras(keras, "class"), pictures(1), 1, "conv", "ablationcam")
