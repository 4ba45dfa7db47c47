"""Photographs of studies: which, in which order, and what cannot be read."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError, MissingExtraError
from camcore.photos import write_image
from camcore.studies import photos
from camcore.studies.study import Setting


@pytest.fixture(autouse=True)
def _packages(require):
    for package in ("skimage", "sklearn", "PIL"):
        require(package)


@pytest.fixture
def foolbox(tmp_path, monkeypatch):
    """A package of the name whose import fails, with two photographs and a picture of digits."""
    data = tmp_path / "site" / "foolbox" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise RuntimeError('imported')\n")
    for value, name in ((9, "imagenet_01_559.jpg"), (7, "imagenet_00_243.jpg"), (1, "mnist_0.jpg")):
        write_image(data / name, np.full((4, 6, 3), value, np.uint8))
    monkeypatch.syspath_prepend(tmp_path / "site")
    return data


@pytest.fixture
def folder(tmp_path):
    """Five photographs, two of them in a folder within; each of one value."""
    home = tmp_path / "mine"
    (home / "n01440764").mkdir(parents=True)
    names = ("a.png", "b.png", "c.png", "n01440764/d.png", "n01440764/e.png")
    for value, name in enumerate(names):
        write_image(home / name, np.full((4, 6, 3), value, np.uint8))
    return home


def values(found):
    return [int(one.read()[0, 0, 0]) for one in found.chosen]


def test_packages_bring_them_and_foolbox_is_not_imported(foolbox):
    found = photos.photographs(Setting("torch"))
    assert [one.name for one in found.chosen] == [
        "imagenet_00_243.jpg",
        "imagenet_01_559.jpg",
        *("chelsea", "coffee", "astronaut", "rocket", "camera", "motorcycle"),
        *("china.jpg", "flower.jpg"),
    ]
    assert values(found)[:2] == [7, 9]
    for one in found.chosen:
        pixels = one.read()
        assert (pixels.dtype, pixels.ndim, pixels.shape[-1]) == (np.uint8, 3, 3)
    (note,) = found.notes()
    assert note == (
        "Photographs: 10, of which foolbox ships 2 of ImageNet's classes, scikit-image 6 and "
        "scikit-learn 2."
    )


def test_without_foolbox_its_name_is_said_unless_others_are_enough(monkeypatch, folder):
    monkeypatch.setattr(photos, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install foolbox==3\.3\.4; or .* --photos\."):
        photos.photographs(Setting("torch"))
    small = photos.photographs(Setting("torch", small=True))
    assert [one.name for one in small.chosen] == ["chelsea", "coffee", "astronaut", "rocket"]
    assert len(photos.photographs(Setting("torch", photos=folder))) == 5


def test_a_foolbox_without_photographs_is_refused(foolbox):
    for path in foolbox.glob("imagenet_*"):
        path.unlink()
    with pytest.raises(InputError, match="has no photographs imagenet_"):
        photos.photographs(Setting("torch"))


def test_all_of_a_folder_are_taken_where_there_are_few(folder):
    found = photos.photographs(Setting("torch", photos=folder))
    assert values(found) == [0, 1, 2, 3, 4]
    assert found.source == "all 5 of the folder mine"


def test_some_of_a_folder_are_drawn_by_the_seed(folder, monkeypatch):
    monkeypatch.setattr(photos, "MOST", 3)
    drawn = [values(photos.photographs(Setting("torch", photos=folder, seed=s))) for s in range(9)]
    assert drawn[0] == values(photos.photographs(Setting("tensorflow", photos=folder)))
    assert all(one == sorted(set(one)) and len(one) == 3 for one in drawn)
    assert len({tuple(one) for one in drawn}) > 1
    found = photos.photographs(Setting("torch", photos=folder, seed=4))
    assert found.source == "3 of 5 of the folder mine, drawn with the seed 4"


def test_a_small_run_takes_four_of_a_folder(folder):
    assert len(photos.photographs(Setting("torch", small=True, photos=folder))) == 4


def test_groups_hold_every_photograph_once(folder):
    found = photos.photographs(Setting("torch", photos=folder))
    groups = [[int(one[0, 0, 0]) for one in group] for group in found.groups(2)]
    assert groups == [[0, 1], [2, 3], [4]]
    assert [len(group) for group in found.first(2).groups(2)] == [2]


@pytest.mark.parametrize("broken", ["a.png", "c.png", "n01440764/e.png"])
def test_what_cannot_be_read_is_left_out_and_named(folder, broken):
    (folder / broken).write_bytes(b"no picture")
    found = photos.photographs(Setting("torch", photos=folder))
    for _ in range(2):  # a study reads them for each layer
        assert sum(len(group) for group in found.groups(2)) == 4
    assert list(found.notes())[1:] == [f"Left out, as they cannot be read: {broken}."]


def test_where_nothing_can_be_read_the_first_reason_is_said(folder):
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no picture")
    found = photos.photographs(Setting("torch", photos=folder))
    with pytest.raises(
        InputError, match=r"None of the 5 photographs can be read; the first: .*a\.p"
    ):
        list(found.groups())


def test_a_folder_without_photographs_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="folder without photographs"):
        photos.photographs(Setting("torch", photos=tmp_path / "empty"))


@pytest.mark.parametrize("name", ["masks", "data"])
def test_what_has_no_use_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=f"no use for --{name} .* Leave it out"):
        photos.photographs(Setting("torch", small=True, **{name: tmp_path}))
