"""The model's forward pass as it is traced: layers captured, final activations left off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from camcore.nest import fill, flatten

from . import graph
from .attention import LayerSpans
from .capture import Calls, Capture, Key, Leaves, floating_leaves, replace_tensor
from .frozen import FrozenGraph
from .inputs import Signature
from .logits import before_activation
from .preserve import apart, patch_call


def forward(
    model: Any, signature: Signature, tensors: Sequence[tf.Tensor], captures: Sequence[Capture]
) -> tuple[Any, list[Calls], list[Leaves]]:
    """Trace the model, capturing what layers return.

    What is captured passes through an identity, so that it is only what uses a
    layer's output that depends on it.

    Returns
    -------
    outputs : tensor or nest
        What the model returned.
    calls : list of Calls
        For each capture, all calls of its layer.
    returned : list of mapping of str to tensor
        For each capture, the floating tensors that its layer returned by path, recurrent
        states aside; nothing where that was one.
    """
    if isinstance(model, FrozenGraph):
        return model.forward(tensors, captures)
    calls: dict[Key, Calls] = {capture.key: [] for capture in captures}
    returned: dict[int, Leaves] = {}
    spans = LayerSpans()

    def around_call(layer: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
        output = spans.call(layer, call, *args, **kwargs)
        leaves = floating_leaves(output)
        if len(leaves) > 1:
            # What a recurrent layer returns beside its output are its last states.
            shown = 1 if getattr(layer, "return_state", False) else None
            returned[id(layer)] = dict([*leaves.items()][:shown])
        for (of, part), kept in calls.items():
            if of != id(layer) or part in ("attention", "linear"):
                continue
            path = "" if part == "activated" else part
            tensor = leaves.get(path or next(iter(leaves), ""))
            kept.append(None if tensor is None else tf.identity(tensor))
            if tensor is not None:
                output = replace_tensor(output, tensor, kept[-1])
                leaves = floating_leaves(output)
        return output

    def around_activation(layer: Any, activation: Any, tensor: tf.Tensor) -> Any:
        tensor = tf.identity(tensor)
        calls[id(layer), "linear"].append(tensor)
        return activation(tensor)

    own = {capture.key: capture.layer for capture in captures if capture.layer is not None}
    linear = {id(layer): layer for (_, part), layer in own.items() if part == "linear"}
    others = {id(layer): layer for (_, part), layer in own.items() if part != "linear"}
    with apart(model) as patch:
        for layer in linear.values():
            patch(layer, "activation", around_activation)
        for layer in others.values():
            patch_call(patch, layer, around_call)
        outputs = signature.call(model, tensors)
    given = floating_leaves(fill(signature.skeleton, iter(tensors)))
    first = next((p for p, t in given.items() if (t.shape.rank or 0) > 2), next(iter(given), ""))
    for key, name in {capture.key: capture.name for capture in captures}.items():
        if name.is_attention:
            calls[key] += [t for around, t in spans.attention() if key[0] in map(id, around)]
        elif name.is_input:
            calls[key] += [t for path, t in given.items() if path == (name.input_path or first)]
        elif name.part == "activated":
            calls[key] = _rectified(calls[key])
    return (
        outputs,
        [calls[capture.key] for capture in captures],
        [returned.get(id(capture.layer), {}) for capture in captures],
    )


def _rectified(returned: Calls) -> Calls:
    """Give what functions of the model make of what a layer returned, call by call."""
    marks = {tensor.ref(): [i] for i, tensor in enumerate(returned) if tensor is not None}
    made = graph.rectified(marks)
    return [made.get(i) for i in range(len(returned))]


def output_leaves(
    outputs: Any, logits: bool
) -> tuple[dict[str, tf.Tensor], dict[str, str], dict[str, str]]:
    """Flatten the model's outputs, where asked before the activations they end in.

    Returns
    -------
    leaves : dict of str to tensor
        The output tensors by path.
    activation, applied : dict of str to str
        For each leaf that ends in an activation, which one it is: left off, or not.
    """
    leaves = {
        path: tf.identity(leaf)
        for path, leaf in flatten(outputs)
        if isinstance(leaf, (tf.Tensor, tf.Variable))
    }
    ends = {}
    for path, leaf in leaves.items():
        if leaf.dtype.is_floating and (found := before_activation(leaf)):
            before, ends[path] = found
            leaves[path] = before if logits else leaf
    return (leaves, ends, {}) if logits else (leaves, {}, ends)
