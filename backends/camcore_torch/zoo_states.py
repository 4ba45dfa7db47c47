"""Read weights from files, and load them into a model; nothing that a file pickles is run."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

import torch
from torch import nn

from camcore._shared.optional import needs
from camcore._shared.reading import reading
from camcore.errors import InputError
from camcore.registry import LoadOptions
from camcore.zoo import check_weights
from camcore_torch.inputs import to_numpy

State: TypeAlias = "dict[str, torch.Tensor]"

_STATE_DICT: Final = "a state dict as torch.save(model.state_dict(), path) writes it"

# In the order in which they are taken where several fit: what was trained, then its average.
_PLACES: Final = (
    *("", "state_dict", "model_state_dict", "model", "net", "network", "module", "weights"),
    *("params", "ema", "ema_state_dict", "model_ema", "state_dict_ema", "params_ema"),
)
_PREFIXES: Final = ("", "model.", "module.", "model.module.", "net.", "network.", "ema_model.")

_DEEPEST: Final = 3
"""Mappings within mappings that are looked into."""


def fill(model: nn.Module, options: LoadOptions) -> None:
    """Load the weights that are asked for into a model; without any, leave it as it is.

    Parameters
    ----------
    model : nn.Module
        Changed in place.
    options : LoadOptions
        Where its `weights` or its `checkpoint` are.

    Raises
    ------
    InputError
        The file cannot be read, or does not fit the model.
    """
    if options.weights is not None:
        with reading(Path(options.weights), _STATE_DICT):
            _load(model, options.weights, _plain(read(options.weights), options.weights))
    if options.checkpoint is not None:
        expected = "a checkpoint as a trainer writes it by torch.save, or .safetensors"
        with reading(Path(options.checkpoint), expected):
            _load(model, options.checkpoint, _found(model, options.checkpoint))


def read(path: str) -> Any:
    """Read a file of tensors alone: ``.safetensors``, or what ``torch.save`` wrote."""
    if path.endswith(".safetensors"):
        with needs("models", "reading .safetensors"):
            from safetensors.torch import load_file
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _plain(state: Any, path: str) -> State:
    """Take the state dict that a file of weights holds."""
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds a {type(state).__name__}; expected a state dict.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _load(model: nn.Module, path: str, given: State) -> None:
    """Load a state dict, or say how it does not fit."""
    if said := _misfit(model, given):
        raise InputError(f"The weights in {path} do not fit {type(model).__name__}: {said}")
    own = model.state_dict()
    # As the model is to hold them: a number may be finite in float64 alone.
    held = {k: v if v.is_complex() else v.to(own[k].dtype) for k, v in given.items()}
    check_weights(path, {key: to_numpy(value) for key, value in held.items()})
    model.load_state_dict(given)


def _misfit(model: nn.Module, given: State) -> str:
    """Say how a state dict does not fit a model; nothing where it does."""
    own = model.state_dict()
    other = {
        key: (tuple(given[key].shape), tuple(value.shape))
        for key, value in own.items()
        if key in given and given[key].shape != value.shape
    }
    wrong = {
        "missing": [key for key in own if key not in given],
        "not in the model": [key for key in given if key not in own],
        "of another shape": [f"{key} {found} for {shape}" for key, (found, shape) in other.items()],
    }
    if not any(wrong.values()):
        return ""
    told = "; ".join(f"{len(v)} {kind}, such as {v[0]}" for kind, v in wrong.items() if v)
    lengths = {found[:1] for found, shape in other.values() if found[1:] == shape[1:]}
    if len(other) == sum(map(len, wrong.values())) and len(lengths) == 1 and len(other) <= 2:
        ((count,),) = lengths
        return (
            f"of its {len(own)} tensors {told}. They are for {count} classes: say so, by "
            f"num_classes={count}, on the command line --num-classes {count}."
        )
    return f"of its {len(own)} tensors {told}. Give a state dict of this very architecture."


@dataclass(frozen=True)
class _Place:
    """A state dict within a checkpoint, and the prefix before the model's own names."""

    key: str
    prefix: str
    state: State

    @property
    def rank(self) -> tuple[int, int]:
        """Its place in the order of what is taken; unknown names come last, all alike."""
        at = self.key.rpartition("/")[2]
        return (
            _PLACES.index(at) if at in _PLACES else len(_PLACES),
            _PREFIXES.index(self.prefix) if self.prefix in _PREFIXES else len(_PREFIXES),
        )

    @property
    def name(self) -> str:
        """Its name, for people."""
        return "/".join(filter(None, (self.key, self.prefix.removesuffix("."))))

    def within(self) -> State:
        """Drop the prefix, and what does not have it."""
        start = len(self.prefix)
        return {k[start:]: v for k, v in self.state.items() if k.startswith(self.prefix)}


def _found(model: nn.Module, path: str) -> State:
    """Find the model's state dict in a checkpoint, whatever a trainer calls it."""
    dicts = dict(_state_dicts(_anything(path)))
    if not dicts:
        raise InputError(f"{path} holds no tensors by name. Expected a checkpoint with weights.")
    first = next(iter(model.state_dict()))
    places = [
        _Place(key, prefix, state) for key, state in dicts.items() for prefix in _at(first, state)
    ]
    fit = sorted((p for p in places if not _misfit(model, p.within())), key=lambda p: p.rank)
    if not fit:
        best = max(
            (one.within() for one in places), default={}, key=lambda state: _alike(model, state)
        )
        return best or max(dicts.values(), key=len)
    if len(fit) > 1 and fit[0].rank == fit[1].rank:
        raise InputError(
            f"{path} holds several that fit: {', '.join(one.name for one in fit)}. Save the one "
            "that is meant with torch.save, and give that file as weights."
        )
    return fit[0].within()


def _at(name: str, state: State) -> list[str]:
    """List the prefixes under which a state dict has a name."""
    return [k.removesuffix(name) for k in state if k == name or k.endswith(f".{name}")]


def _alike(model: nn.Module, state: State) -> int:
    """Count the tensors that a state dict has by the model's names."""
    return len(model.state_dict().keys() & state.keys())


def _state_dicts(value: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """Find the mappings of names to tensors in a checkpoint, and in modules pickled in it."""
    if isinstance(value, _Inert):
        value = dict(value.tensors())
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return
    # torch.compile puts a name of its own between a module's and those of its parts.
    tensors = {
        str(k).replace("_orig_mod.", ""): v for k, v in value.items() if isinstance(v, torch.Tensor)
    }
    if tensors:
        yield key, tensors
    for name, part in value.items():
        yield from _state_dicts(part, f"{key}/{name}" if key else str(name), depth + 1)


def _anything(path: str) -> Any:
    """Read a checkpoint, in which all but tensors, numbers and containers is passed over."""
    if path.endswith(".safetensors"):
        return read(path)
    refuse_program(path)
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_PASSING_OVER)


def refuse_program(path: str) -> None:
    """Raise ValueError for TorchScript, which ``torch.load`` would load as a program."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ValueError("it is TorchScript, whose layers cannot be looked at")


class _Inert:
    """What stands for an object of a class that is not looked up, and so does nothing."""

    state: Any = None

    def __init__(self, *args: object, **options: object) -> None:
        """Take whatever an object of the class would take."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: object) -> _Inert:
        return self

    def append(self, item: object) -> None:
        """Drop what a list of another class would hold."""

    def extend(self, items: object) -> None:
        """Drop what a list of another class would hold."""

    def add(self, item: object) -> None:
        """Drop what a set of another class would hold."""

    def __setitem__(self, key: object, value: object) -> None:
        """Drop what a mapping of another class would hold."""

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
        """List the parameters and buffers of a module by the names in its state dict."""
        state = self.state if isinstance(self.state, dict) else {}
        hidden = state.get("_non_persistent_buffers_set", ())
        for kind in ("_parameters", "_buffers"):
            for name, value in (state.get(kind) or {}).items():
                if isinstance(value, torch.Tensor) and name not in hidden:
                    yield prefix + name, value
        for name, part in (state.get("_modules") or {}).items():
            if isinstance(part, _Inert):
                yield from part.tensors(f"{prefix}{name}.")


_PLAIN: Final = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    **{("builtins", kind.__name__): kind for kind in (set, frozenset, complex, slice)},
    **{("__builtin__", kind.__name__): kind for kind in (set, frozenset, complex, slice)},
}
"""What is looked up for a pickle; nothing of it runs code of the file's choosing."""


class _Unpickler(pickle.Unpickler):
    """Unpickle tensors and containers, with `_Inert` objects in place of all others."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up a class or function by its name."""
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if module in ("torch", "torch.storage"):
            found = getattr(torch, name, None)
            is_storage = isinstance(found, type) and name.endswith("Storage")
            if is_storage or isinstance(found, torch.dtype):
                return found
        return type(name, (_Inert,), {})


def _passing_over() -> ModuleType:
    """Make what ``torch.load`` unpickles with."""
    made: Any = ModuleType("pickle_passing_over")
    made.Unpickler = _Unpickler
    made.load = lambda file, **options: _Unpickler(file, **options).load()
    return made  # type: ignore[no-any-return]


_PASSING_OVER: Final = _passing_over()
