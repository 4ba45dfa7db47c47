"""Layers that run several times in a pass, against plain framework code on each call."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from plain_gradcam import close, gradcam, noise

import camcore
from camcore.errors import GradientError, LayerError, MethodError

FRAMES = 5


def of_torch(model, layer, inputs, calls) -> np.ndarray:
    """Plain Grad-CAM of class 1 at some calls of a layer, by a hook: one axis for the calls."""
    import torch

    kept = []
    with layer.register_forward_hook(lambda m, a, out: kept.append(out)), torch.enable_grad():
        score = model(*inputs)[:, 1].sum()
    gradients = torch.autograd.grad(score, [kept[i] for i in calls], allow_unused=True)
    return np.stack(
        [
            gradcam(kept[i].detach().numpy(), np.zeros(kept[i].shape) if g is None else g.numpy())
            for i, g in zip(calls, gradients, strict=True)
        ],
        axis=1,
    )


def video(torch, how: str, axis: int = 1):
    """Convolutions on one frame after another, then an LSTM."""
    nn = torch.nn

    class Video(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()
            self.stem, self.frame = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 6, 3, 2)
            self.lstm, self.fc = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x):
            count = x.shape[axis]
            steps = [None] * count
            whole = self.stem(x.movedim(axis, 1).flatten(0, 1)).unflatten(0, (-1, count)).tanh()
            for t in reversed(range(count)) if how == "backwards" else range(count):
                seen = whole[:, t] if how == "stem" else x.select(axis, t)
                if how == "rectified twice":
                    seen = self.relu(seen)
                steps[t] = self.relu(self.frame(seen)).mean((2, 3))
            hidden = self.lstm(torch.stack(steps, 1))[0]
            return self.fc(hidden[:, 1] if how == "two frames" else hidden[:, -1])

    torch.manual_seed(0)
    return Video().eval()


LOOPS = {
    "frames on axis 1": ("", 1, "frame", range(FRAMES)),
    "frames on axis 2": ("", 2, "frame", range(FRAMES)),
    "last frame first": ("backwards", 1, "frame", range(FRAMES)[::-1]),
    "a stem on all frames before": ("stem", 2, "relu", range(FRAMES)),
    "the last of two calls a frame": ("rectified twice", 1, "relu", range(1, 2 * FRAMES, 2)),
    "frames that do not count": ("two frames", 1, "frame", range(FRAMES)),
}


@pytest.mark.parametrize(("how", "axis", "layer", "calls"), LOOPS.values(), ids=LOOPS)
def test_frames_seen_call_by_call_have_a_map_each(torch, how, axis, layer, calls):
    model = video(torch, how, axis)
    x = torch.tensor(noise(2, *((3, FRAMES) if axis == 2 else (FRAMES, 3)), 13, 15))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = camcore.explain(model, x, 1, layer)
    expected = of_torch(model, getattr(model, layer), (x,), calls)
    close(result.raw[layer], expected)
    assert result.maps.shape == (2, FRAMES, 13, 15)
    counts = np.abs(result.raw[layer]).max((0, 2, 3)) > 0
    assert counts.tolist() == [True, True, *[how != "two frames"] * 3]


def keras_video(keras, distributed: bool, frames: int | None):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = layers.Input((frames, 13, 15, 3))
    conv = layers.Conv2D(6, 3, 2, activation="relu", name="conv")
    pool = layers.GlobalAveragePooling2D()
    if distributed:
        frame = keras.Sequential([layers.Input((13, 15, 3)), conv, pool])
        h = layers.TimeDistributed(frame, name="times")(x)
    else:
        h = keras.ops.stack([pool(conv(x[:, t])) for t in range(frames)], axis=1)
    steps = layers.Dense(5, activation="tanh", name="step")(h)
    return keras.Model(x, layers.Dense(3, name="fc")(keras.ops.mean(steps**2, 1)))


def of_keras_video(tf, model, conv, x) -> np.ndarray:
    """Plain Grad-CAM of class 1 at each frame, ``(B, T, H, W)``."""
    activations = tf.stack([conv(x[:, t]) for t in range(x.shape[1])], 1)
    with tf.GradientTape() as tape:
        tape.watch(activations)
        steps = model.get_layer("step")(tf.reduce_mean(activations, (2, 3)))
        score = tf.reduce_sum(model.get_layer("fc")(tf.reduce_mean(steps**2, 1))[:, 1])
    gradients = tape.gradient(score, activations)
    return gradcam(*(np.moveaxis(a.numpy(), -1, 2) for a in (activations, gradients)))


@pytest.mark.parametrize(
    ("distributed", "declared", "counts"),
    [(True, FRAMES, [FRAMES]), (False, FRAMES, [FRAMES]), (True, None, [2, 3, 4])],
    ids=["TimeDistributed", "loop", "TimeDistributed, any length"],
)
def test_keras_frames_have_a_map_each(tf, keras, distributed, declared, counts):
    model = keras_video(keras, distributed, declared)
    layers = camcore.Explainer(model).adapter.layers()
    conv = next(one.native for one in layers if one.name.endswith("conv"))
    for count in counts:  # Keras sees frames in a loop of its own where their number is left open
        x = noise(2, count, 13, 15, 3)
        result = camcore.explain(model, x, 1, "conv")
        (found,) = result.raw.values()
        close(found, of_keras_video(tf, model, conv, x))
        assert result.maps.shape == (2, count, 13, 15)


def test_frames_are_settled_once_and_need_one_pass_from_then_on(torch):
    model = video(torch, "")
    x, passes = torch.tensor(noise(2, FRAMES, 3, 13, 15)), []
    model.fc.register_forward_hook(lambda *_: passes.append(1))
    explainer = camcore.Explainer(model, layer="frame")
    first = explainer(x, 1)
    passes.clear()
    second = explainer(x, 1)
    assert len(passes) == 1
    np.testing.assert_array_equal(first.raw["frame"], second.raw["frame"])


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "guidedgradcam", "shapleycam"])
def test_methods_that_see_frames_together_refuse_them_one_by_one(torch, method):
    with pytest.raises(MethodError, match=r"one by one\. Choose method='gradcam'"):
        camcore.explain(
            video(torch, ""), torch.tensor(noise(2, FRAMES, 3, 13, 15)), 1, "frame", method
        )


@pytest.mark.parametrize("method", ["layercam", "hirescam", "eigencam", "smoothgrad"])
def test_other_methods_see_frames_as_rows(torch, method):
    """Frames folded into the batch are the same network."""
    model, x = video(torch, ""), torch.tensor(noise(2, FRAMES, 3, 13, 15))

    class Folded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frame, self.lstm, self.fc = model.frame, model.lstm, model.fc

        def forward(self, x):
            steps = self.frame(x.flatten(0, 1)).relu().mean((2, 3)).unflatten(0, x.shape[:2])
            return self.fc(self.lstm(steps)[0][:, -1])

    found = camcore.explain(model, x, 1, "frame", method)
    (one,), (other,) = (
        found.raw.values(),
        camcore.explain(Folded(), x, 1, "frame", method).raw.values(),
    )
    close(one, other)


@pytest.mark.parametrize("method", ["gradcam", "layercam", "eigencam"])
@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_frames_folded_frame_by_frame_are_those_of_their_samples(
    torch, keras, framework, batch, method
):
    def torch_clip(by_frame):
        class Clip(torch.nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.see, self.fc = torch.nn.Conv2d(3, 5, 3), torch.nn.Linear(5 * FRAMES, 4)

            def forward(self, x):
                frames = x.transpose(0, 1) if by_frame else x
                steps = torch.tanh(self.see(frames.flatten(0, 1))).mean((2, 3))
                steps = steps.unflatten(0, frames.shape[:2])
                return self.fc((steps.transpose(0, 1) if by_frame else steps).flatten(1))

        return Clip().double().eval()

    def keras_clip(by_frame):
        class Clip(keras.Model):
            def __init__(self):
                super().__init__()
                self.see = keras.layers.Conv2D(5, 3, activation="tanh", name="see")
                self.fc = keras.layers.Dense(4)

            def call(self, x):
                ops, turn = keras.ops, (1, 0, 2, 3, 4)
                frames = ops.transpose(x, turn) if by_frame else x
                a, b, *image = ops.shape(frames)
                steps = ops.mean(self.see(ops.reshape(frames, (a * b, *image))), (1, 2))
                steps = ops.reshape(steps, (a, b, 5))
                steps = ops.transpose(steps, (1, 0, 2)) if by_frame else steps
                return self.fc(ops.reshape(steps, (-1, FRAMES * 5)))

        keras.utils.set_random_seed(0)
        model = Clip()
        model(np.zeros((1, FRAMES, 13, 15, 3), np.float32))
        return model

    make, axes = (torch_clip, (3, 13, 15)) if framework == "torch" else (keras_clip, (13, 15, 3))
    clips = noise(batch, FRAMES, *axes)
    found, expected = (
        camcore.explain(make(by_frame), clips, 1, "see", method).raw["see"]
        for by_frame in (True, False)
    )
    assert found.shape[:2] == (batch, FRAMES)
    close(found, expected)


def test_attention_to_the_patches_of_each_frame_has_a_map_each(torch):
    """LeGrad of frames one by one is that of frames folded into the batch."""
    nn = torch.nn

    class Attention(nn.Module):
        def forward(self, x):
            return (x @ x.transpose(1, 2)).softmax(-1) @ x

    class Clip(nn.Module):
        def __init__(self, fold: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.fold = fold
            self.patch, self.attend = nn.Conv2d(3, 6, 4, 4), Attention()
            self.fc = nn.Linear(6 * FRAMES, 3)

        def see(self, x):
            return self.attend(self.patch(x).flatten(2).transpose(1, 2)).tanh().mean(1)

        def forward(self, x):
            if self.fold:
                return self.fc(self.see(x.flatten(0, 1)).unflatten(0, x.shape[:2]).flatten(1))
            return self.fc(torch.cat([self.see(x[:, t]) for t in range(FRAMES)], 1))

    x = torch.tensor(noise(2, FRAMES, 3, 12, 16))
    result = camcore.explain(Clip(fold=False), x, 1, method="legrad")
    folded = Clip(fold=True)
    tokens = folded.patch(x.flatten(0, 1)).flatten(2).transpose(1, 2).detach()
    weights = (tokens @ tokens.transpose(1, 2)).softmax(-1).requires_grad_()
    seen = (weights @ tokens).tanh().mean(1).unflatten(0, (2, FRAMES)).flatten(1)
    (gradients,) = torch.autograd.grad(folded.fc(seen)[:, 1].sum(), weights)
    expected = gradients.relu().mean(1).reshape(2, FRAMES, 3, 4).numpy()
    close(result.raw["attend@attention"], expected)


def pair(torch):
    nn = torch.nn

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 3)

        def forward(self, one, other):
            return self.fc((self.encoder(one).relu() * self.encoder(other).tanh()).mean((2, 3)))

    return Pair(), (torch.tensor(noise(2, 3, 9, 9)), torch.tensor(noise(2, 3, 9, 9)[::-1].copy()))


def flips(torch):
    nn = torch.nn

    class Flips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Conv2d(3, 6, 3)
            self.fc = nn.Linear(6, 3)

        def forward(self, x):
            seen = [
                self.fc(self.encoder(view).relu().mean((2, 3)).square())
                for view in (x, x.flip(3), x.flip(2))
            ]
            return sum(seen) / 3

    return Flips(), (torch.tensor(noise(2, 3, 9, 9)),)


def refined(torch):
    nn = torch.nn

    class Refined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            for _ in range(4):
                x = x + self.encoder(x).tanh()
            return x.mean((2, 3))

    return Refined(), (torch.tensor(noise(2, 3, 9, 9)),)


def remembering(torch):
    nn = torch.nn

    class Remembering(nn.Module):
        """A convolutional cell whose state goes on from frame to frame."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            state = torch.zeros_like(x[:, 0])
            for t in range(x.shape[1]):
                state = self.encoder(x[:, t] + state).tanh()
            return state.mean((2, 3))

    return Remembering(), (torch.tensor(noise(2, FRAMES, 3, 9, 9)),)


SEVERAL = {
    "siamese": (pair, 2),
    "flips": (flips, 3),
    "refinement": (refined, 4),
    "recurrent": (remembering, FRAMES),
}


@pytest.mark.parametrize(("make", "count"), SEVERAL.values(), ids=SEVERAL)
def test_calls_that_are_no_frames_warn_once_and_can_be_chosen(torch, make, count):
    torch.manual_seed(0)
    model, inputs = make(torch)
    given = inputs if len(inputs) > 1 else inputs[0]
    with pytest.warns(UserWarning, match=rf"runs {count} times .* 'encoder#{count - 1}'") as all:
        result = camcore.explain(model, given, 1, "encoder")
    assert [one.filename for one in all] == [__file__]
    expected = of_torch(model, model.encoder, inputs, range(count))
    close(result.raw["encoder"], expected[:, -1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        camcore.explain(model, given, 1, "encoder")
        names = [f"encoder#{call}" for call in range(count)]
        chosen = camcore.explain(model, given, 1, names)
    for call, name in enumerate(names):
        close(chosen.raw[name], expected[:, call])


def test_the_input_that_is_said_chooses_the_call_of_a_shared_encoder(torch):
    torch.manual_seed(0)
    model, inputs = pair(torch)
    expected = of_torch(model, model.encoder, inputs, range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for which in (0, 1):
            result = camcore.explain(model, inputs, 1, "encoder", input=which)
            close(result.raw["encoder"], expected[:, which])
            assert result.input == str(which)


def windows(torch, how: str):
    nn = torch.nn

    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
            self.fc = nn.Linear(6, 3)

        def forward(self, x):
            if how == "crops":
                parts = [x[..., :10, :10], x[..., :10, -10:], x[..., 3:13, 3:13]]
            if how == "of features":
                parts = [part for half in x.tanh().chunk(2, 2) for part in half.chunk(2, 3)]
            if how == "overlapping":
                parts = [x[..., i : i + 8] for i in (0, 4, 8)]
            if how == "monai":
                from monai.inferers import sliding_window_inference

                whole = sliding_window_inference(x, (8, 8), 2, self.net)
                return self.fc(whole.mean((2, 3)))
            return self.fc(sum(self.net(part).mean((2, 3)) for part in parts))

    return Windows()


@pytest.mark.parametrize("how", ["crops", "of features", "overlapping"])
def test_windows_are_refused_with_the_way_to_choose_one(torch, how):
    model, x = windows(torch, how), torch.tensor(noise(2, 3, 16, 16))
    with pytest.raises(LayerError, match=r"'net' runs \d times .* a part of the input.*'net#0' to"):
        camcore.explain(model, x, 1, "net")
    expected = of_torch(model, model.net, (x,), range(3))
    close(camcore.explain(model, x, 1, "net#1").raw["net#1"], expected[:, 1])


def test_a_score_of_no_call_is_refused_as_ever(torch):
    model = video(torch, "")
    model.forward = lambda x: (
        x.mean((2, 3, 4)) + 0 * sum(model.frame(x[:, t]).detach().mean() for t in range(FRAMES))
    )
    with pytest.raises(GradientError, match="does not depend on layer"):
        camcore.explain(model, torch.tensor(noise(2, FRAMES, 3, 13, 15)), 1, "frame")


def test_a_keras_encoder_of_two_inputs_warns_and_is_chosen(tf, keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    one, other = layers.Input((9, 9, 3)), layers.Input((9, 9, 3))
    encoder, pool = layers.Conv2D(4, 3, name="encoder"), layers.GlobalAveragePooling2D()
    both = layers.Concatenate()([pool(encoder(x) ** 2) for x in (one, other)])
    model = keras.Model([one, other], layers.Dense(3, name="fc")(both))
    inputs = [noise(2, 9, 9, 3), noise(2, 9, 9, 3)[::-1].copy()]
    with pytest.warns(UserWarning, match="runs 2 times"):
        last = camcore.explain(model, inputs, 1, "encoder")
    kernel = model.get_layer("fc").kernel.numpy()[:, 1].reshape(2, 4)
    for call in (0, 1):
        activations = np.moveaxis(encoder(inputs[call]).numpy(), -1, 1)
        gradients = 2 * activations * kernel[call, :, None, None] / activations[0, 0].size
        chosen = camcore.explain(model, inputs, 1, "encoder", input=call)
        close(chosen.raw["encoder"], gradcam(activations, gradients))
    close(last.raw["encoder"], camcore.explain(model, inputs, 1, "encoder#1").raw["encoder#1"])
