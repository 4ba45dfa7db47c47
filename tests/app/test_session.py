"""What the page shows is what the library gives, number by number, and the calls make it again."""

from __future__ import annotations

import shlex
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.app import Bench, PageRequest, calls
from camcore.app.session import SAMPLES, read_photo, sample, target_of, without
from camcore.errors import InputError, MethodError
from camcore.photos import Photo
from camcore.targets import Contrast

TIGER, EGYPTIAN, TABBY = 282, 285, 281
FINE = "blocks.3.0.bn1"


def same(found, expected):
    assert found.classes.tolist() == expected.classes.tolist()
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.maps, expected.maps)
    assert found.layers == expected.layers
    for name in found.layers:
        np.testing.assert_array_equal(found.raw[name], expected.raw[name])


@pytest.fixture(scope="module")
def model(bench):
    return bench.model("").model


@pytest.fixture(scope="module")
def photo():
    return sample("chelsea")


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (PageRequest(), {}),
        (PageRequest(target=TABBY), {"target": TABBY}),
        (PageRequest(layer=FINE, method="layercam"), {"layer": FINE, "method": "layercam"}),
        (PageRequest(recipe="pytorch-grad-cam"), {"recipe": "pytorch-grad-cam"}),
        (PageRequest(target=TABBY, against=TIGER), {"target": Contrast(TABBY, against=TIGER)}),
        (PageRequest(against=EGYPTIAN), {"target": Contrast(against=EGYPTIAN)}),
        (PageRequest(model="demo-onnx:efficientnet_lite0"), {}),
    ],
    ids=["predicted", "class", "layer", "recipe", "contrast", "contrast of predicted", "onnx"],
)
def test_a_map_is_that_of_explain(bench, photo, asked, options):
    shown = bench.explain(asked, photo)
    same(shown.explanation, camcore.explain(bench.model(asked.model).model, photo, **options))


def test_an_overlay_in_full_size_is_that_of_the_result(bench, model, photo):
    shown = bench.explain(PageRequest(), photo)
    expected = camcore.explain(model, photo).overlay()[0]
    # Bytes are mixed here, in a fraction of the time: one of 255 levels at most.
    assert np.abs(shown.picture(451).astype(int) - expected).max() <= 1
    assert shown.picture(200).shape == (133, 200, 3)


def test_classes_are_the_highest_and_the_explained_one_is_among_them(bench, model, photo):
    expected = camcore.explain(model, photo)
    names = camcore.imagenet_classes()
    top = bench.explain(PageRequest(), photo).top
    assert [(i, v) for i, _, v in top] == expected.top(5)[0]
    assert [name for _, name, _ in top] == [names[i] for i, _, _ in top]
    last = bench.explain(PageRequest(target=0), photo).top[-1]
    assert last == (0, names[0], float(expected.probabilities[0, 0]))


def test_methods_side_by_side_come_from_one_pass(bench, model, photo):
    methods = ["gradcam", "layercam", "hirescam"]
    found = bench.methods(PageRequest(target=TABBY), photo, [*methods, "Grad-CAM"])
    expected = camcore.explain(model, photo, TABBY, method=methods)
    assert list(found) == methods
    for name in methods:
        same(found[name].explanation, expected[name])


def test_layers_go_from_fine_to_deep(bench):
    for one in bench.models.values():
        sizes = [np.prod(layer.size) for layer in one.layers]
        assert sizes == sorted(sizes, reverse=True)
        assert len(sizes) >= 4
        assert sum(layer.chosen for layer in one.layers) == 1


def test_the_default_layer_is_the_one_that_explain_takes(bench, photo):
    for name, one in bench.models.items():
        chosen = one.layers[one.default].name
        assert bench.explain(PageRequest(model=name), photo).explanation.layers == (chosen,)
        assert one.layer(chosen) is None
        assert one.layer("no such layer") is None


def test_two_frameworks_are_compared_as_compare_does(bench, photo):
    torch, onnx = bench.models
    deep = bench.model(onnx).layers[-1].name
    found = bench.compared(PageRequest(layer=FINE), photo, onnx, deep)
    first = camcore.explain(bench.model(torch).model, photo, layer=FINE)
    second = camcore.explain(bench.model(onnx).model, photo, first.classes.tolist())
    (pair,) = camcore.compare({torch: first, onnx: second}).pairs
    (shown,) = found.comparison.pairs
    assert shown.names == (torch, onnx)
    assert shown.numbers() == pair.numbers()
    assert found.limit == found.comparison.largest > 0.1
    alike = bench.compared(PageRequest(), photo, onnx, None)
    assert alike.comparison.largest < 1e-4
    # What is rounding is not blown up: the colours reach to a hundredth, and show nothing.
    grey = alike.difference()
    assert alike.limit == 0.01
    assert np.ptp(grey.astype(int), axis=2).max() <= 1
    assert np.ptp(found.difference().astype(int), axis=2).max() > 60


def test_a_layer_is_held_against_the_one_most_like_it(bench, photo):
    torch, onnx = bench.models
    assert bench.counterpart(PageRequest(), onnx) is None
    assert bench.counterpart(PageRequest(layer=FINE), torch) == FINE
    theirs = bench.counterpart(PageRequest(layer=FINE), onnx)
    sizes = {layer.name: layer.size for layer in bench.model(onnx).layers}
    assert sizes[theirs] == (28, 28)
    found = bench.compared(PageRequest(layer=FINE), photo, onnx, None)
    assert found.second.explanation.layers == (theirs,)
    # Not the very same layer, as its rectifier is a layer of its own in the file.
    assert found.comparison.pairs[0].numbers()["pearson"] > 0.5


def test_one_model_at_two_layers_has_two_names(bench, photo):
    torch = bench.model("").name
    found = bench.compared(PageRequest(), photo, torch, FINE)
    names = found.comparison.pairs[0].names
    assert names[0] != names[1]
    assert names[1] == f"{torch} at {FINE}"


def test_curves_are_those_of_evaluate_and_pictures_what_was_fed(bench, model, photo):
    found = bench.curves(PageRequest(target=TABBY), photo, steps=4)
    expected = camcore.evaluate(
        *(model, [photo], TABBY),
        methods=["gradcam"],
        metrics=["deletion", "insertion"],
        controls=False,
        steps=4,
    )
    assert [one.name for one in found] == ["deletion", "insertion"]
    for one in found:
        curve = expected.curves["gradcam"][one.name]
        np.testing.assert_array_equal(one.fractions, curve.fractions)
        np.testing.assert_array_equal(one.scores, curve.scores[0])
        assert one.area == expected.values["gradcam"][one.name][0]
        assert len(one.pictures) == len(one.fractions)
    # Deletion starts with the photograph, insertion ends with it.
    seen = camcore.explain(model, photo).photographs[0]
    view = seen.crop.view(seen.photo, (224, 224)).astype(float)
    for picture in (found[0].pictures[0], found[1].pictures[-1]):
        assert np.abs(picture - view).mean() < 2
    assert np.abs(found[0].pictures[-1] - view).mean() > 20


def test_hiding_a_patch_scores_the_altered_photograph(bench, model, photo):
    box = (120, 60, 300, 240)
    asked = PageRequest(hidden=(box,))
    found = bench.hide(asked, photo)
    pixels = photo.pixels.copy()
    pixels[60:240, 120:300] = np.rint(photo.pixels.mean(axis=(0, 1)))
    np.testing.assert_array_equal(found.picture, pixels)
    whole = camcore.explain(model, photo)
    part = camcore.explain(model, pixels, whole.classes.tolist())
    index = int(whole.classes[0])
    assert found.is_probability
    assert found.before == float(whole.probabilities[0, index])
    assert found.after == float(part.probabilities[0, index])
    assert found.after < found.before
    against = bench.hide(replace(asked, target=TABBY, against=TIGER), photo)
    aim = Contrast(TABBY, against=TIGER)
    assert not against.is_probability
    assert against.before == float(camcore.explain(model, photo, aim).scores[0])
    assert photo.pixels[100, 200].tolist() != pixels[100, 200].tolist()


def test_signed_maps_keep_what_counts_against(bench, photo):
    shown = bench.explain(PageRequest(layer=FINE, signed=True), photo)
    signed = shown.signed()
    assert signed.shape == photo.pixels.shape[:2]
    assert signed.min() < 0 < signed.max()
    plain = bench.explain(PageRequest(layer=FINE), photo)
    assert np.abs(shown.picture().astype(int) - plain.picture()).max() > 50


def test_boxes_are_those_of_the_result_and_drawn(bench, model, photo):
    shown = bench.explain(PageRequest(threshold=0.6), photo)
    expected = camcore.explain(model, photo).boxes(0.6, "all")[0]
    np.testing.assert_array_equal(shown.boxes, expected)
    drawn, bare = shown.picture(451), bench.explain(PageRequest(), photo).picture(451)
    left, top, right, bottom = expected[0]
    assert drawn[top, (left + right) // 2].tolist() == [0, 229, 255]
    changed = np.argwhere((drawn != bare).any(axis=2))
    assert changed[:, 0].min() >= top - 1
    assert changed[:, 0].max() <= bottom


@pytest.mark.parametrize(
    "asked",
    [
        PageRequest(),
        PageRequest(
            model="a:b", photo="it's, a & b.png", target=3, against=4, layer="a/b", signed=True
        ),
        PageRequest(
            method="layercam", recipe="captum", threshold=0.35, hidden=((1, 2, 3, 4), (0, 0, 9, 9))
        ),
        PageRequest(tab="compare", other="a:b", other_layer="c.d", beside=("xgradcam", "scorecam")),
        PageRequest(tab="methods", beside=()),
    ],
)
def test_an_address_brings_back_what_was_asked(asked):
    assert PageRequest.of_query(asked.query()) == asked
    assert PageRequest.of_query("?" + asked.query()) == asked


@pytest.mark.parametrize(
    "query",
    [
        *("target=cat", "threshold=0", "threshold=nan", "hidden=1,2,3", "hidden=4,4,1,1", "x=1"),
        *("hidden=0,0,99999999,9", "target=", "__class__=1", "query=1", "signed=yes"),
        *("tab=", "other=", "other_layer=", "layer=", "method="),
    ],
)
def test_an_address_that_makes_no_sense_asks_for_nothing(query):
    assert PageRequest.of_query(query) == PageRequest()


def ran(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    return names


@pytest.mark.parametrize(
    "asked",
    [
        PageRequest(photo="chelsea"),
        PageRequest(photo="coffee", target=TABBY, layer=FINE, method="layercam", recipe="captum"),
        PageRequest(photo="chelsea", target=TABBY, against=TIGER, signed=True, threshold=0.5),
        PageRequest(photo="cat's.png", against=TABBY),
    ],
    ids=["plain", "all", "contrast", "own photograph"],
)
def test_the_python_on_the_page_makes_what_is_on_it(bench, cat, asked, tmp_path, monkeypatch):
    (tmp_path / "cat's.png").write_bytes(cat.read_bytes())
    photo = sample(asked.photo) if asked.photo in SAMPLES else read_photo(cat)
    one, shown = bench.model(asked.model), bench.explain(asked, photo)
    names = ran(calls.python_call(asked, one), tmp_path, monkeypatch)
    same(shown.explanation, names["result"])
    if asked.threshold:
        np.testing.assert_array_equal(names["boxes"][0], shown.boxes)


@pytest.mark.parametrize("target", [None, TABBY])
def test_the_python_of_the_other_tabs_makes_what_is_on_them(bench, target, tmp_path, monkeypatch):
    asked, photo = (
        PageRequest(photo="chelsea", target=target, hidden=((90, 60, 200, 200),)),
        sample("chelsea"),
    )
    torch, onnx = bench.models.values()
    made = ran(calls.python_call(asked, torch, methods=["gradcam", "fem"]), tmp_path, monkeypatch)
    for name, shown in bench.methods(asked, photo, ["gradcam", "fem"]).items():
        np.testing.assert_array_equal(shown.explanation.maps, made["result"][name].maps)
    for layer in (None, onnx.layers[1].name):
        text = calls.python_call(asked, torch, other=onnx, layer=layer)
        made = ran(text, tmp_path, monkeypatch)
        found = bench.compared(asked, photo, onnx.name, layer).comparison
        assert camcore.compare(made["result"], made["other"]).largest == found.largest
    made = ran(calls.hide_call(asked, torch), tmp_path, monkeypatch)
    altered = without(photo, asked.hidden)
    np.testing.assert_array_equal(made["pixels"], altered.pixels)
    aim = target or made["before"].classes.tolist()
    np.testing.assert_array_equal(
        made["after"].scores, camcore.explain(torch.model, altered, aim).scores
    )
    made = ran(calls.evaluate_call(asked, torch, 3), tmp_path, monkeypatch)
    for curve in bench.curves(asked, photo, 3):
        np.testing.assert_array_equal(made["curves"]["gradcam"][curve.name].scores[0], curve.scores)
    layers = [layer.name for layer in torch.layers[-2:]]
    made = ran(calls.layers_call(asked, torch, layers), tmp_path, monkeypatch)
    for name in layers:
        picture = bench.explain(replace(asked, layer=name), photo).picture(451)
        assert np.abs(made["pictures"][name][0].astype(int) - picture).max() <= 1


def test_the_command_on_the_page_makes_what_is_on_it(bench, cat, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from camcore.cli.app import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my cat's.png").write_bytes(cat.read_bytes())
    asked = PageRequest(photo="my cat's.png", target=TABBY, layer=FINE, method="layercam")
    words = shlex.split(calls.shell_call(asked, bench.model("")))
    assert words[:2] == ["camcore", "explain"]
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output
    made = camcore.load(tmp_path / "camcore-my cat's" / "explanation.npz")
    same(bench.explain(asked, read_photo(cat)).explanation, made)


def test_every_other_command_is_one_that_the_command_line_takes(bench, cat, tmp_path, monkeypatch):
    import typer

    from camcore.cli.app import app

    torch, onnx = bench.models.values()
    asked = PageRequest(photo="mine.png", target=3, recipe="captum", layer=FINE)
    written = [
        calls.compare_shell_call(asked, [torch, onnx], ["gradcam"]),
        calls.compare_shell_call(asked, [torch, onnx], ["gradcam"], [FINE, None]),
        calls.compare_shell_call(asked, [torch], ["gradcam", "layercam"]),
        calls.evaluate_shell_call(asked, torch, 25),
    ]
    commands = typer.main.get_command(app).commands
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.png").write_bytes(cat.read_bytes())
    for line in written:
        words = shlex.split(line)
        assert words[0] == "camcore"
        commands[words[1]].make_context(words[1], list(words[2:]))
    told = shlex.split(calls.shell_call(PageRequest(photo="chelsea"), torch).splitlines()[0])
    assert told[:2] == ["python", "-c"]
    compile(told[2], "told", "exec")


def test_what_cannot_be_told_on_the_command_line_says_so(bench):
    one = bench.model("")
    assert calls.shell_call(PageRequest(against=3), one).startswith("# ")
    assert calls.shell_call(PageRequest(), replace(one, spec=None)).startswith("# ")


def test_a_model_of_ones_own_is_taken_with_its_preprocessing(bench, photo):
    bare = bench.model("").model.model
    unit = camcore.Preprocessing(224, 256, mean=(0.5,) * 3, std=(0.5,) * 3, channels_first=True)
    own = Bench.of({"mine": bare}, preprocess=unit, classes=camcore.imagenet_classes())
    shown = own.explain(PageRequest(), photo)
    same(shown.explanation, camcore.explain(bare, photo, preprocess=unit))
    assert shown.top[0][1] in camcore.imagenet_classes()
    assert len(own.model("mine").layers) >= 4


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        (PageRequest(model="other"), InputError, "There is no model 'other'"),
        (PageRequest(method="gradkam"), MethodError, "gradcam"),
        (PageRequest(target=3, against=3), InputError, "told from itself"),
    ],
)
def test_what_is_not_there_is_refused(bench, photo, asked, error, says):
    with pytest.raises(error, match=says):
        bench.explain(asked, photo)


def test_no_models_and_no_samples_are_refused():
    with pytest.raises(InputError, match="no model"):
        Bench([])
    with pytest.raises(InputError, match="chelsea"):
        sample("chelsey")
    with pytest.raises(InputError, match="loaded by its name"):
        Bench.of("demo-torch:efficientnet_lite0", preprocess=1)


def test_explainers_are_bounded(bench, photo, monkeypatch):
    from camcore.app import session

    monkeypatch.setattr(session, "_EXPLAINERS", 2)
    small = Bench(list(bench.models.values()))
    for method in ("gradcam", "layercam", "fem", "hirescam"):
        small.explain(PageRequest(method=method), photo)
    assert len(small._explainers) == 2
    assert small.explainer(PageRequest(method="fem")) is small.explainer(PageRequest(method="fem"))


def test_a_target_is_what_the_library_takes():
    assert target_of(PageRequest()) is None
    assert target_of(PageRequest(target=4)) == 4
    contrast = target_of(PageRequest(target=4, against=5))
    assert isinstance(contrast, Contrast)
    assert contrast.index == 4
    assert contrast.against.tolist() == [5]


def test_without_leaves_the_photograph_and_its_levels(photo):
    deep = Photo(photo.pixels.astype(np.float32), (0.0, 4095.0))
    made = without(deep, [(0, 0, 10, 10)])
    assert made.value_range == (0.0, 4095.0)
    assert made.pixels.dtype == np.float32
    np.testing.assert_array_equal(deep.pixels, photo.pixels)
    assert len(np.unique(made.pixels[:10, :10].reshape(-1, 3), axis=0)) == 1
