"""Recipe "authors" against the steps of the papers' own code, written out in float64.

Not the code itself, which needs Lua's torch, Python 2 and a GPU: position by position, on
random activations and gradients.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from attending import attending, legrad_by_layer
from written_out import SIZE, enlarged, shown, weighted

import camcore
from camcore.recipes import find_recipe
from camcore.recipes.formulas.targets import weighted_contrast
from camcore.recipes.papers import segxrescam_stretched
from camcore.resize import PEERS
from camcore.targets import Class


def test_authors_gradcam(arrays):
    activations, gradients, _ = arrays
    signed = weighted(lambda a, g: g.sum(), activations, gradients)
    large = enlarged(np.maximum(signed, 0), PEERS["scipy-linear"])
    expected = [(m - m.min()) / (m.max() - m.min()) for m in large]
    ours = shown("authors", "gradcam", activations, gradients)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_gradcampp(arrays):
    activations, gradients, scores = arrays
    heat = []
    for one, other, score in zip(activations, gradients, scores, strict=True):
        total = 0.0
        for a, g in zip(one, other, strict=True):
            first, second, third = (np.exp(score) * g**power for power in (1, 2, 3))
            below = 2 * second + third * a.sum()
            alpha = second / np.where(below != 0, below, 1)
            if alpha.sum():
                total += (np.maximum(first, 0) * alpha / alpha.sum()).sum() * a
        heat.append(np.maximum(total, 0) / np.maximum(total, 0).max())
    expected = enlarged(heat, PEERS["opencv-linear"])
    ours = shown("authors", "gradcampp", activations, gradients, scores)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_scorecam(arrays):
    activations = arrays[0]
    images = np.random.default_rng(1).normal(size=(2, 3, *SIZE))
    head = np.random.default_rng(2).normal(size=(3, 2))

    def probability(image):
        scores = np.exp(image.mean(axis=(-2, -1)) @ head)
        return (scores / scores.sum(axis=-1, keepdims=True))[..., 0]

    large = enlarged(activations, PEERS["torch-linear"])
    expected = []
    for one, image in zip(large, images, strict=True):
        total = np.zeros(SIZE)
        for channel in one:
            if channel.max() != channel.min():
                mask = (channel - channel.min()) / (channel.max() - channel.min())
                total += probability(image * mask) * channel
        total = np.maximum(total, 0)
        expected.append((total - total.min()) / (total.max() - total.min()))
    ours = shown("authors", "scorecam", activations, images, lambda _, x: probability(x))
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("change", ["increase", "decrease", "both"])
def test_authors_polycam(change, require):
    """Of a map of 12 × 10 and one of 5 × 4, some of whose channels are nowhere zero, in torch."""
    torch = require("torch")
    resized = partial(torch.nn.functional.interpolate, mode="bilinear", align_corners=False)
    rng = np.random.default_rng(5)
    layers = [
        rng.random((2, 4, *size)) + (np.arange(4) == 1)[:, None, None] for size in (SIZE, (5, 4))
    ]
    images, head = rng.random((2, 3, 24, 20)), rng.random((3, 2)) * [1, -1]

    def probability(image):
        scores = np.exp(3 * image.mean(axis=(-2, -1)) @ head)
        return (scores / scores.sum(axis=-1, keepdims=True))[..., 0]

    def unit(maps):
        """Between percentiles, position by position."""
        flat = maps.reshape(len(maps), -1)
        low, high = np.percentile(flat, 0.1, axis=1), np.percentile(flat, 99.9, axis=1)
        unit = (flat - low[:, None]) / np.maximum(high, 1e-12)[:, None]
        return np.clip(unit, 0, 1).reshape(maps.shape)

    expected = []
    for i, image in enumerate(images):
        coarse = None
        for activations in (layers[1][i], layers[0][i]):
            masks = resized(torch.from_numpy(unit(activations))[None], image.shape[1:])[0].numpy()
            under = np.array([probability(image * mask) for mask in masks])
            without = np.array([probability(image * (1 - mask)) for mask in masks])
            weights = {
                "increase": under,
                "decrease": np.maximum(probability(image) - without, 0),
                "both": np.maximum(under + probability(image) - without, 0),
            }[change]
            fine = torch.from_numpy(np.maximum(np.tensordot(weights, activations, 1), 0))[
                None, None
            ]
            if coarse is not None:
                shrunk = resized(resized(fine, coarse.shape[2:]), fine.shape[2:])
                fine = fine / shrunk.clamp(min=1e-12) * resized(coarse, fine.shape[2:])
            coarse = fine
        expected.append(resized(torch.from_numpy(unit(coarse[0].numpy()))[None], image.shape[1:]))
    recipe = find_recipe("authors")
    row = recipe.method("polycam")
    about = (layers, images, probability(images), lambda _, altered: probability(altered))
    raw = row.function(*about, **{**row.options, "change": change})
    ours = recipe.render(row.joined(raw, "mean"), images.shape[2:], method="polycam")
    assert np.ptp(np.concatenate(expected), axis=(2, 3)).min() > 0.1
    np.testing.assert_allclose(ours, np.concatenate(expected)[:, 0], atol=1e-6)


def test_authors_gscorecam(arrays):
    activations, gradients, _ = arrays
    images = np.random.default_rng(1).normal(size=(2, 3, *SIZE))

    def score(image):
        return image.mean(axis=(-2, -1)) @ [1.0, -2.0, 0.5] - 0.3

    large = enlarged(activations, PEERS["scipy-linear"])
    expected = []
    for own, one, image, slopes in zip(activations, large, images, gradients, strict=True):
        low, high = (f(one, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        scores = np.zeros(len(one))
        for channel in np.argsort(-slopes.mean(axis=(1, 2)))[:2]:
            mask = (one[channel] - low[channel]) / (high[channel] - low[channel] + 1e-6)
            scores[channel] = score(image * mask)
        weights = np.exp(scores) / np.exp(scores).sum()
        heat = np.maximum(np.tensordot(weights, own, 1), 0)
        heat = enlarged([(heat - heat.min()) / np.ptp(heat)], PEERS["opencv-linear"])[0]
        expected.append((heat - heat.min()) / np.ptp(heat))
    recipe = find_recipe("authors")
    row = recipe.method("gscorecam")
    about = (activations, gradients, images, lambda _, x: score(x))
    raw = row.function(*about, **{**row.options, "channels": 2})
    ours = recipe.render([raw], SIZE, method="gscorecam")
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_reciprocam(arrays, require):
    image = require("PIL.Image")
    activations = arrays[0]
    head = np.random.default_rng(3).normal(size=(activations[0].size, 3))

    def probability(one):
        scores = np.exp(one.reshape(-1, len(head)) @ head)
        return (scores / scores.sum(axis=-1, keepdims=True))[:, 1]

    @contextmanager
    def resume(sample):
        yield probability

    expected = []
    for one in activations:
        heat = np.zeros(one.shape[1:])
        for i, j in np.ndindex(*heat.shape):
            alone = np.zeros_like(one)
            alone[:, i, j] = one[:, i, j]
            heat[i, j] = probability(alone)[0]
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        large = image.fromarray(heat.astype(np.float32))
        expected.append(np.asarray(large.resize(SIZE[::-1], image.Resampling.BICUBIC)))
    ours = shown("authors", "reciprocam", activations, resume)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def unit(map_, eps=1e-7):
    """(x − min) / (ε + max of that), as pytorch_grad_cam.utils.image.scale_cam_image."""
    moved = map_ - map_.min()
    return moved / (eps + moved.max())


def built_on_grad_cam(signed):
    """The way of what is built on pytorch-grad-cam, for one layer."""
    each = [unit(np.maximum(one, 0)) for one in signed]
    return np.stack([unit(np.maximum(one, 0)) for one in enlarged(each, PEERS["opencv-linear"])])


FORMS = {
    "rectified": lambda a, u: np.maximum(u * a, 0),
    "mean": lambda a, u: u.mean() * a,
    "hires": lambda a, u: u * a,
    "x": lambda a, u: (u * a / (a.sum() + 1e-7)).sum() * a,
}


@pytest.mark.parametrize("form", FORMS)
def test_authors_shapleycam(arrays, form):
    activations, gradients, _ = arrays
    products = np.random.default_rng(3).normal(size=activations.shape)
    signed = np.zeros((2, 4, 3))
    for sample in range(2):
        for a, g, h in zip(activations[sample], gradients[sample], products[sample], strict=True):
            signed[sample] += FORMS[form](a, g - 0.5 * h)
    row = find_recipe("authors").method("shapleycam")
    raw = row.function(activations, gradients, products, form=form)
    np.testing.assert_allclose(raw, signed, atol=1e-12)
    if form == "rectified":  # as it comes
        ours = shown("authors", "shapleycam", activations, gradients, products)
        np.testing.assert_allclose(ours, built_on_grad_cam(signed), atol=1e-6)


def test_authors_shapleycam_mean_is_the_papers(arrays):
    activations, gradients, _ = arrays
    products = np.random.default_rng(3).normal(size=activations.shape)
    row = find_recipe("authors").method("shapleycam")
    mean = row.function(activations, gradients, products, form="mean")
    paper = camcore.methods.shapleycam(activations, gradients, products)
    np.testing.assert_allclose(mean, paper, rtol=1e-14, atol=1e-14)


def test_authors_finercam_explains_the_weighted_contrast(torch):
    # The objective in torch's own words, and its gradient.
    logits = torch.tensor([[5, 4, 3.5, 1, 0, -2]], dtype=torch.float64, requires_grad=True)
    p = torch.softmax(logits, -1)[0]
    nearest = [1, 2, 3]
    shares = sum(p[d] * (logits[0, 0] - logits[0, d]) for d in nearest)
    score = shares / (sum(p[d] for d in nearest) + 1e-9)
    score.backward()
    found = weighted_contrast(Class(0))(logits.detach().numpy())
    np.testing.assert_allclose(found.scores, [score.item()], rtol=1e-14)
    np.testing.assert_allclose(found.cotangent, logits.grad.numpy(), atol=1e-14)
    np.testing.assert_allclose(found.cotangent, [[1, -0.769, -0.283, 0.052, 0, 0]], atol=5e-4)
    assert find_recipe("authors").method("finercam").aim is weighted_contrast


def test_authors_finercam_is_shown_as_what_it_is_built_on(arrays):
    activations, gradients, _ = arrays
    signed = weighted(lambda a, g: g.mean(), activations, gradients)
    ours = shown("authors", "finercam", activations, gradients)
    np.testing.assert_allclose(ours, built_on_grad_cam(signed), atol=1e-6)


def test_authors_refinecam(arrays):
    activations, gradients, _ = arrays
    layers = [(activations, gradients), (activations[:, :, :2, :2], gradients[:, :, :2, :2])]

    def weigh(a, g):
        below = 2 * g**2 + a.sum() * g**3 + 1e-6
        return (np.maximum(g, 0) * np.where(g != 0, g**2 / below, 0)).sum()

    product = 1
    for a, g in layers:
        maps = built_on_grad_cam(weighted(weigh, a, g))
        product = product * np.stack([(m - m.min()) / (np.ptp(m) + 1e-12) for m in maps])
    expected = [(m - m.min()) / (np.ptp(m) + 1e-12) for m in product]
    recipe = find_recipe("authors")
    row = recipe.method("refinecam")
    raw = [row.function(a, g, **row.options) for a, g in layers]
    ours = recipe.render(raw, (12, 10), row.fusion, "refinecam")
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize(("side", "window"), [(8, 2), (9, 3), (7, 2), (7, 3), (15, 2), (14, 4)])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_authors_segxrescam_by_scikit_image(require, side, window, pool):
    measure, transform = require("skimage.measure"), require("skimage.transform")
    rng = np.random.default_rng(side)
    activations, gradients = rng.normal(size=(2, 1, 3, side, side))
    blocks = (1, window, window)
    pooled = measure.block_reduce(gradients[0], blocks, getattr(np, pool))
    back = transform.resize(pooled.transpose(1, 2, 0), (side, side), order=0).transpose(2, 0, 1)
    ours = segxrescam_stretched(activations, gradients, window=window, pool=pool)
    np.testing.assert_allclose(ours[0], (back * activations[0]).sum(axis=0), atol=1e-12)
    plain = camcore.methods.segxrescam(activations, gradients, window=window, pool=pool)
    assert (np.abs(ours - plain).max() < 1e-12) == (side % window == 0)


def test_authors_segxrescam_is_shown_in_levels(arrays):
    activations, gradients, _ = arrays
    raw = segxrescam_stretched(activations, gradients)
    large = enlarged(np.maximum(raw, 0), PEERS["opencv-linear"])
    spread = [(one - one.min()) / np.ptp(one) for one in large]
    expected = np.uint8(255 * np.stack(spread)) / 255
    ours = shown("authors", "segxrescam", activations, gradients)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_sscam():
    rng = np.random.default_rng(4)
    activations = np.maximum(rng.normal(size=(2, 4, 4, 3)), 0)
    activations[:, 3] = 1.5
    images, head = rng.normal(size=(2, 3, *SIZE)), rng.normal(size=(3, 2))

    def probability(image):
        scores = np.exp(image.mean(axis=(-2, -1)) @ head)
        return (scores / scores.sum(axis=-1, keepdims=True))[..., 0]

    expected = []
    for sample, image in enumerate(images):
        total = np.zeros(SIZE)
        for number, channel in enumerate(enlarged(activations[sample], PEERS["torch-linear"])):
            if np.ptp(activations[sample, number]) == 0:
                continue
            draws = np.random.default_rng([0, number])
            sigma = 2 / (channel.max() - channel.min())
            noisy = [channel + draws.normal(0, sigma**2, SIZE) for _ in range(35)]
            total += np.mean([probability(image * mask) for mask in noisy]) * channel
        total = np.maximum(total, 0)
        expected.append((total - total.min()) / np.ptp(total))
    ours = shown("authors", "sscam", activations, images, lambda _, x: probability(x))
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_fem(arrays):
    activations = arrays[0]
    maps = weighted(
        lambda a, _: 1,
        [[a.mean() * (a > a.mean() + 2 * a.std()) for a in one] for one in activations],
        activations,
    )
    expected = [one / (one.max() or 1) for one in maps]
    ours = shown("authors", "fem", activations)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_legrad_sums_what_layers_give():
    # (B, heads, queries, *S) at two blocks.
    blocks = np.random.default_rng(5).normal(size=(2, 2, 3, 7, 3, 2))
    total = sum(np.maximum(block, 0).mean(axis=(1, 2)) for block in blocks)
    large = enlarged(total, PEERS["torch-linear"])
    expected = [(one - one.min()) / np.ptp(one) for one in large]
    recipe = find_recipe("authors")
    row = recipe.method("legrad")
    raw = row.joined([row.function(block) for block in blocks], recipe.fusion)
    np.testing.assert_allclose(recipe.render(raw, SIZE, None, "legrad"), expected, atol=1e-6)


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("pooled", [True, False])
def test_authors_legrad_scores_the_last_two_blocks_by_what_each_returns(torch, pooled, token):
    model = attending(torch, pooled, blocks=3, token=token)
    images = np.random.default_rng(0).normal(size=(2, 3, 16, 16))
    ours = camcore.explain(model, images, 1, method="legrad", recipe="authors")
    maps = legrad_by_layer(torch, model, images, 1)[-2:]
    assert list(ours.raw) == ["blocks.1@attention", "blocks.2@attention"]
    for found, own in zip(ours.raw.values(), maps, strict=True):
        np.testing.assert_allclose(found, own, rtol=0, atol=1e-12)
    large = sum(
        torch.nn.functional.interpolate(
            torch.from_numpy(own)[:, None], scale_factor=4, mode="bilinear"
        )[:, 0].numpy()
        for own in maps
    )
    expected = [(one - one.min()) / np.ptp(one) for one in large]
    np.testing.assert_allclose(ours.maps, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooled", [True, False])
def test_score_of_a_block_is_the_models_where_tokens_are_pooled_at_the_end(torch, pooled):
    model = attending(torch, pooled)
    images = np.random.default_rng(0).normal(size=(2, 3, 16, 16))
    names = ["blocks.0", "blocks.1"]
    theirs = legrad_by_layer(torch, model, images, 1)
    same = {}
    for scored in ("model", "block"):
        ours = camcore.explain(model, images, 1, names, "legrad", scored=scored).raw
        same[scored] = [
            np.allclose(ours[f"{name}@attention"], own, rtol=0, atol=1e-12)
            for name, own in zip(names, theirs, strict=True)
        ]
    assert same == {"model": [False, pooled], "block": [True, True]}
