"""The model's forward pass as it is traced: layers captured, final activations left off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from camcore.errors import LayerError

from .attention import LayerSpans
from .capture import Capture, Part, first_floating, intercepted, only_here, replace_first
from .inputs import Signature
from .logits import before_activation
from .nest import flatten

Calls = list[tf.Tensor | None]
"""What a target gave, call by call; None where that was no floating tensor."""


def forward(
    model: Any, signature: Signature, tensors: Sequence[tf.Tensor], targets: Sequence[Capture]
) -> tuple[Any, list[Calls]]:
    """Trace the model, capturing what the targets return.

    What is captured passes through an identity, so that it is only what uses a
    layer's output that depends on it.

    Returns
    -------
    outputs : tensor or nest
        What the model returned.
    calls : list of Calls
        For each target, all its calls.
    """
    calls: dict[tuple[int, Part], Calls] = {target.key: [] for target in targets}
    own = [target.key for target in targets if target.layer is None]
    linear = {id(t.layer): t.layer for t in targets if t.part == "linear"}
    others = {id(t.layer): t.layer for t in targets if t.part != "linear" and t.layer is not None}
    spans = LayerSpans()
    floating = [tensor for tensor in tensors if tensor.dtype.is_floating]
    if own and floating:
        calls[own[0]].append(next((t for t in floating if (t.shape.rank or 0) > 2), floating[0]))

    def around(layer: Any, call: Callable[[], Any]) -> Any:
        with spans.of(layer):
            output = call()
        if (returned := calls.get((id(layer), "output"))) is None:
            return output
        tensor = first_floating(output)
        if tensor is not None:
            tensor = tf.identity(tensor)
            output = replace_first(output, tensor)
        returned.append(tensor)
        return output

    def before(layer: Any, activation: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def captured(tensor: tf.Tensor) -> Any:
            tensor = tf.identity(tensor)
            calls[id(layer), "linear"].append(tensor)
            return activation(tensor)

        return only_here(activation, captured)

    with intercepted(model, others.values(), around):
        for layer in linear.values():
            layer.__dict__["activation"] = before(layer, layer.activation)
        outputs = signature.call(model, tensors)
    for key, part in calls:
        if part == "attention":
            calls[key, part] += spans.attention(key)
    return outputs, [calls[target.key] for target in targets]


def chosen(target: Capture, calls: Calls) -> tf.Tensor:
    """Pick the call that a target names out of all calls of its layer.

    Raises
    ------
    LayerError
        The layer did not run, not as often as asked, or returned no floating tensor.
    """
    if target.layer is None and not calls:
        raise LayerError(
            "The model's inputs hold no floating array, so there is no gradient to them. "
            "Choose the layer that embeds them."
        )
    if not calls and target.part == "attention":
        raise LayerError(
            f"{target.name!r}: the layer computed no softmax attention in this pass, or only "
            "inside a loop or a function of its own. Choose another layer."
        )
    if not calls:
        raise LayerError(
            f"Layer {target.name!r} did not run in this pass, or only inside a loop or a "
            "function of its own. Choose a layer that the model runs on these inputs."
        )
    at = -1 if target.call is None else target.call
    if not -len(calls) <= at < len(calls):
        raise LayerError(
            f"Layer {target.name!r} was asked for, but it ran {len(calls)} times in this pass: "
            f"choose a call from #0 to #{len(calls) - 1}."
        )
    tensor = calls[at]
    if tensor is None:
        raise LayerError(
            f"Layer {target.name!r} returned no floating tensor. Choose one that returns features."
        )
    return tensor


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
        for path, leaf in flatten(outputs).items()
        if isinstance(leaf, (tf.Tensor, tf.Variable))
    }
    activation = {}
    for path, leaf in leaves.items() if logits else ():
        if leaf.dtype.is_floating and (found := before_activation(leaf)):
            leaves[path], activation[path] = found
    return leaves, activation


def edge(tensor: tf.Tensor) -> tf.Tensor:
    """Half precision leaves as float32: NumPy has no bfloat16, and no use for float16."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor
