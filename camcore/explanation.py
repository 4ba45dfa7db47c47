"""The maps of a batch with what they explain: saved, resized and drawn."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore._shared.atomic import check_apart, whole
from camcore._shared.reading import read_arrays, reading
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.medical.space import check_affines, resized_affine
from camcore.methods.table import TABLE
from camcore.metrics.boxes import Component, boxes_of, mask_of
from camcore.outputs import look_like_probabilities
from camcore.photos.crop import Crop
from camcore.photos.io import write_image
from camcore.photos.photo import Photo
from camcore.photos.prepared import PhotoInput
from camcore.postprocess import Fusion
from camcore.recipes import PAPER, Blend, OverlayStyle, RecipeLike, find_recipe
from camcore.targets.scale import ACTIVATIONS, DISTRIBUTION, Scale, is_distribution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from camcore import Evaluation

FORMAT = 1

_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pdf", ".svg")

_LARGEST = 2**20
"""How many pixels a side a photograph is never scaled to."""

_VIEW = 448
"""About how many pixels a side a photograph has in a figure."""

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
    fusion : {"mean", "max", "product", "sum", "root", "exp_mean", "log_exp"}
        How the maps of several layers were joined.
    input : str or None
        Path of the input that the maps lie over, where it was chosen among several.
    applied : {"softmax", "log_softmax", "sigmoid"} or None
        The final activation that `outputs` have been through.
    frame : {"input", "layer"}
        What the maps lie over. ``"layer"``: the layer's axes are not the input's, as of a
        spectrogram made inside the model of a waveform, and the maps stay on the layer's own
        grid, that of the largest of several; `at` brings them to a size of that many axes.
    photographs : tuple of B PhotoInput
        Where photographs were given to be explained, each with what of it the model saw.
    preprocessing : str or None
        What was done to the photographs before the model saw them, in words.
    names : tuple of str or None
        Names of the classes by index, where they are known.
    by_channel : (B, C, *S) array or None
        Of methods that join an attribution of each of the input's channels, such as the leads
        of a signal or the bands of an image: what `raw` is joined from, before its channels are
        summed, say, or the largest is taken. C as the input has them, whatever its layout.
        None for all others.
    affines : (B, 4, 4) float64 array or None
        From the voxels of maps ``(B, I, J, K)`` to millimetres in RAS+, where volumes that know
        it were explained, such as MONAI's MetaTensors.
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
    photographs: tuple[PhotoInput, ...] = field(default=(), repr=False)
    preprocessing: str | None = None
    names: tuple[str, ...] | None = None
    by_channel: Array | None = None
    affines: Array | None = None

    def __len__(self) -> int:
        return len(self.maps)

    def __iter__(self) -> Iterator[Explanation]:
        return (self[sample] for sample in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False and dtype not in (None, self.maps.dtype):
            raise ValueError(f"Maps of {self.maps.dtype} become {dtype} by a copy alone.")
        return np.array(self.maps, dtype=dtype, copy=bool(copy) or dtype is not None)

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
        of_samples = np.arange(len(self))[index] if self.photographs else ()
        photographs = tuple(self.photographs[i] for i in of_samples)
        return put_together(self._settings(), arrays, photographs)

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
        explanations = list(explanations)
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
        photographs = [photo for one in explanations for photo in one.photographs]
        kept = photographs if len(photographs) == len(joined["maps"]) else ()
        return put_together(settings, joined, tuple(kept))

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
            "preprocessing": self.preprocessing,
            "names": None if self.names is None else list(self.names),
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
        at_times = {
            "classes": self.classes,
            "by_channel": self.by_channel,
            "affines": self.affines,
        }
        return arrays | {name: some for name, some in at_times.items() if some is not None}

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
        if isinstance(size, (int, np.integer)):
            one = ", ".join([str(size)] * (self.maps.ndim - 1))
            raise InputError(f"size={size}; a size is a length for each axis: at(({one})).")
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
        affines = self.affines
        if affines is not None:
            affines = resized_affine(affines, self.maps.shape[1:], size)
        return replace(self, maps=maps, affines=affines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything into one ``.npz`` file without pickles; `load` reads it back.

        The file appears whole or not at all. Photographs that were explained are kept in it.

        Parameters
        ----------
        path : str or path
            Replaced where it exists; no suffix is added.

        Raises
        ------
        InputError
            `load` would refuse it: its arrays do not fit one another, or are not finite. Or the
            path ends as a picture's does.
        FileError
            The file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() in _PICTURES:
            raise InputError(
                f"{path} has the ending of a picture, and save writes arrays that camcore.load "
                "reads back. Give a name that ends in .npz; pictures are written by "
                "explanation.save_overlay(path) and explanation.figure().savefig(path)."
            )
        if fault := _fault(self):
            raise InputError(f"{self!r} is not saved, since it could not be loaded: {fault}.")
        photographs = [_about(photo) for photo in self.photographs]
        said = {"format": FORMAT, **self._settings(), "photographs": photographs}
        pictures = {f"photo_{i}": one.photo for i, one in enumerate(self.photographs)}
        about = np.array(json.dumps(said))
        with whole(path) as draft, draft.open("wb") as file:
            np.savez_compressed(file, about=about, **self._arrays(), **pictures)  # type: ignore[arg-type]

    def overlay(
        self,
        images: Array | None = None,
        *,
        crop: Crop | Sequence[Crop] | None = None,
        stretch: bool = False,
        **style: Any,
    ) -> Any:
        """Lay the maps over photographs.

        Parameters
        ----------
        images : (B, H, W, 3) or (H, W, 3) array, optional
            RGB, or grey, (B, H, W), (B, 1, H, W) or (H, W); uint8, or floating in [0, 1]. What
            the model saw of the photographs, or with `crop` the photographs themselves. Left
            out, they are the photographs that were given to be explained, with the maps where
            the model saw what they show.
        crop : Crop, or B of them, optional
            Where in `images` lies what the model saw, such as
            ``camcore.photos.CentreCrop(photo.shape, 224, 256)``.
        stretch : bool
            Lay the maps over images of another aspect ratio than theirs, as of a model that was
            shown them stretched.
        **style
            `colormap`, `alpha` or `blend`, in place of the recipe's.

        Returns
        -------
        (B, H, W, 3) uint8 array, or B arrays (H, W, 3)
            RGB; a list where photographs differ in size.

        Raises
        ------
        InputError
            The maps lie on the layer's own grid, not over the input; or images have another
            aspect ratio than the maps, and it is not said where in them the maps lie; or there
            are none.
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        from camcore.viz import overlay
        from camcore.viz.arrays import channels_last
        from camcore.viz.photograph import heat_of, overlay_over

        self._check_over_input("laid over images")
        if images is None:
            if crop is not None:
                raise InputError("crop= says where in images the maps lie. Give the images too.")
            look = replace(self.overlay_style, **style)
            maps = map(heat_of, self.maps)
            pictures = [
                overlay_over(one.photo, heat, self._crop_of(one, stretch), look, exact=True)
                for one, heat in zip(self._given(), maps, strict=True)
            ]
            same = len({picture.shape for picture in pictures}) == 1
            return np.stack(pictures) if same else pictures
        images = channels_last(images)
        if crop is None and self.photographs and self._are_photographs(images):
            crop = [self._crop_of(one, stretch) for one in self.photographs]
        if crop is not None:
            crops = [crop] * len(self) if isinstance(crop, Crop) else list(crop)
            laid = zip(self.maps, crops, strict=True)
            maps_of = np.stack([one.to_photo(heat) for heat, one in laid])
        else:
            maps_of = self.maps
            if not stretch:
                self._check_aspect(np.shape(images))
        return overlay(images, maps_of, **{**vars(self.overlay_style), **style})

    def save_overlay(
        self, path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **style: Any
    ) -> None:
        """Write the overlays of the photographs that were explained.

        Parameters
        ----------
        path : path, or B paths
            A name for each photograph. What ends in ``.jpg`` becomes a JPEG, all else a PNG; each
            file appears whole or not at all.
        **style
            As `overlay` takes it, `stretch` included.

        Raises
        ------
        InputError
            There are more or fewer names than photographs, or one is of a photograph itself.
        FileError
            A file cannot be written.
        """
        names: Sequence[Any] = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        if len(names) != len(self):
            raise InputError(
                f"{len(names)} names were given for {len(self)} overlays. Give one for each: "
                "save_overlay(['one.png', 'two.png'])."
            )
        sources = [one.path for one in self._given() if one.path is not None]
        check_apart(sources, list(map(Path, names)))
        for name, picture in zip(names, self.overlay(**style), strict=True):
            write_image(name, picture)

    def save_nifti(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        like: Any = None,
        *,
        stretch: bool = False,
    ) -> None:
        """Write the maps of volumes as NIfTI files that lie over the volumes in any viewer.

        Parameters
        ----------
        path : path, or B paths
            A name for each map, in ``.nii.gz`` or ``.nii``; each file appears whole or not at all.
        like : path, nibabel image, Volume, MetaTensor, (4, 4) array, or B of these, optional
            What was explained, or its affine, from voxels to millimetres in RAS+: a NIfTI file,
            a DICOM series' folder, what `camcore.medical.read_volume` read. Left out, the
            affines that the explained volumes brought with them, as MONAI's do.
        stretch : bool
            Make the maps again at the size of `like`, of which the model was shown all, only at
            another size.

        Raises
        ------
        InputError
            These are no maps of volumes, or lie on the layer's own grid; there are more or fewer
            names than maps; it is not known where the voxels lie; maps and volumes differ in
            size; or a name ends otherwise.
        FileError
            A file cannot be written, or is one that `like` was read from.
        MissingExtraError
            The extra ``medical`` is not installed.
        """
        from camcore.medical.maps import save_maps

        self._check_over_input("written over volumes")
        save_maps(self, path, like, stretch)

    def maps_on_photographs(self) -> list[Array]:
        """Lay each map over its whole photograph.

        Returns
        -------
        list of B (H, W) float32 arrays
            In [0, 1], and 0 where the model did not look.

        Raises
        ------
        InputError
            No photographs were given to be explained, or it is not known what the model saw of
            one.
        """
        from camcore.viz.photograph import heat_of, map_over

        self._check_over_input("laid over photographs")
        return [
            map_over(one.photo, heat_of(shown), self._crop_of(one))
            for one, shown in zip(self._given(), self.maps, strict=True)
        ]

    def mask(self, threshold: float = 0.5) -> list[npt.NDArray[np.bool_]]:
        """Mark where each map reaches a share of its largest value.

        Parameters
        ----------
        threshold : float in (0, 1]
            The share.

        Returns
        -------
        list of B bool arrays
            Of each photograph's size, where photographs were explained, else of the map's.

        Raises
        ------
        InputError
            As `camcore.metrics.mask_of` raises it.
        """
        return [mask_of(heat, threshold) for heat in self._heats()]

    def boxes(self, threshold: float = 0.5, component: Component = "largest") -> list[Array]:
        """Find the boxes around what `mask` marks.

        Parameters
        ----------
        threshold : float in (0, 1]
            The share of each map's largest value.
        component : {"largest", "all"}
            The connected region with most pixels, or every region, largest first.

        Returns
        -------
        list of B (n, 4) int arrays
            ``left, top, right, bottom``, in pixels of the photograph where photographs were
            explained, else of the map.

        Raises
        ------
        InputError
            As `camcore.metrics.boxes_of` raises it.
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        return [boxes_of(heat, threshold, component) for heat in self._heats()]

    def _heats(self) -> list[Array]:
        """List the maps in [0, 1], over the photographs where there are some."""
        from camcore.viz.photograph import heat_of

        if self.photographs and self.frame == "input":
            return self.maps_on_photographs()
        return [heat_of(shown) for shown in self.maps]

    def evaluate(self, model: object, inputs: Any = None, **options: Any) -> Evaluation:
        """Evaluate these maps by metrics, as `camcore.evaluate` evaluates the methods it is given.

        Parameters
        ----------
        model : torch.nn.Module, keras.Model, camcore.adapter.Adapter, LoadedModel, or path
            The one that was explained.
        inputs : array, tensor, or nest of these; or photographs
            What was explained. Left out, the photographs that the explanation keeps.
        **options
            `metrics`, `masks`, `controls` and all others of `camcore.evaluate`. Class, layers,
            recipe and activation are those of the explanation; what it does not remember,
            such as `preprocess`, a method's own options or a `target` that is no class, is to be
            said again where it was said.

        Returns
        -------
        Evaluation

        Raises
        ------
        InputError
            Arrays were explained and are not given, other inputs are given, or an option does
            not fit; and what `camcore.evaluate` raises.
        """
        from camcore import evaluate  # which is built on this

        if inputs is None:
            inputs = [_again(one) for one in self._given()]
        return evaluate(model, inputs, options.pop("target", None), methods=self, **options)

    def show(self, **options: Any) -> None:
        """Show the figure: in the notebook, else in a window of the system's picture viewer.

        Parameters
        ----------
        **options
            As `figure` takes them.

        Raises
        ------
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        from camcore.viz.export import show_figure

        show_figure(self.figure(**options))

    def _given(self) -> tuple[PhotoInput, ...]:
        """Take the photographs that were explained."""
        if not self.photographs:
            raise InputError(
                "Arrays were explained, not photographs. Give what the model saw as pictures, "
                "explanation.overlay(images) or evaluate(model, inputs), or explain photographs: "
                "camcore.explain(model, 'cat.jpg', preprocess=...)."
            )
        return self.photographs

    def _crop_of(self, one: PhotoInput, stretch: bool = False) -> Crop:
        """Take what the model saw of a photograph."""
        if one.crop is None and not stretch:
            raise InputError(
                f"It is not known what the model saw of a photograph of {one.photo.shape[:2]} "
                f"pixels: {self.preprocessing} does more than scale, crop and fill up. Say it, "
                "overlay(photo, crop=camcore.photos.CentreCrop(photo.shape, 224, 256)), or lay "
                "the map over all of it: overlay(stretch=True)."
            )
        return one.crop or Crop.whole(one.photo.shape, self._grid)

    def _are_photographs(self, images: Array) -> bool:
        """Tell whether images have the size of the photographs that were explained."""
        sizes = {one.photo.shape[:2] for one in self.photographs}
        return sizes == {np.shape(images)[-3:-1]}

    @property
    def _grid(self) -> tuple[int, int]:
        height, width = self.maps.shape[1:]
        return height, width

    def _check_aspect(self, shape: tuple[int, ...]) -> None:
        """Refuse images that the maps, enlarged alike along both axes, would not cover."""
        sides = shape[-3:-1]
        if shape[-1:] not in ((1,), (3,)):
            return  # no images, or with the channel axis elsewhere, which is said in other words
        if self.maps.ndim != 3 or len(sides) != 2 or 0 in sides:
            return
        (height, width), (rows, columns) = sides, self._grid
        # Libraries round the other side down, and maps are at times of a layer's own grid.
        if abs(height * columns / width - rows) >= 1:
            raise InputError(
                f"The images are {height} by {width} pixels and the maps {rows} by {columns}, of "
                "another aspect ratio, so that a map laid over them would lie beside what it is "
                "of. Give the photographs to camcore.explain; or say where in them lies what the "
                "model saw, overlay(images, crop=camcore.photos.CentreCrop(image.shape, 224, 256))"
                "; or stretch the maps on purpose, as where the model was shown stretched "
                "photographs: overlay(images, stretch=True)."
            )

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
        kind: Literal["map", "signed", "layers", "channels"] = "map",
        *,
        names: Sequence[str] | None = None,
        **options: Any,
    ) -> Figure:
        """Draw the maps as a matplotlib Figure, a row for each sample.

        Parameters
        ----------
        images : (B, H, W, 3), (B, D, H, W), (B, L), (B, C, L) or (B, L, C) array, optional
            What is explained, for people: RGB, or grey (B, H, W), uint8 or floating in [0, 1];
            grey volumes, as arrays or each a `camcore.medical.Volume`; signals as the model takes
            them. Left out, what the model saw of the photographs that were explained; of arrays,
            only the maps are shown.
        kind : {"map", "signed", "layers", "channels"}
            Photograph, heat map and overlay; the same of the signed map, in diverging
            colours; a column for each layer; or, of input attributions, for each band of an
            image. Volumes are drawn in three planes, signals as traces in the colours of their
            map, or by ``"channels"`` each lead in its own.
        names : sequence of str, optional
            Names of the classes by index, in place of the explanation's own: each row then says
            which class is explained by its name, and beside it are the five most probable.
        **options
            `top`, how many classes are beside it; `model`, the model's name, for the heading;
            `letters=True` for (a), (b), ... before titles; `caption=True` for a caption below in
            place of the heading, whose text `camcore.viz.caption_text` gives. The others are as
            `camcore.viz.figure`, `grid`, `volume_figure` or `signal_figure` take them:
            `colormap`, `marks`, ...; names of `channels`, and `rate`, `times` or `frequencies`
            of signals and spectrograms; of volumes `window`, `contour`, `convention`.

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

        names = self.names if names is None else names
        if images is None and self.photographs and self.frame == "input" and self.maps.ndim == 3:
            images = self.views()
        if images is not None:
            self._check_over_input("drawn over images")
        return explanation_figure(self, images, kind, names=names, **options)

    def views(self) -> Array | None:
        """Show what the model saw of the photographs that were explained.

        Returns
        -------
        (B, h, w, 3) uint8 array or None
            RGB, of the maps' aspect ratio; None where arrays were explained, or it is not known
            what the model saw.
        """
        crops = [one.crop for one in self.photographs]
        known = [crop for crop in crops if crop is not None]
        if not crops or len(known) < len(crops):
            return None
        scale = max(1, round(_VIEW / max(self._grid)))
        size = self._grid[0] * scale, self._grid[1] * scale
        pairs = zip(self.photographs, known, strict=True)
        return np.stack([crop.view(one.photo, size) for one, crop in pairs])

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


def taken_apart(one: Explanation) -> tuple[dict[str, Any], dict[str, Array]]:
    """Split an explanation into settings, as JSON has them, and arrays with a batch axis."""
    return one._settings(), one._arrays()


def put_together(
    settings: Mapping[str, Any],
    arrays: Mapping[str, Array],
    photographs: tuple[PhotoInput, ...] = (),
) -> Explanation:
    """Make an explanation of what `taken_apart` returns, and of photographs."""
    names = settings.get("names")
    return Explanation(
        maps=arrays["maps"],
        raw={name: arrays[f"raw_{i}"] for i, name in enumerate(settings["layers"])},
        scores=arrays["scores"],
        classes=arrays.get("classes"),
        affines=arrays.get("affines"),
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
        photographs=photographs,
        preprocessing=settings.get("preprocessing"),
        names=None if names is None else tuple(names),
        by_channel=arrays.get("by_channel"),
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
        said = about.pop("photographs", [])
        pictures = [arrays.pop(f"photo_{i}") for i in range(len(said))]
        photographs = tuple(map(_photograph, said, pictures))
        explanation = put_together(about, arrays, photographs)
        unknown = (about.keys() - {"format", *explanation._settings()}) | (
            arrays.keys() - explanation._arrays().keys()
        )
        if unknown or len(set(about["layers"])) < len(about["layers"]):
            raise ValueError(f"layers {about['layers']}, with {sorted(unknown)} of no known use")
        if fault := _fault(explanation):
            raise ValueError(fault)
        return explanation


def _again(one: PhotoInput) -> Photo:
    """Take a photograph as a model takes it."""
    if one.value_range is None:
        return Photo(one.photo, path=one.path)
    if one.path is None:
        raise InputError(
            "A photograph of more than 8 bits is kept for looking at alone. Give what was "
            "explained: explanation.evaluate(model, photographs)."
        )
    return Photo.read(one.path, value_range=one.value_range)


def _about(photo: PhotoInput) -> dict[str, Any]:
    """Describe a photograph but for its pixels."""
    crop = photo.crop
    sides = None if crop is None else [*crop.grid, *crop.scaled, *crop.corner]
    path = None if photo.path is None else str(photo.path)
    return {"crop": sides, "value_range": photo.value_range, "path": path}


def _photograph(about: Mapping[str, Any], picture: Array) -> PhotoInput:
    """Make a photograph of what `_about` says and its pixels."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a photograph has dtype {picture.dtype} and shape {picture.shape}")
    crop, path, levels = about["crop"], about["path"], about["value_range"]
    if crop is not None:
        rows, columns, height, width, top, left = map(int, crop)
        if max(rows, columns, height, width) > _LARGEST:
            raise ValueError(f"a photograph was scaled to {height} by {width} pixels")
        crop = Crop(picture.shape, (rows, columns), (height, width), (top, left))
    if levels is not None:
        low, high = map(float, levels)
        levels = low, high
    return PhotoInput(picture, crop, None, levels, None if path is None else Path(str(path)))


def _fault(one: Explanation) -> str:
    """Say what of an explanation contradicts what `Explanation` says of it; empty for nothing."""
    names = [*one.raw, one.method, one.recipe, one.overlay_style.colormap]
    if not all(isinstance(name, str) and name for name in names):
        return f"its layers, method, recipe and colour map are to be named, not {names}"
    if one.photographs and len(one.photographs) != len(one):
        return f"it has {len(one.photographs)} photographs of {len(one)} samples"
    if one.names is not None and not all(isinstance(name, str) for name in one.names):
        return "its classes are to be named by strings"
    if one.affines is not None:
        try:
            check_affines(one.affines, len(one))
        except InputError as error:
            return f"its affines are none: {error}"
    if not isinstance(one.preprocessing, str | None):
        return f"its preprocessing is to be said in words, not {one.preprocessing!r}"
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
    if one.by_channel is not None:
        sizes = {maps.shape[1:] for maps in one.raw.values()}
        if sizes != {one.by_channel.shape[2:]}:
            return f"by_channel has shape {one.by_channel.shape}, not that of its one signed map"
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
    "by_channel": ("f", range(3, 6)),
    "affines": ("f", range(3, 4)),
}
"""Kinds of dtype and numbers of axes of arrays, by name; maps are floating ``(B, *S)``."""
