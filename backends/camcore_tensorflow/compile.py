"""Compiling, and keeping what was compiled for as long as the model lives.

One compiled function answers one question: forward, seeds and pull-backs in a single graph.
Gradients are asked for at the chosen layers' outputs, so no gradient work is done before
the first of them or for variables. The seeds stay in NumPy: the graph calls them back, so
it runs once and knows no target.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeAlias, TypeVar

import tensorflow as tf

from camcore._shared.apart import swapped
from camcore._shared.loss_scale import START, STEP, ScaledCotangents, pulled_in_range
from camcore._shared.programs import Opening, Programs, Shapes
from camcore._shared.reads import Read, Snapshot, noting
from camcore._shared.same import function_key, identity_key, is_installed
from camcore.adapter import (
    LayerTrace,
    Leaves,
    NativeScore,
    Rectifier,
    SecondOrder,
    Seed,
    Trace,
    unreached,
)
from camcore.errors import GradientError, LayerError

from . import backward
from .capture import Capture, edge
from .forward import forward, output_leaves
from .guided import apply_rule
from .inputs import Signature
from .layers import channels, input_channels, keras_of
from .sizes import lacks_size, noted

T = TypeVar("T")

Seeds: TypeAlias = Sequence[Seed | NativeScore]


EXPONENTS = START, START - STEP, START - 2 * STEP
"""The scales that cotangents are pulled back at in a graph that has float16."""

_Function = type(tf.function(lambda: None))


@dataclass
class CompileCache:
    """What is known about one model: whether it is built, and what was compiled for it.

    Parameters
    ----------
    layers : type
        Keras' class of layers.
    """

    layers: type
    built: bool = False
    traces: int = 0
    programs: Programs = field(default_factory=Programs)

    def fetch(self, key: Hashable, signature: Signature, make: Callable[[Signature], T]) -> T:
        """Return what was compiled for such inputs and the model as it is, or compile it."""

        def attempt(shapes: Shapes, opening: Opening | None) -> tuple[T, Snapshot] | None:
            self.traces += 1
            with ExitStack() as swaps:
                reads = swaps.enter_context(noting())
                asked = swaps.enter_context(noted(self.layers)) if opening else set[Opening]()
                try:
                    program = make(replace(signature, shapes=shapes))
                except Exception as error:
                    # Where a length is left open, Keras may run a layer in a loop of its own.
                    hidden = isinstance(error, (LayerError, GradientError))
                    if opening is None or not (hidden or lacks_size(error, asked, opening)):
                        raise
                    return None
            if opening == "image" and "image" in asked:
                return None
            return program, Snapshot(filter(self._matters, reads()), _is_own)

        program: T
        program, _ = self.programs.fetch(
            key, signature.shapes, attempt, lambda kept: kept[1].is_current()
        )
        return program

    @cached_property
    def _machinery(self) -> set[str]:
        """Attributes of every layer that no number depends on."""
        return set(vars(self.layers())) - _MATTERING

    def _matters(self, read: Read) -> bool:
        """Tell whether a program depends on an attribute that was read while it was traced."""
        thing, name = read
        if name in vars(thing):
            return name not in self._machinery
        # A function put on the object would be called in place of its class's.
        return name in _CALLED or any(name in vars(k) for k in type(thing).__mro__ if _is_own(k))


_MATTERING = {"_dtype_policy", "_compute_dtype_object", "_trainable", "autocast", "_autocast"}
_CALLED = {"call", "quantized_call", "activation"}


def _is_own(kind: type) -> bool:
    """Tell whether a class is the user's own."""
    return not is_installed(kind)


_caches: weakref.WeakKeyDictionary[Any, CompileCache] = weakref.WeakKeyDictionary()


def cache_of(model: Any) -> CompileCache:
    """Return the cache of a model, which goes when the model goes."""
    layers = tf.keras.layers if keras_of(model) is None else keras_of(model).layers
    return _caches.setdefault(model, CompileCache(layers.Layer))


class _NeedsAutograph(tf.errors.OperatorNotAllowedInGraphError):
    """A tf.function has control flow on tensors, so it cannot run as plain Python."""


def compiled(body: Callable[..., Any], specs: Sequence[tf.TensorSpec]) -> Any:
    """Trace `body` into one function of the whole model."""
    function = tf.function(body, autograph=False)
    return on_copies(traced(lambda: function.get_concrete_function(*specs)))


def on_copies(function: Any) -> Callable[..., Any]:
    """Let a compiled function that assigns variables assign copies, made anew for each run.

    Those that random numbers are drawn by go on from run to run, until the model's own go on.
    """
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    copies = {
        id(handle): _copy_of(handle, variables[id(handle)])
        for handle, inner in function.graph.captures
        if id(handle) in variables and any(_assigns(op, inner) for op in inner.consumers())
    }
    if not copies:
        return function
    captured, running = function.captured_inputs, threading.Lock()
    function.set_external_captures(
        [copies[id(each)].own.handle if id(each) in copies else each for each in captured]
    )

    def run(*tensors: tf.Tensor) -> Any:
        with running:
            for copy in copies.values():
                copy.renew()
            return function(*tensors)

    return run


class _Copy:
    """A copy of a variable that a compiled function assigns."""

    def __init__(self, handle: tf.Tensor, variable: tf.Variable, *, goes_on: bool) -> None:
        self.own = tf.Variable(variable, trainable=False)
        self._handle = handle
        self._goes_on = goes_on
        self._seen: Any = None

    def renew(self) -> None:
        """Take the model's value; where the copy goes on, only if that is another than before."""
        value = tf.raw_ops.ReadVariableOp(resource=self._handle, dtype=self.own.dtype)
        if self._goes_on:
            before, self._seen = self._seen, value.numpy()
            if before is not None and (before == self._seen).all():
                return
        self.own.assign(value)


_streams: weakref.WeakValueDictionary[int, _Copy] = weakref.WeakValueDictionary()
"""The copies that random numbers are drawn by, which all programs of a model share."""


def _copy_of(handle: tf.Tensor, variable: tf.Variable) -> _Copy:
    if "seed_generator_state" not in variable.name:
        return _Copy(handle, variable, goes_on=False)
    return _streams.setdefault(id(handle), _Copy(handle, variable, goes_on=True))


def _assigns(operation: tf.Operation, variable: tf.Tensor) -> bool:
    """Tell whether an operation writes to a variable, also one that runs a function which does."""
    if operation.type.startswith(("Assign", "Resource")):
        return not operation.type.startswith("ResourceGather")
    read_only = "_read_only_resource_inputs"
    if read_only not in operation.node_def.attr:
        return False
    indices = operation.get_attr(read_only)
    return any(t is variable and i not in indices for i, t in enumerate(operation.inputs))


def traced(trace: Callable[[], T]) -> T:
    """Trace with the model's own tf.functions opened up, so that their layers are in reach."""
    try:
        with _functions_opened():
            return trace()
    except _NeedsAutograph:
        # Python control flow on tensors needs the autograph that only tf.function brings.
        return trace()


@contextmanager
def _functions_opened() -> Iterator[None]:
    """Run tf.functions as the Python they were made of, in this thread only."""

    def call(usual: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        # A function of a saved model, which is of another class, has no Python to run.
        if type(function) is not _Function:
            return usual(function, *args, **kwargs)
        try:
            return function.python_function(*args, **kwargs)
        except tf.errors.OperatorNotAllowedInGraphError as error:
            raise _NeedsAutograph(str(error)) from error

    with swapped(_Function, "__call__", call):
        yield


def seed_key(seed: Seed | NativeScore) -> Hashable:
    """Make the key of what is compiled in of a seed: nothing of one in NumPy."""
    if not isinstance(seed, NativeScore):
        return None
    return function_key(seed.function) or identity_key(seed.function)


class Program:
    """One forward pass and one pull-back a seed, compiled.

    Parameters
    ----------
    model : keras.Model
        The model; not kept, nor are its layers.
    captures : mapping of str to Capture
        What to capture, by the names asked for; not kept.
    seeds : sequence of Seed or NativeScore
        Native scores are compiled in; of the others only the places count.
    logits : bool
        Whether to take outputs before a final activation.
    second_order : bool or "tangents"
        Whether to give Hessian products, and tangents of the outputs.
    rectifier : {"guided", "deconvolution"} or None
        The rule for pulling back through rectifiers.
    optional : sequence of str
        Names asked for that a score need not depend on.
    signature : Signature
        Structure, shapes and dtypes of the inputs.
    """

    def __init__(
        self,
        model: Any,
        captures: Mapping[str, Capture],
        seeds: Seeds,
        logits: bool,
        second_order: SecondOrder,
        rectifier: Rectifier | None,
        optional: Sequence[str],
        signature: Signature,
    ) -> None:
        self._images, self._optional = input_channels(model), frozenset(optional)
        formats = (getattr(capture.layer, "data_format", None) for capture in captures.values())
        self._formats = dict(zip(captures, formats, strict=True))
        self._exponents: tuple[int, ...] = ()

        def body(token: tf.Tensor, *tensors: tf.Tensor) -> Any:
            outputs, calls, returned = forward(model, signature, tensors, [*captures.values()])
            self._calls = dict(zip(captures, map(len, calls), strict=True))
            chosen = map(Capture.choose, captures.values(), calls, returned)
            sources = dict(zip(captures, chosen, strict=True))
            shapes = [{path: tf.shape(t) for path, t in leaves.items()} for leaves in returned]
            natives = [s if isinstance(s, NativeScore) else None for s in seeds]
            scores = [s and backward.native_score(s, outputs) for s in natives]
            leaves, self._activation, self._applied = output_leaves(outputs, logits)
            self._reached = backward.outputs_reached(leaves, sources)
            if rectifier is not None:
                apply_rule(token.graph, rectifier)
            self._exponents = EXPONENTS if sources and backward.has_float16(token.graph) else ()
            narrow = any(leaf.dtype == tf.float16 for leaf in leaves.values())
            self._most = 14 if narrow else 36
            many = len(self._exponents)
            scales = backward.scales(token, many) if many and any(natives) else [None] * (many or 1)
            number = natives.count(None) * len(scales)
            asked = iter(backward.seed_cotangents(token, leaves, number))

            def pulled(scale: tf.Tensor | None, score: tf.Tensor | None) -> Any:
                ends, weights = (
                    (leaves, next(asked))
                    if score is None
                    else backward.score_cotangents(score, outputs, scale)
                )
                about = self._activation, self._optional
                gradients = backward.pull_back(ends, weights, sources, *about)
                products = [backward.hessian_products(gradients, sources)] if second_order else []
                return [gradients, *products]

            pulls = [[pulled(scale, score) for score in scores] for scale in scales]
            given = [score for score in scores if score is not None]
            along = backward.tangents(leaves, sources) if second_order == "tangents" else {}
            return tf.nest.map_structure(edge, (leaves, sources, pulls, given, shapes, along))

        self._function = compiled(body, [tf.TensorSpec((), tf.int64), *signature.specs])

    def __call__(self, tensors: Mapping[str, tf.Tensor], seeds: Seeds) -> Trace:
        """Run once, with one pull-back a seed.

        Raises
        ------
        GradientError
            A seed weighs only outputs that a layer has no part in.
        """
        outputs, activations, pulls, scores, shapes, tangents = self._run(tensors, seeds)
        layers = {}
        for name, returned in zip(self._calls, shapes, strict=True):
            array = activations[name]
            of_seeds = (tuple(each[name] for each in kind) for kind in zip(*pulls, strict=True))
            gradients, products = [*of_seeds, (), ()][:2]
            axis = channels(self._formats[name], array.ndim, self._images)
            beside = {path: tuple(map(int, shape)) for path, shape in returned.items()}
            layers[name] = LayerTrace(
                array,
                gradients,
                axis,
                products,
                self._calls[name],
                beside,
                tangents=tangents.get(name, {}),
            )
        given = {path: edge(tensor).numpy() for path, tensor in tensors.items()}
        native = iter(scores)
        native_scores = [next(native) if isinstance(s, NativeScore) else None for s in seeds]
        return Trace(
            given,
            self._images,
            outputs,
            self._activation,
            layers,
            tuple(native_scores),
            self._applied,
        )

    def _run(self, tensors: Mapping[str, tf.Tensor], seeds: Seeds) -> tuple[Any, ...]:
        """Run once: outputs, activations, what was pulled back for each seed, and the rest."""
        cotangents, (outputs, activations, pulls, *others) = self._at(
            self._exponents, tensors, seeds
        )
        if not self._exponents:
            return outputs, activations, pulls[0], *others
        by_scale = dict(zip(self._exponents, pulls, strict=True))

        def pulled(i: int, exponent: int) -> list[Leaves]:
            if exponent not in by_scale:  # another pass, which hardly any model needs
                anew = tuple(exponent - START + e for e in self._exponents)
                by_scale.update(zip(anew, self._at(anew, tensors, seeds)[1][2], strict=True))
            return [cotangents[i].undo(each, exponent) for each in by_scale[exponent][i]]

        batch = next(iter(tensors.values())).shape[0]
        in_range = [
            pulled_in_range(partial(pulled, i), batch, self._most) for i in range(len(seeds))
        ]
        return outputs, activations, in_range, *others

    def _at(
        self, exponents: Sequence[int], tensors: Mapping[str, tf.Tensor], seeds: Seeds
    ) -> tuple[list[ScaledCotangents], Any]:
        """Run once at these scales; with each seed's cotangents where there are any."""
        arrays = [seed for seed in seeds if not isinstance(seed, NativeScore)]
        about = self._activation, self._applied, exponents
        with backward.seeds_ready(arrays, *about) as (token, run):
            results = self._function(token, *tensors.values())
        for weighed, (name, reached) in itertools.product(run.weighed, self._reached.items()):
            if not weighed & reached and name not in self._optional:
                raise unreached(name, self._activation, *backward.CUTS)
        given = iter(run.cotangents)
        native = ScaledCotangents({})
        return [
            native if isinstance(seed, NativeScore) else next(given, native) for seed in seeds
        ], tf.nest.map_structure(lambda tensor: tensor.numpy(), results)
