"""Explain pictures larger than what a model takes, tile by tile, in one map of one scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np

from camcore import registry
from camcore.adapter import Array, Channels
from camcore.errors import InputError, LayerError, MethodError, TargetError
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.layers.names import LayerLike
from camcore.methods.table import Method, MethodLike
from camcore.mistakes import check_given, check_order
from camcore.nest import batch_of, shape_of
from camcore.photos.crop import Crop
from camcore.photos.large import LargePicture
from camcore.photos.photo import Photo
from camcore.photos.preparation import Preparation, preparation
from camcore.photos.prepared import PhotoInput
from camcore.postprocess import anywhere, without_evidence
from camcore.recipes import RecipeLike
from camcore.targets import Each, TargetLike
from camcore.zoo import Classes

Size: TypeAlias = tuple[int, int]

_NONE: Final = -1
"""The class of a tile in which nothing was detected."""

_OF_EACH_TILE: Final = ("eigencam", "eigengradcam", "kpcacam", "fem", "random")
"""Methods whose maps are scaled by statistics of the tile, or have no scale."""


def explain_tiles(
    model: object,
    picture: Any,
    target: TargetLike = None,
    layer: LayerLike | Sequence[LayerLike] | None = None,
    method: MethodLike = "gradcam",
    recipe: RecipeLike = "paper",
    *,
    tile: int | Size | None = None,
    overlap: int | Size = 0,
    batch: int = 8,
    preprocess: Any = None,
    classes: Classes | None = None,
    **options: Any,
) -> Explanation:
    """Show where a model looks in a picture that is larger than what it takes.

    The picture is cut into tiles, all tiles are explained for one target, and their signed maps
    are joined before anything is scaled. So a colour means the same amount of evidence
    everywhere, and a tile without any stays dark. With t the tiles that see a place p of the
    layer's grid, the joined map is the weighted mean ::

        raw[p] = Σₜ wₜ[p] rawₜ[p] / Σₜ wₜ[p]

    where wₜ falls towards the sides of a tile, in equal steps within the overlap, so that one
    tile passes into the next without a seam. Without overlap it is the plain mean, and where one
    tile alone sees a place its value is kept. Signed maps are in units of each tile's own score.

    No more than `batch` tiles are held at a time.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model, camcore.adapter.Adapter, LoadedModel, or path
        As `camcore.explain` takes it.
    picture : path, PIL image, array-like, or slide; or array or tensor
        A photograph: a file that Pillow reads; or what is read in parts, a slide's file
        (``.svs``, ``.ndpi``, ...; extra ``slides``), an ``OpenSlide``, or an array-like
        ``(H, W, 3)`` of uint8, such as ``tifffile.memmap`` and ``zarr.open`` give. Or floating,
        what the model takes of the whole picture: a batch of one, flat.
    target : None, int, str, Target, or callable
        What is explained in every tile. None is the class of the largest score, averaged over
        all tiles, for which each is seen once more.
    layer, method, recipe
        As `camcore.explain` takes them; one method.
    tile : int or (int, int), optional
        Height and width of a tile, in pixels of the picture, which the model is shown as they
        are. Left out, the square that the model is known to take.
    overlap : int or (int, int)
        How many pixels neighbours share at least; rounded up to whole places of the layer.
    batch : int
        How many tiles the model sees at a time.
    preprocess, classes
        As `camcore.explain` takes them. Of what is known to scale and crop photographs, only
        the scaling of pixels is used.
    **options
        As `camcore.Explainer` takes them.

    Returns
    -------
    Explanation
        Of a batch of one. `raw` and `maps` have the layer's grid over the whole picture, and
        `Explanation.at` brings them to another size. `scores` and `outputs` are means over the
        tiles. It keeps the photograph unless it is read in parts alone; a slide's map is laid over
        a smaller picture of the slide, ``explanation.overlay(thumbnail, stretch=True)``.

    Raises
    ------
    InputError
        The picture is smaller than a tile, or the tile does not fit the layer's grid; or there is
        more than one picture, or it is not flat.
    MethodError
        The method scales each map by itself, so that there is no common scale.
    TargetError
        The model gives no class scores to choose from, and no target is given.
    CamcoreError
        See `Explainer`.

    Examples
    --------
    >>> slide = openslide.open_slide("slide.svs")                               # doctest: +SKIP
    >>> result = camcore.explain_tiles(model, slide, tile=224, overlap=64)      # doctest: +SKIP
    >>> result.overlay(slide.get_thumbnail((2000, 2000)), stretch=True)         # doctest: +SKIP
    """
    check_order(model, picture)
    _check(method, target, options, batch)
    explainer = Explainer(
        model,
        layer=layer,
        method=method,
        recipe=recipe,
        classes=classes,
        **options,
    )
    _check_scale(explainer.methods[0])
    cut = _Cut.of(picture, tile, explainer.adapter.input_channels, preprocess, model)
    first = explainer(cut.inputs([(0, 0)]), target)
    plan = _Plan.of(cut.size, cut.tile, _pair(overlap, "overlap"), first)
    if target is None and explainer.methods[0].targeted:
        alone = explainer.by_method("activations")
        target = _predicted(alone(cut.inputs(some)) for some in plan.batches(batch))
    joined = _Joined(plan)
    for some in plan.batches(batch):
        joined.add(some, explainer(cut.inputs(some), target))
    return cut.kept(joined.explanation(explainer, target is not None), plan)


def _check(method: object, target: object, options: Mapping[str, Any], batch: int) -> None:
    """Refuse what cannot be explained on one scale."""
    if isinstance(method, (list, tuple)):
        raise InputError("Tiles are explained by one method at a time. Call it for each method.")
    if isinstance(target, (Each, list, tuple, np.ndarray)):
        raise InputError(
            "All tiles are explained for one target, so that their maps have one scale. Give one, "
            "and call it again for another."
        )
    if batch < 1:
        raise InputError(f"batch={batch!r}; the model sees at least one tile at a time.")
    if options.get("eigen_smooth"):
        raise MethodError(
            "eigen_smooth shows the first principal component of each tile's own contributions, "
            "and those of several tiles have no common scale. Leave it out."
        )


def _check_scale(method: Method) -> None:
    if method.name in _OF_EACH_TILE:
        raise MethodError(
            f"{method.label} makes a map by statistics of the tile itself, so that the maps of "
            "several have no common scale. Choose another, such as 'gradcam' or 'hirescam'."
        )


def _predicted(results: Iterator[Explanation]) -> int:
    """Choose the class of the largest score, averaged over all tiles."""
    total, count = np.zeros(()), 0
    for one in results:
        scores = one.class_scores
        if scores is None:
            raise TargetError(
                f"Outputs of shape {one.outputs.shape} are no class scores, so no class can be "
                "chosen over all tiles. Say what is explained: target=..."
            )
        total = total + scores.sum(0, dtype=np.float64)
        count += len(one)
    return int(np.argmax(total / count))


def _pair(value: int | Size, name: str) -> Size:
    """Read one length for both axes, or one for each."""
    pair = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    least = 0 if name == "overlap" else 1
    if len(pair) != 2 or not all(isinstance(one, int | np.integer) for one in pair):
        raise InputError(f"{name}={value!r}; give a number of pixels, or (height, width).")
    if min(pair) < least:
        raise InputError(f"{name}={value!r}; give at least {least} pixels along both axes.")
    return int(pair[0]), int(pair[1])


@dataclass(frozen=True, eq=False)
class _Cut:
    """A picture, and how its tiles become what the model takes.

    Parameters
    ----------
    size, tile : (int, int)
        Height and width of the picture and of a tile, in pixels.
    picture : LargePicture or array
        A photograph; or what the model takes of the whole.
    prepare : Preparation or None
        What is done to tiles of a photograph.
    first : int
        The picture's first spatial axis, where it is an array.
    """

    size: Size
    tile: Size
    picture: Any
    prepare: Preparation | None
    first: int

    @classmethod
    def of(
        cls, source: Any, tile: int | Size | None, channels: Channels, preprocess: Any, model: Any
    ) -> _Cut:
        """Take a picture from whatever holds one."""
        picture, prepare, side = LargePicture.of(source), None, tile
        first = 2 if channels == "first" else 1
        if picture is not None:
            size = picture.size
            loaded = registry.loaded(model) or registry.describe(model)
            bare = model if loaded is None else loaded.model
            prepare = preparation(preprocess, bare, loaded, channels)
            side = prepare.side if tile is None else tile
        else:
            check_given(source, preprocess)
            shape = shape_of(source) if hasattr(source, "shape") else ()
            if len(shape) != 4 or shape[0] != 1:
                raise InputError(
                    f"A {type(source).__name__} of shape {shape} is no picture to cut into tiles. "
                    "Give a photograph, as a path or an array (H, W, 3) of uint8; or what the "
                    "model takes, flat and a batch of one: (1, C, H, W) or (1, H, W, C)."
                )
            size = shape[first], shape[first + 1]
        if side is None:
            raise InputError(
                "It is not known what size of tiles the model takes. Say it: tile=512."
            )
        sides = _pair(side, "tile")
        if sides[0] > size[0] or sides[1] > size[1]:
            raise InputError(
                f"The picture of {size[0]} by {size[1]} pixels is smaller than a tile of "
                f"{sides[0]} by {sides[1]}. Give smaller tiles, or explain it whole: "
                "camcore.explain(model, picture)."
            )
        return cls(size, sides, source if picture is None else picture, prepare, first)

    def inputs(self, places: Sequence[Size]) -> Any:
        """Make a batch of the tiles at `places`, by their top and left."""
        return batch_of([self._input(*place) for place in places])

    def _input(self, top: int, left: int) -> Any:
        if self.prepare is not None:
            pixels = self.picture.tile(top, left, self.tile)
            return self.prepare.tile(Photo(pixels, self.picture.value_range))
        rows, columns = slice(top, top + self.tile[0]), slice(left, left + self.tile[1])
        part = self.picture[(slice(None),) * self.first + (rows, columns)]
        array = np.asarray(part.detach().cpu() if hasattr(part, "detach") else part)
        beyond = [(0, 0)] * 4
        for axis, side in enumerate(self.tile, self.first):
            beyond[axis] = (0, side - array.shape[axis])
        return np.pad(array, beyond, mode="edge")

    def kept(self, result: Explanation, plan: _Plan) -> Explanation:
        """Keep the photograph, where there is one, with the result."""
        if self.prepare is None:
            return result
        scaling = self.prepare.scaling or self.prepare.said
        said = f"tiles of {self.tile[0]} × {self.tile[1]}: {scaling}"
        result = replace(result, preprocessing=said)
        if self.picture.photo is None:
            return result
        about = self.picture.value_range, self.picture.path
        one = PhotoInput(self.picture.photo, plan.crop(self.picture.photo.shape), None, *about)
        return replace(result, photographs=(one,))


@dataclass(frozen=True)
class _Plan:
    """Where tiles lie: on whole places of every layer's grid.

    Parameters
    ----------
    size, tile : (int, int)
        Of the picture and a tile, in pixels.
    cells : mapping of str to (int, int)
        By layer, the pixels of one place of its grid.
    shared : (int, int)
        How many pixels neighbouring tiles share, as a rule.
    places : sequence of (int, int)
        Top and left of each tile, row by row.
    """

    size: Size
    tile: Size
    cells: Mapping[str, Size]
    shared: Size
    places: Sequence[Size]

    @classmethod
    def of(cls, size: Size, tile: Size, overlap: Size, first: Explanation) -> _Plan:
        """Lay tiles over a picture, by the grid of the explanation of one."""
        if first.frame != "input" or first.maps.ndim != 3:
            raise LayerError(
                f"The map of {', '.join(first.layers)} does not lie over the picture, so those of "
                "tiles cannot be joined. Explain a layer whose axes are the picture's."
            )
        cells = {name: _cell(name, maps.shape[1:], tile) for name, maps in first.raw.items()}
        common = [math.lcm(*(cell[axis] for cell in cells.values())) for axis in (0, 1)]
        steps, starts = [], []
        for length, side, least, cell in zip(size, tile, overlap, common, strict=True):
            step = (side - least) // cell * cell
            if step < cell:
                raise InputError(
                    f"overlap={least} leaves less of a tile of {side} pixels than the {cell} of "
                    "one place of the layer; give less."
                )
            last = math.ceil((length - side) / cell) * cell
            steps.append(step)
            starts.append([*range(0, last, step), last])
        shared = (tile[0] - steps[0], tile[1] - steps[1])
        return cls(size, tile, cells, shared, list(product(*starts)))

    def grid(self, layer: str) -> Size:
        """Find the size of a layer's grid over the whole picture."""
        rows, columns = (
            math.ceil(side / cell) for side, cell in zip(self.size, self.cells[layer], strict=True)
        )
        return rows, columns

    def weights(self, layer: str) -> Array:
        """Weigh the places of a tile: less towards its sides, within what neighbours share."""
        lines = []
        for side, shared, cell in zip(self.tile, self.shared, self.cells[layer], strict=True):
            count = side // cell
            from_side = 1 + np.minimum(np.arange(count), np.arange(count)[::-1])
            lines.append(np.minimum(from_side, shared // cell + 1) / (shared // cell + 1))
        weights: Array = np.outer(*lines)
        return weights

    @property
    def finest(self) -> str:
        """Name the layer of the largest grid, which maps have."""
        return max(self.cells, key=lambda layer: math.prod(self.grid(layer)))

    def crop(self, photo_shape: tuple[int, ...]) -> Crop:
        """Say where that grid lies in the picture, which it may reach a little beyond."""
        pairs = zip(self.grid(self.finest), self.cells[self.finest], strict=True)
        rows, columns = (count * cell for count, cell in pairs)
        return Crop(photo_shape, (rows, columns), self.size, (0, 0))

    def batches(self, count: int) -> Iterator[Sequence[Size]]:
        """Go over the tiles, `count` at a time."""
        for start in range(0, len(self.places), count):
            yield self.places[start : start + count]


def _cell(layer: str, grid: tuple[int, ...], tile: Size) -> Size:
    """Find how many pixels of a tile one place of a layer's grid covers."""
    rows, columns = grid
    if tile[0] % rows or tile[1] % columns:
        raise InputError(
            f"The layer {layer!r} has {rows} by {columns} places in a tile of {tile[0]} by "
            f"{tile[1]} pixels, which are no whole pixels each, so tiles cannot be laid side by "
            "side. Give a tile that the layer's stride divides, such as "
            f"tile={64 * math.ceil(max(tile) / 64)}."
        )
    return tile[0] // rows, tile[1] // columns


def _of_best_class(one: Explanation) -> Explanation:
    """Name the class of the largest score, of a method that explains none."""
    if one.class_scores is None:
        return one
    best = one.class_scores.argmax(1)
    return replace(one, classes=best, scores=one.class_scores[:, best[0]])


class _Joined:
    """The signed maps of all tiles, added up on the whole picture's grids."""

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.weights = {layer: plan.weights(layer) for layer in plan.cells}
        self.sums = {layer: np.zeros(plan.grid(layer)) for layer in plan.cells}
        self.totals = {layer: np.zeros(plan.grid(layer)) for layer in plan.cells}
        self.scores, self.outputs, self.count = 0.0, np.zeros(()), 0
        self.classes: set[int] = set()
        self.last: Explanation | None = None

    def add(self, places: Sequence[Size], result: Explanation) -> None:
        """Add the explanation of the tiles at `places`."""
        for layer, maps in result.raw.items():
            weights, cell = self.weights[layer], self.plan.cells[layer]
            for (top, left), one in zip(places, maps, strict=True):
                first, second = top // cell[0], left // cell[1]
                there = slice(first, first + one.shape[0]), slice(second, second + one.shape[1])
                self.sums[layer][there] += weights * one
                self.totals[layer][there] += weights
        self.scores += result.scores.sum(dtype=np.float64)
        self.outputs = self.outputs + result.outputs.sum(0, dtype=np.float64)
        self.count, self.last = self.count + len(places), result
        if result.classes is not None:
            self.classes |= set(result.classes.tolist()) - {_NONE}

    def explanation(self, explainer: Explainer, chosen: bool) -> Explanation:
        """Show the joined map, scaled once; `chosen` says whether a target was fixed."""
        last, method = self.last, explainer.methods[0]
        assert last is not None
        if chosen and len(self.classes) > 1:
            raise TargetError(
                f"The target means another class in each tile: {sorted(self.classes)}. Name one "
                "class, or leave the target out to have one chosen over all tiles."
            )
        raw = {
            layer: (total / self.totals[layer])[None].astype(last.raw[layer].dtype)
            for layer, total in self.sums.items()
        }
        signed, size = list(raw.values()), self.plan.grid(self.plan.finest)
        joined = method.joined(signed, last.fusion)
        maps = explainer.recipe.render(joined, size, last.fusion, method.name)
        outputs = (self.outputs / self.count)[None].astype(last.outputs.dtype)
        scores = np.array([self.scores / self.count], last.scores.dtype)
        classes = None if last.classes is None else np.array([max(self.classes, default=_NONE)])
        found = replace(last, maps=maps, raw=raw, outputs=outputs, scores=scores, classes=classes)
        found = replace(found, empty=without_evidence(signed) | ~anywhere(maps != 0))
        if chosen or last.classes is None:
            return found
        return _of_best_class(found)
