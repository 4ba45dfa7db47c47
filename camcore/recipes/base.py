"""A recipe: what is explained, by which variants of methods, and how it is shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from camcore import postprocess
from camcore._shared.suggest import hint
from camcore.adapter import Array
from camcore.errors import RecipeError
from camcore.methods.table import Method, MethodLike, canonical, description, find
from camcore.postprocess import Fusion
from camcore.recipes.steps import Normalise, Relu, Resize, Step, apply, described

Blend: TypeAlias = Literal[
    "mix_by_heat", "mix", "mix_peak", "mix_squared", "add_clip", "add_dimmed", "add_rescale"
]


@dataclass(frozen=True)
class OverlayStyle:
    """How heat is laid over a photograph.

    Parameters
    ----------
    colormap : str
        Name of a colour map, as matplotlib or OpenCV has it.
    alpha : float
        Weight of the heat's colour; of the strongest heat's with ``mix_by_heat``.
    blend : str
        With h the heat in [0, 1]:

        - ``mix_by_heat``: (1 − w) · image + w · colour, with w = alpha · h (2 − h).
        - ``mix``: (1 − alpha) · image + alpha · colour.
        - ``mix_peak``: the same, divided by the picture's largest value.
        - ``mix_squared``: the same as ``mix``, of the heat's square.
        - ``add_clip``: alpha · colour + image, clipped to the range.
        - ``add_dimmed``: colour + (1 − alpha) · image, clipped to the range.
        - ``add_rescale``: alpha · colour + image, stretched to the range as
          ``keras.utils.array_to_img`` does.
    """

    colormap: str = "inferno"
    alpha: float = 0.8
    blend: Blend = "mix_by_heat"


@dataclass(frozen=True)
class Rendering:
    """The way from each layer's signed map to the shown one.

    Parameters
    ----------
    layer_steps : tuple of Step
        Applied to each layer's signed map, towards the input's size.
    joint_steps : tuple of Step
        Where several layers are joined, applied to each, towards the size of the
        largest of them.
    final_steps : tuple of Step
        Applied to the joined map, towards the input's size.
    """

    layer_steps: tuple[Step, ...] = ()
    joint_steps: tuple[Step, ...] = ()
    final_steps: tuple[Step, ...] = ()

    def __call__(self, raw: Sequence[Array], size: tuple[int, ...], fusion: Fusion) -> Array:
        """Apply to the signed map ``(B, *S)`` of each layer."""
        layers = [apply(self.layer_steps, maps, size) for maps in raw]
        if len(layers) > 1:
            largest = max((maps.shape[1:] for maps in layers), key=np.prod)
            layers = [apply(self.joint_steps, maps, largest) for maps in layers]
        fused = postprocess.fuse(layers, fusion)
        shown = apply(self.final_steps, fused, size).astype(np.float32, copy=False)
        return shown.copy() if any(shown is maps for maps in raw) else shown


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
    layer_steps, joint_steps, final_steps : tuple of Step
        The way to the shown map; see `Rendering`.
    fusion : {"mean", "max", "product", "sum"}
        How the layers' maps are joined.
    methods : mapping of str to Method
        The library's variants of methods, by canonical name; other methods are
        the paper's.
    alike : tuple of str
        The library's methods that are the paper's, by canonical name.
    exceptions : mapping of str to Rendering
        For the methods that the library shows otherwise.
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
    joint_steps: tuple[Step, ...] = ()
    alike: tuple[str, ...] = ()
    exceptions: Mapping[str, Rendering] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.score not in ("logit", "output"):
            raise RecipeError(f"score={self.score!r}; a recipe explains the 'logit' or 'output'.")
        if self.fusion not in get_args(Fusion):
            raise RecipeError(
                f"fusion={self.fusion!r}; layers are joined by {', '.join(get_args(Fusion))}."
            )
        for name in (*self.methods, *self.alike, *self.exceptions):
            if canonical(name) != name:
                raise RecipeError(
                    f"Recipe {self.name!r} names the method {name!r}; write {canonical(name)!r}."
                )

    def method(self, name: MethodLike) -> Method:
        """Choose the recipe's variant of a method.

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

    def covers(self) -> tuple[Method, ...]:
        """List the methods that the library has, as it has them."""
        return tuple(self.method(name) for name in (*self.alike, *self.methods))

    def rendering(self, method: str | None = None) -> Rendering:
        """Choose the way to the shown map.

        Parameters
        ----------
        method : str, optional
            A method's canonical name; left out, the way of methods that are no exception.

        Returns
        -------
        Rendering
        """
        usual = Rendering(self.layer_steps, self.joint_steps, self.final_steps)
        return usual if method is None else self.exceptions.get(method, usual)

    def render(
        self,
        raw: Sequence[Array],
        size: tuple[int, ...],
        fusion: Fusion | None = None,
        method: str | None = None,
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
        method : str, optional
            Canonical name of the method that made them.

        Returns
        -------
        (B, *size) float32 array
            Or of the layer's size, where the recipe does not resize.
        """
        return self.rendering(method)(raw, size, fusion or self.fusion)

    def derive(self, name: str, source: str = "", **changes: Any) -> Recipe:
        """Derive a recipe of your own that changes some fields of this one.

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
            raise RecipeError(f"A recipe has no field {unknown[0]!r}. {hint(unknown[0], known)}")
        source = source or f"derived from {self.name!r}"
        return replace(self, name=name, source=source, **changes)

    def describe(self) -> str:
        """Describe in plain text what the recipe does, next to the papers' formulas."""
        lines = [
            f"{self.name}: {self.source}",
            f"  score     {self.score}",
            *_rendered(self.rendering(), self.fusion),
        ]
        if self.alike:
            labels = ", ".join(find(name).label for name in self.alike)
            lines.append(f"  as papers {labels}")
        for name in dict.fromkeys([*self.methods, *self.exceptions]):
            lines += self._differs(name)
        style = self.overlay
        lines.append(f"  overlay   {style.colormap}, alpha {style.alpha:g}, {style.blend}")
        lines += [f"  note      {note}" for note in self.notes]
        return "\n".join(lines)

    def _differs(self, name: str) -> list[str]:
        """Describe how one method differs from the paper's, and in how it is shown."""
        paper, here = find(name), self.method(name)
        lines = [f"  {here.label}"]
        if formula(here) != formula(paper):
            lines += [f"    paper   {formula(paper)}", f"    here    {formula(here)}"]
        if name in self.exceptions:
            shown = _rendered(self.exceptions[name], here.fusion or self.fusion)
            lines += [f"  {line}" for line in shown]
        return lines


def formula(method: Method) -> str:
    """Describe a method's equation, its options and what it explains, in one line."""
    line = description(method.function).removeprefix(f"{method.label}: ") or "no description"
    more = [f"{key} = {value}" for key, value in method.options.items()]
    if aim := description(method.aim):
        more.append(f"target: {aim}")
    return f"{line} ({'; '.join(more)})" if more else line


def _rendered(rendering: Rendering, fusion: Fusion) -> list[str]:
    """Describe a rendering in two lines: of each layer's map, and of the layers joined."""
    several = f"{described(rendering.joint_steps)} -> " if rendering.joint_steps else ""
    final = f" -> {described(rendering.final_steps)}" if rendering.final_steps else ""
    return [
        f"  each map  {described(rendering.layer_steps)}",
        f"  layers    {several}{fusion}{final}",
    ]


_MIN_MAX = Normalise("min_max")

PAPER = Recipe(
    name="paper",
    source="the methods' papers: logit, ReLU, linear interpolation, division by the maximum",
    methods={"refinecam": find("refinecam")},
    exceptions={"refinecam": Rendering((Relu(), Resize(), _MIN_MAX), (), (_MIN_MAX,))},
)

AS_IS = Rendering()
"""The signed map is the shown one."""

SCALED = Normalise("min_max", 1e-7)


def variant(name: str, function: Callable[..., Array] | None = None, **changes: Any) -> Method:
    """Change some fields of the paper's row of a method; other keywords are its options."""
    row = find(name)
    fields = {key: changes.pop(key) for key in ("needs", "aim", "fusion", "last") if key in changes}
    return replace(
        row, function=function or row.function, options={**row.options, **changes}, **fields
    )


def named(*methods: Method) -> dict[str, Method]:
    """Map methods by their canonical names."""
    return {method.name: method for method in methods}
