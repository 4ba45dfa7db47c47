"""Cotangents pulled back from a model's outputs to captured tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge

from camcore._shared.loss_scale import ScaledCotangents, pulled_in_range
from camcore.adapter import (
    Array,
    Leaves,
    NativeScore,
    Outputs,
    SecondOrder,
    Seed,
    check_cotangents,
    check_pulled,
    no_second_derivative,
    not_between,
)
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
    gradients, hessian_products : list of mapping of str to array
        By captured name.
    tangents : mapping of str to mapping of str to array
        By captured name, the derivative of each floating output along what was captured.
    """

    outputs: Leaves
    native_scores: list[Array | None] = field(default_factory=list)
    gradients: list[Leaves] = field(default_factory=list)
    hessian_products: list[Leaves] = field(default_factory=list)
    tangents: Mapping[str, Leaves] = field(default_factory=dict)


def pull_back(
    seeds: Sequence[Seed | NativeScore],
    outputs: Any,
    scores: Tensors,
    captured: Tensors,
    *,
    second_order: SecondOrder,
    model: nn.Module,
    activation: Mapping[str, str],
    applied: Mapping[str, str],
    optional: Collection[str] = (),
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
    second_order : bool or "tangents"
        Also take the products of Hessian and captured tensor, and the tangents of the outputs.
    model : nn.Module
        What to look at for a reason where no gradient comes through.
    activation, applied : mapping of str to str
        What the seeds are shown of the activations that the scores end in.
    optional : collection of str
        Captured names that a score need not depend on: their gradient is zeros then.
    """
    pulled = PulledBack(Outputs(inputs.outputs(outputs, scores), activation, applied))
    float16 = bool(captured) and _has_float16(scores)
    if captured and second_order == "tangents":
        pulled.tangents = _tangents(scores, captured)
    for i, seed in enumerate(seeds):
        if isinstance(seed, NativeScore):
            with torch.enable_grad():
                native = _native_scores(seed, outputs)
            roots = {"": native}
            given: Leaves = {"": np.ones(len(native), np.float32)}
            pulled.native_scores.append(to_numpy(native, copy=True))
        else:
            given = seed(pulled.outputs)
            check_cotangents(given, pulled.outputs)
            roots = {path: scores[path] for path in given}
            pulled.native_scores.append(None)
        if captured:
            roots = {path: root for path, root in roots.items() if root.requires_grad}
            cotangents = {path: np.asarray(given[path]) for path in roots}
            graph = _Graph(roots, captured, model, bool(second_order), optional)
            kept = bool(second_order) or i < len(seeds) - 1
            gradients, *products = (
                graph.pull_in_range(cotangents) if float16 else graph.pull(cotangents, kept)
            )
            pulled.gradients.append(gradients)
            pulled.hessian_products += products
    return pulled


def pull_between(
    captured: Tensors, pulls: Mapping[str, tuple[str, Array]], model: nn.Module
) -> Leaves:
    """Pull each cotangent back from one captured tensor to another.

    Parameters
    ----------
    captured : mapping of str to tensor
        In one graph.
    pulls : mapping of str to (str, array)
        By the name to pull back to, the name of what is pulled back, and its cotangent.
    model : nn.Module
        What to look at for a reason where no gradient comes through.
    """
    found: dict[str, Array] = {}
    for i, (name, (later, cotangent)) in enumerate(pulls.items()):
        root = captured[later]
        check_pulled(cotangent, later, tuple(root.shape))
        if not root.requires_grad:
            raise not_between(name, later)
        graph = _Graph({later: root}, {name: captured[name]}, model, False, ())
        given = {later: np.asarray(cotangent)}
        try:
            (gradients,) = (
                graph.pull_in_range(given)
                if _has_float16(graph.roots)
                else graph.pull(given, kept=i < len(pulls) - 1)
            )
        except GradientError as error:
            raise not_between(name, later) from error
        found |= gradients
    return found


def depends(made: torch.Tensor, own: torch.Tensor) -> bool:
    """Tell whether a tensor is made of another, in a graph that is kept."""
    if not made.requires_grad:
        return False
    (found,) = torch.autograd.grad(made.sum(), own, retain_graph=True, allow_unused=True)
    return found is not None


@dataclass(frozen=True)
class _Graph:
    """The graph of one pass, between the outputs that a seed weighs and what was captured."""

    roots: Tensors
    captured: Tensors
    model: nn.Module
    second_order: bool
    optional: Collection[str]

    def pull(self, cotangents: Leaves, kept: bool) -> list[Leaves]:
        """Pull cotangents back: gradients, and where it is of second order Hessian products.

        Parameters
        ----------
        cotangents : mapping of str to array
            One for each root.
        kept : bool
            Whether the graph will be needed again.
        """
        found: Sequence[torch.Tensor | None] = [None] * len(self.captured)
        if self.roots:
            found = torch.autograd.grad(
                list(self.roots.values()),
                list(self.captured.values()),
                grad_outputs=[
                    torch.from_numpy(np.array(cotangents[path])).to(root.device, root.dtype)
                    for path, root in self.roots.items()
                ],
                retain_graph=kept,
                create_graph=self.second_order,
                allow_unused=True,
            )
        reached = _reached(self.captured, found, self.model, self.optional)
        both = [reached]
        if self.second_order:
            both.append(_hessian_products(self.roots, reached, self.captured))
        return [{name: to_numpy(tensor) for name, tensor in each.items()} for each in both]

    def pull_in_range(self, cotangents: Leaves) -> Sequence[Leaves]:
        """Pull cotangents back at a scale at which float16 holds the gradients."""
        scaled = ScaledCotangents(cotangents)

        def pull(exponent: int) -> list[Leaves]:
            pulled = self.pull(scaled.at(exponent), kept=True)
            return [scaled.undo(each, exponent) for each in pulled]

        narrow = any(root.dtype == torch.float16 for root in self.roots.values())
        batch = max(map(len, cotangents.values()))
        return pulled_in_range(pull, batch, 14 if narrow else 36)


def _walk(nodes: Iterable[Any]) -> Iterator[Any]:
    """Walk the graph backwards from nodes, each once."""
    waiting = list(nodes)
    seen: set[Any] = {None}
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            yield node
            waiting += [before for before, _ in node.next_functions]


def _has_float16(scores: Tensors) -> bool:
    """Tell whether anything in the graph is float16, whose range gradients may leave."""
    return any(
        each.dtype is torch.float16
        for node in _walk(score.grad_fn for score in scores.values())
        for each in node._input_metadata
    )


def _reached(
    captured: Tensors,
    gradients: Sequence[torch.Tensor | None],
    model: nn.Module,
    optional: Collection[str],
) -> Tensors:
    reached = {}
    for name, gradient in zip(captured, gradients, strict=True):
        if gradient is None and name in optional:
            gradient = torch.zeros_like(captured[name])
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


def _hessian_products(roots: Tensors, gradients: Tensors, captured: Tensors) -> Tensors:
    """Compute H·A for each captured A alone; zero where the gradient does not depend on A.

    Raises
    ------
    GradientError
        The model has a function without a second derivative behind the layer.
    """
    behind = _walk(root.grad_fn for root in roots.values())
    once = {node: set(_walk([node])) for node in behind if _is_once_differentiable(node)}
    products = {}
    for name, tensor in captured.items():
        for node, before in once.items():
            if get_gradient_edge(tensor).node in before:
                cause = f"{node.name()} is marked with @once_differentiable"
                raise no_second_derivative(name, cause)
        product = None
        if gradients[name].requires_grad:
            try:
                (product,) = torch.autograd.grad(
                    gradients[name], tensor, tensor.detach(), retain_graph=True, allow_unused=True
                )
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise no_second_derivative(name, str(error)) from error
        products[name] = torch.zeros_like(tensor) if product is None else product
    return products


def _tangents(scores: Tensors, captured: Tensors) -> dict[str, Leaves]:
    """Compute J·A for each captured A: the derivative of the floating outputs along it.

    The pull-back is linear in its cotangents, and what it is differentiated to in these is J.
    """
    roots = {path: root for path, root in scores.items() if root.requires_grad}
    ends = [torch.zeros_like(root, requires_grad=True) for root in roots.values()]
    pulled = torch.autograd.grad(
        list(roots.values()),
        list(captured.values()),
        ends,
        create_graph=True,
        allow_unused=True,
    )
    tangents: dict[str, Leaves] = {}
    for (name, tensor), back in zip(captured.items(), pulled, strict=True):
        found: Sequence[torch.Tensor | None] = [None] * len(ends)
        if back is not None:
            found = torch.autograd.grad(
                back, ends, tensor.detach(), retain_graph=True, allow_unused=True
            )
        tangents[name] = {
            path: to_numpy(torch.zeros_like(end) if along is None else along)
            for path, end, along in zip(roots, ends, found, strict=True)
        }
    return tangents


_ONCE = torch.autograd.function.once_differentiable(lambda ctx: None).__code__


def _is_once_differentiable(node: Any) -> bool:
    """Tell whether a function says of its gradient that it cannot be differentiated.

    PyTorch itself tells only some who differentiate it: where what follows is linear, or where
    the gradient is asked for one tensor, it takes the second derivative for zero.
    """
    function = getattr(node, "_forward_cls", None)
    return getattr(getattr(function, "backward", None), "__code__", None) is _ONCE


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
