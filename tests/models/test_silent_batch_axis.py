"""Layers whose first axis is not the batch: tokens first, time first."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from architectures import by_hand

import camcore
from camcore.errors import LayerError
from camcore.layers import candidates

METHODS = [
    "gradcam",
    "layercam",
    "gradcam++",
    "shapleycam",
    "eigencam",
    "ablationcam",
    "scorecam",
    "fullgrad",
    "legrad",
]
IMAGES = np.random.default_rng(0).normal(size=(16, 3, 32, 32)).astype(np.float32)
"""As many as there are patches of 8 x 8 pixels."""


@pytest.fixture(scope="module")
def encoders(torch):
    """Two transformers of the same weights, tokens first and batch first."""
    nn = torch.nn

    class Encoder(nn.Module):
        def __init__(self, batch_first, classes=0):
            super().__init__()
            self.batch_first = batch_first
            self.patches = nn.Conv2d(3, 8, 8, 8)
            self.token = nn.Parameter(torch.zeros(classes, 1, 8))
            block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=batch_first)
            self.encoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            tokens = self.patches(x).flatten(2).permute(2, 0, 1)
            tokens = torch.cat([self.token.expand(-1, len(x), -1), tokens])
            if self.batch_first:
                return self.head(self.encoder(tokens.transpose(0, 1)).mean(1))
            return self.head(self.encoder(tokens).mean(0))

    def make(classes):
        torch.manual_seed(0)
        nets = Encoder(False, classes).eval(), Encoder(True, classes).eval()
        with torch.no_grad():
            for parameter in nets[0].parameters():
                parameter.add_(torch.randn_like(parameter) / 5)
        nets[1].load_state_dict(nets[0].state_dict())
        return nets

    return make


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("samples", "classes"),
    [(1, 1), (3, 0), (16, 0)],
    ids=["one, a class token", "three", "as many as tokens"],
)
def test_tokens_first_are_explained_like_batch_first(encoders, method, samples, classes):
    first, usual = encoders(classes)
    images = IMAGES[: min(samples, 3) if method in ("scorecam", "fullgrad") else samples]
    found, expected = (camcore.explain(m, images, 1, None, method) for m in (first, usual))
    assert list(found.raw) == list(expected.raw)
    for name, raw in expected.raw.items():
        scale = np.abs(raw).max()
        assert scale > 0
        np.testing.assert_allclose(found.raw[name], raw, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("samples", "classes"),
    [(1, 1), (3, 0), (16, 0)],
    ids=["one, a class token", "three", "as many as tokens"],
)
def test_own_scores_of_blocks_are_of_each_samples_tokens(encoders, samples, classes):
    how, images = {"method": "legrad", "scored": "block"}, IMAGES[:samples]
    found, expected = (camcore.explain(m, images, 1, **how).raw for m in encoders(classes))
    assert list(found) == list(expected)
    for name, raw in expected.items():
        np.testing.assert_allclose(found[name], raw, rtol=0, atol=1e-5 * raw.max())


@pytest.mark.parametrize("layer", ["encoder.layers.0", "encoder.layers.1.linear2"])
def test_a_named_layer_is_put_right_by_one_pass_once_a_model(torch, encoders, layer):
    first, usual = encoders(0)
    passes = []
    torch.nn.Module.register_forward_hook(first, lambda *_: passes.append(1))
    expected = camcore.explain(usual, IMAGES, 1, layer).raw[layer]
    costs = []
    for _ in range(3):
        passes.clear()
        found = camcore.explain(first, IMAGES, 1, layer).raw[layer]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        costs.append(len(passes))
    assert costs[1:] == [1, 1]
    said = encoders(0)[0]
    torch.nn.Module.register_forward_hook(said, lambda *_: passes.append(1))
    passes.clear()
    layout = camcore.Layout("tokens", grid=(4, 4), prefix=0, batch=1)
    found = camcore.explain(said, IMAGES, 1, layer, layout=layout).raw[layer]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert len(passes) == 1


def test_an_axis_that_is_not_the_batch_is_refused(encoders):
    said = camcore.Layout("tokens", batch=0)
    with pytest.raises(LayerError, match=r"returns \(16, 3, 8\), so axis 0 .* a batch of 3"):
        camcore.explain(encoders(0)[0], IMAGES[:3], 1, "encoder.layers.0", layout=said)


def test_candidates_know_the_batch_axis(encoders):
    first, usual = encoders(1)
    listed = [
        [(c.layer.name, c.size, c.fault, c.chosen) for c in candidates(model, IMAGES[:2])]
        for model in (first, usual)
    ]
    assert listed[0] == listed[1]
    assert ("encoder.layers.0", (4, 4), "", True) in listed[0]


def spiking(torch, steps):
    """Time steps first, as spiking networks have them: ``(T, B, C, H, W)``."""
    nn = torch.nn

    class Spiking(nn.Module):
        def __init__(self):
            super().__init__()
            self.see = nn.Conv2d(3, 6, 3, 2, 1)
            self.fire = nn.Softplus()
            self.head = nn.Linear(6, 5)

        def forward(self, x):
            times = torch.linspace(0.5, 1.5, steps).view(-1, 1, 1, 1, 1) * x
            current = self.see(times.flatten(0, 1)).unflatten(0, (steps, len(x)))
            return self.head(self.fire(current).cumsum(0).mean((0, 3, 4)))

    return Spiking(), "fire", lambda a: a.permute(1, 2, 0, 3, 4)


def clip(torch, steps):
    """A residual block of CLIP's, between permutations."""
    nn = torch.nn

    class Tower(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 8, 8, bias=False)
            self.token = nn.Parameter(torch.randn(8))
            self.before, self.after = nn.LayerNorm(8), nn.LayerNorm(8)
            self.attention = nn.MultiheadAttention(8, 2)
            self.mix = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            tokens = self.patches(x).flatten(2).mT
            token = self.token.expand(len(x), 1, 8)
            tokens = torch.cat([token, tokens], dim=1).permute(1, 0, 2)
            normed = self.before(tokens)
            tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
            tokens = tokens + self.mix(self.after(tokens))
            return self.head(tokens.permute(1, 0, 2)[:, 0])

    return Tower(), "before", lambda a: a[1:].permute(1, 2, 0).unflatten(2, (4, 4))


def recurrent(torch, steps):
    """Columns of a picture read by an LSTM, and a signal, time first."""
    nn = torch.nn

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.see = nn.Conv1d(3, 6, 4, 4)
            self.read = nn.LSTM(6, 8)
            self.norm = nn.LayerNorm(8)
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            read, _ = self.read(self.see(x[:, :, 0]).permute(2, 0, 1))
            return self.head(self.norm(read).relu().mean(0))

    class Signal(Reader):
        def forward(self, x):
            return super().forward(x[:, :, None])

    return Signal(), "norm", lambda a: a.permute(1, 2, 0)


@pytest.mark.parametrize("samples", [1, 2, 4, 16])
@pytest.mark.parametrize("make", [spiking, clip, recurrent])
def test_the_map_is_what_plain_code_gives_whatever_the_batch(torch, make, samples):
    torch.manual_seed(1)
    net, layer, arrange = make(torch, 4)
    net.eval()
    images = torch.from_numpy(IMAGES[:samples])
    images = images[:, :, 0] if make is recurrent else images
    row = SimpleNamespace(
        framework="torch", layer=layer, arrange=arrange, score=lambda outputs: outputs[:, 1]
    )
    expected = by_hand.gradcam(row, net, images)
    found = camcore.explain(net, images, 1, layer).raw[layer]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    said = camcore.Layout("channels_first" if make is spiking else "channels_last", batch=1)
    if make is not clip:
        found = camcore.explain(net, images, 1, layer, layout=said).raw[layer]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    chosen = "norm@activated" if make is recurrent else layer
    assert list(camcore.explain(net, images, 1).raw) == [chosen]


def test_scores_of_alterations_are_those_of_plain_code(torch):
    """Ablation-CAM at a layer of tokens first: the score's fall for each channel set to zero."""
    torch.manual_seed(1)
    net, layer, arrange = clip(torch, 4)
    images = torch.from_numpy(IMAGES[:3])
    kept, falls = [], []
    handle = net.before.register_forward_hook(lambda m, args, output: kept.append(output))
    with torch.no_grad():
        plain = net(images)[:, 1]
        handle.remove()
        activations = kept[0]
        for channel in range(8):
            altered = activations.clone()
            altered[1:, :, channel] = 0  # the class token stays
            handle = net.before.register_forward_hook(lambda *_, altered=altered: altered)
            falls.append((plain - net(images)[:, 1]) / plain)
            handle.remove()
    weights = torch.stack(falls, 1)
    expected = torch.einsum("bc,bchw->bhw", weights, arrange(activations)).numpy()
    found = camcore.explain(net, images, 1, layer, "ablationcam").raw[layer]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("samples", [1, 3, 16])
@pytest.mark.parametrize("method", ["gradcam", "layercam", "ablationcam", "scorecam"])
def test_keras_tokens_first_are_explained_like_batch_first(keras, method, samples):
    layers, ops = keras.layers, keras.ops

    class Turned(layers.Layer):
        def call(self, x):
            return ops.transpose(x, (1, 0, 2))

    class Averaged(layers.Layer):
        def __init__(self, axis):
            super().__init__()
            self.axis = axis

        def call(self, x):
            return ops.mean(x, self.axis)

    def make(turned):
        image = keras.Input((32, 32, 3))
        x = layers.Reshape((16, 8))(layers.Conv2D(8, 8, 8)(image))
        x = Turned()(x) if turned else x
        x = layers.Dense(8, "gelu", name="mixed")(layers.LayerNormalization()(x))
        x = layers.Dense(8, "tanh", name="last")(x)
        return keras.Model(image, layers.Dense(5)(Averaged(0 if turned else 1)(x)))

    first, usual = make(True), make(False)
    usual.set_weights(first.get_weights())
    images = IMAGES[: min(samples, 3) if method == "scorecam" else samples].transpose(0, 2, 3, 1)
    for layer in (None, "mixed"):
        found, expected = (camcore.explain(m, images, 1, layer, method) for m in (first, usual))
        assert list(found.raw) == list(expected.raw) == [layer or "last"]
        for name, raw in expected.raw.items():
            np.testing.assert_allclose(found.raw[name], raw, rtol=0, atol=1e-5 * np.abs(raw).max())


def test_what_moves_with_no_sample_is_refused(torch):
    """A table of as many rows as samples, that no input reaches."""
    nn = torch.nn

    class Looked(nn.Module):
        def __init__(self):
            super().__init__()
            self.see, self.keep, self.head = nn.Conv2d(3, 6, 3), nn.Identity(), nn.Linear(6, 5)
            self.table = nn.Parameter(torch.randn(4, 4, 6))

        def forward(self, x):
            return self.head(self.see(x).mean((2, 3)) * self.keep(self.table).mean((0, 1)))

    with pytest.raises(LayerError, match=r"'keep' returns \(4, 4, 6\) for a batch of 4.*batch"):
        camcore.explain(Looked(), IMAGES[:4], 1, "keep")
