"""Shells of a model's modules: what runs in their place, so that the model is never written to.

A shell is an object of the module's own class with copies of its dictionaries, which hold
the very same tensors. Hooks, modes, patched functions and whatever a ``forward`` stores land
on shells and go with them; the modules themselves are only read, by any number of threads.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from types import CellType, FunctionType, MethodType
from typing import Any, TypeAlias

import torch
from torch import jit, nn

from camcore.adapter import Mode
from camcore_torch.layers import is_keras, without_compile

_HOOKS = tuple(name for name, value in vars(nn.Module()).items() if isinstance(value, OrderedDict))
_hooks_of = itemgetter(*_HOOKS)
_OWN = frozenset(vars(nn.Module()))
"""Attributes of every module, which a shell has for itself or no pass writes to."""
_PLAIN = frozenset([int, float, bool, str, bytes, type(None), torch.Size, torch.dtype, type])
_DEPTH = 4
"""How deep containers within containers are searched for modules."""

_plain: dict[type[nn.Module], int] = {}
"""PyTorch's own classes whose attributes are numbers and strings, and how many there are.

An instance with as many has been given none that could hold a module.
"""


class OriginalRan(BaseException):
    """One of the user's own modules was about to run: its shell could not be put in its place."""


class Blank:
    """An empty object of a module's class, with hooks and modes of its own.

    Blanks are filled, run and emptied again, and serve the next pass.
    """

    __slots__ = ("hooks", "module", "own", "shell", "stores")

    def __init__(self, kind: type[nn.Module]) -> None:
        self.module: nn.Module | None = None
        self.shell: nn.Module = object.__new__(kind)
        self.own: dict[str, Any] = {}
        self.hooks: list[OrderedDict[Any, Any]] = [OrderedDict() for _ in _HOOKS]
        self.stores = {
            "training": False,
            "_compiled_call_impl": None,  # compiled code knows nothing of new hooks
            **dict(zip(_HOOKS, self.hooks, strict=True)),
        }

    def fill(self, module: nn.Module) -> dict[str, Any]:
        """Give the shell a copy of a module's attributes, and of the stores among them."""
        self.module = module
        # At one instant: another thread may store on the module meanwhile.
        self.own = own = module.__dict__.copy()
        object.__setattr__(self.shell, "__dict__", own)
        own.update(self.stores)
        own["_parameters"] = own["_parameters"].copy()
        own["_buffers"] = own["_buffers"].copy()
        own["_modules"] = own["_modules"].copy()
        own["_non_persistent_buffers_set"] = own["_non_persistent_buffers_set"].copy()
        return own

    def empty(self) -> None:
        """Forget everything, so that what the shell holds goes at once and not by and by."""
        self.module = None
        self.own.clear()
        if any(self.hooks):
            for hooks in self.hooks:
                hooks.clear()


Blanks: TypeAlias = dict[type[nn.Module], list[Blank]]
"""Blanks that no pass uses, by class."""


class Shells:
    """The shells of a model's modules.

    Parameters
    ----------
    model : nn.Module
        The model, which is only read.
    blanks : dict
        Where blanks are taken from and go back to; passes in several threads may share it.
    plain_objects : bool
        Whether objects of other classes that an attribute holds are searched for modules too.
    stand_ins : bool
        Whether weights made in inference mode get copies in their place, which autograd can
        save.
    mode : {"eval", "as-is", "train"}
        The mode that the shells are in: eval, that of their modules, or train.
    own_buffers : bool
        Whether shells in eval mode too have copies of their modules' buffers.
    """

    def __init__(
        self,
        model: nn.Module,
        blanks: Blanks,
        *,
        plain_objects: bool = False,
        stand_ins: bool = False,
        mode: Mode = "eval",
        own_buffers: bool = False,
    ) -> None:
        self._blanks = blanks
        self._made: dict[int, Blank] = {}
        self._objects: dict[int, Any] = {}
        self._plain_objects = plain_objects
        self._stand_ins = stand_ins
        self._mode = mode
        self._own_buffers = own_buffers
        self._buffers: list[torch.Tensor] = []
        self.model = self.of(model)

    def __iter__(self) -> Iterator[nn.Module]:
        return (blank.shell for blank in self._made.values())

    def __contains__(self, module: nn.Module) -> bool:
        return id(module) in self._made

    @property
    def originals(self) -> list[nn.Module]:
        """The modules that the shells stand for, also those that only a list holds."""
        return [blank.module for blank in self._made.values() if blank.module is not None]

    def of(self, module: nn.Module) -> nn.Module:
        """Give the shell of a module, or of what was compiled of it.

        TorchScript, which fires no hooks, stands for itself.
        """
        if (found := self._made.get(id(module))) is not None:
            return found.shell
        held, kind = module.__dict__, type(module)
        if "_orig_mod" in held.get("_modules", ()):
            return self.of(without_compile(module))
        try:
            blank = self._blanks[kind].pop()
        except (KeyError, IndexError):
            if issubclass(kind, jit.ScriptModule):
                return module
            blank = Blank(kind)
        self._made[id(module)] = blank
        own = blank.fill(module)
        if self._stand_ins:
            _stand_in(own["_parameters"])
            _stand_in(own["_buffers"])
        if self._mode != "eval" and (self._mode == "train" or held["training"]):
            own["training"] = True
        if own["_buffers"] and (self._own_buffers or own["training"]):
            with torch.inference_mode(False):
                own["_buffers"] = {
                    name: buffer if buffer is None else buffer.clone()
                    for name, buffer in own["_buffers"].items()
                }
            self._buffers += [b for b in own["_buffers"].values() if b is not None]
        if any(theirs := _hooks_of(held)):
            for hooks, given in zip(blank.hooks, theirs, strict=True):
                hooks.update((key, self._mapped(hook)) for key, hook in given.copy().items())
        children = own["_modules"]
        for name, child in children.items():
            if child is not None:
                children[name] = self.of(child)
        if _plain.get(kind) != len(held) or self._plain_objects:
            self._fill_attributes(module, own)
        return blank.shell

    @property
    def wrote_buffers(self) -> bool:
        """Whether a pass wrote to a shell's own buffer."""
        return any(buffer._version for buffer in self._buffers)

    def drop(self) -> None:
        """Empty the shells."""
        for blank in self._made.values():
            blank.empty()
            self._blanks.setdefault(type(blank.shell), []).append(blank)
        self._made.clear()
        self._objects.clear()

    def _fill_attributes(self, module: nn.Module, own: dict[str, Any]) -> None:
        """Put shells in place of the modules that attributes hold, and copies of containers."""
        is_plain = True
        for name in own.keys() - _OWN:
            value = own[name]
            kind = type(value)
            if kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, value))):
                continue
            is_plain = is_plain and kind is list and _PLAIN.issuperset(map(type, value))
            mapped = self._mapped(value, own=True)
            if mapped is not value:
                own[name] = mapped
        if "_nodes_by_depth" in own and is_keras(module):
            own["_nodes_by_depth"] = self._nodes(module.__dict__["_nodes_by_depth"])
        if is_plain and type(module).__module__.startswith("torch.nn.modules."):
            _plain[type(module)] = len(module.__dict__)

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


def stop_originals(shells: Shells) -> Callable[[nn.Module, Any], None]:
    """Make a hook that raises `OriginalRan` before a user's module runs, in this thread only."""
    here = threading.get_ident()

    def stop(module: nn.Module, args: Any) -> None:
        if threading.get_ident() == here and module in shells:
            raise OriginalRan(type(module).__name__)

    return stop


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
