"""Detectors: images in a list, boxes followed through further passes, what is refused."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from architectures import detection

import camcore
from camcore.errors import InputError, TargetError
from camcore.layers.candidates import candidates
from camcore.targets import Box


@pytest.fixture(scope="module")
def faster_rcnn(torch, require):
    require("torchvision")
    return detection.FASTER_RCNN()


@pytest.fixture
def images():
    return detection.listed(2)[0]


def raw(result):
    (maps,) = result.raw.values()
    return maps


def test_a_list_of_images_is_taken_as_the_model_takes_it(torch, faster_rcnn, images):
    bare = camcore.explain(faster_rcnn, images, Box(2))
    argument = camcore.explain(faster_rcnn, (images,), Box(2))
    arrays = camcore.explain(faster_rcnn, [np.asarray(image) for image in images], Box(2))
    for other in (argument, arrays):
        np.testing.assert_array_equal(raw(bare), raw(other))
    assert bare.maps.shape == (2, 64, 64)
    with torch.no_grad():
        with_boxes = faster_rcnn(images)
    np.testing.assert_array_equal(bare.classes, [one["labels"][2] for one in with_boxes])
    np.testing.assert_allclose(bare.scores, [float(one["scores"][2]) for one in with_boxes])


def test_images_of_several_sizes_are_explained_one_by_one(torch, faster_rcnn, images):
    mixed = [images[0], torch.nn.functional.interpolate(images[1][None], (48, 80))[0]]
    with pytest.raises(InputError, match=r"\(3, 64, 64\), \(3, 48, 80\).*explain them one by one"):
        camcore.explain(faster_rcnn, mixed, Box(2))
    alone = camcore.explain(faster_rcnn, mixed[1:], Box(2))
    assert alone.maps.shape == (1, 48, 80)


def test_the_nearest_box_by_its_score_and_place(torch, faster_rcnn, images):
    """Score times overlap, against torchvision's own overlap and autograd."""
    from torchvision.ops import box_iou

    aim = (10.0, 10.0, 50.0, 54.0)
    target = Box(overlapping=aim, least_overlap=0.05, with_overlap=True)
    result = camcore.explain(faster_rcnn, images, target, "backbone.body.16")
    kept = []
    layer = faster_rcnn.get_submodule("backbone.body.16")
    hook = layer.register_forward_hook(lambda module, args, output: kept.append(output))
    with hook, torch.enable_grad():
        scores = []
        for one in faster_rcnn(images):
            overlaps = box_iou(one["boxes"], torch.tensor([aim]))[:, 0]
            scores.append((overlaps * one["scores"])[overlaps.argmax()])
        (gradients,) = torch.autograd.grad(sum(scores), kept[0])
    expected = camcore.methods.gradcam(kept[0].detach().numpy(), gradients.numpy())
    np.testing.assert_allclose(
        result.scores, [float(score.detach()) for score in scores], rtol=1e-5
    )
    np.testing.assert_allclose(raw(result), expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_all_boxes_of_a_class_are_the_sum_of_each(faster_rcnn, images):
    """Boxes of one image and class, one by one and together."""
    (found,) = faster_rcnn(images[:1])
    label = int(found["labels"][0])
    numbers = [i for i, other in enumerate(found["labels"]) if other == label]
    together = camcore.explain(faster_rcnn, images[:1], Box(of_class=label))
    one_by_one = camcore.explain(
        faster_rcnn, images[:1], camcore.targets.Each(*(Box(i) for i in numbers))
    )
    total = sum(raw(one) for one in one_by_one)
    np.testing.assert_allclose(raw(together), total, rtol=0, atol=1e-5 * np.abs(total).max())


def plain_scores(model, batch, box, label):
    """Of the box of a class that overlaps most with one, by half at least, else 0."""
    from torchvision.ops import box_iou

    scores = []
    for one in model(batch):
        overlaps = box_iou(one["boxes"], box[None])[:, 0] * (one["labels"] == label)
        found = len(overlaps) and overlaps.max() >= 0.5
        scores.append(float(one["scores"][overlaps.argmax()]) if found else 0.0)
    return np.array(scores)


def test_box_is_followed_under_masks(torch, faster_rcnn, images):
    """Occlusion: each window's drop, with the detector called by hand."""
    window, image = 32, images[0]
    with torch.no_grad():
        (found,) = faster_rcnn([image])
        box, label = found["boxes"][1], found["labels"][1]
        hidden = []
        for row, column in np.ndindex(2, 2):
            part = image.clone()
            part[:, row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = 0
            hidden.append(part)
        own = plain_scores(faster_rcnn, [image], box, label)
        drops = own - plain_scores(faster_rcnn, hidden, box, label)
    result = camcore.explain(
        faster_rcnn, [image], Box(1), method="occlusion", window=window, stride=window
    )
    np.testing.assert_allclose(raw(result)[0, ::32, ::32].ravel(), drops, rtol=0, atol=1e-6)
    assert np.ptp(drops) > 0


def given(replacement, module, args, output):
    return replacement


def test_ablated_channels_are_scored_for_the_same_box(torch, faster_rcnn, images):
    """Ablation of a few channels, with the detector run whole by hand."""
    name = "backbone.body.13.block.3.0"
    (found,) = faster_rcnn(images[:1])
    box, label = found["boxes"][0].detach(), found["labels"][0]
    evidence = camcore.Explainer(faster_rcnn, layer=name, method="ablationcam").evidence(
        images[:1], Box(0)
    )
    altered = np.repeat(evidence.activations, 3, axis=0)
    for i in range(3):
        altered[i, 40 * i : 40 * i + 40] = 0
    with evidence.resume(0) as score:
        scores = score(altered)
    expected = []
    for i in range(3):
        replace = torch.from_numpy(altered[i : i + 1])
        hook = faster_rcnn.get_submodule(name).register_forward_hook(partial(given, replace))
        with hook, torch.no_grad():
            expected += list(plain_scores(faster_rcnn, images[:1], box, label))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["scorecam", "saliency", "fullgrad"])
def test_other_methods_give_a_map_of_the_image(faster_rcnn, images, method):
    layer = "backbone.body.2.block.0.0" if method == "scorecam" else None
    options = {"channels": 4} if method == "scorecam" else {}
    result = camcore.explain(faster_rcnn, images, Box(1), layer, method, **options)
    assert result.maps.shape == (2, 64, 64)
    assert np.isfinite(result.maps).all()
    assert not result.empty.any()


def test_the_gradient_at_the_images_is_autograds(torch, faster_rcnn, images):
    own = [image.clone().requires_grad_() for image in images]
    score = sum(one["scores"][1] for one in faster_rcnn(own))
    expected = torch.stack(torch.autograd.grad(score, own)).abs().amax(1).numpy()
    result = camcore.explain(faster_rcnn, images, Box(1), method="saliency")
    np.testing.assert_allclose(raw(result), expected, rtol=0, atol=2e-5 * expected.max())


def test_methods_that_look_at_activations_need_no_target(faster_rcnn, images):
    results = camcore.explain(faster_rcnn, images, method=["eigencam", "fem", "activations"])
    for result in results.values():
        assert result.maps.shape == (2, 64, 64)
        assert result.classes is None
        assert not result.scores.any()
    with pytest.raises(TargetError, match=r"The model returns 6 outputs: '0.boxes'"):
        camcore.explain(faster_rcnn, images)


def test_box_refuses_what_is_not_detected(faster_rcnn, images):
    with pytest.raises(TargetError, match="Detection 40 of image 0 is out of range: there are 10"):
        camcore.explain(faster_rcnn, images, Box(40))
    faster_rcnn.roi_heads.score_thresh = 2.0
    try:
        with pytest.raises(TargetError, match="Nothing is detected in image 0, which has 0"):
            camcore.explain(faster_rcnn, images, Box())
    finally:
        faster_rcnn.roi_heads.score_thresh = 0.0


@pytest.fixture(scope="module")
def keras_detector(keras):
    return detection.keras_detector()


def test_keras_model_explains_each_of_two_outputs(tf, keras_detector):
    """Score times overlap, against TensorFlow's own tape."""
    images = detection.images(2, channels="last")
    aim = np.array([0.0, 0.0, 1.2, 1.3])
    target = Box(
        overlapping=aim, least_overlap=0, with_overlap=True, of_class=2, arranged=detection.KERAS
    )
    result = camcore.explain(keras_detector, images, target, "scale_3")
    layer, seen = keras_detector.get_layer("scale_3"), []
    call = layer.call

    def keep(x):
        seen.append(call(x))
        tape.watch(seen[-1])
        return seen[-1]

    layer.call = keep
    try:
        with tf.GradientTape() as tape:
            outputs = keras_detector(images, training=False)
            x, y, w, h = (outputs["boxes"][..., i] for i in range(4))
            width = tf.maximum(tf.minimum(x + w / 2, 1.2) - tf.maximum(x - w / 2, 0.0), 0)
            height = tf.maximum(tf.minimum(y + h / 2, 1.3) - tf.maximum(y - h / 2, 0.0), 0)
            overlaps = width * height / (w * h + 1.2 * 1.3 - width * height)
            best = tf.argmax(overlaps, axis=1)
            product = overlaps * outputs["classes"][..., 2]
            scores = tf.gather(product, best, axis=1, batch_dims=1)
    finally:
        del layer.call
    gradients = tape.gradient(scores, seen[0])
    first = [np.moveaxis(np.asarray(a), -1, 1) for a in (seen[0], gradients)]
    expected = camcore.methods.gradcam(*first)
    np.testing.assert_allclose(result.scores, scores, rtol=1e-5)
    np.testing.assert_allclose(raw(result), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "eigencam"])
def test_methods_with_further_passes_on_a_keras_detector(keras_detector, method):
    images = detection.images(2, channels="last")
    target = None if method == "eigencam" else Box(7, arranged=detection.KERAS)
    result = camcore.explain(keras_detector, images, target, "scale_3", method)
    assert result.maps.shape == (2, 64, 64)
    assert np.isfinite(result.maps).all()


def test_candidates_of_a_detector_are_of_its_first_image(torch, faster_rcnn, images):
    found = {one.layer.name: one for one in candidates(faster_rcnn, images)}
    with torch.no_grad():
        batch = faster_rcnn.transform(images[:1])[0].tensors
        last = faster_rcnn.backbone.body(batch)["1"]
    (chosen,) = [one for one in found.values() if one.chosen]
    assert chosen.layer.name == "backbone.body.16"
    assert chosen.shape == tuple(last.shape)
    assert chosen.size == tuple(last.shape[2:])
    assert {one.shape[0] for name, one in found.items() if name.startswith("backbone.body.")} == {1}
