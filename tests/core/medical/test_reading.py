"""Volumes read from NIfTI and DICOM lie where other libraries say that they lie."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from camcore.errors import InputError, MissingExtraError, MissingFileError
from camcore.medical import Volume, read_volume


@pytest.fixture
def nibabel(require):
    return require("nibabel")


@pytest.fixture
def examples(require):
    """Files of DICOM that pydicom ships."""
    require("pydicom")
    return Path(require("pydicom.data").__file__).parent / "test_files"


def test_a_nifti_file_is_read_as_nibabel_reads_it(nibabel, tmp_path):
    source = Path(nibabel.__file__).parent / "tests/data/anatomical.nii"
    volume, image = read_volume(source), nibabel.load(source)
    assert np.array_equal(volume.array, image.get_fdata(dtype=np.float32))
    assert np.array_equal(volume.affine, image.affine)
    assert (volume.axes, volume.path) == ("LAS", source)
    assert volume.spacing == pytest.approx((2, 2, 2))
    assert np.array_equal(read_volume(image).array, volume.array)
    assert read_volume(volume) is volume


def test_values_are_scaled_as_the_file_says(nibabel, tmp_path, oblique):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nibabel.Nifti1Image(stored, oblique)
    image.header.set_slope_inter(0.5, -3)
    # nibabel writes integers scaled anew, so the scaling is put into the file itself.
    nibabel.save(image, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = np.array([0.5, -3], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    assert np.array_equal(read_volume(tmp_path / "a.nii").array, stored * 0.5 - 3)


def test_one_of_several_volumes_is_chosen(nibabel):
    source = Path(nibabel.__file__).parent / "tests/data/functional.nii"
    with pytest.raises(InputError, match=r"20 volumes.*index=0 to 19"):
        read_volume(source)
    assert np.array_equal(
        read_volume(source, index=3).array, nibabel.load(source).get_fdata(dtype=np.float32)[..., 3]
    )
    with pytest.raises(InputError, match="index=20 is none"):
        read_volume(source, index=20)


def test_a_fourth_axis_of_one_is_no_axis(nibabel, tmp_path, hot, oblique):
    nibabel.save(nibabel.Nifti1Image(hot[..., None], oblique), tmp_path / "a.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").array, hot)


def test_a_file_that_says_no_orientation_is_refused_until_it_is_given(
    nibabel, tmp_path, hot, oblique
):
    image = nibabel.Nifti1Image(hot, None)
    image.header["qform_code"] = image.header["sform_code"] = 0
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(InputError, match="left and right are not known"):
        read_volume(tmp_path / "a.nii")
    assert np.array_equal(read_volume(tmp_path / "a.nii", affine=oblique).affine, oblique)


def test_files_that_are_no_volume_are_named(nibabel, tmp_path):
    with pytest.raises(MissingFileError, match="no file of that name"):
        read_volume(tmp_path / "none.nii")
    (tmp_path / "text.nii").write_text("no volume")
    with pytest.raises(InputError, match=r"text\.nii cannot be read"):
        read_volume(tmp_path / "text.nii")
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((3, 4), np.float32), np.eye(4)), tmp_path / "flat.nii"
    )
    with pytest.raises(InputError, match="three axes"):
        read_volume(tmp_path / "flat.nii")
    flat = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.float32), np.diag([1, 1, 1, 1]))
    flat.set_sform(np.diag([1.0, 0, 1, 1]), 1)
    with pytest.raises(InputError, match="singular"):
        read_volume(flat)
    colours = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="colours"):
        read_volume(nibabel.Nifti1Image(colours, np.eye(4)))
    with pytest.raises(InputError, match="dict is no volume"):
        read_volume({})


def test_a_hot_voxel_of_an_oblique_series(write_slices):
    """Rows, columns and slices all differ in number, in spacing and in direction."""
    cosines = np.array([[0.8, 0.6, 0], [0.36, -0.48, 0.8]])
    normal, origin = np.cross(*cosines), np.array([11.0, -7, 30])
    planes = np.full((4, 5, 6), 500)
    planes[2, 3, 1] = 900  # slice 2, row 3, column 1
    places = [origin + 2.5 * k * normal for k in range(4)]
    folder = write_slices(planes, places, cosines=cosines.ravel().tolist())
    (folder / "notes.txt").write_text("not a slice")
    volume = read_volume(folder)
    assert volume.shape == (6, 5, 4)
    assert volume.spacing == pytest.approx((1.5, 2, 2.5), rel=1e-5)
    assert (volume.array[0, 0, 0], volume.array[1, 3, 2]) == (0, 800)
    left, back, up = origin + 1 * 1.5 * cosines[0] + 3 * 2 * cosines[1] + 2 * 2.5 * normal
    assert volume.millimetres((1, 3, 2)) == pytest.approx((-left, -back, up), abs=1e-5)
    assert volume.voxel((-left, -back, up)) == (1, 3, 2)
    with pytest.raises(InputError, match="outside a volume"):
        volume.voxel((left, back, up))


def test_a_tilted_gantry_shears_the_affine(write_slices):
    planes = np.zeros((3, 4, 4))
    folder = write_slices(planes, [(0, 0.7 * k, 3 * k) for k in range(3)])
    assert read_volume(folder).affine[:3, 2] == pytest.approx((0, -0.7, 3), abs=1e-6)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([(0, 0, 0), (0, 0, 2), (0, 0, 6)], "some are missing"),
        ([(0, 0, 0), (0, 0, 2), (0, 0, 2)], "at one place"),
        ([(0, 0, 0), (5, 0, 2), (0, 0, 4)], "shifted"),
    ],
)
def test_slices_that_make_no_volume_are_named(write_slices, places, message):
    with pytest.raises(InputError, match=message):
        read_volume(write_slices(np.zeros((3, 4, 4)), places))


def test_slices_whose_places_are_rounded_make_a_volume(write_slices):
    places = [(0, 0, round(k * 10 / 3, 1)) for k in range(4)]
    assert read_volume(write_slices(np.zeros((4, 4, 4)), places)).spacing[2] == pytest.approx(
        10 / 3
    )


def test_slices_of_several_volumes_are_named(examples, write_slices):
    scouts = examples / "dicomdirtests"
    with pytest.raises(InputError, match="not parallel"):
        read_volume(scouts / "98892001/CT2N")
    with pytest.raises(InputError, match=r"holds 3.*FAST LOCALIZER"):
        read_volume(scouts / "98892003/MR2")
    uid = "1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.481"
    assert read_volume(scouts / "98892003/MR2", series=uid).shape == (16, 16, 1)
    with pytest.raises(InputError, match=r"There is no series '1\.2'"):
        read_volume(scouts / "98892003/MR2", series="1.2")
    with pytest.raises(InputError, match=r"202\.5 mm: some are missing"):
        read_volume(scouts / "77654033/CT2")
    wide, high = np.zeros((1, 4, 6)), np.zeros((1, 6, 4))
    folder = write_slices([*wide, *high], [(0, 0, 0), (0, 0, 1)])
    with pytest.raises(InputError, match=r"differ in size.*\(4, 6\).*\(6, 4\)"):
        read_volume(folder)


def test_files_that_do_not_say_where_their_frames_lie_are_named(examples, nibabel):
    for name, message in (
        ("rtdose.dcm", "15 frames"),
        ("examples_rgb_color.dcm", "colours"),
        ("rtplan.dcm", "no DICOM image"),
        ("dicomdirtests/77654033/CR1", "lacks one of ImagePositionPatient"),
    ):
        with pytest.raises(InputError, match=message):
            read_volume(examples / name)
    mosaic = Path(nibabel.__file__).parent / "nicom/tests/data/0.dcm"
    with pytest.raises(InputError, match="mosaic"):
        read_volume(mosaic)


def test_the_frames_of_one_file(write_slices, require):
    """An enhanced image says for all frames what they share, and for each where it lies."""
    pydicom = require("pydicom")
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    def said(**what):
        item = Dataset()
        for key, value in what.items():
            setattr(item, key, value)
        return Sequence([item])

    planes = np.arange(60).reshape(3, 4, 5)
    file = next(write_slices(planes[:1], [(0, 0, 0)]).glob("*"))
    one = pydicom.dcmread(file)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(one, name)
    del one.RescaleSlope, one.RescaleIntercept
    shared = said(
        PlaneOrientationSequence=said(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=said(PixelSpacing=[2, 1.5], SliceThickness=4),
        PixelValueTransformationSequence=said(RescaleSlope=3, RescaleIntercept=-10),
    )
    order = (2, 0, 1)
    frames = [
        said(PlanePositionSequence=said(ImagePositionPatient=[1, 2, 4.0 * k]))[0] for k in order
    ]
    one.SharedFunctionalGroupsSequence = shared
    one.PerFrameFunctionalGroupsSequence = Sequence(frames)
    one.NumberOfFrames = 3
    one.PixelData = planes[list(order)].astype("<u2").tobytes()
    one.save_as(file)
    volume = read_volume(file)
    assert np.array_equal(volume.array, np.transpose(planes, (2, 1, 0)) * 3 - 10)
    expected = [[-1.5, 0, 0, -1], [0, -2, 0, -2], [0, 0, 4, 0], [0, 0, 0, 1]]
    assert np.array_equal(volume.affine, expected)


def test_what_is_no_volume_is_refused(hot, oblique):
    with pytest.raises(InputError, match="no volume"):
        Volume(hot[None], oblique)
    with pytest.raises(InputError, match="affine"):
        Volume(hot, np.eye(3))
    assert np.array_equal(np.asarray(Volume(hot, oblique)), hot)
    assert np.asarray(Volume(hot, oblique), np.float64).dtype == np.float64


def test_a_volume_is_saved_and_read_again(nibabel, tmp_path, hot, oblique):
    Volume(hot, oblique).save(tmp_path / "a.nii.gz")
    again = read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(again.array, hot)
    assert again.affine == pytest.approx(oblique, abs=1e-5)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.get_qform() == pytest.approx(oblique, abs=1e-5)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (2, 2)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def test_a_shear_is_kept_by_the_transform_that_can_say_it(nibabel, tmp_path, hot, oblique):
    oblique[1, 2] += 0.7
    Volume(hot, oblique).save(tmp_path / "a.nii")
    image = nibabel.load(tmp_path / "a.nii")
    assert image.affine == pytest.approx(oblique, abs=1e-5)
    assert int(image.header["qform_code"]) == 0


@pytest.mark.parametrize("package", ["nibabel", "pydicom"])
def test_a_missing_package_is_named_with_its_extra(
    package, monkeypatch, write_slices, hot, oblique, tmp_path
):
    source = tmp_path / "a.nii"
    if package == "nibabel":
        Volume(hot, oblique).save(source)
    else:
        source = write_slices(np.zeros((1, 4, 4)), [(0, 0, 0)])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"camcore\[medical\]"):
        read_volume(source)
    if package == "nibabel":
        with pytest.raises(MissingExtraError, match=r"camcore\[medical\]"):
            Volume(hot, oblique).save(tmp_path / "b.nii")
        assert not (tmp_path / "b.nii").exists()


def test_files_appear_whole_or_not_at_all(nibabel, monkeypatch, hot, oblique, tmp_path):
    Volume(hot, oblique).save(tmp_path / "a.nii.gz")
    before = (tmp_path / "a.nii.gz").read_bytes()

    def broken(image, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("the disk burns")

    monkeypatch.setattr(nibabel, "save", broken)
    with pytest.raises(RuntimeError):
        Volume(hot * 2, oblique).save(tmp_path / "a.nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]
    assert (tmp_path / "a.nii.gz").read_bytes() == before
