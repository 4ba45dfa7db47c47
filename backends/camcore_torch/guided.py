"""Pull back through rectifiers by another rule, put on the nodes of a recorded graph.

Nodes show every spelling alike (module, function, method, in place, TorchScript), and
they go with the graph, so there is nothing to take off the model afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from camcore.adapter import Rectifier
from camcore.errors import MethodError

LOWER_BOUND = {
    "Relu": None,
    "Hardtanh": "_saved_min_val",
    "ClampMin": "_saved_min",
    "Clamp": "_saved_min",
    "Threshold": "_saved_threshold",
}
"""Nodes that cut off below a bound, and the attribute that holds it; ReLU6 is a Hardtanh."""

_OPAQUE = re.compile(r"CheckpointFunction|CompiledFunction|DifferentiableGraph")


def apply_rule(roots: Iterable[torch.Tensor], rule: Rectifier) -> None:
    """Let only positive gradients pass through the rectifiers of the graph behind `roots`.

    Raises
    ------
    MethodError
        A part of the graph is one node that does not show its rectifiers.
    """
    nodes = list(_nodes(roots))
    opaque = sorted({node.name() for node in nodes if _OPAQUE.match(node.name())})
    if opaque:
        raise MethodError(
            f"Rectifiers inside {', '.join(opaque)} cannot be reached. Switch off checkpointing "
            "or compiling for this model, or choose a method that leaves rectifiers as they are: "
            "method='saliency'."
        )
    for node in nodes:
        if _is_rectifier(node):
            if rule == "guided":
                node.register_prehook(_positive)
            else:
                node.register_hook(_positive_whatever_the_input)


def _nodes(roots: Iterable[torch.Tensor]) -> Iterator[Any]:
    waiting = [root.grad_fn for root in roots]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [following for following, _ in node.next_functions]


def _is_rectifier(node: Any) -> bool:
    kind = re.sub(r"Backward\d*$", "", node.name())
    bound = LOWER_BOUND.get(kind)
    return kind in LOWER_BOUND and (bound is None or getattr(node, bound) == 0)


def _positive(gradients: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor | None, ...]:
    return tuple(None if gradient is None else gradient.relu() for gradient in gradients)


def _positive_whatever_the_input(
    pulled: tuple[torch.Tensor | None, ...], gradients: tuple[torch.Tensor | None, ...]
) -> tuple[torch.Tensor | None, ...]:
    return (*_positive(gradients[:1]), *pulled[1:])
