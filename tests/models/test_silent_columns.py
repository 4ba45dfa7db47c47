"""Detections with further columns: masks, keypoints and angles are no classes."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.errors import TargetError
from camcore.targets import Box, Detections, Part

RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 3, 8, 8)).astype(np.float32)
PLACES = 16
"""Detections of an image: one for each place of a 4 × 4 grid."""
CLASSES = 3


def columns(end):
    """Name what the columns of a detection hold, in order, and bounds of what they are scaled to.

    A column c of place n is ``low + (high - low) · σ(k_c · A_n)`` of the layer's activations A.
    """
    box, score = [(0, 8)] * 4, [(0, 1)] * CLASSES
    return {
        "masks": [*box, *score, *[(-3, 3)] * 8],
        "keypoints": [*box, *score, *[(0, 8), (0, 8), (0, 1)] * 5],
        "angle": [*box, *score, (0.4, 0.9)],
        "objectness": [*box, (0, 1), *score],
        "objectness and masks": [*box, (0, 1), *score, *[(-3, 3)] * 8],
    }[end]


KERNELS = RNG.normal(size=(24, 6)).astype(np.float32)
PATCHES = RNG.normal(size=(6, 3, 2, 2)).astype(np.float32)


def torch_detector(torch, end, *, head=True):
    """A detector as YOLO's are: its head says how many classes there are, or not."""
    nn = torch.nn
    low, high = (torch.tensor(b, dtype=torch.float32) for b in zip(*columns(end), strict=True))

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            if head:
                self.nc, self.no = CLASSES, len(low)

        def forward(self, x):
            kernels = torch.from_numpy(KERNELS[: len(low)])
            shares = torch.einsum("bchw,kc->bkhw", x, kernels).flatten(2).sigmoid()
            found = low[:, None] + (high - low)[:, None] * shares
            return found.mT if end.startswith("objectness") else found

    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.see = nn.Sequential(nn.Conv2d(3, 6, 2, 2, bias=False), nn.ReLU())
            self.model = nn.ModuleList([Head()])

        def forward(self, x):
            return self.model[0](self.see(x))

    model = Detector().eval()
    with torch.no_grad():
        model.see[0].weight.copy_(torch.from_numpy(PATCHES))
    return model, IMAGES


def keras_detector(keras, end):
    layers, ops = keras.layers, keras.ops
    low, high = np.array(columns(end), np.float32).T
    x = keras.Input((8, 8, 3))
    see = layers.Conv2D(6, 2, 2, use_bias=False, activation="relu", name="see")
    flat = layers.Reshape((PLACES, 6))(see(x))
    shares = ops.sigmoid(ops.matmul(flat, KERNELS[: len(low)].T))
    found = ops.add(ops.multiply(shares, high - low), low)
    if not end.startswith("objectness"):
        found = ops.transpose(found, (0, 2, 1))
    model = keras.Model(x, found)
    see.set_weights([PATCHES.transpose(2, 3, 1, 0)])
    return model, IMAGES.transpose(0, 2, 3, 1)


def seen():
    patches = IMAGES.astype(float).reshape(2, 3, 4, 2, 4, 2)
    return np.maximum(np.einsum("bchiwj,ocij->bohw", patches, PATCHES), 0)


A = seen()


def expected(end):
    """The highest score of each image, where it is and of what, and HiResCAM's map, by hand."""
    flat = A.reshape(2, 6, PLACES)
    shares = 1 / (1 + np.exp(-np.einsum("bcn,kc->bkn", flat, KERNELS[: len(columns(end))])))
    first = 5 if end.startswith("objectness") else 4
    scores, weight = shares[:, first : first + CLASSES], np.ones((2, PLACES))
    if first == 5:
        weight = shares[:, 4]
    total = scores * weight[:, None]
    best = [np.unravel_index(one.argmax(), one.shape) for one in total]
    maps = np.zeros((2, PLACES))
    for i, (c, n) in enumerate(best):
        s, w = scores[i, c, n], weight[i, n]
        slope = s * (1 - s) * w * KERNELS[first + c]
        if first == 5:
            slope = slope + s * w * (1 - w) * KERNELS[4]
        maps[i, n] = slope @ flat[i, :, n]
    values = [total[i][at] for i, at in enumerate(best)]
    return values, [c for c, _ in best], maps.reshape(2, 4, 4)


@pytest.mark.parametrize(
    ("framework", "said"),
    [("torch", "by the head"), ("torch", "by the user"), ("keras", "by the user")],
)
@pytest.mark.parametrize(
    "end", ["masks", "keypoints", "angle", "objectness", "objectness and masks"]
)
def test_classes_are_as_many_as_the_head_or_the_user_says(framework, end, said, request):
    arranged = "yolov5" if end.startswith("objectness") else "yolo"
    if framework == "torch":
        made = torch_detector(request.getfixturevalue("torch"), end, head=said == "by the head")
    else:
        made = keras_detector(request.getfixturevalue("keras"), end)
    count = None if said == "by the head" else CLASSES
    box = Box(arranged=arranged, classes=count)
    result = camcore.explain(*made, box, "see", method="hirescam")
    scores, classes, maps = expected(end)
    np.testing.assert_allclose(result.scores, scores, rtol=1e-5)
    np.testing.assert_array_equal(result.classes, classes)
    np.testing.assert_allclose(result.raw["see"], maps, rtol=0, atol=1e-5 * np.abs(maps).max())
    np.testing.assert_array_equal(result.empty, maps.max(axis=(1, 2)) <= 0)
    with pytest.raises(TargetError, match="Class 3 is out of range: the model scores 3 classes"):
        camcore.explain(*made, Box(of_class=3, arranged=arranged, classes=count), "see")
    further = camcore.explain(*made, box, "see", method="ablationcam")
    np.testing.assert_allclose(further.scores, scores, rtol=1e-5)
    np.testing.assert_array_equal(further.classes, classes)


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize("end", ["masks", "keypoints", "objectness and masks"])
def test_columns_that_are_no_scores_are_an_error_where_nobody_says(framework, end, request):
    arranged = "yolov5" if end.startswith("objectness") else "yolo"
    if framework == "torch":
        made = torch_detector(request.getfixturevalue("torch"), end, head=False)
    else:
        made = keras_detector(request.getfixturevalue("keras"), end)
    with pytest.raises(TargetError, match=r"scores of classes are in \[0, 1\], .* classes=\.\.\."):
        camcore.explain(*made, Box(arranged=arranged), "see")
    with pytest.raises(TargetError, match=r"scores of classes are in \[0, 1\], but 5 columns"):
        camcore.explain(*made, Box(arranged=arranged, classes=5), "see")
    with pytest.raises(TargetError, match=r"columns for 99 classes"):
        camcore.explain(*made, Box(arranged=arranged, classes=99), "see")


@pytest.mark.parametrize(
    ("name", "extra"),
    [("yolov8n-seg", 32), ("yolov8n-pose", 51), ("yolov8n-obb", 1), ("yolov8n", 0)],
)
def test_heads_of_ultralytics(torch, require, monkeypatch, name, extra):
    """The score of the best class of a place, and its gradient, in plain PyTorch."""
    # It puts functions of its own in place of others' when it is imported.
    places = [
        (require("PIL.Image"), "open"),
        *((torch, function) for function in ("load", "save")),
        *((require("cv2"), function) for function in ("imread", "imwrite", "imshow")),
    ]
    for module, function in places:
        monkeypatch.setattr(module, function, getattr(module, function))
    tasks = require("ultralytics.nn.tasks")
    kinds = {"seg": "SegmentationModel", "pose": "PoseModel", "obb": "OBBModel"}
    kind = kinds.get(name.partition("-")[2], "DetectionModel")
    torch.manual_seed(0)
    model = getattr(tasks, kind)(f"{name}.yaml", nc=5, verbose=False).eval()
    images = torch.rand(2, 3, 64, 64)
    for weights in model.parameters():
        if weights.ndim == 4:  # as they are made, next to nothing comes through thirty layers
            torch.nn.init.kaiming_normal_(weights)
    with torch.no_grad():
        outputs = model(images)
    found = next(leaf for leaf in leaves(outputs) if leaf.ndim == 3 and leaf.shape[1] == 9 + extra)
    path = "0.0" if isinstance(outputs[0], tuple) else "0"
    result = camcore.explain(model, images, Box(arranged="yolo"), "model.15", output=path)
    scores = found[:, 4:9].amax((1, 2))
    np.testing.assert_allclose(result.scores, scores, rtol=1e-4)
    best = [int(one.argmax()) // one.shape[1] for one in found[:, 4:9]]
    np.testing.assert_array_equal(result.classes, best)
    kept = []
    hook = model.model[15].register_forward_hook(lambda m, a, out: kept.append(out))
    with hook:
        again = next(leaf for leaf in leaves(model(images)) if leaf.shape == found.shape)
        (gradients,) = torch.autograd.grad(again[:, 4:9].amax((1, 2)).sum(), kept[0])
    expected = (gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1).detach().numpy()
    np.testing.assert_allclose(
        result.raw["model.15"], expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )


def leaves(nest):
    if isinstance(nest, dict):
        nest = list(nest.values())
    if isinstance(nest, (list, tuple)):
        return [leaf for one in nest for leaf in leaves(one)]
    return [nest]


def detections(count=5, further=0):
    """Rows of an end-to-end head: corners in pixels, score, class, and more."""
    corners = RNG.uniform(0, 300, (2, count, 4))
    corners[..., 2:] += corners[..., :2]
    scores, labels = RNG.random((2, count, 1)), RNG.integers(0, 80, (2, count, 1))
    return np.concatenate([corners, scores, labels, RNG.normal(size=(2, count, further))], axis=2)


@pytest.mark.parametrize("further", [0, 32])
def test_an_end_to_end_head_lists_score_and_class(further):
    found = detections(300, further)
    box = Box(arranged="yolo-end2end")
    scored = box({"": found})
    best = found[..., 4].argmax(axis=1)
    np.testing.assert_array_equal(scored.scores, found[range(2), best, 4])
    np.testing.assert_array_equal(scored.classes, found[range(2), best, 5])
    marked = np.zeros_like(found)
    marked[range(2), best, 4] = 1
    np.testing.assert_array_equal(scored.cotangent[""], marked)
    for wrong in ("yolo", "yolov5"):
        with pytest.raises(TargetError, match=r"arranged='yolo-end2end'"):
            Box(arranged=wrong, classes=None if further else 1)({"": found})


@pytest.mark.parametrize(("classes", "best"), [(None, 2), (4, 3), (3, 2)])
def test_the_last_class_of_detr_is_none_unless_there_are_as_many(classes, best):
    """Sigmoid heads, as of RT-DETR or Deformable DETR, have no column for no object."""
    logits = np.array([[[0.1, 0.2, 0.9, 3.0], [0.3, 0.1, 0.0, 5.0]]])
    boxes = RNG.random((1, 2, 4))
    scored = Box(arranged="detr", classes=classes)({"logits": logits, "pred_boxes": boxes})
    np.testing.assert_array_equal(scored.classes, [best])
    np.testing.assert_array_equal(scored.scores, [5.0 if best == 3 else 0.9])
    with pytest.raises(TargetError, match="score 4 columns for 7 classes"):
        Box(arranged="detr", classes=7)({"logits": logits, "pred_boxes": boxes})


def test_the_first_class_of_ssd_is_the_background():
    scores = np.array([[[0.9, 0.05, 0.05], [0.5, 0.1, 0.4], [0.6, 0.3, 0.1]]])
    outputs = {"boxes": RNG.random((1, 3, 4)), "scores": scores}
    parts = Part("boxes"), Part("scores")
    whole = Box(arranged=Detections(*parts))(outputs)
    np.testing.assert_array_equal(whole.classes, [0])
    for classes in (None, 2):
        scored = Box(arranged=Detections(*parts, no_object=0), classes=classes)(outputs)
        np.testing.assert_array_equal((scored.classes, scored.scores), [[2], [0.4]])
    with pytest.raises(TargetError, match=r"3 columns for 2 classes.* no_object=0 or -1"):
        Box(arranged=Detections(*parts), classes=2)(outputs)
    with pytest.raises(TargetError, match=r"no_object=3; expected 0, .* or -1"):
        Detections(*parts, no_object=3)


def test_a_hugging_face_detector_says_how_many_classes(torch):
    """As many logits as labels: none stands for no object."""

    class Detector(torch.nn.Module):
        def __init__(self, labels):
            super().__init__()
            self.see = torch.nn.Conv2d(3, 8, 4, 4)
            self.config = type("Config", (), {"num_labels": labels, "problem_type": None})()

        def forward(self, x):
            cells = self.see(x).flatten(2).mT
            return {"logits": cells[..., :4], "pred_boxes": cells[..., 4:].sigmoid()}

    torch.manual_seed(0)
    images = torch.from_numpy(IMAGES)
    for labels in (3, 4):
        model = Detector(labels).eval()
        torch.nn.init.constant_(model.see.bias[3:4], 5)
        result = camcore.explain(model, images, Box(arranged="detr"), "see")
        with torch.no_grad():
            logits = model(images)["logits"][..., :labels]
        np.testing.assert_allclose(result.scores, logits.amax((1, 2)), rtol=1e-5)
        np.testing.assert_array_equal(result.classes, logits.amax(1).argmax(1))


@pytest.mark.parametrize("given", [0, -1, 2.5, True, "80"])
def test_classes_are_counted(given):
    with pytest.raises(TargetError, match="expected how many there are, at least 1"):
        Box(arranged="yolo", classes=given)
