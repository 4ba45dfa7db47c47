"""Recipes "torchcam" and "torchcam-documented" against the installed torchcam."""

from __future__ import annotations

import numpy as np
import pytest
from written_out import shown, weighted

import camcore
from camcore.recipes import find_recipe
from camcore.viz import overlay

RECIPE = "torchcam"

ONE_PASS = {"gradcampp": "GradCAMpp", "xgradcam": "XGradCAM", "layercam": "LayerCAM"}


@pytest.fixture(scope="session")
def library(require, torch):
    return require("torchcam.methods")


@pytest.fixture(scope="session")
def theirs(torch, library):
    """The library's maps of a batch, one for each layer."""

    def maps(kind, batch, **options):
        kind = getattr(library, kind)
        with kind(
            batch.model, batch.layer, input_shape=batch.images.shape[1:], **options
        ) as method:
            scores = batch.model(torch.from_numpy(batch.images))
            found = method(list(batch.classes), scores)
            return method.fuse_cams(found).detach().numpy()

    return maps


def test_gradcam(torch_cases, theirs, assert_alike):
    for batch in torch_cases.all:
        assert_alike(batch.explain("gradcam", RECIPE).maps, theirs("GradCAM", batch))


@pytest.mark.parametrize(("method", "kind"), [("gradcam", "GradCAM"), *ONE_PASS.items()])
def test_volumes(torch_volumes, theirs, assert_alike, method, kind):
    for batch in torch_volumes.all:
        assert_alike(batch.explain(method, RECIPE).maps, theirs(kind, batch))


@pytest.mark.parametrize("method", ONE_PASS)
def test_methods_of_one_pass(torch_cases, theirs, assert_alike, method):
    for batch in torch_cases.few:
        assert_alike(batch.explain(method, RECIPE).maps, theirs(ONE_PASS[method], batch))


def test_gradcampp_is_not_the_documented_formula(torch_lite0, theirs):
    batch = torch_lite0.alone[0]
    documented = batch.explain("gradcampp", "torchcam-documented").maps
    assert np.abs(documented - theirs("GradCAMpp", batch)).max() > 1e-3


def test_cam(torch_cases, theirs, assert_alike):
    for batch in torch_cases.few:
        head = "classifier" if hasattr(batch.model, "classifier") else "fc"
        assert_alike(batch.explain("cam", RECIPE).maps, theirs("CAM", batch, fc_layer=head))


def test_finercam(torch_cases, theirs, assert_alike):
    for batch in torch_cases.few:
        assert_alike(batch.explain("finercam", RECIPE).maps, theirs("FinerCAM", batch))


@pytest.mark.parametrize(
    ("method", "kind"),
    [("gradcam", "GradCAM"), ("layercam", "LayerCAM"), ("refinecam", "RefineCAM")],
)
def test_methods_at_several_layers(torch_resnet, theirs, assert_alike, method, kind):
    for batch in torch_resnet.few:
        deep = batch.at(["layer2", "layer3", "layer4"])
        assert_alike(deep.explain(method, RECIPE).maps, theirs(kind, deep))


@pytest.fixture
def attending(torch, require):
    torch.manual_seed(0)
    model = (
        require("torchvision")
        .models.VisionTransformer(
            32, 8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
        )
        .eval()
    )
    # It starts with a head of zeros.
    torch.nn.init.normal_(model.heads.head.weight)
    return model, torch.randn(4, 3, 32, 32)


@pytest.mark.parametrize("blocks", [[2], [1], [0, 1, 2], [1, 2]])
def test_legrad(torch, library, attending, assert_alike, blocks):
    model, images = attending
    layers, classes = [f"encoder.layers.encoder_layer_{i}" for i in blocks], [0, 3, 1, 2]
    with library.LeGrad(model, layers) as method:
        model(images)
        (maps,) = method(classes)
    assert_alike(
        camcore.explain(model, images, classes, layers, "legrad", RECIPE).maps, maps.numpy()
    )


def test_legrad_scored_by_the_model_itself(torch, library, attending, assert_alike):
    model, images = attending
    block, classes = "encoder.layers.encoder_layer_2", [0, 3, 1, 2]

    def head(tokens):
        return model.heads(model.encoder.ln(tokens)[:, 0])

    with library.LeGrad(model, block, score_projection=head) as method:
        model(images)
        (maps,) = method(classes)
    ours = camcore.explain(model, images, classes, block, "legrad", RECIPE, scored="model")
    assert_alike(ours.maps, maps.numpy())


@pytest.mark.parametrize(("network", "layer"), [("lite0", "blocks.0"), ("resnet", "layer1")])
def test_scorecam(request, theirs, assert_alike, network, layer):
    batch = request.getfixturevalue(f"torch_{network}").small(layer)
    for one in (batch, next(batch.one_by_one())):
        assert_alike(one.explain("scorecam", RECIPE).maps, theirs("ScoreCAM", one))


def test_iscam(torch_lite0, theirs, assert_alike):
    batch = torch_lite0.small("blocks.0")
    ours = batch.explain("iscam", RECIPE, steps=3).maps
    assert_alike(ours, theirs("ISCAM", batch, num_samples=3))


class Played:
    """A distribution that gives back what was drawn elsewhere, in its order."""

    def __init__(self, draws):
        self.draws = iter(draws)

    def sample(self, size):
        drawn = next(self.draws)
        assert tuple(size) == tuple(drawn.shape)
        return drawn


def test_sscam_under_the_same_noise(torch_lite0, torch, library, assert_alike):
    batch = torch_lite0.small("blocks.0", count=1)
    channels, samples, sigma, seed = 16, 2, 2.0, 5
    streams = [np.random.default_rng([seed, channel]) for channel in range(channels)]
    draws = [
        torch.from_numpy(np.stack([s.normal(scale=sigma, size=(64, 64)) for s in streams])[None])
        for _ in range(samples)
    ]
    with library.SSCAM(
        batch.model, "blocks.0", num_samples=samples, std=sigma, input_shape=(3, 64, 64)
    ) as method:
        method._distrib = Played(draws)
        batch.model(torch.from_numpy(batch.images))
        maps = method(list(batch.classes))[0].numpy()
    ours = batch.explain("sscam", RECIPE, samples=samples, sigma=sigma, seed=seed).maps
    assert_alike(ours, maps)


def test_smooth_gradcampp_under_the_same_noise(torch_resnet, torch, library, assert_alike):
    batch = torch_resnet.alone[0]
    samples, sigma, seed = 3, 0.3, 5
    size = batch.images.shape[1:]
    draws = [np.random.default_rng([seed, d]).normal(size=size)[None] for d in range(samples)]
    with library.SmoothGradCAMpp(batch.model, batch.layer, num_samples=samples, std=sigma) as m:
        m._distrib = Played([torch.from_numpy(sigma * d).float() for d in draws])
        batch.model(torch.from_numpy(batch.images))
        maps = m(list(batch.classes))[0].detach().numpy()
    ours = batch.explain("smoothgradcampp", RECIPE, samples=samples, sigma=sigma, seed=seed).maps
    assert_alike(ours, maps)


def test_overlay(require):
    image = require("PIL.Image")
    draw = require("torchcam.utils").overlay_mask
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    heat = rng.random((7, 7), np.float32)
    theirs = draw(image.fromarray(photo), image.fromarray(heat, mode="F"))
    ours = overlay(photo, heat, **vars(find_recipe(RECIPE).overlay))[0]
    assert np.abs(ours.astype(int) - np.asarray(theirs)).max() <= 1


@pytest.mark.parametrize(
    ("method", "kind"),
    [("gradcam", "GradCAM"), ("gradcampp", "GradCAMpp"), ("layercam", "LayerCAM")],
)
def test_a_keras_model_is_shown_as_the_library_shows_its_twin(
    twins, theirs, assert_alike, method, kind
):
    for here, there in twins:
        assert_alike(there.explain(method, RECIPE).maps, theirs(kind, here), 1e-4)


def test_documented_gradcampp_as_written_out(arrays):
    activations, gradients, _ = arrays

    def weigh(a, g):
        below = (g**3 * a).sum()
        return sum(
            s**2 / (2 * s**2 + below + 1e-8) * max(s, 0) for s in g.flat if s != 0
        )  # fmt: skip

    heat = np.maximum(weighted(weigh, activations, gradients), 0)
    expected = [(m - m.min()) / (m.max() - m.min() + 1e-8) for m in heat]
    ours = shown("torchcam-documented", "gradcampp", activations, gradients)
    np.testing.assert_allclose(ours, expected, atol=1e-6)
