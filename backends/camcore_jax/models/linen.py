"""Flax Linen modules, bound to their variables."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from camcore.adapter import Layer
from camcore.errors import BackendError

from ..inputs import call
from ..marks import run_layer
from ..weights import Weights
from .base import Model, channels_first, channels_last, in_parameter_order, is_floating


class LinenModel(Model):
    """A bound module; Flax lets calls be seen without touching it."""

    def __init__(self, model: nn.Module, kept: dict[str, Any]) -> None:
        super().__init__(model, kept)
        if model.scope is None:
            raise BackendError(
                f"The {type(model).__name__} has no variables: bind it to them, "
                "model.bind(variables), and give what that returns."
            )
        self._seen: dict[str, nn.Module] = kept.setdefault("seen", {})

    def split(self) -> tuple[Hashable, Any]:
        """Return the variables that the module is bound to."""
        return (), dict(self.model.variables)

    def call(self, static: Any, parameters: Any, inputs: Any) -> Any:
        """Apply the module, and mark what each one inside it returns."""

        def around(function: Any, args: Any, kwargs: Any, context: Any) -> Any:
            module = context.module
            if context.method_name != "__call__" or not module.path:
                return function(*args, **kwargs)
            name = "/".join(module.path)
            self._seen.setdefault(name, module.clone(parent=None))
            return run_layer(name, function, *args, **kwargs)

        module, _ = self.model.unbind()

        def bound(*args: Any, **kwargs: Any) -> Any:
            return module.apply(parameters, *args, **kwargs)

        with nn.intercept_methods(around):
            return call(bound, inputs, type(module).__call__)

    def layers(self) -> Iterable[Layer]:
        """List the modules that have variables or ran, joined with slashes."""
        names = [
            "/".join(map(str, path[1:depth]))
            for path in flatten_dict(dict(self.model.variables))
            for depth in range(2, len(path))
        ]
        for name in self.in_order(names):
            module = self._seen.get(name)
            # Flax numbers the modules that the user has not named: Dense_0.
            kind = name.rpartition("/")[2].rstrip("0123456789").rstrip("_")
            yield Layer(name, type(module).__name__ if module is not None else kind, module)

    def weights(self) -> Mapping[str, Weights]:
        """Read kernels, biases and running statistics by the names that Flax gives them."""
        held: dict[str, dict[str, Any]] = {}
        for (_, *path, name), array in flatten_dict(dict(self.model.variables)).items():
            held.setdefault("/".join(map(str, path)), {})[str(name)] = array
        names = [name for name in self.in_order(held) if name in held and name]
        return {name: self._weights(name, held[name]) for name in names}

    def held(self) -> Mapping[str, Sequence[Any]]:
        """List what each module has of its own; once modules ran, in the order of that."""
        return {
            name: [channels_first(path[-1], array) for path, array in arrays.items()]
            for name, arrays in self._floating().items()
        }

    def holding(self, parameters: Mapping[str, Sequence[Any]]) -> Any:
        """Bind the module to variables of which these take the place of their own."""
        module, variables = self.model.unbind()
        flat = flatten_dict(dict(variables))
        own = self._floating()
        for name, arrays in parameters.items():
            for (path, old), new in zip(own[name].items(), arrays, strict=True):
                flat[path] = channels_last(path[-1], new, old)
        return module.bind(unflatten_dict(flat))

    def _floating(self) -> dict[str, dict[tuple[str, ...], Any]]:
        """List the floating variables of each module by their paths."""
        flat = {p: a for p, a in flatten_dict(dict(self.model.variables)).items() if is_floating(a)}
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for path in flat:
            found.setdefault("/".join(map(str, path[1:-1])), {})[str(path[-1])] = path
        names = [name for name in self.in_order(found) if name in found]
        return {
            name: {
                found[name][key]: flat[found[name][key]] for key in in_parameter_order(found[name])
            }
            for name in names
        }

    def _weights(self, name: str, arrays: Mapping[str, Any]) -> Weights:
        module = self._seen.get(name)
        if "mean" not in arrays or "var" not in arrays:
            is_plain = getattr(module, "feature_group_count", 1) == 1
            if isinstance(module, nn.DenseGeneral):
                return Weights()  # it adds along several axes
            return Weights(arrays.get("kernel") if is_plain else None, arrays.get("bias"))
        epsilon = getattr(module, "epsilon", None)
        return Weights.of_norm(arrays.get, "bias scale mean var", epsilon)
