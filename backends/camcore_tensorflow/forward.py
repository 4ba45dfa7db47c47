"""The model's forward pass as it is traced: layers captured, final activations left off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from camcore.errors import LayerError

from .activation import before_activation
from .capture import Target, first_floating, intercepted, replace_first
from .inputs import Signature
from .nest import flatten


def forward(
    model: Any,
    signature: Signature,
    tensors: Sequence[tf.Tensor],
    targets: Sequence[Target],
    watch: Callable[[tf.Tensor], None],
) -> tuple[Any, list[tf.Tensor]]:
    """Trace the model, handing what the targets return to `watch` as it appears.

    Returns
    -------
    outputs : tensor or nest
        What the model returned.
    sources : list of tensor
        For each target, the tensor that everything after it was computed from.

    Raises
    ------
    LayerError
        A target did not run, not as often as asked, or returned no floating tensor.
    """
    calls: dict[int, list[tf.Tensor | None]] = {id(target.layer): [] for target in targets}
    own = first_floating(list(tensors))
    if id(None) in calls and own is not None:
        calls[id(None)].append(own)
        watch(own)

    def around(layer: Any, call: Callable[[], Any]) -> Any:
        output = call()
        tensor = first_floating(output)
        if tensor is not None:
            # Through an identity, so that only what uses the layer's output depends on it.
            tensor = tf.identity(tensor)
            watch(tensor)
            output = replace_first(output, tensor)
        calls[id(layer)].append(tensor)
        return output

    layers = {id(target.layer): target.layer for target in targets if target.layer is not None}
    with intercepted(model, layers.values(), around):
        outputs = signature.call(model, tensors)
    return outputs, [_chosen(target, calls[id(target.layer)]) for target in targets]


def _chosen(target: Target, calls: Sequence[tf.Tensor | None]) -> tf.Tensor:
    """Pick the call that a target names out of all calls of its layer."""
    if target.layer is None and not calls:
        raise LayerError(
            "The model's inputs hold no floating array, so there is no gradient to them. "
            "Choose the layer that embeds them."
        )
    if not calls:
        raise LayerError(
            f"Layer {target.name!r} did not run in this pass, or only inside a loop. "
            "Choose a layer that the model runs on these inputs."
        )
    at = -1 if target.call is None else target.call
    if not -len(calls) <= at < len(calls):
        raise LayerError(
            f"Layer {target.name!r} ran {len(calls)} times in this pass: "
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
    leaves = {path: leaf for path, leaf in flatten(outputs).items() if tf.is_tensor(leaf)}
    activation = {}
    for path, leaf in leaves.items() if logits else ():
        if leaf.dtype.is_floating and (found := before_activation(leaf)):
            leaves[path], activation[path] = found
    return leaves, activation


def edge(tensor: tf.Tensor) -> tf.Tensor:
    """Half precision leaves as float32: NumPy has no bfloat16, and no use for float16."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor
