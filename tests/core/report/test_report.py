"""What a report holds: the pictures, the numbers and the way to make it again."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import weakref
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

import camcore
from camcore.errors import InputError, MissingExtraError
from camcore.metrics.agreement import largest_difference
from camcore.photos import CentreCrop
from camcore.report import Entry, compare_entries
from camcore.report.entries import as_entries
from camcore.testing import random_network
from camcore.viz import heat_map, overlay


@pytest.fixture(scope="session")
def text(page):
    return page.read_text("utf-8")


def pictures(text):
    from PIL import Image

    uris = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))), float) for uri in uris]


def test_overlays_and_maps_are_those_of_the_explanations(text, photos, explanations):
    from PIL import Image

    found = pictures(text)
    assert len(found) == 16
    order = [(m, name) for m in ("gradcam", "layercam") for name in explanations]
    for index, photo in enumerate(photos):
        for place, (method, name) in enumerate(order):
            expected = explanations[name][method].maps[index]
            mixed = overlay(photo, expected)[0].astype(float)
            picture = found[4 * index + place]
            assert picture.shape == photo.shape
            assert np.abs(picture - mixed).mean() < 2
    maps = re.findall(r'data-map="data:image/jpeg;base64,([^"]+)"', text)
    assert len(maps) == 16
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(maps[0]))), float)
    alone = heat_map(explanations["first"]["gradcam"].maps[0], photos[0].shape[:2])[0]
    assert np.abs(first - alone).mean() < 2


def test_numbers_are_those_of_the_library(text, explanations):
    first, second = explanations.values()
    gaps = {m: largest_difference(first[m].maps, second[m].maps) for m in first}
    table = re.search(r"<tbody>(.*?)</tbody>", text, re.S)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)
    worst_first = sorted(gaps, key=lambda m: -gaps[m].max())
    for row, method in zip(rows, worst_first, strict=True):
        assert {"gradcam": "Grad-CAM", "layercam": "LayerCAM"}[method] in row
        assert f"{gaps[method].max():.1e}" in row
        assert f'href="#photo-{gaps[method].argmax()}"' in row
    least = {m: first[m].scores for m in first}
    assert f"score {least['gradcam'][0]:.4g}" in text
    assert f"{first['gradcam'].probabilities[0].max():.1%}" in text


def test_report_says_when_it_was_made_in_universal_time(text):
    said = datetime.fromisoformat(re.search(r'<time datetime="([^"]+)">', text)[1])
    assert said.utcoffset() == timedelta(0)
    assert f"{said.day} {said:%B %Y at %H:%M} UTC</time>" in text


def test_report_says_how_to_make_it_again(text):
    plain = html.unescape(text)
    assert "camcore compare 'a b' <c>" in plain
    assert re.search(r"<dt>seed</dt><dd>7</dd>", text)
    assert f"<dt>NumPy</dt><dd>{np.__version__}</dd>" in text
    assert f"<dt>camcore</dt><dd>{camcore.__version__}</dd>" in text


def test_policy_allows_only_the_reports_own_styles_and_script(text):
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1])
    assert policy.startswith("default-src 'none'; img-src data:;")
    parts = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, re.S)
    hashes = {base64.b64encode(hashlib.sha256(p.encode()).digest()).decode() for p in parts}
    assert len(parts) == 3
    assert hashes == set(re.findall(r"'sha256-([^']+)'", policy))
    assert not re.search(r"""\s(style|on\w+)=["']""", text)
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?(https?:)?//", text)


def test_names_cannot_break_out(text):
    assert 'second <b title="x">' not in text
    assert text.count("second &lt;b title=&#34;x&#34;&gt;") > 16
    assert text.count("</style>") == 2
    assert text.count("</script>") == 1


def test_models_are_compared_else_recipes_else_methods(explanations):
    first, second = explanations.values()
    both = as_entries(explanations)
    assert [(h.axis, h.alike) for h in compare_entries(both)] in (
        [("model", ("Grad-CAM",)), ("model", ("LayerCAM",))],
        [("model", ("LayerCAM",)), ("model", ("Grad-CAM",))],
    )
    [methods] = compare_entries(as_entries(first))
    assert (methods.axis, methods.names) == ("method", ("Grad-CAM", "LayerCAM"))
    other = replace(first["gradcam"], recipe="captum", maps=3 * first["gradcam"].maps)
    [recipes] = compare_entries(as_entries([first["gradcam"], other]))
    assert (recipes.axis, recipes.names) == ("recipe", ("paper", "captum"))
    assert recipes.largest == 0 or first["gradcam"].maps.min() > 0  # Stretched to one range.
    assert compare_entries(as_entries(second["gradcam"])) == []
    assert [e.model for e in as_entries([first["gradcam"]] * 2)] == ["at relu2 #1", "at relu2 #2"]


def test_squares_of_two_sizes_are_compared_where_both_models_look(photos, crops, explanations):
    one = explanations["first"]["gradcam"]
    whole = np.random.default_rng(0).random((4, 10, 10)).astype(np.float32)
    wide = replace(one, maps=whole)
    narrow = replace(one, maps=whole[:, 1:-1, 1:-1])
    full = [replace(crop, size=10) for crop in crops]
    entries = [Entry(wide, "wide", crops=full), Entry(narrow, "narrow", crops=crops)]
    assert compare_entries(entries)[0].largest == 0
    assert compare_entries(entries[::-1])[0].largest == 0


def test_large_photographs_are_made_small_and_many_fit_into_one_file(explanations, tmp_path):
    one = explanations["first"]["gradcam"]
    noise = np.random.default_rng(0).integers(0, 256, (25, 37, 3), dtype=np.uint8)
    photo = np.kron(noise, np.ones((40, 40, 1), np.uint8))
    path = camcore.report.write(tmp_path / "r.html", [photo] * 4, one, side=100)
    assert {picture.shape for picture in pictures(path.read_text("utf-8"))} == {(68, 100, 3)}
    many = one[[*range(4)] * 5]
    page = camcore.report.html([photo[:300, :448]] * 20, {"a": many, "b": many})
    assert len(page) < 4e6


def test_photographs_are_read_one_by_one(explanations):
    alive = []

    def read():
        for _ in range(4):
            photo = np.zeros((64, 64, 3), np.uint8)
            alive.append(weakref.ref(photo))
            assert sum(one() is not None for one in alive) <= 2
            yield photo

    camcore.report.html(read(), explanations["first"]["gradcam"], side=16)


def test_a_hundred_photographs_make_a_page_of_bounded_size(explanations):
    noise = np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8)
    photo = np.kron(noise, np.ones((15, 15, 1), np.uint8))
    many = explanations["first"]["gradcam"][[*range(4)] * 25]
    page = camcore.report.html((photo for _ in range(100)), many)
    assert len(page) < 25e6
    assert page.count('class="cell photo-') == 100


def test_report_shows_one_photograph_and_empty_maps(photos, explanations, tmp_path):
    one = explanations["first"]["gradcam"]
    single = replace(
        one,
        maps=np.zeros((1, 8, 8), np.float32),
        scores=one.scores[:1],
        classes=None,
        empty=np.array([True]),
        outputs=np.zeros((1, 3, 4, 4)),
    )
    text = camcore.report.write(tmp_path / "r.html", photos[0] / 255, single).read_text("utf-8")
    assert "nothing speaks for it here" in text
    assert "Agreement" not in text
    assert (
        "camcore.explain(model, images, layer=[&#39;relu2&#39;], method=&#39;gradcam&#39;" in text
    )


def test_a_failure_leaves_the_old_file_and_nothing_besides(photos, explanations, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(InputError, match="3 photographs and explanations of 4"):
        camcore.report.write(path, photos[:3], explanations)
    path.with_name("folder.html").mkdir()
    with pytest.raises(OSError, match="folder"):
        camcore.report.write(tmp_path / "folder.html", photos, explanations)
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.html", "report.html"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"names": ["a"]}, "1 names for 4 photographs"),
        ({"side": 3}, "at least 16"),
        ({"photos": [np.zeros((8, 8))] * 4}, "of shape \\(H, W, 3\\)"),
        ({"explanations": {}}, "at least one"),
        ({"explanations": [3]}, "got a int"),
        ({"explanations": {"m": {"gradcam": [3]}}}, "one explanation for each name"),
    ],
)
def test_report_refuses_what_makes_none(change, says, photos, explanations):
    given = {"photos": photos, "explanations": explanations, **change}
    with pytest.raises(InputError, match=says):
        camcore.report.html(**given)


def test_explanations_must_be_of_the_same_flat_photographs(photos, explanations):
    one = explanations["first"]["gradcam"]
    with pytest.raises(InputError, match="3 and 4 photographs"):
        camcore.report.html(photos, {"a": one, "b": replace(one, maps=one.maps[:3])})
    with pytest.raises(InputError, match=r"expected \(B, H, W\)"):
        camcore.report.html(photos, replace(one, maps=one.maps[..., None]))


def test_without_its_package_the_extra_is_named(photos, explanations, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"camcore\[report\]"):
        camcore.report.html(photos, explanations)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_share_of_strongest_positions_is_that_asked_for(explanations, share):
    first = explanations["first"]
    [found] = compare_entries(as_entries(first), share=share)
    [expected] = camcore.compare(first, share=share).pairs
    np.testing.assert_array_equal(found.pair.overlap, expected.overlap)


def test_maps_in_other_units_are_scaled_unless_told(explanations):
    first = explanations["first"]["gradcam"]
    entries = as_entries([first, replace(first, recipe="captum", maps=5 * first.maps)])
    assert compare_entries(entries, scaled=False)[0].largest == pytest.approx(4, abs=1e-5)
    assert compare_entries(entries, scaled=True)[0].largest < 1e-6
    assert compare_entries(entries)[0].largest < 1e-6


def test_pictures_are_16_pixels_or_more(photos, explanations):
    with pytest.raises(InputError, match=r"side=15 is too small\. Give at least 16 pixels"):
        camcore.report.html(photos, explanations, side=15)
    html_page = camcore.report.html(photos, explanations, side=16)
    assert max(picture.shape[1] for picture in pictures(html_page)) == 16


def test_a_report_of_photographs_needs_the_explanations_alone(require):
    require("jinja2"), require("cv2")
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((20, 30, 3), (24, 20, 3))]
    network = random_network()

    def prepare(picture):
        square = CentreCrop(picture.shape, 8).to_model(picture)
        return np.moveaxis(square[..., :2] / 255, -1, 0)

    result = camcore.explain(
        network, photos, preprocess=prepare_picture(prepare), classes=[*"abcde"]
    )
    alone = camcore.report.html(result, title="T", call="c")
    crops = [one.crop for one in result.photographs]
    entry = Entry(result, crops=crops, classes=result.names)
    given = camcore.report.html(
        photos, entry, title="T", call="c", names=["photograph 1", "photograph 2"]
    )
    assert without_time(alone) == without_time(given)
    with pytest.raises(InputError, match="Arrays were explained, not photographs"):
        camcore.report.html(replace(result, photographs=()))


def prepare_picture(prepare):
    return lambda picture: prepare(np.asarray(picture))


def without_time(page):
    return re.sub(r"<time[^>]*>.*?</time>|\d\d\d\d-\d\d-\d\d[T \d:.+]*", "", page)
