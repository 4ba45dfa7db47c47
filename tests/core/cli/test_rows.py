"""What is kept of an evaluated photograph is read again to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.cli.rows import Rows
from camcore.evaluation import Evaluation
from camcore.metrics import BoxAccuracy

RNG = np.random.default_rng(0)


@pytest.fixture
def one():
    ious = np.repeat(RNG.random(6), [1, 4, 2, 1, 1, 3])[None]
    return Evaluation(
        {"gradcam": {"deletion": RNG.random(1), "adcc": np.array([np.nan])},
         "ones": {"deletion": np.array([1e-300]), "adcc": np.array([-0.0])}},
        ("ones",),
        {"gradcam": 7, "ones": 5},
        {"gradcam": 0.1, "ones": 0.25},
        {"gradcam": 1, "ones": 0},
        {"recipe": "paper", "steps": "50"},
        box_accuracy={"gradcam": BoxAccuracy(np.arange(12) * 0.01, ious, np.array([0.3, 0.5])),
         "ones": BoxAccuracy(np.arange(12) * 0.01, np.full((1, 12), np.nan), np.array([0.3, 0.5]))},
    )  # fmt: skip


def test_a_row_is_read_as_it_was_written(tmp_path, one):
    rows = Rows(tmp_path / "rows", {"steps": 4})
    rows.write("in/a.png", [[3, 4], None], one)
    found = rows.read("in/a.png")
    assert [path.name for path in (tmp_path / "rows" / "in").iterdir()] == ["a.png.json"]
    for name in ("controls", "forwards", "seconds", "empty", "settings", "rows", "metrics"):
        assert getattr(found, name) == getattr(one, name)
    for row, metrics in one.values.items():
        for metric, values in metrics.items():
            assert found.values[row][metric].tobytes() == values.tobytes()
    for row, box in one.box_accuracy.items():
        for name in ("thresholds", "values", "iou"):
            np.testing.assert_array_equal(
                getattr(found.box_accuracy[row], name), getattr(box, name)
            )


def test_a_row_is_done_of_its_own_settings_and_sources(tmp_path, one):
    rows = Rows(tmp_path, {"steps": 4})
    assert not rows.is_done("a.png", [[3, 4], None])
    rows.write("a.png", [[3, 4], None], one)
    assert rows.is_done("a.png", [[3, 4], None])
    assert not rows.is_done("a.png", [[3, 5], None])
    assert not rows.is_done("a.png", [[3, 4], [[0, 0, 1, 1]]])
    assert not Rows(tmp_path, {"steps": 5}).is_done("a.png", [[3, 4], None])
    rows.remove(["a.png", "b.png"])
    assert not rows.is_done("a.png", [[3, 4], None])


def test_a_row_appears_whole_or_not_at_all(tmp_path, one, monkeypatch):
    rows = Rows(tmp_path, {})
    rows.write("a.png", [1], one)
    before = rows.file("a.png").read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        rows.write("a.png", [2], one)
    assert rows.file("a.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png.json"]
