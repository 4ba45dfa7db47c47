"""What is registered with camcore under the entry point ``torch``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.export import ExportedProgram, unflatten

from camcore.adapter import Mode
from camcore.errors import BackendError
from camcore.zoo import LoadedModel
from camcore_torch import wrapped, zoo
from camcore_torch.adapter import TorchAdapter
from camcore_torch.fast import FastAdapter

_modules: WeakKeyDictionary[ExportedProgram, nn.Module] = WeakKeyDictionary()


def _module(model: Any) -> nn.Module:
    """Find the module that computes; an exported program becomes modules again."""
    if not isinstance(model, ExportedProgram):
        return wrapped.unwrapped(model)
    if model not in _modules:
        _modules[model] = unflatten(model)
    return _modules[model]


class TorchBackend:
    """PyTorch, as `camcore.registry.Backend` sees it."""

    name = "PyTorch"
    schemes = tuple(zoo.SCHEMES)
    suffixes: Mapping[str, str] = {".pt2": "pt2"}

    def owns(self, model: object) -> bool:
        """Tell whether the model is a `torch.nn.Module` or an exported program.

        Keras models on torch are modules too, and so is an ultralytics ``YOLO``; a pipeline of
        transformers has one in it.
        """
        return isinstance(model, (nn.Module, ExportedProgram)) or wrapped.is_pipeline(model)

    def adapt(self, model: Any) -> TorchAdapter:
        """Make the model's adapter; nothing is done to the model."""
        return TorchAdapter(_module(model))

    def adapt_in(self, model: Any, mode: Mode) -> TorchAdapter:
        """Make an adapter that runs the model in another mode than inference."""
        if isinstance(model, ExportedProgram):
            raise BackendError(
                f"A program is exported in one mode, and runs in that; leave mode={mode!r} out."
            )
        return TorchAdapter(_module(model), mode)

    fast_ways = ("channels_last",)

    def adapt_fast(self, model: Any, ways: Sequence[str]) -> TorchAdapter:
        """Make an adapter that runs a copy of the model faster; see `camcore_torch.fast`."""
        return FastAdapter(_module(model), ways)

    def describe(self, model: Any) -> LoadedModel | None:
        """Describe what brings its preprocessing: pipelines of transformers, and YOLO."""
        if wrapped.is_pipeline(model):
            from camcore_torch.zoo_transformers import described

            return described(wrapped.unwrapped(model), model.image_processor)
        if wrapped.is_yolo(model):
            from camcore_torch import zoo_ultralytics

            return zoo_ultralytics.described(wrapped.unwrapped(model))
        return None

    def cached_files(self, scheme: str, name: str) -> list[Path]:
        """List the files of a model of the Hugging Face Hub in its local cache."""
        if scheme != "hf" or Path(name).exists():
            return []
        from camcore_torch.zoo_transformers import snapshot

        return snapshot(name)

    load_options = zoo.LOAD_OPTIONS

    def load(
        self, scheme: str, name: str, weights: str | None = None, **options: Any
    ) -> LoadedModel:
        """Find a model by name; see `camcore_torch.zoo`."""
        return zoo.load(scheme, name, weights, **options)

    def synchronize(self) -> None:
        """Wait until the accelerator has finished, if there is one."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if torch.backends.mps.is_available():
            torch.mps.synchronize()
