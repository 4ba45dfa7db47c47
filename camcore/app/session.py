"""What is asked of the page and what it shows, without a browser: plain values in, pictures out."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode

import numpy as np
import numpy.typing as npt

from camcore import registry
from camcore._shared.optional import needs
from camcore._shared.suggest import hint
from camcore.adapter import Array
from camcore.batch import ExplainedPhoto
from camcore.comparison import Comparison, compare
from camcore.errors import InputError
from camcore.evaluation import Evaluation, evaluate
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.layers.candidates import candidates
from camcore.methods.table import find
from camcore.photos.photo import Photo
from camcore.photos.preparation import preparation
from camcore.photos.read_back import ReadBack
from camcore.report.metrics import view_of
from camcore.resize import resize
from camcore.targets import Contrast, TargetLike
from camcore.viz import signed_overlay
from camcore.viz.explanation import class_name
from camcore.zoo import load_model

Picture = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels of the photograph."""

_Made = TypeVar("_Made")

SIDE: Final = 640
"""Longer side of a picture on the page, in pixels."""

MAX_DIM: Final = 2048
"""Photographs with longer sides are scaled down to this, as ``camcore explain`` does."""

TOP: Final = 5
"""How many classes are listed."""

SAMPLES: Final = ("chelsea", "coffee", "rocket", "camera")
"""Photographs that scikit-image brings."""

DEMO: Final = {"torch": "demo-torch", "tensorflow": "demo-keras", "jax": "demo-jax"}
"""Networks that need no download, by the framework that they are in."""

_EXPLAINERS: Final = 64
"""How many explainers are kept at most, all models together."""

STEPS: Final = 25
"""Steps of deletion and insertion."""


@dataclass(frozen=True)
class PageRequest:
    """What a person asks for.

    Parameters
    ----------
    model : str
        Name of the model on the page; empty for the first.
    photo : str
        Name of the photograph.
    target, against : int or None
        The class to explain, the predicted one unless given; and one to tell it from.
    layer : str or None
        Where to look; the model's default unless given.
    method, recipe : str
        By name.
    signed : bool
        Show also what counts against the class.
    threshold : float or None
        Draw boxes around what reaches this share of the map's largest value.
    hidden : tuple of (int, int, int, int)
        Patches of the photograph to hide: left, top, right, bottom.
    tab : str
        What is looked at: the map, methods side by side, ...
    beside : tuple of str
        The methods side by side, by name.
    other : str
        Name of the model held against this one; empty for the last.
    other_layer : str or None
        Its layer; the one most like `layer` unless given.
    """

    model: str = ""
    photo: str = ""
    target: int | None = None
    against: int | None = None
    layer: str | None = None
    method: str = "gradcam"
    recipe: str = "paper"
    signed: bool = False
    threshold: float | None = None
    hidden: tuple[Box, ...] = ()
    tab: str = "map"
    beside: tuple[str, ...] = ("gradcam", "gradcampp", "hirescam", "layercam")
    other: str = ""
    other_layer: str | None = None

    def query(self) -> str:
        """Write it as the query of an address; what is left at its default is left out."""
        pairs = []
        for one in fields(self):
            value = getattr(self, one.name)
            if value == one.default:
                continue
            if one.name == "hidden":
                value = ";".join(",".join(map(str, box)) for box in value)
            elif one.name == "beside":
                value = ",".join(value)
            pairs.append((one.name, int(value) if isinstance(value, bool) else value))
        return urlencode(pairs)

    @classmethod
    def of_query(cls, query: str) -> PageRequest:
        """Read the query of an address; what cannot be read is left at its default."""
        found: dict[str, Any] = {}
        for name, text in parse_qsl(query.lstrip("?"), keep_blank_values=True):
            read = _READERS.get(name)
            if read is None:
                continue
            try:
                found[name] = read(text)
            except ValueError:
                continue
        return cls(**found)


def _name(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError(text)
    return value


def _boxes(text: str) -> tuple[Box, ...]:
    boxes = []
    for one in text.split(";")[:_PATCHES]:
        left, top, right, bottom = map(int, one.split(","))
        if not (0 <= left < right <= MAX_DIM and 0 <= top < bottom <= MAX_DIM):
            raise ValueError(text)
        boxes.append((left, top, right, bottom))
    return tuple(boxes)


_PATCHES: Final = 50
"""How many patches are hidden at most."""

_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "model": _name,
    "photo": _name,
    "target": int,
    "against": int,
    "layer": _name,
    "method": _name,
    "recipe": _name,
    "signed": lambda text: text == "1",
    "threshold": _share,
    "hidden": _boxes,
    "tab": _name,
    "beside": lambda text: tuple(filter(None, text.split(","))),
    "other": _name,
    "other_layer": _name,
}


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer to choose.

    Parameters
    ----------
    name : str
        As the model has it.
    size : tuple of int
        Of the map that is made there.
    chosen : bool
        Whether it is explained when none is named.
    """

    name: str
    size: tuple[int, ...]
    chosen: bool

    @property
    def label(self) -> str:
        """Its name and grid, for people."""
        return f"{self.name} ({'×'.join(map(str, self.size))})"


@dataclass(frozen=True, eq=False)
class OnBench:
    """A model of the page.

    Parameters
    ----------
    name : str
        Unique on the page.
    model : object
        As `camcore.Explainer` takes it: a `LoadedModel`, or a model as it is.
    spec : str or None
        What it was loaded by; None for a model that was handed over.
    options : mapping
        What it was loaded with, or of one handed over its `preprocess` and `classes`.
    """

    name: str
    model: Any
    spec: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def about(self) -> Mapping[str, Any]:
        """Options of `camcore.Explainer` that the model needs."""
        return {} if self.spec is not None else self.options

    @cached_property
    def classes(self) -> Sequence[str]:
        """Names of the classes by index; none where they are not known."""
        return Explainer(self.model, **self.about).names or ()

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that matter, from fine to deep, and the one chosen among them."""
        explainer = Explainer(self.model, **self.about)
        loaded = registry.loaded(self.model)
        side = 224 if loaded is None else loaded.size
        # Noise, since a blank photograph has gradients of its own.
        noise = Photo(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))
        bare = self.model if loaded is None else loaded.model
        known = loaded or registry.describe(bare)
        shown = preparation(
            self.about.get("preprocess"), bare, known, explainer.adapter.input_channels
        )
        inputs, _ = shown.batch([noise])
        found = candidates(bare, inputs)
        default = None if loaded is None else loaded.default_layer
        default = default or next((one.layer.name for one in found if one.chosen), None)
        few = [one for one in found if one.size and (one.why or one.layer.name == default)]
        few.sort(key=lambda one: -math.prod(one.size or ()))
        return tuple(
            Layer(one.layer.name, one.size or (), one.layer.name == default) for one in few
        )

    @property
    def default(self) -> int:
        """Index of the layer that is explained when none is named."""
        return next((i for i, one in enumerate(self.layers) if one.chosen), 0)

    def layer(self, name: str | None) -> str | None:
        """Return a layer of the model by name; None for one that is its default, or not its own."""
        own = {one.name for one in self.layers if not one.chosen}
        return name if name in own else None


@dataclass(frozen=True, eq=False)
class Shown:
    """An explanation of one photograph, and the pictures made of it.

    Parameters
    ----------
    asked : PageRequest
        What was asked for.
    explanation : Explanation
        Exactly what `camcore.explain` gives.
    """

    asked: PageRequest
    explanation: Explanation

    @cached_property
    def photo(self) -> ExplainedPhoto:
        """The photograph with its map."""
        (one,) = self.explanation.photographs
        return ExplainedPhoto(one.photo, one.crop, self.explanation, one.value_range)

    def picture(self, side: int = SIDE) -> Picture:
        """Draw the map over the photograph, signed and with boxes where that is asked for.

        Parameters
        ----------
        side : int
            The longer side of the picture at most.

        Returns
        -------
        (h, w, 3) uint8 array
            RGB.
        """
        small = self.photo.within(side)
        if self.explanation.frame == "layer":
            return small.photo
        if self.asked.signed:
            picture: Picture = signed_overlay(small.photo, self.signed(small))[0]
        else:
            picture = small.overlay()
        if self.asked.threshold is None:
            return picture
        scale = small.photo.shape[0] / self.photo.photo.shape[0]
        return with_boxes(picture, np.rint(self.boxes * scale).astype(int))

    def signed(self, one: ExplainedPhoto | None = None) -> npt.NDArray[np.float32]:
        """Lay the signed map over the photograph, ``(H, W)``; of several layers, their mean."""
        one = one or self.photo
        crop = one.crop
        size = self.explanation.maps.shape[1:] if crop is None else crop.grid
        maps = [resize(raw, size, leading=1)[0] for raw in self.explanation.raw.values()]
        mean = np.asarray(np.mean(maps, axis=0), np.float32)
        if crop is not None:
            return crop.to_photo(mean)
        whole: npt.NDArray[np.float32] = resize(mean[None], one.photo.shape[:2])[0]
        return whole

    @cached_property
    def boxes(self) -> Array:
        """Boxes ``(n, 4)`` around what reaches the threshold, in pixels of the photograph."""
        share = 0.5 if self.asked.threshold is None else self.asked.threshold
        return self.explanation.boxes(share, "all")[0]

    @cached_property
    def top(self) -> list[tuple[int, str, float]]:
        """The highest classes: index, name, and probability, or score where there is none."""
        result = self.explanation
        if result.class_scores is None or result.is_raw_number:
            return []
        found = result.top(TOP)[0]
        if result.classes is not None and int(result.classes[0]) not in [i for i, _ in found]:
            values = result.class_scores if result.probabilities is None else result.probabilities
            found.append((int(result.classes[0]), float(values[0, int(result.classes[0])])))
        return [(index, class_name(result.names, index), value) for index, value in found]

    @property
    def explained(self) -> str:
        """What is explained, for people."""
        classes = self.explanation.classes
        return (
            "the score" if classes is None else class_name(self.explanation.names, int(classes[0]))
        )

    @property
    def note(self) -> str:
        """What is to be known of the map; empty for nothing."""
        if bool(self.explanation.empty[0]):
            return f"Nothing speaks for {self.explained} at this layer: the map is all zeros."
        if self.photo.is_stretched:
            low, high = self.explanation.maps.min(), self.explanation.maps.max()
            return (
                f"The recipe {self.explanation.recipe} leaves maps from {low:.3g} to {high:.3g}; "
                "drawn stretched to 0..1."
            )
        return ""


def with_boxes(picture: Picture, boxes: npt.NDArray[Any]) -> Picture:
    """Draw boxes into a picture.

    Parameters
    ----------
    picture : (H, W, 3) uint8 array
        Left as it is.
    boxes : (n, 4) int array
        Left, top, right and bottom.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    with needs("viz", "drawing boxes"):
        from PIL import Image, ImageDraw
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for left, top, right, bottom in boxes.tolist():
        right, bottom = max(left, right - 1), max(top, bottom - 1)
        # A dark rim, so that the line stands out from any picture.
        pen.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=4)
        pen.rectangle((left, top, right, bottom), outline=(0, 229, 255), width=2)
    return np.asarray(image)


@dataclass(frozen=True, eq=False)
class Hidden:
    """A photograph with patches hidden, and what that does to the score.

    Parameters
    ----------
    picture : (H, W, 3) uint8 array
        The photograph without them.
    before, after : float
        The score of the class, and its probability where that is known, with and without them.
    is_probability : bool
        Whether these are probabilities.
    name : str
        The class.
    """

    picture: Picture
    before: float
    after: float
    is_probability: bool
    name: str


@dataclass(frozen=True, eq=False)
class Curve:
    """A deletion or insertion curve, and what the network was fed at each of its points.

    Parameters
    ----------
    name : str
        ``"deletion"`` or ``"insertion"``.
    fractions, scores : (P,) array
        Its points.
    area : float
        The area below it.
    pictures : sequence of (h, w, 3) uint8 arrays
        What was fed, at each point.
    scored : str
        What the scores are: ``"probability"``, or ``"score"``.
    """

    name: str
    fractions: Array
    scores: Array
    area: float
    pictures: Sequence[Picture]
    scored: str = "score"


class Bench:
    """Models on a page, each loaded once, and explained from any number of threads.

    Parameters
    ----------
    models : sequence of OnBench
        At least one.
    """

    def __init__(self, models: Sequence[OnBench]) -> None:
        if not models:
            raise InputError("There is no model to look at. Give at least one.")
        self.models = {one.name: one for one in models}
        self._explainers: OrderedDict[Any, Explainer[Any]] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def of(cls, models: Any = None, **options: Any) -> Bench:
        """Load models, or take those that are loaded.

        Parameters
        ----------
        models, **options
            As `camcore.app.build` takes them.

        Returns
        -------
        Bench

        Raises
        ------
        InputError, MissingExtraError
            As `camcore.load_model` raises them.
        """
        if models is None:
            models = demo_specs()
        if isinstance(models, Mapping):
            named = dict(models)
        else:
            listed = list(models) if isinstance(models, (list, tuple)) else [models]
            names = [one if isinstance(one, str) else type(one).__name__ for one in listed]
            named = {
                name if names.count(name) == 1 else f"{name} #{i}": one
                for i, (name, one) in enumerate(zip(names, listed, strict=True), 1)
            }
        return cls([_on_bench(name, one, options) for name, one in named.items()])

    def model(self, name: str) -> OnBench:
        """Find a model by its name on the page; the first for an empty name.

        Raises
        ------
        InputError
            There is none of that name.
        """
        if not name:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise InputError(f"There is no model {name!r} here. {hint(name, self.models)}")
        return self.models[name]

    def explainer(self, asked: PageRequest, methods: Sequence[str] | None = None) -> Explainer[Any]:
        """Return the explainer of a model, method, recipe and layer; it is made once and kept."""
        one = self.model(asked.model)
        method: Any = asked.method if methods is None else list(methods)
        about = {"method": method, "recipe": asked.recipe, "layer": one.layer(asked.layer)}
        key = one.name, str(method), asked.recipe, about["layer"]
        with self._lock:
            if key in self._explainers:
                self._explainers.move_to_end(key)
                return self._explainers[key]
        made: Explainer[Any] = Explainer(one.model, **{**one.about, **about})
        with self._lock:
            made = self._explainers.setdefault(key, made)
            while len(self._explainers) > _EXPLAINERS:
                self._explainers.popitem(last=False)
        return made

    def explain(self, asked: PageRequest, photo: Photo) -> Shown:
        """Explain a photograph.

        Parameters
        ----------
        asked : PageRequest
            How.
        photo : Photo
            The photograph; what is hidden of it is hidden by `hide`.

        Returns
        -------
        Shown

        Raises
        ------
        CamcoreError
            As `camcore.explain` raises it.
        """
        return Shown(asked, self.explainer(asked)(photo, target_of(asked)))

    def methods(self, asked: PageRequest, photo: Photo, methods: Sequence[str]) -> dict[str, Shown]:
        """Explain a photograph by several methods, from one pass.

        Parameters
        ----------
        asked, photo
            As `explain` takes them.
        methods : sequence of str
            At least one; of what is named twice, one is left out.

        Returns
        -------
        dict of str to Shown
            By name of the method.
        """
        names = list(dict.fromkeys(find(one).name for one in methods))
        found = self.explainer(asked, names)(photo, target_of(asked))
        return {name: Shown(replace(asked, method=name), one) for name, one in found.items()}

    def counterpart(self, asked: PageRequest, other: str) -> str | None:
        """Find the layer of another model that is most like the one that is asked for.

        Parameters
        ----------
        asked : PageRequest
            The layer, and its model.
        other : str
            The other model, by name.

        Returns
        -------
        str or None
            The layer of that name, else the one whose map has that size; None for its default.
        """
        wanted = self.model(asked.model).layer(asked.layer)
        theirs = self.model(other).layers
        if wanted is None:
            return None
        (size,) = (one.size for one in self.model(asked.model).layers if one.name == wanted)
        named = (one.name for one in theirs if one.name == wanted)
        sized = (one.name for one in theirs if one.size == size)
        return next(named, next(sized, None))

    def compared(self, asked: PageRequest, photo: Photo, other: str, layer: str | None) -> Compared:
        """Hold a second model against the one that is asked for, on the same class.

        Parameters
        ----------
        asked, photo
            As `explain` takes them.
        other : str
            The other model, by name.
        layer : str or None
            Its layer; as `counterpart` finds it unless given.

        Returns
        -------
        Compared
        """
        first = self.explain(asked, photo)
        layer = self.counterpart(asked, other) if layer is None else layer
        theirs = replace(asked, model=self.model(other).name, layer=layer)
        classes, shape = first.explanation.classes, first.explanation.outputs.shape
        if asked.target is None and classes is not None:
            theirs = replace(theirs, target=int(classes[0]))
        second = self.explain(theirs, photo)
        if asked.target is None and second.explanation.outputs.shape != shape:
            theirs = replace(theirs, target=None)
            second = self.explain(theirs, photo)
        names = [self.model(asked.model).name, theirs.model]
        if names[0] == names[1]:
            names = [
                f"{name} at {one.explanation.layers[0]}"
                for name, one in zip(names, (first, second), strict=True)
            ]
        pair = {names[0]: first.explanation, names[1]: second.explanation}
        return Compared(first, second, compare(pair, scaled=_leave(first, second)))

    def hide(self, asked: PageRequest, photo: Photo) -> Hidden:
        """Hide patches of a photograph, and see the score of the class move.

        Parameters
        ----------
        asked, photo
            As `explain` takes them; `asked.hidden` are the patches.

        Returns
        -------
        Hidden
        """
        explainer = self.explainer(asked)
        whole: Explanation = explainer(photo, target_of(asked))
        altered = without(photo, asked.hidden)
        target = target_of(asked)
        if asked.target is None and whole.classes is not None:
            target = target_of(replace(asked, target=int(whole.classes[0])))
        part: Explanation = explainer(altered, target)
        scores = [float(one.scores[0]) for one in (whole, part)]
        known = whole.probabilities is not None and whole.classes is not None
        if known and asked.against is None:
            index = int(whole.classes[0])  # type: ignore[index]
            scores = [float(one.probabilities[0, index]) for one in (whole, part)]  # type: ignore[index]
        name = Shown(asked, whole).explained
        is_probability = known and asked.against is None
        return Hidden(altered.picture, scores[0], scores[1], is_probability, name)

    def evaluation(self, asked: PageRequest, photo: Photo, steps: int = STEPS) -> Evaluation:
        """Evaluate the map by deletion and insertion, as `camcore.evaluate` does.

        Parameters
        ----------
        asked, photo
            As `explain` takes them.
        steps : int
            Of the curves.

        Returns
        -------
        Evaluation
            It keeps the one photograph.
        """
        one = self.model(asked.model)
        return evaluate(
            one.model,
            [photo],
            target_of(asked),
            methods=[asked.method],
            metrics=["deletion", "insertion"],
            layer=one.layer(asked.layer),
            recipe=asked.recipe,
            controls=False,
            steps=steps,
            keep=1,
            **one.about,
        )

    def curves(self, asked: PageRequest, photo: Photo, steps: int = STEPS) -> list[Curve]:
        """Trace the deletion and insertion curves of a map, with what the network was fed.

        Parameters
        ----------
        asked, photo, steps
            As `evaluation` takes them.

        Returns
        -------
        list of Curve
        """
        found = self.evaluation(asked, photo, steps)
        (kept,) = found.kept
        (row,) = kept.explanations
        (seen,) = kept.explanations[row].photographs
        read = ReadBack.of([kept.image], [view_of(seen.photo, seen.crop, kept.image.shape[1:])])
        scored = "probability" if found.settings["score"] == "probability" else "score"
        made = []
        for name in found.curve_names:
            curve = found.curves[row][name]
            fed = [read(image) for image in kept.fed(row, name, curve.fractions)]
            area = float(found.values[row][name][0])
            made.append(Curve(name, curve.fractions, curve.scores[0], area, fed, scored))
        return made


@dataclass(frozen=True, eq=False)
class Compared:
    """Two models held against each other.

    Parameters
    ----------
    first, second : Shown
        What each makes of the photograph.
    comparison : Comparison
        How far their maps are apart.
    """

    first: Shown
    second: Shown
    comparison: Comparison

    @property
    def limit(self) -> float:
        """The difference that has the strongest colours; never so small that rounding shows."""
        return max(self.comparison.largest, 0.01)

    def difference(self, side: int = SIDE) -> Picture:
        """Draw where the first map is above the second, red, or below, blue.

        Parameters
        ----------
        side : int
            The longer side of the picture at most.

        Returns
        -------
        (h, w, 3) uint8 array
        """
        (pair,) = self.comparison.pairs
        small = self.first.photo.within(side)
        gap = np.asarray(pair.maps[0][0] - pair.maps[1][0], np.float32)
        if small.crop is not None:
            gap = small.crop.to_photo(gap)
        drawn: Picture = signed_overlay(small.photo, gap, limit=self.limit)[0]
        return drawn


def _leave(*found: Shown) -> bool:
    return any(one.photo.is_stretched for one in found)


def target_of(asked: PageRequest) -> TargetLike:
    """Make the target: a class, the predicted one as None, or one against another."""
    if asked.against is None:
        return asked.target
    if asked.against == asked.target:
        raise InputError("A class cannot be told from itself. Choose another to tell it from.")
    return Contrast(asked.target, against=asked.against)


def without(photo: Photo, boxes: Sequence[Box]) -> Photo:
    """Hide patches of a photograph behind its mean colour.

    Parameters
    ----------
    photo : Photo
        Left as it is.
    boxes : sequence of (int, int, int, int)
        Left, top, right and bottom.

    Returns
    -------
    Photo
        Without a path, as it is no longer what its file holds.
    """
    pixels = photo.pixels.copy()
    mean = photo.pixels.mean(axis=(0, 1))
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = np.rint(mean)
    return Photo(pixels, photo.value_range)


def read_photo(path: Path | str) -> Photo:
    """Read a photograph as the page does: at most `MAX_DIM` pixels at its longer side."""
    return Photo.read(path, max_dim=MAX_DIM)


def sample(name: str) -> Photo:
    """Load a photograph that scikit-image brings, of `SAMPLES`.

    Raises
    ------
    InputError
        There is no such sample.
    MissingExtraError
        scikit-image is not installed.
    """
    if name not in SAMPLES:
        raise InputError(f"There is no sample {name!r}. {hint(name, SAMPLES)}")
    with needs("demo", "Loading the sample photographs"):
        from skimage import data
    return Photo.of(np.asarray(getattr(data, name)()))


def demo_specs() -> list[str]:
    """List the demonstration's networks in PyTorch and Keras, as far as these are installed."""
    installed = registry.frameworks()
    found = [f"{DEMO[name]}:efficientnet_lite0" for name in DEMO if installed.get(name)]
    return found[:2] or ["demo-torch:efficientnet_lite0"]


_TO_LOAD: Final = ("weights", "checkpoint", "pretrained", "num_classes", "device", "classes")


def _on_bench(name: str, model: Any, options: Mapping[str, Any]) -> OnBench:
    """Load a model that is named; take one that is there."""
    if isinstance(model, OnBench):
        return model
    if not isinstance(model, (str, Path)):
        about = {key: options[key] for key in ("preprocess", "classes") if key in options}
        return OnBench(name, model, None, about)
    given = {key: value for key, value in options.items() if value not in (None, False)}
    if unknown := given.keys() - {*_TO_LOAD}:
        raise InputError(
            f"{', '.join(sorted(unknown))} cannot be said of the model {str(model)!r}, which is "
            f"loaded by its name; there are {', '.join(_TO_LOAD)}."
        )
    return OnBench(name, load_model(str(model), **given), str(model), given)
