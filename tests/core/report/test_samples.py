"""Volumes and signals in a report: the planes, the traces, their colours and their words."""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.recipes import OverlayStyle
from camcore.report import Entry, samples
from camcore.report.entries import as_entries
from camcore.testing import random_network
from camcore.viz import heat_map

LEADS = ["I", "II", "aVR <x>"]


def explained(rank, count=2):
    inputs = np.random.default_rng(0).normal(size=(count, 2, *[8] * rank))
    network = random_network(rank)
    return camcore.explain(network, inputs, 1, method=["gradcam", "layercam"], activation="softmax")


def with_maps(one, maps):
    maps = np.asarray(maps, np.float32)
    return replace(one, maps=maps, empty=~maps.reshape(len(maps), -1).any(axis=1))


@pytest.fixture(scope="module")
def signals():
    return np.random.default_rng(1).normal(size=(2, 3, 40))


@pytest.fixture(scope="module")
def volumes():
    return np.random.default_rng(1).random((2, 6, 10, 8))


def decoded(uri):
    from PIL import Image

    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    )


def colours(picture):
    return set(map(tuple, np.asarray(picture).reshape(-1, 3).tolist()))


def test_the_planes_of_a_volume_go_through_the_point_where_all_maps_are_strongest(volumes):
    found = explained(3)
    first, second = np.zeros((2, 2, 6, 10, 8), np.float32)
    first[:, 1, 2, 3], second[:, 4, 5, 6] = 1, 1
    first[0, 3, 3, 3] = second[0, 3, 3, 3] = 0.6
    entries = as_entries(
        [with_maps(one, maps) for one, maps in zip(found.values(), (first, second), strict=True)]
    )
    points = [samples.sample_of(volumes[i], entries, i, 100, {}).options["at"] for i in range(2)]
    assert points == [[(3, 3, 3)], [(1, 2, 3)]]
    said = samples.sample_of(volumes[1], entries, 1, 100, {"at": [(0, 0, 0), (5, 9, 7)]})
    assert said.options["at"] == [(5, 9, 7)]
    none = as_entries(with_maps(found["gradcam"], np.zeros((2, 8, 8, 8))))
    assert samples.sample_of(volumes[0], none, 0, 100, {}).options["at"] == [(3, 5, 4)]


def test_a_volumes_pictures_hold_the_colours_of_its_planes(volumes):
    one = explained(3)["gradcam"]
    maps = np.random.default_rng(2).random((2, 6, 10, 8)).astype(np.float32)
    entry = Entry(with_maps(one, maps))
    sample = samples.sample_of(volumes[0], [entry], 0, 900, {"spacing": (2, 1, 1)})
    ((depth, row, column),) = sample.options["at"]
    expected = [
        heat_map(cut)[0] for cut in (maps[0, depth], maps[0, :, row], maps[0, :, :, column])
    ]
    shown = colours(sample.alone(entry, 0))
    for plane in expected:
        # Dashed lines lie over a voxel here and there.
        assert len(colours(plane) & shown) > 0.9 * len(colours(plane))
    grey = np.rint(255 * (volumes[0] - volumes[0].min()) / np.ptp(volumes[0])).astype(int)
    greys = {(level,) * 3 for level in np.unique(grey[depth]).tolist()}
    assert len(greys & colours(sample.bare)) > 0.9 * len(greys)
    assert sample.over(entry, 0).shape == sample.bare.shape == sample.alone(entry, 0).shape
    assert max(sample.bare.shape) == pytest.approx(900, abs=6)
    assert np.abs(sample.over(entry, 0).astype(int) - sample.bare).mean() > 5
    # Letters stay where they are when the map is wiped off.
    np.testing.assert_array_equal(sample.over(entry, 0)[:30], sample.bare[:30])
    assert sample.bare[:30].min() < 50


def test_a_volume_or_signal_without_evidence_is_bare(volumes, signals):
    one = with_maps(explained(3)["gradcam"], np.zeros((2, 6, 10, 8)))
    entry = Entry(one)
    sample = samples.sample_of(volumes[0], [entry], 0, 300, {})
    np.testing.assert_array_equal(sample.over(entry, 0), sample.bare)
    flat = with_maps(explained(1)["gradcam"], np.zeros((2, 40)))
    entry = Entry(replace(flat, overlay_style=OverlayStyle("gray")))
    sample = samples.sample_of(signals[0], [entry], 0, 300, {})
    np.testing.assert_array_equal(sample.over(entry, 0), sample.bare)


@pytest.mark.parametrize("last", [False, True])
def test_a_signals_traces_have_the_colours_of_its_map(signals, last):
    maps = np.repeat([[0.0, 1.0], [1.0, 0.5]], 20, axis=1)
    entry = Entry(with_maps(explained(1)["gradcam"], maps))
    given = signals[0].T if last else signals[0]
    sample = samples.sample_of(given, [entry], 0, 800, {"channels": LEADS, "rate": 10})
    over, alone = sample.over(entry, 0), sample.alone(entry, 0)
    strongest = tuple(heat_map(np.ones((1, 1)))[0, 0, 0].tolist())
    for picture in (over, alone):
        places = np.argwhere((picture == strongest).all(axis=-1))
        # The second half alone, in all three traces.
        assert len(places) > 50
        assert places[:, 1].min() > 0.5 * picture.shape[1]
    assert over.shape == sample.bare.shape
    np.testing.assert_array_equal(over[:, :60], sample.bare[:, :60])
    assert over[:, :60].min() < 50
    assert strongest not in colours(sample.bare)
    rows = np.flatnonzero((over == strongest).all(axis=-1).any(axis=1))
    assert (np.diff(rows) > 3).sum() >= 2
    # Leads other than the map's own length, and the map alone, meet at one length.
    longer = samples.sample_of(np.zeros((3, 500)), [entry], 0, 300, {"rate": 10})
    assert longer.length == 500
    assert longer.over(entry, 0).shape == longer.bare.shape


def test_a_report_of_signals_speaks_of_signals(signals, tmp_path):
    found = explained(1)
    path = camcore.report.write(
        tmp_path / "r.html", signals, found, channels=LEADS, rate=10, names=["A1.dat", "A2.dat"]
    )
    text = html.unescape(path.read_text("utf-8"))
    assert "2 signals,\n2 maps of each" in text
    assert "photograph" not in re.sub(
        r"<script>.*?</script>|<style>.*?</style>", "", text, flags=re.S
    ).replace('data-view="photograph"', "").replace('class="photo', "")
    assert "camcore.explain(model, signals, target=[1, 1]" in text
    assert "evidence in overlays" not in text
    uris = re.findall(r'<img src="(data:image/png;base64,[^"]+)" alt="A', text)
    assert len(uris) == 4
    entries = as_entries(found)
    options = {"channels": LEADS, "rate": 10}
    for place, uri in enumerate(uris):
        index, entry = place // 2, entries[place % 2]
        side = 896
        sample = samples.sample_of(signals[index], entries, index, side, options)
        np.testing.assert_array_equal(decoded(uri), sample.over(entry, index))
    (pair,) = camcore.compare(found).pairs
    assert f"{pair.largest.max():.1e}" in text


def test_a_report_of_volumes_speaks_of_volumes(volumes):
    found = explained(3)
    text = camcore.report.html(volumes, found, spacing=(2, 1, 1))
    assert "2 volumes,\n2 maps of each" in text
    assert "All maps of a volume are shown in the same planes" in text
    assert "evidence in overlays, over mid grey" in text
    assert text.count('alt="volume 1 with its map of class 1 laid over') == 2
    alone = camcore.report.html(volumes[0], found["gradcam"][0])
    batch = camcore.report.html(volumes[:1], found["gradcam"][0])
    listed = camcore.report.html([volumes[0]], found["gradcam"][0])
    pictures = [re.findall(r'data-map="([^"]+)"', page) for page in (alone, batch, listed)]
    assert pictures[0] == pictures[1] == pictures[2]
    assert len(pictures[0]) == 1


def test_what_does_not_fit_is_refused(signals, volumes):
    flat, deep = explained(1), explained(3)
    with pytest.raises(InputError, match="no option 'spacing'; choose from channel_axis, channels"):
        camcore.report.html(signals, flat, spacing=(1, 1, 1))
    with pytest.raises(InputError, match=r"no option 'leads'; choose from affine, at, .*spacing"):
        camcore.report.html(volumes, deep, leads=LEADS)
    with pytest.raises(InputError, match="1 signals and explanations of 2"):
        camcore.report.html(signals[:1], flat)
    with pytest.raises(InputError, match="1 names for 2 volumes"):
        camcore.report.html(volumes, deep, names=["a"])
    with pytest.raises(InputError, match=r"A volume has shape \(1, 6, 10, 8\)"):
        camcore.report.html(volumes[:, None], deep)
    with pytest.raises(InputError, match="2 names for 3 channels"):
        camcore.report.html(signals, flat, channels=["a", "b"])
    apart = replace(deep["gradcam"], frame="layer")
    with pytest.raises(InputError, match=r"relu2 lie on the layer's own grid \(8, 8, 8\)"):
        camcore.report.html(volumes, apart)
    with pytest.raises(InputError, match="cannot share a report"):
        camcore.report.html(signals, [flat["gradcam"], deep["gradcam"]])
    with pytest.raises(InputError, match="Give the photographs, volumes or signals before"):
        camcore.report.html(flat)
