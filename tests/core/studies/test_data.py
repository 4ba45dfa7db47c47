"""Fashion-MNIST's files: read to the byte, or refused in words."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from camcore.errors import FileError, InputError
from camcore.studies import data


@pytest.fixture
def files(require):
    return require("idx_files")


@pytest.fixture
def folder(files, tmp_path):
    return files.write_fashion(tmp_path / "fashion", files.striped(12), files.striped(7, seed=1))


def test_what_was_written_is_read(files, folder):
    read = data.fashion_mnist(folder)
    assert list(read) == ["train", "t10k"]
    for part, written in (("train", files.striped(12)), ("t10k", files.striped(7, seed=1))):
        for found, expected in zip(read[part], written, strict=True):
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, expected)


def test_without_a_folder_it_is_where_its_package_puts_it(folder, monkeypatch):
    monkeypatch.setattr(data, "FASHION_MNIST", folder)
    assert data.fashion_mnist()["t10k"][1].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_a_missing_folder_is_answered_by_what_to_install(tmp_path):
    place = tmp_path / "nowhere"
    with pytest.raises(InputError) as error:
        data.fashion_mnist(place)
    assert str(error.value) == (
        f"There is no folder {place}. Install its data with: apt install dataset-fashion-mnist; or "
        "give the folder of a copy by --data."
    )


def test_a_missing_file_is_named(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileError, match=r"t10k-labels-idx1-ubyte\.gz is not an IDX file of bytes"):
        data.fashion_mnist(folder)


def damaged(whole):
    """Files that are no IDX files of bytes, by what is wrong with them."""
    plain = gzip.decompress(whole)
    middle = len(whole) // 2
    return {
        "empty": b"",
        "not compressed": plain,
        "cut off": whole[:-20],
        "no such block": whole[:10] + b"\xff" + whole[11:],
        "bytes flipped": whole[:middle] + bytes(255 - b for b in whole[middle:]),
        "nothing in it": gzip.compress(b""),
        "cut off before": gzip.compress(plain[:-1]),
        "too long": gzip.compress(plain + b"\0"),
        "no sizes": gzip.compress(plain[:4]),
        "of floats": gzip.compress(b"\0\0\x0d" + plain[3:]),
    }


@pytest.mark.parametrize("kind", damaged(gzip.compress(bytes(60))))
def test_a_damaged_file_is_refused(folder, kind):
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(damaged(path.read_bytes())[kind])
    with pytest.raises(FileError) as error:
        data.fashion_mnist(folder)
    assert str(error.value).startswith(f"{path} is not an IDX file of bytes: ")
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        ((3, 28, 28), (2,), r"images of shape \(3, 28, 28\) and labels of shape \(2,\)"),
        ((3, 32, 32), (3,), r"images of shape \(3, 32, 32\) and labels of shape \(3,\)"),
        ((3, 28), (3,), r"images of shape \(3, 28\)"),
        ((0, 28, 28), (0,), r"images of shape \(0, 28, 28\)"),
    ],
)
def test_another_data_set_is_refused(files, tmp_path, images, labels, said):
    other = np.zeros(images), np.zeros(labels)
    place = files.write_fashion(tmp_path, other, files.striped(7))
    with pytest.raises(FileError, match=said + r".* for 'train'; Fashion-MNIST has \(N, 28, 28\)"):
        data.fashion_mnist(place)


def test_labels_of_more_classes_are_refused(files, tmp_path):
    images, labels = files.striped(7)
    place = files.write_fashion(tmp_path, files.striped(7), (images, labels + 5))
    with pytest.raises(FileError, match=r"labels up to 11 for 't10k', expected 0 to 9\."):
        data.fashion_mnist(place)
