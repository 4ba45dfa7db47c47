"""Long work shows how far it has come where that is wanted, and only there."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import camcore
from camcore._shared.progress import Bar, track
from camcore.testing import random_network

PHOTOS = np.random.default_rng(0).normal(size=(1, 2, 8, 8))
LABELS = {
    "scorecam": "Score-CAM",
    "sscam": "SS-CAM",
    "iscam": "IS-CAM",
    "gscorecam": "gScoreCAM",
    "groupcam": "Group-CAM",
    "opticam": "Opti-CAM",
    "polycam": "Poly-CAM",
    "ablationcam": "Ablation-CAM",
    "reciprocam": "Recipro-CAM",
    "occlusion": "Occlusion",
    "rise": "RISE",
    "smoothgrad": "SmoothGrad",
    "smoothgradcampp": "Smooth Grad-CAM++",
    "smoothgradsq": "SmoothGrad-Squared",
    "vargrad": "VarGrad",
    "integratedgradients": "Integrated gradients",
    "idgi": "IDGI",
    "gradientshap": "GradientSHAP",
    "guidedig": "Guided IG",
    "blurig": "Blur IG",
}
FEW = {"masks": 8, "cells": 3, "window": 4, "steps": 2, "samples": 2}


@pytest.mark.parametrize("name", LABELS)
def test_methods_with_many_passes_show_a_bar_where_asked(name, capsys, require):
    require("tqdm")
    options = {k: v for k, v in FEW.items() if k in camcore.methods.find(name).takes()}
    network = random_network(head="deep")  # Ablation-CAM needs no further pass behind pooling
    maps = [
        camcore.explain(network, PHOTOS, 1, "relu2", name, progress=progress, **options)
        for progress in (False, None)
    ]
    assert capsys.readouterr() == ("", "")  # left out, only a terminal shows it
    maps.append(camcore.explain(network, PHOTOS, 1, "relu2", name, progress=True, **options))
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{LABELS[name]}:" in err
    assert "0%|" in err
    for other in maps[1:]:
        np.testing.assert_array_equal(other.maps, maps[0].maps)


@pytest.mark.parametrize("show", [True, False, None])
def test_track_yields_every_item_in_order(show):
    assert list(track(range(5), "work", show)) == [0, 1, 2, 3, 4]


def test_track_shows_no_bar_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    items = [1, 2]
    assert track(items, "work") is items


def test_bar_in_a_terminal_waits_a_second(monkeypatch, require):
    tqdm = require("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = track([1, 2], "work")
    assert isinstance(bar, tqdm.tqdm)
    assert bar.delay == 1
    assert track([1, 2], "work", show=True).delay == 0
    assert track([1, 2], "work", show=False) == [1, 2]


def test_track_is_silent_without_tqdm(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert list(track([1, 2], "work", show=True)) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_bar_counts_what_it_is_told(capsys, require):
    require("tqdm")
    with Bar(3, "photo", show=True) as bar:
        assert bar
        bar.advance()
        bar.advance()
    out, err = capsys.readouterr()
    assert out == ""
    assert "2/3" in err
    assert "photo/s" in err


def test_bars_of_track_stand_below_a_bar(capsys, require):
    require("tqdm")
    with Bar(2, show=True) as bar:
        for _ in track([1, 2], "inner", show=True):
            pass
        bar.advance()
    err = capsys.readouterr().err
    assert "\n\rinner:" in err  # on the next line, not over the outer bar
    assert err.index("0/2") < err.index("inner:") < err.rindex("1/2")


def test_a_bar_that_is_not_shown_may_be_used_as_one_that_is(monkeypatch, capsys):
    for show, missing in ((False, False), (None, False), (True, True)):
        if missing:
            monkeypatch.setitem(sys.modules, "tqdm", None)
        with Bar(2, show=show) as bar:
            assert not bar
            bar.describe("work")
            bar.advance()
            bar.clear()
    assert capsys.readouterr() == ("", "")
