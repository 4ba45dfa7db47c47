"""Whatever a foreign parser raises becomes one sentence about the file, with its cause."""

from __future__ import annotations

import re
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest

from camcore._shared import reading as shared
from camcore._shared.reading import read_arrays, reading
from camcore.errors import InputError, MissingFileError, TargetError


@pytest.fixture
def file(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    return tmp_path / "a.bin"


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (KeyError("weights"), "'weights'."),
        (ValueError("bad magic"), "bad magic."),
        (ValueError("  bad magic!\nand pages of advice"), "bad magic!"),
        (EOFError(), "EOFError."),
        (ValueError("\nnothing on the first line"), "nothing on the first line."),
        (OSError("x" * 300), "x" * 300 + "."),
        (OSError("x" * 301), "x" * 300 + " ..."),
    ],
)
def test_what_a_parser_raises_is_said_in_one_sentence(file, raised, said):
    with pytest.raises(InputError) as caught, reading(file, "numbers"):
        raise raised
    assert str(caught.value) == f"{file} cannot be read: {said} Expected numbers."
    assert caught.value.__cause__ is raised


def test_our_own_errors_come_out_unchanged(file):
    with pytest.raises(TargetError, match="as it was"), reading(file, "numbers"):
        raise TargetError("as it was")


def test_what_is_no_file_is_named_before_anything_is_read(tmp_path):
    words = r"none\.npz does not exist.*Expected numbers"
    missing = reading(tmp_path / "none.npz", "numbers")
    with pytest.raises(MissingFileError, match=words), missing:
        raise AssertionError
    words = re.escape(f"{tmp_path} is odd: it is a folder. Expected numbers.")
    with pytest.raises(InputError, match=words), reading(tmp_path, "numbers", refusal="is odd"):
        raise AssertionError


@pytest.mark.parametrize(("size", "refused"), [(2**20, False), (2**20 + 1, True)])
def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(
    size, refused, tmp_path, monkeypatch
):
    monkeypatch.setattr(shared, "_ALWAYS", 2**20)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(size))
    assert size > 200 * path.stat().st_size
    words = f"would unpack to {size:,}, more than is safe"
    outcome = pytest.raises(InputError, match=words) if refused else nullcontext()
    with outcome, reading(path, "numbers"):
        pass


def test_arrays_are_read_in_either_order_of_memory(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    path = tmp_path / "a.npz"
    np.savez(path, rows=values, columns=np.asfortranarray(values), one=np.float32(3))
    found = read_arrays(path)
    np.testing.assert_array_equal(found["rows"], values)
    np.testing.assert_array_equal(found["columns"], values)
    assert found["one"].shape == ()
    np.savez(path, objects=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="objects"):
        read_arrays(path)
