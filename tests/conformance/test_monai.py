"""Recipe "monai" against the installed MONAI, which cannot explain a class for each image."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.targets import Linear

RECIPE = "monai"


def forget_hooks(model):
    """It leaves them on the model."""
    for module in model.modules():
        module._forward_hooks.clear()
        module._backward_hooks.clear()


@pytest.fixture(scope="session")
def library(require, torch):
    return require("monai.visualize")


@pytest.fixture(scope="session")
def theirs(torch, library):
    """The library's maps of a batch, image by image."""

    def maps(kind, batch, **options):
        method = getattr(library, kind)(batch.model, batch.layer, **options)
        try:
            return np.concatenate(
                [
                    method(torch.from_numpy(one.images), class_idx=one.classes[0]).detach()[:, 0]
                    for one in batch.one_by_one()
                ]
            )
        finally:
            forget_hooks(batch.model)

    return maps


def test_gradcam(torch_cases, theirs, assert_alike):
    for batch in torch_cases.all:
        assert_alike(batch.explain("gradcam", RECIPE).maps, theirs("GradCAM", batch))


def test_gradcampp(torch_cases, theirs, assert_alike):
    for batch in torch_cases.few:
        assert_alike(batch.explain("gradcampp", RECIPE).maps, theirs("GradCAMpp", batch))


@pytest.mark.parametrize(("method", "kind"), [("gradcam", "GradCAM"), ("gradcampp", "GradCAMpp")])
def test_volumes(torch_volumes, theirs, assert_alike, method, kind):
    for batch in torch_volumes.all:
        assert_alike(batch.explain(method, RECIPE).maps, theirs(kind, batch))


def test_cam(torch_cases, torch, library, assert_alike):
    for batch in torch_cases.few:
        head = "classifier" if hasattr(batch.model, "classifier") else "fc"
        method = library.CAM(batch.model, batch.layer, fc_layers=head)
        maps = method(torch.from_numpy(batch.images), class_idx=list(batch.classes))
        forget_hooks(batch.model)
        assert_alike(batch.explain("cam", RECIPE).maps, maps.detach().numpy()[:, 0])


def test_a_batch_of_one_class(torch_cases, torch, library, assert_alike):
    batch = torch_cases.four
    alike = type(batch)(batch.model, batch.layer, batch.images, (batch.classes[0],) * 4)
    method = library.GradCAM(batch.model, batch.layer)
    maps = method(torch.from_numpy(batch.images), class_idx=batch.classes[0]).detach().numpy()
    forget_hooks(batch.model)
    assert_alike(alike.explain("gradcam", RECIPE).maps, maps[:, 0])


def test_a_batch_of_several_classes_is_explained_by_their_sum(
    torch_resnet, torch, library, assert_alike
):
    batch = torch_resnet.four
    method = library.GradCAM(batch.model, batch.layer)
    maps = method(torch.from_numpy(batch.images), class_idx=list(batch.classes)).detach().numpy()
    forget_hooks(batch.model)
    weights = np.bincount(batch.classes, minlength=10).astype(np.float32)
    together = camcore.explain(
        batch.model, batch.images, Linear(weights), batch.layer, recipe=RECIPE
    )
    assert_alike(together.maps, maps[:, 0])
    assert np.abs(together.maps - batch.explain("gradcam", RECIPE).maps).max() > 0.1


@pytest.mark.parametrize(
    ("method", "kind"), [("saliency", "VanillaGrad"), ("guidedbackprop", "GuidedBackpropGrad")]
)
def test_gradients_at_the_input(torch_resnet, torch, library, assert_alike, method, kind):
    for batch in torch_resnet.few:
        for one in batch.one_by_one():
            visual = getattr(library, kind)(one.model)
            array = visual(torch.from_numpy(one.images.copy()), one.classes[0])
            assert_alike(one.explain(method, RECIPE).maps, array.abs().amax(1).numpy())


def test_smoothgrad_under_the_same_noise(torch_resnet, torch, library, monkeypatch, assert_alike):
    batch, samples, seed = torch_resnet.alone[0], 3, 5
    drawn = iter(
        np.random.default_rng([seed, d]).normal(size=batch.images.shape[1:]) for d in range(samples)
    )
    monkeypatch.setattr(
        torch,
        "normal",
        lambda mean, std, size, **kind: torch.from_numpy(std * next(drawn)[None]).float(),
    )
    visual = library.SmoothGrad(batch.model, n_samples=samples, verbose=False)
    array = visual(torch.from_numpy(batch.images.copy()), batch.classes[0])
    ours = batch.explain("smoothgrad", RECIPE, samples=samples, seed=seed).maps
    assert_alike(ours, array.amax(1).numpy())


@pytest.mark.parametrize(("method", "kind"), [("gradcam", "GradCAM"), ("gradcampp", "GradCAMpp")])
def test_a_keras_model_is_shown_as_the_library_shows_its_twin(
    twins, theirs, assert_alike, method, kind
):
    for here, there in twins:
        assert_alike(there.explain(method, RECIPE).maps, theirs(kind, here), 1e-4)


def test_its_map_turned_over_is_the_papers_between_its_ends(
    torch_cases, theirs, require, assert_alike
):
    """As docs/medical.md says, and as its own option for it gives."""
    scale = require("monai.transforms").ScaleIntensity()
    for batch in torch_cases.few:
        paper = batch.explain("gradcam", "paper")
        turned = 1 - batch.explain("gradcam", RECIPE).maps
        low, high = (end(paper.maps, (1, 2), keepdims=True) for end in (np.min, np.max))
        assert not paper.empty.any()
        assert_alike(turned, (paper.maps - low) / (high - low))
        assert_alike(turned, theirs("GradCAM", batch, postprocessing=scale))
