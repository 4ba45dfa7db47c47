"""MONAI's MetaTensors are explained, and its transforms undone, as MONAI itself does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.medical import read_volume, undo_transforms
from camcore.medical.space import resized_affine


@pytest.fixture(scope="module")
def monai(require, torch):
    require("nibabel")
    require("monai.data")
    return require("monai.transforms")


@pytest.fixture
def scans(tmp_path, require):
    """Two files of another size, spacing and orientation each, with a bright voxel."""
    nibabel, rng, files = require("nibabel"), np.random.default_rng(0), []
    turned = np.array([[0, -0.9, 0.3, 20], [1.6, 0.1, 0.2, -31], [0.1, 0.4, 2.2, 7], [0, 0, 0, 1]])
    plain = np.array([[-1.0, 0, 0, 9], [0, 1.5, 0, -4], [0, 0, 2, 1], [0, 0, 0, 1]])
    for name, size, affine in (("a", (20, 24, 14), turned), ("b", (26, 18, 16), plain)):
        array = rng.random(size).astype(np.float32)
        array[9, 11, 6] = 3
        nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
        files.append(tmp_path / f"{name}.nii.gz")
    return files


@pytest.fixture(scope="module")
def network(torch):
    nn = torch.nn
    torch.manual_seed(0)
    layers = nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2)
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def steps(monai):
    return monai.Compose(
        [
            monai.LoadImaged("image"),
            monai.EnsureChannelFirstd("image"),
            monai.Orientationd("image", axcodes="RAS"),
            monai.Spacingd("image", pixdim=(1.5, 1.5, 1.5)),
            monai.ScaleIntensityd("image"),
            monai.SpatialPadd("image", spatial_size=(24, 24, 24)),
            monai.CenterSpatialCropd("image", roi_size=(16, 16, 16)),
        ]
    )


def test_a_meta_tensor_is_explained_as_the_tensor_is_and_knows_where_it_lies(
    steps, scans, network, require, tmp_path
):
    image = steps({"image": scans[0]})["image"]
    result = camcore.explain(network, image[None])
    plain = camcore.explain(network, image.as_tensor()[None])
    assert np.array_equal(result.maps, plain.maps)
    assert type(result.maps) is np.ndarray
    assert plain.affines is None
    assert np.array_equal(result.affines, image.affine.numpy()[None])
    result.save_nifti(tmp_path / "map.nii.gz")
    written = require("nibabel").load(tmp_path / "map.nii.gz")
    assert written.affine == pytest.approx(image.affine.numpy(), abs=1e-5)
    assert np.array_equal(written.get_fdata(dtype=np.float32), result.maps[0])
    named = camcore.explain(network, {"input": image[None]})
    assert np.array_equal(named.affines, result.affines)


def test_undoing_the_transforms_is_what_monai_does(steps, scans, network, monai):
    """Against `Invertd`, MONAI's own way for a prediction."""
    data = steps({"image": scans[0]})
    before = len(data["image"].applied_operations)
    result = camcore.explain(network, data["image"][None])
    (back,) = undo_transforms(result, steps, data)
    assert len(data["image"].applied_operations) == before
    predicted = type(data["image"])(result.maps[0][None], meta=data["image"].meta)
    invert = monai.Invertd("map", transform=steps, orig_keys="image", nearest_interp=False)
    theirs = invert({**data, "map": predicted})["map"]
    assert np.array_equal(back.array, theirs.numpy()[0])
    scan = read_volume(scans[0])
    assert back.shape == scan.shape
    assert back.affine == pytest.approx(scan.affine, abs=1e-4)
    assert back.array.max() > 0.5


def test_a_hot_voxel_comes_back_to_where_it_was(monai, scans, network, tmp_path):
    """Of transforms that only move voxels, every voxel of the map is found again."""
    steps = monai.Compose(
        [
            monai.LoadImage(),
            monai.EnsureChannelFirst(),
            monai.Orientation(axcodes="PSR"),
            monai.Flip(1),
            monai.SpatialPad((30, 30, 30)),
        ]
    )
    for scan in scans:
        image = steps(scan)
        source = read_volume(scan)
        maps = (image.numpy() / 3).astype(np.float32)
        explained = camcore.explain(network, image[None])
        shown = type(explained)(**{**vars(explained), "maps": maps})
        (back,) = undo_transforms(shown, steps, image)
        assert back.array == pytest.approx(source.array / 3, abs=1e-6)
        assert back.affine == pytest.approx(source.affine, abs=1e-5)
        hot = np.unravel_index(np.argmax(maps[0]), maps.shape[1:])
        there = explained.affines[0] @ [*hot, 1]
        assert there == pytest.approx(source.affine @ [9, 11, 6, 1], abs=1e-4)
        back.save(tmp_path / "back.nii.gz")
        assert read_volume(tmp_path / "back.nii.gz").affine == pytest.approx(
            source.affine, abs=1e-4
        )


def test_a_batch_of_a_loader_knows_where_each_lies(steps, scans, network, require):
    data = require("monai.data")
    loader = data.DataLoader(data.Dataset([{"image": one} for one in scans], steps), batch_size=2)
    (batch,) = loader
    result = camcore.explain(network, batch["image"])
    single = [steps({"image": one}) for one in scans]
    for i, one in enumerate(single):
        assert np.array_equal(result.affines[i], one["image"].affine.numpy())
        assert np.array_equal(result[i].affines[0], one["image"].affine.numpy())
    together = undo_transforms(result, steps, batch)
    apart = undo_transforms(result, steps, single)
    for here, there, scan in zip(together, apart, scans, strict=True):
        assert np.array_equal(here.array, there.array)
        assert here.shape == read_volume(scan).shape
        assert here.affine == pytest.approx(read_volume(scan).affine, abs=1e-4)


def test_a_reader_that_keeps_the_coordinates_of_dicom(monai, scans, network, require):
    """MONAI's meta says so; the voxels lie where they lie."""
    data = require("monai.data")
    image = monai.Compose([monai.LoadImage(), monai.EnsureChannelFirst()])(scans[0])
    to_lps = np.diag([-1.0, -1, 1, 1])
    other = data.MetaTensor(
        image.as_tensor(), affine=to_lps @ image.affine.numpy(), meta={"space": "LPS"}
    )
    found = camcore.explain(network, other[None])
    assert np.array_equal(found.affines[0], image.affine.numpy())


def test_a_meta_tensor_of_which_no_place_is_known_has_none(network, require, torch, tmp_path):
    """MONAI gives it the identity, from which letters would be drawn as if they were known."""
    data, nibabel = require("monai.data"), require("nibabel")
    transforms = require("monai.transforms")
    array = torch.rand(1, 1, 12, 12, 12)
    bare = camcore.explain(network, data.MetaTensor(array))
    assert bare.affines is None
    assert bare.figure().axes[0].get_title().startswith("depth")
    flip = transforms.Compose([transforms.Flip(0)])
    flipped = flip(data.MetaTensor(array[0]))
    shown = camcore.explain(network, flipped[None])
    (back,) = undo_transforms(shown, flip, flipped)
    assert np.array_equal(back.array, shown.maps[0, ::-1])
    nibabel.save(nibabel.Nifti1Image(array[0, 0].numpy(), np.eye(4)), tmp_path / "a.nii")
    image = transforms.LoadImage(ensure_channel_first=True)(tmp_path / "a.nii")
    read = camcore.explain(network, image[None])
    assert np.array_equal(read.affines, np.eye(4)[None])
    assert read.figure().axes[0].get_title().startswith("axial")


def test_maps_at_another_size_lie_where_monai_resizes_to(monai, network, steps, scans):
    image = steps({"image": scans[0]})["image"]
    resized = monai.Resize((24, 8, 20))(image)
    found = camcore.explain(network, image[None]).at((24, 8, 20)).affines[0]
    assert found == pytest.approx(resized.affine.numpy(), abs=1e-9)
    assert resized_affine(image.affine.numpy(), (16,) * 3, (24, 8, 20)) == pytest.approx(found)


def test_data_that_do_not_fit_are_named(steps, scans, network):
    data = steps({"image": scans[0]})
    result = camcore.explain(network, data["image"][None])
    with pytest.raises(InputError, match="no 'scan' among"):
        undo_transforms(result, steps, data, key="scan")
    with pytest.raises(InputError, match="2 volumes were given for 1 maps"):
        undo_transforms(result, steps, [data, data])
    with pytest.raises(InputError, match="Tensor does not know"):
        undo_transforms(result, steps, data["image"].as_tensor())
    with pytest.raises(InputError, match=r"\(8, 8, 8\) is not of a volume of \(16, 16, 16\)"):
        undo_transforms(result.at((8, 8, 8)), steps, data)


def test_a_real_series_lies_where_monai_says(require):
    examples = Path(require("pydicom.data").__file__).parent / "test_files"
    reader = require("monai.data").PydicomReader()
    folder = examples / "dicomdirtests/98892001/CT5N"
    theirs, about = reader.get_data(reader.read(str(folder)))
    ours = read_volume(folder)
    assert ours.axes == "LPS"
    # It orders slices from the head, so the same voxels are counted from the other end.
    assert np.array_equal(ours.array, theirs[..., ::-1])
    last = ours.shape[2] - 1
    for voxel in ((0, 0, 0), (3, 7, 2), (15, 0, 4)):
        i, j, k = voxel
        place = about["affine"] @ [i, j, last - k, 1]
        assert ours.millimetres(voxel) == pytest.approx(place[:3], abs=1e-9)
