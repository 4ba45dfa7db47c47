"""Where in a trace a layer's name means: which array of which call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camcore.adapter import LayerName
from camcore.errors import LayerError
from camcore.layers.leaves import absent
from camcore.layers.names import not_rectified, unknown_layer
from camcore.layers.rectified import Rectified

from .attention import attention
from .graph import Graph, is_floating, name_of
from .marks import mark_p

_NAMES = {
    "max": "maximum",
    "min": "minimum",
    "select_n": "where",
    "logistic": "sigmoid",
    "integer_pow": "pow",
    "convert_element_type": "to",
    "reduce_sum": "sum",
    "reduce_max": "amax",
    "reduce_window_max": "max_pool2d",
    "reduce_window_sum": "avg_pool2d",
    "argmax": "",
}
"""What camcore's core calls JAX's operations, where it calls them otherwise."""


def find(name: str, graph: Graph, kinds: Mapping[str, str]) -> Any:
    """Find the variable that a layer's name means.

    Parameters
    ----------
    name : str
        A path, which may end in ``@activated``, ``@linear``, ``@attention`` or ``@`` and a leaf,
        and in ``#N``, or the input's name.
    graph : Graph
        The model's trace.
    kinds : mapping of str to str
        Class names of the model's layers.

    Raises
    ------
    LayerError
        The model has no such layer, or it did not run, or nothing there is floating.
    """
    parsed = LayerName.among(name, kinds)
    if parsed.is_input:
        return _input(parsed, graph)
    if parsed.path not in kinds:
        raise unknown_layer(name, kinds)
    if parsed.is_attention:
        attended = attention(graph, dict(kinds)).get(parsed.path, [])
        return attended[parsed.index(len(attended))]
    marked = f"{parsed.path}@linear" if parsed.part == "linear" else parsed.path
    leaves = graph.calls.get(marked, {})
    if not leaves and marked in graph.hidden:
        raise LayerError(
            f"Layer {name!r} runs inside {graph.hidden[marked]}, where what it returns cannot be "
            "reached. Choose a layer outside of it, or write a loop out."
        )
    part = "" if parsed.part in ("activated", "linear") else parsed.part
    if leaves and part and part not in leaves:
        raise absent(name, {path: eqns[-1].outvars[0].aval.shape for path, eqns in leaves.items()})
    calls = leaves.get(part or next(iter(leaves), ""), [])
    made = calls[parsed.index(len(calls))].outvars[0]
    if parsed.part == "activated":
        made = rectified(graph).get(made)
        if made is None:
            raise not_rectified(parsed)
    return made


def rectified(graph: Graph) -> dict[Any, Any]:
    """Find what operations make of layers' outputs by rectifying them, by what is marked."""
    followed, found = Rectified({}), dict[Any, Any]()
    for eqn in graph.eqns:
        given = [v for v in eqn.invars if is_array(graph, v)]
        made = eqn.outvars[0]
        if any(map(followed.follows, given)):
            name = "identity" if eqn.primitive is mark_p else operation(eqn)
            found.update(dict.fromkeys(followed.see(name, given, made), made))
        if eqn.primitive is mark_p:
            followed.start(made, made)
    return found


def operation(eqn: Any) -> str:
    """Name an operation as camcore's core does."""
    name = name_of(eqn)
    return _NAMES.get(name, name)


def is_array(graph: Graph, variable: Any) -> bool:
    """Tell whether something is a floating array that is more than one number, spread or not."""
    source = graph.back(variable, ("broadcast_in_dim", "convert_element_type"))
    return is_floating(variable) and source.aval.size != 1


def _input(name: LayerName, graph: Graph) -> Any:
    floating = {path: v for path, v in graph.inputs.items() if is_floating(v)}
    first = next((p for p, v in floating.items() if v.aval.ndim > 2), next(iter(floating), ""))
    path = name.input_path or first
    if path in floating:
        return floating[path]
    raise LayerError(
        f"The model's inputs hold no floating array at {name.input_path!r}."
        if name.input_path
        else "The model's inputs hold no floating array, so there are no gradients at them. Choose "
        "the layer that embeds them, or a method that reads a layer (method='gradcam') or alters "
        "inputs (method='occlusion')."
    )
