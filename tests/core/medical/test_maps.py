"""Maps that are written as NIfTI lie over what was explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore import Explanation
from camcore.errors import InputError
from camcore.medical import Volume, read_volume
from camcore.testing import random_network


@pytest.fixture
def nibabel(require):
    return require("nibabel")


@pytest.fixture
def explained(hot):
    """The map of a volume, with its strongest voxel at (2, 5, 3)."""
    return Explanation(
        maps=hot[None],
        raw={"conv": hot[None]},
        scores=np.ones(1),
        classes=np.zeros(1, int),
        empty=np.zeros(1, bool),
        outputs=np.array([[1.0, 0.0]]),
    )


def hottest(path, nibabel):
    """Where the strongest voxel of a file lies, in millimetres."""
    image = nibabel.load(path)
    voxel = np.unravel_index(np.argmax(image.get_fdata()), image.shape)
    return image.affine @ [*voxel, 1]


def test_a_hot_voxel_lies_where_it_lies_in_the_scan(explained, hot, oblique, nibabel, tmp_path):
    scan = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hot * 700, oblique), scan)
    for like in (scan, str(scan), nibabel.load(scan), read_volume(scan), oblique, oblique[None]):
        explained.save_nifti(tmp_path / "map.nii.gz", like=like)
        there = hottest(tmp_path / "map.nii.gz", nibabel)
        assert there == pytest.approx(oblique @ [2, 5, 3, 1], abs=1e-4)
        assert there == pytest.approx(hottest(scan, nibabel), abs=1e-4)
        assert np.array_equal(nibabel.load(tmp_path / "map.nii.gz").get_fdata(), hot)


def test_both_transforms_of_the_scan_are_kept_with_their_codes(
    explained, hot, oblique, nibabel, tmp_path
):
    """Viewers differ in which of the two they read, and the two may differ."""
    scan = nibabel.Nifti1Image(hot, oblique)
    other = np.diag([2.0, 2, 2, 1])
    scan.set_sform(oblique, 4)
    scan.set_qform(other, 1)
    scan.header["descrip"] = b"a patient's name"
    nibabel.save(scan, tmp_path / "scan.nii")
    explained.save_nifti(tmp_path / "map.nii", like=tmp_path / "scan.nii")
    image = nibabel.load(tmp_path / "map.nii")
    header = image.header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 1)
    assert np.array_equal(image.get_sform(), nibabel.load(tmp_path / "scan.nii").get_sform())
    assert image.get_qform() == pytest.approx(other)
    assert bytes(header["descrip"]).startswith(b"gradcam, camcore")
    assert (float(header["cal_min"]), float(header["cal_max"])) == (0, 1)


def test_a_series_of_dicom_is_what_a_map_lies_over(explained, write_slices, nibabel, tmp_path):
    planes = np.zeros((5, 9, 7))  # slices, rows, columns: as a volume (7, 9, 5)
    planes[3, 5, 2] = 9
    folder = write_slices(planes, [(1, 2, 4.0 * k) for k in range(5)])
    explained.save_nifti(tmp_path / "map.nii.gz", like=folder)
    assert hottest(tmp_path / "map.nii.gz", nibabel)[:3] == pytest.approx(
        (-(1 + 2 * 1.5), -(2 + 5 * 2), 12)
    )


def test_each_sample_has_its_own(explained, hot, oblique, nibabel, tmp_path):
    other = hot[::-1].copy()
    two = replace(Explanation.concatenate([explained, explained]), maps=np.stack([hot, other]))
    names = [tmp_path / "a.nii", tmp_path / "b.nii"]
    two.save_nifti(names, like=[Volume(hot, oblique), np.eye(4)])
    assert hottest(names[0], nibabel) == pytest.approx(oblique @ [2, 5, 3, 1], abs=1e-4)
    assert hottest(names[1], nibabel) == pytest.approx((4, 5, 3, 1))
    with pytest.raises(InputError, match="1 names were given for 2 maps"):
        two.save_nifti(names[0], like=oblique)
    with pytest.raises(InputError, match="3 volumes for 2 maps"):
        two.save_nifti(names, like=[oblique] * 3)
    two.save_nifti(names, like=[oblique, oblique])
    assert hottest(names[1], nibabel) == pytest.approx(oblique @ [4, 5, 3, 1], abs=1e-4)


def test_a_volume_of_another_size_is_never_covered_unasked(
    explained, hot, oblique, nibabel, tmp_path
):
    large = Volume(np.zeros((14, 18, 10), np.float32), oblique)
    with pytest.raises(InputError, match=r"\(7, 9, 5\).*\(14, 18, 10\).*stretch=True"):
        explained.save_nifti(tmp_path / "map.nii", like=large)
    assert not list(tmp_path.iterdir())
    explained.save_nifti(tmp_path / "map.nii", like=large, stretch=True)
    written = nibabel.load(tmp_path / "map.nii").get_fdata()
    assert np.array_equal(written, explained.at((14, 18, 10)).maps[0])
    # Each voxel became two by two by two, the strongest among those of the hot one.
    assert tuple(np.argwhere(written > 0.99 * written.max())[0] // 2) == (2, 5, 3)


def test_nothing_is_guessed_or_written_over(explained, hot, oblique, nibabel, tmp_path):
    with pytest.raises(InputError, match="not known where the voxels"):
        explained.save_nifti(tmp_path / "map.nii")
    with pytest.raises(InputError, match=r"\.nii\.gz or \.nii"):
        explained.save_nifti(tmp_path / "map.npz", like=oblique)
    nibabel.save(nibabel.Nifti1Image(hot * 5, oblique), tmp_path / "scan.nii")
    with pytest.raises(camcore.errors.FileError, match="written over"):
        explained.save_nifti(tmp_path / "scan.nii", like=tmp_path / "scan.nii")
    assert nibabel.load(tmp_path / "scan.nii").get_fdata().max() == 5
    flat = replace(explained, maps=explained.maps[:, 0], raw={"conv": hot[None, 0]})
    with pytest.raises(InputError, match="not of volumes"):
        flat.save_nifti(tmp_path / "map.nii", like=oblique)
    with pytest.raises(InputError, match="layer's own grid"):
        replace(explained, frame="layer").save_nifti(tmp_path / "map.nii", like=oblique)
    with pytest.raises(InputError, match="singular"):
        explained.save_nifti(tmp_path / "map.nii", like=np.diag([1, 1, 0, 1]))


def test_a_scan_that_lies_elsewhere_than_what_was_explained_is_refused(
    explained, hot, oblique, nibabel, tmp_path
):
    """As the file of a volume that was turned before the model saw it, of the same size."""
    placed = replace(explained, affines=oblique[None])
    flipped = oblique @ [[-1, 0, 0, 6], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    with pytest.raises(InputError, match="mm from what was explained"):
        placed.save_nifti(tmp_path / "map.nii", like=Volume(hot[::-1], flipped))
    placed.save_nifti(tmp_path / "map.nii", like=Volume(hot, oblique.astype(np.float32)))
    large = Volume(np.zeros((14, 18, 10)), placed.at((14, 18, 10)).affines[0])
    placed.save_nifti(tmp_path / "map.nii", like=large, stretch=True)
    assert nibabel.load(tmp_path / "map.nii").shape == (14, 18, 10)


def test_a_volume_is_no_batch(hot, oblique, nibabel):
    for scan in (Volume(hot, oblique), nibabel.Nifti1Image(hot, oblique)):
        with pytest.raises(InputError, match=r"shape \(7, 9, 5\) is no batch.*\[None, None\]"):
            camcore.explain(random_network(), scan)


def test_affines_are_kept_sliced_joined_and_rescaled(explained, oblique, nibabel, tmp_path):
    placed = replace(explained, affines=oblique[None])
    placed.save(tmp_path / "one.npz")
    again = camcore.load(tmp_path / "one.npz")
    assert np.array_equal(again.affines, oblique[None])
    again.save_nifti(tmp_path / "map.nii.gz")
    there = hottest(tmp_path / "map.nii.gz", nibabel)
    assert there == pytest.approx(oblique @ [2, 5, 3, 1], abs=1e-4)
    other = replace(explained, affines=np.diag([1.0, 2, 3, 1])[None])
    both = Explanation.concatenate([placed, other])
    assert np.array_equal(both[1].affines, other.affines)
    with pytest.raises(InputError, match="shape of affines"):
        Explanation.concatenate([placed, explained])
    # The same field of view at twice the size: voxel edges meet.
    twice = placed.at((14, 18, 10)).affines[0]
    assert twice @ [-0.5, -0.5, -0.5, 1] == pytest.approx(oblique @ [-0.5, -0.5, -0.5, 1])
    assert twice @ [13.5, 17.5, 9.5, 1] == pytest.approx(oblique @ [6.5, 8.5, 4.5, 1])
    with pytest.raises(InputError, match="singular"):
        replace(explained, affines=np.zeros((1, 4, 4)) + np.diag([0, 0, 0, 1])).save("x.npz")
