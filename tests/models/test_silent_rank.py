"""A layer has other spatial axes than the input: its map lies over what they share, or says so."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.errors import InputError, LayerError, MethodError
from camcore.resize import resize

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def cam(activations, gradients):
    """Grad-CAM of ``(B, C, *S)`` as its paper has it, signed."""
    space = tuple(range(2, activations.ndim))
    return (gradients.mean(space, keepdims=True) * activations).sum(1)


def shown(raw, size):
    """ReLU, one resize, division by the maximum."""
    maps = resize(np.maximum(raw, 0), size, leading=1)
    largest = maps.max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    return maps / np.where(largest > 0, largest, 1)


def near(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=5e-6 * np.abs(other).max())


def torch_models(torch):
    nn = torch.nn

    class Spectrogram(nn.Module):
        """A waveform, its log spectrogram, and two convolutions on that."""

        def __init__(self):
            super().__init__()
            self.register_buffer("window", torch.hann_window(64))
            self.first = nn.Conv2d(1, 6, 3, 1, 1)
            self.second = nn.Conv2d(6, 8, 3, 2, 1)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            power = torch.stft(x, 64, 32, window=self.window, return_complex=True).abs() ** 2
            x = self.second(torch.relu(self.first(torch.log(power + 1e-3)[:, None])))
            return self.head(torch.relu(x).mean((2, 3)))

    class Columns(nn.Module):
        """A line of text: its columns are read one after the other."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(
                *(nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, (8, 1)), nn.ReLU())
            )
            self.read = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
            self.head = nn.Linear(12, 4)

        def forward(self, x):
            return self.head(self.read(self.conv(x).squeeze(2).mT)[0].mean(1))

    class Slices(nn.Module):
        """A volume whose slices are joined, then seen as one picture."""

        def __init__(self):
            super().__init__()
            self.join = nn.Conv3d(1, 6, (6, 3, 3), (1, 2, 2), (0, 1, 1))
            self.flat = nn.Conv2d(6, 8, 3, 2, 1)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            x = torch.relu(self.join(x)).squeeze(2)
            return self.head(torch.relu(self.flat(x)).mean((2, 3)))

    class Bands(nn.Module):
        """A spectrogram whose frequencies become the channels of a sequence."""

        def __init__(self):
            super().__init__()
            self.image = nn.Conv2d(1, 4, 3, 1, 1)
            self.along = nn.Conv1d(4 * 10, 8, 3, 2, 1)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            x = self.along(torch.relu(self.image(x)).flatten(1, 2))
            return self.head(torch.relu(x).mean(2))

    class Folded(nn.Module):
        """A signal, filtered, then folded into periods."""

        def __init__(self):
            super().__init__()
            self.filter = nn.Conv1d(1, 4, 5, 1, 2)
            self.period = nn.Conv2d(4, 8, 3, 1, 1)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            x = torch.relu(self.filter(x)).unflatten(2, (-1, 8))
            return self.head(torch.relu(self.period(x)).mean((2, 3)))

    torch.manual_seed(0)
    return {each.__name__: each().eval() for each in (Spectrogram, Columns, Slices, Bands, Folded)}


@pytest.fixture(scope="module")
def models(torch):
    return torch_models(torch)


def plain(torch, model, layer, x):
    """Activations and gradients of class 1, as the layer has them."""
    kept = []

    def keep(module, args, out):
        kept.append(out[0] if isinstance(out, tuple) else out)

    hook = model.get_submodule(layer).register_forward_hook(keep)
    with hook, torch.enable_grad():
        score = model(torch.from_numpy(x))[:, 1].sum()
        (gradients,) = torch.autograd.grad(score, kept[0])
    return kept[0].detach().numpy(), gradients.numpy()


# For each: the input's shape, the layer, and the shape of its map over the input.
LOST = {
    "Columns": ((2, 1, 16, 48), "read", (1, 24)),
    "Slices": ((2, 1, 6, 24, 20), "flat", (1, 6, 5)),
    "Bands": ((2, 1, 10, 32), "along", (1, 16)),
}


@pytest.mark.parametrize("name", LOST)
def test_a_layer_that_has_lost_an_axis_is_alike_all_along_it(torch, models, name):
    shape, layer, size = LOST[name]
    model, x = models[name], floats(*shape)
    result = camcore.explain(model, x, 1, layer)
    kept, gradients = plain(torch, model, layer, x)
    if name == "Columns":  # channels last
        kept, gradients = kept.transpose(0, 2, 1), gradients.transpose(0, 2, 1)
    near(result.raw[layer], cam(kept, gradients).reshape(2, *size))
    near(result.maps, shown(result.raw[layer], shape[2:]))
    assert result.frame == "input"
    assert np.ptp(result.maps, axis=1).max() == 0


def test_what_has_lost_an_axis_masks_and_is_altered_like_any_other(torch, models):
    """Score-CAM by hand: each channel, enlarged and scaled, masks the volume."""
    model, x = models["Slices"], floats(1, 1, 6, 24, 20)
    found = camcore.explain(model, x, 1, "flat", method="scorecam").raw["flat"]
    kept, _ = plain(torch, model, "flat", x)
    masks = resize(kept[0], (24, 20), leading=1)
    low, high = (extreme(masks, axis=(1, 2), keepdims=True) for extreme in (np.min, np.max))
    masks = ((masks - low) / (high - low))[:, None, None]
    scores = model(torch.from_numpy((x * masks).astype(np.float32)))[:, 1].detach().numpy()
    weights = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    near(found[0, 0], (weights[:, None, None] * kept[0]).sum(0))
    ablation = camcore.explain(model, x, 1, "flat", method="ablationcam").raw["flat"]
    whole = float(model(torch.from_numpy(x))[0, 1])
    drops = []
    for channel in range(8):
        without = kept.copy()
        without[:, channel] = 0
        score = model.head(torch.relu(torch.from_numpy(without)).mean((2, 3)))[0, 1]
        drops.append((whole - float(score)) / whole)
    near(ablation[0, 0], (np.array(drops)[:, None, None] * kept[0]).sum(0))


OWN = {
    "Spectrogram": ((2, 800), "second", (17, 13)),
    "Folded": ((2, 1, 96), "period", (12, 8)),
}


@pytest.mark.parametrize("name", OWN)
def test_a_layer_with_axes_of_its_own_keeps_its_grid_and_says_so(torch, models, name, tmp_path):
    shape, layer, size = OWN[name]
    model, x = models[name], floats(*shape)
    with pytest.warns(
        UserWarning,
        match=rf"{layer!r} \({size[0]}, {size[1]}\) lies on the layer's own grid, .*at",
    ):
        result = camcore.explain(model, x, 1, layer)
    near(result.raw[layer], cam(*plain(torch, model, layer, x)))
    near(result.maps, shown(result.raw[layer], size))
    assert result.frame == "layer"
    assert "on the layer's own grid" in repr(result)
    larger = result.at((33, 26))
    near(larger.maps, shown(result.raw[layer], (33, 26)))
    result.save(tmp_path / "maps.npz")
    loaded = camcore.load(tmp_path / "maps.npz")
    assert (loaded.frame, larger.frame, result[0].frame) == ("layer",) * 3
    with pytest.raises(InputError, match=r"have 2 spatial axes, and the size \(96,\) has 1"):
        result.at((96,))
    with pytest.raises(InputError, match=r"own grid .*cannot be laid over images"):
        result.overlay(np.zeros((2, 64, 64, 3)))
    with pytest.raises(InputError, match=r"own grid .*cannot be drawn over images"):
        result.figure(np.zeros((2, 64, 64, 3)))


@pytest.mark.parametrize("method", ["scorecam", "sscam", "iscam", "guidedgradcam"])
def test_what_needs_the_layer_over_the_input_refuses_axes_of_its_own(models, method):
    with pytest.raises(InputError, match="another number of spatial axes"):
        camcore.explain(models["Folded"], floats(1, 1, 96), 1, "period", method=method)


def test_layers_with_the_same_axes_of_their_own_are_joined_on_the_larger_grid(torch, models):
    model, x = models["Spectrogram"], floats(2, 800)
    with pytest.warns(UserWarning, match=r"'first' \(33, 26\), 'second' \(17, 13\)"):
        result = camcore.explain(model, x, 1, ["first", "second"])
    each = [cam(*plain(torch, model, layer, x)) for layer in ("first", "second")]
    joined = np.mean([shown(raw, (33, 26)) for raw in each], axis=0)
    near(result.maps, joined / joined.max(axis=(1, 2), keepdims=True))


def test_layers_with_other_axes_are_not_joined(models):
    with pytest.raises(LayerError, match=r"'filter' \(96,\), 'period' \(12, 8\) do not have the"):
        camcore.explain(models["Folded"], floats(1, 1, 96), 1, ["filter", "period"])


def keras_models(keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)

    def model(shape, *stack, flat=layers.GlobalAveragePooling2D):
        given = x = keras.Input(shape)
        for layer in stack:
            x = layer(x)
        return keras.Model(given, layers.Dense(4)(flat()(x)))

    conv = layers.Conv2D
    return {
        "recurrent": model((5, 12, 10, 1), layers.ConvLSTM2D(6, 3, padding="same", name="layer")),
        "columns": model(
            (16, 48, 1),
            *(conv(6, 3, 2, "same", activation="relu"), conv(8, (8, 1)), layers.Reshape((24, 8))),
            layers.Bidirectional(layers.GRU(6, return_sequences=True), name="layer"),
            flat=layers.GlobalAveragePooling1D,
        ),
        "spectrogram": model(
            (1200,),
            layers.MelSpectrogram(
                fft_length=128,
                sequence_stride=64,
                sampling_rate=4000,
                num_mel_bins=16,
                max_freq=2e3,
            ),
            *(layers.Reshape((16, -1, 1)), conv(6, 3, 2, "same", name="layer")),
        ),
    }


@pytest.mark.parametrize("name", ["recurrent", "columns", "spectrogram"])
def test_keras_layers_are_placed_alike(keras, tf, name, recwarn):
    model = keras_models(keras)[name]
    x = floats(2, *model.input_shape[1:])
    kept = keras.Model(model.inputs, model.get_layer("layer").output)(x)
    with tf.GradientTape() as tape:
        tape.watch(kept)
        score = tf.reduce_sum(model.layers[-1](model.layers[-2](kept))[:, 1])
    moved = [np.moveaxis(one.numpy(), -1, 1) for one in (kept, tape.gradient(score, kept))]
    expected = cam(*moved)
    if name == "spectrogram":
        with pytest.warns(UserWarning, match="own grid"):
            result = camcore.explain(model, x, 1, "layer")
        near(result.raw["layer"], expected)
        near(result.maps, shown(expected, expected.shape[1:]))
        assert result.frame == "layer"
        return
    result = camcore.explain(model, x, 1, "layer")
    near(result.raw["layer"], expected[:, None])
    near(result.maps, shown(expected[:, None], x.shape[1:-1]))
    assert result.frame == "input"


@pytest.fixture
def windows(torch):
    """A network that folds its map into windows, ``(B, windows, places, C)``, and unfolds it."""
    nn = torch.nn

    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.mix, self.head = nn.Conv2d(3, 5, 4, 4), nn.Linear(5, 5), nn.Linear(5, 4)

        def forward(self, x):
            x = self.conv(x)
            b, c, h, w = x.shape
            folded = x.reshape(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1)
            mixed = self.mix(folded.reshape(b, -1, 16, c)).relu().reshape(folded.shape)
            return self.head(mixed.permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w).mean((2, 3)))

    torch.manual_seed(0)
    return Windows().eval()


def test_windows_beside_their_places_are_no_map_over_the_input(windows):
    images = floats(2, 3, 96, 96)
    with pytest.warns(UserWarning, match="'mix'"):
        result = camcore.explain(windows, images, 1, "mix")
    assert (result.frame, result.maps.shape) == ("layer", (2, 36, 16))
    assert camcore.explain(windows, images, 1, "conv").frame == "input"


def test_fullgrad_names_the_layer_that_sees_windows(windows):
    with pytest.raises(MethodError, match=r"'mix#0' sees parts of it.*\(2, 36, 16, 5\)"):
        camcore.explain(windows, floats(2, 3, 96, 96), 1, method="fullgrad")


def test_fullgrad_leaves_out_what_the_input_does_not_feed(torch):
    nn = torch.nn

    class Shifted(nn.Module):
        """Adds a table of relative positions, 4×4 for any input, or the same as a buffer."""

        def __init__(self, table=None):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 5, 4, 4), nn.Linear(5, 4)
            if table is None:
                self.positions = nn.Linear(2, 5)
            self.register_buffer("table", table)

        def shift(self):
            if self.table is not None:
                return self.table
            return self.positions(torch.linspace(-1, 1, 32).reshape(1, 4, 4, 2))

        def forward(self, x):
            x = self.conv(x) + nn.functional.interpolate(self.shift().movedim(-1, 1), (8, 8))
            return self.head(torch.tanh(x).mean((2, 3)))

    torch.manual_seed(0)
    model = Shifted().eval()
    alike = Shifted(model.shift().detach()).eval()
    alike.load_state_dict(model.state_dict(), strict=False)
    images = floats(2, 3, 32, 32)
    found, expected = (
        camcore.explain(m, images, 1, method="fullgrad").maps for m in (model, alike)
    )
    near(found, expected)


def test_fullgrad_spreads_what_a_class_token_alone_adds(torch):
    nn = torch.nn

    class Token(nn.Module):
        def __init__(self, axes):
            super().__init__()
            self.axes = axes
            self.conv, self.last, self.head = (
                nn.Conv2d(3, 5, 4, 4),
                nn.Linear(5, 5),
                nn.Linear(5, 4),
            )

        def forward(self, x):
            pooled = torch.tanh(self.conv(x)).mean((2, 3))
            return self.head(
                self.last(pooled[(slice(None), *[None] * self.axes)]).tanh().flatten(1)
            )

    torch.manual_seed(0)
    flat = Token(0).eval()
    token = Token(1).eval()
    token.load_state_dict(flat.state_dict())
    images = floats(2, 3, 32, 48)
    found, expected = (camcore.explain(m, images, 1, method="fullgrad").maps for m in (token, flat))
    near(found, expected)
