"""The NumPy model that the other tests stand on, and the check that adapters are held to."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.adapter import INPUT, OPTIONAL, Adapter, NativeScore, Outputs, not_offered
from camcore.errors import GradientError, InputError, LayerError, MethodError
from camcore.methods import find
from camcore.testing import (
    PROMISES,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    NumpyAdapter,
    Op,
    ReLU,
    Subject,
    check_adapter,
    random_network,
)

RNG = np.random.default_rng(0)
OPS = {
    "conv1d": (Conv(RNG.normal(size=(3, 2, 3)), RNG.normal(size=3)), (2, 2, 7)),
    "conv2d": (Conv(RNG.normal(size=(3, 2, 3, 2)), RNG.normal(size=3)), (2, 2, 5, 4)),
    "conv3d": (Conv(RNG.normal(size=(2, 1, 2, 3, 1)), RNG.normal(size=2)), (1, 1, 3, 4, 2)),
    "relu": (ReLU(), (2, 3, 4)),
    "pool": (GlobalAveragePool(), (2, 3, 4, 5)),
    "flatten": (Flatten(), (2, 3, 4)),
    "dense": (Dense(RNG.normal(size=(4, 3)), RNG.normal(size=4)), (2, 3)),
}


@pytest.mark.parametrize("name", OPS)
def test_pull_back_is_the_derivative(name):
    op, shape = OPS[name]
    rng = np.random.default_rng(1)
    x, direction = rng.normal(size=(2, *shape))
    cotangent = rng.normal(size=op.forward(x).shape)
    step = 1e-6 * direction
    slope = ((op.forward(x + step) - op.forward(x - step)) * cotangent).sum() / 2e-6
    assert (op.pull_back(x, cotangent) * direction).sum() == pytest.approx(slope, rel=1e-7)


def test_convolution_by_hand():
    # Sums over windows of 2 x 2, not turned round: the first weight meets the first value.
    conv = Conv(np.array([[[[1.0, 0], [0, 10]]]]), np.array([0.5]))
    image = np.arange(9.0).reshape(1, 1, 3, 3)
    np.testing.assert_array_equal(conv.forward(image), [[[[40.5, 51.5], [73.5, 84.5]]]])


@pytest.mark.parametrize("head", ["gap", "flatten", "deep"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_numpy_adapter_keeps_every_promise(rank, head):
    network = random_network(rank, head=head)
    assert isinstance(network, Adapter)
    images = np.random.default_rng(2).normal(size=(3, 2, *[8] * rank))
    for layer in ("conv1", "conv2"):
        check_adapter(network, images, layer, tolerance=1e-12)


class Broken(NumpyAdapter):
    """Breaks one promise, by a function that alters what a run hands over."""

    def __init__(self, after=None, before=None):
        super().__init__(**random_network(head="deep").ops)
        self.after, self.before = after, before

    def run(self, inputs, layers=(), seeds=(), **options):
        if self.before is not None:
            inputs, layers, seeds, options = self.before(inputs, layers, seeds, options)
        trace = super().run(inputs, layers, seeds, **options)
        return trace if self.after is None else self.after(trace)


def gradients_by(function):
    """Alter the gradients of every layer but the input."""

    def alter(trace):
        return replace(
            trace,
            layers={
                name: one if name == INPUT else replace(one, gradients=function(trace, one))
                for name, one in trace.layers.items()
            },
        )

    return Broken(alter)


def by_seed(seeds):
    """Answer each seed by another."""

    def alter(inputs, layers, given, options):
        return inputs, layers, seeds(given), options

    return Broken(before=alter)


class Renamed(Broken):
    def layers(self):
        layers = list(super().layers())
        return [*layers, layers[0]]


class Missurveyed(Broken):
    def survey(self, inputs):
        records = super().survey(inputs)
        return [replace(r, shape=(*r.shape[:-1], r.shape[-1] + 1)) for r in records]


class ChannelsLast(Broken):
    input_channels = "last"

    def run(self, *args, **options):
        return replace(super().run(*args, **options), input_channels="last")


class Offset(Broken):
    @contextmanager
    def resume(self, inputs, layer, *, logits=True):
        with super().resume(inputs, layer, logits=logits) as head:
            yield lambda activations: {"": head(activations)[""] + 1}


class Mixed(Broken):
    @contextmanager
    def resume(self, inputs, layer, *, logits=True):
        with super().resume(inputs, layer, logits=logits) as head:
            yield lambda activations: {"": np.roll(head(activations)[""], len(activations) - 1, 0)}


class Unchecked(Broken):
    @contextmanager
    def resume(self, inputs, layer, *, logits=True):
        with super().resume(inputs, layer, logits=logits) as head:
            shape = (1, 4, 4, 4)
            yield lambda a: head(a if a.shape[1:] == shape[1:] else np.zeros(shape))


class Stale(Broken):
    """Gives the pass's own gradients for those at altered activations."""

    @contextmanager
    def gradients_from(self, inputs, layer, *, logits=True):
        own = self.run(inputs, [layer]).layers[layer].activations
        with super().gradients_from(inputs, layer) as fresh:

            def pull(activations, seed):
                given = []
                fresh(activations, lambda leaves: given.append(seed(leaves)) or given[0])
                gradients = fresh(own, lambda leaves: {"": given[0][""][:1]})
                return np.repeat(gradients, len(activations), axis=0)

            yield pull


class Together(Broken):
    """Gives every alteration the mean of their gradients."""

    @contextmanager
    def gradients_from(self, inputs, layer, *, logits=True):
        with super().gradients_from(inputs, layer) as fresh:

            def pull(activations, seed):
                gradients = fresh(activations, seed)
                return np.broadcast_to(gradients.mean(axis=0), gradients.shape)

            yield pull


class Beside(Broken):
    """Leaves what is altered as it was, for gradients at a later layer."""

    @contextmanager
    def gradients_beyond(self, inputs, layer, later, *, logits=True):
        own = self.run(inputs, [layer]).layers[layer].activations
        with super().gradients_beyond(inputs, layer, later, logits=logits) as pull:
            yield lambda a, seed: pull(
                np.repeat(own, len(a), axis=0) if layer != later else a, seed
            )


class Halfway(Broken):
    """Pulls back to every layer what belongs at the later one."""

    def gradients_between(self, inputs, pulls):
        found = super().gradients_between(inputs, pulls)
        return {name: np.abs(gradients) for name, gradients in found.items()}


class Missized(Broken):
    """Takes cotangents of any shape."""

    def gradients_between(self, inputs, pulls):
        shapes = {n: t.activations.shape for n, t in self.run(inputs, ["conv2"]).layers.items()}
        given = {
            name: (later, np.broadcast_to(cotangent[..., :1], shapes.get(later, cotangent.shape)))
            for name, (later, cotangent) in pulls.items()
        }
        wrong = any(c.shape != shapes.get(later, c.shape) for later, c in pulls.values())
        return super().gradients_between(inputs, given if wrong else pulls)


class Misweighed(Broken):
    def classifier(self):
        weights, bias = super().classifier()
        return weights.T, bias


class Misbiased(Broken):
    def biases(self):
        return [replace(one, layer=f"{one.layer}.bias") for one in super().biases()]


class Curved(Broken):
    """Gives gradients for Hessian products, where it is asked for these."""

    def run(self, *args, second_order=False, **options):
        trace = super().run(*args, second_order=second_order, **options)
        if not second_order:
            return trace
        layers = {
            n: replace(one, hessian_products=one.gradients) for n, one in trace.layers.items()
        }
        return replace(trace, layers=layers)


class Forgetful(Broken):
    """Keeps the seeds of a run on itself until it comes to them."""

    def run(self, inputs, layers=(), seeds=(), **options):
        self.seeds = seeds
        time.sleep(0.02)
        return super().run(inputs, layers, self.seeds, **options)


class Bent(Broken):
    """Bends its outputs too, under the rectifiers' rule."""

    def run(self, *args, rectifier=None, **options):
        trace = super().run(*args, rectifier=rectifier, **options)
        return trace if rectifier is None else replace(trace, outputs={"": 2 * trace.outputs[""]})


class Unheeding(Broken):
    """Copies itself as it is, whatever the parameters."""

    def with_parameters(self, parameters):
        return super().with_parameters({})


class Written(Broken):
    """Writes the parameters of the copy to itself too."""

    def with_parameters(self, parameters):
        self.ops = super().with_parameters(parameters).ops
        return NumpyAdapter(**self.ops)


class Mute(Broken):
    """Refuses what it may leave out, without its name."""

    def biases(self):
        raise MethodError("Not this one.")


def swallowing(leaves, seed):
    try:
        return seed(leaves)
    except Exception:
        return {}


WRONG = {
    "two layers of a name": (Renamed(), "layer names are not unique"),
    "another shape in the survey": (Missurveyed(), r"survey\(\) and run\(\) shapes differ"),
    "inputs by a name": (
        Broken(lambda trace: replace(trace, inputs={"images": trace.inputs[""]})),
        r"paths of the inputs, and \[''\] differ: \['images'\]",
    ),
    "other inputs": (
        Broken(lambda trace: replace(trace, inputs={"": trace.inputs[""] / 255})),
        "the inputs handed over and given differ",
    ),
    "channels of the input on the wrong side": (
        ChannelsLast(),
        r"a map of size .* does not lie over an input of size \(2, 8\)",
    ),
    "gradients of another shape": (
        gradients_by(lambda trace, one: tuple(g[:, :1] for g in one.gradients)),
        "shapes of activations and gradients differ",
    ),
    "outputs that depend on the batch": (
        Broken(
            lambda trace: replace(trace, outputs={"": trace.outputs[""] * len(trace.inputs[""])})
        ),
        "a sample alone and in its batch: outputs differ by",
    ),
    "gradients of the batch's mean": (
        gradients_by(lambda trace, one: tuple(g / len(trace.inputs[""]) for g in one.gradients)),
        "a sample alone and in its batch: gradients differ by",
    ),
    "one gradient for all seeds": (
        gradients_by(lambda trace, one: one.gradients[:1] * len(one.gradients)),
        "the gradients of seed 1 alone and among others differ",
    ),
    "seeds the wrong way round": (
        gradients_by(lambda trace, one: one.gradients[::-1]),
        "gradients differ by",
    ),
    "seeds shown other outputs": (
        by_seed(
            lambda given: [
                (lambda leaves, seed=seed: seed({"": np.exp(leaves[""])})) for seed in given
            ]
        ),
        "outputs shown and handed over differ",
    ),
    "a seed's error swallowed": (
        by_seed(
            lambda given: [(lambda leaves, seed=seed: swallowing(leaves, seed)) for seed in given]
        ),
        "what a seed raises is lost",
    ),
    "gradients a tenth too large": (
        gradients_by(lambda trace, one: tuple(1.1 * g for g in one.gradients)),
        "the gradient predicts a change of",
    ),
    "a gradient at the input of another sign": (
        Broken(
            lambda trace: replace(
                trace,
                layers={
                    name: replace(one, gradients=tuple(-g for g in one.gradients))
                    if name == INPUT
                    else one
                    for name, one in trace.layers.items()
                },
            )
        ),
        "moving the input shows one",
    ),
    "an offset in what is resumed": (
        Offset(),
        "resuming from the layer's own activations differ by",
    ),
    "alterations the wrong way round": (Mixed(), "alteration 0 alone and among others differ"),
    "altered activations of any shape": (
        Unchecked(),
        "resuming with activations of another shape raises no InputError",
    ),
    "gradients of the pass at altered activations": (
        Stale(),
        "the gradient predicts a change of .*, altering the layer further shows one",
    ),
    "magnitudes between layers": (Halfway(), "pulled back to its own layer differ by"),
    "gradients of the pass beyond what is altered": (
        Beside(),
        "gradients where another pass's activations are put differ by",
    ),
    "cotangents of any shape": (Missized(), "a cotangent of another shape raises no InputError"),
    "gradients of all alterations": (Together(), "gradients of alteration 0 alone differ by"),
    "an activation that was not left off": (
        Broken(lambda trace: replace(trace, activation={"": "softmax"})),
        "activations left off where none shall be",
    ),
    "Hessian products unasked for": (
        Broken(
            lambda trace: replace(
                trace,
                layers={
                    name: replace(one, hessian_products=one.gradients)
                    for name, one in trace.layers.items()
                },
            )
        ),
        "Hessian products, and",
    ),
    "a classifier the wrong way round": (Misweighed(), "the classifier's bias and rows differ"),
    "parameters that are not used": (Unheeding(), "they are not used"),
    "parameters written to the model": (Written(), "afterwards and before differ"),
    "gradients for Hessian products": (Curved(), "the Hessian product predicts a change of"),
    "seeds that threads share": (Forgetful(), "in one of four threads and alone differ"),
    "outputs under the rectifiers' rule": (Bent(), "outputs under the guided rule differ"),
    "a refusal without a name": (Mute(), "biases is refused without its name"),
    "biases of no layer": (Misbiased(), "a bias is of 'conv1.bias', no layer"),
}


@pytest.mark.parametrize("what", WRONG)
def test_check_adapter_names_the_promise_that_is_broken(what):
    adapter, message = WRONG[what]
    images = np.random.default_rng(2).normal(size=(2, 2, 8, 8))
    with pytest.raises(AssertionError, match=message):
        check_adapter(adapter, images, "conv2", tolerance=1e-9)


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


ENDINGS = {
    "softmax": softmax,
    "log_softmax": lambda logits: np.log(softmax(logits)),
    "sigmoid": lambda logits: 1 / (1 + np.exp(-logits)),
}


class Ending(NumpyAdapter):
    """Ends in an activation, said to be of a kind, which is left off for the logits."""

    def __init__(self, ending, kind):
        super().__init__(**random_network().ops)
        self.ending, self.kind = ending, {"": kind}

    def run(self, inputs, layers=(), seeds=(), *, logits=True, **options):
        shown = [lambda leaves, seed=seed: seed(Outputs(leaves, self.kind)) for seed in seeds]
        trace = super().run(inputs, layers, shown if logits else seeds, **options)
        if logits:
            return replace(trace, activation=self.kind)
        return replace(trace, outputs={"": self.ending(trace.outputs[""])})


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_activation_left_off_is_held_against_the_outputs(ending, kind):
    images = np.random.default_rng(2).normal(size=(2, 2, 8, 8))
    subject = Subject(Ending(ENDINGS[ending], kind), images, "relu2", 1e-12)
    check = PROMISES[
        "Logits, put through the activation that was left off, are the model's outputs"
    ]
    if ending == kind:
        check(subject)
        return
    with pytest.raises(AssertionError, match=f"^{kind} of the logits, and the outputs differ by"):
        check(subject)


class Least(Adapter):
    """What an adapter has to have, and nothing of what it may leave out."""

    input_channels = "first"

    def __init__(self):
        self.whole = random_network(head="deep")
        self.layers, self.survey = self.whole.layers, self.whole.survey

    def run(self, inputs, layers=(), seeds=(), *, second_order=False, rectifier=None, **options):
        if second_order or rectifier:
            raise not_offered(self, "second_order" if second_order else "rectifier")
        if any(isinstance(seed, NativeScore) for seed in seeds):
            raise not_offered(self, "native scores")
        return self.whole.run(inputs, layers, seeds, **options)


def test_what_an_adapter_may_leave_out_is_not_held_against_it():
    images = np.random.default_rng(2).normal(size=(2, 2, 8, 8))
    about = {
        "inputs": images,
        "layer": "relu2",
        "tolerance": 1e-9,
        "native": lambda outputs: outputs,
    }
    offered = check_adapter(Least(), **about)
    assert offered.keys() == set(OPTIONAL)
    assert not any(offered.values())
    whole = check_adapter(random_network(head="deep"), images, "relu2", tolerance=1e-9)
    assert whole == dict.fromkeys(offered.keys() - {"native scores"}, True)


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("ablationcam", "resume"),
        ("layerig", "gradients_from"),
        ("cam", "classifier"),
        ("fullgrad", "biases"),
        ("shapleycam", "second_order"),
        ("guidedgradcam", "rectifier"),
    ],
)
def test_what_an_adapter_leaves_out_is_named_with_the_methods_that_do_without(method, what):
    images = np.random.default_rng(2).normal(size=(2, 2, 8, 8))
    with pytest.raises(
        MethodError, match=rf"Least offers no {what}\. Methods that .*gradcam"
    ) as info:
        camcore.explain(Least(), images, 0, "relu2", method)
    for name in str(info.value).rpartition(": ")[2].rstrip(".").split(", "):
        assert name != method
        assert what != "resume" or "resume" not in find(name).needs
    for works in ("gradcam", "eigencam", "scorecam", "integratedgradients"):
        expected = camcore.explain(Least().whole, images, 0, "relu2", works).maps
        found = camcore.explain(Least(), images, 0, "relu2", works).maps
        np.testing.assert_array_equal(found, expected)


def test_a_score_of_the_frameworks_own_is_refused_by_an_adapter_without_them():
    images = np.random.default_rng(2).normal(size=(2, 2, 8, 8))
    with pytest.raises(MethodError, match=r"offers no native scores\. Give a class"):
        camcore.explain(Least(), images, lambda outputs: outputs, "relu2")


def test_check_adapter_names_a_layer_that_is_not_there():
    images = np.random.default_rng(2).normal(size=(2, 2, 8, 8))
    with pytest.raises(AssertionError, match=r"layers\(\) does not name 'conv9'"):
        check_adapter(random_network(), images, "conv9", tolerance=1e-9)


def test_numpy_adapter_takes_a_layers_first_and_last_call():
    network, images = random_network(), np.ones((1, 2, 8, 8))
    trace = network.run(images, ["conv2", "conv2#0", "conv2#-1", "@input"])
    np.testing.assert_array_equal(trace.layers["@input"].activations, images)
    for name in ("conv2#0", "conv2#-1"):
        same = trace.layers[name].activations
        np.testing.assert_array_equal(same, trace.layers["conv2"].activations)
    with pytest.raises(LayerError, match="'conv2#1': the layer ran once, so there is only #0"):
        network.run(images, ["conv2#1"])
    with pytest.raises(LayerError, match=r"no layer 'conv9'\. Did you mean 'conv2'"):
        network.run(images, ["conv9"])


@pytest.mark.parametrize(
    ("rectifier", "expected"),
    # Where x > 0 and where g > 0: both, neither, or one of them.
    [
        (None, [1, -1, 0, 0]),
        ("guided", [1, 0, 0, 0]),
        ("deconvolution", [1, 0, 1, 0]),
    ],
)
def test_numpy_adapter_follows_the_rules_of_rectifiers(rectifier, expected):
    network = NumpyAdapter(relu=ReLU(), flat=Flatten())
    images = np.array([[[1.0, 1.0, -1.0, -1.0]]])
    trace = network.run(
        images,
        ["@input"],
        [lambda leaves: {"": np.array([[1.0, -1.0, 1.0, -1.0]])}],
        rectifier=rectifier,
    )
    np.testing.assert_array_equal(trace.layers["@input"].gradients[0], [[expected]])


def test_numpy_adapter_refuses_a_pull_back_of_the_wrong_shape():
    class Wrong(Op):
        def forward(self, x):
            return x.sum(axis=2)

        def pull_back(self, x, cotangent):
            return cotangent

    network = NumpyAdapter(conv=OPS["conv1d"][0], wrong=Wrong())
    with pytest.raises(GradientError, match=r"shape \(2, 3\), the layer \(2, 3, 5\)"):
        camcore.explain(network, np.ones((2, 2, 7)), 0, "conv")


def test_random_network_refuses_an_unknown_head():
    with pytest.raises(InputError, match="head='pool'; expected 'gap', 'flatten' or 'deep'"):
        random_network(head="pool")


def test_the_numpy_adapter_counts_its_passes():
    network, images = random_network(), np.zeros((1, 2, 8, 8))
    assert network.passes == 0
    network.run(images)
    network.survey(images)
    assert network.passes == 2
