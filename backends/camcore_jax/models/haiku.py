"""Haiku's transformed functions, with their parameters."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from camcore.adapter import Layer

from ..inputs import call
from ..marks import run_layer
from ..weights import Weights
from .base import Model, channels_first, channels_last, in_parameter_order, is_floating


@dataclass(frozen=True, eq=False)
class Haiku:
    """A model of Haiku: a transformed function, and what it is applied to.

    Parameters
    ----------
    transformed : haiku.Transformed or haiku.TransformedWithState
        What ``haiku.transform`` or ``haiku.transform_with_state`` returns.
    parameters : mapping
        The parameters.
    state : mapping, optional
        The state, of a function transformed with state.
    options : mapping
        Further arguments by name: ``{"is_training": False}``.
    """

    transformed: Any
    parameters: Any
    state: Any = None
    options: Mapping[str, Any] | None = None


class HaikuModel(Model):
    """A `Haiku`; the library lets calls be seen without touching anything."""

    def __init__(self, model: Haiku, kept: dict[str, Any]) -> None:
        super().__init__(model, kept)
        # What a module was made with; not the module, which holds what it traced.
        self._seen: dict[str, tuple[str, float]] = kept.setdefault("seen", {})

    def split(self) -> tuple[Hashable, Any]:
        """Return parameters and state."""
        return (), (self.model.parameters, self.model.state)

    def call(self, static: Any, parameters: Any, inputs: Any) -> Any:
        """Apply the function, and mark what each module in it returns."""
        import haiku as hk

        def around(function: Any, args: Any, kwargs: Any, context: Any) -> Any:
            module = context.module
            if context.method_name != "__call__":
                return function(*args, **kwargs)
            about = type(module).__name__, float(getattr(module, "eps", 0.0))
            self._seen.setdefault(module.module_name, about)
            return run_layer(module.module_name, function, *args, **kwargs)

        held, state = parameters
        given = (held,) if state is None else (held, state)

        def bound(*args: Any, **kwargs: Any) -> Any:
            made = self.model.transformed.apply(*given, None, *args, **kwargs)
            return made if state is None else made[0]

        def options() -> None:
            """Take no argument: what tells of inference is said in `Haiku.options`."""

        with hk.intercept_methods(around):
            named = dict(self.model.options or {})
            return call(lambda *a, **k: bound(*a, **k, **named), inputs, options)

    def layers(self) -> Iterable[Layer]:
        """List the modules that have parameters or ran, by the names that Haiku gives them."""
        names = [
            "/".join(steps[: depth + 1])
            for steps in (name.split("/") for name in self.model.parameters)
            for depth, step in enumerate(steps)
            if step != "~"
        ]
        for name in self.in_order(names):
            last = name.rpartition("/")[2].rstrip("0123456789").rstrip("_")
            yield Layer(name, self._seen.get(name, (last,))[0], None)

    def weights(self) -> Mapping[str, Weights]:
        """Read weights, biases and running averages by the names that Haiku gives them."""
        found, state = dict[str, Weights](), self.model.state or {}
        for name in self.in_order(self.model.parameters):
            arrays = self.model.parameters.get(name, {})
            found[name] = Weights(arrays.get("w"), arrays.get("b", arrays.get("offset")))
            mean = state.get(f"{name}/~/mean_ema", {}).get("average")
            if mean is not None:
                variance = state[f"{name}/~/var_ema"]["average"]
                held = arrays.get("offset"), arrays.get("scale"), mean, variance
                _, epsilon = self._seen.get(name, ("", None))
                found[name] = Weights(None, *held, epsilon)
        return found

    def held(self) -> Mapping[str, Sequence[Any]]:
        """List the parameters and running averages of each module; in the order of a run."""
        return {
            name: [_shown(key, self._at(path)) for key, path in own.items()]
            for name, own in self._floating().items()
        }

    def holding(self, parameters: Mapping[str, Sequence[Any]]) -> Any:
        """Make a `Haiku` with these in place of the modules' own; nothing given is written to."""
        written = {
            which: {module: dict(arrays) for module, arrays in held.items()}
            for which, held in self._held().items()
        }
        own = self._floating()
        for name, arrays in parameters.items():
            for (key, path), new in zip(own[name].items(), arrays, strict=True):
                which, module, entry = path
                old = self._at(path)
                written[which][module][entry] = channels_last(key, new, old).reshape(old.shape)
        state = None if self.model.state is None else written["state"]
        return replace(self.model, parameters=written["parameters"], state=state)

    def _floating(self) -> dict[str, dict[str, _Path]]:
        """Find what each module has, by the names that Flax has for it."""
        found: dict[str, dict[str, _Path]] = {}
        for which, held in self._held().items():
            for module, arrays in held.items():
                owner, _, average = module.rpartition("/~/")
                is_average = which == "state" and average in _AVERAGES
                for entry in arrays if which == "parameters" else ["average"] * is_average:
                    path = which, module, entry
                    key = _AVERAGES[average] if is_average else _AS_FLAX.get(entry, entry)
                    if is_floating(self._at(path)):
                        found.setdefault(owner if is_average else module, {})[key] = path
        return {
            name: {key: found[name][key] for key in in_parameter_order(found[name])}
            for name in self.in_order(found)
            if name in found
        }

    def _held(self) -> Mapping[str, Any]:
        return {"parameters": self.model.parameters, "state": self.model.state or {}}

    def _at(self, path: _Path) -> Any:
        which, module, entry = path
        return self._held()[which][module][entry]


_Path: TypeAlias = tuple[str, str, str]
"""Whether it is a parameter or of the state, the module's name, and its own."""

_AS_FLAX = {"w": "kernel", "b": "bias", "offset": "bias"}
_AVERAGES = {"mean_ema": "mean", "var_ema": "var"}


def _shown(name: str, array: Any) -> Any:
    """Bring a kernel to (O, C, *K), and the vectors of a normalisation, (1, 1, 1, O), to (O,)."""
    is_vector = name != "kernel" and array.size == max(array.shape, default=0)
    return array.ravel() if is_vector else channels_first(name, array)
