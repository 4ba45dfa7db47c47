"""The adapter's entry point: which models are its own, and how to adapt and load them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from camcore.errors import BackendError, MissingExtraError
from camcore.registry import LoadedModel

if TYPE_CHECKING:
    from .adapter import OnnxAdapter


@contextmanager
def _installed() -> Iterator[None]:
    """Import what takes the libraries, and name the extra where one is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed. Install it with: pip install 'camcore[onnx]'"
        ) from error


class OnnxBackend:
    """Find and adapt ONNX files; see `camcore.registry.Backend`.

    The libraries are only imported once a model is adapted.
    """

    name = "ONNX"
    schemes = ("onnx", "demo-onnx")
    suffixes: ClassVar[Mapping[str, str]] = {".onnx": "onnx"}

    def owns(self, model: object) -> bool:
        """Tell whether the model is a file's path, a `ModelProto` or an `InferenceSession`.

        Or what `load` made of a file.
        """
        if isinstance(model, (str, Path)):
            return Path(model).suffix.lower() in self.suffixes
        known = [
            ("onnx", "ModelProto"),
            ("onnxruntime", "InferenceSession"),
            ("camcore_onnx.model", "Model"),
        ]
        kinds = (getattr(sys.modules.get(module), name, None) for module, name in known)
        return any(kind is not None and isinstance(model, kind) for kind in kinds)

    def adapt(self, model: Any) -> OnnxAdapter:
        """Return the model's adapter; what was read of the model is kept.

        A model in memory is known by its bytes: its adapter does not see what is changed in it
        afterwards.
        """
        if not self.owns(model):
            raise BackendError(
                f"{type(model).__name__} is no ONNX model. Give the path of an .onnx file, an "
                "onnx.ModelProto or an onnxruntime.InferenceSession."
            )
        with _installed():
            from .adapter import OnnxAdapter
            from .source import model_of
        return OnnxAdapter(model_of(model))

    load_options = ("device",)

    def load(
        self, scheme: str, name: str, weights: str | None = None, *, device: str | None = None
    ) -> LoadedModel:
        """Load a file: ``onnx:PATH``; see `camcore_onnx.zoo`."""
        with _installed():
            from . import zoo
        return zoo.load(scheme, name, weights, device=device)

    def synchronize(self) -> None:
        """Do nothing: a run of ONNX Runtime is done when it returns."""
