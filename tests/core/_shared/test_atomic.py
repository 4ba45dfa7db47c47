"""Files that are whole or not there, and folders that one process writes to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from camcore._shared.atomic import alone_in, check_apart, clear_drafts, whole
from camcore.errors import FileError, InputError


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


def test_a_folder_without_a_name_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"\. is a folder, which no file"), whole(Path(".")):
        pytest.fail("nothing is to be written")
    assert not list(tmp_path.iterdir())


def test_drafts_are_beside_the_file_unique_and_short(tmp_path):
    longest = tmp_path / ("n" * 251 + ".txt")
    with whole(longest, suffix=".mp4") as draft, whole(longest) as other:
        assert draft.parent == other.parent == tmp_path
        assert draft != other
        assert len(draft.name) < 40
        draft.write_text("one")
        other.write_text("other")
    assert longest.read_text() == "one"
    assert list(tmp_path.iterdir()) == [longest]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_write_that_the_system_refuses_is_a_clear_error_with_its_number(code, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    refused = OSError(code, os.strerror(code))

    def write():
        with whole(path) as draft:
            draft.write_text("half")
            raise refused

    with pytest.raises(FileError, match=f"a.txt cannot be written: {os.strerror(code)}.") as raised:
        write()
    assert raised.value.errno == code
    assert raised.value.__cause__ is refused
    assert ("room" in str(raised.value)) == (code != errno.EIO)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "error",
    [OSError("the model's own"), FileNotFoundError(errno.ENOENT, "not there", "its weights")],
)
def test_an_error_that_is_not_of_the_file_stays_what_it_is(error, tmp_path):
    def work():
        with whole(tmp_path / "a.txt"):
            raise error

    with pytest.raises(OSError, match=str(error).replace("[", r"\[")) as raised:
        work()
    assert raised.value is error


def test_what_a_file_cannot_replace_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path, says in (
        (tmp_path, "is a folder"),
        (Path(os.devnull), "is a device"),
        (tmp_path / ("n" * 256), "File name too long"),
        (tmp_path / "no" / "a.txt", "No such file or directory"),
        (tmp_path / "file" / "a.txt", "Not a directory"),
    ):

        def write(path=path):
            with whole(path) as draft:
                draft.write_text("something")

        with pytest.raises(FileError, match=says):
            write()
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert not Path(os.devnull).is_file()


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


def test_outputs_are_no_inputs_whatever_their_names(tmp_path):
    (tmp_path / "in").mkdir()
    photo = tmp_path / "in" / "a.jpg"
    photo.write_text("photo")
    os.symlink(photo, tmp_path / "soft.jpg")
    os.link(photo, tmp_path / "hard.jpg")
    os.symlink(tmp_path / "in", tmp_path / "also")
    os.symlink(tmp_path / "nothing", tmp_path / "dangling.jpg")
    check_apart([photo], [tmp_path / "b.jpg", tmp_path / "in" / "b.jpg"])
    for output in (
        *("in/a.jpg", "in/../in/a.jpg", "also/a.jpg", "soft.jpg", "hard.jpg", "in/A.JPG"),
    ):
        with pytest.raises(FileError, match=r"would be written over .*in/a\.jpg"):
            check_apart([photo], [tmp_path / output])
    for name in ("soft.jpg", "dangling.jpg"):  # a link is as much an input as what it leads to
        with pytest.raises(FileError, match="would be written over"):
            check_apart([tmp_path / name], [tmp_path / name])
    with pytest.raises(FileError, match="would be written over"):
        check_apart([tmp_path / "soft.jpg"], [photo])


@pytest.mark.parametrize("names", [("a.npz", "A.npz"), ("é.npz", "e\u0301.npz"), ("x", "./x")])
def test_outputs_are_told_apart_on_every_system(names, tmp_path):
    with pytest.raises(FileError, match=r"would be one file\. Rename"):
        check_apart([], [tmp_path / name for name in names])
