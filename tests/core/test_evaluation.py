"""Methods by metrics: values of each sample, intervals, controls, and what is counted."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.stats import bootstrap

import camcore
from camcore.errors import InputError
from camcore.evaluation import Evaluation, Interval
from camcore.metrics import adcc, coherency, deletion, drop, l1_complexity, masked_scores
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
def test_every_metric_of_the_table_gives_a_number_for_each_sample(name):
    masks = np.zeros((6, 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    found = camcore.evaluate(
        NETWORK,
        IMAGES,
        methods="layercam",
        metrics=name,
        layer="relu2",
        masks=masks,
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
