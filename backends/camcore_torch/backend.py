"""What is registered with camcore under the entry point ``torch``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.export import ExportedProgram, unflatten

from camcore.adapter import Mode
from camcore.errors import BackendError
from camcore.zoo import LoadedModel
from camcore_torch import zoo
from camcore_torch.adapter import TorchAdapter
from camcore_torch.fast import FastAdapter

_modules: WeakKeyDictionary[ExportedProgram, nn.Module] = WeakKeyDictionary()


def _module(model: nn.Module | ExportedProgram) -> nn.Module:
    """Bring an exported program back into the modules that it was exported from."""
    if isinstance(model, nn.Module):
        return model
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

        Keras models on torch are modules too.
        """
        return isinstance(model, (nn.Module, ExportedProgram))

    def adapt(self, model: nn.Module | ExportedProgram) -> TorchAdapter:
        """Make the model's adapter; nothing is done to the model."""
        return TorchAdapter(_module(model))

    def adapt_in(self, model: nn.Module | ExportedProgram, mode: Mode) -> TorchAdapter:
        """Make an adapter that runs the model in another mode than inference."""
        if isinstance(model, ExportedProgram):
            raise BackendError(
                f"A program is exported in one mode, and runs in that; leave mode={mode!r} out."
            )
        return TorchAdapter(model, mode)

    fast_ways = ("channels_last",)

    def adapt_fast(self, model: nn.Module | ExportedProgram, ways: Sequence[str]) -> TorchAdapter:
        """Make an adapter that runs a copy of the model faster; see `camcore_torch.fast`."""
        return FastAdapter(_module(model), ways)

    def load(self, scheme: str, name: str, weights: str | None = None) -> LoadedModel:
        """Find a model by name; see `camcore_torch.zoo`."""
        return zoo.load(scheme, name, weights)

    def synchronize(self) -> None:
        """Wait until the accelerator has finished, if there is one."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if torch.backends.mps.is_available():
            torch.mps.synchronize()
