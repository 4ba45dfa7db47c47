"""The model's forward pass as it is traced: layers captured, final activations left off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from camcore.nest import flatten

from .attention import LayerSpans
from .capture import Calls, Capture, floating_tensors, replace_tensor
from .inputs import Signature
from .logits import before_activation
from .preserve import apart, patch_call


def forward(
    model: Any, signature: Signature, tensors: Sequence[tf.Tensor], captures: Sequence[Capture]
) -> tuple[Any, list[Calls]]:
    """Trace the model, capturing what layers return.

    What is captured passes through an identity, so that it is only what uses a
    layer's output that depends on it.

    Returns
    -------
    outputs : tensor or nest
        What the model returned.
    calls : list of Calls
        For each capture, all calls of its layer.
    """
    calls: dict[tuple[int, str], Calls] = {capture.key: [] for capture in captures}
    spans = LayerSpans()

    def around_call(layer: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
        output = spans.call(layer, call, *args, **kwargs)
        if (returned := calls.get((id(layer), ""))) is None:
            return output
        tensor = next(iter(floating_tensors(output)), None)
        returned.append(None if tensor is None else tf.identity(tensor))
        return output if tensor is None else replace_tensor(output, tensor, returned[-1])

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
    floating = floating_tensors(tensors)
    image = [tensor for tensor in floating if (tensor.shape.rank or 0) > 2] or floating
    for layer, part in calls:
        if part == "attention":
            calls[layer, part] += [t for around, t in spans.attention() if layer in map(id, around)]
        elif part == "input":
            calls[layer, part] += image[:1]
    return outputs, [calls[capture.key] for capture in captures]


def output_leaves(outputs: Any, logits: bool) -> tuple[dict[str, tf.Tensor], dict[str, str]]:
    """Flatten the model's outputs, where asked before the activations they end in.

    Returns
    -------
    leaves : dict of str to tensor
        The output tensors by path.
    activation : dict of str to str
        For each leaf taken before its final activation, which one it was.
    """
    leaves = {
        path: tf.identity(leaf)
        for path, leaf in flatten(outputs)
        if isinstance(leaf, (tf.Tensor, tf.Variable))
    }
    activation = {}
    for path, leaf in leaves.items() if logits else ():
        if leaf.dtype.is_floating and (found := before_activation(leaf)):
            leaves[path], activation[path] = found
    return leaves, activation
