"""Follow what layers return to the rectifiers that a model applies to it by functions.

An adapter shows operations one by one, as they are called or as a traced graph lists them.
Only their names count and which tensor is which, so the rules are the same everywhere.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Origins: TypeAlias = frozenset[Any]
"""Layers that a tensor comes from, as an adapter marks them."""


def names(listed: str) -> frozenset[str]:
    """Read a list of names of operations, lower case."""
    return frozenset(listed.split())


RECTIFIERS = names(
    "celu clamp clamp_max clamp_min clipbyvalue elu gelu hardshrink hardswish hardtanh leaky_relu "
    "leakyrelu maximum minimum mish prelu relu relu6 rrelu select selectv2 selu silu softplus "
    "softshrink softsign tanh threshold where"
)
"""Operations, lower case, that are activation functions."""

_CURVES = names(
    "abs erf erfc exp expm1 hardsigmoid log log1p log_sigmoid logsigmoid neg pow rsqrt sigmoid "
    "sqrt square"
)
"""Operations place by place that activation functions are written out with."""

_SUMS = names("add addv2 rsub sub")
_PRODUCTS = names("div mul realdiv true_divide truediv")
_SAME = names(
    "alpha_dropout bfloat16 cast clone contiguous double dropout dropout1d dropout2d dropout3d "
    "ensureshape feature_dropout float half identity identityn to type"
)
_NOT_USED = names("data detach empty_like ones_like oneslike rand_like shape zeros_like zeroslike")
"""Operations that take nothing of a tensor that a gradient would go back through."""


@dataclass(frozen=True)
class _State:
    origins: Origins
    kind: Literal["linear", "curved", "rectified"]


class Rectified:
    """What becomes of layers' outputs, up to where something else uses them.

    A layer's output may be added to others, then go through an activation function; one that
    is written out, such as ``x * sigmoid(x)``, ends where all of ``x`` has come together again.

    Parameters
    ----------
    states : mutable mapping
        Empty; takes tensors as keys, by identity.
    """

    def __init__(self, states: MutableMapping[Any, Any]) -> None:
        self._states = states

    def start(self, tensor: Any, origin: object) -> None:
        """Note that a layer returned a tensor."""
        known = self._states.get(tensor)
        before = known.origins if known is not None and known.kind == "linear" else frozenset()
        self._states[tensor] = _State(before | {origin}, "linear")

    def follows(self, tensor: Any) -> bool:
        """Tell whether a tensor is made of what a layer returned."""
        return tensor in self._states

    def see(self, name: str, given: Sequence[Any], made: Any) -> Origins:
        """Note an operation.

        Parameters
        ----------
        name : str
            As the framework calls it, in any case.
        given : sequence of tensor
            The floating tensors it takes, constants aside.
        made : tensor
            What it returns; one of `given` where it works in place.

        Returns
        -------
        frozenset
            The layers whose output `made` is, rectified; a later tensor may take its place.
        """
        name = name.lower().strip("_")
        if name in _NOT_USED:
            return frozenset()
        state = self._after(name, [self._states.get(tensor) for tensor in given])
        if state is None:
            for tensor in [*given, made]:
                self._states.pop(tensor, None)
            return frozenset()
        self._states[made] = state
        return state.origins if state.kind == "rectified" else frozenset()

    def replace(self, tensor: Any, other: Any) -> None:
        """Note that the model goes on with another tensor in place of one."""
        if (state := self._states.get(tensor)) is not None:
            self._states[other] = state

    @staticmethod
    def _after(name: str, given: Sequence[_State | None]) -> _State | None:
        """Tell what an operation makes of tensors; None where it is another use of them."""
        known = [state for state in given if state is not None]
        if not known:
            return None
        if name in _SAME:
            return given[0]
        origins = frozenset[Any]().union(*(state.origins for state in known))
        is_linear = all(state.kind == "linear" for state in known)
        if name in RECTIFIERS:
            return _State(origins, "rectified" if is_linear else "curved")
        if name in _CURVES:
            return _State(origins, "curved")
        if name not in _SUMS | _PRODUCTS:
            return None
        if len(known) == len(given) and all(state.origins == origins for state in known):
            if len(known) == 1:
                return known[0]
            if not is_linear:
                return _State(origins, "rectified")
            return _State(origins, "linear" if name in _SUMS else "curved")
        linear = [state.origins for state in known if state.kind == "linear"]
        if name in _SUMS and linear:
            return _State(frozenset[Any]().union(*linear), "linear")
        return None
