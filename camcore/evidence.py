"""What a method may ask for, at one layer and for one target, as ``(B, C, *S)`` arrays.

A row of the methods table names attributes of `Evidence`; what costs another pass
is only made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from camcore import nest
from camcore.adapter import INPUT, Adapter, Array, Bias, NativeScore, Rectifier, Seed, Trace
from camcore.errors import InputError, LayerError, MethodError
from camcore.layers import frames, layout
from camcore.layers.connected import connected
from camcore.layers.layout import Layout
from camcore.methods.arrays import per_channel
from camcore.outputs import Explained
from camcore.targets import Nothing, Scored, Target

TRACED = frozenset({"gradients", "image_gradients", "attention_gradients"})
"""What needs the traced pass to pull the target back."""

UNTARGETED = frozenset({"activations", "images"})
"""What is the same whatever the target."""


@dataclass(frozen=True)
class Evidence:
    """One layer of one traced pass, seen for one target.

    Parameters
    ----------
    adapter : Adapter
        The model.
    inputs : array, tensor, or nest of these
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
        What the target said; None for a native score.
    explained : Explained
        Which output, and whether before its final activation.
    wanted_layout : Layout or None
        What the user says of the layer's layout.
    """

    adapter: Adapter
    inputs: Any
    trace: Trace
    layer: str
    index: int
    target: Target | NativeScore
    scored: Scored | None
    explained: Explained
    wanted_layout: Layout | None = None

    @cached_property
    def size(self) -> tuple[int, ...]:
        """Spatial size of the input; of a video that the layer sees by frames, ``(T, H, W)``."""
        whole = nest.spatial_size(dict(self.trace.inputs), self.trace.input_channels)
        if self.frames == 1 or self.trace.input_channels == "last":
            return whole
        return (self.frames, *whole[1:])

    @cached_property
    def batch(self) -> int:
        """Number of samples."""
        inputs = dict(self.trace.inputs)
        path = nest.spatial_leaf(inputs)
        return len(next(iter(inputs.values())) if path is None else inputs[path])

    @cached_property
    def frames(self) -> int:
        """How many of the layer's rows are one sample's; see `camcore.layers.frames`."""
        return frames.in_rows_of(self.layer, self.trace, self.batch)

    @cached_property
    def activations(self) -> Array:
        """The layer's output."""
        return self._layout.canonical(self.trace.layers[self.layer].activations)

    @cached_property
    def gradients(self) -> Array:
        """The score's gradient at the layer."""
        return self._layout.canonical(self.trace.layers[self.layer].gradients[self.index])

    @cached_property
    def attention_gradients(self) -> Array:
        """The score's gradient at the layer's attention, ``(B, heads, queries, *S)``."""
        gradients = self.trace.layers[self.layer].gradients[self.index]
        batch = len(self.trace.inputs[self._image_path])
        try:
            return layout.keys_on_grid(gradients, batch, self.size, self.wanted_layout)
        except (LayerError, MethodError) as error:
            raise type(error)(f"Layer {self.layer!r}: {error}") from None

    @cached_property
    def images(self) -> Array:
        """The model's spatial input."""
        return self._image_layout.canonical(self.trace.inputs[self._image_path])

    @cached_property
    def image_gradients(self) -> Array:
        """The score's gradient at the model's spatial input."""
        return self._image_layout.canonical(self.trace.layers[INPUT].gradients[self.index])

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
                "give; give a class or a camcore.targets.Target."
            )
        head = self.adapter.classifier()
        whole = isinstance(self.target, Target) and self.target.every_output
        values = None if whole else self.explained.values(self.trace)
        if head is not None and values is not None and values.ndim == 2:
            weights, bias = head
            pooled = self.activations.reshape(*self.activations.shape[:2], -1).mean(axis=2)
            if weights.shape == (values.shape[1], pooled.shape[1]):
                error = np.abs(pooled @ weights.T + bias - values).max()
                if error <= 1e-2 * np.abs(values).max():  # bfloat16 keeps two or three digits
                    cotangent = self.scored.cotangent[self.explained.path(self.trace.outputs)]
                    result: Array = cotangent @ weights.astype(values.dtype)
                    return result
        raise MethodError(
            "CAM needs a layer that only global average pooling and one linear layer follow; "
            f"{self.layer!r} is not such a layer of this model. Grad-CAM is the same map there "
            "and works everywhere: method='gradcam'."
        )

    @property
    def score_images(self) -> Callable[[int, Array], Array]:
        """Scores of altered inputs.

        ``score_images(sample, images)`` takes N alterations of one sample's input,
        ``(N, C, *S)``, and returns its target's scores ``(N,)``.
        """

        def score(sample: int, images: Array) -> Array:
            native = self._image_layout.native(images, images)
            batch = nest.altered(self.inputs, self.trace.inputs, self._image_path, native, sample)
            if isinstance(self.target, NativeScore):
                trace = self.adapter.run(batch, (), [self.target], logits=self.explained.logits)
                assert trace.native_scores[0] is not None
                return trace.native_scores[0]
            trace = self.adapter.run(batch, logits=self.explained.logits)
            return self.explained.apply(self._settled(sample), trace.outputs).scores

        return score

    @property
    def resume(self) -> Callable[[int], AbstractContextManager[Callable[[Array], Array]]]:
        """Scores of altered activations.

        Within ``with resume(sample) as score:``, ``score(activations)`` takes N
        alterations of one sample's activations, ``(N, C, *S)``, and returns its
        target's scores ``(N,)``; what comes before the layer is not run again.
        """

        @contextmanager
        def scoring(sample: int) -> Iterator[Callable[[Array], Array]]:
            target = self._settled(sample)
            own = self.trace.layers[self.layer].activations[sample : sample + 1]
            with self.adapter.resume(
                nest.sample_of(self.inputs, sample), self.layer, logits=self.explained.logits
            ) as head:

                def score(activations: Array) -> Array:
                    leaves = head(self._layout.native(activations, own))
                    return self.explained.apply(target, leaves).scores

                # Outputs listed image by image would not tell the alterations apart.
                yield _one_by_one(score) if target.every_output else score

        return scoring

    @property
    def rerun(self) -> Callable[[Array], tuple[Array, Array]]:
        """Activations and gradients of other inputs.

        ``rerun(images)`` takes a batch in place of the input, ``(B, C, *S)``, and
        returns the layer's activations and the gradients there of the same target.
        """

        def again(images: Array) -> tuple[Array, Array]:
            other = self.on(images)
            return other.activations, other.gradients

        return again

    def on(self, images: Array) -> Evidence:
        """The same layer and settled target on a batch of other images, from another pass."""
        scored: list[Scored] = []
        inputs = self._with_images(images)
        trace = self._pass(images, tuple(self.trace.layers), keep=scored.append)
        target = self._settled(None) if isinstance(self.target, Target) else self.target
        return replace(
            self, inputs=inputs, trace=trace, index=0, target=target, scored=(*scored, None)[0]
        )

    def outputs_of(self, activations: Array) -> Array | None:
        """Class scores ``(N, K)`` of activations ``(N, C, *S)`` at the layer; None without classes.

        What comes before the layer is the first sample's.
        """
        own = self.trace.layers[self.layer].activations[:1]
        first = nest.sample_of(self.inputs, 0)
        with self.adapter.resume(first, self.layer, logits=self.explained.logits) as head:
            leaves = head(self._layout.native(activations, own))
        values = leaves[self.explained.path(leaves)]
        return values if values.ndim == 2 else None

    @property
    def gradients_at(self) -> Callable[[Array], Array]:
        """The target's gradients at other inputs: ``(B, C, *S)`` to ``(B, C, *S)``."""

        def gradients(images: Array) -> Array:
            traced = self._pass(images, (INPUT,)).layers[INPUT]
            return self._image_layout.canonical(traced.gradients[0])

        return gradients

    @cached_property
    def guided_gradients(self) -> Array:
        """The score's gradient at the input, rectifiers passing only what is positive."""
        trace = self._pass(None, (INPUT,), rectifier="guided")
        return self._image_layout.canonical(trace.layers[INPUT].gradients[0])

    @cached_property
    def hessian_products(self) -> Array:
        """H·A at the layer, H the Hessian of the score in A."""
        if not (isinstance(self.target, Target) and self.target.linear):
            raise MethodError(
                f"ShapleyCAM needs a target that is linear in the outputs, such as a class or a "
                f"contrast; got {self.target!r}."
            )
        trace = self._pass(None, (self.layer,), second_order=True)
        return self._layout.canonical(trace.layers[self.layer].hessian_products[0])

    @cached_property
    def bias_terms(self) -> list[Array]:
        """For each call of a layer that adds a bias, b · ∂y/∂b everywhere, ``(B, C, *S)``.

        Layers that a pass does not reach, or that the score does not depend on, are left
        out. A batch normalisation adds β − μγ/√(σ² + ε).
        """
        calls = {record.layer.name: record.calls for record in self.adapter.survey(self.inputs)}
        added = {
            f"{bias.layer}#{call}": bias
            for bias in self.adapter.biases()
            for call in range(calls.get(bias.layer.partition("@")[0], 0))
        }
        # In a model with several outputs, some layers add to another than the one explained.
        traces = connected(lambda names: self._pass(None, names), list(added))
        terms = []
        for name, traced in traces.items():
            gradients = traced.gradients[0]
            if gradients.ndim > 2:
                found = layout.infer(
                    gradients.shape,
                    traced.channels,
                    self.size,
                    convention=self.trace.input_channels,
                )
                gradients = found.canonical(gradients)
            terms.append(gradients * per_channel(_added(added[name])[None], gradients))
        return terms

    def _pass(
        self,
        images: Array | None,
        layers: Sequence[str],
        *,
        second_order: bool = False,
        rectifier: Rectifier | None = None,
        keep: Callable[[Scored], None] | None = None,
    ) -> Trace:
        """Another pass for the same, settled target; on other images where they are given."""
        return self.adapter.run(
            self.inputs if images is None else self._with_images(images),
            layers,
            () if isinstance(self.target, Nothing) else [self._settled_seed(keep)],
            logits=self.explained.logits,
            second_order=second_order,
            rectifier=rectifier,
        )

    def _with_images(self, images: Array) -> Any:
        native = self._image_layout.native(images, images)
        return nest.altered(self.inputs, self.trace.inputs, self._image_path, native, None)

    def _settled(self, sample: int | None) -> Target:
        """The target with its choices (predicted class, nearest classes) made for good."""
        if isinstance(self.target, NativeScore):
            raise MethodError(
                "Ablation-CAM scores altered activations in NumPy, which the native callable "
                f"{self.target.function!r} cannot do; give a class or a camcore.targets.Target."
            )
        return self.explained.settled(self.target, self.trace, sample)

    def _settled_seed(self, keep: Callable[[Scored], None] | None = None) -> Seed | NativeScore:
        if isinstance(self.target, NativeScore):
            return self.target
        return self.explained.seed(self._settled(None), keep or (lambda scored: None))

    @cached_property
    def _layout(self) -> Layout:
        if self.layer.partition("#")[0] == INPUT:
            return self._image_layout
        traced = self.trace.layers[self.layer]
        try:
            return layout.infer(
                traced.activations.shape,
                traced.channels,
                self.size if self.frames == 1 else self.size[1:],
                self.wanted_layout,
                self.trace.input_channels,
            )
        except LayerError as error:
            raise LayerError(f"Layer {self.layer!r}: {error}") from None

    @cached_property
    def _image_layout(self) -> Layout:
        return Layout("channels_first" if self.trace.input_channels == "first" else "channels_last")

    @cached_property
    def _image_path(self) -> str:
        path = nest.spatial_leaf(dict(self.trace.inputs))
        if path is None:
            shapes = [leaf.shape for leaf in self.trace.inputs.values()]
            raise InputError(f"The method alters images, but the model's inputs are {shapes}.")
        # Without a nest there is one leaf, whose path is empty.
        return path


def _one_by_one(score: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Scores of a batch, each sample run alone."""
    return lambda batch: np.concatenate([score(batch[i : i + 1]) for i in range(len(batch))])


def _added(bias: Bias) -> Array:
    """What a layer adds to each channel, ``(C,)``."""
    if bias.normalisation is None:
        assert bias.bias is not None
        return bias.bias
    n = bias.normalisation
    added: Array = n["beta"] - n["mean"] * n["gamma"] / np.sqrt(n["variance"] + n["epsilon"])
    return added
