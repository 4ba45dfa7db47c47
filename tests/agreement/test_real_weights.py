"""Every framework shows the same map of the same network on the same photographs."""

from __future__ import annotations

import copy
import functools
import io

import numpy as np
import pytest

import camcore
from camcore.methods import TABLE
from camcore.metrics.agreement import pearson, spearman

OTHERS = ("keras", "jax", "onnx")
HEAD = {"torch": "bn2", **dict.fromkeys(OTHERS, "head_relu")}
EARLY = {"torch": "blocks.1", **dict.fromkeys(OTHERS, "block2b_add")}

# EfficientNet has none; these are compared on a small ViT in tests/backends, and the token map
# on a small network in test_tokens.py.
ON_ATTENTION = {method.name for method in TABLE if method.level in ("attention", "output")}
ONE_PASS = [m.name for m in TABLE if m.passes == "1" and m.name not in ON_ATTENTION]

# Small settings of what is costly, and the layer with the fewest channels for what
# runs the model once for each of them.
COSTLY = {
    "shapleycam": (HEAD, {}),
    "smoothgradcampp": (HEAD, {}),
    "scorecam": (EARLY, {}),
    "fasterscorecam": (HEAD, {}),
    "sscam": (EARLY, {"samples": 2}),
    "iscam": (EARLY, {"steps": 2}),
    "gscorecam": (EARLY, {}),
    "groupcam": (HEAD, {"groups": 4}),
    "ablationcam": (HEAD, {}),
    "layerig": (HEAD, {"steps": 3}),
    "dix": (HEAD, {"steps": 4}),
    "reciprocam": (HEAD, {}),
    "occlusion": (HEAD, {"window": 64, "stride": 40}),
    "rise": (HEAD, {"masks": 32}),
    "sobol": (HEAD, {"designs": 4, "cells": 3}),
    "hsic": (HEAD, {"masks": 32, "cells": 4}),
    "fullgrad": (HEAD, {}),
}

NOT_OFFERED = {("shapleycam", "onnx")}

# Gradients at the input cross every kink of the network. In float32 some of a million
# rectifiers fall on the other side of zero, so these are compared in float64 as well.
AT_INPUT = {
    "saliency": {},
    "gradienttimesinput": {},
    "smoothgrad": {"samples": 1},
    "smoothgradsq": {"samples": 1},
    "vargrad": {"samples": 2},
    "integratedgradients": {"steps": 1},
    "idgi": {"steps": 2},
    "gradientshap": {"samples": 1},
    "guidedig": {"steps": 2},
    "blurig": {"steps": 2},
    "xrai": {"steps": 2},
    "opticam": {"steps": 1},
    "guidedbackprop": {},
    "deconvnet": {},
    "guidedgradcam": {},
}


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference relative to the largest value."""
    return float(np.abs(one - other).max() / np.abs(one).max())


def signed(explanation: camcore.Explanation) -> np.ndarray:
    (raw,) = explanation.raw.values()
    return raw


@pytest.fixture(scope="module")
def every(lite0):
    """Explanations by every one-pass method in every framework."""
    return {
        framework: camcore.explain(own.model, own.images, layer=HEAD[framework], method=ONE_PASS)
        for framework, own in lite0.items()
    }


def test_every_method_is_compared():
    compared = {*ONE_PASS, *COSTLY, *AT_INPUT, *ON_ATTENTION, "polycam"}
    assert {m.name for m in TABLE} == compared


def test_the_chosen_layer_is_the_one_before_pooling(lite0):
    for framework, own in lite0.items():
        assert camcore.Explainer(own.model).layers(own.images) == (HEAD[framework],)


def test_top_1_is_equal_and_right_where_the_photograph_is_of_a_class(every, photographs):
    torch, *others = (results["gradcam"].classes for results in every.values())
    for classes in others:
        np.testing.assert_array_equal(torch, classes)
    by_name = dict(zip(photographs, torch.tolist(), strict=True))
    # Tiger cat, espresso, missile's neighbour the projectile aside, tripod.
    assert (by_name["chelsea"], by_name["coffee"], by_name["camera"]) == (282, 967, 872)


@pytest.mark.parametrize("method", ONE_PASS)
@pytest.mark.parametrize("other", OTHERS)
def test_one_pass_methods_agree(every, method, other):
    torch, other = every["torch"][method], every[other][method]
    assert apart(signed(torch), signed(other)) <= 1e-4
    # Dividing by the strongest evidence enlarges what the signed maps differ by: at most
    # twice their difference over it, however weak it is. Without any, both show zeros.
    differ = np.abs(signed(torch) - signed(other)).max(axis=(1, 2))
    strongest = signed(torch).max(axis=(1, 2))
    bound = np.where(strongest > 0, 2 * differ / np.abs(strongest) + 2e-6, 0)
    assert np.all(np.abs(torch.maps - other.maps).max(axis=(1, 2)) <= bound)


@pytest.mark.parametrize("other", OTHERS)
def test_shown_maps_correlate_perfectly(every, other):
    torch, other = every["torch"]["gradcam"].maps, every[other]["gradcam"].maps
    assert np.min(pearson(torch, other)) > 1 - 1e-8
    assert np.min(spearman(torch, other)) > 1 - 1e-5


def test_gradcam_is_cam_at_the_head(every):
    for results in every.values():
        cam, gradcam = signed(results["cam"]), signed(results["gradcam"])
        assert apart(cam, gradcam * 7 * 7) <= 1e-5


@pytest.fixture(scope="module")
def costly(lite0):
    """PyTorch's signed map of two photographs by a method with further passes."""

    @functools.cache
    def explained(method):
        layer, options = COSTLY[method]
        own = lite0["torch"]
        return signed(
            camcore.explain(
                own.model, own.images[:2], layer=layer["torch"], method=method, **options
            )
        )

    return explained


@pytest.mark.parametrize("method", COSTLY)
@pytest.mark.parametrize("other", OTHERS)
def test_methods_with_further_passes_agree(lite0, costly, method, other):
    if (method, other) in NOT_OFFERED:
        pytest.skip("ONNX Runtime has no second derivatives")
    layer, options = COSTLY[method]
    own = lite0[other]
    found = camcore.explain(own.model, own.images[:2], layer=layer[other], method=method, **options)
    # A rectifier on the other side of zero; the test of float64 below shows that it is no more.
    loosely = (method, other) == ("fullgrad", "onnx")
    assert apart(costly(method), signed(found)) <= (1e-3 if loosely else 1e-4)


@pytest.fixture(scope="module")
def refined(lite0):
    """Poly-CAM through two layers, of which few channels are scored."""

    @functools.cache
    def explained(framework):
        own, layers = lite0[framework], (EARLY[framework], HEAD[framework])
        options = {"method": "polycam", "channels": 4}
        return camcore.explain(own.model, own.images[:2], layer=layers, **options)

    return explained


@pytest.mark.parametrize("other", OTHERS)
def test_polycam_agrees(refined, other):
    torch, other = refined("torch"), refined(other)
    assert apart(torch.maps, other.maps) <= 1e-4
    for one, same in zip(torch.raw.values(), other.raw.values(), strict=True):
        assert apart(one, same) <= 1e-4


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("dynamo", [False, True])
def test_files_of_both_exporters_agree(lite0, every, require, dynamo):
    torch, onnx = require("torch"), require("onnx")
    require("onnxscript")
    own, file = lite0["torch"], io.BytesIO()
    given = torch.from_numpy(np.asarray(own.images))
    torch.onnx.export(own.model, (given,), file, dynamo=dynamo)
    found = camcore.explain(
        onnx.load_from_string(file.getvalue()), own.images, layer="bn2", method=ONE_PASS
    )
    for method, expected in every["torch"].items():
        assert apart(signed(expected), signed(found[method])) <= 1e-4, method
        np.testing.assert_array_equal(found[method].classes, expected.classes)


@pytest.mark.parametrize("method", AT_INPUT)
def test_methods_at_the_input_agree_in_float64(lite0_float64, method):
    torch, keras = (
        camcore.explain(own.model, own.images[:1], layer=HEAD[f], method=method, **AT_INPUT[method])
        for f, own in lite0_float64.items()
    )
    assert apart(signed(torch), signed(keras)) <= 1e-9


@pytest.fixture(scope="module")
def jax_float64(lite0):
    """The network of JAX in float64, made once so that it compiles once."""
    import jax
    from flax import nnx

    with jax.enable_x64(True):
        definition, state = nnx.split(lite0["jax"].model)
        return nnx.merge(definition, jax.tree.map(lambda values: values.astype("float64"), state))


@pytest.mark.parametrize("method", AT_INPUT)
def test_methods_at_the_input_agree_in_float64_on_jax(lite0_float64, lite0, jax_float64, method):
    import jax

    torch, options = lite0_float64["torch"], AT_INPUT[method]
    expected = camcore.explain(torch.model, torch.images[:1], layer="bn2", method=method, **options)
    with jax.enable_x64(True):
        images = lite0["jax"].images[:1].astype(np.float64)
        found = camcore.explain(jax_float64, images, layer="head_relu", method=method, **options)
    assert apart(signed(expected), signed(found)) <= 1e-9


CROSSING = {
    "fullgrad": ({}, 1, 1e-3),
    "integratedgradients": ({"steps": 1}, 0.5, 3e-2),
    "guidedbackprop": ({}, 1, 1e-3),
}
"""Options, the scale of the image that gradients are taken at, and how far float64 may be."""

NEAR_A_KINK = 1e-5
"""Values nearer than this to 0 or 6 may be on either side of it in float32."""


@pytest.fixture(scope="module")
def crossed(lite0_float64):
    """What a method shows in float64, and how that changes where one value crosses its kink."""
    own = lite0_float64["torch"]

    @functools.cache
    def explained(method, *crossing):
        """The signed map where the values that are named are mirrored to the other side."""
        options, *_ = CROSSING[method]
        twin = copy.deepcopy(own.model)
        for name, place, away in crossing:
            twin.get_submodule(name).register_forward_pre_hook(shift(place, -2 * away))
        return signed(camcore.explain(twin, own.images[1:2], 967, "bn2", method, **options))

    @functools.cache
    def each(method):
        may_cross = near_a_kink(own.model, CROSSING[method][1] * own.images[1:2])
        changes = {one: explained(method, one) - explained(method) for one in may_cross}
        # What moves nothing cannot be told from rounding.
        least = 2e-6 * np.abs(explained(method)).max()
        return {one: c.ravel() for one, c in changes.items() if np.abs(c).max() > least}

    return explained, each


@pytest.mark.parametrize("method", ["guidedbackprop", "deconvnet", "guidedgradcam"])
@pytest.mark.parametrize("other", OTHERS)
def test_guided_gradients_agree(lite0, method, other):
    """Within 1e-5 but for a value that crosses its kink, on one processor or another."""
    torch, other = (
        camcore.explain(own.model, own.images[:2], layer=HEAD[framework], method=method)
        for framework, own in lite0.items()
        if framework in ("torch", other)
    )
    assert apart(signed(torch), signed(other)) <= 1e-3


@pytest.mark.parametrize("method", CROSSING)
def test_float32_is_off_by_the_side_of_rectifiers_alone(lite0, crossed, method):
    """Float64 shows float32's map once a few values are mirrored to the other side of a kink.

    Of the 6,157,536 rectified values of a photograph, 0 to 2 are in float32 on another side of
    0 or 6 than in float64 in PyTorch, 0 to 4 in Keras and JAX, 0 to 6 in ONNX Runtime (seven
    photographs, and half of each), and other ones on another processor. One may move a map by
    much. Of four photographs FullGrad is off by 1.2e-6 in PyTorch, 1.1e-4 in Keras, 3.6e-5 in
    JAX and 5.3e-4 in ONNX Runtime; integrated gradients of 8 steps by 1.2e-2, 1.2e-2, 1.2e-2
    and 2.1e-2. Which ones crossed is found from the map: the pass that shows their sides is
    compiled into other kernels.
    """
    options, _, near = CROSSING[method]
    explained, each = crossed
    exact, changes = explained(method), each(method)
    # In one test, as the changes take much longer than the maps.
    for framework, own in lite0.items():
        layer = HEAD[framework]
        found = signed(camcore.explain(own.model, own.images[1:2], 967, layer, method, **options))
        apart_by = (found - exact).ravel()
        weights, *_ = np.linalg.lstsq(np.stack([*changes.values()], axis=1), apart_by)
        did_cross = [one for one, weight in zip(changes, weights, strict=True) if weight > 0.5]
        assert len(did_cross) <= 6, framework
        assert apart(explained(method, *did_cross), found) <= 1e-5, framework
        assert apart(exact, found) <= near, framework


def near_a_kink(model, images):
    """Name, place and distance of each value that a ReLU6 is about to cut off, or not."""
    import torch

    found, rectifiers = (
        [],
        [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.ReLU6)],
    )

    def note(name):
        def hook(module, inputs):
            for kink in (0, 6):
                away = inputs[0] - kink
                for place in (away.abs() < NEAR_A_KINK).nonzero().tolist():
                    found.append((name, tuple(place), float(away[tuple(place)])))

        return hook

    hooks = [module.register_forward_pre_hook(note(name)) for name, module in rectifiers]
    with torch.no_grad():
        model(torch.from_numpy(images))
    for hook in hooks:
        hook.remove()
    return found


def shift(place, by):
    """A hook that adds to one value of what a module is given."""

    def hook(module, inputs):
        (values,) = inputs
        values = values.clone()
        values[place] += by
        return values

    return hook
