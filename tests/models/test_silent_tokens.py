"""Patches among other tokens: behind them, on grids that are no squares, merged, dropped."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from architectures import by_hand

import camcore
from camcore.errors import LayerError

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 3, 64, 64)).astype(np.float32)
CLIPS = RNG.normal(size=(2, 3, 8, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def transformer(torch):
    """Make a transformer whose patches, of any rank, `gather` puts among other tokens."""
    nn = torch.nn

    class Transformer(nn.Module):
        def __init__(self, patch, gather):
            super().__init__()
            convolution = nn.Conv3d if len(patch) == 3 else nn.Conv2d
            self.patches, self.gather = convolution(3, 8, patch, patch), gather
            self.others = nn.Parameter(torch.randn(1, 32, 8))
            blocks = [nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True) for _ in "ab"]
            self.blocks = nn.ModuleList(blocks)
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            tokens = self.patches(x).flatten(2).mT
            tokens = self.gather(tokens, self.others.expand(len(x), -1, -1)) + 0.1
            for block in self.blocks:
                tokens = block(tokens)
            return self.head(tokens[:, ::3].mean(1))

    def make(patch, gather):
        torch.manual_seed(0)
        return Transformer(patch, gather).eval()

    return make


def behind(count):
    """Detection tokens or registers behind a class token and the patches."""

    def gather(tokens, others):
        import torch

        return torch.cat([others[:, :1], tokens, others[:, 1 : count + 1]], dim=1)

    return gather


def registers(tokens, others):
    """Registers alone, behind."""
    import torch

    return torch.cat((tokens, others[:, :17]), 1)


def prompts(tokens, others):
    """Deep prompts, between the class token and the patches, and as many behind."""
    import torch

    tokens = torch.cat([others[:, :1], tokens], -2)
    tokens = torch.concat([tokens[:, :1], others[:, 1:6], tokens[:, 1:]], dim=1)
    return torch.cat([tokens, others[:, 6:17]], axis=1)


def pooled(tokens, others):
    """The patches' mean, behind them."""
    import torch

    return torch.cat([tokens, tokens.mean(1, keepdim=True)], dim=1)


def slots(tokens, others):
    """Free places filled in, nothing concatenated."""
    whole = others[:, :1].repeat(1, tokens.shape[1] + 17, 1)
    whole[:, 5 : 5 + tokens.shape[1]] = tokens
    return whole


def padded(tokens, others):
    """Zeros before and behind."""
    import torch

    return torch.nn.functional.pad(tokens, (0, 0, 2, 15))


ALL = [
    pytest.param((8, 8), behind(16), (8, 8), 1, id="detection tokens"),
    pytest.param((8, 8), behind(1), (8, 8), 1, id="distillation token behind"),
    pytest.param((8, 8), registers, (8, 8), 0, id="registers at the end"),
    pytest.param((8, 8), prompts, (8, 8), 6, id="prompts before and behind"),
    pytest.param((8, 8), pooled, (8, 8), 0, id="pooled token behind"),
    pytest.param((8, 8), slots, (8, 8), 5, id="nothing concatenated"),
    pytest.param((8, 8), padded, (8, 8), 2, id="padded"),
    pytest.param((16, 4), behind(16), (4, 16), 1, id="spectrogram patches"),
    pytest.param((32, 8), behind(0), (2, 8), 1, id="strips"),
    pytest.param((2, 8, 8), behind(3), (4, 4, 4), 1, id="tubelets"),
]


def explained(row, model, inputs, arrange, layer, **options):
    """Compare the map at a layer with plain code."""
    row = SimpleNamespace(
        framework=row, layer=layer, arrange=arrange, score=lambda outputs: outputs[:, 1]
    )
    expected = by_hand.gradcam(row, model, inputs)
    found = camcore.explain(model, inputs, 1, layer, **options).raw[layer]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def on_grid(grid, prefix):
    """Cut the patches out of ``(B, T, C)`` tensors, as ``(B, C, *S)``."""

    def arrange(tokens):
        patches = tokens[:, prefix : prefix + math.prod(grid)]
        return np.moveaxis(np.asarray(patches).reshape(len(patches), *grid, -1), -1, 1)

    return arrange


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.0.norm1", "blocks.1.linear2"])
@pytest.mark.parametrize(("patch", "gather", "grid", "prefix"), ALL)
def test_the_patches_are_found_among_the_tokens(
    torch, transformer, patch, gather, grid, prefix, layer
):
    model = transformer(patch, gather)
    inputs = torch.from_numpy(CLIPS if len(patch) == 3 else IMAGES)
    explained("torch", model, inputs, on_grid(grid, prefix), layer)
    explained("torch", model, inputs[:1], on_grid(grid, prefix), layer)


@pytest.mark.parametrize(("patch", "gather", "grid", "prefix"), ALL)
def test_keys_of_attention_are_found_where_the_patches_are(
    torch, transformer, patch, gather, grid, prefix
):
    model = transformer(patch, gather)
    inputs = torch.from_numpy(CLIPS if len(patch) == 3 else IMAGES)
    found = camcore.explain(model, inputs, 1, "blocks.1", "legrad").raw
    layout = camcore.Layout("tokens", grid=grid, prefix=prefix)
    said = camcore.explain(model, inputs, 1, "blocks.1", "legrad", layout=layout).raw
    (name,) = found
    assert np.abs(said[name]).max() > 0
    np.testing.assert_array_equal(found[name], said[name])


def test_merged_neighbours_lie_on_a_coarser_grid(torch):
    """Flattened stages as Swin has them, with and without all values kept."""
    nn = torch.nn

    class Stages(nn.Module):
        def __init__(self, keep):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, (4, 4), (4, 4))
            self.norm, self.keep = nn.LayerNorm(8), keep
            self.merged = nn.LayerNorm(32) if keep else nn.Linear(32, 16)
            self.last = nn.Linear(32 if keep else 16, 8)
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            x = self.norm(self.patches(x).flatten(2).mT).unflatten(1, (16, 16))
            x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], dim=-1)
            return self.head(self.last(self.merged(x.flatten(1, 2))).tanh().mean(1))

    for keep in (True, False):
        model = Stages(keep).eval()
        explained("torch", model, torch.from_numpy(IMAGES), on_grid((8, 8), 0), "last")
        assert list(camcore.explain(model, IMAGES, 1).raw) == ["last@activated"]


@pytest.mark.parametrize("kept", [16, 36, 49, 63])
def test_tokens_that_were_dropped_are_no_map(torch, transformer, kept):
    """Though a square number of them is left, and one that merging would leave."""
    model = transformer((8, 8), lambda tokens, others: tokens)

    def drop(module, args, output):
        index = output[..., 0].topk(kept, 1).indices
        return output.gather(1, index[..., None].expand(-1, -1, 8))

    model.blocks[0].register_forward_hook(drop)
    with pytest.raises(
        LayerError, match=rf"'blocks.1': The layer returns {kept} tokens, fewer than .*8x8 patches"
    ):
        camcore.explain(model, IMAGES, 1, "blocks.1")
    explained("torch", model, torch.from_numpy(IMAGES), on_grid((8, 8), 0), "blocks.0.norm1")
    (chosen,) = camcore.explain(model, IMAGES, 1).raw
    assert chosen.startswith("blocks.0")


def test_what_nothing_tells_is_said_by_the_user(torch, transformer):
    """Tokens mixed before any layer returns them: every reading is listed."""
    model = transformer((8, 8), lambda tokens, others: tokens)
    mixing = torch.randn(81, 81)

    def mixed(tokens, others):
        whole = others.repeat(1, 3, 1)[:, :81].clone()
        whole[:, 1:65] = tokens
        return mixing @ whole

    model.gather = mixed
    with pytest.raises(LayerError) as raised:
        camcore.explain(model, IMAGES, 1, "blocks.0")
    assert str(raised.value) == (
        "Layer 'blocks.0': The layer returns 81 tokens, which may be 8x8 patches with 17 more "
        "before or behind them or 9x9 patches behind 0. Say it: layout=camcore.Layout('tokens', "
        "grid=(rows, columns), prefix=n, suffix=m)."
    )
    arrange = on_grid((8, 8), 1)
    for said in ({"grid": (8, 8), "prefix": 1, "suffix": 16}, {"prefix": 1, "suffix": 16},
                 {"prefix": 1}, {"grid": (8, 8), "suffix": 16}):  # fmt: skip
        layout = camcore.Layout("tokens", **said)
        inputs = torch.from_numpy(IMAGES)
        explained("torch", model, inputs, arrange, "blocks.0", layout=layout)
    wrong = camcore.Layout("tokens", grid=(8, 8), prefix=1, suffix=15)
    with pytest.raises(LayerError, match=r"grid of \(8, 8\) with 1 prefix tokens and 15 suffix"):
        camcore.explain(model, IMAGES, 1, "blocks.0", layout=wrong)


def test_evidence_is_asked_for_once_a_model(torch, transformer):
    model = transformer((8, 8), behind(16))
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    for _ in range(2):
        camcore.explain(model, IMAGES, 1)
    # The survey of the layers, and one for either explanation.
    assert len(passes) == 3
    camcore.explain(model, IMAGES, 1, "blocks.0")
    assert len(passes) == 4


@pytest.mark.parametrize("appended", ["layer", "function", "filled"])
@pytest.mark.parametrize("method", ["gradcam", "ablationcam"])
def test_keras_patches_are_found_among_the_tokens(keras, appended, method):
    layers, ops = keras.layers, keras.ops
    before, after = 2, 15

    class Appending(layers.Layer):
        def build(self, shape):
            self.tokens = self.add_weight(shape=(1, before + after, 8))

        def call(self, x):
            own = ops.repeat(self.tokens, ops.shape(x)[0], 0)
            first, last = own[:, :before], own[:, before:]
            if appended == "filled":
                return ops.pad(x, ((0, 0), (before, after), (0, 0)))
            return ops.concatenate([first, x, last], axis=1)

    image = keras.Input((64, 64, 3))
    x = layers.Reshape((64, 8))(layers.Conv2D(8, 8, 8)(image))
    if appended == "layer":
        own = keras.Input((before + after, 8))
        x = layers.Concatenate(axis=1)([own[:, :before], x, own[:, before:]])
    else:
        x = Appending()(x)
    x = layers.LayerNormalization(name="norm")(x)
    x = x + layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Dense(8, "gelu", name="mixed")(x)
    output = layers.Dense(5)(layers.GlobalAveragePooling1D()(x))
    given = IMAGES.transpose(0, 2, 3, 1)
    tokens = RNG.normal(size=(2, before + after, 8)).astype(np.float32)
    several = appended == "layer"
    model = keras.Model([image, own] if several else image, output)
    inputs, options = ([given, tokens], {"input": "0"}) if several else (given, {})
    for layer in ("norm", "mixed"):
        if method == "gradcam":
            explained("keras", model, inputs, on_grid((8, 8), before), layer, **options)
        said = camcore.Layout("tokens", grid=(8, 8), prefix=before, suffix=after)
        found, expected = (
            camcore.explain(model, inputs, 1, layer, method, layout=layout, **options).raw[layer]
            for layout in (None, said)
        )
        assert np.abs(expected).max() > 0
        np.testing.assert_array_equal(found, expected)


def test_keras_strips_lie_as_they_were_cut(keras):
    layers = keras.layers
    image = keras.Input((64, 64, 3))
    x = layers.Reshape((16, 8))(layers.Conv2D(8, (32, 8), (32, 8))(image))
    x = layers.Dense(8, "gelu", name="mixed")(x)
    model = keras.Model(image, layers.Dense(5)(layers.GlobalAveragePooling1D()(x)))
    explained("keras", model, IMAGES.transpose(0, 2, 3, 1), on_grid((2, 8), 0), "mixed")
