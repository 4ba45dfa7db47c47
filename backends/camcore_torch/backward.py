"""Cotangents pulled back from a model's outputs to captured tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from camcore.adapter import Array, Leaves, NativeScore, Outputs, Seed, check_cotangents
from camcore.errors import GradientError, TargetError
from camcore_torch import inputs, layers
from camcore_torch.inputs import to_numpy

Tensors: TypeAlias = Mapping[str, torch.Tensor]


@dataclass
class PulledBack:
    """What the seeds said and what came of it, one entry for each seed.

    Parameters
    ----------
    outputs : mapping of str to array
        What the seeds were shown: the scores, and what the model returns that is not floating.
    native_scores : list of ((B,) array or None)
        The scores of those seeds that are a `NativeScore`.
    gradients, hessian_products : list of mapping of str to tensor
        By captured name.
    """

    outputs: Leaves
    native_scores: list[Array | None] = field(default_factory=list)
    gradients: list[Tensors] = field(default_factory=list)
    hessian_products: list[Tensors] = field(default_factory=list)


def pull_back(
    seeds: Sequence[Seed | NativeScore],
    outputs: Any,
    scores: Tensors,
    captured: Tensors,
    *,
    second_order: bool,
    model: nn.Module,
    activation: Mapping[str, str],
    applied: Mapping[str, str],
) -> PulledBack:
    """Ask each seed for its cotangent and pull it back to every captured tensor.

    Parameters
    ----------
    seeds : sequence of Seed or NativeScore
        In order.
    outputs : nest of tensors
        As the model returned them, for native scores.
    scores : mapping of str to tensor
        Floating outputs by path, before their final activation where that was asked for.
    captured : mapping of str to tensor
        In the graph of `scores`.
    second_order : bool
        Also take the products of Hessian and captured tensor.
    model : nn.Module
        What to look at for a reason where no gradient comes through.
    activation, applied : mapping of str to str
        What the seeds are shown of the activations that the scores end in.
    """
    pulled = PulledBack(Outputs(inputs.outputs(outputs, scores), activation, applied))
    for i, seed in enumerate(seeds):
        if isinstance(seed, NativeScore):
            with torch.enable_grad():
                native = _native_scores(seed, outputs)
                roots: list[torch.Tensor] = [native.sum()]
            cotangents: list[torch.Tensor | None] = [None]
            pulled.native_scores.append(to_numpy(native, copy=True))
        else:
            given = seed(pulled.outputs)
            check_cotangents(given, pulled.outputs)
            roots = [scores[path] for path in given]
            cotangents = [
                torch.from_numpy(np.array(array)).to(root.device, root.dtype)
                for array, root in zip(given.values(), roots, strict=True)
            ]
            pulled.native_scores.append(None)
        if captured:
            last = i == len(seeds) - 1
            found = _gradients(roots, cotangents, captured, not last, second_order)
            gradients = _reached(captured, found, model)
            pulled.gradients.append(gradients)
            if second_order:
                pulled.hessian_products.append(_hessian_products(gradients, captured))
    return pulled


def _gradients(
    roots: Sequence[torch.Tensor],
    cotangents: Sequence[torch.Tensor | None],
    captured: Tensors,
    more_seeds: bool,
    second_order: bool,
) -> Sequence[torch.Tensor | None]:
    pairs = [(r, c) for r, c in zip(roots, cotangents, strict=True) if r.requires_grad]
    gradients: Sequence[torch.Tensor | None] = [None] * len(captured)
    if pairs:
        gradients = torch.autograd.grad(
            [root for root, _ in pairs],
            list(captured.values()),
            grad_outputs=[cotangent for _, cotangent in pairs],
            retain_graph=more_seeds or second_order,
            create_graph=second_order,
            allow_unused=True,
        )
    return gradients


def _reached(
    captured: Tensors, gradients: Sequence[torch.Tensor | None], model: nn.Module
) -> Tensors:
    reached = {}
    for name, gradient in zip(captured, gradients, strict=True):
        quantised = layers.quantised(model) if gradient is None else []
        if quantised:
            raise GradientError(
                f"No gradient reaches layer {name!r}: layers such as {quantised[0]!r} are "
                "quantised, which gradients do not pass. Choose a method that needs none "
                "(method='eigencam', 'scorecam'), or explain the model before it was quantised."
            )
        if gradient is None:
            raise GradientError(
                f"The score does not depend on layer {name!r}: no gradient reaches it. Either the "
                "layer feeds another output, or the model cuts the graph after it (argmax, "
                "detach, no_grad, inference_mode). Choose another layer or another output."
            )
        reached[name] = gradient
    return reached


def _hessian_products(gradients: Tensors, captured: Tensors) -> Tensors:
    """Compute H·A for each captured A alone; zero where the gradient does not depend on A."""
    products = {}
    for name, tensor in captured.items():
        product = None
        if gradients[name].requires_grad:
            (product,) = torch.autograd.grad(
                gradients[name], tensor, tensor.detach(), retain_graph=True, allow_unused=True
            )
        products[name] = torch.zeros_like(tensor) if product is None else product
    return products


def _native_scores(seed: NativeScore, outputs: Any) -> torch.Tensor:
    scores = seed.function(outputs)
    if isinstance(scores, torch.Tensor) and scores.ndim == 1 and scores.is_floating_point():
        return scores
    found = (
        f"a tensor of shape {tuple(scores.shape)} and {scores.dtype}"
        if isinstance(scores, torch.Tensor)
        else f"a {type(scores).__name__}"
    )
    raise TargetError(
        f"The target's function returned {found}; expected one floating score per sample, (B,)."
    )
