"""Files that are whole or not there, and folders that one process writes to."""

from __future__ import annotations

import pytest

from camcore._shared.atomic import alone_in, clear_drafts, whole
from camcore.errors import InputError


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


def test_clearing_drafts_leaves_other_files(tmp_path):
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
