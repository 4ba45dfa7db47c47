"""Sessions of ONNX Runtime, made alike for every part of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import onnx
import onnxruntime
from google.protobuf.message import EncodeError

from camcore.errors import BackendError, InputError

_PROVIDERS: Final[Mapping[str, tuple[str, str | None]]] = {
    "cpu": ("CPUExecutionProvider", None),
    "cuda": ("CUDAExecutionProvider", "device_id"),
    "tensorrt": ("TensorrtExecutionProvider", "device_id"),
    "rocm": ("ROCMExecutionProvider", "device_id"),
    "dml": ("DmlExecutionProvider", "device_id"),
    "coreml": ("CoreMLExecutionProvider", None),
    "openvino": ("OpenVINOExecutionProvider", "device_type"),
}
"""Execution providers by device, and the option that says which of several it is."""


class Session:
    """A session of ONNX Runtime whose errors are in words.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        The session.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.kinds = {one.name: one.type for one in (*session.get_inputs(), *session.get_outputs())}
        self._inputs = {one.name for one in session.get_inputs()}
        self._outputs = [one.name for one in session.get_outputs()]

    def __call__(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        """Run it on what it takes of these arrays or OrtValues, and name all that it returns.

        Raises
        ------
        InputError
            ONNX Runtime cannot run the model on them.
        """
        taken = {name: value for name, value in feed.items() if name in self._inputs}
        kept = any(isinstance(value, onnxruntime.OrtValue) for value in taken.values())
        run = self._session.run_with_ort_values if kept else self._session.run
        try:
            return dict(zip(self._outputs, run(self._outputs, taken), strict=True))
        except Exception as error:  # its errors have no common class of their own
            shapes = {n: tuple(v.shape() if kept else v.shape) for n, v in taken.items()}
            raise InputError(
                f"ONNX Runtime cannot run the model on arrays of the shapes {shapes}: "
                f"{_said(error)}. Give inputs of a size that the model takes."
            ) from error


@dataclass(frozen=True)
class Runtime:
    """How sessions are run.

    Parameters
    ----------
    providers : sequence of (str or (str, dict))
        Execution providers, as `onnxruntime.InferenceSession` takes them.
    threads : int
        Threads within an operator; 0 lets ONNX Runtime choose.
    """

    providers: Sequence[Any] = ("CPUExecutionProvider",)
    threads: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether sessions run on the processor, as they do unless anything else is said."""
        names = [one if isinstance(one, str) else one[0] for one in self.providers]
        return names == ["CPUExecutionProvider"]

    @classmethod
    def of(cls, session: Any) -> Runtime:
        """Take over what a session of the user's runs on."""
        options: Mapping[str, Any] = session.get_provider_options()
        providers = [(name, options.get(name, {})) for name in session.get_providers()]
        return cls(providers, session.get_session_options().intra_op_num_threads)

    @classmethod
    def on(cls, device: str) -> Runtime:
        """Choose the execution provider of a device; what it cannot compute runs on the processor.

        Parameters
        ----------
        device : str
            ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"tensorrt"``, ``"rocm"``, ``"dml"``,
            ``"coreml"``, ``"openvino"``, ``"openvino:GPU"``; or a provider by its own name.

        Raises
        ------
        InputError
            There is no such device, or this installation of ONNX Runtime has no provider for it.
        """
        name, _, which = device.partition(":")
        full = {provider.lower(): provider for provider in onnxruntime.get_all_providers()}
        provider, option = _PROVIDERS.get(name.lower(), (full.get(name.lower()), None))
        if provider is None or (which and option is None):
            raise InputError(
                f"ONNX Runtime knows no device {device!r}; there are {', '.join(_PROVIDERS)}, and "
                "with a number cuda:1, or a type openvino:GPU."
            )
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise InputError(
                f"The ONNX Runtime that is installed has no {provider} for the device {device!r}; "
                f"it has {', '.join(available)}. Install the package that has it, such as "
                "onnxruntime-gpu or onnxruntime-openvino, in place of onnxruntime."
            )
        if provider == cls.providers[0]:
            return cls()
        options = {option: which} if option and which else {}
        return cls([(provider, options), *cls.providers])

    def session(self, model: onnx.ModelProto, *, plain: bool = False) -> Session:
        """Make a session; a plain one leaves the graph as it is written.

        Raises
        ------
        BackendError
            ONNX Runtime does not take the model.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = self.threads
        # Threads that wait by spinning slow those of the next session.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if plain:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        data = written(model)
        try:
            session = onnxruntime.InferenceSession(data, options, providers=list(self.providers))
        except Exception as error:  # its errors have no common class of their own
            raise BackendError(
                f"ONNX Runtime does not take the model: {_said(error)}. Check that it runs in an "
                "onnxruntime.InferenceSession by itself."
            ) from error
        first = self.providers[0]
        wanted = first if isinstance(first, str) else first[0]
        if wanted not in session.get_providers():
            raise BackendError(
                f"ONNX Runtime cannot start its {wanted} here, and would run on the processor. "
                "Look for its libraries and drivers, or leave the device out."
            )
        return Session(session)


def written(model: onnx.ModelProto) -> bytes:
    """Write a model as bytes.

    Raises
    ------
    BackendError
        It is too large.
    """
    try:
        data: bytes = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise BackendError(
            "The model has more than 2 GB, which is the most that one message can hold. "
            "Explain a smaller one."
        ) from error
    return data


def _said(error: Exception) -> str:
    return str(error).strip().rstrip(".")[:300]
