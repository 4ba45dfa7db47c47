"""Which files of a folder are photographs."""

from __future__ import annotations

import os

import pytest

from camcore.batch import find_photos
from camcore.batch.find import PHOTOS, VIDEOS
from camcore.errors import InputError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        *("p/b.JPG", "p/a.png", "p/notes.txt", "p/clip.mp4", "p/.c.png", "p/a.overlay.jpg"),
        *("p/in/a.png", "p/in/deep/d.tiff", "q/a.png", "r/s.txt"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def paths(found):
    return [path.as_posix() for path in found.paths]


def test_photographs_are_found_in_folders_files_and_patterns(tree):
    found = find_photos(["p"])
    assert (paths(found), found.root, found.ignored) == (["p/a.png", "p/b.JPG"], tree / "p", 2)
    found = find_photos(["p"], recursive=True)
    assert paths(found) == ["p/a.png", "p/b.JPG", "p/in/a.png", "p/in/deep/d.tiff"]
    assert [found.within(path).as_posix() for path in found.paths][2:] == [
        "in/a.png",
        "in/deep/d.tiff",
    ]
    # Each once, under the name it first came by, and in the order given.
    found = find_photos([tree / "q", "p/**/a.png", "p/../p/a.png", "p/notes.txt"])
    assert paths(found) == [f"{tree}/q/a.png", "p/a.png", "p/in/a.png", "p/notes.txt"]
    assert found.root == tree
    assert paths(find_photos(["p"], recursive=True, exclude="p/in")) == ["p/a.png", "p/b.JPG"]


def test_a_file_whose_name_looks_like_a_pattern_is_found(tree):
    (tree / "p" / "a[1].png").touch()
    assert paths(find_photos(["p/a[1].png"])) == ["p/a[1].png"]


def test_links_to_folders_are_not_followed_round(tree):
    os.symlink(tree / "p", tree / "p" / "in" / "up")
    assert len(find_photos(["p"], recursive=True).paths) == 4


def test_finding_nothing_is_an_error(tree):
    with pytest.raises(InputError, match=r"r is a folder without photographs; --recursive"):
        find_photos(["r"])
    with pytest.raises(InputError, match=r"p/\*\.webp matches no file"):
        find_photos(["p/*.webp"])


def test_which_suffixes_are_photographs_and_which_are_videos():
    photos = "apng avif bmp dcm gif heic heif ico j2k jfif jp2 jpe jpeg jpg pbm pgm png pnm ppm "
    photos += "tga tif tiff webp"
    assert {f".{kind}" for kind in photos.split()} == PHOTOS
    assert {
        f".{kind}" for kind in ["avi", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "webm", "wmv"]
    } == VIDEOS


@pytest.mark.parametrize("end", [".overlay.jpg", ".overlay.png", ".figure.png"])
def test_own_pictures_in_a_folder_are_no_photographs(tmp_path, end):
    for name in ("cat.png", f"cat{end}"):
        (tmp_path / name).touch()
    assert [path.name for path in find_photos([str(tmp_path)]).paths] == ["cat.png"]
