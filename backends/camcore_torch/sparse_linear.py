"""Linear layers pulled back only where there is something to pull back.

In a transformer that classifies by its class token, the gradient reaching the last
block's linear layers is zero for every token but that one. Autograd multiplies the zeros
all the same, which is most of what a seed costs there; here those rows are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def skip_zero_rows(shells: Iterable[nn.Module]) -> None:
    """Let plain linear layers among the shells pass over rows whose gradient is zero."""
    for shell in shells:
        if type(shell) is nn.Linear and "forward" not in shell.__dict__:
            shell.__dict__["forward"] = partial(_forward, shell)


def _forward(module: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    tokens = inputs.ndim > 2 and inputs.requires_grad and inputs.dtype == module.weight.dtype
    if not tokens or not torch.is_grad_enabled() or torch.is_autocast_enabled(inputs.device.type):
        return F.linear(inputs, module.weight, module.bias)
    bias = None if module.bias is None else module.bias.detach()
    result: torch.Tensor = _Linear.apply(inputs, module.weight.detach(), bias)
    return result


class _Linear(torch.autograd.Function):
    """``x W^T + b``, differentiable once and in x."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return F.linear(inputs, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        live = rows.any(dim=1).nonzero()[:, 0]
        if 2 * len(live) > len(rows):
            return gradient @ weight, None, None
        pulled = gradient.new_zeros(len(rows), weight.shape[1])
        pulled[live] = rows[live] @ weight
        return pulled.reshape(*gradient.shape[:-1], -1), None, None
