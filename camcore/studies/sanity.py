"""Which maps stay the same when the network's layers are drawn anew, after Adebayo et al.

A small network learns Fashion-MNIST. Then its layers are drawn anew from the output down, and
each method's maps are compared with those of the trained network.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore import registry
from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.errors import PoorMapWarning
from camcore.explainer import Explainer
from camcore.metrics.agreement import SIMILARITIES
from camcore.metrics.controls import edge_maps
from camcore.metrics.sanity import PAPER, Sanity, model_parameter_randomisation, randomiser
from camcore.resize import resize
from camcore.studies.data import Bytes, fashion_mnist
from camcore.studies.study import Finding, Outcome, Setting, Study, Table

SHAPES: Final[Mapping[str, Sequence[tuple[int, ...]]]] = MappingProxyType(
    {
        "conv1": ((32, 1, 5, 5), (32,)),
        "conv2": ((64, 32, 5, 5), (64,)),
        "fc1": ((1024, 64 * 7 * 7), (1024,)),
        "fc2": ((10, 1024), (10,)),
    }
)
"""Kernel and bias of each layer with parameters, from the input to the output."""

TOP_DOWN = tuple(SHAPES)[::-1]
LAYER = "relu2"
FAST = {
    "saliency": "Gradient",
    "gradienttimesinput": "Gradient × input",
    "gradcam": "Grad-CAM",
    "guidedbackprop": "Guided backpropagation",
    "guidedgradcam": "Guided Grad-CAM",
}
SLOW = {"smoothgrad": "SmoothGrad", "integratedgradients": "Integrated gradients"}
METHODS = FAST | SLOW
"""The methods by name, as tables call them; `SLOW` ones explain fewer images."""

LABELS = {
    "spearman": "Spearman, signed",
    "absolute-spearman": "Spearman, magnitudes",
    "ssim": "SSIM",
    "hog": "HOG",
}
"""The similarities by name, as tables call them."""

GUIDED, PLAIN = ("guidedbackprop", "guidedgradcam"), ("saliency", "gradcam")
"""Methods that are said to change little, and methods that are said to change."""

AT = "fc1"
"""The layer down to which all are drawn anew where criteria are decided."""

NEAR_0, ACCURATE, FITTED = 0.2, 0.9, 0.95
"""A rank correlation below which maps are unrelated, and the accuracies that are expected."""

PAIRS = tuple(product(GUIDED, ("ssim", "hog"), PLAIN))
CRITERIA = (
    *(
        f"{LABELS[similarity]} of {METHODS[guided]} is above that of {METHODS[plain]} once fc2 and "
        "fc1 are drawn anew, 95 % intervals apart"
        for guided, similarity, plain in PAIRS
    ),
    *(
        f"The signed Spearman correlation of {METHODS[plain]} is then within ±{NEAR_0:g}"
        for plain in PLAIN
    ),
)


@dataclass(frozen=True)
class Size:
    """How much a run does.

    Parameters
    ----------
    learnt, epochs : int
        Images of the training set, and how often each is learnt.
    few, few_epochs : int
        The same of the networks that learn permuted labels and, for comparison, true ones.
    images, slow : int
        Images of the test set that are explained, and by `SLOW` methods.
    passes : int
        Noisy images of SmoothGrad and places of integrated gradients.
    draws : int
        Networks that are drawn for each step.
    """

    learnt: int
    epochs: int
    few: int
    few_epochs: int
    images: int
    slow: int
    passes: int
    draws: int


FULL = Size(60_000, 3, 2_000, 40, 500, 100, 10, 10)
SMALL = Size(2_000, 1, 200, 2, 20, 10, 2, 2)
BATCH, RATE = 50, 1e-3


def drawn(values: Array, random: np.random.Generator) -> Array:
    """Draw a kernel as Glorot and Bengio do, uniformly within √(6 / (fan in + fan out)).

    Parameters
    ----------
    values : (O, C, *K) or (O,) array
        A kernel, or a bias; its shape alone is used.
    random : numpy.random.Generator
        Where to draw from.

    Returns
    -------
    array
        Of the same shape; zeros for a bias.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, eq. 16.
    """
    if values.ndim < 2:
        return np.zeros(values.shape, np.float32)
    ends = sum(values.shape[:2]) * np.prod(values.shape[2:])
    bound = np.sqrt(6 / ends)
    kernel: Array = random.uniform(-bound, bound, values.shape).astype(np.float32)
    return kernel


def batches(
    images: Array, labels: npt.NDArray[Any], epochs: int, seed: int
) -> Iterator[tuple[Array, npt.NDArray[Any]]]:
    """Yield the images in another order each epoch, with their labels, as they are learnt.

    Parameters
    ----------
    images : (N, 1, H, W) array
    labels : (N,) array
    epochs : int
    seed : int
        Of the orders.

    Yields
    ------
    (B, 1, H, W) array, (B,) array
        B is 50, or what is left at the end of an epoch.
    """
    random = np.random.default_rng(seed)
    for _ in range(epochs):
        order = random.permutation(len(images))
        for start in range(0, len(order), BATCH):
            at = order[start : start + BATCH]
            yield images[at], labels[at]


class Shown(NamedTuple):
    """Images as networks see them, with their classes.

    Parameters
    ----------
    images : (N, 1, 28, 28) float32 array
        In [0, 1].
    labels : (N,) int64 array
    """

    images: Array
    labels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, images: Bytes, labels: Bytes, count: int | None = None) -> Shown:
        """Take the first `count` of a data set, or all."""
        chosen = images[:count, None].astype(np.float32) / np.float32(255)
        return cls(chosen, labels[:count].astype(np.int64))


class Lab:
    """Trains networks in one framework, and explains them.

    Parameters
    ----------
    framework : str
        Import name.
    size : Size
    seed : int
        Of what networks begin with, and of the order in which they see the images.
    """

    def __init__(self, framework: str, size: Size, seed: int) -> None:
        registry.backend(framework)  # says what to install
        self._network = import_module(f"camcore_{framework}.small_cnn")
        self._size, self._seed = size, seed

    def trained(self, data: Shown, epochs: int) -> Any:
        """Train a network; all begin with the same parameters."""
        parameters = {
            name: [
                drawn(np.empty(shape), np.random.default_rng([self._seed, place, at]))
                for at, shape in enumerate(shapes)
            ]
            for place, (name, shapes) in enumerate(SHAPES.items())
        }
        return self._network.train(parameters, batches(*data, epochs, self._seed), rate=RATE)

    def predicted(self, network: Any, images: Array) -> npt.NDArray[np.int64]:
        """Find the class with the highest logit of each image, ``(N,)``."""
        adapter = registry.adapter(network)
        best = [
            adapter.run(_as_taken(adapter, images[at : at + 500])).outputs[""].argmax(axis=1)
            for at in range(0, len(images), 500)
        ]
        return np.concatenate(best)

    def accuracy(self, network: Any, data: Shown) -> float:
        """Find the share of images whose class the network finds."""
        return float(np.mean(self.predicted(network, data.images) == data.labels))

    def maps(self, network: Any, images: Array, classes: Sequence[int]) -> Array:
        """Compute the signed maps of all methods, ``(N, 28, 28)``; `rows` tells them apart."""
        few = self._size.slow
        shown = _as_taken(registry.adapter(network), images)
        options: Any = {"layer": LAYER, "signed": True}
        passes = {"samples": self._size.passes, "steps": self._size.passes, "progress": False}
        with warnings.catch_warnings():
            # A random network's activations often speak against the class alone.
            warnings.simplefilter("ignore", PoorMapWarning)
            found = Explainer(network, method=list(FAST), **options)(shown, list(classes))
            slow = Explainer(network, method=list(SLOW), **options, **passes)
            found |= slow(shown[:few], list(classes[:few]))
        raw = [next(iter(one.raw.values())) for one in found.values()]
        return np.concatenate([resize(one, images.shape[2:], leading=1) for one in raw])

    def rows(self, images: int) -> dict[str, slice]:
        """Tell which of the maps of so many images are which method's."""
        counts = [*[images] * len(FAST), *[min(images, self._size.slow)] * len(SLOW)]
        ends = np.cumsum(counts).tolist()
        starts = [0, *ends[:-1]]
        return {name: slice(*at) for name, *at in zip(METHODS, starts, ends, strict=True)}


def _as_taken(adapter: Any, images: Array) -> Array:
    return images if adapter.input_channels == "first" else np.moveaxis(images, 1, -1)


def by_method(found: Sanity, rows: Mapping[str, slice]) -> dict[str, Sanity]:
    """Take what was found for the maps of all methods apart.

    Parameters
    ----------
    found : Sanity
        Its first axis is that of the maps of all methods, one method after the other.
    rows : mapping of str to slice
        Where on that axis each method's are.

    Returns
    -------
    dict of str to Sanity
    """
    return {
        method: Sanity(
            found.order,
            found.layers,
            {name: values[at] for name, values in found.similarity.items()},
        )
        for method, at in rows.items()
    }


def compared(maps: Array, others: Mapping[str, Array]) -> Sanity:
    """Compare maps with others, by the similarities of the paper.

    Parameters
    ----------
    maps : (B, H, W) array
    others : mapping of str to (B, H, W) array
        By what they are of.

    Returns
    -------
    Sanity
        With a "layer" for each of the others, and one draw.
    """
    similarity = {
        name: np.stack([SIMILARITIES[name](maps, one) for one in others.values()], axis=1)
        for name in PAPER
    }
    columns = {name: values[..., None] for name, values in similarity.items()}
    return Sanity("independent", tuple(others), columns)


class Interval(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.mean):
            return "undefined"
        mean, low, high = (f"{round(value, 2) + 0.0:.2f}" for value in self)  # never -0.00
        return f"{mean} [{low}, {high}]"


Summary: TypeAlias = dict[str, dict[str, dict[str, Interval]]]


def summary(found: Mapping[str, Sanity]) -> Summary:
    """Find the mean similarities and their 95 % intervals.

    Parameters
    ----------
    found : mapping of str to Sanity
        By method.

    Returns
    -------
    dict of str to dict of str to dict of str to Interval
        By method, similarity, and what of the other network was drawn anew or learnt.
    """
    return {
        method: {name: _intervals(one, name) for name in LABELS} for method, one in found.items()
    }


def _intervals(found: Sanity, name: str) -> dict[str, Interval]:
    means, bounds = found.mean(name), found.interval(name)
    return {
        layer: Interval(float(mean), float(low), float(high))
        for layer, mean, (low, high) in zip(found.layers, means, bounds, strict=True)
    }


def findings(cascading: Summary) -> list[Finding]:
    """Decide the criteria.

    Parameters
    ----------
    cascading : dict of str to dict of str to dict of str to Interval
        What `summary` found where layers were drawn anew from the output down.

    Returns
    -------
    list of Finding
        In the order of `CRITERIA`. One that cannot be decided, as a similarity is undefined, did
        not hold.
    """
    found: list[tuple[bool, str]] = []
    for guided, name, plain in PAIRS:
        upper, lower = cascading[guided][name][AT], cascading[plain][name][AT]
        found.append((upper.low > lower.high, f"{upper} against {lower}"))
    for plain in PLAIN:
        one = cascading[plain]["spearman"][AT]
        found.append((abs(one.mean) < NEAR_0, str(one)))
    return [
        Finding(criterion, held, figures)
        for criterion, (held, figures) in zip(CRITERIA, found, strict=True)
    ]


@dataclass(frozen=True)
class Measured:
    """What a run measured in one framework.

    Parameters
    ----------
    few : int
        Images whose labels were permuted.
    accuracies : mapping of str to float
        Of the network on the test images, of that of permuted labels on those, and of that of as
        many true labels on the test images.
    cascading, alone, labels, edges : mapping of str to Sanity
        By method: layers drawn anew from the output down, and each alone; maps of the networks of
        ``"permuted"`` and ``"true"`` labels; magnitudes against ``"edges"``.
    """

    few: int
    accuracies: Mapping[str, float]
    cascading: Mapping[str, Sanity]
    alone: Mapping[str, Sanity]
    labels: Mapping[str, Sanity]
    edges: Mapping[str, Sanity]

    @property
    def parts(self) -> dict[str, Mapping[str, Sanity]]:
        """All that was compared, by name."""
        return {part: getattr(self, part) for part in ("cascading", "alone", "labels", "edges")}


def measure(setting: Setting) -> Measured:
    """Train the networks, draw their layers anew, and compare the maps.

    Parameters
    ----------
    setting : Setting

    Returns
    -------
    Measured

    Raises
    ------
    InputError, FileError
        Fashion-MNIST is not there, or cannot be read.
    MissingExtraError
        The framework, scikit-image or SciPy is not installed.
    """
    with needs("metrics", "comparing maps"):
        import skimage.feature  # noqa: F401  # before minutes of training
    size = SMALL if setting.small else FULL
    read = fashion_mnist(setting.data)
    learnt, test = Shown.of(*read["train"], size.learnt), Shown.of(*read["t10k"])
    few = Shown(learnt.images[: size.few], learnt.labels[: size.few])
    permuted = few._replace(labels=np.random.default_rng(setting.seed).permutation(few.labels))
    lab = Lab(setting.framework, size, setting.seed)
    with setting.step(f"learning {len(learnt.images):,} images"):
        network = lab.trained(learnt, size.epochs)
    with setting.step(f"learning {len(few.images):,} images with permuted and with true labels"):
        others = {
            "permuted": lab.trained(permuted, size.few_epochs),
            "true": lab.trained(few, size.few_epochs),
        }
    accuracies = {
        "accuracy": lab.accuracy(network, test),
        "accuracy on permuted labels": lab.accuracy(others["permuted"], permuted),
        "accuracy of few true labels": lab.accuracy(others["true"], test),
    }

    images = test.images[: size.images]
    classes = [int(one) for one in lab.predicted(network, images)]
    rows = lab.rows(len(images))

    def explain(one: Any) -> Array:
        return lab.maps(one, images, classes)

    copies = randomiser(network, draw=drawn)
    draws: Any = {"draws": size.draws, "seed": setting.seed + 1}
    with setting.step(f"drawing layers anew from the output down, {size.draws} times"):
        cascading = model_parameter_randomisation(explain, copies, TOP_DOWN, **draws)
    with setting.step(f"drawing each layer anew alone, {size.draws} times"):
        alone = model_parameter_randomisation(
            explain, copies, TOP_DOWN[1:], order="independent", **draws
        )
    with setting.step("comparing with networks of other labels and with edges"):
        maps = explain(network)
        labels = compared(maps, {name: explain(one) for name, one in others.items()})
        sobel = np.concatenate([edge_maps(images[: at.stop - at.start]) for at in rows.values()])
        edges = compared(np.abs(maps), {"edges": sobel})
    found = (by_method(one, rows) for one in (cascading, alone, labels, edges))
    return Measured(len(few.images), accuracies, *found)


def run(setting: Setting) -> Outcome:
    """Run the study in one framework.

    Parameters
    ----------
    setting : Setting

    Returns
    -------
    Outcome

    Raises
    ------
    InputError, FileError, MissingExtraError
        As `measure` does.
    """
    return outcome(measure(setting))


def outcome(measured: Measured) -> Outcome:
    """Decide the criteria, and lay out tables and notes.

    Parameters
    ----------
    measured : Measured

    Returns
    -------
    Outcome
    """
    found = {part: summary(one) for part, one in measured.parts.items()}
    return Outcome(
        findings=findings(found["cascading"]),
        tables=list(_tables(found)),
        notes=list(_notes(measured)),
        values={**measured.accuracies, **_values(found)},
    )


def _tables(found: Mapping[str, Summary]) -> Iterator[Table]:
    """Lay out what was compared, a table for each similarity or each other network."""
    first, *further = TOP_DOWN
    for name, label in LABELS.items():
        yield _by_layer(
            f"{label}: layers drawn anew from the output down",
            found["cascading"],
            name,
            [first, *(f"and {layer}" for layer in further)],
        )
    yield _by_similarity("Against a network of permuted labels", found["labels"], "permuted")
    yield _by_similarity("Against a network of as many true labels", found["labels"], "true")
    yield _by_similarity(
        "Magnitudes of the trained network's maps against edges",
        found["edges"],
        "edges",
        [name for name in LABELS if name != "spearman"],  # of magnitudes the two are one
    )
    for name, label in LABELS.items():
        yield _by_layer(f"{label}: one layer drawn anew", found["alone"], name, further)


def _by_layer(title: str, found: Summary, name: str, heads: Sequence[str]) -> Table:
    rows = [[label, *map(str, found[method][name].values())] for method, label in METHODS.items()]
    return Table(title, ["Method", *heads], rows)


def _by_similarity(
    title: str, found: Summary, other: str, names: Sequence[str] = tuple(LABELS)
) -> Table:
    rows = [
        [label, *(str(found[method][name][other]) for name in names)]
        for method, label in METHODS.items()
    ]
    return Table(title, ["Method", *(LABELS[name] for name in names)], rows)


def _values(found: Mapping[str, Summary]) -> dict[str, float]:
    return {
        f"{part} {layer} {method} {name}{end}": value
        for part, of_part in found.items()
        for method, by_name in of_part.items()
        for name, by_layer in by_name.items()
        for layer, interval in by_layer.items()
        for end, value in zip(("", " low", " high"), interval, strict=True)
    }


def _notes(measured: Measured) -> Iterator[str]:
    """Say how well the networks learnt, and which maps had no correlation."""
    reached, fitted, true = measured.accuracies.values()
    short = "" if reached >= ACCURATE else f", below the {ACCURATE:.0%} that the protocol asks for"
    yield f"The network finds the class of {reached:.2%} of the test images{short}."
    loose = "" if fitted >= FITTED else f", below the {FITTED:.0%} that count as fitting them"
    yield (
        f"The network of permuted labels answers {fitted:.2%} of its {measured.few:,} images with "
        f"the permuted label{loose}; that of as many true labels finds the class of {true:.2%} of "
        "the test images."
    )
    counts = [
        f"{count} of {one.similarity['spearman'].size} of {METHODS[method]} ({part})"
        for part, found in measured.parts.items()
        for method, one in found.items()
        if (count := int(one.undefined("spearman").sum()))
    ]
    if counts:
        yield (
            "Maps that are constant have no Spearman correlation and no HOG, and are left out of "
            f"these means: {'; '.join(counts)}."
        )


STUDY = Study(
    name="sanity",
    title="Sanity checks for saliency maps",
    claim=(
        "Guided backpropagation and guided Grad-CAM hardly change when the upper layers of a "
        "network are replaced by random ones; gradients and Grad-CAM do change."
    ),
    source="Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, sections 3 to 5",
    protocol=f"""
A network of two convolutions and two linear layers (`conv1` 5×5, 32 channels; `conv2` 5×5, 64;
each rectified and pooled by 2; `fc1` 1024, rectified; `fc2` 10) learns the {FULL.learnt:,} training
images of Fashion-MNIST for {FULL.epochs} epochs (Adam, rate {RATE:g}, batches of {BATCH}), to at
least {ACCURATE:.0%} accuracy on the test images. In both frameworks it begins with the same
weights, drawn after Glorot and Bengio with biases of 0, and sees the same batches; the two networks
differ by rounding alone, which training makes larger.

Then layers are drawn anew, the way in which they were drawn at first, {FULL.draws} times:
*cascading*, `fc2`, then `fc1` too, and so on down to `conv1`; and the lower three each alone. The
first {FULL.images} test images are explained for the class that the trained network finds in them,
and the maps of the random networks are compared with its own: by Spearman's correlation of signed
maps and of their magnitudes, by structural similarity (SSIM), and by the correlation of histograms
of oriented gradients (HOG), these two after each map was scaled to [0, 1] by its own extremes.
1 means no change. Intervals are of 95 %, from a bootstrap over images and draws.

All maps keep their signs. The gradient is Saliency without its absolute value. Grad-CAM is taken
after the rectified `conv2`, 14×14, before its own rectification, and enlarged; guided Grad-CAM
takes its positive part, and is empty where there is none. SmoothGrad ({FULL.passes} noisy images)
and integrated gradients ({FULL.passes} nodes of Gauss and Legendre) explain the first {FULL.slow}
images only, since each costs {FULL.passes} passes.

Labels are randomised as well: a network learns {FULL.few:,} of the images with permuted labels for
{FULL.few_epochs} epochs, until it fits them, and its maps are compared with those of the trained
network for the same classes. Another learns the same images with their true labels, which shows how
alike the maps of two networks are that both learnt the task. Last, the trained network's maps are
compared with edges by Sobel's operator. Edges see no network: nothing drawn anew changes them.

The paper's code differs: weights from a normal distribution of deviation 0.1 and biases of 0.1,
rate 1e-4 and 50 epochs, permuted labels of the whole training set for 100; Grad-CAM with its
rectification; SSIM with Gaussian windows; Spearman's correlation of HOG in cells of 16 pixels, of
which three do not fit into 28.
""",
    criteria=CRITERIA,
    data=("apt install dataset-fashion-mnist", 'pip install "camcore[demo,metrics]"'),
    minutes=12,
    run=run,
)
