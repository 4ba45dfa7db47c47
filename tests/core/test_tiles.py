"""Tiles joined are the whole, on one scale; no more tiles are held than the model sees at once."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import camcore
from camcore.errors import (
    InputError,
    MethodError,
    MissingExtraError,
    MissingFileError,
    TargetError,
)
from camcore.photos.large import LargePicture
from camcore.targets import Class, Each
from camcore.testing.network import Conv, Dense, GlobalAveragePool, NumpyAdapter, Op, ReLU

CELL = 4


class BlockMean(Op):
    """The mean of each square of `CELL` pixels, as a convolution of that stride sees it."""

    def forward(self, x):
        batch, channels, rows, columns = x.shape
        blocks = x.reshape(batch, channels, rows // CELL, CELL, columns // CELL, CELL)
        return blocks.mean((3, 5))

    def pull_back(self, x, cotangent):
        return np.repeat(np.repeat(cotangent, CELL, 2), CELL, 3) / CELL**2


def network(seed=0, channels=3):
    """A network each of whose places sees one cell of its input alone."""
    rng = np.random.default_rng(seed)
    return NumpyAdapter(
        mix=Conv(rng.normal(size=(5, channels, 1, 1)), rng.normal(size=5)),
        relu=ReLU(),
        blocks=BlockMean(),
        deep=Conv(rng.normal(size=(6, 5, 1, 1)), rng.normal(size=6)),
        relu2=ReLU(),
        pool=GlobalAveragePool(),
        fc=Dense(rng.normal(size=(4, 6)), rng.normal(size=4)),
    )


class Watched(NumpyAdapter):
    """An adapter that notes how many samples each pass has."""

    def __init__(self, **ops):
        super().__init__(**ops)
        self.batches = []

    def _forward(self, x):
        self.batches.append(x.shape)
        return super()._forward(x)


def watched(seed=0):
    return Watched(**network(seed).ops)


@pytest.fixture
def picture():
    random = np.random.default_rng(1)
    regions = random.normal(size=(1, 3, 4, 6)).repeat(16, 2).repeat(16, 3)
    return random.normal(size=(1, 3, 64, 96)) + 3 * regions


def small(size=(10, 12)):
    return np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)


def as_batch(photo):
    return np.moveaxis(np.asarray(photo, np.float64) / 255, -1, 0)[None]


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam", "cam"])
@pytest.mark.parametrize("overlap", [0, 4, (8, 4), 5])
def test_tiles_of_a_model_that_sees_no_farther_than_a_cell_are_the_whole(method, overlap, picture):
    whole = camcore.explain(network(), picture, 2, "relu2", method)
    tiled = camcore.explain_tiles(
        network(), picture, 2, "relu2", method, tile=16, overlap=overlap, batch=5
    )
    assert tiled.raw["relu2"].shape == tiled.maps.shape == (1, 16, 24)
    assert tiled.classes.tolist() == [2]
    own = camcore.recipes.PAPER.render([whole.raw["relu2"]], (16, 24), "mean", method)
    assert np.abs(tiled.maps - own).max() < 1e-6
    if overlap == 0:
        assert np.abs(tiled.scores - whole.scores).max() < 1e-12
        assert np.abs(tiled.outputs - whole.outputs).max() < 1e-12
    # A pooled score's gradient is spread over the places of a tile, so a tile's is as much larger
    # as it has fewer; the class weights of CAM are the same everywhere.
    factor = 1 if method == "cam" else (16 * 24) / (4 * 4)
    assert np.allclose(tiled.raw["relu2"], factor * whole.raw["relu2"], rtol=1e-9, atol=1e-12)


def test_a_picture_that_tiles_do_not_divide_is_the_whole_within_it(picture):
    picture = picture[:, :, :62, :83]
    padded = np.pad(picture, ((0, 0), (0, 0), (0, 2), (0, 1)), mode="edge")
    whole = camcore.explain(network(), padded, 1, "relu2", "hirescam")
    tiled = camcore.explain_tiles(
        network(), picture, 1, "relu2", "hirescam", tile=(20, 16), overlap=4
    )
    assert tiled.raw["relu2"].shape == (1, 16, 21)
    own = camcore.recipes.PAPER.render([whole.raw["relu2"]], (16, 21))
    assert np.abs(tiled.maps - own).max() < 1e-6


def test_all_tiles_have_one_scale():
    # One channel, one class: the score is the mean of the pixels, and so is the map, cell by cell.
    one = Conv(np.ones((1, 1, 1, 1)), np.zeros(1))
    model = NumpyAdapter(
        a=one, blocks=BlockMean(), b=one, pool=GlobalAveragePool(), fc=Dense(np.eye(1), np.zeros(1))
    )
    picture = np.zeros((1, 1, 8, 16))
    picture[..., :8], picture[..., 8:] = 3, 1
    tiled = camcore.explain_tiles(model, picture, 0, "b", "hirescam", tile=8)
    # Each of a tile's 4 places is a quarter of its score.
    assert tiled.raw["b"].tolist() == [[[0.75, 0.75, 0.25, 0.25]] * 2]
    third = pytest.approx(1 / 3, abs=1e-7)
    assert tiled.maps.tolist() == [[[1, 1, third, third]] * 2]
    assert tiled.scores.tolist() == [2]
    assert tiled.outputs.tolist() == [[2]]


def test_places_that_several_tiles_see_are_their_weighted_mean():
    # A model whose map is the tile's own number everywhere: tiles give 10, 20, 40.
    class Own(Op):
        def forward(self, x):
            return np.broadcast_to(x[..., :1, :1], x.shape).copy()

        def pull_back(self, x, cotangent):
            return cotangent

    picture = np.zeros((1, 1, 4, 16))
    picture[0, 0, :, 0], picture[0, 0, :, 4], picture[0, 0, :, 8] = 10, 20, 40
    model = NumpyAdapter(own=Own(), pool=GlobalAveragePool(), fc=Dense(np.eye(1), np.zeros(1)))
    about = {"layer": "own", "method": "activations", "tile": (4, 8)}
    shared = camcore.explain_tiles(model, picture, **about, overlap=(0, 4)).raw["own"][0, 0]
    # Four places are shared: the left tile weighs 4/5, 3/5, 2/5, 1/5 there, the right one the rest.
    fade = np.array([4, 3, 2, 1]) / 5
    expected = [10] * 4 + list(10 * fade + 20 * (1 - fade)) + list(20 * fade + 40 * (1 - fade))
    assert shared == pytest.approx([*expected, 40, 40, 40, 40], abs=1e-12)
    # Without overlap the last tile is moved inwards, and the plain mean is taken.
    plain = camcore.explain_tiles(model, picture[..., :12], **about).raw["own"][0, 0]
    assert plain == pytest.approx([10] * 4 + [15] * 4 + [20] * 4, abs=1e-12)


def test_several_batches_of_tiles_are_one(picture):
    results = [
        camcore.explain_tiles(network(), picture, 3, "relu2", tile=16, overlap=8, batch=batch)
        for batch in (1, 4, 100)
    ]
    for other in results[1:]:
        assert np.allclose(other.raw["relu2"], results[0].raw["relu2"], rtol=1e-12, atol=1e-15)
        assert np.array_equal(other.maps, results[0].maps)
        assert np.allclose(other.outputs, results[0].outputs, rtol=1e-12)


def test_without_a_target_the_class_is_chosen_over_all_tiles(picture):
    model = network()
    cut = [
        picture[:, :, a : a + 16, b : b + 16] for a in range(0, 64, 16) for b in range(0, 96, 16)
    ]
    alone = [camcore.explain(model, part, None, "relu2") for part in cut]
    assert len({int(one.classes[0]) for one in alone}) > 1
    expected = int(np.mean([one.outputs[0] for one in alone], 0).argmax())
    tiled = camcore.explain_tiles(model, picture, layer="relu2", tile=16)
    assert tiled.classes.tolist() == [expected]
    assert expected == camcore.explain(model, picture, None, "relu2").classes[0]
    said = camcore.explain_tiles(model, picture, expected, "relu2", tile=16)
    assert np.array_equal(tiled.maps, said.maps)


def test_a_method_without_a_target_names_the_class_of_all_tiles(picture):
    tiled = camcore.explain_tiles(network(), picture, layer="relu2", method="activations", tile=16)
    whole = camcore.explain(network(), picture, layer="relu2", method="activations")
    assert np.allclose(tiled.raw["relu2"], whole.raw["relu2"], rtol=1e-12)
    assert tiled.classes.tolist() == whole.classes.tolist()
    assert tiled.scores == pytest.approx(whole.scores, rel=1e-12)


def test_a_target_that_means_another_class_in_each_tile_is_refused(picture):
    with pytest.raises(TargetError, match="another class in each tile"):
        camcore.explain_tiles(network(), picture, Class(), "relu2", tile=16)


def test_layers_of_several_sizes_are_joined_on_the_finest_grid(picture):
    about = {"layer": ["mix", "relu2"], "method": "hirescam"}
    whole = camcore.explain(network(), picture, 0, **about)
    tiled = camcore.explain_tiles(network(), picture, 0, **about, tile=16, overlap=2)
    assert {name: maps.shape for name, maps in tiled.raw.items()} == {
        "mix": (1, 64, 96),
        "relu2": (1, 16, 24),
    }
    assert np.abs(tiled.maps - whole.maps).max() < 1e-6


def test_the_model_never_sees_more_tiles_than_a_batch(picture):
    model = watched()
    camcore.explain_tiles(model, picture, layer="relu2", tile=16, batch=5)
    assert {shape[1:] for shape in model.batches} == {(3, 16, 16)}
    # The first tile tells the layer's grid; then each is seen once for scores and once for maps.
    counts = [shape[0] for shape in model.batches]
    assert max(counts) == 5
    assert sum(counts) == 1 + 2 * 24


class Parts:
    """An array-like that can be read in parts, and notes which."""

    dtype = np.dtype(np.uint8)

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, []

    def __getitem__(self, part):
        self.read.append(self.array[part].shape[:2])
        return self.array[part]


class Slide:
    """What an OpenSlide is, as far as it is used."""

    def __init__(self, array, image):
        self.array, self.image = array, image
        self.dimensions = array.shape[1::-1]

    def read_region(self, location, level, size):
        assert level == 0
        (left, top), (width, height) = location, size
        return self.image.fromarray(self.array[top : top + height, left : left + width])


def shown(photo):
    return as_batch(photo)


def test_a_photograph_is_read_in_parts_and_kept_where_it_is_an_array(require):
    image = require("PIL.Image")
    photo = small((46, 60))
    about = {"target": 1, "layer": "relu2", "method": "hirescam", "tile": 16, "overlap": 4}
    expected = camcore.explain_tiles(network(), as_batch(photo), **about)
    parts = Parts(photo)
    opaque = np.concatenate([photo, np.full((46, 60, 1), 255, np.uint8)], -1)
    for source in (photo, parts, Slide(opaque, image), opaque, image.fromarray(photo)):
        found = camcore.explain_tiles(network(), source, preprocess=shown, **about)
        assert np.allclose(found.raw["relu2"], expected.raw["relu2"], rtol=1e-12)
        assert found.preprocessing == "tiles of 16 × 16: shown"
    assert max(rows for rows, _ in parts.read) <= 16
    kept = camcore.explain_tiles(network(), photo, preprocess=shown, **about)
    assert kept.photographs[0].photo is photo
    assert not camcore.explain_tiles(network(), parts, preprocess=shown, **about).photographs


def test_a_slides_file_is_read_in_parts(require, tmp_path, monkeypatch):
    image, photo = require("PIL.Image"), small((46, 60))
    (tmp_path / "one.SVS").write_bytes(b"slide")
    opened = []

    def open_slide(path):
        opened.append(path)
        return Slide(photo, image)

    monkeypatch.setitem(sys.modules, "openslide", SimpleNamespace(OpenSlide=open_slide))
    about = {"target": 1, "layer": "relu2", "tile": 16, "preprocess": shown}
    found = camcore.explain_tiles(network(), tmp_path / "one.SVS", **about)
    expected = camcore.explain_tiles(network(), photo, **about)
    assert opened == [str(tmp_path / "one.SVS")]
    assert np.array_equal(found.maps, expected.maps)
    with pytest.raises(MissingFileError):
        camcore.explain_tiles(network(), tmp_path / "none.svs", **about)
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(MissingExtraError, match=r"camcore\[slides\]"):
        camcore.explain_tiles(network(), tmp_path / "one.SVS", **about)


def test_a_map_lies_over_its_photograph_up_to_where_it_reaches_beyond(require):
    require("cv2")
    photo = small((46, 60))
    found = camcore.explain_tiles(
        network(), photo, 1, "relu2", tile=16, preprocess=shown, method="hirescam"
    )
    assert found.maps.shape == (1, 12, 15)
    # 12 rows of 4 pixels are 48, of which the photograph has 46.
    assert found.photographs[0].crop.grid == (48, 60)
    large = camcore.resize.resize(found.maps, (48, 60))[0, :46]
    assert np.array_equal(found.maps_on_photographs()[0], large)
    assert np.array_equal(found.overlay()[0], camcore.viz.overlay(photo, large)[0])


def test_a_saved_result_is_the_same(tmp_path, require):
    require("PIL")
    found = camcore.explain_tiles(network(), small((46, 60)), 1, "relu2", tile=16, preprocess=shown)
    found.save(tmp_path / "tiles.npz")
    again = camcore.load(tmp_path / "tiles.npz")
    assert np.array_equal(again.maps, found.maps)
    assert vars(again.photographs[0].crop) == vars(found.photographs[0].crop)


def test_the_square_that_a_model_takes_is_the_tile_where_none_is_said(require):
    require("PIL")
    preprocess = camcore.Preprocessing(16, 20, mean=(0, 0, 0), std=(1, 1, 1), precision="float64")
    photo = small((32, 48))
    found = camcore.explain_tiles(network(), photo, 0, "relu2", preprocess=preprocess)
    expected = camcore.explain_tiles(network(), as_batch(photo), 0, "relu2", tile=16)
    assert np.allclose(found.raw["relu2"], expected.raw["relu2"], rtol=1e-6)
    assert found.preprocessing == "tiles of 16 × 16: RGB from 0 to 1"


def test_beyond_the_picture_its_edge_is_repeated():
    picture = LargePicture.of(small((5, 6)))
    tile = picture.tile(3, 4, (4, 4))
    rows, columns = [3, 4, 4, 4], [4, 5, 5, 5]
    assert np.array_equal(tile, picture.photo[np.ix_(rows, columns)])


@pytest.mark.parametrize(
    ("about", "error", "message"),
    [
        ({"tile": 128}, InputError, "smaller than a tile of 128 by 128"),
        ({}, InputError, "Say it: tile=512"),
        ({"tile": 16, "overlap": 13}, InputError, "less of a tile of 16 pixels than the 4"),
        ({"tile": 16, "overlap": -1}, InputError, "overlap=-1; give at least 0"),
        ({"tile": (16, 16, 3)}, InputError, "or \\(height, width\\)"),
        ({"tile": 16, "batch": 0}, InputError, "at least one tile"),
        ({"tile": 16, "target": [1, 2]}, InputError, "one target"),
        ({"tile": 16, "target": Each([1, 2])}, InputError, "one target"),
        ({"tile": 16, "method": ["gradcam", "cam"]}, InputError, "one method at a time"),
        ({"tile": 16, "method": "eigencam"}, MethodError, "no common scale"),
        ({"tile": 16, "eigen_smooth": True}, MethodError, "no common scale"),
    ],
)
def test_what_has_no_common_scale_or_no_tiles_is_refused(about, error, message, picture):
    with pytest.raises(error, match=message):
        camcore.explain_tiles(network(), picture, layer="relu2", **about)


def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(InputError, match="no picture to cut into tiles"):
        camcore.explain_tiles(network(), picture[0], layer="relu2", tile=16)
    with pytest.raises(InputError, match="no picture to cut into tiles"):
        camcore.explain_tiles(network(), np.repeat(picture, 2, 0), layer="relu2", tile=16)
    with pytest.raises(InputError, match="shown to the model in part"):
        camcore.explain_tiles(
            network(),
            small((40, 40)),
            0,
            "relu2",
            tile=16,
            preprocess=lambda p: shown(p)[..., 4:12, 4:12],
        )


def test_a_grid_that_tiles_do_not_hold_in_whole_pixels_is_refused(picture):
    class Three(Op):
        def forward(self, x):
            return x[..., ::6, ::6].copy()

        def pull_back(self, x, cotangent):
            spread = np.zeros_like(x)
            spread[..., ::6, ::6] = cotangent
            return spread

    model = NumpyAdapter(three=Three(), pool=GlobalAveragePool(), fc=Dense(np.eye(3), np.zeros(3)))
    with pytest.raises(InputError, match="no whole pixels each"):
        camcore.explain_tiles(model, picture, 0, "three", tile=16)
