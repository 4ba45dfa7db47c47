"""Resizing equals the libraries it names, and behaves like interpolation where they do not look."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camcore.errors import InputError
from camcore.resize import LINEAR, Interpolation, resize, resized_rows
from camcore.resize import PEERS as RECIPES_USE

# Conventions that no recipe uses, which `Interpolation` expresses all the same:
# - "torch-nearest-exact" is equal but for rare exact ties, such as 2 to 41, where PyTorch's
#   own kernels for different ranks disagree.
# - "tensorflow-v1-*" is tf.compat.v1.image.resize_*.
PEERS = {
    **RECIPES_USE,
    "opencv-nearest": Interpolation("nearest", "asymmetric", arithmetic="float64"),
    "opencv-cubic": Interpolation("cubic"),
    "torch-nearest-exact": Interpolation("nearest", arithmetic="float32"),
    "torch-cubic": Interpolation("cubic", arithmetic="fused"),
    "torch-cubic-aligned": Interpolation("cubic", "align_corners", arithmetic="float32"),
    "tensorflow-nearest": Interpolation("nearest", arithmetic="float32"),
    "tensorflow-linear": Interpolation(arithmetic="float32"),
    "tensorflow-v1-nearest": Interpolation("nearest", "asymmetric", arithmetic="float32"),
    "tensorflow-v1-nearest-aligned": Interpolation(
        "nearest", "align_corners", arithmetic="float32"
    ),
    "tensorflow-v1-linear": Interpolation("linear", "asymmetric", arithmetic="float32"),
    "tensorflow-v1-linear-aligned": Interpolation("linear", "align_corners", arithmetic="float32"),
    "tensorflow-v1-cubic": Interpolation("cubic", "asymmetric", arithmetic="float32", phases=1024),
    "tensorflow-v1-cubic-aligned": Interpolation(
        "cubic", "align_corners", arithmetic="float32", phases=1024
    ),
}

# Up, down, both at once, odd, one sample in or out, and past the dense product's reach.
PLANES = [
    ((7, 7), (224, 224)),
    ((14, 14), (33, 47)),
    ((7, 9), (5, 3)),
    ((5, 8), (13, 4)),
    ((30, 20), (15, 10)),
    ((1, 6), (4, 11)),
    ((6, 1), (3, 9)),
    ((1, 1), (3, 4)),
    ((5, 7), (1, 1)),
    ((5, 7), (1, 20)),
    ((90, 70), (37, 140)),
]
LINES = [((n,), (m,)) for n, m in [(7, 224), (29, 13), (5, 5), (1, 6), (6, 1), (90, 37), (2, 3)]]
VOLUMES = [
    ((4, 5, 6), (9, 7, 4)),
    ((3, 3, 3), (8, 8, 8)),
    ((1, 4, 2), (5, 1, 3)),
    ((70, 4, 3), (33, 9, 5)),
]
PHOTOS = [((300, 224), (224, 300)), ((224, 224), (7, 56))]

TORCH_MODES = {
    "nearest": ("nearest", "nearest", "nearest"),
    "nearest-exact": ("nearest-exact", "nearest-exact", "nearest-exact"),
    "linear": ("linear", "bilinear", "trilinear"),
    "cubic": (None, "bicubic", None),
}
TORCH_CASES = [
    (name, shape, size, tolerance)
    for name in PEERS
    if name.startswith("torch-")
    for cases, tolerance in (([*LINES, *PLANES, *VOLUMES], 1e-6), (PHOTOS, 1e-5))
    for shape, size in cases
    if "cubic" not in name or len(shape) == 2
]
PLANE_CASES = [
    (shape, size, tolerance)
    for cases, tolerance in ((PLANES, 1e-6), (PHOTOS, 1e-5))
    for shape, size in cases
]


def noise(shape, dtype=np.float32):
    return np.random.default_rng(sum(shape)).random(shape).astype(dtype)


def difference(ours, theirs):
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max())


def peer_names(library):
    return [name for name in PEERS if name.startswith(library)]


# Peers -----------------------------------------------------------------------


def opencv(cv2, plane, size, name):
    flag = getattr(cv2, "INTER_" + name.removeprefix("opencv-").upper())
    return cv2.resize(plane, size[::-1], interpolation=flag)


@pytest.mark.parametrize("name", peer_names("opencv-"))
@pytest.mark.parametrize(("shape", "size", "tolerance"), PLANE_CASES)
def test_equals_opencv(require, name, shape, size, tolerance):
    plane = noise(shape)
    expected = opencv(require("cv2"), plane, size, name)
    assert difference(resize(plane, size, PEERS[name]), expected) <= tolerance


@pytest.mark.parametrize(("n", "m"), [(6, 34), (14, 18), (14, 100), (18, 62)])
def test_nearest_follows_opencv_at_ties(require, n, m):
    line = np.arange(n, dtype=np.float32)
    expected = opencv(require("cv2"), line[None], (1, m), "opencv-nearest")[0]
    assert difference(resize(line, (m,), PEERS["opencv-nearest"]), expected) == 0
    exact = resize(line, (m,), replace(PEERS["opencv-nearest"], arithmetic="exact"))
    assert difference(exact, expected) == 1


def torch_resize(torch, array, size, name):
    mode = name.removeprefix("torch-")
    aligned = mode.endswith("-aligned")
    mode = TORCH_MODES[mode.removesuffix("-aligned")][len(size) - 1]
    return torch.nn.functional.interpolate(
        torch.from_numpy(array),
        size,
        mode=mode,
        align_corners=None if mode.startswith("nearest") else aligned,
    ).numpy()


@pytest.mark.parametrize(("name", "shape", "size", "tolerance"), TORCH_CASES)
def test_equals_torch(torch, name, shape, size, tolerance):
    maps = noise((2, 3, *shape))
    expected = torch_resize(torch, maps, size, name)
    assert difference(resize(maps, size, PEERS[name]), expected) <= tolerance


@pytest.mark.parametrize("name", [n for n in peer_names("torch-") if "nearest" not in n])
@pytest.mark.parametrize(("shape", "size"), [*PLANES, *PHOTOS])
def test_exact_coordinates_equal_torch_in_double(torch, name, shape, size):
    maps = noise((1, 2, *shape), np.float64)
    expected = torch_resize(torch, maps, size, name)
    assert (
        difference(resize(maps, size, replace(PEERS[name], arithmetic="exact")), expected) < 1e-12
    )


@pytest.mark.parametrize(("n", "m"), [(14, 46), (21, 69), (26, 22), (39, 66)])
def test_nearest_follows_torch_at_ties(torch, n, m):
    line = np.arange(n, dtype=np.float32)[None, None]
    expected = torch_resize(torch, line, (m,), "torch-nearest")
    assert difference(resize(line, (m,), PEERS["torch-nearest"]), expected) == 0
    exact = resize(line, (m,), replace(PEERS["torch-nearest"], arithmetic="exact"))
    assert difference(exact, expected) == 1


def tensorflow_resize(tf, maps, size, name):
    method, _, aligned = name.removeprefix("tensorflow-").removeprefix("v1-").partition("-")
    images = np.moveaxis(maps, -3, -1)
    if "-v1-" in name:
        op = {"nearest": "nearest_neighbor", "linear": "bilinear", "cubic": "bicubic"}[method]
        call = getattr(tf.compat.v1.image, f"resize_{op}")
        resized = call(images, size, align_corners=bool(aligned))
    else:
        mode = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}[method]
        resized = tf.image.resize(images, size, method=mode)
    return np.moveaxis(resized.numpy(), -1, -3)


@pytest.mark.parametrize("name", peer_names("tensorflow-"))
@pytest.mark.parametrize(("shape", "size", "tolerance"), PLANE_CASES)
def test_equals_tensorflow(tf, name, shape, size, tolerance):
    maps = noise((2, 3, *shape))
    expected = tensorflow_resize(tf, maps, size, name)
    assert difference(resize(maps, size, PEERS[name]), expected) <= tolerance


@pytest.mark.parametrize(("shape", "size"), [*LINES, *PLANES, *VOLUMES, *PHOTOS])
def test_equals_scipy(require, shape, size):
    array = noise(shape, np.float64)
    zoom = [m / n for n, m in zip(shape, size, strict=True)]
    # In the default mode, 30 to 15 rounds the last coordinate off the edge and gives zeros.
    expected = require("scipy.ndimage").zoom(array, zoom, order=1, mode="nearest")
    assert difference(resize(array, size, PEERS["scipy-linear"]), expected) < 1e-12
    expected = require("scipy.ndimage").zoom(array, zoom)
    if np.all(np.take(expected, -1, axis=-1)):
        assert difference(resize(array, size, PEERS["scipy-spline"]), expected) < 1e-12


@pytest.mark.parametrize("side", [7, 14, 28])
@pytest.mark.parametrize("kind", ["linear", "cubic"])
def test_exact_coordinates_serve_for_maps(torch, side, kind):
    maps = noise((1, 4, side, side))
    ours = resize(maps, (224, 224), Interpolation(kind))
    assert difference(ours, torch_resize(torch, maps, (224, 224), f"torch-{kind}")) <= 2e-6


# By hand ---------------------------------------------------------------------

KEYS = Interpolation("cubic", "asymmetric", cubic_coefficient=-0.5)


@pytest.mark.parametrize(
    ("line", "length", "interpolation", "expected"),
    [
        ([0, 1], 4, LINEAR, [0, 0.25, 0.75, 1]),
        ([0, 1], 4, Interpolation(coordinates="align_corners"), [0, 1 / 3, 2 / 3, 1]),
        ([0, 1], 4, Interpolation(coordinates="asymmetric"), [0, 0.5, 1, 1]),
        ([1, 2, 3, 4], 2, LINEAR, [1.5, 3.5]),
        ([1, 2, 3], 1, LINEAR, [2]),
        ([1, 2, 3], 1, Interpolation(coordinates="align_corners"), [1]),
        ([0, 1, 2, 3], 2, Interpolation("nearest"), [1, 3]),
        ([0, 1, 2, 3], 2, Interpolation("nearest", "asymmetric"), [0, 2]),
        ([0, 1], 3, Interpolation("nearest", "align_corners"), [0, 1, 1]),
        ([0, 16, 0, 0], 8, KEYS, [0, 9, 16, 9, 0, -1, 0, 0]),
        ([0, 32, 0, 0], 8, Interpolation("cubic", "asymmetric"), [0, 19, 32, 19, 0, -3, 0, 0]),
        (
            [0, 2380],
            4,
            Interpolation("cubic", cubic_coefficient=-0.5, border="renormalise"),
            [-210, 493, 1887, 2590],
        ),
        ([5], 3, Interpolation("linear", "asymmetric", border="renormalise", phases=1), [5, 5, 5]),
        ([0, 1, 0], 6, Interpolation("linear", "asymmetric", phases=1), [0, 0, 1, 1, 0, 0]),
    ],
)
def test_resize_equals_values_by_hand(line, length, interpolation, expected):
    np.testing.assert_allclose(resize(np.float64(line), (length,), interpolation), expected, atol=0)


def test_keys_cubic_reproduces_parabolas():
    x = np.arange(20.0)
    where = np.arange(2, 3 * 17) / 3
    parabola = 0.5 * x**2 - 3 * x + 1
    resized = resize(parabola, (60,), KEYS)[2 : 3 * 17]
    inside = (where >= 1) & (where <= 17)
    expected = 0.5 * where**2 - 3 * where + 1
    np.testing.assert_allclose(resized[inside], expected[inside], rtol=0, atol=1e-12)


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
def test_exact_nearest_meets_every_tie(coordinates):
    for n in range(2, 30):
        for m in range(2, 70):
            i = np.arange(m)
            expected = {
                "half_pixel": (2 * i + 1) * n // (2 * m),
                "align_corners": (2 * i * (n - 1) + m - 1) // (2 * (m - 1)),
                "asymmetric": i * n // m,
            }[coordinates]
            resized = resize(np.arange(n), (m,), Interpolation("nearest", coordinates))
            np.testing.assert_array_equal(resized, expected)


@pytest.mark.parametrize("kind", ["nearest", "linear", "cubic", "spline"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_and_located(kind, value):
    spoiled = noise((2, 7, 7))
    spoiled[1, 0, 3] = value
    with pytest.raises(InputError, match=r"1 values that are NaN .* first at \(1, 0, 3\)"):
        resize(spoiled, (14, 14), Interpolation(kind))
    with pytest.raises(InputError, match="must be finite"):
        resize(spoiled, (7, 7), Interpolation(kind))


def test_a_cubic_that_overshoots_beyond_what_there_is_is_refused():
    step = np.float32([[0, 0, 3.4e38, 3.4e38]])
    np.testing.assert_array_equal(resize(step, (1, 8)).max(), np.float32(3.4e38))
    with pytest.raises(InputError, match="A resize overflows float32"):
        resize(step, (1, 8), Interpolation("cubic"))


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((2**28,), "would make 1,610,612,736 values"),
        ((2**20, 2**20), "would make 2,199,023,255,552 values"),
        ((2**70, 1), "more than memory holds"),
    ],
)
def test_sizes_that_no_memory_holds_are_refused(size, says):
    with pytest.raises(InputError, match=says):
        resize(np.zeros((2, 3, 4)), size)


@pytest.mark.parametrize(
    ("given_dtype", "expected"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        (">f4", "float32"),
        ("float64", "float64"),
        ("bool", "float32"),
        ("uint8", "float32"),
        ("int16", "float32"),
        ("int32", "float64"),
        ("int64", "float64"),
    ],
)
def test_dtype(given_dtype, expected):
    array = np.array([[0, 1], [1, 0]]).astype(given_dtype)
    for size in [(4, 4), (2, 2)]:
        resized = resize(array, size)
        assert resized.dtype == np.dtype(expected)
        assert resized[0, 0] == 0
        assert resized[0, -1] == 1


def test_nearest_keeps_large_labels():
    labels = np.array([2**40 + 1, 2**31 - 1])
    np.testing.assert_array_equal(
        resize(labels, (4,), Interpolation("nearest")), labels.repeat(2).astype(np.float64)
    )


def test_strided_input():
    volume = noise((6, 5, 4, 3))
    np.testing.assert_allclose(
        resize(volume[::2, ::-1].transpose(0, 3, 2, 1), (9, 2, 7)),
        resize(np.ascontiguousarray(volume[::2, ::-1].transpose(0, 3, 2, 1)), (9, 2, 7)),
        rtol=0,
        atol=1e-6,
    )


# Properties ------------------------------------------------------------------

interpolations = st.builds(
    Interpolation,
    kind=st.sampled_from(["nearest", "linear", "cubic"]),
    coordinates=st.sampled_from(["half_pixel", "align_corners", "asymmetric"]),
    cubic_coefficient=st.sampled_from([-0.75, -0.5, -1.0, 0.0]),
    border=st.sampled_from(["clamp", "renormalise"]),
    arithmetic=st.sampled_from(["exact", "float64", "fused", "float32"]),
    phases=st.sampled_from([None, 1, 32, 1024]),
)


@st.composite
def spans(draw):
    """Input and output lengths of rank 1 to 3, one of the inputs at times long."""
    rank = draw(st.integers(1, 3))
    short = st.integers(1, 9)
    shape = draw(st.lists(short, min_size=rank, max_size=rank))
    if draw(st.booleans()):
        shape[draw(st.integers(0, rank - 1))] = draw(st.integers(60, 80))
    return tuple(shape), tuple(draw(st.lists(st.integers(1, 12), min_size=rank, max_size=rank)))


def uniform(shape, seed, dtype=np.float64):
    """Noise in [-1, 1] that cannot be written to."""
    array = np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)
    array.setflags(write=False)
    return array


seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(spans(), interpolations, st.floats(-1e6, 1e6))
def test_constant_stays(lengths, interpolation, value):
    shape, size = lengths
    resized = resize(np.full(shape, value), size, interpolation)
    np.testing.assert_allclose(resized, np.full(size, value), rtol=1e-12, atol=1e-300)


@settings(deadline=None)
@given(spans(), interpolations, seeds)
def test_nearest_and_linear_stay_in_range(lengths, interpolation, seed):
    shape, size = lengths
    kind = "linear" if interpolation.kind == "cubic" else interpolation.kind
    array = uniform(shape, seed, np.float32)
    resized = resize(array, size, replace(interpolation, kind=kind))
    slack = 0 if kind == "nearest" else 5e-7
    assert array.min() - slack <= resized.min()
    assert resized.max() <= array.max() + slack


@settings(deadline=None)
@given(spans(), interpolations, seeds)
def test_nearest_only_copies(lengths, interpolation, seed):
    shape, size = lengths
    array = uniform(shape, seed)
    resized = resize(array, size, replace(interpolation, kind="nearest"))
    assert np.isin(resized, array).all()


@settings(deadline=None)
@given(spans(), interpolations, seeds)
def test_resize_to_the_same_size_is_an_independent_copy(lengths, interpolation, seed):
    shape, _ = lengths
    array = uniform(shape, seed)
    resized = resize(array, shape, interpolation)
    np.testing.assert_array_equal(resized, array)
    assert not np.shares_memory(resized, array)
    assert resized.flags.writeable


@settings(deadline=None)
@given(spans(), interpolations, seeds)
def test_input_is_left_alone(lengths, interpolation, seed):
    shape, size = lengths
    array = uniform(shape, seed).copy()
    before = array.copy()
    resized = resize(array, size, interpolation)
    resized += 1
    np.testing.assert_array_equal(array, before)
    # Nor do the cached weights change: the same call gives the same numbers.
    np.testing.assert_array_equal(resize(array, size, interpolation) + 1, resized)


@settings(deadline=None)
@given(spans(), interpolations, seeds, st.floats(-10, 10), st.floats(-10, 10))
def test_linear_in_the_values(lengths, interpolation, seed, a, b):
    shape, size = lengths
    x, y = uniform(shape, seed), uniform(shape, seed + 1)
    together = resize(a * x + b * y, size, interpolation)
    apart = a * resize(x, size, interpolation) + b * resize(y, size, interpolation)
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(spans(), interpolations, seeds)
def test_axes_are_independent(lengths, interpolation, seed):
    shape, size = lengths
    array = uniform(shape, seed)
    stepwise = array
    for axis, length in enumerate(size):
        turned = resize(np.moveaxis(stepwise, axis, -1), (length,), interpolation)
        stepwise = np.moveaxis(turned, -1, axis)
    np.testing.assert_allclose(resize(array, size, interpolation), stepwise, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(spans(), interpolations, st.integers(1, 40), seeds)
def test_batch_equals_its_samples(lengths, interpolation, batch, seed):
    shape, size = lengths
    maps = uniform((batch, *shape), seed, np.float32)
    together = resize(maps, size, interpolation)
    for sample, expected in zip(maps, together, strict=True):
        np.testing.assert_array_equal(resize(sample, size, interpolation), expected)


@settings(deadline=None)
@given(spans(), interpolations, st.data())
def test_extreme_values_stay_finite(lengths, interpolation, data):
    shape, size = lengths
    extremes = st.sampled_from(np.float32([0, 1, 1e30, -1e30, 1e-30, -1e-30]))
    array = data.draw(hnp.arrays(np.float32, shape, elements=extremes))
    assert np.isfinite(resize(array, size, interpolation)).all()


# Errors and the rest ---------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "size", "message"),
    [
        (np.zeros((2, 3)), (4, 4, 4), r"3 lengths.*\(2, 3\)"),
        (np.zeros((2, 3)), (), "0 lengths"),
        (np.float32(1), (1,), "1 lengths"),
        (np.zeros((2, 3)), (4, 0), r"\(4, 0\).*at least 1"),
        (np.zeros((2, 3)), (-1,), r"\(-1,\).*at least 1"),
        (np.zeros((2, 3)), (4.0, 4.0), "whole number"),
        (np.zeros((2, 3)), 4, "one whole number per axis"),
        (np.zeros((2, 0, 3)), (4, 4), r"empty.*\(2, 0, 3\)"),
        (np.zeros((0, 3, 3)), (4, 4), r"empty.*\(0, 3, 3\)"),
        (np.array(["a", "b"]), (4,), "<U1.*float32"),
        (np.array([1j, 2]), (4,), "complex128"),
        (np.array([None, 2]), (4,), "object"),
    ],
)
def test_unfit_arguments(array, size, message):
    with pytest.raises(InputError, match=message):
        resize(array, size)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "bilinear"}, "kind='bilinear'.*'nearest', 'linear', 'cubic'"),
        ({"coordinates": "corners"}, "coordinates='corners'.*'align_corners'"),
        ({"border": "reflect"}, "border='reflect'.*'clamp'"),
        ({"arithmetic": "float16"}, "arithmetic='float16'.*'exact'"),
        ({"cubic_coefficient": 0.5}, r"cubic_coefficient=0.5.*\[-3, 0\]"),
        ({"cubic_coefficient": float("nan")}, "cubic_coefficient=nan"),
        ({"phases": 0}, "phases=0.*1024"),
    ],
)
def test_unknown_settings(fields, message):
    with pytest.raises(InputError, match=message):
        Interpolation(**fields)


def test_imports_numpy_alone():
    code = (
        "import sys, camcore.resize; "
        "print(sorted({'cv2', 'torch', 'scipy', 'tensorflow'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("size", [(4,), (2, 4, 4), (2, 2, 4, 4)])
def test_a_size_of_another_rank_does_not_reach_into_the_leading_axes(size):
    maps = np.arange(18.0).reshape(2, 3, 3)
    np.testing.assert_array_equal(resize(maps, (4, 4), leading=1), resize(maps, (4, 4)))
    with pytest.raises(
        InputError, match=r"\(2, 3, 3\) have 2 spatial axes, and the size|do not fit"
    ):
        resize(maps, size, leading=1)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((7, 9), (50, 40)),
        ((70, 90), (333, 200)),
        ((70, 90), (80, 400)),
        ((7, 90), (20, 95)),
        ((90, 70), (30, 20)),
        ((80, 80), (80, 99)),
        ((5, 6), (5, 6)),
    ],
)
def test_rows_asked_for_one_by_one_are_those_of_the_whole(name, shape, size):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    whole, rows = resize(array, size, PEERS[name]), resized_rows(array, size, PEERS[name])
    for step in (1, 7, size[0]):
        starts = range(0, size[0], step)
        found = np.concatenate([rows(slice(start, start + step)) for start in starts])
        assert np.array_equal(found, whole)
    assert rows(slice(0, 1)).dtype == whole.dtype


def test_rows_of_what_cannot_be_resized_are_refused_at_once():
    with pytest.raises(InputError, match="size=\\(0, 3\\) is no size"):
        resized_rows(np.ones((2, 2)), (0, 3))
    with pytest.raises(InputError, match="must be finite"):
        resized_rows(np.full((2, 2), np.nan), (3, 3))
