"""LeGrad by hand, and the way from captured attention to its map, without a framework."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.adapter import LayerRecord, LayerTrace, Trace
from camcore.errors import InputError, LayerError, MethodError
from camcore.layers.layout import Layout, keys_on_grid
from camcore.methods import legrad
from camcore.testing import NumpyAdapter, random_network

# One sample, two heads, two queries; a prefix key, then a 2 x 2 grid.
GRADIENTS = np.array(
    [
        [
            [[9.0, 1.0, -2.0, 0.0, 4.0], [-9.0, -1.0, 2.0, 0.5, 0.0]],
            [[9.0, 3.0, 0.0, -7.0, 4.0], [9.0, 0.0, 2.0, 0.5, -1.0]],
        ]
    ]
)
# Sums of what is positive over the four rows of heads and queries, divided by four.
BY_HAND = np.array([[[4.0, 4.0], [1.0, 8.0]]]) / 4


def test_legrad_by_hand():
    on_grid = keys_on_grid(GRADIENTS, 1, (8, 8))
    assert on_grid.shape == (1, 2, 2, 2, 2)
    np.testing.assert_array_equal(legrad(on_grid), BY_HAND)


def test_the_score_that_is_differentiated_is_the_models_or_the_blocks_own():
    on_grid = keys_on_grid(GRADIENTS, 1, (8, 8))

    def own():
        return -on_grid

    np.testing.assert_array_equal(legrad(on_grid, own), BY_HAND)
    # Of the other sign, what is positive is what was negative.
    negative = np.array([[[1.0, 2.0], [7.0, 1.0]]]) / 4
    np.testing.assert_array_equal(legrad(on_grid, own, scored="block"), negative)
    with pytest.raises(InputError, match="scored='block' needs own_gradients"):
        legrad(on_grid, scored="block")
    with pytest.raises(MethodError, match="scored='layer'; expected 'model' or 'block'"):
        legrad(on_grid, own, scored="layer")


def test_heads_folded_into_the_batch_are_unfolded():
    both = np.concatenate([GRADIENTS, 2 * GRADIENTS])
    on_grid = keys_on_grid(both.reshape(4, 2, 5), 2, (8, 8))
    np.testing.assert_array_equal(on_grid, keys_on_grid(both, 2, (8, 8)))
    np.testing.assert_array_equal(legrad(on_grid), np.concatenate([BY_HAND, 2 * BY_HAND]))


@pytest.mark.parametrize(
    ("keys", "size", "grid", "first"),
    [
        (6, (24, 16), (3, 2), 0),
        (7, (24, 16), (3, 2), 1),
        (10, (24, 16), (3, 2), 4),
        (9, (64,), (9,), 0),
        (9, (4, 4, 4), (2, 2, 2), 1),
    ],
)
def test_keys_lie_on_the_grid_of_patches_whatever_the_rank(keys, size, grid, first):
    wanted = Layout("tokens", grid, first) if keys == 10 else None
    row = np.arange(float(keys))
    on_grid = keys_on_grid(row[None, None, None], 1, size, wanted)
    expected = np.arange(first, first + np.prod(grid), dtype=float).reshape(grid)
    np.testing.assert_array_equal(on_grid[0, 0, 0], expected)


def test_legrad_refuses_attention_not_over_the_input():
    windows = np.zeros((8, 3, 49, 49))
    with pytest.raises(MethodError, match=r"\(8, 3, 49, 49\) for a batch of 2: .* windows"):
        keys_on_grid(windows, 2, (56, 56))
    with pytest.raises(LayerError, match="23 tokens, which no patch grid over an input of"):
        keys_on_grid(np.zeros((2, 3, 23, 23)), 2, (8, 24), Layout("tokens", prefix=0))
    with pytest.raises(InputError, match=r"queries, \*spatial\), .*; got \(2, 3, 5\)"):
        legrad(np.zeros((2, 3, 5)))


def test_half_precision_and_read_only_arrays_are_taken():
    on_grid = keys_on_grid(GRADIENTS.astype(np.float16), 1, (8, 8))
    on_grid.setflags(write=False)
    assert legrad(on_grid).dtype == np.float32
    np.testing.assert_array_equal(legrad(on_grid), BY_HAND)


class Attending(NumpyAdapter):
    """Says of its two layers that they attend, and hands over the gradients it was given."""

    def __init__(self, **gradients):
        super().__init__(**random_network(2).ops)
        self.gradients = gradients
        self.surveys = 0

    def survey(self, inputs):
        self.surveys += 1
        attending = {"conv1", "conv2"}
        return [
            LayerRecord(r.layer, r.shape, "first", is_output=r.is_output,
                        attention=(1, 3, 5, 5) if r.layer.name in attending else None)
            for r in super().survey(inputs)
        ]  # fmt: skip

    def run(self, inputs, layers=(), seeds=(), **options):
        plain = [name for name in layers if "@attention" not in name]
        trace = super().run(inputs, plain, seeds, **options)
        taken = {
            name: LayerTrace(self.gradients[name[:5]], (self.gradients[name[:5]],) * len(seeds))
            for name in layers
            if name not in plain
        }
        return Trace(trace.inputs, "first", trace.outputs, {}, {**trace.layers, **taken})


IMAGES = np.random.default_rng(0).normal(size=(1, 2, 8, 8))


@pytest.fixture
def model():
    return Attending(conv1=GRADIENTS, conv2=10 * GRADIENTS[..., ::-1])


def test_all_attention_is_averaged_before_it_is_scaled(model):
    result = camcore.explain(model, IMAGES, method="LeGrad")
    assert list(result.raw) == ["conv1@attention", "conv2@attention"]
    other = np.array([[[1.0, 4.0], [4.0, 27.0]]]) * 10 / 4
    np.testing.assert_array_equal(result.raw["conv2@attention"], other)
    mean = (BY_HAND + other) / 2
    shown = camcore.recipes.PAPER.render([mean], (8, 8))
    np.testing.assert_array_equal(result.maps, shown)
    assert not result.empty[0]


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (None, ("conv1@attention", "conv2@attention")),
        ("conv2", ("conv2@attention",)),
        ("conv2@attention", ("conv2@attention",)),
        (["conv2", "conv1@attention#0"], ("conv2@attention", "conv1@attention#0")),
        (["conv1", "conv1@attention"], ("conv1@attention",)),
    ],
)
def test_layers_stand_for_their_attention(model, layer, names):
    assert camcore.Explainer(model, method="legrad", layer=layer).layers(IMAGES) == names


def test_legrad_shares_a_pass_with_methods_at_other_layers(model):
    explainer = camcore.Explainer(model, method=["legrad", "gradcam"])
    for _ in range(2):
        results = explainer(IMAGES)
        assert list(results["legrad"].raw) == ["conv1@attention", "conv2@attention"]
        assert list(results["gradcam"].raw) == ["relu2"]
    # One survey for either question, each with a forward pass of its own here.
    assert (model.surveys, model.passes) == (2, 4)


def test_refusals_say_what_to_do():
    with pytest.raises(MethodError, match=r"None of the model's layers .* method='gradcam'"):
        camcore.explain(random_network(2), IMAGES, method="legrad")
    model = Attending(conv1=GRADIENTS, conv2=np.zeros((4, 2, 49, 49)))
    with pytest.raises(MethodError, match=r"'relu1' computes no .* These do: 'conv1', 'conv2'"):
        camcore.explain(model, IMAGES, method="legrad", layer="relu1")
    with pytest.raises(MethodError, match=r"'conv1@attention' is a layer's attention.*Leave out"):
        camcore.explain(model, IMAGES, layer="conv1@attention")
    with pytest.raises(MethodError, match=r"Layer 'conv2@attention': .* within windows"):
        camcore.explain(model, IMAGES, method="legrad")
    with pytest.raises(MethodError, match="LeGrad is no sum over channels"):
        camcore.explain(model, IMAGES, method="legrad", eigen_smooth=True)


def test_maps_made_at_another_size_join_the_layers_as_before():
    signed = {"a": np.array([[[1.0, 0.0], [0.0, 0.0]]]), "b": np.array([[[0.0, 0.0], [0.0, 9.0]]])}
    explained = camcore.Explanation(
        maps=np.zeros((1, 2, 2), np.float32),
        raw=signed,
        scores=np.zeros(1),
        classes=None,
        empty=np.zeros(1, bool),
        outputs=np.zeros((1, 3)),
        method="legrad",
    )
    # Scaled apart, both corners would be 1: joined before scaling, the weaker is 1/9.
    np.testing.assert_allclose(explained.at((2, 2)).maps, [[[1 / 9, 0], [0, 1]]], rtol=1e-6, atol=0)
