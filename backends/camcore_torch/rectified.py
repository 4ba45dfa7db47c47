"""What functions make of layers' outputs, seen as they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from camcore.layers.rectified import Origins, Rectified
from camcore_torch.modes import CallMode

Take = Callable[[Origins, torch.Tensor], torch.Tensor]
"""Given layers and what they returned, rectified: what the model shall go on with."""


class Following(CallMode):
    """Follows what layers return, and lets it through `take` where functions rectify it."""

    def __init__(self, take: Take = lambda origins, tensor: tensor) -> None:
        super().__init__()
        self._take = take
        self._rectified = Rectified(WeakTensorKeyDictionary())

    def start(self, tensor: torch.Tensor, origin: object) -> None:
        """Follow a tensor that a layer returned."""
        self._rectified.start(tensor, origin)

    def rectify(self, origins: Origins, tensor: torch.Tensor) -> torch.Tensor:
        """Let what functions make of layers' outputs through `take`."""
        return self._take(origins, tensor)

    def replace(self, tensor: torch.Tensor, other: torch.Tensor) -> None:
        """Follow another tensor in place of one, where that is followed."""
        self._rectified.replace(tensor, other)

    def see(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call the function, and look at what it makes of the tensors that are followed."""
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", name)  # ``x.mT``
        own = args[0] if args else None
        if not isinstance(own, torch.Tensor) or not self._rectified.follows(own):
            result = func(*args, **kwargs)
            return self._seen(name, args, kwargs, result)
        # A function that works in place saves its result for the pull-back: not what is
        # written to below.
        twin = own.clone() if _may_write(name, args, kwargs) else own
        result = func(twin, *args[1:], **kwargs)
        if result is own or result is not twin:
            return self._seen(name, args, kwargs, result)
        own.copy_(self._seen(name, args, kwargs, result))
        self.replace(result, own)
        return own

    def _seen(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        made = next(floating([result]), None)
        if made is None:
            return result
        given = [tensor for tensor in floating([args, [*kwargs.values()]]) if tensor.numel() > 1]
        origins = self._rectified.see(name, given, made)
        if not origins or made is not result:
            return result
        passed_on = self.rectify(origins, made)
        self._rectified.replace(made, passed_on)
        return passed_on


def floating(nest: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Yield the floating tensors of nested lists and tuples."""
    for part in nest:
        if isinstance(part, torch.Tensor):
            if part.is_floating_point():
                yield part
        elif isinstance(part, (list, tuple)) and not isinstance(part, torch.Size):
            yield from floating(part)


def _may_write(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name.startswith("__"):
        return False
    return name.endswith("_") or kwargs.get("inplace") is True or any(a is True for a in args)
