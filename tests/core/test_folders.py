"""Which files of a folder are photographs; files that are whole or not there."""

from __future__ import annotations

import os

import numpy as np
import pytest

from camcore._shared.atomic import alone_in, clear_drafts, whole
from camcore.batch.find import find_photos
from camcore.errors import InputError
from camcore.nest import batch_of


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


def test_folders_files_and_patterns(tree):
    found = find_photos(["p"])
    assert (paths(found), found.root, found.passed) == (["p/a.png", "p/b.JPG"], tree / "p", 2)
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
    assert paths(find_photos(["p"], recursive=True, apart_from="p/in")) == ["p/a.png", "p/b.JPG"]


def test_a_file_whose_name_looks_like_a_pattern(tree):
    (tree / "p" / "a[1].png").touch()
    assert paths(find_photos(["p/a[1].png"])) == ["p/a[1].png"]


def test_links_to_folders_are_not_followed_round(tree):
    os.symlink(tree / "p", tree / "p" / "in" / "up")
    assert len(find_photos(["p"], recursive=True).paths) == 4


def test_nothing_found_is_said(tree):
    with pytest.raises(InputError, match=r"r is a folder without photographs; --recursive"):
        find_photos(["r"])
    with pytest.raises(InputError, match=r"p/\*\.webp matches no file"):
        find_photos(["p/*.webp"])


def test_whole_replaces_at_the_end_and_leaves_no_draft(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with whole(path, suffix=".txt") as draft:
        draft.write_text("after")
        assert draft.suffix == ".txt"
        assert path.read_text() == "before"
    assert path.read_text() == "after"

    def fail():
        with whole(path) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "after"


def test_only_drafts_are_cleared(tmp_path):
    kept = [".hidden", "a.part", ".a.part", "a.jpg", ".config.json"]
    drafts = [f".a.jpg.{'0f' * 16}.part", f".v.mp4.{'0f' * 16}.part.mp4", ".a.npz.1234.part"]
    (tmp_path / "in").mkdir()
    for name in (*kept, *drafts, f"in/.b.png.{'a0' * 16}.part"):
        (tmp_path / name).touch()
    clear_drafts(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    with alone_in(tmp_path), pytest.raises(InputError, match="Another run"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass


def test_batch_of_joins_nests():
    one, other = np.ones((1, 2)), np.zeros((2, 2))
    joined = batch_of([{"a": (one, 3)}, {"a": (other, 3)}])
    assert joined["a"][0].tolist() == [[1, 1], [0, 0], [0, 0]]
    assert joined["a"][1] == 3
    with pytest.raises(InputError, match=r"\(2,\), \(3,\)"):
        batch_of([np.ones((1, 2)), np.ones((1, 3))])
