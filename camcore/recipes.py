"""Conventions as data: how a signed map becomes the map that a library shows.

A recipe says which score is explained, which variant of a method is meant, and
which steps turn each layer's signed map into the shown one, in which order.
Nothing branches on a recipe's name.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np

from camcore import postprocess
from camcore.errors import RecipeError
from camcore.methods import variants
from camcore.methods.table import Method, MethodLike, find
from camcore.postprocess import Fusion, Scale
from camcore.resize import Interpolation, resize
from camcore.trace import Array


class Step(Protocol):
    """One step from the signed map towards the shown one."""

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``; `size` is the input's spatial size."""
        ...


@dataclass(frozen=True)
class Relu:
    """Keep what is positive."""

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``."""
        return postprocess.relu(maps)

    def __str__(self) -> str:
        return "ReLU"


@dataclass(frozen=True)
class Normalise:
    """Scale each map by its own extremes; see `camcore.postprocess.normalise`."""

    scale: Scale = "max"
    eps: float = 0.0

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``."""
        return postprocess.normalise(maps, self.scale, eps=self.eps)

    def __str__(self) -> str:
        eps = f" + {self.eps:g}" if self.eps else ""
        if self.scale == "max":
            return f"x / (max{eps})" if eps else "x / max"
        return f"(x - min) / (max - min{eps})"


@dataclass(frozen=True)
class Resize:
    """Bring the map to the input's spatial size."""

    interpolation: Interpolation = field(default_factory=Interpolation)

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``; left alone where the input has another rank."""
        return resize(maps, size, self.interpolation) if len(size) == maps.ndim - 1 else maps

    def __str__(self) -> str:
        how = self.interpolation
        kind = f"cubic (a = {how.cubic_coefficient:g})" if how.kind == "cubic" else how.kind
        return f"resize to the input, {kind}, {how.coordinates.replace('_', ' ')}"


@dataclass(frozen=True)
class OverlayStyle:
    """How a library lays heat over a photograph.

    Parameters
    ----------
    colormap : str
        Name of a colour map, as matplotlib or OpenCV has it.
    alpha : float
        Weight of the heat.
    blend : {"mix", "mix_peak", "add_clip", "add_rescale"}
        ``mix``: (1 − alpha) · image + alpha · heat. ``mix_peak``: the same, divided by
        the picture's largest value. ``add_clip``: alpha · heat +
        image, clipped to the range. ``add_rescale``: the same, stretched to the
        range as ``keras.utils.array_to_img`` does.
    """

    colormap: str = "inferno"
    alpha: float = 0.5
    blend: Literal["mix", "mix_peak", "add_clip", "add_rescale"] = "mix"


@dataclass(frozen=True)
class Recipe:
    """A published convention.

    Parameters
    ----------
    name : str
        What it is called by.
    source : str
        Where the convention stands.
    score : {"logit", "output"}
        Explain the score before a final softmax or sigmoid, or the output as
        the model gives it.
    layer_steps : tuple of Step
        Applied to each layer's signed map.
    fusion : {"mean", "max", "product", "sum"}
        How the layers' maps are joined.
    final_steps : tuple of Step
        Applied to the joined map.
    methods : mapping of str to Method
        The library's variants of methods, by canonical name; other methods are
        the paper's.
    overlay : OverlayStyle
        How it is laid over a photograph.
    notes : tuple of str
        What differs from the paper, known defects included.
    """

    name: str
    source: str
    score: Literal["logit", "output"] = "logit"
    layer_steps: tuple[Step, ...] = (Relu(), Resize(), Normalise())
    fusion: Fusion = "mean"
    final_steps: tuple[Step, ...] = (Normalise(),)
    methods: Mapping[str, Method] = field(default_factory=dict)
    overlay: OverlayStyle = field(default_factory=OverlayStyle)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.score not in ("logit", "output"):
            raise RecipeError(f"score={self.score!r}; a recipe explains the 'logit' or 'output'.")
        if self.fusion not in get_args(Fusion):
            raise RecipeError(
                f"fusion={self.fusion!r}; layers are joined by {', '.join(get_args(Fusion))}."
            )

    def method(self, name: MethodLike) -> Method:
        """The recipe's variant of a method.

        Parameters
        ----------
        name : str or Method
            A `Method` is taken as it is.

        Returns
        -------
        Method

        Raises
        ------
        MethodError
            There is no such method.
        """
        method = find(name)
        # A row with its own options was chosen on purpose.
        return method if isinstance(name, Method) else self.methods.get(method.name, method)

    def render(
        self, raw: Sequence[Array], size: tuple[int, ...], fusion: Fusion | None = None
    ) -> Array:
        """Turn signed maps into the shown one.

        Parameters
        ----------
        raw : sequence of (B, *S) array
            The signed map of each layer.
        size : tuple of int
            Spatial size of the input.
        fusion : str, optional
            In place of the recipe's own.

        Returns
        -------
        (B, *size) float32 array
            Or of the layer's size, where the recipe does not resize.
        """
        layers = [_apply(self.layer_steps, maps, size) for maps in raw]
        fused = postprocess.fuse(layers, fusion or self.fusion)
        return _apply(self.final_steps, fused, size).astype(np.float32)

    def derive(self, name: str, source: str = "", **changes: Any) -> Recipe:
        """A recipe of your own that changes some fields of this one.

        Parameters
        ----------
        name, source : str
            What the new one is called, and where it stands.
        **changes
            Fields of `Recipe`.

        Returns
        -------
        Recipe

        Raises
        ------
        RecipeError
            There is no such field, or its value contradicts the rest.
        """
        known = inspect.signature(Recipe).parameters
        unknown = [change for change in changes if change not in known]
        if unknown:
            raise RecipeError(f"A recipe has no field {unknown[0]!r}; it has {', '.join(known)}.")
        source = source or f"derived from {self.name!r}"
        return replace(self, name=name, source=source, **changes)

    def describe(self) -> str:
        """What the recipe does, as text for people."""
        lines = [
            f"{self.name}: {self.source}",
            f"  score     {self.score}",
            f"  each map  {' -> '.join(map(str, self.layer_steps)) or 'as it is'}",
            f"  layers    {self.fusion}"
            + (f" -> {' -> '.join(map(str, self.final_steps))}" if self.final_steps else ""),
        ]
        for method in self.methods.values():
            equation = (inspect.getdoc(method.function) or "no description").splitlines()[0]
            options = ", ".join(f"{key}={value}" for key, value in method.options.items())
            lines.append(f"  {method.label}  {equation}" + (f" ({options})" if options else ""))
        style = self.overlay
        lines.append(f"  overlay   {style.colormap}, alpha {style.alpha:g}, {style.blend}")
        lines += [f"  note      {note}" for note in self.notes]
        return "\n".join(lines)


PAPER = Recipe(
    name="paper",
    source="the methods' papers: logit, ReLU, linear interpolation, division by the maximum",
)

TABLE: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        PAPER,
        Recipe(
            name="keras-io",
            source="keras.io/examples/vision/grad_cam",
            layer_steps=(Relu(), Normalise()),
            final_steps=(),
            methods={
                "gradcam": replace(find("gradcam"), function=variants.gradcam_batch_mean),
            },
            overlay=OverlayStyle("jet", 0.4, "add_rescale"),
            notes=(
                "gradients are averaged over the batch as well as over space, so the images of "
                "a batch share their weights; explain them one at a time to have their own",
                "the map stays at the layer's size; the example resizes the coloured picture",
            ),
        ),
        Recipe(
            name="notebook",
            source="the ResNet-50 hook tutorials: (x - min) / (max - min + 1e-8) after cv2.resize",
            layer_steps=(Relu(), Resize(), Normalise("min_max", 1e-8)),
            final_steps=(),
            overlay=OverlayStyle("jet", 0.4, "add_clip"),
        ),
    )
}

RecipeLike: TypeAlias = "str | Recipe"


def find_recipe(name: RecipeLike) -> Recipe:
    """Find a recipe by name.

    Parameters
    ----------
    name : str or Recipe
        In any case, words joined by hyphens or underscores.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        There is no such recipe.
    """
    if isinstance(name, Recipe):
        return name
    wanted = str(name).casefold().replace("_", "-")
    if wanted in TABLE:
        return TABLE[wanted]
    near = difflib.get_close_matches(wanted, TABLE, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(TABLE)}."
    raise RecipeError(f"There is no recipe {name!r}. {hint}")


def _apply(steps: Sequence[Step], maps: Array, size: tuple[int, ...]) -> Array:
    for step in steps:
        maps = step(maps, size)
    return maps
