"""How the tensors of a traced graph come from one another and from what layers return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from camcore.layers.ends import Step, kind_of
from camcore.layers.rectified import Rectified

from .capture import reachable
from .logits import SHOWING

Returned: TypeAlias = Mapping[Any, Iterable[Any]]
"""For each tensor that layers returned, by ``tensor.ref()``, marks of these."""


def rectified(returned: Returned) -> dict[Any, tf.Tensor]:
    """Find what the operations so far make of layers' outputs by rectifying them, by mark."""
    followed, found = Rectified({}), dict[Any, tf.Tensor]()
    for operation in tf.compat.v1.get_default_graph().get_operations():
        given = [each.ref() for each in operation.inputs if _is_array(each)]
        made = [each for each in operation.outputs if each.dtype.is_floating]
        if made and any(map(followed.follows, given)):
            origins = followed.see(operation.type, given, made[0].ref())
            found.update(dict.fromkeys(origins, made[0]))
        for tensor in made:
            for mark in returned.get(tensor.ref(), ()):
                followed.start(tensor.ref(), mark)
    return found


def step(tensor: tf.Tensor) -> Step | None:
    """Tell how a tensor shows others again; see `camcore.layers.ends`."""
    given = [each for each in tensor.op.inputs if _is_array(each)]
    if tensor.op.type in SHOWING and given:
        return Step("same", (given[0],))
    kind = kind_of(tensor.op.type, len(given))
    if kind is None or not given or (kind == "sum" and any(map(_goes_on, given))):
        return None
    return Step(kind, tuple(given))


def made_of(tensor: tf.Tensor) -> set[int]:
    """List by their ids the floating tensors that a tensor is made of, as gradients go back."""

    def before(made: tf.Tensor) -> list[tf.Tensor]:
        stops = made.op.type in ("StopGradient", "PreventGradient")
        return [] if stops else [each for each in made.op.inputs if each.dtype.is_floating]

    return set(reachable([tensor], before))


def _is_array(tensor: tf.Tensor) -> bool:
    return tensor.dtype.is_floating and tensor.shape.num_elements() != 1


def _goes_on(tensor: tf.Tensor) -> bool:
    """Tell whether a tensor is used twice, as that of a residual is, which goes on beside."""
    users = [user for user in tensor.consumers() if any(o.dtype.is_floating for o in user.outputs)]
    return len(users) > 1
