"""What a block is scored by, and what of that comes back to its attention, by hand."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.adapter import Adapter, Layer, LayerTrace
from camcore.errors import MethodError
from camcore.targets import Class, Each, Probability
from camcore.testing import Dense, NumpyAdapter, Op, ReLU

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 2, 4, 4))
WIDTH, CLASSES, TOKENS = 4, 3, 5


class Patches(Op):
    """Four patches of 2 x 2 pixels as tokens ``(B, 5, 8)``, behind a class token of ones."""

    def forward(self, x):
        patches = x.reshape(len(x), 2, 2, 2, 2, 2).transpose(0, 2, 4, 1, 3, 5)
        return np.concatenate([np.ones((len(x), 1, 8)), patches.reshape(len(x), 4, 8)], axis=1)

    def pull_back(self, x, cotangent):
        patches = cotangent[:, 1:].reshape(len(x), 2, 2, 2, 2, 2)
        return patches.transpose(0, 3, 1, 4, 2, 5).reshape(x.shape)


class First(Op):
    """The class token."""

    def forward(self, x):
        return x[:, 0]

    def pull_back(self, x, cotangent):
        return np.concatenate([cotangent[:, None], np.zeros_like(x[:, 1:])], axis=1)


class Mean(Op):
    """The mean of all tokens."""

    def forward(self, x):
        return x.mean(axis=1)

    def pull_back(self, x, cotangent):
        return np.broadcast_to(cotangent[:, None] / x.shape[1], x.shape)


class Squares(Op):
    """The mean of all tokens' squares."""

    def forward(self, x):
        return (x**2).mean(axis=1)

    def pull_back(self, x, cotangent):
        return 2 * x * cotangent[:, None] / x.shape[1]


def dense(out, into):
    return Dense(RNG.normal(size=(out, into)), RNG.normal(size=out))


PARTS = {
    "embed": Patches(),
    "block0": dense(WIDTH, 8),
    "block1": dense(WIDTH, WIDTH),
    "block2": dense(WIDTH, WIDTH),
    "hidden": dense(6, WIDTH),
    "relu": ReLU(),
}


class Attending(NumpyAdapter):
    """Says of each block that an attention is within it, whose gradient shows the cotangent."""

    def __init__(self, pool, **changes):
        parts = {**PARTS, "pool": pool, "head": dense(CLASSES, 6)}
        super().__init__(**{**parts, **changes})
        self.between = []

    def layers(self):
        attending = [Layer(f"block{i}.attn", "Attention", None) for i in range(3)]
        return [*super().layers(), *attending]

    def survey(self, inputs):
        records = []
        for record in NumpyAdapter(**self.ops).survey(inputs):
            if record.layer.name.startswith("block"):
                layer = Layer(f"{record.layer.name}.attn", "Attention", None)
                attention = (1, 2, TOKENS, TOKENS)
                records.append(replace(record, layer=layer, attention=attention, shape=(1, 2)))
            records.append(record)
        return records

    def run(self, inputs, layers=(), seeds=(), **options):
        plain = [name for name in layers if "@attention" not in name]
        trace = super().run(inputs, plain, seeds, **options)
        zeros = np.zeros((len(inputs), 2, TOKENS, TOKENS))
        taken = {n: LayerTrace(zeros, (zeros,) * len(seeds)) for n in layers if n not in plain}
        return replace(trace, layers={**trace.layers, **taken})

    def gradients_between(self, inputs, pulls):
        own = {name: pull for name, pull in pulls.items() if "@attention" in name}
        rest = {name: pull for name, pull in pulls.items() if name not in own}
        self.between.append({name: later for name, (later, _) in own.items()})
        found = dict(super().gradients_between(inputs, rest))
        for name, (_, cotangent) in own.items():
            # Key k shows what token k is given, summed up.
            keys = cotangent.sum(axis=2)[:, None, None]
            found[name] = np.broadcast_to(keys, (len(inputs), 2, TOKENS, TOKENS))
        return found


class Pooling(Attending):
    """Says of the pool that it attends, by one query, to as many keys as there are tokens."""

    def survey(self, inputs):
        return [
            replace(r, attention=(1, 2, 1, TOKENS)) if r.layer.name == "pool" else r
            for r in super().survey(inputs)
        ]

    @contextmanager
    def gradients_beyond(self, inputs, layer, later, *, logits=True):
        assert later == "pool@attention"
        with super().gradients_beyond(inputs, layer, layer, logits=logits) as pull:

            def keys(activations, seed):
                given = pull(activations, seed).sum(axis=2)[:, None, None]
                return np.broadcast_to(given, (len(given), 2, 1, TOKENS))

            yield keys


def scores_of_means(model, images):
    """Each block's score, ``(B, 3, K)``, and its gradient at the mean, ``(B, 3, K, C)``."""
    values = dict(zip(model.ops, model._forward(images)[1:], strict=True))
    hidden, head = model.ops["hidden"], model.ops["head"]
    scores, slopes = [], []
    for name in ("block0", "block1", "block2"):
        before = values[name].mean(axis=1) @ hidden.weights.T + hidden.bias
        scores.append(np.maximum(before, 0) @ head.weights.T + head.bias)
        slopes.append((head.weights[None] * (before > 0)[:, None]) @ hidden.weights)
    return np.stack(scores, 1), np.stack(slopes, 1)


@pytest.mark.parametrize("pool", [First(), Mean()])
def test_each_token_is_given_its_share_of_the_slope_at_their_mean(pool):
    model = Attending(pool)
    labels = [0, 2, 1]
    found = camcore.explain(model, IMAGES, labels, method="legrad", scored="block")
    _, slopes = scores_of_means(model, IMAGES)
    for i, name in enumerate(found.raw):
        assert name == f"block{i}.attn@attention"
        own = slopes[np.arange(3), i, labels].sum(axis=1) / TOKENS
        expected = np.broadcast_to(np.maximum(own, 0)[:, None, None], (3, 2, 2))
        np.testing.assert_allclose(found.raw[name], expected, rtol=1e-12, atol=1e-15)
    # One pull-back for all blocks.
    assert model.between == [{f"block{i}.attn@attention": f"block{i}" for i in range(3)}]


def test_with_a_pooler_the_slope_is_at_each_token_as_it_is():
    model = Pooling(Squares())
    blocks, labels = [f"block{i}" for i in range(3)], [0, 2, 1]
    after = ("pool", "hidden", "relu", "head")
    model.ops = {name: model.ops[name] for name in ("embed", *blocks, *after)}
    found = camcore.explain(model, IMAGES, labels, method="legrad", scored="block")
    assert list(found.raw) == [f"{name}.attn@attention" for name in blocks]
    values = dict(zip(model.ops, model._forward(IMAGES)[1:], strict=True))
    hidden, head = model.ops["hidden"], model.ops["head"]
    for name in blocks:
        tokens = values[name]
        before = (tokens**2).mean(axis=1) @ hidden.weights.T + hidden.bias
        slope = (head.weights[labels] * (before > 0)) @ hidden.weights
        own = np.einsum("btc,bc->bt", 2 * tokens, slope)[:, 1:] / TOKENS
        expected = np.maximum(own, 0).reshape(3, 2, 2)
        np.testing.assert_allclose(
            found.raw[f"{name}.attn@attention"], expected, rtol=1e-12, atol=1e-15
        )
    explainer = camcore.Explainer(model, method="legrad", scored="block")
    for result, label in zip(explainer(IMAGES, Each(Class(0), Class(2))), (0, 2), strict=True):
        for name, raw in explainer(IMAGES, label).raw.items():
            np.testing.assert_array_equal(result.raw[name], raw)
    with pytest.raises(MethodError, match="'pool@attention' pools what the blocks return"):
        camcore.explain(model, IMAGES, 1, "pool", "legrad", scored="block")


def test_a_target_that_bends_is_differentiated_at_each_blocks_own_score():
    model = Attending(First())
    found = camcore.explain(model, IMAGES, Probability(1), method="legrad", scored="block")
    scores, slopes = scores_of_means(model, IMAGES)
    p = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    weights = p[..., 1:2] * (np.eye(CLASSES)[1] - p)
    own = np.einsum("blk,blkc->bl", weights, slopes) / TOKENS
    for i, raw in enumerate(found.raw.values()):
        np.testing.assert_allclose(raw[:, 0, 0], np.maximum(own[:, i], 0), rtol=1e-9, atol=1e-15)


def test_passes_are_shared_by_layers_but_not_by_targets_and_views():
    model = Attending(First())
    explainer = camcore.Explainer(model, method="legrad", scored="block")
    for result, label in zip(explainer(IMAGES, Each(Class(0), Class(2))), (0, 2), strict=True):
        alone = explainer(IMAGES, label)
        for name, raw in alone.raw.items():
            np.testing.assert_array_equal(result.raw[name], raw)
    assert len(model.between) == 4
    flip = camcore.augment.Flip()
    views = camcore.Explainer(model, method="legrad", scored="block", augment=[flip])
    turned = explainer(IMAGES[..., ::-1], 1).raw
    plain = explainer(IMAGES, 1).raw
    for name, raw in views(IMAGES, 1).raw.items():
        mean = (plain[name] + turned[name][..., ::-1]) / 2
        np.testing.assert_allclose(raw, mean, rtol=1e-12, atol=1e-15)


class Several(Attending):
    """Blocks of which the score is made without the last."""

    def gradients_between(self, inputs, pulls):
        return {n: 2 * g for n, g in super().gradients_between(inputs, pulls).items()}


class Bare(Attending):
    """Nothing is around the attention."""

    def survey(self, inputs):
        return [
            r for r in super().survey(inputs) if not r.layer.name.startswith("block") or r.attends
        ]


class Lacking(Adapter):
    input_channels = "first"

    def __init__(self):
        whole = Attending(First())
        self.layers, self.survey, self.run = whole.layers, whole.survey, whole.run
        self.gradients_from = whole.gradients_from


class LackingBeyond(Lacking):
    """Pools by attention, and takes no gradients at it behind what is altered."""

    def __init__(self):
        whole = Pooling(First())
        self.layers, self.survey, self.run = whole.layers, whole.survey, whole.run
        self.gradients_between = whole.gradients_between


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Several(First()), "the score has more of .block0. than what .block1. makes of it"),
        (Bare(First()), r"no layer is seen that returns the block of 'block0.attn' alone"),
        (
            Attending(First(), block0=dense(6, 8), block1=dense(WIDTH, 6)),
            r"blocks do not all return as many tokens, .* but \(3, 5, 4\) and \(3, 5, 6\)",
        ),
        (Lacking(), "Lacking offers no gradients_between"),
        (LackingBeyond(), "LackingBeyond offers no gradients_beyond"),
    ],
)
def test_where_blocks_have_no_score_of_their_own_the_models_is_named(model, message):
    with pytest.raises(MethodError, match=f"{message}.* scored='model'"):
        camcore.explain(model, IMAGES, 1, method="legrad", scored="block")
    assert camcore.explain(model, IMAGES, 1, method="legrad").maps.shape == (3, 4, 4)
