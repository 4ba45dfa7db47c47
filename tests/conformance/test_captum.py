"""Recipe "captum" against the installed captum; its channels at the input are summed."""

from __future__ import annotations

import pytest

RECIPE = "captum"


@pytest.fixture(scope="session")
def library(require, torch):
    return require("captum.attr")


@pytest.fixture(scope="session")
def theirs(torch, library):
    """The library's attribution of a batch, brought to the input's size, channels summed."""

    def attribution(kind, batch, *layer, **options):
        images = torch.from_numpy(batch.images.copy())
        method = getattr(library, kind)(batch.model, *layer)
        array = method.attribute(images, target=list(batch.classes), **options)
        array = library.LayerAttribution.interpolate(array, batch.images.shape[2:])
        return array.sum(1).detach().numpy()

    return attribution


def test_gradcam(torch_cases, theirs, assert_alike):
    for batch in torch_cases.all:
        maps = theirs("LayerGradCam", batch, batch.model.get_submodule(batch.layer))
        assert_alike(batch.explain("gradcam", RECIPE).maps, maps)


def test_volumes(torch_volumes, theirs, assert_alike):
    for batch in torch_volumes.all:
        maps = theirs("LayerGradCam", batch, batch.model.get_submodule(batch.layer))
        assert_alike(batch.explain("gradcam", RECIPE).maps, maps)


def test_hirescam_is_its_gradient_times_activation(torch_cases, theirs, assert_alike):
    for batch in torch_cases.few:
        layer = batch.model.get_submodule(batch.layer)
        maps = theirs("LayerGradientXActivation", batch, layer)
        assert_alike(batch.explain("hirescam", RECIPE).maps, maps)


@pytest.mark.parametrize(
    ("method", "kind"), [("saliency", "Saliency"), ("gradienttimesinput", "InputXGradient")]
)
def test_gradients_at_the_input(torch_cases, theirs, assert_alike, method, kind):
    for batch in torch_cases.few:
        assert_alike(batch.explain(method, RECIPE).maps, theirs(kind, batch))


def test_integrated_gradients(torch_cases, theirs, assert_alike):
    for batch in (torch_cases.alone[0], torch_cases.four):
        small = type(batch)(batch.model, batch.layer, batch.images[..., :64, :64], batch.classes)
        ours = small.explain("integratedgradients", RECIPE, steps=8).maps
        # A step at a time: convolutions of other batch sizes round otherwise, which takes
        # values across the kinks of the rectifiers.
        options = {"n_steps": 8, "internal_batch_size": len(small.images)}
        assert_alike(ours, theirs("IntegratedGradients", small, **options))


@pytest.mark.parametrize("stride", [16, 24], ids=["windows fit", "the last is cut"])
def test_occlusion(torch_resnet, theirs, assert_alike, stride):
    for batch in torch_resnet.few:
        ours = batch.explain("occlusion", RECIPE, window=32, stride=stride).maps
        window = {"sliding_window_shapes": (3, 32, 32), "strides": (3, stride, stride)}
        assert_alike(ours, theirs("Occlusion", batch, **window) / 3)


def test_guided_backprop(torch_resnet, theirs, assert_alike):
    for batch in torch_resnet.few:
        assert_alike(batch.explain("guidedbackprop", RECIPE).maps, theirs("GuidedBackprop", batch))


def test_guided_gradcam(torch_resnet, theirs, assert_alike):
    for batch in torch_resnet.few:
        maps = theirs("GuidedGradCam", batch, batch.model.get_submodule(batch.layer))
        assert_alike(batch.explain("guidedgradcam", RECIPE).maps, maps)


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="the library hooks modules that are torch.nn.ReLU, and this network's are ReLU6; apart "
    "by 3.7 times the largest value",
)
def test_guided_backprop_passes_over_other_rectifiers(torch_lite0, theirs, assert_alike):
    batch = torch_lite0.alone[0]
    assert_alike(batch.explain("guidedbackprop", RECIPE).maps, theirs("GuidedBackprop", batch))


def test_a_keras_model_is_shown_as_the_library_shows_its_twin(twins, theirs, assert_alike):
    for here, there in twins:
        maps = theirs("LayerGradCam", here, here.model.get_submodule(here.layer))
        assert_alike(there.explain("gradcam", RECIPE).maps, maps, 1e-4)


@pytest.mark.parametrize("layer", ["layer2", "layer4.0"])
def test_layer_integrated_gradients(torch_resnet, theirs, assert_alike, layer):
    batch = torch_resnet.small(layer)
    module = batch.model.get_submodule(layer)
    for baseline in (0, 0.5):
        ours = batch.explain("layerig", RECIPE, steps=8, baseline=baseline).maps
        maps = theirs("LayerIntegratedGradients", batch, module, n_steps=8, baselines=baseline)
        assert_alike(ours, maps)


def test_layer_integrated_gradients_of_real_weights(torch_lite0, theirs, assert_alike):
    batch = torch_lite0.small(torch_lite0.four.layer, count=1)
    module = batch.model.get_submodule(batch.layer)
    ours = batch.explain("layerig", RECIPE).maps
    assert_alike(ours, theirs("LayerIntegratedGradients", batch, module))
