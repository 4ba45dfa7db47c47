"""Layers that return several maps, models of several pictures: what is meant is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from plain_gradcam import close, gradcam, noise

import camcore
from camcore.errors import InputError, LayerError


@dataclass
class Record:
    aside: Any
    map: Any


NESTS = {
    "list": (lambda high, low: [high, low], {"0": 0, "1": 1}),
    "dict": (lambda high, low: {"high": high, "low": low}, {"high": 0, "low": 1}),
    "dict of lists": (lambda high, low: {"scales": [high, low]}, {"scales.0": 0, "scales.1": 1}),
    "dataclass": (Record, {"aside": 0, "map": 1}),
}


def branches(torch, nest):
    """A stage of two scales, and a head that weighs both."""
    nn = torch.nn

    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 5, 3, 4, 1)

        def forward(self, x):
            return nest(self.one(x), self.two(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage, self.fc = Stage(), nn.Linear(9, 3)

        def forward(self, x):
            from camcore.nest import flatten

            maps = [
                leaf for _, leaf in flatten(self.stage(x)) if leaf is not None and leaf.ndim == 4
            ]
            return self.fc(torch.cat([a.relu_().mean((2, 3)) for a in maps], 1))

    torch.manual_seed(0)
    return Net()


@pytest.mark.parametrize(("nest", "paths"), NESTS.values(), ids=NESTS)
def test_a_branch_is_chosen_by_its_path_and_asked_for_otherwise(torch, nest, paths):
    model, x = branches(torch, nest), torch.tensor(noise(2, 3, 16, 24))
    maps = [m(x).detach().requires_grad_() for m in (model.stage.one, model.stage.two)]
    score = model.fc(torch.cat([a.relu().mean((2, 3)) for a in maps], 1))[:, 1].sum()
    gradients = torch.autograd.grad(score, maps)
    for path, which in paths.items():
        name = f"stage@{path}"
        result = camcore.explain(model, x, 1, name)
        close(result.raw[name], gradcam(maps[which].detach().numpy(), gradients[which].numpy()))
        assert result.layers == (name,)
        scored = camcore.explain(
            model, x, 1, [name, f"stage.{('one', 'two')[which]}"], method="ablationcam"
        )
        close(*scored.raw.values())
    several = (
        r"'stage' returns 2 maps: '{}' \(2, 4, 8, 12\), '{}' \(2, 5, 4, 6\)\. .* layer='stage@{}'"
    )
    first, second = paths
    with pytest.raises(LayerError, match=several.format(first, second, second)):
        camcore.explain(model, x, 1, "stage")
    with pytest.raises(
        LayerError, match=r"'stage' returns no floating array at 'none'; it returns"
    ):
        camcore.explain(model, x, 1, "stage@none")


CLEAR = {
    "beside None": lambda torch, a: (a, None),
    "beside a class token": lambda torch, a: (a.mean((2, 3)), a),
    "beside a state within": lambda torch, a: (a, (a.detach() * 2, a.detach())),
    "beside integers": lambda torch, a: {"size": torch.tensor([a.shape[2]]), "map": a},
    "beside the states of layers": lambda torch, a: Record(a.mean((2, 3)), [a]),
}


@pytest.mark.parametrize("nest", CLEAR.values(), ids=CLEAR)
def test_the_one_map_among_other_arrays_is_clear(torch, nest):
    nn = torch.nn

    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return nest(torch, self.conv(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage, self.fc = Stage(), nn.Linear(4, 3)

        def forward(self, x):
            from camcore.nest import flatten

            leaves = [leaf for _, leaf in flatten(self.stage(x)) if leaf is not None]
            return self.fc(next(leaf for leaf in leaves if leaf.ndim == 4).sigmoid().mean((2, 3)))

    torch.manual_seed(0)
    model, x = Net(), torch.tensor(noise(2, 3, 9, 9))
    found = camcore.explain(model, x, 1, "stage").raw["stage"]
    close(found, camcore.explain(model, x, 1, "stage.conv").raw["stage.conv"])


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "wrapped"])
def test_states_beside_the_steps_of_a_signal_are_no_maps(torch, kind, batch):
    nn = torch.nn

    class Wrapped(nn.Module):
        def __init__(self, *sizes, batch_first) -> None:
            super().__init__()
            self.inner = nn.GRU(*sizes, batch_first=batch_first)

        def forward(self, x):
            return self.inner(x)

    class Signal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            made = Wrapped if kind == "wrapped" else getattr(nn, kind)
            self.rnn, self.fc = made(2, 6, batch_first=True), nn.Linear(6, 3)

        def forward(self, x):
            return self.fc(self.rnn(x.transpose(1, 2))[0].square().mean(1))

    torch.manual_seed(0)
    model, x = Signal(), torch.tensor(noise(batch, 2, 12))
    layout = camcore.Layout("channels_last")
    steps = model.rnn(x.transpose(1, 2))[0].detach()
    gradients = 2 * steps * model.fc.weight[1] / 12
    found = camcore.explain(model, x, 1, "rnn", layout=layout).raw["rnn"]
    close(found, (steps * gradients.mean(1, keepdim=True)).sum(2).detach().numpy())


def test_keras_branches_are_chosen_and_asked_for(tf, keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)

    class Stage(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.one = layers.Conv2D(4, 3, 2, "same")
            self.two = layers.Conv2D(5, 3, 4, "same")

        def call(self, x):
            return {
                "low": self.two(x),
                "scales": [self.one(x)],
                "pooled": keras.ops.mean(x, (1, 2)),
            }

        def compute_output_spec(self, x):
            spec = keras.KerasTensor
            return {
                "low": spec((None, 4, 4, 5)),
                "scales": [spec((None, 8, 8, 4))],
                "pooled": spec((None, 3)),
            }

    x, given = layers.Input((16, 16, 3)), noise(2, 16, 16, 3)
    stage = Stage(name="stage")
    maps = stage(x)
    pooled = [layers.GlobalAveragePooling2D()(a**2) for a in (maps["low"], maps["scales"][0])]
    model = keras.Model(x, layers.Dense(3, name="fc")(layers.Concatenate()(pooled)))
    kernel = model.get_layer("fc").kernel.numpy()[:, 1]
    found = stage(given)
    for name, array, weights in (
        ("stage@low", found["low"], kernel[:5]),
        ("stage@scales.0", found["scales"][0], kernel[5:]),
    ):
        activations = np.moveaxis(array.numpy(), -1, 1)
        gradients = 2 * activations * weights[:, None, None] / activations[0, 0].size
        close(camcore.explain(model, given, 1, name).raw[name], gradcam(activations, gradients))
    low = camcore.explain(model, given, 1, "stage").raw["stage"]  # the other is a level deeper
    close(low, camcore.explain(model, given, 1, "stage@low").raw["stage@low"])
    with pytest.raises(LayerError, match="'stage' returns no floating array at 'high'; it returns"):
        camcore.explain(model, given, 1, "stage@high")


def two_views(torch):
    """Pictures of two sizes, each with a branch of its own."""
    nn = torch.nn

    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.side = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 5, 3)
            self.fc = nn.Linear(9, 3)

        def forward(self, front, side):
            views = self.front(front), self.side(side)
            return self.fc(torch.cat([a.square().mean((2, 3)) for a in views], 1))

    torch.manual_seed(0)
    return Views(), (torch.tensor(noise(2, 3, 9, 9)), torch.tensor(noise(2, 1, 12, 15)))


@pytest.mark.parametrize("by", ["tuple", "dict"])
@pytest.mark.parametrize(("layer", "which"), [("front", 0), ("side", 1)])
def test_a_map_lies_over_the_picture_that_feeds_its_layer(torch, layer, which, by):
    model, views = two_views(torch)
    path = layer if by == "dict" else str(which)
    given = dict(zip(("front", "side"), views, strict=True)) if by == "dict" else views
    activations = getattr(model, layer)(views[which]).detach()
    weights = model.fc.weight[1, :4] if which == 0 else model.fc.weight[1, 4:]
    gradients = 2 * activations * weights[:, None, None] / activations[0, 0].numel()
    for said in (None, path):
        result = camcore.explain(model, given, 1, layer, input=said)
        close(result.raw[layer], gradcam(activations.numpy(), gradients.detach().numpy()))
        assert result.input == path
        assert f"over input {path!r}" in repr(result)
        assert result.maps.shape[1:] == tuple(views[which].shape[2:])
    chosen = camcore.explain(model, given, 1, input=path)
    assert chosen.layers == (layer,)
    other = {"0": "1", "1": "0", "front": "side", "side": "front"}[path]
    with pytest.raises(LayerError, match=f"'{layer}' does not depend on the input '{other}'"):
        camcore.explain(model, given, 1, layer, input=other)


@pytest.mark.parametrize("which", [0, 1])
def test_methods_at_the_input_read_and_alter_the_one_that_is_said(torch, which):
    model, views = two_views(torch)
    views[which].requires_grad_()
    (gradients,) = torch.autograd.grad(model(*views)[:, 1].sum(), views[which])
    x = views[which].detach()
    views = tuple(view.detach() for view in views)
    name, said = f"@input.{which}", {"input": which}
    found = camcore.explain(model, views, 1, method="saliency", **said)
    close(found.raw[name], gradients.abs().amax(1).numpy())
    times = camcore.explain(model, views, 1, method="gradienttimesinput", **said)
    close(times.raw[name], (gradients * x).sum(1).numpy())
    window = {"method": "occlusion", "window": 3, "stride": 3, "edge": "cut"}
    occluded = camcore.explain(model, views, 1, **window, **said).raw[name]
    blank = [view.clone() for view in views]
    blank[which][..., 3:6, 6:9] = 0
    with torch.no_grad():
        fall = (model(*views) - model(*blank))[:, 1].numpy()
    np.testing.assert_allclose(occluded[:, 4, 7], fall, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match=r"2 inputs .*'0' \(2, 3, 9, 9\), '1' .* input='0'"):
        camcore.explain(model, views, 1, method="saliency")


def test_score_cam_masks_the_picture_that_feeds_its_layer(torch):
    model, views = two_views(torch)
    result = camcore.explain(model, views, 1, "side", "scorecam")

    class Alone(torch.nn.Module):
        """The side alone, the front as it is for each."""

        def __init__(self) -> None:
            super().__init__()
            self.whole = model

        def forward(self, side):
            return self.whole(views[0][:1].expand(len(side), -1, -1, -1), side)

    alone = camcore.explain(Alone(), views[1][:1], 1, "whole.side", "scorecam")
    close(result.raw["side"][:1], alone.raw["whole.side"])


def test_pictures_that_feed_one_layer_together_are_asked_for(torch):
    nn = torch.nn

    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x, scale):
            size = x.shape[2:]
            seen = self.conv(x * nn.functional.interpolate(scale, size))
            return self.fc(seen.square().mean((2, 3)))

    model, given = Fused(), (torch.tensor(noise(2, 3, 9, 9)), torch.tensor(noise(2, 1, 5, 5)))
    with pytest.raises(InputError, match=r"2 inputs .* input='0'"):
        camcore.explain(model, given, 1, "conv")
    first = camcore.explain(model, given, 1, "conv", input=0)
    assert first.maps.shape == (2, 9, 9)
    second = camcore.explain(model, given, 1, "conv", input=1)
    assert second.maps.shape == (2, 5, 5)
    np.testing.assert_array_equal(first.raw["conv"], second.raw["conv"])
    with pytest.raises(InputError, match=r"no input '2' with spatial extent .*'1' \(2, 1, 5, 5\)"):
        camcore.explain(model, given, 1, "conv", input=2)


def test_a_keras_map_lies_over_the_picture_that_feeds_its_layer(tf, keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    one, other = layers.Input((9, 9, 3), name="one"), layers.Input((12, 15, 1), name="other")
    maps = layers.Conv2D(4, 3, name="front")(one), layers.Conv2D(5, 3, name="side")(other)
    pooled = [layers.GlobalAveragePooling2D()(a**2) for a in maps]
    model = keras.Model(
        {"one": one, "other": other}, layers.Dense(3, name="fc")(layers.Concatenate()(pooled))
    )
    given = {"one": noise(2, 9, 9, 3), "other": noise(2, 12, 15, 1)}
    kernel = model.get_layer("fc").kernel.numpy()[:, 1]
    activations = np.moveaxis(model.get_layer("side")(given["other"]).numpy(), -1, 1)
    gradients = 2 * activations * kernel[4:, None, None] / activations[0, 0].size
    result = camcore.explain(model, given, 1, "side")
    close(result.raw["side"], gradcam(activations, gradients))
    assert result.maps.shape == (2, 12, 15)
    assert result.input == "other"
    x = tf.constant(given["other"])
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.reduce_sum(model({"one": tf.constant(given["one"]), "other": x})[:, 1])
    saliency = np.abs(tape.gradient(score, x).numpy()).max(-1)
    found = camcore.explain(model, given, 1, method="saliency", input="other")
    close(found.raw["@input.other"], saliency)


def test_the_text_tower_is_not_chosen_for_the_picture(torch):
    """The words come last, and are as long as a grid over the picture would be."""
    nn = torch.nn

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.see = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.Tanh())
            self.read = nn.Sequential(nn.Embedding(20, 6), nn.Linear(6, 6), nn.Tanh())

        def forward(self, picture, words):
            return self.see(picture).mean((2, 3)) @ self.read(words).mean(1).T

    torch.manual_seed(0)
    words = torch.arange(32).reshape(2, 16) % 20
    model, given = Towers(), (torch.tensor(noise(2, 3, 16, 16)), words)
    result = camcore.explain(model, given, 1)
    assert result.layers == ("see",)
    activations = model.see(given[0]).detach()
    text = model.read(words).mean(1)[1].detach()
    gradients = text[None, :, None, None].expand_as(activations) / 16
    close(result.raw["see"], gradcam(activations.numpy(), gradients.numpy()))


def test_probabilities_that_hide_no_logit_are_said(tf, keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x, given = layers.Input((8, 8, 3)), noise(2, 8, 8, 3)
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(x))
    heads = [layers.Dense(3, activation="softmax")(pooled) for _ in range(2)]
    ensemble = keras.Model(x, layers.Average()(heads))
    mean, one = (camcore.explain(m, given, 1, "conv") for m in (ensemble, keras.Model(x, heads[0])))
    assert (mean.score, one.score) == ("probability", "logit")
    np.testing.assert_allclose(mean.scores, ensemble(given)[:, 1], rtol=1e-5)
    assert "score probability" in repr(mean)
    assert "probability" not in repr(one)
    plain = keras.Model(x, layers.Dense(3)(pooled))
    assert camcore.explain(plain, given, 1, "conv").score == "output"


def test_what_was_chosen_is_kept_in_a_file(torch, tmp_path):
    model, views = two_views(torch)
    result = camcore.explain(model, views, 1, "side")
    result.save(tmp_path / "side.npz")
    assert camcore.load(tmp_path / "side.npz").input == "1"


@pytest.mark.parametrize("output", [1, "1", "age"])
def test_an_output_is_chosen_by_position_or_its_keras_name(keras, output):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x, given = layers.Input((8, 8, 3)), noise(2, 8, 8, 3)
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(x))
    heads = layers.Dense(3, name="finding")(pooled), layers.Dense(2, name="age")(pooled)
    result = camcore.explain(keras.Model(x, list(heads)), given, 1, "conv", output=output)
    np.testing.assert_allclose(result.outputs, keras.Model(x, heads[1])(given), atol=1e-6)
    if output == "age":
        named = keras.Model(x, {"B": heads[0], "A": heads[1]})
        result = camcore.explain(named, given, 1, "conv", output=output)
        np.testing.assert_allclose(result.outputs, named(given)["A"], atol=1e-6)


@pytest.mark.parametrize(
    "name", ["block.conv", "in.ner/block.conv", "mid/in.ner/block.conv", "mid.in.ner.block.conv"]
)
def test_dotted_keras_names_resolve_at_any_depth(keras, name):
    layers = keras.layers
    inner = keras.Sequential(
        [layers.Input((8, 8, 3)), layers.Conv2D(4, 3, name="block.conv")], name="in.ner"
    )
    middle = keras.Sequential([layers.Input((8, 8, 3)), inner], name="mid")
    x = layers.Input((8, 8, 3))
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(middle(x))))
    result = camcore.explain(model, noise(2, 8, 8, 3), 1, name)
    assert result.layers == ("mid/in.ner/block.conv",)
