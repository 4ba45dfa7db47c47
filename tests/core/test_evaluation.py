"""Methods by metrics: values of each sample, intervals, controls, and what is counted."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.stats import bootstrap

import camcore
from camcore.errors import InputError
from camcore.evaluation import Evaluation, Interval
from camcore.metrics import (
    adcc,
    coherency,
    deletion,
    drop,
    l1_complexity,
    masked_scores,
    max_box_accuracy,
    pointing_game,
    top1_localisation,
)
from camcore.metrics.case import Case, Counted
from camcore.metrics.table import TABLE, find_metric
from camcore.photos.crop import CentreCrop
from camcore.targets import Probability
from camcore.testing import random_network

IMAGES = np.random.default_rng(0).normal(size=(6, 2, 8, 8))
NETWORK = random_network(head="deep")
pytestmark = pytest.mark.filterwarnings("ignore::camcore.errors.PoorMapWarning")


@pytest.fixture(scope="module")
def evaluation():
    return camcore.evaluate(
        NETWORK,
        IMAGES,
        methods=["gradcam", "layercam"],
        metrics=["deletion", "insertion", "average-drop", "increase", "adcc"],
        layer="relu2",
        steps=8,
    )


def test_values_are_those_of_the_metrics_themselves(evaluation):
    result = camcore.explain(NETWORK, IMAGES, None, "relu2", "layercam")
    target = Probability(result.classes)
    score = camcore.Explainer(NETWORK, layer="relu2").evidence(IMAGES, target).score_images
    values = evaluation.values["layercam"]
    expected = deletion(IMAGES, result.maps, score, steps=8).auc
    np.testing.assert_allclose(values["deletion"], expected, rtol=1e-10)
    scores = masked_scores(IMAGES, np.ones((6, 8, 8)), score)
    masked = masked_scores(IMAGES, result.maps, score)
    np.testing.assert_allclose(values["average_drop"], 100 * drop(scores, masked), atol=1e-8)
    under = IMAGES * result.maps[:, None].astype(IMAGES.dtype)
    again = camcore.explain(NETWORK, under, result.classes.tolist(), "relu2", "layercam").maps
    parts = drop(scores, masked), coherency(result.maps, again), l1_complexity(result.maps)
    np.testing.assert_allclose(values["adcc"], 100 * adcc(*parts), rtol=1e-5)


def test_a_table_has_every_control(evaluation):
    assert evaluation.rows == (
        "gradcam",
        "layercam",
        "random",
        "ones",
        "centre",
        "edges",
        "reversed",
    )
    assert evaluation.controls == evaluation.rows[2:]
    assert len(evaluation) == 6
    # Deleting by the reversed map is inserting by the map, backwards and into zeros.
    ones = evaluation.values["ones"]
    assert np.all(ones["adcc"] < 10)
    np.testing.assert_allclose(ones["average_drop"], 0, atol=0.2)


def test_passes_are_counted_and_those_of_baselines_shared(evaluation):
    # 2 (K − 1) a sample for two curves of 8 steps, one masked; the first row has both baselines.
    assert evaluation.forwards["gradcam"] == 6 * (2 * 7 + 1) + 2 * 6
    assert evaluation.forwards["layercam"] == 6 * (2 * 7 + 1)


def test_intervals_are_scipys(evaluation):
    values = evaluation.values["layercam"]["deletion"]
    found = evaluation.interval("layercam", "deletion", seed=3)
    expected = bootstrap(
        (values,),
        np.mean,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert found == (pytest.approx(values.mean()), expected.low, expected.high)
    pair = evaluation.difference("layercam", "gradcam", "deletion")
    other = evaluation.values["gradcam"]["deletion"]
    assert pair.mean == pytest.approx((values - other).mean())
    assert pair.low < pair.mean < pair.high


def made(**rows):
    return Evaluation(
        {row: {"insertion": np.array(values, float)} for row, values in rows.items()},
        controls=("centre",),
    )


def test_undefined_values_are_left_out_and_told():
    one = made(gradcam=[0.2, np.nan, 0.4], centre=[0.1, 0.1, 0.1])
    assert one.interval("gradcam", "insertion").mean == pytest.approx(0.3)
    assert "Left out as undefined, of gradcam: insertion (1)." in str(one)
    alone = made(gradcam=[0.2], centre=[np.nan])
    assert alone.interval("gradcam", "insertion")[:1] == (0.2,)
    assert np.isnan(alone.interval("gradcam", "insertion").low)
    assert np.isnan(alone.interval("centre", "insertion").mean)


def test_the_best_is_better_than_every_other_row():
    rng = np.random.default_rng(0)
    base = rng.normal(size=20)
    clear = made(a=base + 1, b=base, centre=base - 1)
    assert clear.best("insertion") == "a"
    assert str(clear).splitlines()[1].split()[-3:] == ["*", "0", "0.0"]
    close = made(a=base, b=base + 1e-3 * rng.normal(size=20), centre=base - 1)
    assert close.best("insertion") is None
    worse = made(a=base, b=base, centre=base + 1)
    assert worse.best("insertion") == "centre"
    assert "insertion: a is beaten by centre." in str(worse)
    assert "insertion: b is beaten by centre." in str(worse)
    assert "beaten" not in str(clear)


def test_lower_is_better_where_it_is():
    values = {"a": np.zeros(5), "b": np.arange(1, 6.0)}
    one = Evaluation({row: {"deletion": v} for row, v in values.items()})
    assert one.best("deletion") == "a"


def test_parts_are_joined(evaluation):
    about = {"methods": ["gradcam", "layercam"], "layer": "relu2", "steps": 8}
    about["metrics"] = list(evaluation.metrics)
    parts = [camcore.evaluate(NETWORK, IMAGES[p], **about) for p in (slice(0, 2), slice(2, 6))]
    joined = Evaluation.concatenate(parts)
    for row in joined.rows:
        for metric in joined.metrics:
            np.testing.assert_allclose(
                joined.values[row][metric], evaluation.values[row][metric], atol=2e-4, rtol=1e-4
            )
    assert joined.forwards["layercam"] == evaluation.forwards["layercam"]
    with pytest.raises(InputError, match="other rows cannot be joined"):
        Evaluation.concatenate([joined, made(a=[1.0], centre=[1.0])])
    with pytest.raises(InputError, match="pass one or more"):
        Evaluation.concatenate([])


def test_tables_for_other_programs(evaluation, tmp_path):
    evaluation.to_csv(tmp_path / "values.csv")
    with (tmp_path / "values.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 * 5 * 6
    assert rows[0]["row"] == "gradcam"
    assert float(rows[0]["value"]) == evaluation.values["gradcam"]["deletion"][0]
    latex = evaluation.to_latex()
    assert r"average drop \% $\downarrow$" in latex
    assert latex.count(r"\\") == 1 + 7
    markdown = evaluation.to_markdown().splitlines()
    assert len(markdown) == 2 + 7
    assert markdown[2].startswith(f"| gradcam | {evaluation.interval('gradcam', 'deletion')} |")


def test_an_interval_reads_as_text():
    assert str(Interval(0.12345, 0.1, 0.2)) == "0.123 [0.1, 0.2]"
    assert str(Interval(3.0, np.nan, np.nan)) == "3"


def test_masks_are_asked_where_the_object_is():
    masks = np.zeros((6, 8, 8), bool)
    masks[:, :4] = True
    found = camcore.evaluate(
        NETWORK,
        IMAGES,
        methods="layercam",
        metrics=["energy_pointing_game", "pointing_game"],
        layer="relu2",
        masks=masks,
        controls=["ones"],
    )
    maps = camcore.explain(NETWORK, IMAGES, None, "relu2", "layercam").maps.astype(float)
    share = (maps * masks).sum((1, 2)) / maps.sum((1, 2))
    np.testing.assert_allclose(found.values["layercam"]["energy_pointing_game"], share, rtol=1e-6)
    # Ones but for one corner: half of what is marked lies in the upper half, but for that corner.
    np.testing.assert_allclose(found.values["ones"]["energy_pointing_game"], 31 / 63)
    assert found.forwards == {"layercam": 0, "ones": 0}


@pytest.mark.parametrize("name", TABLE)
def test_every_metric_of_the_table_gives_a_number_for_each_sample(name, require):
    if "boxes" in TABLE[name].needs:
        require("cv2")
    masks = np.zeros((6, 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    found = camcore.evaluate(
        NETWORK,
        IMAGES,
        None if name != "top1_localisation" else [0, 1, 2, 3, 4, 0],
        methods="layercam",
        metrics=name,
        layer="relu2",
        masks=masks,
        boxes=[[2, 2, 6, 6]] * 6,
        controls=False,
        steps=4,
    )
    values = found.values["layercam"][name]
    assert values.shape == (6,)
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "deletoin"}, "There is no metric 'deletoin'. Did you mean 'deletion'"),
        ({"controls": ["blob"]}, "There is no control 'blob', but random, ones"),
        ({"metrics": "iou"}, "give masks="),
        ({"metrics": "iou", "masks": np.ones((6, 4, 4))}, "6 masks of .* do not lie over 6 inputs"),
        ({"recipe": "captum"}, "must lie in"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(InputError, match=message):
        camcore.evaluate(NETWORK, IMAGES, **{"methods": "gradcam", "layer": "relu2", **options})


def test_a_method_of_a_controls_name_keeps_its_row():
    found = camcore.evaluate(
        NETWORK,
        IMAGES,
        methods="random",
        metrics="complexity",
        layer="relu2",
        controls=["random", "ones"],
    )
    assert found.rows == ("random", "random control", "ones")
    assert found.controls == ("random control", "ones")
    maps = camcore.explain(NETWORK, IMAGES, None, "relu2", "random").maps
    np.testing.assert_allclose(
        found.values["random"]["complexity"], 100 * maps.mean(axis=(1, 2)), rtol=1e-5
    )


def test_the_output_that_is_explained_is_the_one_that_is_scored(require):
    torch = require("torch")
    torch.manual_seed(0)

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU())
            self.a, self.b = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)

        def forward(self, images):
            pooled = self.body(images).mean((2, 3))
            return {"a": self.a(pooled), "b": self.b(pooled)}

    class One(Two):
        def forward(self, images):
            return super().forward(images)["b"]

    two, one = Two().eval(), One().eval()
    one.load_state_dict(two.state_dict())
    images = torch.from_numpy(IMAGES[:2].astype(np.float32))
    about = {"methods": "gradcam", "metrics": "deletion", "layer": "body.1", "steps": 4}
    found = camcore.evaluate(two, images, 1, output="b", **about)
    expected = camcore.evaluate(one, images, 1, **about)
    for row in expected.rows:
        np.testing.assert_allclose(
            found.values[row]["deletion"], expected.values[row]["deletion"], rtol=1e-5
        )


def test_metrics_are_found_by_hyphens_too():
    assert find_metric("Average-Drop") is TABLE["average_drop"]
    assert find_metric(TABLE["road"]) is TABLE["road"]


def test_masks_of_photographs_go_where_the_model_looks():
    photos = [np.random.default_rng(i).integers(0, 256, (16, 24, 3), np.uint8) for i in (0, 1)]

    def shown(photo):
        seen = CentreCrop(photo.shape, 8, 8).to_model(photo)
        return np.moveaxis(seen[..., :2] / 255, -1, 0)[None]

    masks = np.zeros((2, 16, 24), bool)
    masks[:, :, 4:12] = True  # the left half of the middle square
    found = camcore.evaluate(
        NETWORK,
        photos,
        preprocess=shown,
        methods="layercam",
        metrics="energy_pointing_game",
        layer="relu2",
        masks=masks,
        controls=["ones"],
    )
    np.testing.assert_allclose(found.values["ones"]["energy_pointing_game"], 31 / 63)


def squares(*corners):
    """Photographs of 16 by 24 pixels that are bright in a square of 6."""
    photos = [np.full((16, 24, 3), 30, np.uint8) for _ in corners]
    for photo, (left, top) in zip(photos, corners, strict=True):
        photo[top : top + 6, left : left + 6] = 220
    return photos


def middle(photo):
    """The middle 16 by 16 pixels, scaled to the model's 8 by 8."""
    seen = CentreCrop(photo.shape, 8, 8).to_model(photo)
    return np.moveaxis(seen[..., :2] / 255, -1, 0)[None]


BOXED = {
    "methods": "layercam",
    "metrics": ["box_iou", "box_localisation", "pointing_game", "energy_pointing_game"],
    "layer": "relu2",
    "controls": ["centre", "ones"],
}


def test_boxes_of_inputs_are_asked_where_the_object_is(require):
    require("cv2")
    # Edges of 2 by 2 pixels of the first, and of the whole upper half of the second.
    boxes = [[2, 2, 4, 4], [[0, 0, 4, 4], [4, 0, 8, 4]]]
    found = camcore.evaluate(NETWORK, IMAGES[:2], boxes=boxes, **BOXED)
    maps = camcore.explain(NETWORK, IMAGES[:2], None, "relu2", "layercam").maps
    pixels = [[[2, 2, 3, 3]], [[0, 0, 3, 3], [4, 0, 7, 3]]]
    thresholds = np.arange(0, 1, 0.001).tolist()
    values, box = (
        found.values["layercam"],
        max_box_accuracy(maps, pixels, thresholds=thresholds),
    )
    np.testing.assert_array_equal(values["box_iou"], box.values.max(axis=1))
    right = np.ones(2, bool)
    np.testing.assert_array_equal(
        values["box_localisation"], top1_localisation(maps, pixels, right, threshold=0.15)
    )
    np.testing.assert_array_equal(found.box_accuracy["layercam"].values, box.values)
    masks = np.zeros((2, 8, 8), bool)
    masks[0, 2:4, 2:4] = masks[1, :4] = True
    np.testing.assert_array_equal(values["pointing_game"], pointing_game(maps, masks))
    # All but the first corner, of which 31 of 63 are in the upper half.
    np.testing.assert_allclose(
        found.values["ones"]["energy_pointing_game"], [4 / 63, 31 / 63], rtol=1e-12
    )
    score, level = box.score, box.best_thresholds[0]
    assert f"layercam {score:.3g}{f' (at {level:.2g})' if score else ''}" in str(found)
    assert found.forwards == {"layercam": 0, "centre": 0, "ones": 0}


def test_boxes_of_photographs_go_where_the_model_looks(require):
    require("cv2")
    photos = squares((9, 5), (0, 5))
    boxes = [[[9, 5, 15, 11]], [[0, 5, 6, 11]]]
    found = camcore.evaluate(NETWORK, photos, boxes=boxes, preprocess=middle, **BOXED)
    # From column 4 on, by 2: edges 2.5, 2.5, 5.5 and 5.5, so that pixels 2 to 4 have their centres
    # within; of the other, -2 to 1 has pixel 0.
    masks = np.zeros((2, 8, 8), bool)
    masks[0, 2:5, 2:5] = masks[1, 2:5, 0] = True
    share = masks.sum(axis=(1, 2)) / 63
    np.testing.assert_allclose(found.values["ones"]["energy_pointing_game"], share, rtol=1e-12)
    by_mask = np.zeros((2, 16, 24), bool)
    by_mask[0, 5:11, 9:15] = by_mask[1, 5:11, 0:6] = True
    about = {**BOXED, "metrics": ["pointing_game", "energy_pointing_game"]}
    masked = camcore.evaluate(NETWORK, photos, masks=by_mask, preprocess=middle, **about)
    for row in masked.rows:
        for metric in masked.metrics:
            np.testing.assert_array_equal(masked.values[row][metric], found.values[row][metric])


def test_masks_and_boxes_are_each_asked_what_they_tell(require):
    require("cv2")
    masks = np.zeros((6, 8, 8), bool)
    masks[:, 7] = True
    boxes = [[2, 2, 6, 6]] * 6
    both = camcore.evaluate(NETWORK, IMAGES, masks=masks, boxes=boxes, **BOXED)
    alone = camcore.evaluate(NETWORK, IMAGES, boxes=boxes, **BOXED)
    np.testing.assert_allclose(both.values["ones"]["energy_pointing_game"], 8 / 63)
    for row in both.rows:
        np.testing.assert_array_equal(both.values[row]["box_iou"], alone.values[row]["box_iou"])


def test_an_object_that_the_model_does_not_see_is_counted_as_undefined(require):
    require("cv2")
    boxes = [[9, 5, 15, 11], [0, 0, 3, 3]]  # the model sees columns 4 to 20
    found = camcore.evaluate(
        NETWORK, squares((9, 5), (0, 0)), boxes=boxes, preprocess=middle, **BOXED
    )
    for metric in found.metrics:
        np.testing.assert_array_equal(np.isnan(found.values["centre"][metric]), [False, True])
    assert "Left out as undefined, of centre: box_iou (1), box_localisation (1)" in str(found)
    assert found.box_accuracy["centre"].accuracy.max() in (0, 1)


def test_the_best_common_threshold_is_that_of_all_parts_joined(require):
    require("cv2")
    boxes = np.array([[1, 1, 4, 4], [2, 2, 7, 7], [0, 0, 8, 5]] * 2)
    about = {**BOXED, "metrics": ["box_iou"]}
    whole = camcore.evaluate(NETWORK, IMAGES, boxes=boxes, **about)
    parts = [
        camcore.evaluate(NETWORK, IMAGES[some], boxes=boxes[some], **about)
        for some in (slice(0, 2), slice(2, 6))
    ]
    joined = Evaluation.concatenate(parts)
    for row, expected in whole.box_accuracy.items():
        found = joined.box_accuracy[row]
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.score == expected.score
    # The share at one threshold for all is at most that of each at its own.
    alone = (whole.values["layercam"]["box_iou"] >= 0.5).mean()
    assert whole.box_accuracy["layercam"].score <= alone


def test_top1_localisation_asks_for_the_right_class(require):
    require("cv2")
    about = {**BOXED, "metrics": ["box_localisation", "top1_localisation"], "boxes": [[0, 0, 8, 8]]}
    first = int(camcore.explain(NETWORK, IMAGES[:1], layer="relu2").classes[0])
    for chosen in range(5):
        found = camcore.evaluate(NETWORK, IMAGES[:1], [chosen], **about).values["ones"]
        # A box of the whole image fits the map of ones, whatever the class.
        assert found["box_localisation"] == 1
        assert found["top1_localisation"] == (chosen == first)
    with pytest.raises(InputError, match="give each sample's class as the target"):
        camcore.evaluate(NETWORK, IMAGES[:1], **about)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[1, 1, 4, 4]], "Boxes of 1 samples do not fit 2"),
        (None, "by boxes asks where the objects are: give boxes="),
        (7, "Boxes of 0 samples"),
        ([[1, 1, 4, 4], []], "sample 1 has no box"),
        ([[1, 1, 4, 4], [[1, 2, 3]]], r"sample 1 have shape \(1, 3\); expected \(n, 4\)"),
        ([[1, 1, 4, 4], ["a"]], "sample 1 are no list of numbers: \\['a'\\]"),
        ([[4, 1, 4, 4], [1, 1, 4, 4]], "A box of sample 0 has no area: 4, 1, 4, 4"),
        ([[1, 4, 4, 2], [1, 1, 4, 4]], "A box of sample 0 has no area"),
        ([[1, 1, 4, 9], [1, 1, 4, 4]], "leaves an input of 8 by 8 pixels: 1, 1, 4, 9"),
        ([[np.nan, 1, 4, 4], [1, 1, 4, 4]], "has no area"),
    ],
)
def test_boxes_that_are_none(boxes, message):
    with pytest.raises(InputError, match=message):
        camcore.evaluate(NETWORK, IMAGES[:2], boxes=boxes, **BOXED)


def test_boxes_may_overshoot_by_less_than_a_pixel(require):
    require("cv2")
    about = {**BOXED, "metrics": "energy_pointing_game"}
    found = camcore.evaluate(NETWORK, IMAGES[:1], boxes=[[-0.01, 0, 8.4, 4]], **about)
    np.testing.assert_allclose(found.values["ones"]["energy_pointing_game"], 31 / 63)


def test_boxes_of_volumes_are_refused():
    volumes = np.random.default_rng(0).normal(size=(1, 2, 8, 8, 8))
    with pytest.raises(InputError, match="Boxes lie over images, and the input is of"):
        camcore.evaluate(
            random_network(3), volumes, boxes=[[0, 0, 2, 2]], **{**BOXED, "layer": "relu2"}
        )


def dropping(torch, share):
    torch.manual_seed(0)
    layers = torch.nn
    return layers.Sequential(
        *(layers.Conv2d(2, 8, 3), layers.ReLU(), layers.Dropout(share)),
        *(layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(8, 5)),
    )


def test_a_model_that_scores_otherwise_each_time_is_told(require):
    torch = require("torch")
    images = torch.from_numpy(IMAGES.astype(np.float32))
    about = {"methods": "gradcam", "metrics": "average_drop", "layer": "1", "controls": False}
    for share, mode, expected in ((0.5, "train", False), (0.5, "eval", True), (0, "train", True)):
        found = camcore.evaluate(dropping(torch, share), images, 1, mode=mode, **about)
        assert found.settings["deterministic"] == str(expected)
        assert ("scores the same images otherwise each time" in str(found)) is not expected


def test_maps_that_are_constant_and_what_is_undefined_of_them_are_counted():
    """ADCC of Fake-CAM is worst; of ones alone it is undefined, not the 0.5 of no correlation."""
    maps = np.ones((2, 8, 8), np.float32)
    maps[1, 0, 0] = 0

    def score(_, images):
        return np.full(len(images), 0.4)

    case = Case(IMAGES[:2], maps, Counted(score), lambda sample, _: maps[sample][None], [0.4, 0.4])
    values = TABLE["adcc"](case)
    assert np.isnan(values[0])
    # 3 / (1 + 64 + 1): of the third part there is only the one position that is left out.
    assert values[1] == pytest.approx(100 * 3 / 66, rel=1e-12)
    one = Evaluation({"a": {"adcc": values}}, (), {"a": 0}, {"a": 0.0}, {"a": 1})
    assert "1 of 2 maps of a are constant: no order." in str(one)
    assert "Left out as undefined, of a: adcc (1)." in str(one)
    assert one.interval("a", "adcc").mean == pytest.approx(100 * 3 / 66)


def test_an_option_of_one_method_is_not_handed_to_another():
    options = {"metrics": "coherency", "layer": "relu2", "controls": False}
    both = camcore.evaluate(NETWORK, IMAGES, methods=["gradcam", "scorecam"], channels=1, **options)
    for name, own in (("gradcam", {}), ("scorecam", {"channels": 1})):
        alone = camcore.evaluate(NETWORK, IMAGES, methods=name, **own, **options)
        np.testing.assert_array_equal(
            both.values[name]["coherency"], alone.values[name]["coherency"]
        )
    assert np.ptp(both.values["scorecam"]["coherency"]) > 0
