"""Photographs in front of a model: prepared, explained in batches, and drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.batch import (
    ExplainedPhoto,
    Failed,
    PreparedPhoto,
    explain_photos,
    explain_prepared,
    find_photos,
)
from camcore.errors import TargetError
from camcore.photos.io import read_photo, write_image
from camcore.viz import overlay


def pixels(seed, shape=(30, 45, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def explained(tiny):
    """A photograph with its explanation by the tiny model."""
    loaded = tiny.named()
    prepared = PreparedPhoto.for_model(loaded, pixels(0))
    return prepared.explained(camcore.explain(loaded.model, prepared.inputs))


def test_a_prepared_photo_holds_what_the_model_takes(tiny):
    loaded = tiny.named()
    prepared = PreparedPhoto.for_model(loaded, pixels(0))
    square = prepared.crop.to_model(prepared.photo)
    assert square.shape == (8, 8, 3)
    np.testing.assert_array_equal(prepared.inputs, tiny.preprocess(square))


def test_a_map_within_0_to_1_is_shown_as_it_is(explained):
    assert not explained.is_stretched
    np.testing.assert_array_equal(explained.heat, explained.explanation.maps[0])
    np.testing.assert_array_equal(explained.map(), explained.crop.to_photo(explained.heat))
    assert explained.map().shape == (30, 45)
    assert not explained.map()[~explained.crop.seen()].any()


def test_a_map_that_leaves_0_to_1_is_stretched_to_it(explained):
    maps = np.full((1, 8, 8), 5, np.float32)
    maps[0, 0, 0], maps[0, 0, 1] = 3, 3.5
    wide = replace(explained, explanation=replace(explained.explanation, maps=maps))
    assert wide.is_stretched
    assert wide.heat[0, :3].tolist() == [0, 0.25, 1]
    flat = replace(wide, explanation=replace(explained.explanation, maps=np.full_like(maps, 7)))
    assert flat.heat.tolist() == np.zeros((8, 8)).tolist()


@pytest.mark.parametrize("exact", [False, True])
def test_an_overlay_is_bare_where_the_model_did_not_look(explained, exact, require):
    require("cv2")
    maps = np.full((1, 8, 8), 5, np.float32)
    maps[0, 0, 0] = 3
    one = replace(explained, explanation=replace(explained.explanation, maps=maps))
    mixed, seen = one.overlay(exact=exact), one.crop.seen()
    left = one.crop.seen_window[1].start
    assert np.array_equal(mixed[:, : left - 2], one.photo[:, : left - 2])
    assert (mixed[15, left - 2 : left, 0]).tolist() == [0, 255]
    assert np.abs(mixed[seen].astype(int) - one.photo[seen]).mean() > 10


def test_an_exact_overlay_is_the_librarys_own(explained, require):
    require("matplotlib")
    expected = overlay(explained.photo, explained.map())[0]
    seen = explained.crop.seen()
    assert np.array_equal(explained.overlay(exact=True)[seen], expected[seen])


def test_a_map_without_a_crop_covers_the_whole_photograph(explained, require):
    require("matplotlib")
    whole = ExplainedPhoto(explained.photo, None, explained.explanation)
    assert whole.map().shape == (30, 45)
    assert whole.map()[:, 0].any()
    assert np.array_equal(whole.overlay(), overlay(whole.photo, whole.heat)[0])


def test_photos_of_one_batch_are_explained_as_each_alone(tiny):
    loaded = tiny.named()
    explainer = camcore.Explainer(loaded.model, layer="relu2")
    photos = [PreparedPhoto.for_model(loaded, pixels(seed)) for seed in range(3)]
    together = explain_prepared(explainer, photos)
    for photo, one in zip(photos, together, strict=True):
        [alone] = explain_prepared(explainer, [photo])
        assert len(one.explanation) == 1
        assert one.photo is photo.photo
        assert one.explanation.maps == pytest.approx(alone.explanation.maps, abs=1e-6)


def test_one_photograph_that_the_model_refuses_does_not_take_its_batch_along(tmp_path, tiny):
    for seed, name in enumerate(["a", "b", "c"]):
        write_image(tmp_path / f"{name}.png", pixels(seed))
    write_image(tmp_path / "aa.png", np.zeros((30, 45, 3), np.uint8))

    def not_finite_in_the_dark(photo):
        return np.where(photo.any(), tiny.preprocess(photo), np.nan)

    loaded = replace(tiny.named(), preprocess=not_finite_in_the_dark)
    results = dict(explain_photos(loaded, find_photos([tmp_path]).paths, layer="relu1", batch=8))
    assert [path.name for path in results] == ["a.png", "aa.png", "b.png", "c.png"]
    assert "NaN" in str(results.pop(tmp_path / "aa.png"))
    for path, one in results.items():
        photo = PreparedPhoto.for_model(loaded, read_photo(path))
        expected = camcore.explain(loaded.model, photo.inputs, layer="relu1")
        assert one.explanation.maps == pytest.approx(expected.maps, abs=1e-6)
        assert one.explanation.raw["relu1"] == pytest.approx(expected.raw["relu1"], rel=1e-6)
        assert one.explanation.outputs == pytest.approx(expected.outputs, rel=1e-6)
        assert one.map() == pytest.approx(photo.explained(expected).map(), abs=1e-6)


def test_what_finish_returns_is_yielded_and_failures_stay(tmp_path, tiny):
    write_image(tmp_path / "a.png", pixels(0))
    (tmp_path / "b.png").write_text("no picture")
    results = explain_photos(
        tiny.named(),
        find_photos([tmp_path]).paths,
        finish=lambda path, one: (path.name, len(one.explanation)),
    )
    (_, first), (_, second) = results
    assert first == ("a.png", 1)
    assert isinstance(second, Failed)
    assert "is no image" in str(second)


def test_an_unknown_class_ends_the_work(tmp_path, tiny):
    write_image(tmp_path / "a.png", pixels(0))
    with pytest.raises(TargetError, match="99"):
        list(explain_photos(tiny.named(), [tmp_path / "a.png"], target=99))
