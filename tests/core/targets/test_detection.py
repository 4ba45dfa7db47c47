"""Boxes: which are meant, their score, its derivative, and the same object in another pass."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import TargetError
from camcore.outputs import OutputSelector
from camcore.targets import Box, Class, Detections, Part
from camcore.targets.detection import overlap, overlap_and_slope

LISTED = {
    "0.boxes": np.array([[0, 0, 10, 10], [20, 20, 40, 30], [1, 1, 11, 11]], float),
    "0.scores": np.array([0.9, 0.8, 0.3]),
    "0.labels": np.array([1, 2, 2]),
    "1.boxes": np.array([[5, 5, 9, 9]], float),
    "1.scores": np.array([0.6]),
    "1.labels": np.array([2]),
}


"""Two images as torchvision's detectors have them: three detections, and one."""


RNG = np.random.default_rng(0)


BOXES = np.array(
    [[[4, 4, 4, 4], [8, 8, 4, 6], [20, 20, 8, 8]], [[9, 9, 4, 4], [4, 4, 2, 2], [30, 30, 6, 6]]],
    float,
)


"""Centres and sizes, ``(2, 3, 4)``."""


SCORES = RNG.random((2, 3, 5))


YOLO = {"": np.concatenate([BOXES, SCORES], axis=2).swapaxes(1, 2)}


YOLOV5 = {"": np.concatenate([BOXES, RNG.random((2, 3, 1)), SCORES], axis=2)}


NAMED = {"boxes": BOXES, "classes": SCORES}


AS_NAMED = Detections(Part("boxes"), Part("classes"), corners="cxcywh")


def test_a_box_is_picked_by_number():
    scored = Box([1, 0])(LISTED)
    np.testing.assert_array_equal(scored.scores, [0.8, 0.6])
    np.testing.assert_array_equal(scored.classes, [2, 2])
    assert set(scored.cotangent) == {"0.scores", "1.scores"}
    np.testing.assert_array_equal(scored.cotangent["0.scores"], [0, 1, 0])
    np.testing.assert_array_equal(scored.cotangent["1.scores"], [1])
    np.testing.assert_array_equal(Box(0)(LISTED).scores, [0.9, 0.6])


def test_a_box_is_picked_by_overlap():
    near = [[0, 0, 10, 10], [5, 5, 9, 9]]
    np.testing.assert_array_equal(Box(overlapping=near)(LISTED).scores, [0.9, 0.6])
    one = Box(overlapping=near, of_class=2)(LISTED)  # the best one is of class 1
    np.testing.assert_array_equal(one.scores, [0.3, 0.6])
    np.testing.assert_array_equal(one.cotangent["0.scores"], [0, 0, 1])


def test_all_boxes_of_a_class_are_summed():
    scored = Box(of_class=2)(LISTED)
    np.testing.assert_allclose(scored.scores, [1.1, 0.6], rtol=1e-15)
    np.testing.assert_array_equal(scored.cotangent["0.scores"], [0, 1, 1])
    np.testing.assert_array_equal(scored.classes, [2, 2])
    confident = Box(of_class=2, least_score=0.5)(LISTED)
    np.testing.assert_array_equal(confident.scores, [0.8, 0.6])
    each = Box(of_class=[1, 2])(LISTED)
    np.testing.assert_array_equal(each.scores, [0.9, 0.6])


def test_without_a_choice_the_best_is_meant():
    np.testing.assert_array_equal(Box()(LISTED).scores, [0.9, 0.6])
    best = Box(arranged="yolo")(YOLO)
    np.testing.assert_array_equal(best.scores, SCORES.max(axis=(1, 2)))
    np.testing.assert_array_equal(best.classes, SCORES.max(axis=1).argmax(axis=1))


def test_a_dense_head_scores_every_class():
    scored = Box(1, of_class=3, arranged="yolo")(YOLO)
    np.testing.assert_array_equal(scored.scores, SCORES[:, 1, 3])
    expected = np.zeros((2, 9, 3))
    expected[:, 4 + 3, 1] = 1
    np.testing.assert_array_equal(scored.cotangent[""], expected)
    np.testing.assert_array_equal(Box(1, arranged="yolo")(YOLO).scores, SCORES[:, 1].max(axis=1))
    summed = Box(of_class=3, arranged="yolo")(YOLO)
    np.testing.assert_allclose(summed.scores, SCORES[:, :, 3].sum(axis=1), rtol=1e-15)


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_classes_are_read_as_are_said(count):
    # What follows them is a mask's coefficients.
    best = Box(1, arranged="yolo", classes=count)(YOLO)
    np.testing.assert_array_equal(best.scores, SCORES[:, 1, :count].max(axis=1))
    foremost = Box(arranged="yolo", classes=count)
    expected = SCORES[:, :, :count].max(axis=(1, 2))
    np.testing.assert_array_equal(foremost(YOLO).scores, expected)
    np.testing.assert_array_equal(foremost.settled(YOLO)(YOLO).scores, expected)
    # The model's own number counts where none is said.
    told = Box(1, arranged="yolo").of_classes(count)
    np.testing.assert_array_equal(told(YOLO).scores, best.scores)
    said = Box(1, arranged="yolo", classes=count).of_classes(5)
    np.testing.assert_array_equal(said(YOLO).scores, best.scores)


def test_boxes_of_every_form_are_compared_by_their_corners():
    corners = np.concatenate(
        [BOXES[..., :2] - BOXES[..., 2:] / 2, BOXES[..., :2] + BOXES[..., 2:] / 2], -1
    )
    forms = {
        "cxcywh": BOXES,
        "xyxy": corners,
        "yxyx": corners[..., [1, 0, 3, 2]],
        "xywh": np.concatenate([corners[..., :2], BOXES[..., 2:]], -1),
    }
    for form, boxes in forms.items():
        arranged = Detections(Part("b"), Part("s"), corners=form)
        detected = arranged.of({"b": boxes, "s": SCORES})
        np.testing.assert_array_equal(detected[1].xyxy, corners[1])
        by_overlap = Box(overlapping=corners[:, 2], arranged=arranged)
        np.testing.assert_array_equal(
            by_overlap({"b": boxes, "s": SCORES}).scores, SCORES[:, 2].max(axis=1)
        )


@pytest.mark.parametrize(
    ("target", "outputs"),
    [
        (Box([1, 0]), LISTED),
        (Box(of_class=2), LISTED),
        (Box(overlapping=(2, 2, 12, 12), with_overlap=True, least_overlap=0.1), LISTED),
        (2 * Box(0) - Box(of_class=2), LISTED),
        (Box(2, arranged="yolo"), YOLO),
        (Box(2, of_class=1, arranged="yolov5"), YOLOV5),
        (Box(of_class=1, arranged="yolov5"), YOLOV5),
        (
            Box(
                overlapping=(2.5, 2.8, 9, 9.3),
                with_overlap=True,
                least_overlap=0,
                arranged="yolov5",
            ),
            YOLOV5,
        ),
        (
            Box(
                overlapping=(2.5, 2.8, 9, 9.3),
                with_overlap=True,
                least_overlap=0,
                arranged=AS_NAMED,
            ),
            NAMED,
        ),
    ],
    ids=range(9),
)
def test_cotangents_are_the_derivative(target, outputs):
    outputs = {path: np.array(leaf) for path, leaf in outputs.items()}
    cotangent = target(outputs).cotangent
    step = 1e-6
    for path, leaf in outputs.items():
        if leaf.dtype.kind != "f":
            assert path not in cotangent
            continue
        slopes = np.zeros_like(leaf)
        for at in np.ndindex(leaf.shape):
            ends = []
            for sign in (1, -1):
                moved = leaf.copy()
                moved[at] += sign * step
                ends.append(target({**outputs, path: moved}).scores.sum())
            slopes[at] = (ends[0] - ends[1]) / (2 * step)
        given = cotangent.get(path, np.zeros_like(leaf))
        np.testing.assert_allclose(given, slopes, rtol=0, atol=1e-7)


def test_overlap_by_hand():
    boxes = np.array([[0, 0, 4, 4], [2, 0, 6, 4], [4, 4, 8, 8], [3, 3, 3, 9]], float)
    np.testing.assert_allclose(overlap(boxes, np.array([0, 0, 4, 4])), [1, 1 / 3, 0, 0])
    _, slopes = overlap_and_slope(boxes[1:2], np.array([0.0, 0, 4, 4]))
    # 8 of 24 shared; x1: both grow by 4 as it falls; x2: only the union grows.
    np.testing.assert_allclose(slopes[0, [0, 2]], [-4 * 24 / 24**2, -8 * 4 / 24**2])


@pytest.mark.parametrize("target", [Box([1, 0]), Box(overlapping=[[20, 20, 40, 30], [5, 5, 9, 9]])])
def test_settled_box_follows_its_object_when_detections_reorder(target):
    settled = target.settled(LISTED)
    np.testing.assert_array_equal(settled(LISTED).scores, target(LISTED).scores)
    other = dict(LISTED)
    other["0.boxes"] = LISTED["0.boxes"][[2, 1, 0]] + [0, 0, 1, 1]
    other["0.scores"] = np.array([0.95, 0.7, 0.1])
    other["0.labels"] = LISTED["0.labels"][[2, 1, 0]]
    np.testing.assert_array_equal(settled(other).scores, [0.7, 0.6])
    other["0.labels"] = np.array([2, 1, 2])  # it is taken for something else
    lost = settled(other)
    np.testing.assert_array_equal(lost.scores, [0, 0.6])
    assert not lost.cotangent["0.scores"].any()
    empty = {path: leaf[:0] if path[0] == "0" else leaf for path, leaf in LISTED.items()}
    np.testing.assert_array_equal(settled(empty).scores, [0, 0.6])


def test_settled_box_follows_one_samples_object_through_alterations():
    second = {path.replace("1.", "0."): LISTED[path] for path in LISTED if path[0] == "1"}
    three = {f"{i}{path[1:]}": leaf * (1 + i) for path, leaf in second.items() for i in range(3)}
    three = {p: leaf if "scores" in p else second["0" + p[1:]] for p, leaf in three.items()}
    alone = Box([1, 0]).settled(LISTED, 1)
    np.testing.assert_allclose(alone(three).scores, [0.6, 1.2, 1.8])
    np.testing.assert_array_equal(Box(of_class=[1, 2]).settled(LISTED, 1)(second).scores, [0.6])
    followed = Box(1, arranged="yolo").settled(YOLO, 0)
    turned = {"": YOLO[""][:1, :, [1, 2, 0]]}
    np.testing.assert_array_equal(followed(turned).scores, SCORES[:1, 1].max(axis=1))


def test_settling_again_keeps_the_object():
    settled = Box([1, 0]).settled(LISTED).settled({**LISTED, "0.scores": LISTED["0.scores"][::-1]})
    np.testing.assert_array_equal(settled(LISTED).scores, [0.8, 0.6])


def test_boxes_are_looked_for_in_the_chosen_output():
    nested = {f"found.{path}": leaf for path, leaf in LISTED.items()} | {"loss": np.zeros(2)}
    scored = OutputSelector("found", "logit").apply(Box(0), nested)
    assert set(scored.cotangent) == {"found.0.scores", "found.1.scores"}
    first = OutputSelector("0", "logit").apply(
        Box(0, arranged="yolo"), {"0": YOLO[""], "1.0": BOXES}
    )
    assert set(first.cotangent) == {"0"}
    with pytest.raises(TargetError, match=r"no output 'lost'; it has 'found\.0\.boxes'"):
        OutputSelector("lost", "logit").apply(Box(0), nested)


NONE = {path: leaf[:0] if path[0] == "1" else leaf for path, leaf in LISTED.items()}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(3)(LISTED), "Detection 3 of image 0 is out of range: there are 3, 0 to 2"),
        (lambda: Box(0)(NONE), "Detection 0 of image 1 is out of range: there are 0 detections"),
        (lambda: Box()(NONE), "Nothing is detected in image 1, which has 0 detections. Lower"),
        (lambda: Box(of_class=3)(LISTED), "Nothing of class 3 is detected in image 0, which has 3"),
        (lambda: Box(least_score=0.95)(LISTED), "Nothing that scores 0.95 or more is detected"),
        (
            lambda: Box(overlapping=(0, 0, 20, 20))(LISTED),
            r"image 0 overlaps \(0.0, 0.0, 20.0, 20.0\) by 0.5; the nearest of 3 overlaps by 0.25",
        ),
        (lambda: Box(overlapping=(50, 50, 60, 60), least_overlap=0)(LISTED), "overlaps by 0"),
        (lambda: Box(0, of_class=2)(LISTED), "Detection 0 of image 0 is of class 1 and scores 0.9"),
        (lambda: Box([0, 0, 0])(LISTED), "names 3 detections for a batch of 2 samples"),
        (lambda: Box(overlapping=[[0, 0, 9, 9]] * 3)(LISTED), "names 3 boxes for a batch of 2"),
        (lambda: Box(of_class=5, arranged="yolo")(YOLO), "Class 5 is out of range: .* 5 classes"),
        (lambda: Box(0)({"": np.zeros((2, 5))}), r"'0.boxes'; the model has '' \(2, 5\). Say"),
        (lambda: Box(0, arranged="yolo")({"": np.zeros((2, 5))}), r"Boxes \(5,\) and scores"),
        (lambda: Box(0, arranged="yolo")({"": np.zeros((2, 5, 1, 1))}), r"shape \(2, 5, 1, 1\)"),
        (
            lambda: Box(0, arranged=AS_NAMED)({"boxes": BOXES, "classes": SCORES[:, :2]}),
            r"Boxes \(3, 4\) and scores \(2, 5\) of image 0 do not fit",
        ),
        (lambda: Box(0, overlapping=(0, 0, 1, 1)), "by index or by overlap, not by both"),
        (lambda: Box(0, with_overlap=True), "needs the box to overlap"),
        (lambda: Box(overlapping=(4, 0, 1, 1)), r"\(x1, y1, x2, y2\) with x1 < x2"),
        (lambda: Box(overlapping=(0, 1, 1)), r"got \(0, 1, 1\)"),
        (lambda: Box(overlapping=[[[0, 0, 1, 1]]]), r"got \[\[\[0, 0, 1, 1\]\]\]"),
        (lambda: Box(overlapping=(0, 0, 1, 0)), "with x1 < x2 and y1 < y2"),
        (lambda: Box(overlapping=(0, 0, 0, 1)), "with x1 < x2 and y1 < y2"),
        (lambda: Box(overlapping=(0, 0, 1, np.inf)), "with x1 < x2 and y1 < y2"),
        (lambda: Box(overlapping=(False, False, True, True)), "with x1 < x2 and y1 < y2"),
        (lambda: Box([[0]]), r"one for each image; got \[\[0\]\]"),
        (lambda: Box(-1), "A box's index is an integer from 0"),
        (lambda: Box(0.5), "A box's index is an integer from 0, or one for each image; got 0.5"),
        (lambda: Box(of_class="cat"), "A box's class is an integer"),
        (lambda: Box(least_overlap=2), r"least_overlap=2; expected a number in \[0, 1\]"),
        (lambda: Box(classes=0), "classes=0; expected how many there are, at least 1"),
        (lambda: Box(classes=2.5), "classes=2.5; expected how many there are, at least 1"),
        (lambda: Box(arranged="coco"), "'coco'; expected 'torchvision', 'yolo'"),
        (
            lambda: Detections(Part("b"), Part("s"), corners="ltrb"),
            "corners='ltrb'; expected one of",
        ),
        (lambda: Box(0) + Class(1), "adds targets of one output to targets of all outputs"),
    ],
)
def test_box_refuses_outputs_that_do_not_fit(make, message):
    with pytest.raises(TargetError, match=message):
        make()


def test_boxes_say_what_they_are():
    assert repr(Box(3)) == "Box(index=3)"
    assert repr(Box(overlapping=(0, 0, 1, 2), of_class=1)) == (
        "Box(overlapping=[0.0, 0.0, 1.0, 2.0], of_class=1)"
    )


def test_settled_box_follows_a_class_below_zero():
    outputs = {**LISTED, "0.labels": np.array([-1, 2, 2])}  # as padded detections have it
    np.testing.assert_array_equal(Box(0).settled(outputs)(outputs).scores, [0.9, 0.6])


def test_boxes_without_area_overlap_nothing():
    boxes = np.array([[1.0, 1, 1, 1], [3, 3, 2, 2], [0, 0, 4, 4]])
    with np.errstate(all="raise"):
        shares, slopes = overlap_and_slope(boxes, np.array([1.0, 1, 1, 1]))
    np.testing.assert_array_equal(shares, [0, 0, 0])
    np.testing.assert_array_equal(slopes, np.zeros((3, 4)))


def test_objectness_weighs_the_classes_of_yolov5():
    objectness = YOLOV5[""][:, :, 4]
    scored = Box(1, of_class=3, arranged="yolov5")(YOLOV5)
    np.testing.assert_allclose(scored.scores, objectness[:, 1] * SCORES[:, 1, 3], rtol=1e-15)


def test_a_head_that_chooses_by_itself_gives_corners_a_score_and_a_class():
    corners = np.array([[[0, 0, 10, 10], [20, 5, 40, 30]], [[1, 2, 11, 12], [6, 6, 9, 8]]], float)
    scores, classes = RNG.random((2, 2, 1)), np.array([[[3.0], [7.0]], [[7.0], [3.0]]])
    outputs = {"": np.concatenate([corners, scores, classes, RNG.random((2, 2, 4))], axis=2)}
    for box in (0, 1):
        own = Box(overlapping=corners[:, box], arranged="yolo-end2end", with_overlap=True)
        np.testing.assert_allclose(own(outputs).scores, scores[:, box, 0], rtol=1e-15)
        np.testing.assert_array_equal(own(outputs).classes, classes[:, box, 0])
    third = Box(of_class=3, arranged="yolo-end2end")(outputs)
    np.testing.assert_array_equal(third.scores, [scores[0, 0, 0], scores[1, 1, 0]])
    halves = [[20, 5, 30, 30], [1, 2, 11, 7]]
    moved = Box(overlapping=halves, arranged="yolo-end2end", with_overlap=True)(outputs)
    np.testing.assert_allclose(moved.scores, [scores[0, 1, 0] / 2, scores[1, 0, 0] / 2], rtol=1e-15)
