"""Read the arrays of a state dict from PyTorch's own files, without PyTorch.

Both forms are read: the archive that `torch.save` writes today, and the row of pickles that it
wrote before 1.6. Nothing of a file is run: names that are not those of tensors are refused.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.reading import reading

Array: TypeAlias = npt.NDArray[Any]

_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""What the older files begin with."""

_DTYPES: Final[Mapping[str, str]] = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}


_REPEATED: Final = 10**6
"""Numbers that a tensor may always have, beyond those of its storage."""


@dataclass
class _Storage:
    """One block of memory, which several tensors may look at."""

    kind: str
    key: str
    count: int
    values: Array | None = None

    def fill(self, data: bytes) -> None:
        values = np.frombuffer(data, _DTYPES[self.kind])
        if len(values) != self.count:
            raise ValueError(f"a storage of {self.count} numbers holds {len(values)}")
        if self.kind == "BFloat16Storage":  # the upper half of float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        self.values = values


@dataclass
class _Tensor:
    """Where a tensor is in a storage, which may not be read yet."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> Array:
        values = self.storage.values
        assert values is not None
        last = self.offset + sum(
            (n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)
        )
        if prod(self.shape) and not (0 <= self.offset <= last < len(values)):
            raise ValueError(f"a tensor of {self.shape} reaches beyond its storage")
        if prod(self.shape) > max(len(values), _REPEATED):
            raise ValueError(f"a tensor of {self.shape} repeats {len(values)} numbers")
        strides = [step * values.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides)
        return view.copy()


def read_state(path: Path) -> dict[str, Array]:
    """Read the arrays of a state dict.

    Parameters
    ----------
    path : Path
        A file as ``torch.save(model.state_dict(), path)`` writes it.

    Returns
    -------
    dict of str to array
        In the file's order; bfloat16 as float32.

    Raises
    ------
    InputError
        The file cannot be read, or holds something else.
    """
    with reading(path, "a state dict as torch.save(model.state_dict(), path) writes it"):
        state = _archive(path) if zipfile.is_zipfile(path) else _pickles(path)
        if not isinstance(state, Mapping):
            raise ValueError(f"it holds a {type(state).__name__}")
        other = [name for name, value in state.items() if not isinstance(value, _Tensor)]
        if other:
            raise ValueError(f"its {other[0]!r} is a {type(state[other[0]]).__name__}, no tensor")
        return {str(name): tensor.array() for name, tensor in state.items()}


def _archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        order = folder + "byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("its numbers have their bytes in the order of another machine")
        storages: dict[str, _Storage] = {}
        with archive.open(pickled) as file:
            state = _Unpickler(file, storages).load()
        for key, storage in storages.items():
            storage.fill(archive.read(f"{folder}data/{key}"))
        return state


def _pickles(path: Path) -> Any:
    storages: dict[str, _Storage] = {}
    with path.open("rb") as file:
        if _Unpickler(file, storages).load() != _MAGIC:
            raise ValueError("it is of another kind")
        version, machine = (_Unpickler(file, storages).load() for _ in range(2))
        if version != 1001 or not machine.get("little_endian"):
            raise ValueError("it is of another version, or of another machine")
        state = _Unpickler(file, storages).load()
        for key in _Unpickler(file, storages).load():
            count = int.from_bytes(file.read(8), "little")
            storage = storages[key]
            storage.fill(file.read(count * np.dtype(_DTYPES[storage.kind]).itemsize))
        return state


class _Unpickler(pickle.Unpickler):
    """Read the pickle of a state dict, whose tensors look at storages outside of it."""

    def __init__(self, file: IO[bytes], storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        """Give what may stand in the pickle of a state dict, and nothing else."""
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *rest: tensor,
        }
        if module == "torch" and name in _DTYPES:
            return name
        if (module, name) not in allowed:
            raise ValueError(f"it asks for {module}.{name}, which is no part of a state dict")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Name a storage, to be read later."""
        tag, kind, key, _, count, *view = pid
        if tag != "storage" or kind not in _DTYPES or any(view):
            raise ValueError(f"it looks at a {kind}, which is no plain storage")
        return self._storages.setdefault(key, _Storage(kind, key, count))


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))
