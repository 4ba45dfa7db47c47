"""The one path from a model to its explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar, overload

import numpy as np

from camcore import layers as layer_names
from camcore import layout, registry
from camcore.errors import InputError, LayerError, MethodError, TargetError
from camcore.explanation import Explanation
from camcore.layers import LayerLike
from camcore.layout import Layout
from camcore.methods.table import Method, MethodLike
from camcore.recipes import Recipe, RecipeLike, find_recipe
from camcore.targets import Each, Scored, Target, TargetLike, as_target
from camcore.trace import INPUT, Adapter, Array, Channels, Leaves, NativeScore, Seed, Trace

Several = TypeVar("Several")
OfTargets: TypeAlias = "Explanation | list[Explanation]"
Result: TypeAlias = "OfTargets | dict[str, OfTargets]"


class Explainer:
    """Explains a model's decisions, batch after batch.

    What is fixed for a model (its adapter, its layers, the recipe) is settled once;
    a call costs about one forward pass.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model, or camcore.trace.Adapter
        Left exactly as it is. It is run in inference mode whatever mode it is in.
    layer : str, layer object, or list of these, optional
        Where to look; several layers are joined as the recipe says. A name may end
        in ``#N`` to mean the N-th call of a layer that runs several times. Left out,
        the last layer with spatial extent.
    method : str, Method, or list of these
        ``"gradcam"``, ``"Grad-CAM++"``, ...; see `camcore.methods.TABLE`.
    recipe : str or Recipe
        The convention to follow; see `camcore.recipes`.
    score : {"logit", "output"}, optional
        Explain the score before a final softmax or sigmoid, or the output as the
        model gives it. Left out, as the recipe says.
    output : str, optional
        Which leaf of the model's outputs is meant, where they are a tuple or dict.
    layout : Layout, optional
        How the layer's output is laid out, where its shape does not tell.
    **options
        Keyword arguments of the method's function.

    Raises
    ------
    BackendError
        No installed adapter owns the model.
    LayerError, MethodError, RecipeError
        A name is unknown.
    """

    def __init__(
        self,
        model: object,
        *,
        layer: LayerLike | Sequence[LayerLike] | None = None,
        method: MethodLike | Sequence[MethodLike] = "gradcam",
        recipe: RecipeLike = "paper",
        score: Literal["logit", "output"] | None = None,
        output: str | None = None,
        layout: Layout | None = None,
        **options: Any,
    ) -> None:
        self.adapter: Adapter = registry.adapter(model)
        self.recipe: Recipe = find_recipe(recipe)
        self._several_methods = isinstance(method, (list, tuple))
        wanted = method if isinstance(method, (list, tuple)) else [method]
        self.methods: tuple[Method, ...] = tuple(
            self.recipe.method(one).with_options(**options) for one in wanted
        )
        if not self.methods:
            raise MethodError("An empty list of methods was given; name at least one.")
        if score not in (None, "logit", "output"):
            raise InputError(f"score={score!r}; expected 'logit' or 'output'.")
        self.score = score or self.recipe.score
        self._score_demanded = score == "logit"
        self.output = output
        self.layout = layout
        self._layers = None if layer is None else layer_names.resolve(layer, self.adapter.layers())

    def layers(self, inputs: Any) -> tuple[str, ...]:
        """Names of the layers that a call on such inputs explains."""
        if self._layers is None:
            self._layers = (_choose_layer(self.adapter, inputs),)
        return self._layers

    def __call__(self, inputs: Any, target: TargetLike | Each = None) -> Result:
        """Explain a batch.

        Parameters
        ----------
        inputs : array, tensor, or nest of these
            What the model takes: its own layout, its own preprocessing, batch first.
        target : None, int, sequence of int, Target, Each, or callable
            None is the predicted class of each sample. A plain callable takes the
            model's outputs in its own framework and returns one score per sample.

        Returns
        -------
        Explanation
            A list of them, in order, for a target that is `Each`; a dict of them by
            method name where the explainer was given a list of methods.

        Raises
        ------
        TargetError
            The target does not fit the outputs.
        LayerError
            A layer has no spatial extent.
        GradientError
            The score is not connected to a layer.
        InputError
            Inputs, or what the model makes of them, are not finite.
        """
        several = isinstance(target, Each)
        wanted = target.targets if isinstance(target, Each) else (as_target(target),)
        names = self.layers(inputs)
        scored: list[Scored | None] = [None] * len(wanted)
        seeds = [self._seed(one, partial(scored.__setitem__, i)) for i, one in enumerate(wanted)]
        needs = {need for method in self.methods for need in method.needs}
        trace = self.adapter.run(
            inputs,
            names,
            seeds if needs & {"gradients", "class_weights"} else (),
            logits=self.score == "logit",
        )
        _check_finite(trace)
        outputs = self._outputs(trace)
        if not needs & {"gradients", "class_weights"}:
            for i, one in enumerate(wanted):
                scored[i] = _without_gradient(one, outputs)
        results = {
            method.name: [
                self._explanation(method, trace, outputs, names, i, answer)
                for i, answer in enumerate(scored)
            ]
            for method in self.methods
        }
        ordered = {name: each if several else each[0] for name, each in results.items()}
        return ordered if self._several_methods else ordered[self.methods[0].name]

    def _seed(
        self, target: Target | NativeScore, keep: Callable[[Scored], None]
    ) -> Seed | NativeScore:
        """The target as an adapter takes it; what it answers is kept."""
        if isinstance(target, NativeScore):
            return target

        def seed(leaves: Leaves) -> Leaves:
            path = self._output_path(leaves)
            scored = target(_with_classes(leaves[path]))
            keep(scored)
            return {path: scored.cotangent.reshape(leaves[path].shape)}

        return seed

    def _output_path(self, leaves: Leaves) -> str:
        if self.output is not None and self.output not in leaves:
            raise TargetError(f"The model has no output {self.output!r}; it has {_shapes(leaves)}.")
        if self.output is not None:
            return self.output
        if len(leaves) == 1:
            return next(iter(leaves))
        if "logits" in leaves:
            return "logits"
        raise TargetError(
            f"The model returns {len(leaves)} outputs: {_shapes(leaves)}. "
            "Say which one is explained: output='...'."
        )

    def _outputs(self, trace: Trace) -> Leaves:
        """The explained leaf, after checking that it is the score that was asked for."""
        if any(isinstance(score, np.ndarray) for score in trace.native_scores):
            return trace.outputs
        path = self._output_path(trace.outputs)
        if self._score_demanded and path not in trace.activation:
            values = trace.outputs[path]
            if _look_like_probabilities(values):
                raise TargetError(
                    "score='logit' was asked for, but the model returns probabilities and the "
                    "logits before them cannot be found (no softmax or sigmoid at the end of "
                    "the pass). Use score='output', or explain a model that returns logits."
                )
        return {path: trace.outputs[path]}

    def _explanation(
        self,
        method: Method,
        trace: Trace,
        outputs: Leaves,
        names: Sequence[str],
        index: int,
        scored: Scored | None,
    ) -> Explanation:
        size, channels = _spatial_size(trace.inputs, trace.input_channels)
        raw: dict[str, Array] = {}
        for name in names:
            supplied = self._ingredients(method, trace, name, size, channels, index, scored)
            raw[name] = method(**supplied)
            if not np.all(np.isfinite(raw[name])):
                raise InputError(
                    f"{method.label} at {name!r} overflows {raw[name].dtype}: its map is not "
                    "finite. Explain the model in a wider dtype, or scale the score down."
                )
        maps = self.recipe.render(list(raw.values()), size)
        native = trace.native_scores[index] if trace.native_scores else None
        scores = native if native is not None else (scored.scores if scored else None)
        assert scores is not None
        path, values = next(iter(outputs.items()))
        return Explanation(
            maps=maps,
            raw=raw,
            scores=np.asarray(scores),
            classes=None if scored is None else scored.classes,
            empty=_without_evidence(list(raw.values())),
            outputs=values,
            activation=trace.activation.get(path),
            method=method.name,
            recipe=self.recipe.name,
            overlay_style=self.recipe.overlay,
        )

    def _ingredients(
        self,
        method: Method,
        trace: Trace,
        name: str,
        size: tuple[int, ...],
        channels: Channels,
        index: int,
        scored: Scored | None,
    ) -> Mapping[str, Array]:
        """What the method needs at one layer, as ``(B, C, *S)``."""
        traced = trace.layers[name]
        hint = channels if name.partition("#")[0] == INPUT else traced.channels
        try:
            found = layout.infer(traced.activations.shape, hint, size, self.layout)
        except LayerError as error:
            raise LayerError(f"Layer {name!r}: {error}") from None
        supplied = {"activations": found.canonical(traced.activations)}
        if "gradients" in method.needs:
            supplied["gradients"] = found.canonical(traced.gradients[index])
        if "class_weights" in method.needs:
            supplied["class_weights"] = _class_weights(
                self.adapter, trace, name, supplied["activations"], scored
            )
        return supplied


@overload
def explain(
    model: object,
    inputs: Any,
    target: Each,
    layer: LayerLike | Sequence[LayerLike] | None = ...,
    method: MethodLike = ...,
    recipe: RecipeLike = ...,
    **options: Any,
) -> list[Explanation]: ...
@overload
def explain(
    model: object,
    inputs: Any,
    target: TargetLike = ...,
    layer: LayerLike | Sequence[LayerLike] | None = ...,
    method: MethodLike = ...,
    recipe: RecipeLike = ...,
    **options: Any,
) -> Explanation: ...
@overload
def explain(
    model: object,
    inputs: Any,
    target: TargetLike | Each = ...,
    layer: LayerLike | Sequence[LayerLike] | None = ...,
    method: MethodLike | Sequence[MethodLike] = ...,
    recipe: RecipeLike = ...,
    **options: Any,
) -> Result: ...
def explain(
    model: object,
    inputs: Any,
    target: TargetLike | Each = None,
    layer: LayerLike | Sequence[LayerLike] | None = None,
    method: MethodLike | Sequence[MethodLike] = "gradcam",
    recipe: RecipeLike = "paper",
    **options: Any,
) -> Result:
    """Show where a model looks.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model, or camcore.trace.Adapter
        Left exactly as it is.
    inputs : array, tensor, or nest of these
        What the model takes: its own layout, its own preprocessing, batch first.
    target : None, int, sequence of int, Target, Each, or callable
        What is explained; None is the predicted class of each sample.
    layer, method, recipe, **options
        As `Explainer` takes them.

    Returns
    -------
    Explanation
        A list of them for a target that is `Each`; a dict of them by method name
        for a list of methods. All come from one forward pass.

    Raises
    ------
    CamcoreError
        See `Explainer`.

    Examples
    --------
    >>> result = camcore.explain(model, images)                      # doctest: +SKIP
    >>> result.maps.shape                                            # doctest: +SKIP
    (8, 224, 224)
    """
    explainer = Explainer(model, layer=layer, method=method, recipe=recipe, **options)
    return explainer(inputs, target)


def _choose_layer(adapter: Adapter, inputs: Any) -> str:
    records = adapter.survey(inputs)
    size, _ = _spatial_size(_as_leaves(inputs), adapter.input_channels)
    return layer_names.choose(records, size)


def _as_leaves(inputs: Any) -> Mapping[str, Any]:
    """The arrays of a nest, for their shapes alone."""
    if isinstance(inputs, Mapping):
        parts: Sequence[tuple[Any, Any]] = list(inputs.items())
    elif isinstance(inputs, (list, tuple)) and any(hasattr(i, "shape") for i in inputs):
        parts = list(enumerate(inputs))
    else:
        return {"": inputs}
    return {f"{key}.{path}": a for key, part in parts for path, a in _as_leaves(part).items()}


def _spatial_size(
    leaves: Mapping[str, Any], channels: Channels
) -> tuple[tuple[int, ...], Channels]:
    """Spatial size of the first input that has one; empty where none has."""
    for leaf in leaves.values():
        shape = tuple(int(n) for n in np.shape(leaf)) if not hasattr(leaf, "shape") else leaf.shape
        if len(shape) >= 3:
            return tuple(shape[2:] if channels == "first" else shape[1:-1]), channels
    return (), channels


def _with_classes(outputs: Array) -> Array:
    """Outputs with a class axis: a model that returns ``(B,)`` scores one class."""
    return outputs[:, None] if outputs.ndim == 1 else outputs


def _without_gradient(target: Target | NativeScore, outputs: Leaves) -> Scored:
    """The score alone, for methods that need no gradient."""
    if isinstance(target, NativeScore):
        raise TargetError(
            "A native callable is a target only for methods that use its gradient; "
            "give a class or a camcore.targets.Target."
        )
    return target(_with_classes(next(iter(outputs.values()))))


def _class_weights(
    adapter: Adapter, trace: Trace, name: str, activations: Array, scored: Scored | None
) -> Array:
    """The head's weights pulled together for each sample's target, ``(B, C)``.

    Whether the layer is followed by global average pooling and one linear layer is
    seen from the numbers, so any spelling of it will do.
    """
    head = adapter.classifier()
    outputs = [leaf for leaf in trace.outputs.values() if leaf.ndim == 2]
    if scored is not None and head is not None and len(outputs) == 1:
        weights, bias = head
        pooled = activations.reshape(*activations.shape[:2], -1).mean(axis=2)
        if weights.shape == (outputs[0].shape[1], pooled.shape[1]):
            error = np.abs(pooled @ weights.T + bias - outputs[0]).max()
            if error <= 1e-3 * max(np.abs(outputs[0]).max(), 1e-12):
                result: Array = scored.cotangent @ weights.astype(scored.cotangent.dtype)
                return result
    raise MethodError(
        f"CAM needs a layer that only global average pooling and one linear layer follow; "
        f"{name!r} is not such a layer of this model. Grad-CAM is the same map there and "
        "works everywhere: method='gradcam'."
    )


def _check_finite(trace: Trace) -> None:
    for kind, leaves in (("input", trace.inputs), ("output", trace.outputs)):
        for path, leaf in leaves.items():
            if np.issubdtype(leaf.dtype, np.floating) and not np.all(np.isfinite(leaf)):
                bad = np.argwhere(~np.isfinite(leaf))
                where = f" {path!r}" if path else ""
                raise InputError(
                    f"The model's {kind}{where} has {len(bad)} values that are NaN or infinite, "
                    f"the first in sample {bad[0][0]}. "
                    + (
                        "Clean the input before explaining it."
                        if kind == "input"
                        else "The input is finite, so look at the model's weights or dtype."
                    )
                )


def _without_evidence(raw: Sequence[Array]) -> Array:
    """Whether no layer's signed map is positive anywhere, for each sample."""
    positive = [(maps.reshape(len(maps), -1) > 0).any(axis=1) for maps in raw]
    empty: Array = ~np.any(positive, axis=0)
    return empty


def _look_like_probabilities(values: Array) -> bool:
    inside = bool(np.all((values >= 0) & (values <= 1)))
    return inside and (values.shape[-1] == 1 or np.allclose(values.sum(axis=-1), 1, atol=1e-3))


def _shapes(leaves: Leaves) -> str:
    return ", ".join(f"{path!r} {leaf.shape}" for path, leaf in leaves.items())
