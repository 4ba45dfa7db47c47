"""Gather what all layers of a pass show, for methods that go through the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from camcore.adapter import Array
from camcore.evidence import ImageScores, Rerun
from camcore.outputs import score_paths


@dataclass(frozen=True)
class Chain:
    """Several layers of one traced pass, seen for one target.

    Parameters
    ----------
    layers : sequence of Rerun
        In the order in which they run.
    """

    layers: Sequence[Rerun]

    @cached_property
    def layers_activations(self) -> list[Array]:
        """What each layer returns, ``(B, C, *S)``."""
        return [one.activations for one in self.layers]

    @cached_property
    def attentions(self) -> list[Array]:
        """Each layer's softmaxed attention, ``(B, heads, queries, keys)``, of every token."""
        return [one.by_head(one.trace.layers[one.layer].activations) for one in self.layers]

    @cached_property
    def attentions_gradients(self) -> list[Array]:
        """The score's gradients there."""
        return [
            one.by_head(one.trace.layers[one.layer].gradients[one.index]) for one in self.layers
        ]

    @property
    def pooling(self) -> Array:
        """How much of each query of the last layer the output is made of, ``(queries,)``.

        Found by a pass for some score, once for a model: a class token's alone where the head
        reads that one, all alike where they are averaged.
        """
        one = self.layers[-1]
        chosen, ranks = one.selector.output, {k: v.ndim for k, v in one.trace.outputs.items()}
        paths = score_paths(ranks) if chosen is None else {chosen}
        return one.known.read_of(one.adapter, one.inputs, one.layer, frozenset(paths))

    @property
    def images(self) -> Array:
        """The model's spatial input."""
        return self.layers[0].images

    @property
    def scores(self) -> Array:
        """The explained score of each sample, ``(B,)``."""
        return self.layers[0].scores

    @property
    def score_images(self) -> ImageScores:
        """Scores of altered inputs; see `camcore.evidence.ImageScores`."""
        return self.layers[0].score_images

    def on(self, images: Array) -> Chain:
        """Explain the same on a batch of other images, by another pass."""
        first, *others = self.layers
        again = first.on(images)
        same = {name: getattr(again, name) for name in ("inputs", "trace", "index", "target")}
        same["scored"] = again.scored
        return Chain([again, *(replace(one, **same) for one in others)])

    def maps(self, found: Array | Sequence[Array]) -> Mapping[str, Array]:
        """Name what a method found by layer, ``(B, *S)``.

        Parameters
        ----------
        found : sequence of (B, *S) array, or (B, layers, keys) array
            For each layer; keys are laid out over the input.

        Raises
        ------
        LayerError
            The grid of the keys cannot be found.
        """
        if isinstance(found, np.ndarray):
            laid_out = self.layers[0].keys_on_grid(found[:, None])[:, 0]
            found = list(laid_out.swapaxes(0, 1))
        return {one.layer: maps for one, maps in zip(self.layers, found, strict=True)}
