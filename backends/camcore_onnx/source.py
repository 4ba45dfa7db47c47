"""Reading what a user gives as an ONNX model, once for as long as it stays the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import onnx
from onnx.external_data_helper import uses_external_data

from camcore._shared.reading import reading
from camcore.errors import BackendError

from .model import Model
from .sessions import Runtime, written

_KEPT = 4
"""How many models are kept ready at most, those last used."""

_KEPT_BYTES = 2**28
"""How large their files are together at most, but for the one used last."""

_ON_CPU = Runtime()

_lock = Lock()
_models: OrderedDict[Hashable, Model] = OrderedDict()
_of_sessions: WeakKeyDictionary[Any, Model] = WeakKeyDictionary()


def model_of(source: Any, runtime: Runtime = _ON_CPU) -> Model:
    """Read a model, or take what was read of it before.

    Parameters
    ----------
    source : str, Path, onnx.ModelProto, onnxruntime.InferenceSession, or Model
        A session's file is run anew, on the session's own execution providers.
    runtime : Runtime
        Where others are run.

    Raises
    ------
    InputError
        The file is not there or no ONNX model.
    BackendError
        A session does not know its file, or weights are in files beside that are not read.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, onnx.ModelProto):
        return _of_proto(source, runtime)
    if isinstance(source, (str, Path)):
        return _of_file(Path(source), runtime)
    if source not in _of_sessions:
        own = Runtime.of(source)
        path, data = (getattr(source, name, None) for name in ("_model_path", "_model_bytes"))
        if path:
            _of_sessions[source] = _of_file(Path(path), own)
        elif data:
            _of_sessions[source] = Model(onnx.load_from_string(data), own)
        else:
            raise BackendError(
                "The InferenceSession does not know its file. Give the path of the .onnx file."
            )
    return _of_sessions[source]


def _of_file(path: Path, runtime: Runtime) -> Model:
    with reading(path, "an ONNX model, its weights in it or in the files beside it"):
        state = path.stat()
        key = str(path.resolve()), state.st_mtime_ns, state.st_size, repr(runtime)
        return _kept(key, lambda: Model(onnx.load(str(path)), runtime))


def _of_proto(proto: onnx.ModelProto, runtime: Runtime) -> Model:
    """Read a model in memory: its bytes tell whether it is one that was read before."""
    beside = [one.name for one in proto.graph.initializer if uses_external_data(one)]
    if beside:
        raise BackendError(
            f"The model's weights are in files beside it ({beside[0]!r} and others), which were "
            "not loaded. Give the path of the .onnx file, or load it with onnx.load(path)."
        )
    data = written(proto)
    key = blake2b(data).digest(), repr(runtime)
    return _kept(key, lambda: Model(onnx.load_from_string(data), runtime))


def _kept(key: Hashable, read: Callable[[], Model]) -> Model:
    """Take a model that was read before, or read it; the one used longest ago is let go."""
    with _lock:
        model = _models.pop(key, None) or read()
        _models[key] = model
        sizes = [one.graph.proto.ByteSize() for one in _models.values()]
        while len(sizes) > 1 and (len(sizes) > _KEPT or sum(sizes) > _KEPT_BYTES):
            _models.popitem(last=False)
            del sizes[0]
        return model
