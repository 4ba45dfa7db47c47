"""Damaged files of every format that camcore reads, and what it makes of them."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import camcore
from camcore._shared.settings_file import changed_settings, write_settings
from camcore.batch import Clip, write_video
from camcore.errors import CamcoreError
from camcore.photos.io import read_photo
from camcore.photos.stamp import read_stamp
from camcore.testing import random_network

Random = np.random.Generator


@dataclass(frozen=True)
class Format:
    """A format of files.

    Parameters
    ----------
    name : str
        Its suffix, without the dot.
    make : callable
        Writes a good file to a path.
    read : callable
        Reads a file, and returns the arrays that must be finite.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], Mapping[str, Any]]


def _photo(size: tuple[int, int] = (40, 31)) -> Any:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def _explanation(path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    camcore.explain(random_network(), images, layer=["relu1", "relu2"]).save(path)


def _read_explanation(path: Path) -> Mapping[str, Any]:
    found = camcore.load(path)
    return {"maps": found.maps, "scores": found.scores, "outputs": found.outputs, **found.raw}


def _settings(path: Path) -> None:
    call = {"model": "timm:resnet18", "layer": ["a", "b"], "target": None, "max-dim": 2048}
    write_settings(path.parent, call)
    (path.parent / "camcore-run.json").replace(path)


def _read_settings(path: Path) -> Mapping[str, Any]:
    path.replace(path.parent / "camcore-run.json")
    try:
        changed_settings(path.parent, {"model": "timm:resnet18", "layer": ["a"], "target": None})
    finally:
        (path.parent / "camcore-run.json").replace(path)
    return {}


def _picture(kind: str, mode: str = "RGB") -> Callable[[Path], object]:
    def make(path: Path) -> None:
        from PIL import Image

        Image.fromarray(_photo()).convert(mode).save(path, kind)

    return make


def _read_picture(path: Path) -> Mapping[str, Any]:
    read_stamp(path)
    photo = read_photo(path, max_dim=24)
    assert photo.dtype == np.uint8
    assert photo.shape[2:] == (3,)
    return {}


def _clip(path: Path) -> None:
    write_video(path, [_photo((32, 48))] * 4, 10)


def _read_clip(path: Path) -> Mapping[str, Any]:
    clip = Clip.open(path)
    for number, frame in enumerate(clip.frames()):
        assert frame.dtype == np.uint8
        assert number < 1000
    return {}


def _torch_model() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def _torch_weights(*, zipped: bool) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        import torch

        state = {"epoch": 3, "state_dict": _torch_model().state_dict()}
        torch.save(state, path, _use_new_zipfile_serialization=zipped)

    return make


def _read_torch_weights(path: Path) -> Mapping[str, Any]:
    from camcore.registry import LoadOptions
    from camcore_torch.zoo_states import fill

    model = _torch_model()
    fill(model, LoadOptions(str(path)))
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def _keras_model() -> Any:
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(2, name="dense"),
        ],
        name="small",
    )


def _keras_file(path: Path) -> None:
    _keras_model().save(path)


def _keras_weights(path: Path) -> None:
    _keras_model().save_weights(path)


def _weights_of(model: Any) -> Mapping[str, Any]:
    return {one.path: one.numpy() for one in model.weights}


def _read_keras_file(path: Path) -> Mapping[str, Any]:
    from camcore import zoo

    loaded = zoo.load_model(str(path))
    assert 0 < loaded.size < 10_000
    return _weights_of(loaded.model)


def _read_keras_weights(path: Path) -> Mapping[str, Any]:
    from camcore.registry import LoadOptions
    from camcore_tensorflow.zoo import _load_weights

    model = _keras_model()
    _load_weights(model, LoadOptions(str(path)))
    return _weights_of(model)


PICTURES = {
    **{kind: kind for kind in ("png", "jpeg", "gif", "webp", "tiff", "bmp", "ico", "tga", "ppm")},
    "jp2": "jpeg2000",
    "avif": "avif",
}

FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format("npz", _explanation, _read_explanation),
        Format("json", _settings, _read_settings),
        *(Format(name, _picture(kind), _read_picture) for name, kind in PICTURES.items()),
        Format("cmyk.jpeg", _picture("jpeg", "CMYK"), _read_picture),
        Format("palette.png", _picture("png", "P"), _read_picture),
        Format("lzw.tiff", _picture("tiff", "L"), _read_picture),
        *(Format(name, _clip, _read_clip) for name in ("mp4", "avi", "mkv")),
        Format("pth", _torch_weights(zipped=True), _read_torch_weights),
        Format("old.pth", _torch_weights(zipped=False), _read_torch_weights),
        Format("keras", _keras_file, _read_keras_file),
        Format("weights.h5", _keras_weights, _read_keras_weights),
    )
}


def damaged(random: Random, whole: bytes, others: list[bytes]) -> bytes:
    """Damage a file: its bytes, its length, or what lies within its archive or text."""
    if whole.startswith(b"PK") and random.random() < 0.5:
        return _with_damaged_member(random, whole, others)
    if whole.startswith(b"{") and random.random() < 0.7:
        return _other_json(random, whole)
    data = bytearray(whole)
    for _ in range(random.integers(1, 4)):
        if not data:
            break
        place, length = int(random.integers(len(data))), int(random.integers(1, 40))
        kind = random.integers(8)
        if kind == 0:
            for at in random.integers(0, len(data), random.integers(1, 12)):
                data[at] = random.integers(256)
        elif kind == 1:  # near the beginning, where headers are
            data[int(random.integers(min(len(data), 120)))] = random.integers(256)
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = random.bytes(length)
        elif kind == 5:
            data[place : place + length] = bytes([random.choice([0, 255])]) * length
        elif kind == 6:
            data[place : place + 4] = random.choice([0, 2**31 - 1, 2**32 - 1]).tobytes()[:4]
        else:
            other = others[random.integers(len(others))]
            data = bytearray(bytes(data[:place]) + other[int(random.integers(len(other))) :])
    return bytes(data)


def _with_damaged_member(random: Random, whole: bytes, others: list[bytes]) -> bytes:
    """Write an archive again with one member damaged, renamed, doubled or left out."""
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as archive,
        zipfile.ZipFile(made, "w") as written,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        names = archive.namelist()
        chosen = names[random.integers(len(names))]
        kind = random.integers(6)
        for name in names:
            data = archive.read(name)
            if name == chosen and kind == 0:
                continue
            if name == chosen and kind < 4:
                data = damaged(random, data, others)
            written.writestr("other" if name == chosen and kind == 4 else name, data)
            if name == chosen and kind == 5:
                written.writestr(name, data)
    return made.getvalue()


def _other_json(random: Random, whole: bytes) -> bytes:
    """Change a value somewhere in a text of JSON."""
    odd = [None, True, -1, 1e308, 2**70, "", "x" * 5000, [], {}, [[]], {"a": {}}, float("nan")]

    def other(value: Any) -> Any:
        if isinstance(value, dict) and value and random.random() < 0.8:
            key = list(value)[random.integers(len(value))]
            if random.random() < 0.2:
                return {k: v for k, v in value.items() if k != key}
            return {**value, key: other(value[key])}
        if isinstance(value, list) and value and random.random() < 0.8:
            place = int(random.integers(len(value)))
            return [*value[:place], other(value[place]), *value[place + 1 :]]
        return odd[random.integers(len(odd))]

    try:
        return json.dumps(other(json.loads(whole))).encode()
    except ValueError:  # a part of a text, which the damage before has made of it
        return whole[: random.integers(len(whole) + 1)]


def outcome(name: str, seed: int, whole: Mapping[str, bytes], folder: Path) -> tuple[str, str]:
    """Damage a file of the format, read it, and say what came of it, and which case it was.

    Returns
    -------
    kind, case : str
        ``"read"``, ``"refused"`` (a camcore error), ``"raw"`` (any other) or ``"NaN"``.
    """
    random = np.random.default_rng([seed, list(FORMATS).index(name)])
    path = folder / f"damaged.{name}"
    path.write_bytes(damaged(random, whole[name], list(whole.values())))
    case = f"{name}, case {seed}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = FORMATS[name].read(path)
        except CamcoreError as error:
            told = str(path) in str(error) or "camcore-run.json" in str(error)
            return ("refused", case) if told else ("raw", f"{case}: names no file: {error}")
        except Exception as error:
            return "raw", f"{case}: {type(error).__name__}: {error}"
    bad = [key for key, values in found.items() if not np.isfinite(np.asarray(values)).all()]
    return ("NaN", f"{case}: {bad}") if bad else ("read", case)
