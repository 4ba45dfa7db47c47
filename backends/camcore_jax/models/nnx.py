"""Flax NNX modules."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
from flax import nnx

from camcore._shared.reads import Snapshot
from camcore.adapter import Layer

from ..inputs import call
from ..marks import NAME, marking_class
from ..weights import Weights
from .base import Model, channels_first, channels_last, in_parameter_order, is_floating


class Constant:
    """What of a module is constant, with a hash that is taken once: it takes a small model's time.

    Parameters
    ----------
    graphdef : nnx.GraphDef
        The module without its variables' values.
    tree : PyTreeDef
        How these are arranged.
    """

    def __init__(self, graphdef: Any, tree: Any) -> None:
        self.parts = graphdef, tree
        self._hash = hash(self.parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.parts == other.parts


class NnxModel(Model):
    """A module; what runs are copies of it, made within the trace."""

    def split(self) -> tuple[Hashable, Any]:
        """Read the values of the module's variables.

        Walking the module takes longer than a small model runs, so where its variables are is
        kept for as long as every attribute is what it was.
        """
        held = self.kept.get("split")
        if held is None or not (held[0].is_current() and _sizes(held[1]) == held[2]):
            graphdef, state = nnx.split(self.model)
            tree, paths = jax.tree.structure(state), [p for p, _ in nnx.to_flat_state(state)]
            nodes = dict(nnx.iter_graph(self.model))
            modules = [node for node in nodes.values() if _is_node(node)]
            reads = [(module, name) for module in modules for name in vars(module)]
            try:
                refs = list(map(weakref.ref, modules))
                places = [(weakref.ref(nodes[path[:-1]]), str(path[-1])) for path in paths]
            except TypeError:  # a tuple of variables
                return Constant(graphdef, tree), jax.tree.leaves(state)
            seen = Snapshot(reads, _is_own), refs, _sizes(refs)
            held = self.kept["split"] = *seen, Constant(graphdef, tree), places
        *_, static, places = held
        return static, [vars(module())[name].get_value() for module, name in places]

    def call(self, static: Any, parameters: Any, inputs: Any) -> Any:
        """Run a copy whose modules are of marking classes, which stay with them in transforms."""
        graphdef, tree = static.parts
        copy = nnx.merge(graphdef, jax.tree.unflatten(tree, parameters))
        copy.eval()
        for path, _ in _below(self.model):  # a copy's attributes are in another order
            module = copy
            for key in path:
                module = (vars(module) if _is_node(module) else module)[key]
            object.__setattr__(module, NAME, _name(path))
            object.__setattr__(module, "__class__", marking_class(type(module)))
        return call(copy, inputs, type(self.model).__call__)

    def layers(self) -> Iterable[Layer]:
        """List the modules by their attributes, joined with dots."""
        return [Layer(_name(path), type(m).__name__, m) for path, m in _below(self.model)]

    def weights(self) -> Mapping[str, Weights]:
        """Read the weights of Flax's own layers."""
        found = {_name(path): _weights(module) for path, module in _below(self.model)}
        return {name: held for name, held in found.items() if held is not None}

    def held(self) -> Mapping[str, Sequence[Any]]:
        """List the parameters and running statistics that each module has of its own."""
        return {
            name: [channels_first(key, variable.get_value()) for key, variable in own.items()]
            for name, own in _own(self.model).items()
        }

    def holding(self, parameters: Mapping[str, Sequence[Any]]) -> Any:
        """Copy the module, and write these into the copy."""
        twin = _copied(self.model)
        own = _own(twin)
        for name, arrays in parameters.items():
            for (key, variable), new in zip(own[name].items(), arrays, strict=True):
                variable.set_value(channels_last(key, new, variable.get_value()))
        return twin


def _copied(model: Any) -> Any:
    """Copy a module, its attributes in their order; Flax's own copies have them in another."""
    twin = nnx.clone(model)
    below = dict(_below(twin))
    for path, module in [((), model), *_below(model)]:
        held = vars(twin if path == () else below[path])
        items = {name: held[name] for name in vars(module) if name in held}
        held.clear()
        held.update(items)
    return twin


def _own(model: Any) -> dict[str, dict[str, Any]]:
    """List the floating parameters and running statistics of each module, each once."""
    found: dict[str, dict[str, Any]] = {}
    seen: set[int] = set()
    for path, module in [((), model), *_below(model)]:
        held = {
            name: value
            for name, value in vars(module).items()
            if isinstance(value, (nnx.Param, nnx.BatchStat))
            and is_floating(value.get_value())
            and id(value) not in seen
        }
        seen.update(map(id, held.values()))
        if held:
            found[_name(path)] = {name: held[name] for name in in_parameter_order(held)}
    return found


def _sizes(modules: Iterable[Any]) -> list[int]:
    """Count the attributes of modules, among which there may be new ones."""
    return [len(vars(module())) for module in modules]


def _is_node(value: Any) -> bool:
    return isinstance(value, nnx.Pytree) and not isinstance(value, nnx.Variable)


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] not in ("flax", "jax", "builtins")


def _name(path: Iterable[Any]) -> str:
    return ".".join(map(str, path))


def _below(model: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the modules that can be called with the attributes they are at, parents first."""
    seen = {id(model)}

    def below(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        parts = vars(node) if _is_node(node) else node
        for key, part in parts.items() if isinstance(parts, dict) else enumerate(parts):
            if id(part) in seen or not (_is_node(part) or isinstance(part, (list, tuple, dict))):
                continue
            seen.add(id(part))
            if isinstance(part, nnx.Module) and callable(part):
                yield (*path, key), part
            yield from below(part, (*path, key))

    return below(model, ())


def _weights(module: Any) -> Weights | None:
    def value(name: str) -> Any:
        variable = getattr(module, name, None)
        return None if variable is None else variable.get_value()

    if isinstance(module, (nnx.Linear, nnx.Conv, nnx.ConvTranspose)):
        is_plain = getattr(module, "feature_group_count", 1) == 1
        is_plain = is_plain and not isinstance(module, nnx.ConvTranspose)
        return Weights(value("kernel") if is_plain else None, value("bias"))
    if isinstance(module, (nnx.LayerNorm, nnx.GroupNorm)):
        return Weights(bias=value("bias"))
    if isinstance(module, nnx.BatchNorm):
        return Weights.of_norm(value, "bias scale mean var", module.epsilon)
    return None
