"""What the equations promise, in float64 on real architectures in each framework.

Weights are random; batch statistics are too, so that a batch normalisation left out or
counted twice would show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.layers import layout
from camcore.metrics import faithfulness
from camcore.resize import Interpolation, resize
from camcore.targets import (
    Class,
    Contrast,
    Counterfactual,
    Each,
    LogProbability,
    Probability,
    softmax,
)

JAX = {"flat": "flattened"}
"""What a network is called there, where it is called otherwise."""


@pytest.fixture(scope="module", params=["torch", "keras", "jax"])
def framework(request) -> Iterator[str]:
    if request.param != "jax":
        yield request.param
        return
    jax = request.getfixturevalue("require")("jax")
    with jax.enable_x64(True):
        yield request.param


@pytest.fixture(scope="module")
def build(request, framework, networks) -> Callable[[str], Any]:
    """Make a network of the framework, by name; see the module of networks."""

    def made(name: str) -> Any:
        if framework == "jax":
            return getattr(request.getfixturevalue("jax_networks"), JAX.get(name, name))()
        make = getattr(networks, f"{framework}_{name}")
        if framework == "torch":
            request.getfixturevalue("one_thread")
            require = request.getfixturevalue("require")
            golden = name == "golden"
            return make(*map(require, ["torch"] if golden else ["torch", "torchvision.models"]))
        return make(request.getfixturevalue("keras"))

    return made


@pytest.fixture(scope="module")
def subjects(build, framework, request) -> Callable[[str], Any]:
    """Networks in double precision, each built once."""
    double = request.getfixturevalue("double") if framework == "keras" else nullcontext

    @cache
    def subject(name: str) -> Any:
        with double():
            return build(name)

    return subject


@pytest.fixture
def pooled(subjects) -> Any:
    return subjects("pooled")


@pytest.fixture
def flat(subjects) -> Any:
    return subjects("flat")


@pytest.fixture
def residual(subjects) -> Any:
    return subjects("residual")


@pytest.fixture
def smooth(subjects) -> Any:
    return subjects("smooth")


def over_space(maps: np.ndarray) -> np.ndarray:
    """``(B, *S)`` to ``(B,)``."""
    return maps.reshape(len(maps), -1).sum(axis=1)


def by_channel(array: np.ndarray) -> np.ndarray:
    """Sum over space: ``(B, C, *S)`` to ``(B, C)``."""
    return array.reshape(*array.shape[:2], -1).sum(axis=2)


def close(one: np.ndarray, other: np.ndarray, tolerance: float = 1e-12) -> None:
    scale = np.abs(other).max()
    assert scale > 1e-6, "the identity holds for zeros alone"
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


def test_1_under_average_pooling_gradcam_is_cam(pooled):
    evidence = pooled.evidence(pooled.last)
    positions = np.prod(evidence.activations.shape[2:])
    assert positions == 4
    close(by_channel(evidence.gradients), pooled.head[0][pooled.target])
    cam, gradcam = pooled.raw(pooled.last, "cam", "gradcam")
    close(positions * gradcam, cam)
    close(cam.mean(axis=(1, 2)), pooled.unbiased)


def test_2_under_average_pooling_three_methods_are_one_and_sum_to_the_score(pooled):
    gradcam, hirescam, xgradcam = pooled.raw(pooled.last, "gradcam", "hirescam", "xgradcam")
    close(over_space(hirescam), pooled.unbiased)
    close(gradcam, hirescam)
    close(xgradcam, hirescam)


def test_3_under_a_flattened_head_hirescam_is_complete_and_gradcam_is_not(flat):
    gradcam, hirescam = flat.raw(flat.last, "gradcam", "hirescam")
    close(over_space(hirescam), flat.unbiased)
    assert np.all(np.abs(over_space(gradcam) - flat.unbiased) > 0.05 * np.abs(flat.unbiased))


@pytest.mark.parametrize("layer", ["early", "last"])
@pytest.mark.parametrize("name", ["pooled", "flat"])
def test_4_xgradcam_and_hirescam_sum_to_gradient_times_activation(subjects, name, layer):
    subject = subjects(name)
    layer = getattr(subject, layer)
    evidence = subject.evidence(layer)
    expected = over_space(evidence.gradients * evidence.activations)
    xgradcam, hirescam = subject.raw(layer, "xgradcam", "hirescam")
    close(over_space(xgradcam), expected)
    close(over_space(hirescam), expected)
    assert np.abs(xgradcam - hirescam).max() > 1e-3 or (name, layer) == ("pooled", subject.last)


@pytest.mark.parametrize("name", ["pooled", "flat"])
def test_5_under_an_affine_head_ablation_is_gradient_times_activation(subjects, name):
    subject = subjects(name)
    evidence = subject.evidence(subject.affine)
    activations, total = evidence.activations, by_channel(evidence.activations)
    contributions = by_channel(evidence.gradients * activations)
    drops = np.zeros_like(total)
    for sample in range(len(total)):
        altered = np.repeat(activations[sample : sample + 1], total.shape[1], axis=0)
        altered[np.arange(len(altered)), np.arange(len(altered))] = 0
        with evidence.resume(sample) as score:
            drops[sample] = evidence.scores[sample] - score(altered)
    close(drops, contributions)
    xgradcam, ablation = subject.raw(subject.affine, "xgradcam", "ablationcam")
    shares = np.divide(drops, total, out=np.zeros_like(drops), where=total != 0)
    close(np.einsum("bc,bchw->bhw", shares, activations), xgradcam)
    weights = contributions / evidence.scores[:, None]
    close(ablation, np.einsum("bc,bchw->bhw", weights, activations))


@pytest.mark.parametrize("name", ["residual", "flat", "shared"])
def test_6_input_and_biases_times_their_gradients_add_up_to_the_score(subjects, name):
    subject = subjects(name)
    evidence = subject.evidence(None, method="fullgrad")
    shares = [evidence.images * evidence.image_gradients, *evidence.bias_terms]
    sums = np.array([over_space(share) for share in shares])
    close(sums.sum(axis=0), subject.scores)
    # Each layer matters, or leaving one out would not show.
    assert np.all(np.abs(sums).max(axis=1) > 1e-6)


def test_7_maps_are_linear_in_the_target(pooled):
    wanted, p = pooled.target, softmax(pooled.logits)
    targets = {
        "counterfactual": Counterfactual(wanted),
        "finer": Contrast(wanted),
        "probability": Probability(wanted),
        "log": LogProbability(wanted),
        "sum": 2 * Class(1) - 3 * Class(0),
    }
    count = p.shape[1]
    maps = pooled.raw(pooled.early, "gradcam", target=Each(*range(count), *targets.values()))
    found = dict(zip(targets, maps[count:], strict=True))
    classes = np.stack(maps[:count], axis=1)
    rows = (np.arange(len(p)), wanted)
    own, mean = classes[rows], np.einsum("bk,bkhw->bhw", p, classes)
    close(found["counterfactual"], -own)
    close(found["log"], own - mean)
    close(found["probability"], p[rows][:, None, None] * (own - mean))
    close(found["sum"], 2 * classes[:, 1] - 3 * classes[:, 0])
    for sample, (c, y) in enumerate(zip(wanted, pooled.logits, strict=True)):
        nearest = np.argsort(np.abs(y - y[c]))[1:4]
        finer = own[sample] - 0.6 * classes[sample, nearest].mean(axis=0)
        close(found["finer"][sample], finer)


def test_7_finercam_and_the_counterfactual_aim_by_themselves(pooled):
    finer, against, own = pooled.raw(pooled.last, "finercam", "counterfactual", "gradcam")
    close(against, -own)
    close(finer, pooled.raw(pooled.last, "gradcam", target=Contrast(pooled.target)))


@pytest.mark.parametrize("name", ["pooled", "flat", "residual"])
def test_8_behind_rectifiers_shapleycam_is_gradcam(subjects, name):
    subject = subjects(name)
    shapleycam, gradcam = subject.raw(subject.early, "shapleycam", "gradcam")
    np.testing.assert_array_equal(subject.evidence(subject.early).hessian_products, 0)
    close(shapleycam, gradcam)


@pytest.mark.parametrize("name", ["rest", "log-probability", "probability"])
def test_8_shapleycam_has_the_second_derivative_of_the_target(pooled, name):
    # With a linear head z = W · mean_s(A) + b, J·A = z − b, and H·A = Wᵀ · s″(z) · (z − b) / Z.
    wanted, (weights, bias) = pooled.target, pooled.head
    rows, z = np.arange(len(wanted)), pooled.logits
    p, hot = softmax(z), np.eye(z.shape[1])[wanted]
    v = z - bias
    change = p * (v - (p * v).sum(axis=1, keepdims=True))
    own = p[rows, wanted][:, None]
    target, bent = {
        "rest": (Class(wanted) + LogProbability(wanted), -change),
        "log-probability": (LogProbability(wanted), -change),
        "probability": (
            Probability(wanted),
            change[rows, wanted][:, None] * (hot - p) - own * change,
        ),
    }[name]
    evidence = pooled.evidence(pooled.last, target, "shapleycam")
    positions = evidence.activations[0, 0].size
    expected = (bent @ weights / positions)[:, :, None, None]
    close(evidence.hessian_products, np.broadcast_to(expected, evidence.activations.shape))
    shapleycam, gradcam = pooled.raw(pooled.last, "shapleycam", "gradcam", target=target)
    both = np.einsum("bc,bchw->bhw", expected[:, :, 0, 0] / 2, evidence.activations)
    close(gradcam - shapleycam, both)
    assert np.abs(both).max() > 1e-3 * np.abs(gradcam).max()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_8_behind_curves_shapleycam_has_their_second_derivative(smooth):
    evidence = smooth.evidence(smooth.early)
    traced = evidence.trace.layers[smooth.early]
    products = smooth.curved(traced.activations)
    products = layout.infer(products.shape, traced.channels, evidence.size).canonical(products)
    close(evidence.hessian_products, products)
    weights = (evidence.gradients - products / 2).mean(axis=(2, 3))
    shapleycam, gradcam = smooth.raw(smooth.early, "shapleycam", "gradcam")
    close(shapleycam, np.einsum("bc,bchw->bhw", weights, evidence.activations))
    assert np.abs(shapleycam - gradcam).max() > 0.05 * np.abs(gradcam).max()


@pytest.mark.parametrize("name", ["pooled", "flat"])
def test_9_layercam_is_at_least_the_positive_part_of_hirescam(subjects, name):
    subject = subjects(name)
    layercam, hirescam = subject.raw(subject.last, "layercam", "hirescam")
    assert np.all(layercam >= np.maximum(hirescam, 0))
    assert np.any(layercam > hirescam)


def test_10_scorecam_does_not_depend_on_the_baseline(residual):
    evidence = residual.evidence(residual.early)
    maps = residual.raw(residual.early, "scorecam")
    for sample, activation in enumerate(evidence.activations):
        activation = activation[np.ptp(activation, axis=(1, 2)) > 0]
        masks = resize(activation, evidence.size, Interpolation())
        masks -= masks.min(axis=(1, 2), keepdims=True)
        masks /= masks.max(axis=(1, 2), keepdims=True)
        masked = evidence.images[sample] * masks[:, None]
        increase = evidence.score_images(sample, masked)
        for baseline in (0.0, 1.0):
            blank = np.full_like(evidence.images[:1], baseline)
            increase = increase - evidence.score_images(sample, blank)
            expected = np.tensordot(softmax(increase), activation, 1)
            close(maps[sample], expected)


def test_10_without_noise_or_steps_variants_are_what_they_vary(residual):
    names = ("scorecam", "sscam", "iscam", "gradcam++", "smoothgradcampp")
    scorecam, sscam, iscam, plusplus, smooth = residual.raw(
        residual.early, *names, sigma=0, samples=2, steps=1
    )
    close(sscam, scorecam)
    close(iscam, scorecam)
    close(smooth, plusplus)


def test_11_eigencam_does_not_depend_on_the_order_or_rotation_of_channels(pooled):
    activations = pooled.evidence(pooled.early).activations
    maps = pooled.raw(pooled.early, "eigencam")
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=[activations.shape[1]] * 2))
    close(methods.eigencam(np.einsum("dc,bchw->bdhw", rotation, activations)), maps)
    close(methods.eigencam(activations[:, rng.permutation(len(rotation))]), maps)


def test_11_eigencam_is_as_long_as_the_first_singular_value(pooled):
    activations = pooled.evidence(pooled.early).activations
    table = activations.reshape(*activations.shape[:2], -1)
    first = np.linalg.svd(table - table.mean(axis=2, keepdims=True), compute_uv=False)[:, 0]
    close(np.linalg.norm(pooled.raw(pooled.early, "eigencam"), axis=(1, 2)), first)


def test_12_deletion_and_insertion_lead_from_the_image_to_the_baseline(residual):
    target = Probability(residual.target)
    evidence = residual.evidence(residual.last, target)
    maps = camcore.explain(residual.model, residual.images, target, residual.last).maps
    given = (evidence.images, maps, evidence.score_images)
    rows = (np.arange(len(maps)), residual.target)
    whole = softmax(residual.logits)[rows]
    # The baseline is nothing, or the other image of the batch.
    for baseline, end in (
        (0.0, 0 * residual.images),
        (evidence.images[::-1], residual.images[::-1].copy()),
    ):
        none = softmax(residual.forward(end))[rows]
        deletion = faithfulness.deletion(*given, baseline=baseline, steps=6)
        insertion = faithfulness.insertion(*given, baseline=baseline, steps=6)
        close(deletion.scores[:, [0, -1]], np.stack([whole, none], axis=1))
        close(insertion.scores[:, [0, -1]], np.stack([none, whole], axis=1))


def test_12_a_map_of_ones_neither_drops_nor_raises_the_score(residual):
    evidence = residual.evidence(residual.last, Probability(residual.target))
    images, score = evidence.images, evidence.score_images
    ones = np.ones((len(images), *evidence.size))
    masked = faithfulness.masked_scores(images, ones, score)
    alone = np.concatenate([score(i, images[i : i + 1]) for i in range(len(images))])
    close(masked, evidence.scores)
    assert faithfulness.average_drop(alone, masked) == 0
    assert faithfulness.increase_in_confidence(alone, masked) == 0


# The networks have no attention and no tokens, and only one of them a head that CAM reads.
ALL = [m.name for m in methods.TABLE if m.level in ("layer", "scales", "input") and m.name != "cam"]


@pytest.mark.parametrize(
    ("name", "layer", "names"), [("residual", "early", ALL), ("pooled", "last", ["cam"])]
)
def test_13_a_batch_gives_what_its_samples_give(subjects, name, layer, names):
    subject = subjects(name)
    few = {"masks": 8, "cells": 3, "window": 24, "stride": 20, "samples": 2, "steps": 2}
    args = (getattr(subject, layer), names)
    options = few if names is ALL else {}
    together = camcore.explain(subject.model, subject.images, subject.target, *args, **options)
    alone = [
        camcore.explain(subject.model, subject.images[i : i + 1], target, *args, **options)
        for i, target in enumerate(subject.target)
    ]
    for name, result in together.items():
        (maps,) = result.raw.values()
        close(maps, np.concatenate([maps for one in alone for maps in one[name].raw.values()]))
        shown = np.concatenate([one[name].maps for one in alone])
        np.testing.assert_allclose(result.maps, shown, rtol=0, atol=1e-6)
        close(result.scores, np.concatenate([one[name].scores for one in alone]))


def test_captums_golden_example(build):
    """Captum's own test, by its figures."""
    model, image, (conv, relu) = build("golden")
    result = camcore.explain(model, image, 0, [conv, relu])
    np.testing.assert_array_equal(result.raw[conv], [[[11.25, 13.5], [20.25, 22.5]]])
    np.testing.assert_array_equal(result.raw[relu], [[[0, 4], [28, 32.5]]])
    np.testing.assert_array_equal(result.scores, [54])
