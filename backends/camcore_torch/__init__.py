"""The PyTorch adapter of camcore."""

from __future__ import annotations

from camcore_torch.backend import TorchBackend

__all__ = ["backend"]

backend = TorchBackend()
