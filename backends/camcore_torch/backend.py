"""What is registered with camcore under the entry point ``torch``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from camcore.adapter import Mode
from camcore.zoo import LoadedModel
from camcore_torch import zoo
from camcore_torch.adapter import TorchAdapter
from camcore_torch.fast import FastAdapter


class TorchBackend:
    """PyTorch, as `camcore.registry.Backend` sees it."""

    name = "PyTorch"
    schemes = tuple(zoo.SCHEMES)

    def owns(self, model: object) -> bool:
        """Tell whether the model is a `torch.nn.Module`, as Keras models on torch are too."""
        return isinstance(model, nn.Module)

    def adapt(self, model: nn.Module) -> TorchAdapter:
        """Make the model's adapter; nothing is done to the model."""
        return TorchAdapter(model)

    def adapt_in(self, model: nn.Module, mode: Mode) -> TorchAdapter:
        """Make an adapter that runs the model in another mode than inference."""
        return TorchAdapter(model, mode)

    fast_ways = ("channels_last",)

    def adapt_fast(self, model: nn.Module, ways: Sequence[str]) -> TorchAdapter:
        """Make an adapter that runs a copy of the model faster; see `camcore_torch.fast`."""
        return FastAdapter(model, ways)

    def load(self, scheme: str, name: str, weights: str | None = None) -> LoadedModel:
        """Find a model by name; see `camcore_torch.zoo`."""
        return zoo.load(scheme, name, weights)

    def synchronize(self) -> None:
        """Wait until the accelerator has finished, if there is one."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if torch.backends.mps.is_available():
            torch.mps.synchronize()
