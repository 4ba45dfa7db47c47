"""Score each block of a transformer by what it returns itself, and differentiate that score.

The score of a block is what the model makes of it: the mean of all its tokens, put in the place
of each token that the last block returns. What follows the last block, the final norm and head,
then gives the score, whether it reads one token or pools them all.

Where the head pools tokens by attention, each block's tokens take the place of the last one's as
they are, and the score is differentiated at the pooler's attention to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from camcore.adapter import (
    ATTENTION,
    Array,
    LayerName,
    Leaves,
    NativeScore,
    PullsBetween,
    PullsBeyond,
    Seed,
    Trace,
    not_offered,
)
from camcore.errors import GradientError, LayerError, MethodError
from camcore.evidence import Rerun
from camcore.targets import Scored, Target


@dataclass(frozen=True)
class Blocks:
    """The blocks whose attention one traced pass looks at.

    Parameters
    ----------
    evidence : Rerun
        Of the pass, at any layer's attention.
    own : mapping of str to str
        By the name of the attention, the name of its block.
    every : sequence of str
        All blocks of the model, in the order in which they run.
    pooler : str or None
        The attention that pools what the last block returns, if there is one.
    """

    evidence: Rerun
    own: Mapping[str, str]
    every: Sequence[str]
    pooler: str | None

    @classmethod
    def of(cls, evidence: Rerun) -> Blocks:
        """Find the blocks of all attention that a pass looks at.

        Raises
        ------
        MethodError
            One is not seen, or runs several times.
        """
        one = evidence
        known = one.known.blocks(one.adapter, one.inputs)
        pooler = one.known.pooler(one.adapter, one.inputs)
        for name, block in known.items():
            if block is None:
                raise refused(f"no layer is seen that returns the block of {name!r} alone")
        every = [block for block in known.values() if block is not None]
        own: dict[str, str] = {}
        for name in filter(lambda name: LayerName.parse(name).is_attention, one.trace.layers):
            path = LayerName.parse(name).path
            if path == pooler:
                continue
            if path not in known:
                raise refused(f"{name!r} is not made of the image")
            if one.trace.layers[name].calls > 1:
                raise refused(f"{name!r} runs several times, or on the frames of a video")
            own[name] = every[list(known).index(path)]
        return cls(one, own, every, None if pooler is None else pooler + ATTENTION)

    @property
    def last(self) -> str:
        """The block that the head follows."""
        return self.every[-1]

    def gradients(self) -> Leaves:
        """Compute the gradient of each block's own score at its attention, by its name.

        Raises
        ------
        MethodError
            Blocks return no tokens alike, or the head does not follow the last one alone.
        """
        one = self.evidence
        if not isinstance(one.adapter, PullsBetween):
            raise not_offered(one.adapter, "gradients_between")
        if not self.own:
            return {}
        trace = one.run_again(one.inputs, self.every)
        traced, axis = trace.layers, self._batch_axis(trace)
        tokens = [np.moveaxis(traced[name].activations, axis, 0) for name in self.own.values()]
        stacked, pulls = np.stack(tokens, axis=1), {}
        if self.pooler is None:
            slopes = self._slopes(stacked, axis)
            pulls = {
                name: (block, np.ascontiguousarray(np.moveaxis(slopes[:, i], 0, axis)))
                for i, (name, block) in enumerate(self.own.items())
            }
        whole = {name: each.gradients[0] for name, each in traced.items()}
        follows = {name: (after, whole[after]) for name, after in pairwise(self.every)}
        found = dict(one.adapter.gradients_between(one.inputs.native, {**pulls, **follows}))
        for name, after in pairwise(self.every):
            # What the score takes from a block comes through the next one, and so on to the head.
            if np.abs(found.pop(name) - whole[name]).max() > 1e-2 * np.abs(whole[name]).max():
                raise refused(f"the score has more of {name!r} than what {after!r} makes of it")
        return found if self.pooler is None else self._pooled(stacked, axis)

    def _batch_axis(self, trace: Trace) -> int:
        """Find which axis of the blocks' tokens carries the batch."""
        shapes = {each.activations.shape for each in trace.layers.values()}
        if len(shapes) > 1 or len(shape := next(iter(shapes))) != 3:
            listed = " and ".join(map(str, sorted(shapes)))
            raise refused(f"blocks do not all return as many tokens, (B, T, C), but {listed}")
        batch = self.evidence.batch
        axis = replace(self.evidence, layer=self.last, trace=trace).batch_axis
        if shape[axis] != batch:
            raise refused(f"blocks return {shape} for a batch of {batch}")
        return axis

    def _slopes(self, tokens: Array, axis: int) -> Array:
        """Compute the cotangent of every token of each block, ``(B, blocks, T, C)``.

        Parameters
        ----------
        tokens : (B, blocks, T, C) array
            What the blocks return.
        axis : int
            Which axis carries the batch where the model has them.
        """
        means = np.broadcast_to(tokens.mean(axis=2, keepdims=True), tokens.shape)
        slopes = np.stack([np.moveaxis(one, axis, 0) for one in self._behind(means, axis)])
        each: Array = slopes.sum(axis=2, keepdims=True) / tokens.shape[2]
        return np.broadcast_to(each, tokens.shape)

    def _pooled(self, tokens: Array, axis: int) -> Leaves:
        """Compute the gradient at the pooler's attention to each block's tokens.

        Parameters
        ----------
        tokens, axis
            As `_slopes` takes them.

        Returns
        -------
        mapping of str to array
            By the name of the block's attention, the rows of all samples.
        """
        found = [np.split(one, len(self.own)) for one in self._behind(tokens, axis)]
        return {name: np.concatenate([one[i] for one in found]) for i, name in enumerate(self.own)}

    def _behind(self, fed: Array, axis: int) -> list[Array]:
        """Differentiate the score of what each block puts behind the last one, sample by sample.

        Parameters
        ----------
        fed : (B, blocks, T, C) array
            What that is.
        axis : int
            Which axis carries the batch where the model has it.

        Returns
        -------
        list of array
            Of each sample, the gradients of all blocks one behind the other, as the adapter has
            them: at what is put there, or at the pooler's attention to it.
        """
        one = self.evidence
        # What follows the last block knows of a sample by its tokens alone, or by other inputs.
        alike = len(one.inputs.shapes) == 1
        groups = [range(one.batch)] if alike else [[i] for i in range(one.batch)]
        found: list[Array] = []
        for group in groups:
            with self._head(group[0]) as pull:
                found += [self._pulled(pull, one.settled(i), fed[i], axis) for i in group]
        return found

    @contextmanager
    def _head(self, sample: int) -> Iterator[Callable[[Array, Seed], Array]]:
        last = replace(self.evidence, layer=self.last)
        verb: Callable[..., Any] = last.adapter.gradients_from
        if self.pooler is not None:
            if not isinstance(last.adapter, PullsBeyond):
                raise not_offered(last.adapter, "gradients_beyond")
            verb = partial(last.adapter.gradients_beyond, later=self.pooler)
        with last.up_to_layer(verb, sample) as pull:
            yield pull

    def _pulled(
        self, pull: Callable[[Array, Seed], Array], target: Target, fed: Array, axis: int
    ) -> Array:
        """Differentiate one sample's score of what each block puts there, ``(blocks, T, C)``."""
        native = np.ascontiguousarray(np.moveaxis(fed, 0, axis))
        if target.every_output and len(fed) > 1:
            parts = [self._pulled(pull, target, one[None], axis) for one in fed]
            return np.concatenate(parts, axis if self.pooler is None else 0)
        scored: list[Scored] = []
        seed = self.evidence.selector.seed(target, scored.append)
        assert not isinstance(seed, NativeScore)
        try:
            return pull(native, seed)
        except GradientError as error:
            raise refused("the score is not made of what the last block returns") from error


class OwnGradients:
    """The gradient of each block's own score, worked out once a target for all of a pass."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Trace, Leaves]] = {}

    def __call__(self, evidence: Rerun) -> Leaves:
        """Give it for all attention that a pass looks at.

        Parameters
        ----------
        evidence : Rerun
            Of the pass, at any layer's attention.

        Returns
        -------
        mapping of str to array
            By the name of the attention, as the adapter has it.

        Raises
        ------
        MethodError
            The score of a block cannot be had.
        """
        trace, found = self._found.get(evidence.index, (None, {}))
        if trace is not evidence.trace:
            try:
                found = Blocks.of(evidence).gradients()
            except (GradientError, LayerError) as error:
                raise refused(str(error).rstrip(".")) from error
            self._found[evidence.index] = evidence.trace, found
        if evidence.layer not in found:
            raise refused(f"{evidence.layer!r} pools what the blocks return, and is in none")
        return found


def refused(why: str) -> MethodError:
    """Make the error for blocks that have no score of their own."""
    return MethodError(
        "scored='block' scores each block by what it returns, put through what follows the last "
        f"one, and that is not had here: {why}. Take the model's own score: scored='model'."
    )
