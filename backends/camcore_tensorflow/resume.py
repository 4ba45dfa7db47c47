"""Running a model from a layer on, by cutting its graph there.

One trace serves both halves. Whatever does not come after the layer but is used by
what does (a residual around it) is computed once, for one sample, and repeated.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from ml_dtypes import finfo

from camcore._shared.loss_scale import START, pulled_in_range
from camcore.adapter import Array, Leaves, Seed, not_between, replays, unreached
from camcore.errors import InputError, LayerError

from . import backward
from .capture import Capture, edge, reachable
from .compile import EXPONENTS, on_copies, traced
from .forward import forward, output_leaves
from .inputs import Signature
from .preserve import uninterrupted

Repeated: TypeAlias = Callable[[int], list[tf.Tensor]]
"""What a half of the model takes beside the layer's output, for so many alterations."""


class Replay:
    """A model in two halves, before and after a layer.

    Parameters
    ----------
    model : keras.Model
        The model; not kept.
    capture : Capture
        The layer to cut at; not kept.
    logits : bool
        Whether to take outputs before a final activation.
    back : Capture or None
        Where gradients are asked for: there, or at what is made of it. Not kept.
    signature : Signature
        That of one sample.

    Raises
    ------
    GradientError
        Gradients are asked for where no output depends on it, or it not on the layer.
    """

    def __init__(
        self,
        model: Any,
        capture: Capture,
        logits: bool,
        back: Capture | None,
        signature: Signature,
    ) -> None:
        names, held = zip(*((c.name, c.layer) for c in (capture, back or capture)), strict=True)
        kept = [weakref.ref(one) for one in (model, *held)]
        self.name, source_name = map(str, names)
        cuts: list[tf.Tensor] = []

        def body(token: tf.Tensor, *tensors: tf.Tensor) -> list[tf.Tensor]:
            # The two halves hold on to this function, so it may not hold on to the model.
            model, *layers = (reference() for reference in kept)
            both = list(map(Capture, names, layers))
            outputs, calls, returned = forward(model, signature, tensors, both)
            cut, source = map(Capture.choose, both, calls, returned)
            cuts[:] = [cut]
            if len(calls[0]) > 1:
                raise LayerError(
                    f"Layer {self.name!r} runs {len(calls[0])} times in one pass, so there is no "
                    "one place to go on from. Choose a layer that runs once."
                )
            leaves, self.activation, self.applied = output_leaves(outputs, logits)
            self._paths = list(leaves)
            self.most = 14 if any(t.dtype == tf.float16 for t in leaves.values()) else 36
            if source is not cut and id(source.op) not in _after(cut):
                raise not_between(self.name, source_name)
            sources = {self.name: source} if back else {}
            self.reached = backward.outputs_reached(leaves, sources)
            # The scales that gradients are pulled back at, where float16 may not hold them.
            self.exponents = EXPONENTS if back and backward.has_float16(token.graph) else ()
            asked = len(self.exponents) or 1 if back else 0
            pulled = [
                backward.pull_back(leaves, cotangents, sources, self.activation)[self.name]
                for cotangents in backward.seed_cotangents(token, leaves, asked)
            ]
            return list(map(edge, [*leaves.values(), *pulled]))

        specs = [tf.TensorSpec((), tf.int64), *signature.sized(None).specs]
        whole = traced(lambda: tf.compat.v1.wrap_function(body, specs))
        cut, (token, *inputs) = cuts.pop(), whole.inputs[: len(specs)]
        outputs = whole.outputs[: len(self._paths)]
        beside = _beside(cut, whole.outputs, [token, *inputs])
        beside = [tensor for tensor in beside if tensor is not token]
        self.shape, self.dtype = cut.shape, cut.dtype
        self.axis, self._beside_axes = _batch_axis(cut) or 0, list(map(_batch_axis, beside))
        self._before = on_copies(whole.prune(inputs, [cut, beside, outputs]))
        self._after = on_copies(whole.prune([cut, *beside], outputs))
        self._after_inputs = on_copies(whole.prune([cut, *inputs], outputs))
        self._back = self._back_inputs = None
        if back:
            given = [[token, cut, *beside], [token, cut, *inputs]]
            self._back, self._back_inputs = (
                on_copies(whole.prune(tensors, whole.outputs)) for tensors in given
            )
            self._whole = whole  # which holds the function that asks seeds

    def start(self, signature: Signature, tensors: Sequence[tf.Tensor]) -> Head:
        """Run one sample up to the layer, and return what runs it from there on.

        Raises
        ------
        LayerError
            Going on from what the layer returned does not give the model's outputs.
        """
        cut, beside, outputs = self._before(*tensors)
        twice = np.concatenate([edge(cut).numpy()] * 2, self.axis)
        plain = self.by_path(outputs)
        epsilon = float(finfo(cut.dtype.as_numpy_dtype).eps)  # type: ignore[no-untyped-call]
        # What lies beside may not repeat with the samples (a size read off the batch of one,
        # a batch axis that is not the first): then it is computed anew, from repeated inputs.
        batched = [0 if signature.batched(t) else None for t in tensors]
        ways = [
            (self._after, self._back, beside, self._beside_axes),
            (self._after_inputs, self._back_inputs, tensors, batched),
        ]
        cause = None
        for way in ways:
            head = Head(self, *way)
            try:
                if replays(head(twice), plain, epsilon):
                    return head
            except tf.errors.InvalidArgumentError as error:  # shapes that do not fit together
                cause = error
        raise LayerError(
            f"Running the model from layer {self.name!r} on does not reproduce its outputs: it "
            "mixes the samples of a batch or draws at random. Choose a later layer."
        ) from cause

    def by_path(self, outputs: Sequence[tf.Tensor]) -> dict[str, Array]:
        """Hand over the outputs by their paths."""
        arrays = [tensor.numpy() for tensor in outputs]
        return dict(zip(self._paths, arrays, strict=True))


class Head:
    """A model from a layer on, for one sample.

    Parameters
    ----------
    replay : Replay
        The model, cut there.
    function, back : callable
        The half that is run; it takes what the layer returned, then what it uses beside. And
        what runs it there and back, where gradients are asked for; it takes a token before.
    sample : sequence of tensor
        What that is, of the one sample.
    axes : sequence of (int or None)
        Along which axis each is repeated for alterations; None where it is not.
    """

    def __init__(
        self,
        replay: Replay,
        function: Callable[..., Sequence[tf.Tensor]],
        back: Callable[..., Sequence[tf.Tensor]] | None,
        sample: Sequence[tf.Tensor],
        axes: Sequence[int | None],
    ) -> None:
        self._replay, self._function, self._back = replay, function, back

        @functools.lru_cache(maxsize=1)
        def repeated(times: int) -> list[tf.Tensor]:
            return [
                tensor if axis is None else tf.concat([tensor] * times, axis)
                for tensor, axis in zip(sample, axes, strict=True)
            ]

        self._repeated: Repeated = repeated

    @uninterrupted
    def __call__(self, activations: Array) -> Leaves:
        """Give the outputs for ``(N, ...)`` altered activations."""
        given = self._given(activations)
        return self._replay.by_path(self._function(given, *self._beside(given)))

    @uninterrupted
    def gradients(self, activations: Array, seed: Seed) -> Array:
        """Pull a seed's cotangents of those outputs back to the ``(N, ...)`` activations.

        Or to what a later layer makes of them, where that was asked for.
        """
        replay, given, answers = self._replay, self._given(activations), list[Leaves]()
        back = self._back
        assert back is not None

        def once(leaves: Leaves) -> Leaves:
            if not answers:  # else it is another pass, at other scales
                answers.append(seed(leaves))
            return answers[0]

        def run(exponents: Sequence[int]) -> tuple[backward.ScaledRun, list[Array]]:
            about = [once], replay.activation, replay.applied, exponents
            with backward.seeds_ready(*about) as (token, asked):
                made = back(token, given, *self._beside(given))
            reached = replay.reached.get(replay.name)
            if reached is not None and not asked.weighed[0] & reached:
                raise unreached(replay.name, replay.activation, *backward.CUTS)
            return asked, [each.numpy() for each in made[len(made) - (len(exponents) or 1) :]]

        asked, found = run(replay.exponents)
        if not replay.exponents:
            return found[0]
        by_scale = dict(zip(replay.exponents, found, strict=True))

        def at(exponent: int) -> list[Leaves]:
            if exponent not in by_scale:  # which hardly any model needs
                anew = tuple(exponent - START + each for each in replay.exponents)
                by_scale.update(zip(anew, run(anew)[1], strict=True))
            return [asked.cotangents[0].undo({replay.name: by_scale[exponent]}, exponent)]

        (in_range,) = pulled_in_range(at, np.shape(activations)[replay.axis], replay.most)
        return in_range[replay.name]

    def _given(self, activations: Array) -> tf.Tensor:
        """Read altered activations.

        Raises
        ------
        InputError
            The layer returns another shape.
        """
        replay, shape = self._replay, np.shape(activations)
        if not replay.shape.is_compatible_with(shape):
            raise InputError(
                f"Layer {replay.name!r} returns {replay.shape}; activations of shape {shape} "
                "cannot stand in for it."
            )
        return tf.cast(activations, replay.dtype)

    def _beside(self, given: tf.Tensor) -> list[tf.Tensor]:
        return self._repeated(given.shape[self._replay.axis])


def _batch_axis(tensor: tf.Tensor) -> int | None:
    """Tell which axis of a tensor carries the batch, whose length is left open."""
    lengths = tensor.shape.as_list() if tensor.shape.rank else []
    return lengths.index(None) if None in lengths else None


def _after(cut: tf.Tensor) -> dict[int, Any]:
    """Collect the operations that use a tensor, or what is made of it, by their ids."""
    return reachable(cut.consumers(), lambda op: [u for t in op.outputs for u in t.consumers()])


def _beside(
    cut: tf.Tensor, outputs: Sequence[tf.Tensor], inputs: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """List what follows the cut uses besides it: tensors of whole samples, else inputs."""
    given, after = set(map(id, inputs)), _after(cut)

    def is_beside(tensor: tf.Tensor) -> bool:
        whole = tensor.dtype.is_floating and _batch_axis(tensor) is not None
        is_read = whole or id(tensor) in given
        return bool(is_read) and tensor is not cut and id(tensor.op) not in after

    def before(tensor: tf.Tensor) -> Sequence[tf.Tensor]:
        return () if tensor is cut or is_beside(tensor) else tensor.op.inputs

    return list(filter(is_beside, reachable(outputs, before).values()))
