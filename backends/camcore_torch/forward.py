"""One forward pass of a model's shells, done again only where the first teaches how to do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from camcore.adapter import Leaves
from camcore_torch import inputs
from camcore_torch.capture import Capture
from camcore_torch.layers import LayerCall
from camcore_torch.logits import call_model
from camcore_torch.preserve import Draws, reached
from camcore_torch.shells import Shells
from camcore_torch.traits import traits_of


@dataclass
class Pass:
    """One forward pass, its tensors still in the graph."""

    inputs: Leaves
    outputs: Any
    scores: dict[str, torch.Tensor]
    activation: dict[str, str]
    applied: dict[str, str]
    captured: dict[str, torch.Tensor]
    capture: Capture

    @property
    def differentiable(self) -> bool:
        """Whether any output can be differentiated."""
        return any(score.requires_grad for score in self.scores.values())


def forward(
    model: nn.Module,
    shells: Shells,
    given: Any,
    calls: Mapping[str, LayerCall],
    *,
    graph: bool,
    logits: bool,
    rewinds: bool = False,
) -> Pass:
    """Run one pass, and another only where the first shows that this model needs it done so.

    With `rewinds`, that one draws the random numbers of the first.
    """
    traits = traits_of(model)
    draws = Draws() if rewinds else None

    def once(*, early: bool = traits.switches_grad_off) -> Pass:
        if draws is not None:
            draws.rewind()
        torch.set_grad_enabled(graph and early)
        capture = Capture(shells, calls, graph=graph)
        prepared = own = inputs.prepare(model, given)
        versions = inputs.versions(own)
        own = capture.take_input(own)
        # Without a graph to look at afterwards, an activation can only be seen as it happens.
        watch = not graph or (logits and traits.ends_in_activation)
        with capture.hooked():
            called = reached(
                model, shells, lambda: call_model(shells.model, own, watch=watch, logits=logits)
            )
        if inputs.versions(prepared) != versions:  # the model works in place on what it is given
            prepared = inputs.prepare(model, given)
        captured = {name: capture[name] for name in calls}
        return Pass(inputs.leaves(prepared), *called, captured, capture)

    made = once()
    if graph and not made.differentiable and not traits.switches_grad_off:
        made = once(early=True)
        traits.switches_grad_off = made.differentiable
    if graph and logits and not traits.ends_in_activation and made.applied:
        traits.ends_in_activation = True
        made = once(early=traits.switches_grad_off)
    return made
