"""Gather what a method may ask for, at one layer and for one target, as ``(B, C, *S)`` arrays.

A method names attributes of `Rerun`. Those of `Evidence` come out of the one traced
pass; what costs another pass is only made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from camcore.adapter import (
    OUTPUT,
    Adapter,
    Array,
    LayerName,
    LayerTrace,
    Leaves,
    NativeScore,
    Rectifier,
    SecondOrder,
    Trace,
)
from camcore.errors import CamcoreError, LayerError, MethodError, NotOfferedError
from camcore.inputs import Inputs
from camcore.layers import frames, image_tokens, layout
from camcore.layers.dependent import dependent_layers
from camcore.layers.geometry import Geometry, Placement
from camcore.layers.known import Known
from camcore.layers.layout import Layout
from camcore.methods.arrays import mean_space, per_channel
from camcore.outputs import OutputSelector
from camcore.targets import Combination, Nothing, Scored, Target, Token

T = TypeVar("T")


@dataclass(frozen=True)
class Evidence:
    """One layer of one traced pass, seen for one target.

    Parameters
    ----------
    adapter : Adapter
        The model.
    inputs : Inputs
        What the pass was run on.
    trace : Trace
        The pass.
    layer : str
        The layer looked at.
    index : int
        Which of the pass's seeds is meant.
    target : Target or NativeScore
        What is explained.
    scored : Scored or None
        The target's scores and cotangents; None for a native score.
    selector : OutputSelector
        Which output, and whether before its final activation.
    geometry : Geometry
        How the model's layers lie over its input.
    wanted_layout : Layout or None
        What the user says of the layer's layout.
    known : Known
        What was learnt of the model before.
    of_blocks : callable or None
        Takes this, and gives for all attention of the pass the gradient of its block's own score;
        see `camcore.blocks`.
    """

    adapter: Adapter
    inputs: Inputs
    trace: Trace
    layer: str
    index: int
    target: Target | NativeScore
    scored: Scored | None
    selector: OutputSelector
    geometry: Geometry
    wanted_layout: Layout | None = None
    known: Known = field(default_factory=Known)
    of_blocks: Callable[[Any], Leaves] | None = None

    @cached_property
    def size(self) -> tuple[int, ...]:
        """Spatial size of the input; of a video that the layer sees by frames, ``(T, H, W)``."""
        whole = self.inputs.size
        if self.frames == 1 or self.inputs.channels == "last" or self.inputs.said is not None:
            return whole
        return (self.frames, *whole[1:])

    @property
    def over_input(self) -> bool:
        """Whether the layer's map is known to lie over the input."""
        own = LayerName.parse(self.layer)
        if self.layer == OUTPUT:
            return len(self.token_logits.shape) == len(self.size) + 1
        return own.is_input or own.is_attention or self._placement.order is not None

    @property
    def batch(self) -> int:
        """Number of samples."""
        return self.inputs.batch

    @cached_property
    def frames(self) -> int:
        """How many of the layer's rows are one sample's; see `camcore.layers.frames`."""
        if self.batch_axis:
            return 1
        return frames.per_sample(self.layer, self.trace, self.batch)

    @cached_property
    def activations(self) -> Array:
        """The layer's output, its axes in the input's order."""
        return self._canonical(self.trace.layers[self.layer].activations)

    @cached_property
    def gradients(self) -> Array:
        """The score's gradient at the layer."""
        return self._canonical(self.trace.layers[self.layer].gradients[self.index])

    @cached_property
    def attention_gradients(self) -> Array:
        """The score's gradient at the layer's attention, ``(B, heads, queries, *S)``."""
        return self.keys_on_grid(self.trace.layers[self.layer].gradients[self.index])

    def keys_on_grid(self, attention: Array) -> Array:
        """Lay what is one for each key of the layer's attention out over the input.

        Parameters
        ----------
        attention : (B, heads, queries, keys) or (B * heads, queries, keys) array
            In the order of the model's rows.

        Returns
        -------
        (B, heads, queries, *S) array
            Sample by sample, where rows are frames.

        Raises
        ------
        LayerError, MethodError
            As `camcore.layers.layout.keys_on_grid` raises them.
        """
        self.inputs.image_path()  # attention is laid out over an image, or not at all
        try:
            found = layout.keys_on_grid(
                attention,
                self.batch * self.frames,
                self._seen_size,
                self.wanted_layout,
                self._patches if self.frames == 1 else None,
            )
            return self._by_sample(found)
        except (LayerError, MethodError) as error:
            raise type(error)(f"Layer {self.layer!r}: {error}") from None

    def by_head(self, attention: Array) -> Array:
        """View the layer's attention, or its gradient, as ``(B, heads, queries, keys)``.

        Raises
        ------
        MethodError
            It is computed within windows.
        """
        try:
            return layout.by_head(attention, self.batch * self.frames)
        except MethodError as error:
            raise MethodError(f"Layer {self.layer!r}: {error}") from None

    @cached_property
    def token_logits(self) -> Array:
        """The logits that the target adds up, at each image token instead, ``(B, *S)``."""
        if self.scored is None or not _is_of_tokens(self.target):
            raise MethodError(
                "The token map reads what a model says of an id at its image tokens, so that its "
                f"target is camcore.targets.Token(position, id); got {self.target!r}."
            )
        path = self.selector.path(self.trace.outputs)
        logits, weights = self.trace.outputs[path], self.scored.cotangent[path].sum(axis=1)
        scores: Array = (logits @ weights[..., None])[..., 0]
        wanted = self.wanted_layout
        tokens = wanted if wanted is not None and wanted.kind == "tokens" else None
        grid, patches = self._patches(scores.shape[1], tokens).patches
        return scores[:, patches].reshape(len(scores), *grid)

    @cached_property
    def images(self) -> Array:
        """The model's spatial input."""
        return self.inputs.layout.canonical(self.trace.inputs[self.inputs.image_path()])

    @cached_property
    def image_gradients(self) -> Array:
        """The score's gradient at the model's spatial input."""
        return self.inputs.layout.canonical(
            self.trace.layers[self.inputs.name].gradients[self.index]
        )

    @cached_property
    def scores(self) -> Array:
        """The explained score of each sample, ``(B,)``."""
        if self.scored is not None:
            return self.scored.scores
        if isinstance(self.target, Nothing):
            return np.zeros(self.batch, self.activations.dtype)
        native = self.trace.native_scores[self.index]
        assert native is not None
        return native

    @cached_property
    def class_weights(self) -> Array:
        """The linear head's weights gathered for each sample's target, ``(B, C)``.

        Whether global average pooling and one linear layer follow is seen from the
        numbers, so any spelling of it will do.
        """
        if self.scored is None:
            raise MethodError(
                "CAM weights channels by a target's cotangent, which a native callable does not "
                "give. Give a class or a camcore.targets.Target."
            )
        if (found := self._head_weights(1e-2)) is not None:  # bfloat16 keeps two or three digits
            return found
        raise MethodError(
            "CAM needs a layer that only global average pooling and one linear layer follow; "
            f"{self.layer!r} is not such a layer of this model. Grad-CAM is the same map there "
            "and works everywhere: method='gradcam'."
        )

    @cached_property
    def mean_weights(self) -> Array | None:
        """What the score gains by the mean of each channel, ``(B, C)``.

        None where that is not the same everywhere: where more than global average pooling and one
        linear layer follow, or the target is not linear in the outputs.
        """
        if not isinstance(self.target, Target) or not self.target.linear or self.frames > 1:
            return None
        try:
            return self._head_weights(1e-4)
        except NotOfferedError:
            return None

    def _head_weights(self, tolerance: float) -> Array | None:
        """Gather the linear head's weights, where pooled activations give the outputs by it.

        They may be apart by `tolerance` times the largest output.
        """
        head = self.adapter.classifier()
        whole = isinstance(self.target, Target) and self.target.every_output
        values = None if whole else self.selector.values(self.trace)
        if self.scored is None or head is None or values is None or values.ndim > 2:
            return None
        weights, bias = head
        values = values.reshape(len(values), -1)
        pooled = mean_space(self.activations)
        if weights.shape != (values.shape[1], pooled.shape[1]):
            return None
        error = np.abs(pooled @ weights.T + bias - values).max()
        if not error <= tolerance * np.abs(values).max():
            return None
        cotangent = self.scored.cotangent[self.selector.path(self.trace.outputs)]
        result: Array = cotangent.reshape(values.shape) @ weights.astype(values.dtype)
        return result

    @property
    def of_one_call(self) -> bool:
        """Whether the layer runs several times, and one call of it is looked at."""
        traced = self.trace.layers.get(self.layer)
        return traced is not None and self.frames == 1 and traced.calls > 1

    def _canonical(self, array: Array) -> Array:
        """View what is the layer's as ``(B, C, *S)``."""
        if self._is_input:
            return self.inputs.layout.canonical(array)
        return self._by_sample(self._placement.canonical(array))

    def _by_sample(self, rows: Array) -> Array:
        """Put rows sample by sample, ``(B * T, ...)``, that are frame by frame."""
        traced = self.trace.layers[self.layer]
        if self.frames == 1 or self.batch == 1 or traced.frames > 1:
            return rows
        if not self.known.frames_first(self.adapter, self.inputs, self.layer, traced):
            return rows
        by_frame = rows.reshape(self.frames, self.batch, *rows.shape[1:])
        return by_frame.swapaxes(0, 1).reshape(rows.shape)

    def _native(self, array: Array, like: Array) -> Array:
        """Undo `_canonical`; `like` is what the layer returned for one sample."""
        if self._is_input:
            return self.inputs.layout.native(array)
        return self._placement.native(array, like)

    def _sample(self, index: int) -> Array:
        """Cut what the layer returned for one sample out."""
        activations = self.trace.layers[self.layer].activations
        if self._is_input:
            return activations[index : index + 1]
        return self._placement.layout.sample(activations, index)

    @property
    def _is_input(self) -> bool:
        return LayerName.parse(self.layer).is_input

    @cached_property
    def _placement(self) -> Placement:
        """How the layer's arrays lie over the input, or over a frame of it."""
        traced, channels = self.trace.layers[self.layer], self.inputs.channels
        wanted, shape, batch = self.wanted_layout, traced.activations.shape, self.batch_axis
        try:
            if self.frames > 1:
                frame = self._seen_size
                found = layout.infer(shape, traced.channels, frame, wanted, channels)
                return Placement(found, tuple(range(len(found.size(shape)))))
            about = (self.adapter, self.inputs, self.layer, traced, wanted)
            return self.geometry.place(*about, self.known, batch=batch, read=self._patches)
        except LayerError as error:
            raise LayerError(f"Layer {self.layer!r}: {error}") from None

    @cached_property
    def batch_axis(self) -> int:
        """Which axis of what the layer returned carries the batch.

        Raises
        ------
        LayerError
            It is not the one that the user's layout says.
        """
        traced, wanted = self.trace.layers.get(self.layer), self.wanted_layout
        name = LayerName.parse(self.layer)
        if traced is None or name.is_input or name.is_attention:
            return 0
        if wanted is not None and wanted.batch is not None:
            shape = traced.activations.shape
            if shape[wanted.batch : wanted.batch + 1] != (self.batch,):
                raise LayerError(
                    f"Layer {self.layer!r} returns {shape}, so axis {wanted.batch} does not carry "
                    f"a batch of {self.batch}. Give another: layout=camcore.Layout(..., batch=n)."
                )
            return wanted.batch
        return self.known.batch_axis(self.adapter, self.inputs, self.layer, traced)

    def _patches(self, count: int, wanted: Layout | None) -> Layout:
        """Find the patches among so many tokens, where ids hold their place by these."""
        ids: frozenset[int] = getattr(self.selector.model, "stated_image_tokens", frozenset())
        said = wanted is not None and wanted.prefix is not None
        run = None if said else image_tokens.placed(self.inputs.arrays, ids, count)
        if run is None:
            return self.known.patches(self.adapter, self.inputs, count, wanted)
        grids = self.known.grids(self.adapter, self.inputs)
        if (found := image_tokens.on_grid(*run, grids, wanted)) is not None:
            return found
        moved = self.known.patches(self.adapter, self.inputs, count, wanted)
        return image_tokens.check_run(moved, *run)

    @property
    def _seen_size(self) -> tuple[int, ...]:
        """Spatial size of what one row of the layer sees: the input, or a frame of it."""
        return self.size if self.frames == 1 else self.size[1:]


class Rerun(Evidence):
    """Evidence that may ask the model for further passes."""

    @property
    def score_images(self) -> ImageScores:
        """Scores of altered inputs: ``score_images(sample, images)``; see `ImageScores`."""
        return ImageScores(self)

    def inputs_of(self, images: Array, sample: int | npt.NDArray[np.int64]) -> Any:
        """Put N alterations of one sample's input, ``(N, C, *S)``, into what the model takes.

        Or each of the sample whose index ``(N,)`` is given.

        Returns
        -------
        array, or nest of arrays
            In the model's own layout; the sample's other inputs are repeated.
        """
        return self._with_images(images, sample).native

    @property
    def resume(self) -> Callable[[int], AbstractContextManager[Callable[[Array], Array]]]:
        """Scores of altered activations.

        Within ``with resume(sample) as score:``, ``score(activations)`` takes N
        alterations of one sample's activations, ``(N, C, *S)``, and returns its
        target's scores ``(N,)``; what comes before the layer is not run again.
        """

        @contextmanager
        def scoring(sample: int) -> Iterator[Callable[[Array], Array]]:
            target = self.settled(sample)
            own = self._sample(sample)
            with self.up_to_layer(self.adapter.resume, sample) as head:

                def score(activations: Array) -> Array:
                    leaves = head(self._native(activations, own))
                    return self._one_each(self.selector.apply(target, leaves).scores, activations)

                # Outputs listed image by image would not tell the alterations apart.
                yield _one_by_one(score) if target.every_output else score

        return scoring

    @property
    def gradients_from(
        self,
    ) -> Callable[[int], AbstractContextManager[Callable[[Array], tuple[Array, Array]]]]:
        """Scores and gradients of altered activations.

        Within ``with gradients_from(sample) as at:``, ``scores, gradients = at(activations)``
        takes N alterations of one sample's activations, ``(N, C, *S)``, and returns its target's
        scores ``(N,)`` and the gradient of each there, ``(N, C, *S)``; what comes before the layer
        is not run again.
        """
        if isinstance(self.target, NativeScore):
            raise MethodError(
                "Gradients at altered activations are those of a target in NumPy, which the native "
                f"callable {self.target.function!r} is not. Give a class or a "
                "camcore.targets.Target."
            )

        @contextmanager
        def pulling(sample: int) -> Iterator[Callable[[Array], tuple[Array, Array]]]:
            target = self.settled(sample)
            own = self._sample(sample)
            with self.up_to_layer(self.adapter.gradients_from, sample) as pull:

                def at(activations: Array) -> tuple[Array, Array]:
                    scored: list[Scored] = []
                    seed = self.selector.seed(target, scored.append)
                    assert not isinstance(seed, NativeScore)
                    gradients = pull(self._native(activations, own), seed)
                    scores = np.concatenate([each.scores for each in scored])
                    return self._one_each(scores, activations), self._canonical(gradients)

                yield _each_alone(at) if target.every_output else at

        return pulling

    @property
    def rerun(self) -> Callable[[Array], tuple[Array, Array]]:
        """Activations and gradients of other inputs.

        ``rerun(images)`` takes a batch in place of the input, ``(B, C, *S)``, and
        returns the layer's activations and the gradients there of the same target.
        """

        def again(images: Array) -> tuple[Array, Array]:
            other = self._on(images, back=True)
            return other.activations, other.gradients

        return again

    def on(self, images: Array) -> Rerun:
        """Explain the same layer and settled target on a batch of other images, by another pass.

        It has gradients where this one has.
        """
        return self._on(images, back=any(one.gradients for one in self.trace.layers.values()))

    def _on(self, images: Array, *, back: bool) -> Rerun:
        scored: list[Scored] = []
        inputs, target = self._with_images(images), self._same_target
        if back or isinstance(target, NativeScore):
            trace = self.run_again(inputs, tuple(self.trace.layers), keep=scored.append)
        else:
            logits = self.selector.logits
            trace = self.adapter.run(inputs.native, tuple(self.trace.layers), logits=logits)
            if not isinstance(target, Nothing):
                scored.append(self.selector.apply(target, trace.shown))
        return replace(
            self,
            inputs=inputs.traced(trace),
            trace=trace,
            index=0,
            target=target,
            scored=scored[0] if scored else None,
        )

    def outputs_of(self, activations: Array) -> Array | None:
        """Score the classes, ``(N, K)``, of activations ``(N, C, *S)``; None without classes.

        What comes before the layer is the first sample's.
        """
        own = self._sample(0)
        with self.up_to_layer(self.adapter.resume, 0) as head:
            leaves = head(self._native(activations, own))
        values = leaves[self.selector.path(leaves)]
        return values if values.ndim == 2 else None

    @property
    def gradients_at(self) -> Callable[[Array], Array]:
        """The target's gradients at other inputs: ``(B, C, *S)`` to ``(B, C, *S)``."""

        def gradients(images: Array) -> Array:
            name = self.inputs.name
            traced = self.run_again(self._with_images(images), (name,)).layers[name]
            return self.inputs.layout.canonical(traced.gradients[0])

        return gradients

    @cached_property
    def guided_gradients(self) -> Array:
        """The score's gradient at the input, rectifiers passing only what is positive."""
        return self._gradients_past("guided")

    @cached_property
    def deconvolved_gradients(self) -> Array:
        """The score's gradient at the input, rectified at each rectifier in place of it."""
        return self._gradients_past("deconvolution")

    def _gradients_past(self, rectifier: Rectifier) -> Array:
        name = self.inputs.name
        trace = self.run_again(self.inputs, (name,), rectifier=rectifier)
        return self.inputs.layout.canonical(trace.layers[name].gradients[0])

    @cached_property
    def hessian_products(self) -> Array:
        """H·A at the layer, H the Hessian of the score in A.

        With z the outputs, J their Jacobian in A and c the score's gradient in z, that is the
        Hessian of c·z with c held fixed, and Jᵀ times the Hessian of the score in z times J·A;
        where the score is linear in z the second is none.
        """
        if not isinstance(self.target, Target):
            raise MethodError(
                "ShapleyCAM needs a target that is linear in the outputs, or of which a second "
                f"derivative is known; got {self.target!r}. Give a class or a "
                "camcore.targets.Target."
            )
        if self.target.linear:
            trace = self.run_again(self.inputs, (self.layer,), second_order=True)
            return self._canonical(trace.layers[self.layer].hessian_products[0])
        target = self.settled(None)
        self.selector.cotangent_along(target, self.trace.shown, {})  # refuses before it is run
        trace = self.run_again(self.inputs, (self.layer,), second_order="tangents")
        traced = trace.layers[self.layer]
        bent = self.selector.cotangent_along(target, trace.shown, traced.tangents)
        again = self.adapter.run(
            self.inputs.native, (self.layer,), [lambda _: bent], logits=self.selector.logits
        )
        product = traced.hessian_products[0] + again.layers[self.layer].gradients[0]
        return self._canonical(product)

    @cached_property
    def bias_terms(self) -> list[Array]:
        """For each call of a layer that adds a bias, b · ∂y/∂b everywhere, ``(B, C, *S)``.

        Layers that a pass does not reach, or that the score does not depend on, are left
        out. A batch normalisation adds β − μγ/√(σ² + ε).
        """
        surveyed = self.known.survey(self.adapter, self.inputs)
        calls = {record.layer.name: record.calls for record in surveyed}
        of_one = {record.layer.name: record.shape for record in surveyed}
        added = {
            f"{bias.layer}#{call}": bias
            for bias in self.adapter.biases()
            for call in range(calls.get(LayerName.parse(bias.layer).path, 0))
        }
        # A table of relative positions, which the input does not feed, has no place in it.
        fed = self.known.fed_by(self.adapter, self.inputs, list(added))
        added = {name: bias for name, bias in added.items() if name in fed}
        # In a model with several outputs, some layers add to another than the one explained.
        traces = dependent_layers(lambda names: self.run_again(self.inputs, names), list(added))
        terms = []
        for name, traced in traces.items():
            gradients, channels = traced.gradients[0], len(added[name].added)
            if gradients.size == self.batch * channels:  # of no place, or of a class token alone
                gradients = gradients.reshape(self.batch, channels)
            else:
                path = LayerName.parse(name).path
                # What was surveyed is the last call, and others may be of another size.
                last = traces.get(f"{added[name].layer}#{calls[path] - 1}", traced)
                batch = layout.axis_moved(of_one[path], last.gradients[0].shape)
                gradients = self._over_input(name, traced, batch, channels)
            terms.append(gradients * per_channel(added[name].added[None], gradients))
        return terms

    def _over_input(self, name: str, traced: LayerTrace, batch: int, channels: int) -> Array:
        """View the gradients of a layer of so many channels as ``(B, C, *S)``.

        Raises
        ------
        MethodError
            The layer does not lie over the whole input.
        """
        shape = traced.gradients[0].shape
        if len(shape) > 3 and shape[-1] == channels != shape[1]:
            traced = replace(traced, channels="last")
        refused = MethodError(
            f"FullGrad lays what every layer adds over the input, and layer {name!r} sees parts of "
            f"it, such as windows or single frames: it returns {shape}. Choose another method, "
            "such as method='gradcam'."
        )
        about = (self.adapter, self.inputs, name, traced, None)
        try:
            found = self.geometry.place(*about, self.known, batch=batch, read=self.known.likely)
            gradients = found.canonical(traced.gradients[0])
        except LayerError as error:
            raise refused from error
        if found.order is None or gradients.shape[:2] != (self.batch, channels):
            raise refused
        return gradients

    def _one_each(self, scores: Array, activations: Array) -> Array:
        """Refuse scores that are not one for each alteration."""
        if len(scores) != len(activations):
            raise MethodError(
                f"The explained output has {len(scores)} rows for {len(activations)} altered "
                f"activations of layer {self.layer!r}, so they cannot be told apart. Choose "
                "another output, or method='gradcam'."
            )
        return scores

    @property
    def own_gradients(self) -> Callable[[], Array]:
        """Gradients of the layer's own score: ``own_gradients()`` is ``(B, heads, queries, *S)``.

        At its attention, of the score that the model makes of the mean of its block's tokens; or
        at a pooler's attention to these. It takes further passes, once for all attention of the
        traced one.
        """

        def own() -> Array:
            assert self.of_blocks is not None
            return self.keys_on_grid(self.of_blocks(self)[self.layer])

        return own

    @contextmanager
    def up_to_layer(
        self, verb: Callable[..., AbstractContextManager[T]], sample: int
    ) -> Iterator[T]:
        """Run one sample up to the layer, by a verb of the adapter that goes on from there.

        Parameters
        ----------
        verb : callable
            Takes the sample, the layer's name and `logits`, such as ``adapter.resume``.
        sample : int
            Its index.

        Yields
        ------
        object
            What the verb's context gives.

        Raises
        ------
        MethodError
            The model does not take a single sample.
        """
        one = self._apart.sample(sample).native
        with ExitStack() as undo:
            try:
                head = undo.enter_context(verb(one, self.layer, logits=self.selector.logits))
            except CamcoreError:
                raise
            except Exception as error:
                if self.batch == 1:
                    raise
                raise MethodError(
                    f"The model takes a batch of {self.batch} and no single sample, so it cannot "
                    f"be run from layer {self.layer!r} on for one. Explain one that takes any "
                    "batch size, or choose a method of one pass: method='gradcam'."
                ) from error
            yield head

    def run_again(
        self,
        inputs: Inputs,
        layers: Sequence[str],
        *,
        second_order: SecondOrder = False,
        rectifier: Rectifier | None = None,
        keep: Callable[[Scored], object] = lambda scored: None,
    ) -> Trace:
        """Run another pass for the same, settled target.

        Parameters
        ----------
        inputs : Inputs
            What is run.
        layers : sequence of str
            What is captured.
        second_order, rectifier
            As `camcore.adapter.Adapter.run` takes them.
        keep : callable
            Given the target's scores and cotangents there.

        Returns
        -------
        Trace
            With gradients, unless nothing is explained.
        """
        target = self._same_target
        return self.adapter.run(
            inputs.native,
            layers,
            () if isinstance(self.target, Nothing) else [self.selector.seed(target, keep)],
            logits=self.selector.logits,
            second_order=second_order,
            rectifier=rectifier,
        )

    def _with_images(
        self, images: Array, samples: int | npt.NDArray[np.int64] | None = None
    ) -> Inputs:
        inputs = self.inputs if samples is None else self._apart
        return inputs.with_images(self.inputs.layout.native(images), samples)

    @cached_property
    def _apart(self) -> Inputs:
        """The inputs, told which arrays have a row for each sample."""
        if len(self.inputs.shapes) == 1 or self.inputs.path is None:
            return self.inputs
        outputs, logits = self.trace.outputs, self.selector.logits
        if isinstance(self.target, Target) and not self.target.every_output:
            # Others may be by text what this is by image.
            path = self.selector.path(outputs)
            outputs = {path: outputs[path]}
        return self.known.told_apart(self.adapter, self.inputs, outputs, logits=logits)

    def settled(self, sample: int | None) -> Target:
        """Make the target's choices (predicted class, nearest classes) for good.

        Parameters
        ----------
        sample : int or None
            Whose target is wanted; None for that of the whole batch.

        Returns
        -------
        Target

        Raises
        ------
        MethodError
            What is explained is a native callable.
        """
        if isinstance(self.target, NativeScore):
            raise MethodError(
                "Outputs for altered activations are scored in NumPy, which the native callable "
                f"{self.target.function!r} cannot do. Give a class or a camcore.targets.Target."
            )
        return self.selector.settled(self.target, self.trace, sample)

    @property
    def _same_target(self) -> Target | NativeScore:
        """The target whose choices are those of this pass."""
        return self.settled(None) if isinstance(self.target, Target) else self.target


class ImageScores:
    """Scores alterations of a batch's inputs, for the targets that the batch has.

    A model that does not take N samples has them in batches of the input's own size.

    Parameters
    ----------
    batch : Rerun
        What is explained.
    """

    def __init__(self, batch: Rerun) -> None:
        self._batch = batch
        self._one_size = False
        self._apart = False

    def __call__(self, sample: int, images: Array) -> Array:
        """Score N alterations of one sample's input, ``(N, C, *S)``: ``(N,)``."""
        if not self._one_size:
            try:
                scores = self._pass(sample, images)
                self._one_size = len(scores) != len(images)
            except CamcoreError:
                raise
            except Exception:  # the framework's own
                if len(images) == self._batch.batch:
                    raise
                self._one_size = True
        if not self._one_size:
            return scores
        padded = np.concatenate([images, *[images[-1:]] * (-len(images) % self._batch.batch)])
        parts = np.split(padded, len(padded) // self._batch.batch)
        return np.concatenate([self._pass(sample, part) for part in parts])[: len(images)]

    def many(self, samples: npt.NDArray[np.int64], images: Array) -> Array:
        """Score N alterations, each of the sample whose index ``(N,)`` is given: ``(N,)``.

        In one pass, where the model takes that many and gives each of them a row.
        """
        batch, rows = self._batch, _rows(samples)
        target = batch.target
        whole = not isinstance(target, Target) or target.every_output
        if len(rows) > 1 and not (whole or self._one_size or self._apart):
            try:
                leaves = self._outputs(samples, images)
            except CamcoreError:
                raise
            except Exception:  # the framework's own; it may take those of one sample
                leaves = {}
            if leaves and all(len(leaf) == len(images) for leaf in leaves.values()):
                return self._scattered(
                    rows,
                    lambda sample, at: (
                        batch.selector.apply(
                            batch.settled(sample),
                            {path: leaf[at] for path, leaf in leaves.items()},
                        ).scores
                    ),
                )
        return self._scattered(rows, lambda sample, at: self(sample, images[at]))

    def _pass(self, sample: int, images: Array) -> Array:
        """Score alterations of one sample in one pass."""
        batch, selector = self._batch, self._batch.selector
        if isinstance(batch.target, NativeScore):
            inputs = batch._with_images(images, sample).native
            trace = batch.adapter.run(inputs, (), [batch.target], logits=selector.logits)
            assert trace.native_scores[0] is not None
            return trace.native_scores[0]
        leaves = self._outputs(sample, images)
        return selector.apply(batch.settled(sample), leaves).scores

    def _outputs(self, samples: int | npt.NDArray[np.int64], images: Array) -> Leaves:
        batch = self._batch
        inputs = batch._with_images(images, samples).native
        return batch.adapter.run(inputs, logits=batch.selector.logits).outputs

    @staticmethod
    def _scattered(
        rows: dict[int, npt.NDArray[np.int64]],
        score: Callable[[int, npt.NDArray[np.int64]], Array],
    ) -> Array:
        """Score each sample's alterations, and put the scores where they belong."""
        parts = [score(sample, at) for sample, at in rows.items()]
        scores = np.empty(sum(map(len, rows.values())), np.result_type(*parts))
        for at, part in zip(rows.values(), parts, strict=True):
            scores[at] = part
        return scores


def _is_of_tokens(target: object) -> bool:
    """Tell whether a target is a token, or a sum of tokens."""
    terms = target.terms if isinstance(target, Combination) else [(1.0, target)]
    return all(isinstance(term, Token) for _, term in terms)


def _rows(samples: npt.NDArray[np.int64]) -> dict[int, npt.NDArray[np.int64]]:
    """Find the places of each sample."""
    return {int(one): np.flatnonzero(samples == one) for one in dict.fromkeys(samples.tolist())}


def _one_by_one(score: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Score each sample of a batch in a pass of its own."""
    return lambda batch: np.concatenate([score(batch[i : i + 1]) for i in range(len(batch))])


def _each_alone(
    pull: Callable[[Array], tuple[Array, Array]],
) -> Callable[[Array], tuple[Array, Array]]:
    """Score each sample of a batch, and take its gradient, in a pass of its own."""

    def every(batch: Array) -> tuple[Array, Array]:
        scores, gradients = zip(*(pull(batch[i : i + 1]) for i in range(len(batch))), strict=True)
        return np.concatenate(scores), np.concatenate(gradients)

    return every
