"""Attention, taken where a layer computes it.

A softmax over the last of three axes or more counts as attention, however it is spelled.
What PyTorch computes in one fused kernel is computed step by step instead, so that the
attention is there to be taken, and has a second derivative; the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from camcore_torch.modes import CallMode

Take = Callable[[nn.Module, torch.Tensor], torch.Tensor]
"""Given a module and the attention it computed, what the module shall go on with."""

_SOFTMAX = frozenset({"softmax", "special_softmax"})
"""Functions by ``__name__``, whether of ``torch``, ``Tensor`` or ``torch.nn.functional``."""


def _with_modes_inside(function: Any) -> Any:
    """Make a twin of a function that shows a mode what it calls, not itself as a whole."""
    inside = {**function.__globals__, "has_torch_function": lambda tensors: False}
    twin = FunctionType(function.__code__, inside, function.__name__, function.__defaults__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


_multi_head_attention = _with_modes_inside(F.multi_head_attention_forward)


@contextmanager
def watched(modules: Collection[nn.Module], take: Take) -> Iterator[None]:
    """Let attention through `take`, with the innermost of the modules that computes it.

    Parameters
    ----------
    modules : collection of nn.Module
        Shells, where to look. Softmax layers are passed over in favour of what contains them.
    take : callable
        Called for each attention, ``(B, heads, queries, keys)`` or
        ``(B * heads, queries, keys)``.
    """
    running: list[nn.Module] = []

    def enter(module: nn.Module, args: Any) -> None:
        if not running or type(module).__name__ != "Softmax":
            running.append(module)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if running and running[-1] is module:
            running.pop()

    with ExitStack() as undo:  # a second pass may run on the same shells
        for module in modules:
            undo.callback(module.register_forward_pre_hook(enter).remove)
            undo.callback(module.register_forward_hook(leave).remove)
        undo.enter_context(
            StepByStep(lambda tensor: take(running[-1], tensor) if running else tensor)
        )
        yield


class StepByStep(CallMode):
    """Computes attention in the open and lets it through `take`."""

    def __init__(self, take: Callable[[torch.Tensor], torch.Tensor] = lambda same: same) -> None:
        super().__init__()
        self._take = take

    def see(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call the function, its attention step by step."""
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            with self:
                return _multi_head_attention(*args, **kwargs)
        result = func(*args, **kwargs)
        if name in _SOFTMAX and result.ndim > 2:
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            if dim in (-1, result.ndim - 1):
                return self._take(result)
        return result

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        """Compute ``scaled_dot_product_attention`` as its documentation says."""
        if enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        scores = query @ key.transpose(-2, -1) * scale
        if is_causal:
            attn_mask = torch.ones_like(scores, dtype=torch.bool).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = scores + attn_mask
        attention = self._take(scores.softmax(-1))
        return F.dropout(attention, dropout_p) @ value
