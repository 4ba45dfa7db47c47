"""Explain a model: one pass, and a map for each method and target."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    get_args,
    overload,
)

import numpy as np

from camcore import registry
from camcore._shared.warn import warn
from camcore.adapter import OUTPUT, Adapter, Array, LayerName, Mode, NativeScore, Seed, Trace
from camcore.augment import Augmentation, Weighted
from camcore.blocks import OwnGradients
from camcore.chain import Chain
from camcore.errors import GradientError, InputError, LayerError, MethodError
from camcore.evidence import Rerun
from camcore.explanation import Explanation, Frame
from camcore.input_layout import InputLayout
from camcore.inputs import Inputs
from camcore.layers import frames, names, poor, selection, trial
from camcore.layers.calls import Reader
from camcore.layers.dependent import any_score, dependent_layers, has_gradient
from camcore.layers.fed import pictured
from camcore.layers.geometry import Geometry
from camcore.layers.known import known_of
from camcore.layers.layout import Layout
from camcore.layers.names import LayerLike
from camcore.medical.meta_tensor import affines_of
from camcore.methods.spectral import smoothed
from camcore.methods.table import ON_IMAGES, Level, Method, MethodLike, with_options
from camcore.mistakes import (
    answering,
    check_addresses,
    check_given,
    check_options,
    check_order,
    check_settings,
)
from camcore.outputs import Activation, OutputSelector, check_finite
from camcore.photos.photo import are_photos, photos_of
from camcore.photos.preparation import Preparation, preparation
from camcore.photos.prepared import PhotoInput
from camcore.postprocess import Fusion, anywhere, without_evidence
from camcore.recipes import Recipe, RecipeLike, find_recipe
from camcore.targets import Each, Nothing, Scored, Target, TargetLike, as_target, class_index
from camcore.targets.scale import DISTRIBUTION
from camcore.zoo import Classes, class_names, known_classes

Several: TypeAlias = "list[str] | list[Method] | list[MethodLike] | tuple[MethodLike, ...]"
"""A list of methods, all explained from one pass."""

if TYPE_CHECKING:
    # Python has defaults of type variables from 3.13 on; type checkers know them everywhere.
    from typing_extensions import TypeVar as _TypeVar

    Result = _TypeVar("Result", default=Explanation)
else:
    Result = TypeVar("Result")
"""What a target gives: an `Explanation`, or for a list of methods one by each method's name."""


class Explainer(Generic[Result]):
    """Explains a model's decisions, batch after batch.

    What is fixed for a model (its adapter, its layers, the recipe) is settled once;
    a call costs about one forward pass.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model, camcore.adapter.Adapter, or path
        Left exactly as it is; of a path, the file that holds one whole (``.keras``, ``.h5``,
        ``.pt2``, and what other adapters claim) is loaded. It is run in inference mode
        whatever mode it is in, unless `mode` says otherwise.
    layer : str, layer object, or list of these, optional
        Where to look; several layers are joined as the recipe says. A name may end
        in ``#N`` to mean the N-th call of a layer that runs several times; without it the
        last is meant, with a warning, or all where each sees one frame of a video. It may
        end in ``@2`` or ``@high.0`` to mean one of the arrays that a layer returns, and in
        ``@activated`` to mean what a function of the model, such as ``F.relu``, rectifies of
        its output. Left out, the last layer with spatial extent that the score's gradient comes
        to, rectified where the model does that. Methods that read attention take all that is
        computed in the layers given, or in the model.
    method : str, Method, or list of these
        ``"gradcam"``, ``"Grad-CAM++"``, ...; see `camcore.methods.TABLE`.
    recipe : str or Recipe
        The convention to follow; see `camcore.recipes`.
    score : {"logit", "output"}, optional
        Explain the score before a final softmax or sigmoid, or the output as the
        model gives it. Left out, as the recipe says.
    activation : {"softmax", "sigmoid", "none"}, optional
        What makes probabilities of the scores, where the model does not end in it, as where
        its loss applies it: without it, scores of which nothing is known are shown as they
        are. One unit with a sigmoid tells two classes, 0 and 1. With ``score="output"``, what
        the outputs have been through. ``"none"`` has the outputs explained as plain numbers.
    output : str or int, optional
        Which leaf of the model's outputs is meant, where they are a tuple or dict, by key or
        position; in Keras also by the output's own name.
    input : str or int, optional
        Which of the model's inputs is the picture that maps lie over and methods alter, by key
        or position, where several have spatial extent.
    layout : Layout, optional
        How the layer's output is laid out, where its shape does not tell.
    input_layout : str, optional
        The axes of the input, a letter each, where the model does not tell: B for the batch, C
        for channels, where there are any, and any other letter for a spatial axis, as in
        ``"BCHW"``, ``"BHWC"``, ``"BHW"``, ``"BTCHW"``. Of several arrays, the first with as
        many axes is meant.
    fusion : {"mean", "max", "product", "sum", "root", "exp_mean", "log_exp"}, optional
        How the maps of several layers are joined. Left out, as the recipe says.
    augment : sequence of Augmentation
        Views of the input over which signed maps are averaged, each in the input's own
        frame; see `camcore.augment`. Each costs another pass.
    eigen_smooth : bool
        Show the first principal component of the channels' contributions in place of
        their sum.
    fast : bool, str, or sequence of str
        Run a copy of the model in faster ways than its own: in PyTorch ``"channels_last"``
        and ``"compile"``, which keep all but the last float32 digits, and ``"bfloat16"``,
        which keeps two or three and is slow on processors that lack it. True is the first.
    mode : {"eval", "as-is", "train"}
        ``"as-is"`` runs each PyTorch module in the mode it is in, and calls a Keras model
        without saying `training`; ``"train"`` runs all in training, such as the dropout of
        a Keras model for the spread of its maps. Running statistics are not written to. Random
        numbers are drawn as a call of the model draws them, anew in each pass of methods that
        need several; those that go on from a layer raise `LayerError` where they cannot.
    preprocess : object, optional
        What turns photographs into what the model takes, where the model does not say it itself:
        a `camcore.Preprocessing`; weights or transforms of torchvision; an image processor of
        transformers; a Keras application's ``preprocess_input``; or any function of one
        photograph, as a PIL image or an array ``(H, W, 3)`` uint8, a grey one too.
    classes : str, path, sequence of str, or mapping of int to str, optional
        Names of the classes by index, or a file of them, where the model does not say them
        itself; as `camcore.zoo.class_names` takes them.
    **options
        Keyword arguments of the method's function; among several methods, of those
        that take them.

    Raises
    ------
    BackendError
        No installed adapter owns the model.
    LayerError, MethodError, RecipeError
        A name is unknown.
    """

    @overload
    def __init__(
        self: Explainer[Explanation], model: object, *, method: MethodLike = ..., **options: Any
    ) -> None: ...
    @overload
    def __init__(
        self: Explainer[dict[str, Explanation]], model: object, *, method: Several, **options: Any
    ) -> None: ...
    def __init__(
        self,
        model: object,
        *,
        layer: LayerLike | Sequence[LayerLike] | None = None,
        method: MethodLike | Several = "gradcam",
        recipe: RecipeLike = "paper",
        score: Literal["logit", "output"] | None = None,
        activation: Activation | None = None,
        output: str | int | None = None,
        input: str | int | None = None,
        layout: Layout | None = None,
        input_layout: str | None = None,
        fusion: Fusion | None = None,
        augment: Sequence[Augmentation] = (),
        eigen_smooth: bool = False,
        fast: bool | str | Sequence[str] = False,
        mode: Mode = "eval",
        preprocess: Any = None,
        classes: Classes | None = None,
        **options: Any,
    ) -> None:
        check_options(options)
        check_settings(layout, augment)
        loaded = registry.loaded(model)
        self.model = model = model if loaded is None else loaded.model
        self._run = (fast, mode)
        self.adapter: Adapter = registry.adapter(model, fast, mode)
        self._given_loaded = loaded
        self._loaded = loaded = loaded or _described(model)
        self._preprocess = preprocess
        self.names = _names(classes, loaded, model)
        if loaded is not None:
            layer = loaded.default_layer if layer is None else layer
            activation = loaded.activation if activation is None else activation
        self.recipe: Recipe = find_recipe(recipe)
        if fusion is not None:
            self.recipe = self.recipe.derive(self.recipe.name, fusion=fusion)
        self._several_methods = isinstance(method, (list, tuple))
        wanted: Sequence[Any] = method if isinstance(method, (list, tuple)) else [method]
        self.methods: tuple[Method, ...] = with_options(
            [self.recipe.method(one) for one in wanted], options
        )
        if fusion is not None:
            self.methods = tuple(replace(method, fusion=None) for method in self.methods)
        if eigen_smooth:
            self.methods = tuple(smoothed(method) for method in self.methods)
        self.augment = tuple(augment)
        if not self.methods:
            raise MethodError("An empty list of methods was given; name at least one.")
        if score not in (None, "logit", "output"):
            raise InputError(f"score={score!r}; expected 'logit' or 'output'.")
        own_names: Mapping[str, str] = getattr(self.adapter, "output_names", {})
        path = None if output is None else own_names.get(str(output), str(output))
        if activation not in (None, *get_args(Activation)):
            raise InputError(f"activation={activation!r}; expected 'softmax', 'sigmoid' or 'none'.")
        if activation == "none" and score == "logit":
            raise InputError(
                "score='logit' is what a final activation is applied to, and activation='none' "
                "says that there is none. Leave one of them out."
            )
        self.selector = OutputSelector(
            path,
            score or self.recipe.score,
            score == "logit",
            self.adapter.input_channels,
            activation,
            score == "output",
        )
        self._preparation: Preparation | None = None
        self.layout = layout
        self.input = None if input is None else str(input)
        self.input_layout = None if input_layout is None else InputLayout(input_layout)
        self._geometry = Geometry(self._subject, self.adapter)
        self._given = (
            None if layer is None else names.resolve(layer, registry.adapter(model).layers())
        )
        self._layers: dict[Level, tuple[str, ...]] = {}
        self._is_tried = self._given is not None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is of this process, the adapter; the model is pickled as it can be."""
        of_process = ("adapter", "_geometry", "_preparation", "_loaded")
        return {name: value for name, value in vars(self).items() if name not in of_process}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.adapter = registry.adapter(self.model, *self._run)
        self._geometry = Geometry(self._subject, self.adapter)
        self._loaded = self._given_loaded or _described(self.model)
        self._preparation = None

    @property
    def _subject(self) -> object:
        """What facts are kept by: the model, or its adapter where it takes no weak reference."""
        try:
            weakref.ref(self.model)
        except TypeError:
            return self.adapter
        return self.model

    def layers(self, inputs: Any) -> tuple[str, ...]:
        """Name the layers that a call on such inputs explains.

        Parameters
        ----------
        inputs : array, tensor, or nest of these
            What the model takes; where a layer was given, it is not looked at.

        Returns
        -------
        tuple of str

        Raises
        ------
        LayerError
            No layer was given, and none has spatial extent.
        MethodError
            The methods read attention, and none is computed there.
        """
        levels = {method.level for method in self.methods}
        level: Level = "layer"
        if levels in ({"attention"}, {"scales"}):
            (level,) = levels
        inputs, *_ = self._prepared(inputs)
        with answering(inputs, self.model, self.adapter):
            given = self._read(inputs)
            settled = self._settle([level], given)
            if level == "layer" and not self._is_tried:
                read = self._reader(given, settled["layer"])
                self._try(read, given, settled["layer"], [any_score])
        return self._layers[level]

    @overload
    def __call__(self: Explainer[Explanation], inputs: Any, target: Each) -> list[Explanation]: ...
    @overload
    def __call__(
        self: Explainer[dict[str, Explanation]], inputs: Any, target: Each
    ) -> dict[str, list[Explanation]]: ...
    @overload
    def __call__(self, inputs: Any, target: TargetLike = ...) -> Result: ...
    def __call__(self, inputs: Any, target: TargetLike | Each = None) -> Any:
        """Explain a batch.

        Parameters
        ----------
        inputs : array, tensor, or nest of these; or photographs
            What the model takes: its own layout, its own preprocessing, batch first. Or a
            photograph, or a list of them: paths, PIL images, arrays ``(H, W, 3)``, or grey
            ``(H, W)``, of uint8.
        target : None, int, str, sequence of int or str, Target, Each, or callable
            None is the predicted class of each sample, or nothing where the methods look
            at activations alone and the outputs are no class scores; a str is a class's name.
            A plain callable takes the model's outputs in its own framework and returns one
            score per sample.

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
            A layer has no spatial extent, returns several maps of which none is chosen, or
            sees a part of the input each time it runs; or the maps of several layers cannot be
            joined, as they have other axes.
        GradientError
            The score is not connected to a layer.
        InputError
            Inputs, or what the model makes of them, are not finite; or several of them have
            spatial extent, and it is not known which one is meant; or where it has its channels
            is not known, and `input_layout` does not say it or does not fit.

        Warns
        -----
        UserWarning
            Maps lie on a layer's own grid, as its axes are not the input's.
        """
        several = isinstance(target, Each)
        targets = target.targets if isinstance(target, Each) else (target,)
        wanted = [self._target(one) for one in targets]
        inputs, photographs, said = self._prepared(inputs)
        with answering(inputs, self.model, self.adapter):
            found = self._explanations(self._read(inputs), wanted)
        if photographs:
            found = [
                [replace(one, photographs=photographs, preprocessing=said) for one in of_method]
                for of_method in found
            ]
        found = [[_placed(one, inputs) for one in of_method] for of_method in found]
        results = dict(zip(self._names(), found, strict=True))
        ordered = {name: each if several else each[0] for name, each in results.items()}
        return ordered if self._several_methods else next(iter(ordered.values()))

    def evidence(self, inputs: Any, target: TargetLike = None) -> Rerun:
        """Gather what the first method's maps are made from: activations, gradients, and more.

        Parameters
        ----------
        inputs : array, tensor, or nest of these
            What the model takes.
        target : None, int, sequence of int, Target, or callable
            What is explained.

        Returns
        -------
        Rerun
            At the explainer's first layer; its attributes are ``(B, C, *S)`` arrays.
        """
        method, wanted = self.methods[0], self._target(target)
        inputs, *_ = self._prepared(inputs)
        with answering(inputs, self.model, self.adapter):
            given, layers = self._aimed(self._read(inputs))
            found = self._evidence(given, layers, [method.aim(wanted)])
        return found[{**layers, **self._layers}[method.level][0], 0]

    def by_method(self, method: MethodLike) -> Explainer[Explanation]:
        """Make an explainer of one other method, all else alike but for augmented views.

        Parameters
        ----------
        method : str or Method
            Without options.

        Returns
        -------
        Explainer

        Raises
        ------
        MethodError
            There is no such method.
        """
        twin: Any = copy(self)
        twin.methods, twin.augment = (self.recipe.method(method),), ()
        twin._layers = {k: v for k, v in self._layers.items() if k != "attention"}
        twin._several_methods = False
        return twin  # type: ignore[no-any-return]

    def _target(self, target: TargetLike) -> Target | NativeScore:
        """Read the target; `Nothing` where none is given and no method asks for one."""
        asked = any(method.targeted for method in self.methods)
        if self._loaded is not None and self._loaded.aim is not None and asked:
            if isinstance(target, str):
                target = class_index(self.names, target)
            if target is None or isinstance(target, (int, np.integer)):
                return as_target(self._loaded.aim(target))
        return Nothing() if target is None and not asked else as_target(target, self.names)

    def _prepared(self, inputs: Any) -> tuple[Any, tuple[PhotoInput, ...], str | None]:
        """Turn photographs into what the model takes; what is none is taken as it is.

        Returns
        -------
        inputs, photographs, preprocessing
            None and no photographs where there are none.

        Raises
        ------
        InputError
            It is neither what a model takes nor photographs, or it is not known how photographs
            are shown to this model.
        """
        check_addresses(inputs)
        several = self._preprocess is not None and are_photos(inputs)
        flat = self.input_layout is not None and len(self.input_layout.axes) == 2
        taken = flat and getattr(inputs, "ndim", None) == 2  # no grey photograph
        photos = None if taken else photos_of(list(inputs) if several else inputs)
        if photos is None:
            check_given(inputs, self._preprocess)
            return inputs, (), None
        if self._preparation is None:
            loaded = self._loaded or registry.describe(self.model)
            about = self._preprocess, self.model, loaded
            self._preparation = preparation(*about, self.adapter.input_channels)
        inputs, photographs = self._preparation.batch(photos)
        return inputs, photographs, self._preparation.said

    def _read(self, inputs: Any) -> Inputs:
        """Read what is given to the model, and where it has its channels.

        Raises
        ------
        InputError
            It has no such input as is said, or the model does not tell where its channels are.
        """
        given = Inputs.of(inputs, self.adapter, self.input, self.input_layout)
        if self.input is not None:
            given.image_path()
        return self._geometry.laid_out(given)

    def _aimed(self, inputs: Inputs) -> tuple[Inputs, Mapping[Level, tuple[str, ...]]]:
        """Settle which input maps lie over, and the layers that are looked at."""
        levels = {method.level for method in self.methods}
        layers = {**self._settle(levels, inputs)}
        if len(inputs.pictures) > 1 and inputs.chosen is None:
            looked_at = [name for level in levels - {"input", "output"} for name in layers[level]]
            needs = {need for method in self.methods for need in method.needs}
            alters = bool(self.augment) or not needs.isdisjoint(ON_IMAGES)
            inputs = pictured(self._subject, self.adapter, inputs, looked_at, alters)
            inputs = self._geometry.laid_out(replace(inputs, said=self.input_layout))
        return inputs, {**layers, "input": (inputs.name,), "output": (OUTPUT,)}

    def _names(self) -> list[str]:
        """Name each method; variants of one method are numbered."""
        names = [method.name for method in self.methods]
        return [
            name if names.count(name) == 1 else f"{name}#{names[:i].count(name)}"
            for i, name in enumerate(names)
        ]

    def _explanations(
        self, inputs: Inputs, wanted: Sequence[Target | NativeScore]
    ) -> list[list[Explanation]]:
        """Make explanations by method and target, from one pass."""
        targets: list[Target | NativeScore] = []
        chosen = [[_place(method.aim(one), targets) for one in wanted] for method in self.methods]
        inputs, layers = self._aimed(inputs)
        evidence = self._evidence(inputs, layers, targets)
        layers = {**layers, **self._layers}  # settled by now
        return [
            [
                self._explanation(
                    method,
                    [
                        evidence[layer, i]
                        for layer in self._seen_by(method, layers[method.level], inputs)
                    ],
                )
                for i in places
            ]
            for method, places in zip(self.methods, chosen, strict=True)
        ]

    def _seen_by(self, method: Method, names: tuple[str, ...], inputs: Inputs) -> tuple[str, ...]:
        """Name the layers that a method looks at, of all or those that any of its level does."""
        if self._given is not None:
            return names
        if method.of_blocks:
            pooler = known_of(self._subject, inputs).pooler(self.adapter, inputs)
            names = tuple(name for name in names if LayerName.parse(name).path != pooler)
        return names if method.last is None else names[-method.last :]

    def _settle(self, levels: Iterable[Level], inputs: Inputs) -> dict[Level, tuple[str, ...]]:
        """Name what methods of these levels look at; chosen for the first inputs, then kept."""
        choose = {
            "attention": selection.attention,
            "layer": selection.outputs,
            "scales": selection.scales,
        }
        for level in levels:
            if level in choose and level not in self._layers:
                about = (self._given, self._subject, self.adapter, inputs)
                names = choose[level](*about)
                if level == "attention":
                    seen = [
                        self._seen_by(m, names, inputs) for m in self.methods if m.level == level
                    ]
                    names = tuple(name for name in names if any(name in some for some in seen))
                self._layers[level] = names
                if level == "layer" and not self._is_tried:
                    kept = known_of(self._subject, inputs).kept.get(self.selector.output)
                    if kept is not None:
                        self._layers[level], self._is_tried = (kept,), True
        return self._layers

    def _reader(self, inputs: Inputs, explained: Sequence[str]) -> Reader:
        about = self._subject, self.adapter, inputs, self.layout
        return Reader(*about, list(explained), self.input)

    def _try(
        self,
        read: Reader,
        inputs: Inputs,
        captured: Sequence[str],
        seeds: Sequence[Seed | NativeScore],
    ) -> Trace:
        """Run a first pass, and settle on the best layer that has a gradient."""
        (best,), self._is_tried = self._layers["layer"], True
        others = [name for name in captured if name != best]
        known = known_of(self._subject, inputs)
        how = {"logits": self.selector.logits}

        def traced(some: Sequence[str]) -> Trace:
            optional = {"optional": some} if len(some) > 1 else {}
            return read.run(inputs.native, [*some, *others], seeds, **how, **optional)

        tried = trial.tried(
            traced,
            selection.ranked(self._subject, self.adapter, inputs),
            lambda one: has_gradient(one, inputs, known.likely, self.layout),
            singly=self.adapter.compiles,
        )
        if tried is None:
            return read.run(inputs.native, captured, seeds, **how)
        trace, found = tried
        self._layers["layer"] = (found,)
        if not any(isinstance(seed, NativeScore) for seed in seeds):
            known.kept[self.selector.output] = found
        wanted, one = [found, *others], trace.layers[found]
        if found != best and (one.calls > 1 or one.leaves or self.input is not None):
            return self._reader(inputs, [found]).run(inputs.native, wanted, seeds, **how)
        return replace(trace, layers={name: trace.layers[name] for name in wanted})

    def _leave_out(self, run: Callable[[Sequence[str]], Trace], attending: Sequence[str]) -> bool:
        """Leave attention out that the score does not depend on; False where that is no way out.

        Such is that of a tower's last layer, where a model reads one before. What is named itself
        is meant.
        """
        kept = tuple(dependent_layers(run, attending))
        named = {LayerName.parse(name).path for name in self._given or ()}
        unread = {LayerName.parse(name).path for name in attending if name not in kept}
        if not kept or not unread or named & unread:
            return False
        self._layers["attention"] = kept
        return True

    def _evidence(
        self,
        inputs: Inputs,
        layers: Mapping[Level, tuple[str, ...]],
        targets: Sequence[Target | NativeScore],
    ) -> dict[tuple[str, int], Rerun]:
        """Trace one pass, and see it by layer and index of the target."""
        scored: list[Scored | None] = [None] * len(targets)
        keep = [partial(scored.__setitem__, i) for i in range(len(targets))]
        selector = replace(self.selector, model=self.adapter)
        seeds = list(map(selector.seed, targets, keep))
        traced = any(method.backward for method in self.methods) or any(
            isinstance(target, NativeScore) for target in targets
        )
        levels = dict.fromkeys(method.level for method in self.methods)
        captured = [
            name for level in levels if level not in ("input", "output") for name in layers[level]
        ]
        read = self._reader(inputs, captured)
        if any("image_gradients" in method.needs for method in self.methods):
            captured.append(inputs.name)
        captured = list(dict.fromkeys(captured))
        if traced and "layer" in levels and not self._is_tried:
            trace = self._try(read, inputs, captured, seeds)
            layers = {**layers, "layer": self._layers["layer"]}
        else:
            run = partial(
                read.run, inputs.native, seeds=seeds if traced else (), logits=selector.logits
            )
            try:
                trace = run(captured)
            except GradientError:
                attending = layers.get("attention", ())
                if not self._leave_out(run, attending):
                    raise
                layers = {**layers, "attention": self._layers["attention"]}
                unread = set(attending) - set(layers["attention"])
                trace = run([name for name in captured if name not in unread])
        check_finite(trace)
        if not traced:
            for i, one in enumerate(targets):
                if isinstance(one, Nothing):
                    scored[i] = selector.predicted(trace.shown)
                elif isinstance(one, Target):
                    scored[i] = selector.apply(one, trace.shown)
        given = self._geometry.seen(inputs, trace).traced(trace)
        known = known_of(self._subject, given)
        about = (selector, self._geometry, self.layout, known, OwnGradients())
        return {
            (name, i): Rerun(read, given, trace, name, i, targets[i], scored[i], *about)
            for level in levels
            for name in layers[level]
            for i in range(len(targets))
        }

    def _explanation(self, method: Method, layers: Sequence[Rerun]) -> Explanation:
        channels = None
        if method.joins in ("chain", "refined"):
            layers = self._in_order(layers, method.level)
            raw = self._chained_maps(method, Chain(layers))
        else:
            made = [self._signed_map(method, evidence) for evidence in layers]
            raw = {one.layer: signed for one, (signed, _) in zip(layers, made, strict=True)}
            channels = made[0][1]
        one = layers[0]
        scores = np.asarray(one.scores)
        outputs, scale = one.selector.explained(one.target, one.trace, scores)
        fusion = method.fusion or self.recipe.fusion
        signed = list(raw.values())
        if method.level == "layer":
            self._warn(raw, layers)
        elif method.level == "scales":
            poor.warn_if_empty(self._subject, one.layer, signed[0])
        frame, size = _frame(layers, raw)
        maps = self.recipe.render(method.joined(signed, fusion), size, fusion, method.name)
        return Explanation(
            maps=maps,
            raw=raw,
            scores=scores,
            classes=None if one.scored is None else one.scored.classes,
            empty=without_evidence(signed) | ~anywhere(maps != 0),
            outputs=outputs,
            activation=None if scale.applied else scale.activation,
            # That numbers add up to 1 is seen in them again, of each batch.
            applied=scale.activation if scale.applied and scale is not DISTRIBUTION else None,
            method=method.name,
            recipe=self.recipe.name,
            overlay_style=self.recipe.overlay,
            fusion=fusion,
            input=one.inputs.chosen,
            frame=frame,
            names=self.names,
            by_channel=channels,
        )

    def _warn(self, raw: Mapping[str, Array], layers: Sequence[Rerun]) -> None:
        """Warn of layers whose maps show little."""
        for one, signed in zip(layers, raw.values(), strict=True):
            poor.warn_if_coarse(self._subject, one.layer, signed.shape[1:], one.size)
            traced = one.trace.layers[one.layer]
            if not signed.any() and traced.gradients and not np.any(one.gradients):
                poor.warn_without_gradient(self._subject, one.layer)
            else:
                poor.warn_if_empty(self._subject, one.layer, signed)

    def _signed_map(self, method: Method, evidence: Rerun) -> tuple[Array, Array | None]:
        """Make the method's map at one layer, averaged over the augmented views.

        Returns
        -------
        raw, channels
            As `Method.with_channels` gives them.
        """
        if evidence.frames > 1:
            frames.check_method(method.label, method.by_row, evidence.layer)
        raw, channels = method.with_channels(evidence)
        views = np.ones_like(raw)
        for augmentation in self.augment:
            seen = evidence.on(augmentation.view(evidence.images))
            view, parts = method.with_channels(seen)
            weight = _weight(augmentation, seen, evidence, view)
            raw = raw + augmentation.undo(weight * view, raw.shape[1:])
            views = views + augmentation.undo(weight * np.ones_like(view), raw.shape[1:])
            if channels is not None and parts is not None:
                channels = channels + _undone(augmentation, weight[:, None] * parts, raw.shape[1:])
        raw = raw / views
        raw = _whole(raw, method, evidence)
        return raw, None if channels is None else channels / views[:, None]

    def _in_order(self, layers: Sequence[Rerun], level: Level) -> Sequence[Rerun]:
        """Sort layers that are looked at by when they run.

        Calls of several layers are left as they are given: a pass does not tell how they take
        turns.
        """
        named = {one.layer: LayerName.parse(one.layer) for one in layers}
        several = len({name.path for name in named.values()}) > 1
        if several and any(name.call is not None for name in named.values()):
            return layers
        given = layers[0].inputs
        if level == "attention":
            names = selection.attention(None, self._subject, self.adapter, given)
        else:
            surveyed = known_of(self._subject, given).survey(self.adapter, given)
            names = tuple(record.layer.name for record in surveyed)
        paths = [LayerName.parse(name).path for name in names]

        def place(one: Rerun) -> tuple[int, int]:
            name, calls = named[one.layer], one.trace.layers[one.layer].calls
            return paths.index(name.path), (-1 if name.call is None else name.call) % calls

        return sorted(layers, key=place)

    def _chained_maps(self, method: Method, chain: Chain) -> dict[str, Array]:
        """Make the method's map of each layer of a chain, averaged over the views."""
        one = chain.layers[0]
        if one.frames > 1:
            frames.check_method(method.label, method.by_row, one.layer)
        raw = {**chain.maps(method(chain))}
        views = {name: np.ones_like(maps) for name, maps in raw.items()}
        for augmentation in self.augment:
            seen = chain.on(augmentation.view(chain.images))
            found = seen.maps(method(seen))
            weight = _weight(augmentation, seen.layers[0], one, found[one.layer])
            for name, view in found.items():
                size = raw[name].shape[1:]
                raw[name] = raw[name] + augmentation.undo(weight * view, size)
                views[name] = views[name] + augmentation.undo(weight * np.ones_like(view), size)
        return {
            layer.layer: _whole(raw[layer.layer] / views[layer.layer], method, layer)
            for layer in chain.layers
        }


@overload
def explain(
    model: object,
    inputs: Any,
    target: Each,
    layer: LayerLike | Sequence[LayerLike] | None = ...,
    *,
    method: Several,
    recipe: RecipeLike = ...,
    preprocess: Any = ...,
    classes: Classes | None = ...,
    score: Literal["logit", "output"] | None = ...,
    activation: Activation | None = ...,
    augment: Sequence[Augmentation] = ...,
    mode: Mode = ...,
    **options: Any,
) -> dict[str, list[Explanation]]: ...
@overload
def explain(
    model: object,
    inputs: Any,
    target: TargetLike = ...,
    layer: LayerLike | Sequence[LayerLike] | None = ...,
    *,
    method: Several,
    recipe: RecipeLike = ...,
    preprocess: Any = ...,
    classes: Classes | None = ...,
    score: Literal["logit", "output"] | None = ...,
    activation: Activation | None = ...,
    augment: Sequence[Augmentation] = ...,
    mode: Mode = ...,
    **options: Any,
) -> dict[str, Explanation]: ...
@overload
def explain(
    model: object,
    inputs: Any,
    target: Each,
    layer: LayerLike | Sequence[LayerLike] | None = ...,
    method: MethodLike = ...,
    recipe: RecipeLike = ...,
    *,
    preprocess: Any = ...,
    classes: Classes | None = ...,
    score: Literal["logit", "output"] | None = ...,
    activation: Activation | None = ...,
    augment: Sequence[Augmentation] = ...,
    mode: Mode = ...,
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
    *,
    preprocess: Any = ...,
    classes: Classes | None = ...,
    score: Literal["logit", "output"] | None = ...,
    activation: Activation | None = ...,
    augment: Sequence[Augmentation] = ...,
    mode: Mode = ...,
    **options: Any,
) -> Explanation: ...
def explain(
    model: object,
    inputs: Any,
    target: Any = None,
    layer: LayerLike | Sequence[LayerLike] | None = None,
    method: MethodLike | Several = "gradcam",
    recipe: RecipeLike = "paper",
    *,
    preprocess: Any = None,
    classes: Classes | None = None,
    score: Literal["logit", "output"] | None = None,
    activation: Activation | None = None,
    augment: Sequence[Augmentation] = (),
    mode: Mode = "eval",
    **options: Any,
) -> Any:
    """Show where a model looks.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model, camcore.adapter.Adapter, LoadedModel, or path
        Left exactly as it is; of a path, the file that holds one whole is loaded.
    inputs : array, tensor, or nest of these; or photographs
        A floating array or tensor is what the model takes: its own layout, its own preprocessing,
        batch first. A path, a PIL image, an array ``(H, W, 3)`` or grey ``(H, W)`` of uint8, or
        a list of these is photographs: they are read and preprocessed, and the result keeps them.
        With `preprocess`, so is one array of them, ``(B, H, W, 3)`` or ``(B, H, W)`` of uint8.
    target : None, int, str, sequence of int or str, Target, Each, or callable
        What is explained; None is the predicted class of each sample, and a str is a class's
        name.
    layer, method, recipe
        Where to look, how, and by whose convention; as `Explainer` takes them.
    preprocess, classes
        What turns photographs into what the model takes, and the names of its classes, where
        neither is known of the model; as `Explainer` takes them.
    score, activation, augment, mode, **options
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
    >>> camcore.explain(model, "cat.jpg").save_overlay("where.png")  # doctest: +SKIP
    >>> result = camcore.explain(model, images)                      # doctest: +SKIP
    >>> result.maps.shape                                            # doctest: +SKIP
    (8, 224, 224)
    """
    check_order(model, inputs)
    explainer: Any = Explainer(
        model,
        layer=layer,
        method=method,
        recipe=recipe,
        preprocess=preprocess,
        classes=classes,
        score=score,
        activation=activation,
        augment=augment,
        mode=mode,
        **options,
    )
    return explainer(inputs, target)


def _placed(one: Explanation, inputs: Any) -> Explanation:
    """Keep where the voxels lie, where the volumes that were given say it."""
    affines = affines_of(inputs, one.input, one.maps) if one.frame == "input" else None
    return one if affines is None else replace(one, affines=affines)


def _described(model: object) -> registry.LoadedModel | None:
    """Ask what a model brings with it; what cannot show it photographs is told when some come."""
    try:
        return registry.describe(model)
    except InputError:
        return None


def _names(
    classes: Classes | None, loaded: registry.LoadedModel | None, model: object
) -> tuple[str, ...] | None:
    """Find the names of a model's classes, as they are given or known."""
    if classes is None and loaded is not None:
        classes = loaded.classes
    return known_classes(model) if classes is None else class_names(classes)


def _undone(augmentation: Augmentation, maps: Array, size: tuple[int, ...]) -> Array:
    """Undo a view in the maps ``(B, C, *S)`` of channels, as in those of samples."""
    each = augmentation.undo(maps.reshape(-1, *maps.shape[2:]), size)
    undone: Array = each.reshape(*maps.shape[:2], *each.shape[1:])
    return undone


def _weight(augmentation: Augmentation, seen: Rerun, evidence: Rerun, view: Array) -> Array:
    """Weigh each row of a view's maps ``(B, *S)``, with an axis for each of theirs."""
    if isinstance(augmentation, Weighted):
        weight = augmentation.weight(np.asarray(seen.scores), np.asarray(evidence.scores))
    else:
        weight = np.ones(evidence.batch)
    rows = np.repeat(weight, len(view) // len(weight)).astype(view.dtype)
    return rows.reshape(-1, *[1] * (view.ndim - 1))


def _frame(layers: Sequence[Rerun], raw: Mapping[str, Array]) -> tuple[Frame, tuple[int, ...]]:
    """Say what the maps of layers lie over and how large it is; warn where it is not the input.

    Raises
    ------
    LayerError
        Some lie over the input and others do not, or they have another number of axes.
    """
    one, over = layers[0], [evidence.over_input for evidence in layers]
    if all(over):
        return "input", one.size
    sizes = {name: maps.shape[1:] for name, maps in raw.items()}
    listed = ", ".join(f"{name!r} {size}" for name, size in sizes.items())
    if any(over) or len(set(map(len, sizes.values()))) > 1:
        raise LayerError(
            f"The maps of the layers {listed} do not have the same axes, so they cannot be joined. "
            "Explain them one by one."
        )
    if all(evidence.of_one_call for evidence in layers):
        return "layer", max(sizes.values(), key=math.prod)  # which was said when it was chosen
    given = f"the input {one.size}" if one.size else "the inputs, which have no spatial axes"
    warn(
        f"The map of {listed} lies on the layer's own grid, not over {given}: its axes are not "
        "the input's, or it cannot be seen that they are. The result's frame is 'layer'; "
        "explanation.at(size) brings it to the size of what the layer sees.",
    )
    return "layer", max(sizes.values(), key=math.prod)


def _whole(raw: Array, method: Method, evidence: Rerun) -> Array:
    """Put frames of one sample together, once the map is seen to be finite.

    Raises
    ------
    InputError
        It is not.
    """
    if not np.all(np.isfinite(raw)):
        raise InputError(
            f"{method.label} at {evidence.layer!r} overflows {raw.dtype}: its map is not "
            "finite. Explain the model in a wider dtype, or scale the score down."
        )
    return raw if evidence.frames == 1 else frames.together(raw, evidence.batch)


def _place(target: Target | NativeScore, among: list[Target | NativeScore]) -> int:
    """Index of the target in a list, which it joins where it is not in it yet."""
    for i, other in enumerate(among):
        if other is target:
            return i
    among.append(target)
    return len(among) - 1
