"""Shells of a model's modules: what runs in their place, so that the model is never written to.

A shell is an object of the module's own class with copies of its dictionaries, which hold
the very same tensors. Hooks, modes, patched functions and whatever a ``forward`` stores land
on shells and go with them; the modules themselves are only read, by any number of threads.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import jit, nn

from camcore_torch.layers import is_keras, without_compile

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_SAVING = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_STORES = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
_OWN = frozenset([*_STORES, *_HOOKS, *_SAVING, "_compiled_call_impl"])
"""Attributes of every module that are copied by name, or that no pass writes to."""
_PLAIN = frozenset([int, float, bool, str, bytes, type(None), torch.Size, torch.dtype, type])
_DEPTH = 4
"""How deep containers within containers are searched for modules."""


class OriginalRan(BaseException):
    """One of the user's own modules was about to run: its shell could not be put in its place."""


class Shells:
    """The shells of a model's modules.

    Parameters
    ----------
    model : nn.Module
        The model, which is only read.
    plain_objects : bool
        Whether objects of other classes that an attribute holds are searched for modules too.
    stand_ins : bool
        Whether weights made in inference mode get copies in their place, which autograd can
        save.
    """

    def __init__(
        self, model: nn.Module, *, plain_objects: bool = False, stand_ins: bool = False
    ) -> None:
        self._made: dict[int, tuple[nn.Module, nn.Module]] = {}
        self._objects: dict[int, Any] = {}
        self._plain_objects = plain_objects
        self._stand_ins = stand_ins
        self.model = self.of(model)

    def __iter__(self) -> Iterator[nn.Module]:
        return (shell for _, shell in self._made.values())

    def __contains__(self, module: nn.Module) -> bool:
        return id(module) in self._made

    def of(self, module: nn.Module) -> nn.Module:
        """Give the shell of a module; TorchScript, which fires no hooks, stands for itself."""
        if (found := self._made.get(id(module))) is not None:
            return found[1]
        if isinstance(module, jit.ScriptModule):
            return module
        shell: nn.Module = object.__new__(type(module))
        self._made[id(module)] = module, shell
        held = module.__dict__
        own = shell.__dict__
        own.update(held)
        own["training"] = False
        own["_compiled_call_impl"] = None  # compiled code knows nothing of new hooks
        for name in _HOOKS:
            hooks = held[name]
            own[name] = (
                OrderedDict((key, self._mapped(hook)) for key, hook in hooks.items())
                if hooks
                else OrderedDict()
            )
        own["_parameters"] = held["_parameters"].copy()
        own["_buffers"] = held["_buffers"].copy()
        if self._stand_ins:
            _stand_in(own["_parameters"])
            _stand_in(own["_buffers"])
        own["_non_persistent_buffers_set"] = held["_non_persistent_buffers_set"].copy()
        own["_modules"] = children = held["_modules"].copy()
        for name, child in children.items():
            if child is not None:
                children[name] = self.of(without_compile(child))
        for name, value in list(own.items()):  # another thread may store on the module meanwhile
            kind = type(value)
            if kind in _PLAIN or name in _OWN:
                continue
            if kind is not tuple or not _PLAIN.issuperset(map(type, value)):
                mapped = self._mapped(value, own=True)
                if mapped is not value:
                    own[name] = mapped
        if "_nodes_by_depth" in own and is_keras(module):
            own["_nodes_by_depth"] = self._nodes(held["_nodes_by_depth"])
        return shell

    def drop(self) -> None:
        """Empty the shells, so that what their hooks hold goes at once and not by and by."""
        for _, shell in self._made.values():
            shell.__dict__.clear()
        self._made.clear()
        self._objects.clear()

    def _mapped(self, value: Any, depth: int = 0, *, own: bool = False) -> Any:
        """Put shells in place of the modules that a value holds.

        The model's own containers are copied, whatever they hold; others where that changes them.
        """
        if isinstance(value, nn.Module):
            return self.of(value)
        kind = type(value)
        if kind in _PLAIN or depth > _DEPTH:
            return value
        below = depth + 1
        if isinstance(value, dict):
            return self._dictionary(value, below, own)
        if isinstance(value, (list, set, tuple, deque)):
            held = tuple(value)
            parts = [v if type(v) in _PLAIN else self._mapped(v, below, own=own) for v in held]
            if (not own or isinstance(value, tuple)) and all(map(_is, parts, held)):
                return value
            return _like(value, parts)
        if kind is MethodType:
            owner = self._mapped(value.__self__, below)
            return value if owner is value.__self__ else MethodType(value.__func__, owner)
        if kind is FunctionType and (
            value.__closure__ or value.__defaults__ or value.__kwdefaults__
        ):
            return self._function(value, below)
        if kind is partial:
            pieces = value.func, value.args, value.keywords
            function, args, keywords = mapped = self._mapped(pieces, below)
            return value if mapped is pieces else partial(function, *args, **keywords)
        return self._object(value, below) if self._plain_objects else value

    def _dictionary(self, value: dict[Any, Any], depth: int, own: bool) -> dict[Any, Any]:
        held = dict(value)
        parts = {
            key: part if type(part) in _PLAIN else self._mapped(part, depth, own=own)
            for key, part in held.items()
        }
        if not own and all(map(_is, parts.values(), held.values())):
            return value
        if type(value).__module__ != "collections":  # Keras' own tracked dicts become plain
            return parts
        twin = copy.copy(value)
        twin.update(parts)
        return twin

    def _function(self, value: FunctionType, depth: int) -> Any:
        """Give a function cells and defaults of its own where one of them holds a module."""
        cells = value.__closure__ or ()
        old = tuple(map(_contents, cells)), value.__defaults__, value.__kwdefaults__
        new = self._mapped(old, depth)
        if new is old:
            return value
        closure = tuple(
            cell if now is before else CellType(now)
            for cell, before, now in zip(cells, old[0], new[0], strict=True)
        )
        twin = FunctionType(
            value.__code__, value.__globals__, value.__name__, new[1], closure or None
        )
        twin.__dict__.update(value.__dict__)
        twin.__kwdefaults__ = new[2]
        return twin

    def _object(self, value: Any, depth: int) -> Any:
        """Copy an object of another class that holds modules among its attributes."""
        if (found := self._objects.get(id(value))) is not None:
            return found
        attributes = getattr(value, "__dict__", None)
        if not isinstance(attributes, dict) or isinstance(value, (type, torch.Tensor)):
            return value
        try:
            twin = object.__new__(type(value))
        except TypeError:  # an object with a state of its own beside its attributes
            return value
        self._objects[id(value)] = twin
        twin.__dict__.update(
            (name, part if type(part) in _PLAIN else self._mapped(part, depth))
            for name, part in attributes.items()
        )
        return twin

    def _nodes(self, by_depth: dict[int, list[Any]]) -> dict[int, list[Any]]:
        """Copy the nodes of a functional Keras model, whose operations are its layers."""
        twins: dict[int, list[Any]] = {}
        for depth, nodes in by_depth.items():
            twins[depth] = [copy.copy(node) for node in nodes]
            for node in twins[depth]:
                if isinstance(node.operation, nn.Module):
                    node.operation = self.of(node.operation)
        return twins


@contextmanager
def originals_stopped(shells: Shells) -> Iterator[None]:
    """Within, and in this thread only, raise `OriginalRan` before a user's module runs."""
    here = threading.get_ident()

    def stop(module: nn.Module, args: Any) -> None:
        if threading.get_ident() == here and module in shells:
            raise OriginalRan(type(module).__name__)

    handle = nn.modules.module.register_module_forward_pre_hook(stop)
    try:
        yield
    finally:
        handle.remove()


def _stand_in(tensors: dict[str, torch.Tensor | None]) -> None:
    """Put copies in place of tensors that were made in inference mode."""
    for name, tensor in tensors.items():
        if tensor is not None and tensor.is_inference():
            tensors[name] = tensor.clone()


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return None


def _like(value: Any, parts: list[Any]) -> Any:
    """Make a list, set, tuple or deque of other parts; Keras' own tracked lists become plain."""
    if isinstance(value, tuple):
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, deque):
        return deque(parts, value.maxlen)
    return set(parts) if isinstance(value, set) else parts


def _is(one: object, other: object) -> bool:
    return one is other
