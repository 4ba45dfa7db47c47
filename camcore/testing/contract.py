"""Hold an adapter to what `camcore.adapter.Adapter` promises, one promise at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, TypeAlias, get_args

import numpy as np

from camcore import registry
from camcore.adapter import (
    INPUT,
    Adapter,
    Array,
    HasParameters,
    LayerName,
    Leaves,
    NativeScore,
    Parameters,
    PullsBetween,
    PullsBeyond,
    Rectifier,
    not_offered,
)
from camcore.errors import GradientError, InputError, LayerError, MethodError, TargetError
from camcore.inputs import Inputs
from camcore.layers import layout, selection
from camcore.testing.subject import (
    Subject,
    assert_slopes,
    of_class,
    refuses,
    same,
    scores_of,
    slope_errors,
    slopes,
)

Promise: TypeAlias = Callable[[Subject], None]

PROMISES: dict[str, Promise] = {}
"""What is checked, by the promise in words; each raises AssertionError where it is not kept.

What an adapter may leave out is not held against it where it says so in a MethodError.
"""


def check_adapter(
    adapter: Adapter,
    inputs: Array,
    layer: str,
    *,
    tolerance: float,
    native: Callable[[Any], Any] | None = None,
) -> dict[str, bool]:
    """Check every promise of the contract, by numbers; see `PROMISES`.

    Parameters
    ----------
    adapter, inputs, layer, tolerance, native
        As `Subject` takes them.

    Returns
    -------
    dict of str to bool
        For each of `camcore.adapter.OPTIONAL`, whether the adapter offers it.

    Raises
    ------
    AssertionError
        A promise is not kept; the message says which.
    """
    subject = Subject(adapter, inputs, layer, tolerance, native)
    for words, promise in PROMISES.items():
        try:
            promise(subject)
        except AssertionError as error:
            raise AssertionError(f"{words}: {error}") from error
    return dict(subject.offered)


def promise(function: Promise) -> Promise:
    """Add a check to `PROMISES`, under the first line of its docstring."""
    PROMISES[(function.__doc__ or function.__name__).splitlines()[0].rstrip(".")] = function
    return function


def promise_of(what: str) -> Callable[[Promise], Promise]:
    """Add a check of what an adapter may leave out, as long as its MethodError names it."""

    def add(function: Promise) -> Promise:
        @wraps(function)
        def check(subject: Subject) -> None:
            subject.offered[what] = True
            try:
                function(subject)
            except MethodError as error:
                subject.offered[what] = False
                if what not in str(error):
                    raise AssertionError(f"{what} is refused without its name: {error}") from error

        return promise(check)

    return add


@promise
def names_layers(subject: Subject) -> None:
    """Layer names are unique, and name the layer."""
    names = [layer.name for layer in subject.adapter.layers()]
    assert len(set(names)) == len(names), "layer names are not unique"
    assert subject.layer in names, f"layers() does not name {subject.layer!r}"


@promise
def surveys_shapes(subject: Subject) -> None:
    """A survey tells the shapes that a run has, batch axis aside."""
    records = {record.layer.name: record for record in subject.adapter.survey(subject.inputs)}
    assert subject.layer in records, f"survey() does not list {subject.layer!r}"
    same(
        records[subject.layer].shape[1:],
        subject.activations.shape[1:],
        "survey() and run() shapes",
    )
    same(records[subject.layer].calls, 1, "calls of the layer, and 1")


@promise
def hands_over_inputs(subject: Subject) -> None:
    """The inputs come back by path, and a lone array's path is the empty one."""
    same(list(subject.trace.inputs), [""], "paths of the inputs, and ['']")
    subject.close(subject.trace.inputs[""], subject.inputs, "the inputs handed over and given")
    captured = subject.trace.layers[INPUT].activations
    subject.close(captured, subject.trace.inputs[""], f"{INPUT} and the inputs")


@promise
def knows_the_channel_axis(subject: Subject) -> None:
    """The input's channel axis is where the adapter says, so that layers lie over its places."""
    same(subject.trace.input_channels, subject.adapter.input_channels, "input_channels, twice")
    size = Inputs.of(subject.inputs, subject.adapter).size
    record = next(
        r for r in subject.adapter.survey(subject.inputs) if r.layer.name == subject.layer
    )
    found = selection.map_size(record, size, subject.adapter.input_channels)
    assert found is not None, f"{subject.layer!r} returns no map; choose a layer with extent"
    assert layout.is_reduction(found, size), (
        f"a map of size {found} does not lie over an input of size {size}: input_channels is "
        f"{subject.adapter.input_channels!r}"
    )


@promise
def shapes_gradients(subject: Subject) -> None:
    """A gradient has the shape of what it is taken at, one for each seed."""
    for name, traced in subject.trace.layers.items():
        same(len(traced.gradients), 2, f"gradients at {name!r} and seeds")
        for gradient in traced.gradients:
            same(gradient.shape, traced.activations.shape, "shapes of activations and gradients")
    bare = subject.run()
    same(bare.layers[subject.layer].gradients, (), "gradients without seeds, and ()")


@promise
def treats_samples_alone(subject: Subject) -> None:
    """A sample alone gives what it gives in its batch."""
    for i in range(len(subject.inputs)):
        alone = subject.adapter.run(subject.inputs[i : i + 1], [subject.layer], [of_class(0)])
        subject.close(
            scores_of(alone.outputs),
            subject.scores[i : i + 1],
            "a sample alone and in its batch: outputs",
        )
        subject.close(
            alone.layers[subject.layer].gradients[0],
            subject.gradients[i : i + 1],
            "a sample alone and in its batch: gradients",
        )


@promise
def keeps_seeds_apart(subject: Subject) -> None:
    """Several seeds give, in order, what each gives by itself."""
    for index in (0, 1):
        alone = subject.run([of_class(index)])
        subject.close(
            alone.layers[subject.layer].gradients[0],
            subject.trace.layers[subject.layer].gradients[index],
            f"the gradients of seed {index} alone and among others",
        )
    same(subject.trace.native_scores, (None, None), "native scores of NumPy seeds, and None")


@promise
def shows_seeds_the_outputs(subject: Subject) -> None:
    """Seeds are shown the outputs that are handed over, and their errors come out unchanged."""
    shown: list[Leaves] = []

    def keep(leaves: Leaves) -> Leaves:
        shown.append({path: np.array(leaf) for path, leaf in leaves.items()})
        return of_class(0)(leaves)

    class SeedError(Exception):
        """Raised by a seed."""

    def fail(leaves: Leaves) -> Leaves:
        raise SeedError("as it is")

    trace = subject.run([keep])
    same(len(shown), 1, "calls of a seed, and 1")
    subject.close(scores_of(shown[0]), scores_of(trace.outputs), "outputs shown and handed over")
    try:
        subject.run([fail])
    except SeedError as error:
        same(error.args, ("as it is",), "what a seed raises, and what comes out")
    else:
        raise AssertionError("what a seed raises is lost")


@promise
def checks_cotangents(subject: Subject) -> None:
    """A cotangent for no output, or of another shape, is a TargetError."""
    wrong: dict[str, Callable[[Leaves], Leaves]] = {
        "a cotangent for an output that is not there": lambda _: {"nowhere": np.zeros((2, 2))},
        "a cotangent of another shape": lambda leaves: {
            path: leaf[:, :1] for path, leaf in of_class(0)(leaves).items()
        },
    }
    for what, seed in wrong.items():
        with refuses(TargetError, what):
            subject.run([seed])


@promise
def names_calls(subject: Subject) -> None:
    """``#0`` and ``#-1`` name the one call of the layer, and what does not exist is refused."""
    first, last = f"{subject.layer}#0", f"{subject.layer}#-1"
    trace = subject.run([of_class(0)], first, last)
    same(list(trace.layers), [first, last], "layers traced and asked for")
    for name in (first, last):
        subject.close(trace.layers[name].activations, subject.activations, f"{name!r}")
    subject.close(trace.layers[last].gradients[0], subject.gradients, f"gradients at {last!r}")
    for name in ("no such layer", f"{subject.layer}#1", f"{subject.layer}#x"):
        with refuses(LayerError, f"a run with the layer {name!r}"):
            subject.run((), name)


@promise
def repeats_itself(subject: Subject) -> None:
    """A second run gives the same numbers, and nothing that was handed over or given changes."""
    given = np.array(subject.inputs)
    kept = {path: np.array(leaf) for path, leaf in subject.trace.outputs.items()}
    again = subject.run([of_class(0)])
    subject.close(again.layers[subject.layer].gradients[0], subject.gradients, "gradients, twice")
    for path, leaf in subject.trace.outputs.items():
        assert np.array_equal(leaf, kept[path], equal_nan=True), f"output {path!r} was written to"
    assert np.array_equal(subject.inputs, given, equal_nan=True), "the given inputs are changed"


@promise
def differentiates_the_input(subject: Subject) -> None:
    """The gradient at the input is the slope of the score there."""
    one = subject.inputs[:1]
    traced = subject.run_at_input(one)

    def score(images: Array) -> Array:
        return scores_of(subject.adapter.run(images).outputs)[:, 0]

    errors = list(slope_errors(score, one, traced.gradients[0]))
    assert_slopes(errors, subject.tolerance, "moving the input")


@promise
def serves_threads(subject: Subject) -> None:
    """Several threads at once get what one does."""

    def gradients(index: int) -> Array:
        return subject.run([of_class(index)]).layers[subject.layer].gradients[0]

    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(gradients, [0, 1] * 4)):
            alone = subject.trace.layers[subject.layer].gradients[number % 2]
            subject.close(found, alone, "gradients in one of four threads and alone")


@promise_of("resume")
def resumes(subject: Subject) -> None:
    """Going on from the layer's own activations gives the outputs, and each alteration its own."""
    own = subject.activations[:1]
    with subject.adapter.resume(subject.inputs[:1], subject.layer) as head:
        resumed = scores_of(head(own))
        subject.close(resumed, subject.scores[:1], "resuming from the layer's own activations")
        several = np.concatenate([own, 0.5 * own, 0 * own])
        together = scores_of(head(several))
        for i in range(3):
            alone = scores_of(head(several[i : i + 1]))
            subject.close(together[i : i + 1], alone, f"alteration {i} alone and among others")
        errors = list(slope_errors(lambda a: scores_of(head(a))[:, 0], own, subject.gradients[:1]))
        assert_slopes(errors, subject.tolerance, "resuming")
        with refuses(InputError, "resuming with activations of another shape"):
            head(own[:, :1, ..., :1])
    with (
        refuses(LayerError, "resuming from a layer that is not there"),
        subject.adapter.resume(subject.inputs[:1], "no such layer"),
    ):
        pass


@promise_of("gradients_from")
def pulls_back_from_alterations(subject: Subject) -> None:
    """Gradients at the layer's own activations are the pass's, and each alteration has its own."""
    own = subject.activations[:1]
    shown: list[Array] = []

    def keep(leaves: Leaves) -> Leaves:
        shown.append(np.array(scores_of(leaves)))
        return of_class(0)(leaves)

    class SeedError(Exception):
        """Raised by a seed."""

    def fail(leaves: Leaves) -> Leaves:
        raise SeedError("as it is")

    with subject.adapter.gradients_from(subject.inputs[:1], subject.layer) as pull:
        again = pull(own, keep)
        same(again.shape, own.shape, "shapes of gradients and altered activations")
        subject.close(again, subject.gradients[:1], "gradients at the layer's own activations")
        subject.close(np.concatenate(shown), subject.scores[:1], "outputs shown to the seed")
        several = np.concatenate([own, 0.5 * own, -own])
        together = pull(several, of_class(1))
        for i in range(3):
            alone = pull(several[i : i + 1], of_class(1))
            subject.close(together[i : i + 1], alone, f"gradients of alteration {i} alone")

        def score(activations: Array) -> Array:
            shown.clear()
            pull(activations, keep)
            return np.concatenate(shown)[:, 0]

        at = (own * np.random.default_rng(9).uniform(-1, 1, own.shape)).astype(own.dtype)
        errors = list(slope_errors(score, at, pull(at, of_class(0))))
        assert_slopes(errors, subject.tolerance, "altering the layer further")
        with refuses(InputError, "gradients at activations of another shape"):
            pull(own[:, :1, ..., :1], of_class(0))
        with refuses(TargetError, "a cotangent for an output that is not there"):
            pull(own, lambda _: {"nowhere": np.zeros((1, 2))})
        try:
            pull(own, fail)
        except SeedError as error:
            same(error.args, ("as it is",), "what a seed raises, and what comes out")
        else:
            raise AssertionError("what a seed raises is lost")
    with (
        refuses(LayerError, "gradients from a layer that is not there"),
        subject.adapter.gradients_from(subject.inputs[:1], "no such layer"),
    ):
        pass


@promise_of("gradients_between")
def pulls_back_between_layers(subject: Subject) -> None:
    """A cotangent given at a layer is pulled back to what the layer is made of."""
    adapter, layer, gradients = subject.adapter, subject.layer, subject.gradients
    if not isinstance(adapter, PullsBetween):
        raise not_offered(adapter, "gradients_between")
    given = layer, gradients
    found = adapter.gradients_between(subject.inputs, {INPUT: given, layer: given})
    same(sorted(found), sorted([INPUT, layer]), "names pulled back to and asked for")
    subject.close(found[layer], gradients, "a cotangent pulled back to its own layer")
    same(found[INPUT].shape, subject.inputs.shape, "shapes of the input and of what comes to it")

    def product(images: Array) -> Array:
        returned = adapter.run(images, [layer]).layers[layer].activations
        weighed: Array = (returned * gradients[:1]).reshape(len(images), -1).sum(axis=1)
        return weighed

    errors = list(slope_errors(product, subject.inputs[:1], found[INPUT][:1]))
    assert_slopes(errors, subject.tolerance, "moving the input")
    half = adapter.gradients_between(subject.inputs, {INPUT: (layer, 0.5 * gradients)})
    subject.close(2 * half[INPUT], found[INPUT], "what half a cotangent gives, twice")
    with refuses(InputError, "a cotangent of another shape"):
        adapter.gradients_between(subject.inputs, {INPUT: (layer, gradients[..., :1])})
    with refuses(GradientError, "a pull-back from the input to a layer"):
        adapter.gradients_between(subject.inputs, {layer: (INPUT, np.asarray(subject.inputs))})
    with refuses(LayerError, "a pull-back from a layer that is not there"):
        adapter.gradients_between(subject.inputs, {INPUT: ("no such layer", gradients)})


@promise_of("gradients_beyond")
def pulls_back_beyond_what_is_altered(subject: Subject) -> None:
    """Gradients at the layer, where one before it is altered, are those of what it then returns."""
    adapter, layer, inputs = subject.adapter, subject.layer, subject.inputs[:1]
    if not isinstance(adapter, PullsBeyond):
        raise not_offered(adapter, "gradients_beyond")
    with adapter.gradients_beyond(inputs, layer, layer) as pull:
        again = pull(subject.activations[:1], of_class(0))
        subject.close(again, subject.gradients[:1], "gradients at the altered layer itself")
    first = next(r.layer.name for r in adapter.survey(inputs) if r.calls == 1)
    images = np.concatenate([inputs, 0.5 * inputs]).astype(inputs.dtype)
    passes = [adapter.run(one[None], [first, layer], [of_class(1)]).layers for one in images]
    own, wanted = (
        np.concatenate(each)
        for each in zip(
            *[(p[first].activations, p[layer].gradients[0]) for p in passes], strict=True
        )
    )
    with adapter.gradients_beyond(inputs, first, layer) as pull:
        found = pull(own, of_class(1))
        same(found.shape, wanted.shape, "shapes of gradients beyond, and of a pass's")
        subject.close(found, wanted, "gradients where another pass's activations are put")
        with refuses(InputError, "gradients beyond activations of another shape"):
            pull(own[:, :1, ..., :1], of_class(0))
    with (
        refuses(GradientError, "gradients at the input, beyond a layer"),
        adapter.gradients_beyond(inputs, layer, INPUT) as pull,
    ):
        pull(subject.activations[:1], of_class(0))
    with (
        refuses(LayerError, "gradients at a layer that is not there"),
        adapter.gradients_beyond(inputs, layer, "no such layer"),
    ):
        pass


@promise
def leaves_the_activation_off(subject: Subject) -> None:
    """Logits, put through the activation that was left off, are the model's outputs."""
    plain = subject.adapter.run(subject.inputs, logits=False)
    same(dict(plain.activation), {}, "activations left off where none shall be, and {}")
    for path, kind in subject.trace.activation.items():
        logits, outputs = subject.trace.outputs[path], plain.outputs[path]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        softmax = powers / powers.sum(axis=1, keepdims=True)
        activated = {
            "softmax": softmax,
            "log_softmax": np.log(softmax),
            "sigmoid": 1 / (1 + np.exp(-logits)),
        }
        assert kind in activated, f"unknown activation {kind!r}"
        subject.close(activated[kind], outputs, f"{kind} of the logits, and the outputs")
    seen: list[object] = []

    def seed(leaves: Leaves) -> Leaves:
        seen.append(dict(getattr(leaves, "activation", {})))
        return of_class(0)(leaves)

    subject.run([seed])
    same(
        seen, [dict(subject.trace.activation)], "activations that the seed is shown, and the run's"
    )
    if not subject.trace.activation:
        subject.close(subject.scores, scores_of(plain.outputs), "scores and outputs")


@promise
def gives_second_order_on_request(subject: Subject) -> None:
    """Hessian products are there only on request."""
    same(subject.trace.layers[subject.layer].hessian_products, (), "Hessian products, and ()")
    same(dict(subject.trace.layers[subject.layer].tangents), {}, "tangents, and {}")


@promise_of("second_order")
def gives_second_order(subject: Subject) -> None:
    """Hessian products are the slope of the gradients, and move nothing."""
    again = subject.run([of_class(0)], second_order=True).layers[subject.layer]
    same(len(again.hessian_products), 1, "Hessian products and seeds")
    same(again.hessian_products[0].shape, subject.gradients.shape, "Hessian product and gradient")
    subject.close(again.gradients[0], subject.gradients, "gradients with second order and without")
    both = subject.run([of_class(0)], second_order="tangents")
    traced = both.layers[subject.layer]
    subject.close(
        traced.hessian_products[0], again.hessian_products[0], "Hessian products with tangents"
    )
    # Σ c · (J·A) is Σ (Jᵀ·c) · A.
    subject.close(
        scores_of(traced.tangents)[:, 0],
        (traced.gradients[0] * traced.activations).reshape(len(subject.inputs), -1).sum(axis=1),
        "the tangent of class 0, and its gradient along the activations",
    )
    one = subject.inputs[:1]
    products = subject.run_at_input(one, second_order=True).hessian_products[0]
    for number in range(3):
        direction = np.random.default_rng(number).normal(size=one.shape).astype(one.dtype)

        def along(images: Array, direction: Array = direction) -> Array:
            gradients = subject.run_at_input(images).gradients[0]
            axes = tuple(range(1, gradients.ndim))
            total: Array = (gradients * direction).sum(axis=axes)
            return total

        predicted = float((products * direction).sum())
        scale = float(np.abs(along(one)[0])) + abs(predicted)
        # Gradients jump where a rectifier turns, so steps are smaller than for scores.
        found = slopes(along, one, one, (1e-3, 1e-4, 3e-5, 1e-5, 3e-6))
        error = min(abs(slope - predicted) for slope in found)
        assert error <= 0.02 * scale + subject.tolerance, (
            f"the Hessian product predicts a change of {predicted:.6g} of the gradient, scaling "
            f"the input shows one {error:.2g} away"
        )


@promise_of("rectifier")
def bends_only_on_request(subject: Subject) -> None:
    """A rule for rectifiers moves gradients alone, and only in the run that asks for it."""
    before = subject.trace.layers[INPUT].gradients[0]
    for rule in get_args(Rectifier):
        bent = subject.run([of_class(0)], subject.layer, INPUT, rectifier=rule)
        subject.close(scores_of(bent.outputs), subject.scores, f"outputs under the {rule} rule")
        same(
            bent.layers[INPUT].gradients[0].shape,
            subject.inputs.shape,
            f"shapes by the {rule} rule",
        )
        after = subject.run([of_class(0)], INPUT).layers[INPUT].gradients[0]
        subject.close(after, before, f"gradients after a run by the {rule} rule and before")


@promise_of("classifier")
def describes_the_classifier(subject: Subject) -> None:
    """The classifier has a row and a bias for each class."""
    classifier = subject.adapter.classifier()
    if classifier is not None:
        weights, bias = classifier
        same(weights.ndim, 2, "axes of the classifier's weights, and 2")
        same(bias.shape, weights.shape[:1], "shapes of the classifier's bias and rows")


@promise_of("biases")
def describes_biases(subject: Subject) -> None:
    """Every layer with a bias can be asked for."""
    names = [layer.name for layer in subject.adapter.layers()]
    for entry in subject.adapter.biases():
        path = LayerName.parse(entry.layer).path
        assert path in names, f"a bias is of {entry.layer!r}, no layer"
        same(entry.added.ndim, 1, f"axes of what {entry.layer!r} adds, and 1")


@promise_of("parameters")
def copies_with_parameters(subject: Subject) -> None:
    """A copy with the model's own parameters gives its outputs, and one with others does not."""
    adapter = subject.adapter
    if not isinstance(adapter, HasParameters):
        raise not_offered(adapter, "parameters")
    own = adapter.parameters()
    before = {name: [array.copy() for array in arrays] for name, arrays in own.items()}
    assert own, "parameters() of a model whose layers have none"

    def scores(parameters: Parameters) -> Array:
        copied = registry.adapter(adapter.with_parameters(parameters))
        return scores_of(copied.run(subject.inputs).outputs)

    subject.close(scores({}), subject.scores, "outputs of a copy and of the model")
    subject.close(scores(own), subject.scores, "outputs with the same parameters")
    halved = {name: [array / 2 for array in arrays] for name, arrays in own.items()}
    assert np.abs(scores(halved) - subject.scores).max() > subject.tolerance, "they are not used"
    for name, arrays in adapter.parameters().items():
        for array, known in zip(arrays, before[name], strict=True):
            same(array.tolist(), known.tolist(), f"parameters of {name!r} afterwards and before")


@promise_of("native scores")
def scores_natively(subject: Subject) -> None:
    """A score in the model's own framework has the gradient of the NumPy seed for the same."""
    if subject.native is None:
        subject.offered.pop("native scores")
        return
    trace = subject.run([NativeScore(subject.native)])
    (scores,) = trace.native_scores
    assert scores is not None, "a native score is not handed over"
    subject.close(scores, subject.scores[:, 0], "native scores and outputs")
    native = trace.layers[subject.layer].gradients[0]
    subject.close(native, subject.gradients, "gradients of a native score and of its seed")
