"""Scores before a final softmax, log-softmax or sigmoid, from a model that only returns after it.

Seen in a pass, by what it computes: a call counts as final when the tensor it
returns is the model's output, however it is spelled, so attention is left alone. Where a
model returns scores, a loss or configuration that it holds may state what they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from camcore.targets.scale import Scale
from camcore.targets.stated import stated_scales
from camcore_torch.inputs import call, floating, version
from camcore_torch.modes import CallMode

ACTIVATIONS = {
    "softmax": "softmax",
    "special_softmax": "softmax",
    "log_softmax": "log_softmax",
    "special_log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "special_expit": "sigmoid",
}
"""Functions by ``__name__``, whether of ``torch``, ``Tensor`` or ``torch.nn.functional``."""

CASTS = frozenset({"to", "type", "float", "double", "half", "bfloat16", "cpu", "cuda", "clone"})
VIEWS = frozenset({"view", "view_as", "reshape", "flatten", "squeeze", "unsqueeze", "contiguous"})
MOVES = frozenset({"permute", "transpose"})
TRIVIAL = CASTS | VIEWS | MOVES
"""What may follow the activation: done to the scores as well, it means the same."""

LOSSES: Mapping[type[nn.Module], Scale] = {
    nn.CrossEntropyLoss: Scale("softmax"),
    nn.NLLLoss: Scale("log_softmax", applied=True),
    nn.BCEWithLogitsLoss: Scale("sigmoid"),
    nn.MultiLabelSoftMarginLoss: Scale("sigmoid"),
    nn.BCELoss: Scale("sigmoid", applied=True),
    **dict.fromkeys((nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss), Scale("none")),
}
"""Losses that a model may hold, and what their inputs are."""

PRODUCTS = frozenset(["matmul", "__matmul__", "bmm", "baddbmm", "einsum"])
"""What weighs something by its argument: a softmax that goes in here is attention."""

_ACTIVATION_NODE = re.compile(r"(Softmax|LogSoftmax|Sigmoid)Backward\d*")
_NODES = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_TRIVIAL_NODE = re.compile(
    r"(ToCopy|Clone|View|UnsafeView|ReshapeAlias|Alias|Squeeze|Unsqueeze|Permute|Transpose|T)"
    r"Backward\d*"
)


def call_model(
    model: nn.Module, inputs: Any, *, watch: bool, logits: bool
) -> tuple[Any, dict[str, torch.Tensor], dict[str, str], dict[str, str]]:
    """Run the model.

    Parameters
    ----------
    watch : bool
        Whether to see activations as they happen; without it they are seen in the graph alone.
    logits : bool
        Whether scores are taken before an activation that was seen as it happened.

    Returns
    -------
    outputs : nest
        As the model returns them.
    scores : dict of str to tensor
        The floating outputs by path; where asked, before their final activation.
    activation, applied : dict of str to str
        Which activation was left off, and which the scores have been through, by path.
    """
    mode = BeforeActivation()
    with mode if watch else nullcontext():
        outputs = call(model, inputs)
    scores = floating(outputs)
    if not watch:
        ends = {path: _activation(leaf) for path, leaf in scores.items()}
        return outputs, scores, {}, {path: end for path, end in ends.items() if end is not None}
    before = mode.of(scores)
    seen = {path: activation for path, (activation, _) in before.items()}
    if not logits:
        return outputs, scores, {}, seen
    return outputs, scores | {path: tensor for path, (_, tensor) in before.items()}, seen, {}


def _activation(tensor: torch.Tensor) -> str | None:
    """Name the activation that the tensor's graph ends in."""
    node = tensor.grad_fn
    while node is not None and _TRIVIAL_NODE.fullmatch(node.name()):
        node = node.next_functions[0][0]
    if node is None or not (found := _ACTIVATION_NODE.fullmatch(node.name())):
        return None
    return _NODES[found[1]]


def stated(model: nn.Module) -> Mapping[str, Scale]:
    """Read what a model's configuration or losses say of its outputs; see `stated_scales`.

    A loss that the model holds as an attribute, as modules of Lightning do, speaks of its
    outputs; where it holds losses that say different things, none does.
    """
    held = {LOSSES[type(one)] for one in model.children() if type(one) in LOSSES}
    return stated_scales(model) or ({"*": held.pop()} if len(held) == 1 else {})


def detected_classes(model: nn.Module) -> int | None:
    """Count the classes that a detector scores, as its head or configuration says.

    Heads of YOLO have them as ``nc`` beside ``no``, the outputs of a place; Hugging Face's
    detectors as ``config.num_labels``. None where neither is there, or heads say several.
    """
    heads: list[Any] = [module for module in model.modules() if hasattr(module, "no")]
    counts: set[int] = {head.nc for head in heads if isinstance(getattr(head, "nc", None), int)}
    labels = getattr(getattr(model, "config", None), "num_labels", None)
    if isinstance(labels, int):
        counts.add(labels)
    return counts.pop() if len(counts) == 1 else None


class BeforeActivation(CallMode):
    """Remembers, for each activated tensor alive, which one it was and the scores before it."""

    def __init__(self) -> None:
        super().__init__()
        self._before: Any = WeakTensorKeyDictionary()

    def see(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call the function, and note an activation."""
        if name in ACTIVATIONS:
            scores = args[0] if args else kwargs["input"]
            scores = scores.clone() if name.endswith("_") else scores
            result = func(*args, **kwargs)
            self._note(result, ACTIVATIONS[name], scores)
            return result
        result = func(*args, **kwargs)
        if name in TRIVIAL and isinstance(args[0], torch.Tensor) and result is not args[0]:
            found = self._find(args[0])
            if found is not None:
                self._note(result, found[0], func(found[1], *args[1:], **kwargs))
        elif name in PRODUCTS:
            for arg in args:
                if isinstance(arg, torch.Tensor):
                    self._before.pop(arg, None)
        return result

    def of(self, leaves: Mapping[str, torch.Tensor]) -> dict[str, tuple[str, torch.Tensor]]:
        """Name the activation whose result a leaf is, with the scores before it, leaf by leaf."""
        found = {path: self._find(leaf) for path, leaf in leaves.items()}
        return {path: before for path, before in found.items() if before is not None}

    def _note(self, result: torch.Tensor, activation: str, scores: torch.Tensor) -> None:
        self._before[result] = activation, scores, version(result)

    def _find(self, tensor: torch.Tensor) -> tuple[str, torch.Tensor] | None:
        found = self._before.get(tensor)
        # What was written to since is no longer just an activation's result.
        return found[:2] if found is not None and found[2] == version(tensor) else None
