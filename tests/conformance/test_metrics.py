"""Metrics against the installed torchcam, pytorch-grad-cam and captum, and authors' definitions.

On EfficientNet-Lite0's ImageNet weights, with Grad-CAM's maps as they come, of which a quarter of
the positions tie, and with maps without ties.
"""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.metrics import (
    METRIC_RECIPES,
    TABLE,
    LinearImputer,
    arcc,
    baseline_of,
    blurred,
    deletion,
    drop,
    increased,
    infidelity,
    insertion,
    masked_scores,
    max_sensitivity,
    order_of,
    road,
    tied_share,
)
from camcore.metrics.case import Case, Counted
from camcore.targets import Probability

STEPS = 14
SIDE = 112
"""Photographs are cut to their middle, so that a curve takes seconds."""


@pytest.fixture(scope="session")
def subject(torch_lite0):
    """A model, three photographs, their classes, Grad-CAM's maps, and scores in probabilities.

    In double precision, since batches of other sizes sum in another order.
    """
    model, cut = copy.deepcopy(torch_lite0.four.model).double(), (224 - SIDE) // 2
    images = np.concatenate([one.images for one in torch_lite0.alone[:3]])
    images = images[..., cut : cut + SIDE, cut : cut + SIDE].astype(np.float64)
    explainer = camcore.Explainer(model, layer="bn2")
    classes = explainer(images).classes
    evidence = explainer.evidence(images, Probability(classes))
    return model, images, classes, explainer(images, classes).maps, evidence.score_images


@pytest.fixture(params=["as they come", "without ties"])
def maps(subject, request):
    *_, heat, _ = subject
    if request.param == "as they come":
        assert tied_share(heat).min() > 0.1
        return heat
    ranks = np.argsort(order_of(heat, "random"), axis=1)
    apart = (1 - ranks / heat[0].size).astype(np.float32).reshape(heat.shape)
    assert not tied_share(apart).any()
    return apart


def test_deletion_and_insertion_are_torchcams(require, torch, subject, maps, monkeypatch):
    theirs = require("torchcam.metrics")
    model, images, classes, _, score = subject
    given = torch.from_numpy(maps), torch.from_numpy(classes)
    monkeypatch.setattr(theirs, "_get_cam", lambda *args: given)
    softmax = partial(torch.softmax, dim=-1)
    with require("torchcam.methods").GradCAM(model, "bn2") as extractor:
        metric = theirs.DeletionInsertionMetric(extractor, softmax, steps=STEPS)
        metric.update(torch.from_numpy(images))
        found = metric.summary()
        positions = maps[0].size
        steps = [*range(0, positions, -(-positions // STEPS)), positions]
        options = {"steps": steps, "baseline": 0.0}
        deleted = deletion(images, maps, score, **options)
        inserted = insertion(images, maps, score, **options)
    known = {key: value for key, value in found.items() if "del" in key or "ins" in key}
    expected = [deleted.auc.mean(), inserted.auc.mean()]
    np.testing.assert_allclose(list(known.values()), expected, atol=1e-6)


def test_average_drop_and_increase_are_torchcams(require, torch, subject, monkeypatch):
    theirs = require("torchcam.metrics")
    model, images, classes, heat, score = subject
    given = torch.from_numpy(heat), torch.from_numpy(classes)
    monkeypatch.setattr(theirs, "_get_cam", lambda *args: given)
    softmax = partial(torch.softmax, dim=-1)
    with require("torchcam.methods").GradCAM(model, "bn2") as extractor:
        metric = theirs.ClassificationMetric(extractor, softmax)
        metric.update(torch.from_numpy(images))
        found = metric.summary()
    scores = masked_scores(images, np.ones_like(heat), score)
    masked = masked_scores(images, heat, score)
    assert found["avg_drop"] == pytest.approx(drop(scores, masked).mean(), abs=1e-6)
    assert found["conf_increase"] == pytest.approx(increased(scores, masked).mean(), abs=1e-6)


def test_recipe_torchcam_is_torchcam_as_it_comes(require, torch, subject, monkeypatch):
    theirs = require("torchcam.metrics")
    model, images, classes, heat, _ = subject
    given = torch.from_numpy(heat), torch.from_numpy(classes)
    monkeypatch.setattr(theirs, "_get_cam", lambda *args: given)
    names = ["deletion", "insertion", "average_drop", "increase"]
    found = recipe_values("torchcam", subject, names)
    with require("torchcam.methods").GradCAM(model, "bn2") as extractor:
        curves = theirs.DeletionInsertionMetric(extractor)
        confidence = theirs.ClassificationMetric(extractor)
        for metric in (curves, confidence):
            metric.update(torch.from_numpy(images))
        expected = list({**curves.summary(), **confidence.summary()}.values())
    assert abs(expected[0]) > 1  # of logits
    np.testing.assert_allclose([value.mean() for value in found], expected, atol=1e-5)


def recipe_values(recipe, subject, names):
    """Metrics of Grad-CAM as a library has them."""
    model, images, classes, *_ = subject
    evaluation = camcore.evaluate(
        model,
        images,
        classes.tolist(),
        methods="gradcam",
        metrics=names,
        layer="bn2",
        metric_recipe=recipe,
        controls=False,
    )
    return [evaluation.values["gradcam"][name] for name in names]


def test_recipe_pytorch_grad_cam_is_pytorch_grad_cam_as_it_comes(require, torch, subject):
    theirs = require("pytorch_grad_cam.metrics.cam_mult_image")
    target = require("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    model, images, classes, heat, _ = subject
    given = torch.from_numpy(images), heat, [target(int(one)) for one in classes], model
    drop, increase = recipe_values("pytorch-grad-cam", subject, ["average_drop", "increase"])
    np.testing.assert_allclose(theirs.DropInConfidence()(*given), drop, atol=1e-5)
    np.testing.assert_array_equal(theirs.IncreaseInConfidence()(*given), increase)


def test_drop_is_pytorch_grad_cams_divided_by_the_score(require, torch, subject):
    theirs = require("pytorch_grad_cam.metrics.cam_mult_image")
    target = require("pytorch_grad_cam.utils.model_targets").ClassifierOutputSoftmaxTarget
    model, images, classes, heat, score = subject
    given = torch.from_numpy(images), heat, [target(int(one)) for one in classes], model
    scores = masked_scores(images, np.ones_like(heat), score)
    masked = masked_scores(images, heat, score)
    np.testing.assert_allclose(
        theirs.DropInConfidence()(*given), scores * drop(scores, masked), atol=1e-6
    )
    np.testing.assert_array_equal(theirs.IncreaseInConfidence()(*given), increased(scores, masked))


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_what_road_fills_in_is_pytorch_grad_cams(require, torch, subject, share):
    theirs = require("pytorch_grad_cam.metrics.road")
    _, images, *_ = subject
    removed = np.random.default_rng(0).random((SIDE, SIDE)) < share
    expected = theirs.NoisyLinearImputer(noise=0)(
        torch.from_numpy(images[0].astype(np.float32)),
        torch.from_numpy((~removed).astype(np.float32)),
    )
    found = LinearImputer(removed)(images[0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.ptp(images[0]))


def test_road_is_pytorch_grad_cams_where_nothing_ties(require, torch, subject):
    theirs = require("pytorch_grad_cam.metrics.perturbation_confidence")
    single = require("pytorch_grad_cam.metrics.road").NoisyLinearImputer(noise=0)

    def imputer(image, mask):  # it knows single precision alone
        return single(image.float(), mask).double()

    target = require("pytorch_grad_cam.utils.model_targets").ClassifierOutputSoftmaxTarget
    model, images, classes, heat, score = subject
    rank = np.random.default_rng(0).permutation(heat[0].size).reshape(heat.shape[1:])
    heat = np.stack([(rank / rank.size).astype(np.float32)] * len(images))
    given = torch.from_numpy(images), heat, [target(int(one)) for one in classes], model
    # What they call the percentile is kept of the most relevant, and goes of the least.
    counts = [int((heat[0] >= np.percentile(heat[0], p)).sum()) for p in (80, 40)]
    found = road(images, heat, score, shares=[c / rank.size for c in counts], noise=0.0)
    for kind, scores in (("Most", found.most), ("Least", found.least)):
        for percentile, ours in zip((80, 40), scores.T, strict=True):
            remove = getattr(theirs, f"Remove{kind}RelevantFirst")(percentile, imputer)
            metric = theirs.PerturbationConfidenceMetric(remove)
            np.testing.assert_allclose(metric(*given, return_diff=False), ours, atol=1e-5)


def test_arcc_is_pytorch_grad_cams(require):
    theirs = require("pytorch_grad_cam.metrics.arcc").ARCC(None)
    alike, heat, told = np.array([0.9, 0.4]), np.full((2, 3, 3), 0.3), np.array([0.31, -0.1])
    theirs.coherency, theirs.road = (lambda *args: alike), (lambda *args: told)
    expected = theirs(None, heat, None, None)
    np.testing.assert_allclose(arcc(told, alike, np.full(2, 0.3)), expected, atol=1e-7)


@pytest.mark.parametrize("step", [1024, 900])
def test_curves_are_those_of_rises_authors(torch, subject, maps, step):
    """Their `single_run`, from its description: a step of pixels at a time, NumPy's own order."""
    from scipy.ndimage import gaussian_filter

    model, images, classes, _, score = subject
    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = torch.zeros(3, 3, 11, 11, dtype=torch.float64)
    kernel[range(3), range(3)] = torch.from_numpy(gaussian_filter(point, 5))
    blur = torch.nn.functional.conv2d(torch.from_numpy(images), kernel, padding=5).numpy()
    np.testing.assert_allclose(blurred(images), blur, atol=1e-12)
    positions = SIDE * SIDE
    steps = -(-positions // step)
    for mode, curve in (("del", deletion), ("ins", insertion)):
        first, last = (images, np.zeros_like(images)) if mode == "del" else (blur, images)
        scores = np.empty((len(images), steps + 1))
        for sample, heat in enumerate(maps):
            order = np.flip(np.argsort(heat.reshape(-1)))
            now = first[sample].reshape(3, -1).copy()
            for i in range(steps + 1):
                probability = model(torch.from_numpy(now.reshape(1, 3, SIDE, SIDE))).softmax(1)
                scores[sample, i] = probability[0, classes[sample]].item()
                at = order[step * i : step * (i + 1)]
                now[:, at] = last[sample].reshape(3, -1)[:, at]
        area = (scores.sum(1) - scores[:, 0] / 2 - scores[:, -1] / 2) / steps
        counts = [*range(0, positions, step), positions]
        found = curve(images, maps, score, steps=counts, ties="numpy")
        np.testing.assert_allclose(found.scores, scores, atol=1e-9)
        if positions % step == 0:
            np.testing.assert_allclose(found.auc, area, atol=1e-9)


def test_deletion_is_xpliques(torch, subject, maps):
    """Its `CausalFidelity`, from its description: truncated steps, NumPy's order, their middles."""
    model, images, classes, _, score = subject
    counts = np.linspace(0, SIDE * SIDE, STEPS + 1).astype(int)
    curves = []
    for sample, heat in enumerate(maps):
        order = np.argsort(heat.reshape(-1))[::-1]
        altered = np.stack([images[sample].reshape(3, -1)] * len(counts))
        for one, count in zip(altered, counts, strict=True):
            one[:, order[:count]] = 0
        answer = model(torch.from_numpy(altered.reshape(-1, 3, SIDE, SIDE))).softmax(1)
        curves.append(answer[:, classes[sample]].detach().numpy())
    mean = np.mean(curves, axis=0)
    found = deletion(images, maps, score, steps=counts, ties="numpy")
    np.testing.assert_allclose(found.scores.mean(0), mean, atol=1e-9)
    middles = ((mean[1:] + mean[:-1]) / 2).mean()
    # Theirs takes steps for equally long, which differ by a position here.
    assert found.auc.mean() == pytest.approx(middles, abs=1e-5)


def test_infidelity_is_captums(require, torch):
    theirs = require("captum.metrics").infidelity
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 7), torch.nn.Tanh())
    model, rng = model.double(), np.random.default_rng(0)
    images, maps = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, 3, 4, 4))
    score = camcore.Explainer(model, layer="0").evidence(torch.from_numpy(images), 5).score_images
    drawn = np.random.default_rng(3)
    noise = torch.from_numpy(np.stack([0.2 * drawn.standard_normal((3, 4, 4)) for _ in range(12)]))

    def perturb(x):
        # One after the other for each sample, as captum repeats them.
        same = noise.repeat(len(x) // len(noise), 1, 1, 1)
        return same, x - same

    expected = theirs(
        model, perturb, torch.from_numpy(images), torch.from_numpy(maps), target=5,
        n_perturb_samples=12,
    )  # fmt: skip
    found = infidelity(images, maps, score, draws=12, sigma=0.2, scaled=False, seed=3)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_max_sensitivity_is_captums(require, torch):
    sensitivity_max = require("captum.metrics").sensitivity_max
    arrays = np.random.default_rng(0).normal(size=(3, 2, 2, 2))
    images = torch.from_numpy(arrays)
    noise = [np.random.default_rng([0, d]).uniform(-0.02, 0.02, (2, 2, 2)) for d in range(6)]
    repeated = torch.from_numpy(np.stack(noise * 3))  # each sample's draws in a row

    def explain(given):
        return tuple(torch.tanh(one) ** 2 for one in given)

    def perturb(given, radius=0.02):
        return (given + repeated,)

    theirs = sensitivity_max(explain, (images,), perturb_func=perturb, n_perturb_samples=6)
    maps = np.tanh(arrays) ** 2
    ours = max_sensitivity(
        arrays,
        maps.reshape(3, -1),
        lambda _, given: (np.tanh(given) ** 2).reshape(len(given), -1),
        draws=6,
    )
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)


def test_black_is_not_the_mean_colour(subject):
    """Two baselines of one name: the model's zero, and each image's darkest value."""
    _, images, _, heat, score = subject
    zero, dark = (
        deletion(images, heat, score, baseline=baseline, steps=STEPS).auc
        for baseline in (0.0, "min")
    )
    np.testing.assert_array_equal(baseline_of(images, "min").max((1, 2, 3)), images.min((1, 2, 3)))
    assert np.abs(zero - dark).max() > 0.02


def softmaxes(torch, model, images, classes):
    """Probabilities of each image's class."""
    with torch.no_grad():
        likely = model(torch.from_numpy(images)).softmax(1)
    return likely[range(len(images)), classes.tolist()].numpy()


def test_recipe_xplique_is_xpliques_as_documented(torch, subject):
    """Its `CausalFidelity` and its drops and gains, from their documentation.

    Ten steps whose ends are truncated, from zeros; masks by the magnitude from its smallest to its
    largest value; an epsilon of 1e-8. The library needs an older TensorFlow.
    """
    model, images, classes, heat, _ = subject
    counts = np.linspace(0, SIDE * SIDE, 11).astype(int)
    expected = {"deletion": [], "insertion": []}
    for sample, one in enumerate(heat):
        order, flat = np.argsort(one.reshape(-1))[::-1], images[sample].reshape(3, -1)
        for name, start, end in (("deletion", flat, 0 * flat), ("insertion", 0 * flat, flat)):
            altered = np.stack([start] * len(counts))
            for each, count in zip(altered, counts, strict=True):
                each[:, order[:count]] = end[:, order[:count]]
            altered = altered.reshape(-1, 3, SIDE, SIDE)
            curve = softmaxes(torch, model, altered, np.full(len(counts), classes[sample]))
            expected[name].append(((curve[1:] + curve[:-1]) / 2).mean())
    size = np.abs(heat)
    low, high = (end(size, axis=(1, 2), keepdims=True) for end in (np.min, np.max))
    stretched = (size - low) / (high - low)
    before, after = (
        softmaxes(torch, model, some, classes) for some in (images, images * stretched[:, None])
    )
    expected["average_drop"] = np.maximum(before - after, 0) / (before + 1e-8)
    expected["average_gain"] = np.maximum(after - before, 0) / (1 - before + 1e-8)
    expected["increase"] = after > before
    found = recipe_values("xplique", subject, list(expected))
    for name, values in zip(expected, found, strict=True):
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-6, err_msg=name)


def filled_in(image, removed):
    """Solve the authors' equations one by one: 1/6 for the nearer, 1/12 for the diagonal ones."""
    rows, columns = removed.shape
    at = {place: i for i, place in enumerate(zip(*np.nonzero(removed), strict=True))}
    left, right = np.zeros((len(at), len(at))), np.zeros((len(at), len(image)))
    for (row, column), i in at.items():
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                there = row + down, column + across
                inside = 0 <= there[0] < rows and 0 <= there[1] < columns
                if not inside or (down == across == 0):
                    continue
                weight = 1 / 12 if down and across else 1 / 6
                left[i, i] += weight
                if there in at:
                    left[i, at[there]] -= weight
                else:
                    right[i] += weight * image[:, there[0], there[1]]
    made = image.copy()
    made[:, removed] = np.linalg.solve(left, right).T
    return made


def test_recipe_road_authors_is_as_they_describe_it():
    """Removed by rank with a little jitter, filled in from neighbours, with hardly any noise.

    A small image and a smooth score, since each share is a dense system of equations here.
    """
    rng = np.random.default_rng(0)
    images, weights = rng.random((2, 3, 9, 11)), rng.normal(size=(3, 9, 11)) / 5
    maps = np.stack([rng.permutation(99).reshape(9, 11) / 98 for _ in range(2)])
    shares = [round(0.1 * tenth, 1) for tenth in range(1, 10)]

    def score(_, altered):
        return 1 / (1 + np.exp(-(altered * weights).sum(axis=(1, 2, 3))))

    most, least = np.empty((2, 2, 9))
    for sample, one in enumerate(maps):
        # No two positions are as near as the jitter, of 1e-4.
        order = np.argsort(-(one + 1e-4 * rng.normal(size=one.shape)).reshape(-1))
        for k, share in enumerate(shares):
            # Theirs removes 1 - p of the least relevant at p.
            for found, gone in (
                (most, order[: round(99 * share)]),
                (least, order[99 - round(99 * share) :]),
            ):
                removed = np.zeros(99, bool)
                removed[gone] = True
                made = filled_in(images[sample], removed.reshape(9, 11))
                found[sample, k] = score(0, made[None])[0]
    ours = road(images, maps, score, ties="random", noise=0.0)
    np.testing.assert_allclose(ours.most, most, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.least, least, rtol=0, atol=1e-12)
    case = Case(images, maps, Counted(score), lambda *_: maps, np.ones(2))
    found = METRIC_RECIPES["road-authors"](TABLE["road"], case)
    # The recipe adds the noise of 0.01 of theirs, which moves the score by this at most.
    reach = 4 * 0.01 * np.linalg.norm(weights) / 4
    np.testing.assert_allclose(found, ((least - most) / 2).mean(axis=1), rtol=0, atol=reach / 3)


def test_recipe_adcc_authors_is_as_their_code_has_it(torch, subject):
    """3 / (1/coherency + 1/(1 - complexity) + 1/(1 - drop)) of an image at a time, in shares."""
    model, images, classes, heat, _ = subject
    masked = images * heat[:, None].astype(images.dtype)
    again = camcore.explain(model, masked, classes.tolist(), layer="bn2").maps
    with torch.no_grad():
        before, after = (
            model(torch.from_numpy(some)).softmax(1).numpy() for some in (images, masked)
        )
    names = ["average_drop", "coherency", "complexity", "adcc"]
    found = np.array(recipe_values("adcc-authors", subject, names))
    for sample, chosen in enumerate(classes):
        whole, kept = before[sample].max(), after[sample, chosen]
        lost = max(0.0, whole - kept) / whole
        alike = (np.corrcoef(heat[sample].ravel(), again[sample].ravel())[0, 1] + 1) / 2
        share = np.abs(heat[sample]).sum() / SIDE**2
        joined = 3 / (1 / alike + 1 / (1 - share) + 1 / (1 - lost))
        np.testing.assert_allclose(found[:, sample], [lost, alike, share, joined], atol=1e-6)


def test_recipe_adcc_authors_refuses_other_classes(subject):
    model, images, classes, *_ = subject
    other = [int(one) + 1 for one in classes]
    about = {"methods": "gradcam", "layer": "bn2", "controls": False}
    with pytest.raises(InputError, match="3 of 3 samples are explained for another"):
        camcore.evaluate(
            model, images, other, metrics="adcc", metric_recipe="adcc-authors", **about
        )


def test_recipe_wsolevaluation_is_as_its_code_has_it(require, subject):
    """Its boxes at a thousand thresholds, an image at a time, and the best of them for all."""
    cv2 = require("cv2")
    model, images, classes, heat, _ = subject
    boxes = [[20, 10, 100, 90], [0, 0, 60, 112], [30, 40, 80, 100]]
    thresholds = np.arange(0, 1, 0.001)
    overlaps = np.empty((len(images), len(thresholds)))
    for sample, (left, top, right, bottom) in enumerate(boxes):
        eight = (heat[sample] * 255).astype(np.uint8)
        for i, threshold in enumerate(thresholds):
            _, above = cv2.threshold(eight, int(threshold * eight.max()), 255, cv2.THRESH_BINARY)
            found, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
            x0, y0, w, h = cv2.boundingRect(max(found, key=cv2.contourArea))
            x1, y1 = min(x0 + w, SIDE - 1), min(y0 + h, SIDE - 1)
            across = min(x1, right - 1) - max(x0, left) + 1
            down = min(y1, bottom - 1) - max(y0, top) + 1
            common = max(across, 0) * max(down, 0)
            areas = (x1 - x0 + 1) * (y1 - y0 + 1) + (right - left) * (bottom - top)
            overlaps[sample, i] = common / (areas - common)
    evaluation = camcore.evaluate(
        *(model, images, classes.tolist()),
        methods="gradcam",
        metrics="box_iou",
        layer="bn2",
        metric_recipe="wsolevaluation",
        boxes=boxes,
        controls=False,
    )
    box = evaluation.box_accuracy["gradcam"]
    np.testing.assert_array_equal(box.thresholds, thresholds)
    np.testing.assert_array_equal(box.values, overlaps)
    assert box.score == (overlaps >= 0.5).mean(axis=0).max()
    assert box.best_thresholds[0] == thresholds[(overlaps >= 0.5).mean(axis=0).argmax()]
    np.testing.assert_array_equal(evaluation.values["gradcam"]["box_iou"], overlaps.max(axis=1))


def test_deletion_is_quantus_pixel_flipping_of_whole_pixels(require, torch, subject):
    """It takes the three channels of a pixel one after the other: every third of its points."""
    quantus = require("quantus")
    model, images, classes, heat, score = subject
    ranks = np.argsort(order_of(heat, "random"), axis=1)
    apart = (1 - ranks / heat[0].size).reshape(heat.shape)
    step = SIDE * SIDE // 7

    class Single(torch.nn.Module):
        """Takes single precision, as the library gives it."""

        def forward(self, given):
            return model(given.double())

    metric = quantus.PixelFlipping(
        features_in_step=step, perturb_baseline=0.0, disable_warnings=True
    )
    theirs = metric(
        model=Single().eval(), x_batch=images, y_batch=classes, a_batch=apart[:, None], softmax=True
    )
    found = deletion(images, apart, score, steps=[*range(0, SIDE * SIDE, step), SIDE * SIDE])
    np.testing.assert_allclose(np.array(theirs)[:, 2::3], found.scores[:, 1:], rtol=0, atol=1e-6)


def test_average_drop_is_xpliques_of_maps_that_fill_their_range(subject):
    _, images, _, heat, score = subject
    low, high = (end(heat, axis=(1, 2), keepdims=True) for end in (np.min, np.max))
    filled = (heat - low) / (high - low)
    before, after = (masked_scores(images, some, score) for some in (np.ones_like(heat), filled))
    case = Case(images, filled, Counted(score), lambda *_: filled, before)
    found = METRIC_RECIPES["xplique"](TABLE["average_drop"], case)
    np.testing.assert_allclose(found, drop(before, after), rtol=0, atol=1e-6)
    # Of maps that do not, it masks by another map.
    case = Case(images, heat, Counted(score), lambda *_: heat, before)
    own = drop(before, masked_scores(images, heat, score))
    other = METRIC_RECIPES["xplique"](TABLE["average_drop"], case)
    assert np.abs(other - own).max() > 1e-3
