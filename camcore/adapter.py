"""The narrow waist: what an adapter is asked for and what it hands over.

Left of this module live the frameworks, right of it there is only NumPy. An
adapter knows no formula: it names layers, runs the model, pulls cotangents back
and leaves the model as it found it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from camcore.errors import GradientError, InputError, LayerError, NotOfferedError, TargetError

Array: TypeAlias = npt.NDArray[Any]

Channels: TypeAlias = Literal["first", "last"]
"""Where a framework puts the channel axis of an array, batch axis aside."""

Leaves: TypeAlias = Mapping[str, Array]
"""The tensors of a nest (tuple, dict, dataclass) by their path; a lone tensor's path is ``""``.

Path steps are joined with dots: ``logits``, ``0``, ``boxes.1``.
"""

Parameters: TypeAlias = Mapping[str, Sequence[Array]]
"""What layers have learnt, by the layer's name: kernels, biases, running statistics."""

Seed: TypeAlias = Callable[[Leaves], Leaves]
"""Given the model's outputs, the cotangent of the score for each output leaf that matters.

An adapter shows it `Outputs`. A cotangent has the shape of its leaf; leaves left out count as
zero.
"""

Mode: TypeAlias = Literal["eval", "as-is", "train"]
"""How layers that train differently run: in inference, in the modes they are in, or in training."""

SecondOrder: TypeAlias = bool | Literal["tangents"]
"""Whether a run gives Hessian products, and with ``"tangents"`` the outputs' derivatives too."""

Rectifier: TypeAlias = Literal["guided", "deconvolution"]
"""A rule for pulling back through rectifiers.

``guided`` lets only positive gradients past, where the rectifier's input is positive as well;
``deconvolution`` lets them past whatever its input.
"""

INPUT = "@input"
"""The name of the model's own input: its first floating array of three axes or more.

Where none has as many, the first floating one. Followed by a dot and a path, ``@input.1``,
it names the input there.
"""

OUTPUT = "@output"
"""The name of maps that are made of the model's output at the tokens of an image."""

ATTENTION = "@attention"
"""Ends the name under which an adapter captures a layer's softmaxed attention, not its output.

The array is ``(B, heads, queries, keys)``; where the layer folds its heads into the batch,
``(B * heads, queries, keys)``.
"""


ACTIVATED = "@activated"
"""Ends the name under which an adapter captures what a function of the model rectifies.

That is the layer's output, or a sum that it is a part of, behind the ReLU or other activation
function that the model applies to it before anything else uses it.
"""


class Outputs(dict[str, Array]):
    """The model's outputs by path, as a seed is shown them, with the activations they end in.

    Parameters
    ----------
    leaves : mapping of str to (B, ...) array
        The outputs.
    activation, applied : mapping of str to str
        As in `Trace`.
    """

    def __init__(
        self,
        leaves: Leaves,
        activation: Mapping[str, str] | None = None,
        applied: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(leaves)
        self.activation: Mapping[str, str] = activation or {}
        self.applied: Mapping[str, str] = applied or {}


@dataclass(frozen=True)
class LayerName:
    """A layer's name taken apart: ``path``, then ``@part`` and ``#call`` where they are said.

    Parameters
    ----------
    path : str
        The layer's own name; empty for the model's input.
    part : str
        What of the layer is meant: empty for what it returns, ``"activated"`` for that behind
        the model's own rectifier, the path of a leaf of what it returns, ``"attention"``,
        ``"input"`` for the model's input, or a part that only one adapter knows.
    call : int or None
        Which of its calls, counted as in a Python sequence; None where it is not said.
    """

    path: str
    part: str = ""
    call: int | None = None

    @classmethod
    def parse(cls, name: str) -> LayerName:
        """Take a name apart.

        Raises
        ------
        LayerError
            What follows ``#`` is no number.
        """
        whole, mark, call = name.partition("#")
        if mark and not re.fullmatch(r"-?\d+", call):
            raise LayerError(
                f"{name!r}: after '#' comes the number of the call, as in {whole + '#0'!r}."
            )
        path, _, part = whole.rpartition("@")
        known = (path and part.isalpha()) or f"{whole}.".startswith(f"{INPUT}.")
        return cls(*((path, part) if known else (whole, "")), int(call) if mark else None)

    @classmethod
    def among(cls, name: str, known: Container[str]) -> LayerName:
        """Take a name apart, where it is known which layers there are.

        ``stage4@2`` is the leaf ``2`` of what ``stage4`` returns, unless a layer is called so.

        Raises
        ------
        LayerError
            What follows ``#`` is no number.
        """
        if name in known:
            return cls(name)
        parsed = cls.parse(name)
        path, _, leaf = parsed.path.rpartition("@")
        if parsed.path in known or parsed.part or path not in known or not leaf:
            return parsed
        return replace(parsed, path=path, part=leaf)

    def __str__(self) -> str:
        part = f"@{self.part}" if self.part else ""
        return f"{self.path}{part}" + ("" if self.call is None else f"#{self.call}")

    @property
    def is_input(self) -> bool:
        """Whether the model's own input is meant."""
        return not self.path and f"{self.part}.".startswith("input.")

    @property
    def input_path(self) -> str | None:
        """The path of the input that is meant; None for the first, or where none is."""
        return self.part.partition(".")[2] or None if self.is_input else None

    @property
    def is_attention(self) -> bool:
        """Whether the attention that the layer computes is meant."""
        return self.part == "attention"

    def index(self, ran: int) -> int:
        """Index of the call meant, of a layer that ran `ran` times; the last where none is said.

        Raises
        ------
        LayerError
            The layer did not run, or not as often.
        """
        if not ran and self.is_attention:
            raise LayerError(
                f"{str(self)!r}: the layer computed no softmax attention in this pass, or only "
                "inside a fused kernel, a loop or a function of its own. Choose another layer."
            )
        if not ran:
            raise LayerError(
                f"Layer {str(self)!r} did not run in this pass. It may belong to a branch that is "
                "only used in training, run inside a loop or a function of its own, or have its "
                "weights read by its parent. Choose a layer that runs on these inputs."
            )
        call = -1 if self.call is None else self.call
        if not -ran <= call < ran:
            exist = (
                "once, so there is only #0"
                if ran == 1
                else f"{ran} times, so #0 to #{ran - 1} exist"
            )
            raise LayerError(f"{str(self)!r}: the layer ran {exist}.")
        return call % ran


@dataclass(frozen=True)
class NativeScore:
    """A score written in the model's framework, for what no NumPy target expresses.

    Parameters
    ----------
    function : callable
        Takes the model's outputs as the model returned them (tensors, any nest)
        and returns a tensor of shape ``(B,)``: one score per sample.
    """

    function: Callable[[Any], Any]


@dataclass(frozen=True)
class Layer:
    """A layer of the model, by name.

    Parameters
    ----------
    name : str
        Path from the model, unique within it.
    kind : str
        Name of the layer's class.
    native : object
        The framework's own layer object.
    """

    name: str
    kind: str
    native: object = field(repr=False, compare=False)


@dataclass(frozen=True)
class LayerRecord:
    """What a layer returned in a surveyed pass.

    Parameters
    ----------
    layer : Layer
        The layer.
    shape : tuple of int
        Shape of the layer's output, batch axis included, in the framework's layout.
    channels : {"first", "last"} or None
        Where the framework says the channel axis is; None where it does not say.
    calls : int
        How many times the layer ran in the pass; `shape` is that of its last call.
    is_output : bool
        Whether the layer's output is the model's own output, as it is or merely put
        through a softmax or sigmoid, cast, rearranged or resized; or scores that it is
        joined, added up or pooled of, as `camcore.layers.ends` says.
    attention : tuple of int or None
        Shape of the softmax attention that the layer itself, not one inside it, computes;
        that of its last call. None where it computes none.
    repeats : str or None
        Name of the first layer that returned this very array, unaltered since; None where
        the layer returns one of its own.
    several : bool
        Whether the layer returned other floating arrays beside; `shape` is the first's.
    rectified : bool
        Whether a function, not a layer, rectifies the layer's output: see `ACTIVATED`.
    feeds : bool
        Whether some output that scores are read from is made of the layer's output: all of
        it, where it is joined of scores at several scales. True where that is not known.
    in_attention : bool
        Whether its last call ran within that of a layer that attends, whatever it is called.
        False where only names tell.
    joins : sequence of tuple of int
        Of each concatenation of arrays ``(., ., .)`` since the layer before finished, the
        lengths that were put together.
    """

    layer: Layer
    shape: tuple[int, ...]
    channels: Channels | None = None
    calls: int = 1
    is_output: bool = False
    attention: tuple[int, ...] | None = None
    repeats: str | None = None
    several: bool = False
    rectified: bool = False
    feeds: bool = True
    in_attention: bool = False
    joins: tuple[tuple[int, ...], ...] = ()

    @property
    def attends(self) -> bool:
        """Whether the layer itself computes softmax attention."""
        return self.attention is not None


@dataclass(frozen=True)
class LayerTrace:
    """What one layer did in one pass, in the framework's own layout.

    Parameters
    ----------
    activations : (B, ...) array
        The layer's output. Half precision arrives as float32.
    gradients : tuple of (B, ...) array
        For each seed, the gradient of its score with respect to `activations`.
    channels : {"first", "last"} or None
        Where the framework says the channel axis is; None where it does not say.
    hessian_products : tuple of (B, ...) array
        For each seed, H·A with H the Hessian of the cotangent's product with the
        outputs; empty unless it was asked for.
    calls : int
        How many times the layer ran in the pass, whichever call this is.
    leaves : mapping of str to tuple of int
        Where the layer returned several floating arrays, the shape of each by its path; of
        those, recurrent states aside, `activations` is the first unless a leaf is named.
    frames : int
        How many rows in a row are frames of one sample, where the calls of a layer that sees
        them one by one were put together.
    tangents : mapping of str to array
        By path, J·A: the derivative of each floating output along the activations, in the
        output's shape; empty unless it was asked for.
    """

    activations: Array
    gradients: tuple[Array, ...]
    channels: Channels | None = None
    hessian_products: tuple[Array, ...] = ()
    calls: int = 1
    leaves: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    frames: int = 1
    tangents: Leaves = field(default_factory=dict)


@dataclass(frozen=True)
class Bias:
    """What a layer adds, whatever its input.

    Parameters
    ----------
    layer : str
        The name to ask `Adapter.run` for, so that the captured array is the layer's
        output before any activation function of its own. Every call of it is meant.
    bias : (C,) array or None
        The bias added to each channel; None where there is none.
    normalisation : mapping of str to (C,) array or None
        Of a batch normalisation, its ``gamma``, ``beta``, ``mean``, ``variance``, and
        ``epsilon`` of shape ``()``.
    """

    layer: str
    bias: Array | None = None
    normalisation: Leaves | None = None

    @classmethod
    def of_batch_norm(
        cls,
        layer: str,
        *,
        mean: Array,
        variance: Array,
        gamma: Array | None,
        beta: Array | None,
        epsilon: float,
    ) -> Bias:
        """Record a batch normalisation; without `gamma` it scales by 1, without `beta` adds 0."""
        values = {
            "gamma": np.ones_like(mean) if gamma is None else gamma,
            "beta": np.zeros_like(mean) if beta is None else beta,
            "mean": mean,
            "variance": variance,
            "epsilon": np.asarray(epsilon),
        }
        return cls(layer, normalisation=values)

    @property
    def added(self) -> Array:
        """What is added to each channel, ``(C,)``: of a normalisation, β − μγ/√(σ² + ε)."""
        if self.normalisation is None:
            assert self.bias is not None
            return self.bias
        n = self.normalisation
        shift: Array = n["beta"] - n["mean"] * n["gamma"] / np.sqrt(n["variance"] + n["epsilon"])
        return shift


@dataclass(frozen=True)
class Trace:
    """One forward pass, and the gradients pulled back through it.

    Parameters
    ----------
    inputs : mapping of str to (B, ...) array
        The model's inputs by path.
    input_channels : {"first", "last"}
        Where the framework puts the channel axis of an image.
    outputs : mapping of str to (B, ...) array
        The model's outputs by path; before the final activation for the leaves
        that `activation` names.
    activation : mapping of str to str
        For each output leaf taken before its final activation, which one was
        left off: ``"softmax"``, ``"log_softmax"`` or ``"sigmoid"``.
    layers : mapping of str to LayerTrace
        One entry for each layer asked for, by the name it was asked by.
    native_scores : tuple of ((B,) array or None)
        For each seed, the scores where it was a `NativeScore`.
    applied : mapping of str to str
        For each output leaf that still has its final activation, which one that is, as far
        as it is seen.
    """

    inputs: Leaves
    input_channels: Channels
    outputs: Leaves
    activation: Mapping[str, str]
    layers: Mapping[str, LayerTrace]
    native_scores: tuple[Array | None, ...] = ()
    applied: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> Outputs:
        """The outputs as a seed is shown them."""
        return Outputs(self.outputs, self.activation, self.applied)


@runtime_checkable
class Adapter(Protocol):
    """A model, seen through a few verbs and no formula.

    `input_channels`, `layers`, `survey` and `run` make an adapter. One that derives from this
    class may leave out the others, and of `run` the second order, the rectifiers' rule and native
    scores: what needs them is then refused in words; see `not_offered`.

    Whatever a verb does, it leaves the model as it found it (parameters,
    gradients, ``requires_grad``, modes, hooks, attributes), also when the model
    raises half-way. Models run in inference mode (no dropout, running batch
    statistics) whatever mode they are in, unless the adapter was made for another `Mode`.

    Inputs are what the model takes: one array or tensor, or a tuple, list or
    dict of them. NumPy arrays are moved to the model's device, and floating ones
    to its dtype.
    """

    @property
    def input_channels(self) -> Channels:
        """Where the model takes the channel axis of an image."""

    @property
    def takes_images(self) -> bool:
        """Whether a bare list of images is one argument of the model, as detectors take it.

        Otherwise a list is read as several inputs.
        """
        return False

    @property
    def compiles(self) -> bool:
        """Whether a pass is compiled for the layers it is asked for, and anew for others."""
        return False

    def layers(self) -> Sequence[Layer]:
        """List every layer of the model, nested ones included, in the model's order."""

    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """List the shapes of every layer that runs, ordered by when its last call finished.

        A container comes after what it contains. Only the first sample is used,
        and where the framework can it computes nothing.
        """

    def run(
        self,
        inputs: Any,
        layers: Sequence[str] = (),
        seeds: Sequence[Seed | NativeScore] = (),
        *,
        logits: bool = True,
        second_order: SecondOrder = False,
        rectifier: Rectifier | None = None,
        optional: Sequence[str] = (),
    ) -> Trace:
        """Run one forward pass, and for each seed one pull-back to the layers.

        Nothing is run twice, and no gradient work is done before the earliest of
        the layers or for parameters.

        Parameters
        ----------
        inputs : array, tensor or nest
            What the model takes.
        layers : sequence of str
            Names from `layers`, or `INPUT`. A name may end in ``#N`` to choose
            the N-th call of a layer that runs several times (negative from the
            end); without it the last call is meant. Before that it may end in
            `ATTENTION`, for layers that the survey says attend, in `ACTIVATED`, for those that it
            says are rectified, or in ``@`` and the path of one of the arrays that the layer
            returns, ``stage4@2``.
        seeds : sequence of Seed or NativeScore
            Called once with the `Outputs`, in order.
        logits : bool
            Take outputs before a final softmax, log-softmax or sigmoid where the
            model ends in one. The model itself is not altered.
        second_order : bool or "tangents"
            Also give each layer's Hessian product with its own activations; with ``"tangents"``
            the derivative of the outputs along these activations as well.
        rectifier : {"guided", "deconvolution"} or None
            Pull back through rectifiers by another rule: ``guided`` lets only
            positive gradients past where the input was positive, ``deconvolution``
            wherever they are. Applies to every ReLU (and ReLU6) of the model, however it
            is written.
        optional : sequence of str
            Those of `layers` that a score need not depend on: their gradient is zeros then.

        Raises
        ------
        LayerError
            A layer did not run in this pass, or returned no floating tensor.
        GradientError
            A score does not depend on a layer that is not optional.
        MethodError
            The model has rectifiers that the rule cannot reach; they are named.
        """

    def resume(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> AbstractContextManager[Callable[[Array], Leaves]]:
        """Run one sample up to `layer`, then as often as asked from there on.

        Within the context, ``outputs = head(activations)`` gives the outputs the
        model would have if `layer` had returned `activations`, shape ``(N, ...)``
        in the framework's layout, N alterations of the one sample. What comes
        before the layer is not computed again.

        Raises
        ------
        LayerError
            The layer runs more than once or did not run.
        """
        raise not_offered(self, "resume")

    def gradients_from(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> AbstractContextManager[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then as often as asked from there on and back again.

        Within the context, ``gradients = pull(activations, seed)`` gives the gradient of the
        seed's score at `activations`, both of shape ``(N, ...)`` in the framework's layout, N
        alterations of what `layer` returned for the one sample. The seed is shown the outputs
        that `resume` gives for them: of all at once, or of a few at a time, in order.

        Raises
        ------
        LayerError
            As `resume` does.
        GradientError
            The score does not depend on the layer.
        """
        raise not_offered(self, "gradients_from")

    def classifier(self) -> tuple[Array, Array] | None:
        """Return weights ``(K, C)`` and bias ``(K,)`` of the last linear layer, or None.

        A 1×1 convolution counts as linear; a missing bias is zeros.
        """
        raise not_offered(self, "classifier")

    def biases(self) -> Sequence[Bias]:
        """List every layer that adds a bias or normalises by running statistics."""
        raise not_offered(self, "biases")


@runtime_checkable
class HasParameters(Protocol):
    """What an adapter may offer beside: the model's parameters, and copies with others."""

    def parameters(self) -> Parameters:
        """Copy each layer's own parameters and running statistics, in the model's order.

        A kernel of a linear layer or convolution is ``(O, C, *K)``; one that several layers
        share is the first one's. What the model itself holds is under the empty name. Half
        precision arrives as float32.
        """

    def with_parameters(self, parameters: Parameters) -> Any:
        """Copy the model, as the user would have it, with these in place of its layers' own.

        Parameters
        ----------
        parameters : mapping of str to sequence of array
            All those of some layers, as `parameters` gives them; others stay as they are.

        Raises
        ------
        InputError
            They are not those of the model's layers by name, number or shape.
        BackendError
            The model cannot be copied.
        """


@runtime_checkable
class PullsBetween(Protocol):
    """What an adapter may offer beside: cotangents pulled back from some layers to others."""

    def gradients_between(self, inputs: Any, pulls: Mapping[str, tuple[str, Array]]) -> Leaves:
        """Run one forward pass, and pull what is given at some layers back to earlier ones.

        Parameters
        ----------
        inputs : array, tensor or nest
            What the model takes.
        pulls : mapping of str to (str, (B, ...) array)
            By the name of what to pull back to, as `run` takes it: the name of a layer that is
            made of it, and the cotangent of what that layer returned, in its shape.

        Returns
        -------
        mapping of str to (B, ...) array
            By the same names, the gradient of the sum of the cotangent's product with what the
            later layer returned.

        Raises
        ------
        LayerError
            As `run` does.
        InputError
            A cotangent has another shape than what the layer returned.
        GradientError
            A later layer does not depend on the earlier one.
        """


@runtime_checkable
class PullsBeyond(Protocol):
    """What an adapter may offer beside: gradients behind a layer that is altered."""

    def gradients_beyond(
        self, inputs: Any, layer: str, later: str, *, logits: bool = True
    ) -> AbstractContextManager[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then as often as asked from there on and back to `later`.

        Within the context, ``gradients = pull(activations, seed)`` is as `Adapter.gradients_from`
        has it, but for where the gradient is taken: at what `later` returns where `layer` is made
        to return `activations`.

        Parameters
        ----------
        inputs : array, tensor or nest
            One sample of what the model takes.
        layer : str
            Whose output is altered.
        later : str
            What is made of it, as `Adapter.run` takes it; such as a layer's attention.
        logits : bool
            As `Adapter.run` takes it.

        Raises
        ------
        LayerError
            As `Adapter.resume` does.
        GradientError
            `later` does not depend on `layer`, or the score on `later`.
        """


OPTIONAL: Final = (
    "resume",
    "gradients_from",
    "gradients_between",
    "gradients_beyond",
    "classifier",
    "biases",
    "parameters",
    "second_order",
    "rectifier",
    "native scores",
)
"""What an adapter may leave out, beside attention, which its survey then does not tell of."""


def not_offered(adapter: object, what: str) -> NotOfferedError:
    """Make the error for what an adapter leaves out.

    Parameters
    ----------
    adapter : object
        The adapter.
    what : str
        One of `OPTIONAL`.

    Returns
    -------
    NotOfferedError
        A method that needs it adds the names of those that do without.
    """
    instead = ""
    if what == "native scores":
        instead = " Give a class or another camcore.targets.Target in place of a function."
    if what in ("gradients_between", "gradients_beyond"):
        instead = " Take the model's own score: scored='model'."
    if what.startswith("parameters"):
        instead = (
            " Where layers are drawn anew, give a function randomised(names, seed) of your own "
            "that returns a copy of the model."
        )
    return NotOfferedError(f"{type(adapter).__name__} offers no {what}.{instead}")


def no_second_derivative(layer: str, cause: str) -> GradientError:
    """Make the error for a layer behind which something cannot be differentiated twice.

    Parameters
    ----------
    layer : str
        Its name.
    cause : str
        What cannot be differentiated twice, or the framework's own words, of which the first
        line is said.

    Returns
    -------
    GradientError
    """
    said = cause.strip().partition("\n")[0]
    return GradientError(
        f"Layer {layer!r}: the model has no second derivative behind it ({said}). Choose a method "
        "that needs none: method='gradcam'."
    )


def unreached(layer: str, activation: Mapping[str, str], *cuts: str) -> GradientError:
    """Make the error for a score that does not depend on a layer.

    Parameters
    ----------
    layer : str
        Its name.
    activation : mapping of str to str
        What was left off of the outputs, as in `Trace`.
    *cuts : str
        What in the framework has no gradient: ``"argmax"``.

    Returns
    -------
    GradientError
    """
    cause = (
        "Either the layer feeds none of the outputs that the score is made of, or what lies "
        f"between them has no gradient ({', '.join(cuts)}): choose a later layer or another "
        "target."
    )
    if kinds := " and ".join(sorted(set(activation.values()))):
        cause = (
            f"The score is taken before the model's final {kinds}: if this layer applies it or "
            "comes after it, choose an earlier layer or pass logits=False."
        )
    return GradientError(f"The score does not depend on layer {layer!r}. {cause}")


def check_cotangents(cotangents: Leaves, outputs: Leaves) -> None:
    """Refuse what a seed answered where it does not fit the outputs it was shown.

    Parameters
    ----------
    cotangents : mapping of str to array
        What the seed answered.
    outputs : mapping of str to (B, ...) array
        What it was shown.

    Raises
    ------
    TargetError
        A cotangent is for an output that is not there or not floating, or of another shape.
    """
    floating = [path for path, leaf in outputs.items() if np.issubdtype(leaf.dtype, np.floating)]
    for path, cotangent in cotangents.items():
        if path not in floating:
            raise TargetError(
                f"The target has a cotangent for an output {path!r}; the model's floating "
                f"outputs are {', '.join(map(repr, floating)) or 'none'}."
            )
        if np.shape(cotangent) != outputs[path].shape:
            raise TargetError(
                f"The target's cotangent for output {path!r} has shape {np.shape(cotangent)}; "
                f"the output has {outputs[path].shape}."
            )


def check_pulled(cotangent: Array, layer: str, returned: tuple[int, ...]) -> None:
    """Refuse a cotangent that has not the shape of what a layer returned.

    Parameters
    ----------
    cotangent : array
        What was given.
    layer : str
        The layer's name.
    returned : tuple of int
        The shape of what it returned.

    Raises
    ------
    InputError
        It has not.
    """
    if np.shape(cotangent) != returned:
        raise InputError(
            f"The cotangent at layer {layer!r} has shape {np.shape(cotangent)}; the layer "
            f"returned {returned}."
        )


def not_between(layer: str, later: str) -> GradientError:
    """Make the error for a layer that a later one does not depend on.

    Parameters
    ----------
    layer, later : str
        Their names.

    Returns
    -------
    GradientError
    """
    return GradientError(
        f"Layer {later!r} does not depend on {layer!r}: no gradient comes from the one to the "
        "other. Choose another layer."
    )


def check_parameters(parameters: Parameters, own: Parameters) -> None:
    """Refuse parameters that are not those of a model's layers.

    Parameters
    ----------
    parameters : mapping of str to sequence of array
        What is to take the place of some layers' own.
    own : mapping of str to sequence of array
        What they are.

    Raises
    ------
    InputError
        A layer has none, or others by number or shape.
    """
    for layer, arrays in parameters.items():
        given = [np.shape(array) for array in arrays]
        expected = [np.shape(array) for array in own.get(layer, ())]
        if given != expected:
            raise InputError(
                f"Layer {layer!r} has parameters of shapes {expected or 'none'}; got {given}. Pass "
                "all of its own, as adapter.parameters() gives them."
            )


@dataclass
class SeedRun:
    """The seeds of one run of a compiled program, which asks them from within.

    Parameters
    ----------
    seeds : sequence of Seed
        In order.
    activation, applied : mapping of str to str
        What the outputs end in, as in `Trace`.
    weighed : list of set of str
        For each seed that was asked, the outputs that it gave a cotangent for.
    error : BaseException or None
        What a seed raised, to be raised when the program is done: a framework would bury it
        in an error of its own.
    """

    seeds: Sequence[Seed]
    activation: Mapping[str, str] = field(default_factory=dict)
    applied: Mapping[str, str] = field(default_factory=dict)
    weighed: list[set[str]] = field(default_factory=list)
    error: BaseException | None = None

    def ask(self, outputs: Leaves) -> list[Array]:
        """Ask every seed for its cotangents of the floating outputs, in order.

        Zeros stand where a seed leaves an output out, or any seed raised.
        """
        for array in outputs.values():
            array.setflags(write=False)
        floating = {p: a for p, a in outputs.items() if np.issubdtype(a.dtype, np.floating)}
        zeros = {path: np.zeros_like(array) for path, array in floating.items()}
        shown = Outputs(outputs, self.activation, self.applied)
        answers: list[Array] = []
        try:
            for seed in self.seeds:
                given = seed(shown)
                self.weighed.append(set(given))
                check_cotangents(given, outputs)
                answers += [np.asarray(given.get(p, z), z.dtype) for p, z in zeros.items()]
        except BaseException as error:
            self.error = error
            return [*zeros.values()] * len(self.seeds)
        return answers


def replays(replayed: Leaves, plain: Leaves, epsilon: float) -> bool:
    """Tell whether going on from a layer gave one sample's outputs, twice over.

    Parameters
    ----------
    replayed : mapping of str to (2, ...) array
        Outputs for the layer's own activations, two times in a batch.
    plain : mapping of str to (1, ...) array
        The model's outputs for the sample.
    epsilon : float
        Machine epsilon of the activations' dtype.

    Returns
    -------
    bool
        Every floating output agrees to four epsilons, and to no less than 1e-5, of its
        largest value. Beside one that does, others may be the same for all samples.
    """

    def same(path: str, times: int) -> bool:
        several = np.concatenate([plain[path]] * times)
        near = max(1e-5, 4 * epsilon) * np.nanmax(np.abs(several), initial=0)
        return path in replayed and (
            replayed[path].shape == several.shape
            and bool(np.allclose(replayed[path], several, rtol=0, atol=near, equal_nan=True))
        )

    floating = [path for path, leaf in plain.items() if leaf.dtype.kind == "f" and leaf.ndim]
    twice = [path for path in floating if same(path, 2)]
    return bool(twice or not floating) and all(path in twice or same(path, 1) for path in floating)
