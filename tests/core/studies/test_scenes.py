"""Scenes of cut-out objects: what is composed, what is chosen, and what is read of a folder."""

from __future__ import annotations

import numpy as np
import pytest
from colours import COLOURS, colour_network, disc, write_discs
from PIL import Image

from camcore.errors import CamcoreError, InputError
from camcore.studies import scenes
from camcore.studies.data import STAMPS
from camcore.studies.scenes import (
    Draft,
    Scene,
    Stamp,
    beside,
    chosen,
    cut_outs,
    drafts,
    laid,
    recognised,
    scaled_to,
    scenes_of,
)
from camcore.studies.study import Setting

GREY = np.full((224, 224, 3), 127, np.uint8)


@pytest.fixture(scope="module")
def network():
    return colour_network()


def test_an_object_is_laid_over_its_background_by_how_opaque_it_is():
    background = np.full((3, 4, 3), 100, np.uint8)
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = 0, 127, 128, 255
    picture, mask = laid(background, pixels[:, :, :], 1, 0)
    # 100 + (200 − 100) · a / 255 of red, 100 − 100 · a / 255 of the others, rounded.
    assert picture[1].tolist() == [[100, 100, 100], [150, 50, 50], [150, 50, 50], [200, 0, 0]]
    assert mask.tolist() == [[False] * 4, [False, False, True, True], [False] * 4]
    assert np.all(picture[[0, 2]] == 100)
    assert np.all(background == 100)


def test_transparent_colours_do_not_bleed():
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, ::2] = 255, 0, 0, 255
    pixels[:, 1::2] = 0, 255, 0, 0
    assert scaled_to(pixels, 2).tolist() == [[[255, 0, 0, 128]] * 2] * 2


def test_the_longer_side_is_what_is_asked_for():
    assert scaled_to(np.zeros((40, 80, 4), np.uint8), 20).shape == (10, 20, 4)
    assert scaled_to(np.zeros((80, 40, 4), np.uint8), 160).shape == (160, 80, 4)


def test_cut_outs_are_read_and_others_left_out(tmp_path):
    pixels = np.zeros((100, 100, 4), np.uint8)
    pixels[10:90, 20:85] = (*COLOURS["red"], 255)
    pixels[10:30, 20:40] = 0, 0, 0, 127
    for folder in ("animals", "animals/cartoon", "symbols/math"):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / folder / "cat.png")
    (tmp_path / "animals/note.txt").write_text("no picture")
    whole = np.full((100, 100, 4), 255, np.uint8)
    Image.fromarray(whole).save(tmp_path / "animals/box.png")
    Image.fromarray(whole * 0).save(tmp_path / "animals/nothing.png")
    Image.fromarray(disc(COLOURS["red"], 63)).save(tmp_path / "animals/small.png")
    Image.fromarray(disc(COLOURS["red"], 64)).save(tmp_path / "animals/large.png")
    found = cut_outs(tmp_path)
    assert [stamp.name for stamp in found] == ["animals/cat", "animals/large"]
    np.testing.assert_array_equal(found[0].pixels, pixels[10:90, 20:85])


def test_missing_data_says_what_to_install(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="apt install tuxpaint-stamps-default"):
        cut_outs(tmp_path / "none")
    with pytest.raises(InputError, match="holds no cut-out objects"):
        cut_outs(tmp_path)
    monkeypatch.setattr(scenes, "STAMPS", tmp_path / "not-there")
    with pytest.raises(InputError, match=r"There is no folder .*not-there"):
        cut_outs()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(CamcoreError, match=r"broken\.png"):
        cut_outs(tmp_path)


def test_two_objects_lie_each_in_its_half_and_masks_are_exact():
    stamps = [Stamp(name, disc(COLOURS[name])) for name in ("red", "blue")]
    for seed in range(20):
        random = np.random.default_rng(seed)
        draft = beside([(stamps[0], 0), (stamps[1], 2)], GREY, random)
        scene = draft.scene
        assert (scene.names, scene.classes) == (("red", "blue"), (0, 2))
        for mask, half in zip(scene.masks, (slice(4, 108), slice(116, 220)), strict=True):
            inside = mask[4:220, half]
            assert inside.sum() == mask.sum()
            rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
            assert 90 <= np.ptp(rows) + 1 <= 104
            assert np.ptp(columns) == np.ptp(rows)
            # A disc fills π / 4 of its square.
            assert mask.sum() / (np.ptp(rows) + 1) ** 2 == pytest.approx(np.pi / 4, rel=0.03)
        # Nearer to the object's colour than to grey just where its mask says so.
        red, blue = scene.masks
        np.testing.assert_array_equal(scene.view[..., 1] < 64, red | blue)
        np.testing.assert_array_equal((scene.view[..., 0] >= 192), red)
        np.testing.assert_array_equal((scene.view[..., 2] >= 192), blue)
        assert np.all(scene.view[:, 108:116] == 127)


def test_an_object_is_taken_away_and_the_other_stays():
    stamps = [Stamp(name, disc(COLOURS[name])) for name in ("red", "blue")]
    background = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    draft = beside([(stamps[0], 0), (stamps[1], 2)], background, np.random.default_rng(1))
    left, right = np.s_[:, :112], np.s_[:, 112:]
    for without, gone, stays in zip(draft.without, (left, right), (right, left), strict=True):
        np.testing.assert_array_equal(without[gone], background[gone])
        np.testing.assert_array_equal(without[stays], draft.scene.view[stays])
        assert np.any(without[stays] != background[stays])


def test_drafts_are_the_same_again_and_pair_other_classes():
    objects = [(Stamp(str(i), disc((i, 0, 0))), i % 2) for i in range(4)]
    backgrounds = [GREY, GREY // 2]
    first, again = drafts(objects, 3, backgrounds), drafts(objects, 3, backgrounds)
    pairs = set()
    for number in range(24):
        one, other = next(first), next(again)
        np.testing.assert_array_equal(one.scene.view, other.scene.view)
        assert one.scene.view[0, 0, 0] == (127, 63)[number % 2]
        assert set(one.scene.classes) == {0, 1}
        pairs.add(one.scene.names)
    assert len(pairs) == 8  # every ordered pair of one of two and one of the other two
    other_seed = next(drafts(objects, 4, backgrounds)).scene
    assert np.any(other_seed.view != next(drafts(objects, 3, backgrounds)).scene.view)
    with pytest.raises(InputError, match="two of different classes"):
        next(drafts(objects[::2], 0, backgrounds))


def test_objects_are_recognised_as_they_are_and_mirrored():
    # The middle of the left and of the right half of the object, as shares of 255.
    halves = {"both": (204, 153), "left": (204, 102), "right": (102, 204), "none": (51, 51)}
    stamps = []
    for name, (one, other) in halves.items():
        pixels = np.full((64, 64, 4), 255, np.uint8)
        pixels[:, :32, 0], pixels[:, 32:, 0] = one, other
        stamps.append(Stamp(name, pixels))

    def predict(pictures):
        share = np.array([picture[112, 64, 0] / 255 for picture in pictures])
        return np.stack([share, (1 - share) / 2, (1 - share) / 2], axis=1)

    found, nearest = recognised(stamps, predict)
    assert [(stamp.name, which) for stamp, which in found] == [("both", 0)]
    # 153/255 is 0.1 above one half, and 102/255 as far below; mirrored, "none" is never looked at.
    assert nearest == pytest.approx(0.1)


def test_scenes_are_chosen_by_what_each_object_is_the_cause_of():
    def draft(number):
        view = np.full((2, 2, 3), number, np.uint8)
        scene = Scene(view, np.zeros((2, 2, 2), bool), (1, 2), ("a", "b"))
        return Draft(scene, (view + 100, view + 200))

    def probabilities(both, without=((0, 0.5), (0.5, 0))):
        return [both, *without]

    table = {
        0: probabilities((0.3, 0.06)),
        1: probabilities((0.3, 0.047)),
        2: probabilities((0.3, 0.2), ((0.012, 0.5), (0.5, 0.001))),
        3: probabilities((0.2, 0.4), ((0.001, 0.9), (0.9, 0.009))),
        4: probabilities((0.05001, 0.4)),
    }

    def predict(pictures):
        found = np.zeros((len(pictures), 3))
        for row, picture in zip(found, pictures, strict=True):
            number = int(picture[0, 0, 0])
            row[1:] = table[number % 100][number // 100]
        return found

    some, looked_at, nearest = chosen(map(draft, range(4)), predict, 10)
    assert [int(scene.view[0, 0, 0]) for scene in some] == [0, 3]
    assert some[1].probabilities == [0.2, 0.4]
    assert looked_at == 4
    assert nearest == pytest.approx(0.001)
    # The fifth is never decided about, as two are enough.
    enough = chosen(map(draft, range(5)), predict, 2)
    assert (len(enough[0]), enough[1]) == (2, 4)
    assert enough[2] == pytest.approx(0.001)


def test_a_study_s_scenes_are_those_of_recognised_objects(tmp_path, network):
    setting = Setting("torch", small=True, data=write_discs(tmp_path / "discs"))
    found = scenes_of(setting, network, 3)
    assert found.paired
    assert len(found.scenes) == 3
    for scene in found.scenes:
        shown = [name.partition("-")[2] for name in scene.names]
        assert [list(COLOURS)[which] for which in scene.classes] == shown
        for mask, colour in zip(scene.masks, shown, strict=True):
            channel = list(COLOURS).index(colour)
            assert np.all(scene.view[mask][:, channel] > 160)
    assert found.about[0].startswith("4 of 4 cut-out objects are recognised alone")
    assert found.about[1].startswith("3 of 3 scenes drawn")
    fewer = scenes_of(setting, network, 2)
    assert fewer.numbers["scenes"] == 2
    for one, other in zip(fewer.scenes, found.scenes, strict=False):
        np.testing.assert_array_equal(one.view, other.view)
    marks = [sum(s.classes) + int(s.masks.sum()) for s in fewer.scenes]
    assert fewer.numbers["check sum of scenes"] == marks[0] + 2 * marks[1]


def test_too_few_scenes_are_an_error(tmp_path, network, monkeypatch):
    monkeypatch.setattr(scenes, "TOGETHER", 0.9)
    setting = Setting("torch", small=True, data=write_discs(tmp_path / "discs"))
    with pytest.raises(InputError, match="In 0 of 80 scenes both objects are recognised"):
        scenes_of(setting, network, 2)


@pytest.fixture
def photographs(tmp_path):
    """Three photographs, larger than the network's square; two of them have masks."""
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for number, colour in enumerate(COLOURS.values()):
        photo = np.full((448, 896, 3), 127, np.uint8)
        photo[100:300, 300:600] = colour
        Image.fromarray(photo).save(tmp_path / f"photos/{number}.png")
        if number < 2:
            mask = np.zeros((448, 896), np.uint8)
            mask[100:300, 300:600] = 255
            Image.fromarray(mask).save(tmp_path / f"masks/{number}.png")
    (tmp_path / "photos/readme.txt").write_text("not a picture")
    return Setting("torch", photos=tmp_path / "photos", masks=tmp_path / "masks")


def test_photographs_are_read_with_their_masks(photographs, network):
    found = scenes_of(photographs, network, 5)
    assert not found.paired
    assert found.about[0].startswith("2 of 3 photographs")
    assert {scene.names for scene in found.scenes} == {("0",), ("1",)}
    for scene in found.scenes:
        assert scene.classes == (int(scene.names[0]),)
        # Scaled by a half, and 112 pixels cut off at the left.
        expected = np.zeros((224, 224), bool)
        expected[50:150, 150 - 112 : 300 - 112] = True
        np.testing.assert_array_equal(scene.masks, expected[None])
        assert np.all(np.abs(scene.view[60:140, 50:180, scene.classes[0]] - 255.0) < 1)


def test_photographs_need_masks_of_their_size_and_some_of_them(photographs, network, tmp_path):
    with pytest.raises(InputError, match="give both folders"):
        scenes_of(Setting("torch", photos=photographs.photos), network, 2)
    with pytest.raises(InputError, match="give both folders"):
        scenes_of(Setting("torch", masks=photographs.masks), network, 2)
    Image.fromarray(np.zeros((448, 896), np.uint8)).save(tmp_path / "masks/1.png")
    with pytest.raises(InputError, match=r"2 of 3 photographs .* and 1 of these mark"):
        scenes_of(photographs, network, 2)
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(tmp_path / "masks/0.png")
    with pytest.raises(InputError, match="does not lie over a photograph"):
        scenes_of(photographs, network, 2)


def test_debian_s_stamps_are_cut_out():
    if not STAMPS.is_dir():
        pytest.skip(f"{STAMPS} is not there: apt install tuxpaint-stamps-default")
    found = cut_outs()
    assert len(found) > 300
    assert len({stamp.name for stamp in found}) == len(found)
    for stamp in found:
        opaque = stamp.pixels[..., 3] >= 128
        assert opaque.any(axis=0)[[0, -1]].all()
        assert opaque.any(axis=1)[[0, -1]].all()
