"""Relevancy and rollout by hand, and the way from a chain of captured attention to a map."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError, MethodError
from camcore.methods import find, relevancy, rollout

# A class token and two patches, one head, two layers.
A1 = np.array([[[[0.5, 0.25, 0.25], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]]]])
G1 = np.array([[[[1.0, 2.0, -1.0], [0.0, 1.0, 1.0], [1.0, -1.0, 1.0]]]])
A2 = np.array([[[[0.4, 0.4, 0.2], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]]]])
G2 = np.array([[[[1.0, 1.0, 2.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]])


def row(increments, query=0, start=1.0):
    """Put the query's own start back: 1 of itself."""
    total = increments.sum(axis=1)
    total[:, query] += start
    return total


def near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_relevancy_by_hand():
    # R after layer 1 is [[1.5, .5, 0], [0, 1.6, .2], [.1, 0, 1.8]], and layer 2 adds, in the class
    # token's row, [.4, .4, .4] R.
    found = relevancy([A1, A2], [G1, G2], query=0)
    near(found, [[[0.5, 0.5, 0.0], [0.64, 0.84, 0.8]]])
    near(row(found), [[2.14, 1.34, 0.80]])


def test_rollout_by_hand():
    # The rows of layer 1 are [.75, .125, .125], [.1, .8, .1] and [.05, .05, .9].
    found = rollout([A1, A2])
    near(found[0, 0], [0.75, 0.125, 0.125])
    near(found.sum(axis=1), [[0.55, 0.2525, 0.1975]])


def test_one_layer_is_its_attention_and_no_gradient_is_no_relevancy():
    near(relevancy([A1], [G1], query=2), np.maximum(A1 * G1, 0)[:, 0, 2:])
    near(relevancy([A1, A2], [0 * G1, 0 * G2]), np.zeros((1, 2, 3)))
    near(rollout([A1], query=2).sum(axis=1), (A1[:, 0, 2] + [0, 0, 1]) / 2)


def test_heads_are_averaged_once_they_are_rectified():
    two = [np.concatenate([a, b], axis=1) for a, b in ((A1, A2), (G1, -G2))]
    expected = (np.maximum(A1 * G1, 0) + np.maximum(-A2 * G2, 0))[:, 0, 0] / 2
    near(relevancy([two[0]], [two[1]], query=0)[:, 0], expected)
    for heads, joined in (("max", np.maximum), ("min", np.minimum)):
        fused = joined(A1, A2)[0, 0] + np.eye(3)
        expected = fused[0] / fused[0].sum()
        near(rollout([two[0]], heads=heads)[0, 0], expected)


def test_the_queries_are_those_that_the_score_depends_on():
    last = np.zeros_like(G2)
    last[:, :, 1:] = G2[:, :, 1:]
    both = [relevancy([A1, A2], [G1, last], query=q) for q in (1, 2)]
    near(relevancy([A1, A2], [G1, last]), np.mean(both, axis=0))
    every = [relevancy([A1, A2], [G1, last], query=q) for q in range(3)]
    near(relevancy([A1, A2], [G1, last], query="mean"), np.mean(every, axis=0))
    # Each sample by itself: here the second has no gradient in the last layer's first two rows.
    apart = np.concatenate([last, last])
    apart[1, :, :2] = 0
    found = relevancy([np.repeat(A1, 2, 0), np.repeat(A2, 2, 0)], [np.repeat(G1, 2, 0), apart])
    near(found[0], np.mean(both, axis=0)[0])
    near(found[1], relevancy([A1, A2], [G1, apart[1:]], query=2)[0])


def test_layers_are_passed_over():
    near(relevancy([A1, A2], [G1, G2], first=-1, query=0)[:, 1:], relevancy([A2], [G2], query=0))
    near(relevancy([A1, A2], [G1, G2], first=1, query=0)[:, 0], np.zeros((1, 3)))
    near(rollout([A1, A2], first=1)[:, 1:], rollout([A2]))


def test_uniform_attention_rolls_out_uniformly():
    uniform = np.full((2, 3, 5, 5), 0.2)
    rows = rollout([uniform] * 3, query="mean").sum(axis=1)
    near(rows, np.full((2, 5), 0.2))
    generator = np.random.default_rng(0)
    drawn = [generator.dirichlet(np.ones(5), (2, 3, 5)) for _ in range(4)]
    for options in ({}, {"heads": "max", "query": 3}, {"discard": 0.6}):
        near(rollout(drawn, **options).sum(axis=(1, 2)), [1, 1])


def test_what_is_least_is_discarded_but_for_the_first_token_itself():
    # Of nine pairs the lowest four: .1, .1, .2 and .2; .25 and more stay, and the first anyway.
    kept = np.array([[0.05, 0.25, 0.25], [0, 0.6, 0], [0, 0, 0.8]])
    given = A1.copy()
    given[0, 0, 0, 0] = 0.05
    mixed = kept + np.eye(3)
    expected = mixed / mixed.sum(axis=1, keepdims=True)
    for query in range(3):
        near(rollout([given], discard=5 / 9, query=query)[0, 0], expected[query])


def test_a_head_may_read_several_tokens():
    pooling = np.array([0.5, 0.25, 0.25])
    rows = np.stack([rollout([A1, A2], query=q).sum(axis=1)[0] for q in range(3)])
    near(rollout([A1, A2], pooling).sum(axis=1)[0], pooling @ rows)
    # Attention that pools: its one query passes nothing by.
    pooler = np.array([[[[0.2, 0.3, 0.5]]]])
    found = rollout([A1, pooler], np.ones(1))
    near(found[0, 0], np.zeros(3))
    near(found[0, 1], [0.2, 0.3, 0.5] @ (A1[0, 0] + np.eye(3)) / 2)


def test_a_query_attends_to_the_image_by_the_rules_for_two_kinds():
    image = np.array([[[[0.5, 0.5], [0.25, 0.75]]]])
    own, across = np.array([[[[1.0]]]]), np.array([[[[0.2, 0.8]]]])
    layers = [image, own, across, own / 2]
    # R of the image is 1 + 2 A, whose gain scales back to A; of the query 2; across
    # 2 [.2, .8] (1 + A) = [1, 3]; and half of that again.
    gradients = [2 * np.ones_like(image), *map(np.ones_like, layers[1:])]
    found = relevancy(layers, gradients)
    near(found, [[[0, 0], [0, 0], [1, 3], [0.5, 1.5]]])
    # Where the image attends back, its own R grows by that of the query: [.5, .25]ᵀ [1.5, 4.5].
    back = np.array([[[[0.5], [0.25]]]])
    found = relevancy([*layers, back], [*gradients, np.ones_like(back)], query=1)
    near(found[0, -1], [0.25 * 1.5, 0.25 * 4.5])


@pytest.mark.parametrize(
    "sizes",
    [
        # Keys of fewer tokens than the queries, as of pooled patches: others in each stage.
        [(16, 4), (4, 4)],
        # A tower of words beside that of patches, before and behind it.
        [(5, 5), (9, 9)],
        [(9, 9), (5, 5)],
        # Queries that nobody reads.
        [(9, 9), (3, 9), (9, 9)],
    ],
)
def test_relevancy_goes_no_way_that_leads_nowhere(sizes):
    layers = [np.full((1, 1, *size), 0.5) for size in sizes]
    with pytest.raises(MethodError, match="Choose layers of one chain"):
        relevancy(layers, layers)


@pytest.mark.parametrize("method", [find("relevancy"), find("rollout")], ids=lambda m: m.name)
def test_what_is_no_chain_is_refused(method):
    def run(attentions, **options):
        given = (attentions, attentions) if method.name == "relevancy" else (attentions,)
        return method.function(*given, **options)

    for attentions, message in (
        ([], r"attentions must be \(batch, heads, queries, keys\) for each layer"),
        ([A1[0]], r"of one batch; got \[\(1, 3, 3\)\]"),
        ([A1, np.concatenate([A2, A2])], "of one batch"),
        ([np.nan * A1], "attentions"),
    ):
        with pytest.raises(InputError, match=message):
            run(attentions)
    for options, message in (
        ({"query": 3}, "query=3; expected one of 3, or 'mean'"),
        ({"query": -4}, "query=-4"),
        ({"query": "class"}, "query='class'"),
        ({"first": 2}, "first=2; expected a layer of 2, from -2 on"),
        ({"first": -3}, "first=-3"),
    ):
        with pytest.raises(InputError, match=message):
            run([A1, A2], **options)
    other = np.full((1, 1, 5, 5), 0.2)
    with pytest.raises(MethodError, match="3"):
        run([A1, other])


def test_options_of_one_method_are_checked():
    with pytest.raises(InputError, match="differ in shape"):
        relevancy([A1, A2], [G1, G2[..., :2]])
    with pytest.raises(InputError, match="heads='median'; expected one of mean, max, min"):
        rollout([A1], heads="median")
    for discard in (-0.1, 1.0):
        with pytest.raises(InputError, match=f"discard={discard}; expected a share"):
            rollout([A1], discard=discard)
    with pytest.raises(InputError, match=r"pooling must be of shape \(3,\); got \(2,\)"):
        rollout([A1], np.ones(2))
    with pytest.raises(MethodError, match="layer 0 attends from 1 to 3 where the last"):
        rollout([A1[:, :, :1], A2])
