"""Taking what layers return in one pass, before anything can change it.

Up to the first captured layer a pass keeps no graph. There the layer's output is
cut off and asked for its gradient, and grad mode goes on: what follows is all that
a gradient is ever worked out for, and parameters are not part of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn

from camcore.errors import LayerError
from camcore.layers import leaves
from camcore.layers.names import not_rectified
from camcore.layers.rectified import Origins
from camcore.nest import flatten, inner_images, put
from camcore_torch import attention
from camcore_torch.inputs import floating
from camcore_torch.layers import LayerCall
from camcore_torch.rectified import Following
from camcore_torch.shells import Shells

Point: TypeAlias = tuple[nn.Module, str]
"""A shell, and what of it is meant, as `camcore.adapter.LayerName.part` says it."""


class Capture:
    """What layers return in one pass.

    Parameters
    ----------
    shells : Shells
        What runs.
    calls : mapping of str to LayerCall
        The calls to capture by the name they were asked for.
    graph : bool
        Whether gradients will be asked for.
    linked : bool
        Whether what is captured stays part of the graph before it; always, of several calls.
    """

    def __init__(
        self,
        shells: Shells,
        calls: Mapping[str, LayerCall],
        *,
        graph: bool,
        linked: bool = False,
    ) -> None:
        self._calls = calls
        self._graph = graph
        self._points: dict[str, Point] = {
            name: (shells.of(call.module), call.name.part)
            for name, call in calls.items()
            if call.module is not None
        }
        self._wanted: defaultdict[Point, set[int]] = defaultdict(set)
        for name, point in self._points.items():
            call = calls[name].name.call
            self._wanted[point].add(-1 if call is None else call)
        # One of the captured may be reached through another.
        self._linked = linked or len(calls) > 1
        self._linked |= any(min(wanted) < -1 for wanted in self._wanted.values())
        self._ran: Counter[Point] = Counter()
        self._kept: defaultdict[Point, dict[int, torch.Tensor | None]] = defaultdict(dict)
        self._returned: dict[nn.Module, dict[str, tuple[int, ...]]] = {}
        self._inputs: dict[str, torch.Tensor] = {}
        self._following: Following | None = None

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Add hooks to the shells for one pass."""
        attending = [module for module, part in self._wanted if part == "attention"]
        followed = [module for module, part in self._wanted if part == "activated"]
        with ExitStack() as undo:  # a second pass may run on the same shells
            for module, part in self._wanted:
                if part not in ("attention", "activated"):
                    hook = partial(self._hook, part)
                    undo.callback(module.register_forward_hook(hook).remove)
            for module in followed:
                undo.callback(module.register_forward_hook(self._follow).remove)
            if followed:
                undo.callback(setattr, self, "_following", None)  # which refers to this
                self._following = undo.enter_context(Following(self._rectified))
            if attending:
                undo.enter_context(attention.watched(attending, self._attended))
            yield

    def take_input(self, inputs: Any) -> Any:
        """Capture the input, where it is asked for; returns the inputs to run the model on."""
        wanted = {name: c.name.input_path for name, c in self._calls.items() if c.module is None}
        found = {
            path: torch.stack(leaf) if isinstance(leaf, list) else leaf
            for path, leaf in (flatten(inputs, is_leaf=inner_images) if wanted else ())
            if isinstance(leaf, list)
            or (isinstance(leaf, torch.Tensor) and leaf.is_floating_point())
        }
        for name, chosen in wanted.items():
            if not found or chosen not in {None, *found}:
                which = "no input is a" if chosen is None else f"the input {chosen!r} is no"
                raise LayerError(
                    f"{name!r} was asked for, but {which} floating tensor. Give floating numbers "
                    "if the model takes them, or choose a method that reads a layer "
                    "(method='gradcam') or alters inputs (method='occlusion')."
                )
            first = next((p for p, tensor in found.items() if tensor.ndim > 2), next(iter(found)))
            path = first if chosen is None else chosen
            self._inputs[name], passed_on = self._take(found[path])
            listed = path not in dict(flatten(inputs))
            pieces = {f"{path}.{i}": part for i, part in enumerate(passed_on)} if listed else {}
            for at, tensor in (pieces or {path: passed_on}).items():
                inputs = put(inputs, at, tensor)
        return inputs

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return the tensor captured for a name.

        Raises
        ------
        LayerError
            The call did not happen, or returned no floating tensor.
        """
        if name in self._inputs:
            return self._inputs[name]
        point = self._points[name]
        asked = self._calls[name].name
        tensor = self._kept[point].get(asked.index(self._ran[point]))
        if tensor is None and asked.part == "activated":
            raise not_rectified(asked)
        if tensor is None and point[1]:
            raise leaves.absent(name, self.leaves(name))
        if tensor is None:
            raise LayerError(f"Layer {name!r} returned no floating tensor; choose another layer.")
        if tensor.is_quantized and self._graph:
            raise LayerError(
                f"Layer {name!r} returned a quantised tensor ({tensor.dtype}), which has no "
                "gradients. Choose a layer that returns floats, a method that needs no gradients "
                "(method='eigencam', 'scorecam'), or explain the model before it was quantised."
            )
        return tensor

    def ran(self, name: str) -> int:
        """Count the calls of the layer that a name means."""
        return self._ran[self._points[name]] if name in self._points else 1

    def leaves(self, name: str) -> dict[str, tuple[int, ...]]:
        """List the shapes of the floating tensors that a name's layer returned, by path."""
        return self._returned.get(self._points[name][0], {}) if name in self._points else {}

    def _hook(self, part: str, module: nn.Module, args: Any, output: Any) -> Any:
        found = floating(output)
        if part or len(found) > 1:
            # What a recurrent layer returns beside its output are its last states.
            shown = dict(list(found.items())[: 1 if isinstance(module, nn.RNNBase) else None])
            self._returned[module] = {path: tuple(t.shape) for path, t in shown.items()}
        path = part or next(iter(found), "")
        tensor = found.get(path)
        passed_on = self._see((module, part), tensor)
        return None if passed_on is tensor else put(output, path, passed_on)

    def _attended(self, module: nn.Module, tensor: torch.Tensor) -> torch.Tensor:
        passed_on = self._see((module, "attention"), tensor)
        assert passed_on is not None
        return passed_on

    def _follow(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Follow what a layer returns to where a function rectifies it."""
        point = module, "activated"
        index = self._may_keep(point)
        path, tensor = next(iter(floating(output).items()), ("", None))
        if index is None or tensor is None:
            return None
        self._kept[point][index] = None
        passed_on = tensor.clone()  # which a function that works in place may write to
        assert self._following is not None
        self._following.start(passed_on, (point, index))
        return put(output, path, passed_on)

    def _rectified(self, origins: Origins, tensor: torch.Tensor) -> torch.Tensor:
        kept, passed_on = self._take(tensor)
        for point, index in origins:
            if index in self._kept[point]:
                self._kept[point][index] = kept
        return passed_on

    def _see(self, point: Point, tensor: torch.Tensor | None) -> torch.Tensor | None:
        """Keep what may be wanted; returns what the model goes on with."""
        index = self._may_keep(point)
        if index is None:
            return tensor
        if tensor is None or tensor.is_quantized:
            self._kept[point][index] = None if tensor is None else tensor.clone()
            return tensor
        self._kept[point][index], passed_on = self._take(tensor)
        if self._following is not None:
            self._following.replace(tensor, passed_on)
        return passed_on

    def _may_keep(self, point: Point) -> int | None:
        """Count a call, and return its index where it may be wanted."""
        index = self._ran[point]
        self._ran[point] += 1
        wanted = self._wanted[point]
        from_end = -min(wanted)
        if index not in wanted and from_end <= 0:
            return None
        if index - from_end not in wanted:
            self._kept[point].pop(index - from_end, None)
        return index

    def _take(self, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Copy a tensor to keep, and one for the model to go on with.

        Both are copies: an in-place ReLU may follow, and the layer may have
        returned memory that somebody else writes to.
        """
        if not self._graph:
            return tensor.detach().clone(), tensor
        torch.set_grad_enabled(True)
        if tensor.requires_grad and not tensor.is_leaf and self._linked:
            kept = tensor.clone()
        else:
            kept = tensor.detach().clone().requires_grad_()
        return kept, kept.clone()
