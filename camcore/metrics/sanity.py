"""Ask whether maps depend on what the model has learnt: randomisation of its parameters.

A map that stays as it is when the network's weights are drawn anew shows the input, not the
network. `randomiser` copies a model with some of its layers drawn anew, of any framework whose
adapter tells its parameters; the user's model is never written to.

Randomising the *data* needs no function of its own: train the network a second time on permuted
labels, explain the same images with both, and compare their maps with a similarity of
`camcore.metrics.SIMILARITIES`, such as ``spearman(maps, maps_of_random_labels, absolute=True)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite
from camcore._shared.progress import track
from camcore._shared.suggest import hint
from camcore.adapter import Array, HasParameters, not_offered
from camcore.errors import InputError, LayerError
from camcore.methods.arrays import at_least_one, floating, one_of, shaped
from camcore.methods.noise import noisy_inputs
from camcore.metrics.agreement import Floats, find_similarity
from camcore.postprocess import normalise

Order: TypeAlias = Literal["cascading", "independent", "bottom-up"]

Draw: TypeAlias = "Callable[[Array, np.random.Generator], Array]"
"""From a layer's parameter, and where to draw from, to what takes its place."""

Randomised: TypeAlias = Callable[[Sequence[str], int], Any]
"""From names of layers and a seed to a copy of the model with these drawn anew."""

PAPER = ("spearman", "absolute-spearman", "ssim", "hog")
"""The similarities of Adebayo et al."""


def permuted(values: Array, random: np.random.Generator) -> Array:
    """Permute the entries of a parameter, which keeps their mean, spread and signs.

    Parameters
    ----------
    values : array
        A layer's parameter.
    random : numpy.random.Generator
        Where to draw from.

    Returns
    -------
    array
        Of the same shape; the same where all entries are equal, as in a fresh layer's biases.
    """
    mixed: Array = random.permutation(values.reshape(-1)).reshape(values.shape)
    return mixed


class Randomiser:
    """Copies of a model with some layers' parameters drawn anew; made by `randomiser`.

    Parameters
    ----------
    adapter : HasParameters
        The model.
    draw : callable
        What is drawn in a parameter's place.
    """

    def __init__(self, adapter: HasParameters, draw: Draw = permuted) -> None:
        self._adapter, self._draw = adapter, draw
        self._parameters = adapter.parameters()

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers with parameters of their own, from the top, the output, down."""
        return tuple(self._parameters)[::-1]

    def __call__(self, names: Sequence[str], seed: int = 0) -> Any:
        """Copy the model, with the parameters of some layers drawn anew.

        A layer's draw depends on the seed and the layer's place alone, so the same seed draws
        the same, however many layers are drawn, in every framework where the layers have one
        order.

        Parameters
        ----------
        names : sequence of str
            Layers; one that contains others means all of them. None gives a copy as it is.
        seed : int
            Of the draws.

        Returns
        -------
        object
            A model of the user's framework.

        Raises
        ------
        LayerError
            A name is no layer with parameters.
        InputError
            What was drawn has another shape, or is not finite.
        """
        wanted = {layer for name in names for layer in self._within(name)}
        drawn = {
            layer: [
                self._drawn(array, layer, np.random.default_rng([seed, place, at]))
                for at, array in enumerate(arrays)
            ]
            for place, (layer, arrays) in enumerate(self._parameters.items())
            if layer in wanted
        }
        return self._adapter.with_parameters(drawn)

    def _within(self, name: str) -> list[str]:
        found = [n for n in self._parameters if n == name or n.startswith((f"{name}.", f"{name}/"))]
        if not found:
            raise LayerError(
                f"{name!r} is no layer with parameters. {hint(name, self._parameters)}"
            )
        return found

    def _drawn(self, array: Array, layer: str, random: np.random.Generator) -> Array:
        values = self._draw(array, random)
        return shaped(values, array.shape, f"What is drawn for layer {layer!r}").astype(array.dtype)


def randomiser(model: object, *, draw: Draw = permuted) -> Randomiser:
    """Prepare copies of a model with some layers' parameters drawn anew.

    Parameters
    ----------
    model : object
        As `camcore.Explainer` takes it; it is read, never written to.
    draw : callable
        ``draw(values, random)`` gives what takes a parameter's place. By default its entries are
        permuted, running statistics among them, so that no framework's initialisers are needed;
        the paper draws as the layer was initialised. Kernels of linear layers and
        convolutions are ``(O, C, *K)`` in every framework.

    Returns
    -------
    Randomiser
        ``copies(["fc"], seed)`` is a copy; ``copies.layers`` lists layers from the top.

    Raises
    ------
    BackendError
        No installed adapter owns the model.
    MethodError
        The adapter offers no parameters, as of functions of JAX, and of files whose weights are
        whole numbers.
    """
    from camcore import registry  # metrics of arrays need no adapter

    adapter = registry.adapter(registry.opened(model))
    if not isinstance(adapter, HasParameters):
        raise not_offered(adapter, "parameters")
    return Randomiser(adapter, draw)


@dataclass(frozen=True, eq=False)
class Sanity:
    """How alike maps stay while the network is drawn anew, layer by layer.

    Parameters
    ----------
    order : {"cascading", "independent", "bottom-up"}
        In which order layers were drawn.
    layers : tuple of str
        L layers in that order; at each step but the independent ones those before it are random
        too.
    similarity : mapping of str to (B, L, draws) array
        By the similarity's name; NaN where it is not defined, as where a map is constant.
    """

    order: Order
    layers: tuple[str, ...]
    similarity: Mapping[str, Floats]

    def mean(self, name: str) -> Floats:
        """Average over images and draws where the similarity is defined, ``(L,)``.

        NaN where it is defined nowhere.
        """
        return _mean(self._of(name), (0, 2))

    def undefined(self, name: str) -> npt.NDArray[np.int64]:
        """Count images and draws for which the similarity is not defined, ``(L,)``."""
        counts: npt.NDArray[np.int64] = np.isnan(self._of(name)).sum(axis=(0, 2))
        return counts

    def interval(
        self, name: str, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
    ) -> Floats:
        """Bound each mean by a bootstrap over images and over draws, ``(L, 2)``.

        Parameters
        ----------
        name : str
            Of the similarity.
        level : float
            Share of resampled means within, in (0, 1).
        resamples : int
            How many.
        seed : int
            Of the resamples.

        Returns
        -------
        (L, 2) float64 array
            Lower and upper percentile; NaN where the similarity is defined nowhere.

        Raises
        ------
        InputError
            There is no such similarity, or `level` is out of range.
        MethodError
            `resamples` is below 1.
        """
        if not 0 < level < 1:
            raise InputError(f"level={level}; pass a share in (0, 1), such as 0.95.")
        at_least_one(resamples=resamples)
        values, random = self._of(name), np.random.default_rng(seed)
        images, _, draws = values.shape
        means = np.stack(
            [
                _mean(
                    values[random.integers(images, size=images)][
                        ..., random.integers(draws, size=draws)
                    ],
                    (0, 2),
                )
                for _ in range(resamples)
            ]
        )
        bounds = np.full((means.shape[1], 2), np.nan)
        for layer, column in enumerate(means.T):
            if np.isfinite(column).any():
                bounds[layer] = np.nanquantile(column, [(1 - level) / 2, (1 + level) / 2])
        return bounds

    def _of(self, name: str) -> Floats:
        if name not in self.similarity:
            raise InputError(f"{name!r} was not measured. {hint(name, self.similarity)}")
        return self.similarity[name]


def model_parameter_randomisation(
    explain: Callable[[Any], Array],
    randomised: Randomised,
    layers: Sequence[str] | None = None,
    *,
    order: Order = "cascading",
    similarities: Sequence[str] = PAPER,
    draws: int = 1,
    seed: int = 0,
    progress: bool | None = None,
) -> Sanity:
    """Compare maps of a network with those of the same network drawn anew, layer by layer.

    Parameters
    ----------
    explain : callable
        From a model to its maps ``(B, *S)`` of the same images for the same classes, signed
        where the method gives them so.
    randomised : callable
        ``randomised(names, seed)`` gives a copy of the model with these layers drawn anew, and
        with no names a plain copy; see `randomiser`, or write one on your framework's own
        initialisers.
    layers : sequence of str, optional
        From the top, the output, down. Left out, all those of a `Randomiser`; in large
        networks name blocks, each of which means all layers within.
    order : {"cascading", "independent", "bottom-up"}
        Draw the layers from the top one after the other, each alone, or from the bottom.
    similarities : sequence of str
        Of `camcore.metrics.SIMILARITIES`; ``"hog"`` needs flat maps.
    draws : int
        How many networks are drawn for each step.
    seed : int
        Of the first draw; those after it count on.
    progress : bool, optional
        Show a progress bar.

    Returns
    -------
    Sanity
        Low similarities mean that maps depend on the layers.

    Raises
    ------
    InputError
        Maps are not finite or change their shape, or a similarity is unknown.
    LayerError
        No layers are named, or one has no parameters.
    MethodError
        An option is out of range.
    MissingExtraError
        A similarity needs scikit-image, which is not installed.

    References
    ----------
    Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, sec. 3 and 4.
    """
    one_of(Order, order=order)
    at_least_one(draws=draws)
    measures = {name: find_similarity(name) for name in similarities}
    if not measures:
        raise InputError("similarities is empty; name at least one, such as 'spearman'.")
    named = tuple(getattr(randomised, "layers", ()) if layers is None else layers)
    if not named:
        raise LayerError(
            "No layers were named. Pass them from the output down, such as layers=['fc', 'conv2']."
        )
    steps = named[::-1] if order == "bottom-up" else named
    original = _maps(explain(randomised((), seed)))
    found = {name: np.zeros((len(original), len(steps), draws)) for name in measures}
    todo = [(at, draw) for draw in range(draws) for at in range(len(steps))]
    for at, draw in track(todo, "Randomised networks", progress):
        drawn = steps[at : at + 1] if order == "independent" else steps[: at + 1]
        maps = shaped(explain(randomised(drawn, seed + draw)), original.shape, "Maps")
        for name, measure in measures.items():
            found[name][:, at, draw] = measure(original, maps)
    return Sanity(order, steps, found)


def smooth_mprt(
    explain: Callable[[Any, Array], Array],
    images: Array,
    randomised: Randomised,
    layers: Sequence[str] | None = None,
    *,
    samples: int = 50,
    sigma: float = 0.1,
    order: Order = "bottom-up",
    similarities: Sequence[str] = ("absolute-spearman",),
    draws: int = 1,
    seed: int = 0,
    progress: bool | None = None,
) -> Sanity:
    """Compare maps averaged over noisy inputs, of a network and of the same drawn anew.

    Parameters
    ----------
    explain : callable
        From a model and images ``(B, C, *S)`` to their maps ``(B, *S)``, for the same classes.
    images : (B, C, *S) array
        The model's input.
    randomised, layers
        As in `model_parameter_randomisation`.
    samples : int
        How many noisy inputs.
    sigma : float
        Standard deviation of the noise, as a share of each image's range.
    order, similarities, draws, seed, progress
        As in `model_parameter_randomisation`; the noise too is drawn by `seed`.

    Returns
    -------
    Sanity

    Raises
    ------
    InputError, LayerError, MethodError, MissingExtraError
        As `model_parameter_randomisation` does, or `samples` or `sigma` is out of range.

    References
    ----------
    Hedström et al., "A Fresh Look at Sanity Checks for Saliency Maps", xAI 2024, smooth MPRT.
    Quantus takes the image without noise for one of the samples, and divides each map by its
    root mean square before it averages; here maps are averaged as they are.
    """
    images = finite(floating(images, "images"), "Images")

    def averaged(model: Any) -> Array:
        noisy = noisy_inputs(images, samples, sigma, seed)
        total = None
        for one in noisy:
            maps = _maps(explain(model, one))
            total = maps if total is None else total + shaped(maps, total.shape, "Maps")
        return np.asarray(total) / samples

    return model_parameter_randomisation(
        averaged,
        randomised,
        layers,
        order=order,
        similarities=similarities,
        draws=draws,
        seed=seed,
        progress=progress,
    )


def efficient_mprt(maps: Array, maps_of_random: Array, *, bins: int = 100) -> Floats:
    """Measure the relative rise of maps' entropy from a network to one that is wholly random.

    Parameters
    ----------
    maps : (B, *S) array
        Of the network.
    maps_of_random : (B, *S) array
        Of a copy with all layers drawn anew: ``copies(copies.layers, seed)`` of `randomiser`.
    bins : int
        Equal ones between each map's extremes, in which its values are counted for the entropy.

    Returns
    -------
    (B,) float64 array
        (H(random) − H) / H, at least −1; larger is better. NaN where H is 0, as all values
        of the network's map fall in one bin.

    Raises
    ------
    InputError
        The shapes differ, are not (B, *S), or maps are not finite.
    MethodError
        `bins` is below 1.

    References
    ----------
    Hedström et al., "A Fresh Look at Sanity Checks for Saliency Maps", xAI 2024, efficient MPRT.
    Quantus finds the number of bins, 10 to 200, from the values of the batch.
    """
    at_least_one(bins=bins)
    maps = _maps(maps)
    others = shaped(maps_of_random, maps.shape, "Maps of the random network")
    before, after = (
        np.array([_entropy(one, bins) for one in normalise(both, "min_max")])
        for both in (maps, others)
    )
    rise: Floats = np.divide(
        after - before, before, out=np.full_like(before, np.nan), where=before > 0
    )
    return rise


def _entropy(values: Array, bins: int) -> float:
    counts, _ = np.histogram(values, bins=bins, range=(0, 1))
    shares = counts[counts > 0] / values.size
    return float(abs(-(shares * np.log(shares)).sum()))


def _maps(maps: Array) -> Floats:
    maps = np.asarray(maps)
    if maps.ndim < 2 or not maps.size:
        raise InputError(f"Maps of shape {maps.shape} cannot be compared; pass (B, *S).")
    return finite(maps, "Maps").astype(np.float64)


def _mean(values: Floats, axes: tuple[int, ...]) -> Floats:
    """Average what is a number; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axes)
    total = np.where(known, values, 0).sum(axis=axes)
    mean: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean
