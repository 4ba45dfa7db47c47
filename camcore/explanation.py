"""The maps of a batch with what they explain: saved, resized and drawn."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from camcore._shared.atomic import whole
from camcore._shared.reading import read_arrays, reading
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.table import TABLE
from camcore.outputs import look_like_probabilities
from camcore.postprocess import Fusion
from camcore.recipes import PAPER, Blend, OverlayStyle, RecipeLike, find_recipe
from camcore.targets.scale import ACTIVATIONS, DISTRIBUTION, Scale, is_distribution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 1

Frame: TypeAlias = Literal["input", "layer"]
"""What maps lie over: the input's axes, or a layer's own."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Maps of a batch, with what they explain.

    Parameters
    ----------
    maps : (B, *S) float32 array
        The shown maps, in [0, 1] and of the input's spatial size under ``paper``;
        as the recipe has it under others.
    raw : mapping of str to (B, *S) array
        Each layer's signed map, before ReLU, at the layer's own size; its axes are in the
        input's order, and 1 long where the layer has none along the input's.
    scores : (B,) array
        The explained score.
    classes : (B,) int array or None
        The explained class, where the target is about one class: 0 or 1 of one sigmoid unit.
    empty : (B,) bool array
        The map has no positive evidence: all zeros, never NaN.
    outputs : (B, ...) array
        The explained output, before a final softmax or sigmoid where it was left off; the
        explained scores where several outputs are, as of a detector.
    activation : {"softmax", "log_softmax", "sigmoid", "none"} or None
        What makes probabilities of `outputs`: the final activation that was left off, or one
        that is known otherwise. ``"none"`` where nothing does, None where that is not known.
    method, recipe : str
        Names of what made the maps.
    overlay_style : OverlayStyle
        How the recipe lays them over a photograph.
    fusion : {"mean", "max", "product", "sum"}
        How the maps of several layers were joined.
    input : str or None
        Path of the input that the maps lie over, where it was chosen among several.
    applied : {"softmax", "log_softmax", "sigmoid"} or None
        The final activation that `outputs` have been through.
    frame : {"input", "layer"}
        What the maps lie over. ``"layer"``: the layer's axes are not the input's, as of a
        spectrogram made inside the model of a waveform, and the maps stay on the layer's own
        grid, that of the largest of several; `at` brings them to a size of that many axes.
    """

    maps: Array
    raw: Mapping[str, Array]
    scores: Array
    classes: Array | None
    empty: Array
    outputs: Array
    activation: str | None = None
    method: str = "gradcam"
    recipe: str = "paper"
    overlay_style: OverlayStyle = field(default_factory=OverlayStyle)
    fusion: Fusion = "mean"
    input: str | None = None
    applied: str | None = None
    frame: Frame = "input"

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, samples: int | slice | Sequence[int]) -> Explanation:
        """Select samples; the batch axis stays, of length 1 for an int.

        Parameters
        ----------
        samples : int, slice, or sequence of int
            Which samples of the batch.

        Returns
        -------
        Explanation

        Raises
        ------
        IndexError
            There is no such sample.
        """
        index: Any = samples
        if not isinstance(samples, slice):
            index = [samples] if isinstance(samples, int | np.integer) else list(samples)
        arrays = {name: array[index] for name, array in self._arrays().items()}
        return _assemble(self._settings(), arrays)

    @staticmethod
    def concatenate(explanations: Iterable[Explanation]) -> Explanation:
        """Join the batches of explanations, in order.

        Parameters
        ----------
        explanations : iterable of Explanation
            Of the same method, recipe and layers, and of inputs of one size.

        Returns
        -------
        Explanation

        Raises
        ------
        InputError
            There are none, or they differ in more than their samples.
        """
        parts = [(one._settings(), one._arrays()) for one in explanations]
        if not parts:
            raise InputError("There is no explanation to join. Give at least one.")
        settings, first = parts[0]
        for part in parts[1:]:
            expected, found = ({**s, **_shapes(arrays)} for s, arrays in (parts[0], part))
            for name in expected | found:
                if expected.get(name) != found.get(name):
                    raise InputError(
                        f"Explanations that differ in {name} ({expected.get(name)!r} and "
                        f"{found.get(name)!r}) cannot be joined. Join those of the same method, "
                        "recipe and layers, and of inputs of one size."
                    )
        joined = {name: np.concatenate([arrays[name] for _, arrays in parts]) for name in first}
        return _assemble(settings, joined)

    def _settings(self) -> dict[str, Any]:
        """Collect all but the arrays: what a file says about them, and joined batches share."""
        return {
            "layers": list(self.raw),
            "activation": self.activation,
            "applied": self.applied,
            "method": self.method,
            "recipe": self.recipe,
            "overlay_style": vars(self.overlay_style),
            "fusion": self.fusion,
            "input": self.input,
            "frame": self.frame,
        }

    def _arrays(self) -> dict[str, Array]:
        """Collect the arrays, all with a batch axis, by their names in a file."""
        arrays = {
            "maps": self.maps,
            "scores": self.scores,
            "empty": self.empty,
            "outputs": self.outputs,
            **{f"raw_{i}": maps for i, maps in enumerate(self.raw.values())},
        }
        return arrays if self.classes is None else {**arrays, "classes": self.classes}

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the explained layers."""
        return tuple(self.raw)

    @property
    def score(self) -> Literal["logit", "probability", "output"]:
        """What the explained output is: taken before its activation, a probability, or neither.

        ``"probability"`` where the model returns probabilities and the scores before them were
        not asked for, or not to be had, as of a mean of softmaxes.
        """
        scale = self._scale
        if scale.activation in ACTIVATIONS and not scale.applied:
            return "logit"
        dense = self.outputs.ndim > 2 and self.outputs.shape[1] > 1 and self.activation is None
        known = scale.of_probabilities or (dense and look_like_probabilities(self.outputs))
        return "probability" if known else "output"

    @property
    def class_scores(self) -> Array | None:
        """Scores of the classes as they are, ``(B, K)``; None where outputs are none.

        One sigmoid unit scores two: by −z and z, or where it was explained as the model gives
        it by 1 − p and p.
        """
        known = self._scale.activation in ACTIVATIONS
        if self.outputs.ndim == 1 and known:
            return self._scale.sides(self.outputs[:, None])
        return self._scale.sides(self.outputs) if self.outputs.ndim == 2 else None

    @property
    def probabilities(self) -> Array | None:
        """Probabilities of the classes, ``(B, K)``; None where it is not known what makes them.

        They are known where the model ends in a softmax or sigmoid, where its loss, its
        configuration or ``activation=`` tells, or where outputs add up to 1 as they are.
        Several sigmoid units are labels, each with a probability of its own.
        """
        if self.class_scores is None:
            return None
        return self._scale.probabilities(self.outputs.reshape(len(self.outputs), -1))

    @property
    def is_raw_number(self) -> bool:
        """Whether the model gives one number of which nothing is known, as a regression does."""
        bare = self.outputs.ndim == 1 and self.classes is not None and self.activation is None
        return (bare or self.outputs.shape[1:] == (1,)) and self.probabilities is None

    @property
    def _scale(self) -> Scale:
        if self.applied is not None:
            return Scale(self.applied, applied=True)
        if self.activation is None and is_distribution(self.outputs):
            return DISTRIBUTION
        return Scale(self.activation)

    def top(self, count: int = 5) -> list[list[tuple[int, float]]]:
        """Rank the `count` highest classes of each sample, with their probabilities.

        Parameters
        ----------
        count : int
            How many classes; all of them where there are fewer.

        Returns
        -------
        list of list of (int, float)
            For each sample, classes and probabilities, best first; scores as they are where
            `probabilities` is None.

        Raises
        ------
        InputError
            The outputs are not class scores.
        """
        scores = self.class_scores
        if scores is None:
            raise InputError(
                f"Outputs of shape {self.outputs.shape} are no class scores, (B, K), to rank."
            )
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        values = scores if self.probabilities is None else self.probabilities
        return [
            [(int(c), float(row[c])) for c in best] for best, row in zip(order, values, strict=True)
        ]

    def at(self, size: tuple[int, ...], recipe: RecipeLike | None = None) -> Explanation:
        """Make the maps again at another size, from the signed maps.

        Enlarging the signed maps once is sharper than enlarging the shown maps again.

        Parameters
        ----------
        size : tuple of int
            Spatial size, such as a photograph's own ``(H, W)``; of maps on a layer's own grid,
            that of what the layer sees, such as a spectrogram.
        recipe : str or Recipe, optional
            The recipe that made the maps, where it is one of your own.

        Returns
        -------
        Explanation

        Raises
        ------
        InputError
            The size has another number of axes than the maps.
        RecipeError
            The recipe is not known by name.
        """
        if len(size) != self.maps.ndim - 1:
            raise InputError(
                f"Maps of shape {self.maps.shape} have {self.maps.ndim - 1} spatial axes, and the "
                f"size {tuple(size)} has {len(size)}. Give a size of as many, in the order of the "
                "maps' own axes."
            )
        found = find_recipe(self.recipe if recipe is None else recipe)
        signed: Sequence[Array] = list(self.raw.values())
        for row in TABLE:
            if row.name == self.method:
                signed = row.joined(signed, self.fusion)
        maps = found.render(signed, tuple(size), self.fusion, self.method)
        return replace(self, maps=maps)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything into one ``.npz`` file without pickles; `load` reads it back.

        The file appears whole or not at all.

        Parameters
        ----------
        path : str or path
            Replaced where it exists; no suffix is added.

        Raises
        ------
        InputError
            `load` would refuse it: its arrays do not fit one another, or are not finite.
        FileError
            The file cannot be written.
        """
        if fault := _fault(self):
            raise InputError(f"{self!r} is not saved, since it could not be loaded: {fault}.")
        about = np.array(json.dumps({"format": FORMAT, **self._settings()}))
        with whole(Path(path)) as draft, draft.open("wb") as file:
            np.savez_compressed(file, about=about, **self._arrays())  # type: ignore[arg-type]

    def overlay(self, images: Array, **style: Any) -> Array:
        """Lay the maps over photographs.

        Parameters
        ----------
        images : (B, H, W, 3) or (H, W, 3) array
            RGB, uint8, or floating in [0, 1].
        **style
            `colormap`, `alpha` or `blend`, in place of the recipe's.

        Returns
        -------
        (B, H, W, 3) uint8 array
            RGB.

        Raises
        ------
        InputError
            The maps lie on the layer's own grid, not over the input.
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        from camcore.viz import overlay

        self._check_over_input("laid over images")
        return overlay(images, self.maps, **{**vars(self.overlay_style), **style})

    def by_layer(self, recipe: RecipeLike | None = None) -> dict[str, Explanation]:
        """Split into an explanation of each layer, its maps made from that layer alone.

        Parameters
        ----------
        recipe : str or Recipe, optional
            The recipe that made the maps, where it is one of your own.

        Returns
        -------
        dict of str to Explanation

        Raises
        ------
        RecipeError
            The recipe is not known by name.
        """
        size = self.maps.shape[1:]
        return {
            name: replace(self, raw={name: maps}).at(size, recipe)
            for name, maps in self.raw.items()
        }

    def figure(
        self,
        images: Array | None = None,
        kind: Literal["map", "signed", "layers"] = "map",
        *,
        names: Sequence[str] | None = None,
        **options: Any,
    ) -> Figure:
        """Draw the maps as a matplotlib Figure, a row for each sample.

        Parameters
        ----------
        images : (B, H, W, 3), (B, D, H, W), (B, L), (B, C, L) or (B, L, C) array, optional
            What is explained, for people: RGB, uint8 or floating in [0, 1]; grey volumes;
            signals as the model takes them. Without them only the maps are shown.
        kind : {"map", "signed", "layers"}
            Photograph, heat map and overlay; the same of the signed map, in diverging
            colours; or a column for each layer. Volumes are drawn in three planes, signals
            as traces in the colours of their map.
        names : sequence of str, optional
            Names of the classes by index: each row then says which class is explained by its
            name, and beside it are the five most probable.
        **options
            `model`, the model's name, for the heading; `letters=True` for (a), (b), ... before
            titles; `caption=True` for a caption below in place of the heading, whose text
            `camcore.viz.caption_text` gives. The others are as `camcore.viz.figure`, `grid`,
            `volume_figure` or `signal_figure` take them: `colormap`, `marks`, ...

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            The images do not match the samples, the maps lie on the layer's own grid, not
            over the images, or there is no such kind.
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        from camcore.viz.explanation import explanation_figure

        if images is not None:
            self._check_over_input("drawn over images")
        return explanation_figure(self, images, kind, names=names, **options)

    def _check_over_input(self, what: str) -> None:
        """Refuse to do what takes maps that lie over the input."""
        if self.frame == "layer":
            raise InputError(
                f"The maps of {', '.join(self.layers)} lie on the layer's own grid "
                f"{self.maps.shape[1:]}, not over the model's input, so they cannot be {what}. "
                "Draw them alone, explanation.figure(), or bring them to the size of what the "
                "layer sees, explanation.at(size).maps, and lay them over a picture of that."
            )

    def _repr_html_(self) -> str:
        from camcore.viz.explanation import html

        return html(self)

    def _repr_png_(self) -> bytes | None:
        from camcore.viz.explanation import png

        return png(self)

    def __repr__(self) -> str:
        classes = "" if self.classes is None else f", classes={self.classes.tolist()}"
        over = "" if self.input is None else f" over input {self.input!r}"
        classes += " (one raw number)" if classes and self.is_raw_number else ""
        over += " on the layer's own grid" if self.frame == "layer" else ""
        score = f", score {self.score}" if self.score == "probability" else ""
        return (
            f"Explanation({self.method} of {len(self)} at {', '.join(self.layers)}{classes}"
            f"{score}, maps {self.maps.shape}{over}, recipe {self.recipe!r})"
        )


def _shapes(arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {f"the shape of {name}": array.shape[1:] for name, array in arrays.items()}


def _assemble(settings: Mapping[str, Any], arrays: Mapping[str, Array]) -> Explanation:
    """Make an explanation of what `_settings` and `_arrays` collect."""
    return Explanation(
        maps=arrays["maps"],
        raw={name: arrays[f"raw_{i}"] for i, name in enumerate(settings["layers"])},
        scores=arrays["scores"],
        classes=arrays.get("classes"),
        empty=arrays["empty"],
        outputs=arrays["outputs"],
        activation=settings["activation"],
        applied=settings.get("applied"),  # earlier files lack it
        method=settings["method"],
        recipe=settings["recipe"],
        overlay_style=OverlayStyle(**settings["overlay_style"]),
        fusion=settings["fusion"],
        input=settings.get("input"),
        frame=settings.get("frame", "input"),
    )


def load(path: str | os.PathLike[str]) -> Explanation:
    """Read an explanation that `Explanation.save` wrote.

    Everything is checked before it is returned: names, shapes, dtypes, ranges, that numbers
    are finite. Nothing in the file is run.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    Explanation

    Raises
    ------
    InputError
        The file is not one, is damaged, or contradicts itself.
    MissingFileError
        There is no such file.
    """
    path = Path(path)
    expected = "a file that Explanation.save wrote"
    with reading(path, expected, refusal="is no explanation saved by camcore"):
        with path.open("rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
                raise ValueError("it is one bare array")
        arrays = read_arrays(path)
        about = json.loads(str(arrays.pop("about")))
        if about["format"] != FORMAT:
            raise InputError(
                f"{path} has format {about['format']}; this version reads format {FORMAT}."
            )
        if not isinstance(about["layers"], list):
            raise TypeError(f"its layers {about['layers']!r} are no list")
        explanation = _assemble(about, arrays)
        unknown = (about.keys() - {"format", *explanation._settings()}) | (
            arrays.keys() - explanation._arrays().keys()
        )
        if unknown or len(set(about["layers"])) < len(about["layers"]):
            raise ValueError(f"layers {about['layers']}, with {sorted(unknown)} of no known use")
        if fault := _fault(explanation):
            raise ValueError(fault)
        return explanation


def _fault(one: Explanation) -> str:
    """Say what of an explanation contradicts what `Explanation` says of it; empty for nothing."""
    names = [*one.raw, one.method, one.recipe, one.overlay_style.colormap]
    if not all(isinstance(name, str) and name for name in names):
        return f"its layers, method, recipe and colour map are to be named, not {names}"
    if not isinstance(one.input, str | None):
        return f"its input is to be a path, not {one.input!r}"
    for name, value, known in (
        ("activation", one.activation, (None, "none", *ACTIVATIONS)),
        ("applied", one.applied, (None, *ACTIVATIONS)),
        ("fusion", one.fusion, get_args(Fusion)),
        ("frame", one.frame, get_args(Frame)),
        ("blend", one.overlay_style.blend, get_args(Blend)),
    ):
        if value not in known:
            return f"{name} is {value!r}, not one of {known}"
    alpha = one.overlay_style.alpha
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha <= 1:
        return f"alpha is {alpha!r}, not a number from 0 to 1"
    for name, array in one._arrays().items():
        kinds, ranks = _KINDS.get(name, ("f", range(2, 5)))
        if array.dtype.kind not in kinds or array.ndim not in ranks or 0 in array.shape[1:]:
            return f"{name} has dtype {array.dtype} and shape {array.shape}"
        if len(array) != len(one):
            return f"{name} is of {len(array)} samples, and maps of {len(one)}"
        if not np.isfinite(array).all():
            return f"{name} has values that are NaN or infinite"
    # Interpolation rounds: between two ones it may be above one by the last bit.
    if one.recipe == PAPER.name and np.any(np.abs(one.maps - 0.5) > 0.5 + 1e-6):
        return "its maps leave [0, 1], which those of the recipe paper do not"
    # Where nothing was detected the class is -1.
    count = np.inf if one.class_scores is None else one.class_scores.shape[1]
    if one.classes is not None and not np.all((one.classes >= -1) & (one.classes < count)):
        return f"its classes {one.classes.tolist()} are not of the {count} that outputs score"
    return ""


_KINDS: Mapping[str, tuple[str, range]] = {
    "scores": ("iuf", range(1, 2)),
    "classes": ("iu", range(1, 2)),
    "empty": ("b", range(1, 2)),
    "outputs": ("biuf", range(1, 33)),
}
"""Kinds of dtype and numbers of axes of arrays, by name; maps are floating ``(B, *S)``."""
