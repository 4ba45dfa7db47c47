"""Recipe "tf-explain" against the installed tf-explain, before and after its display."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from camcore.recipes import find_recipe
from camcore.viz import overlay

RECIPE = "tf-explain"


@pytest.fixture(scope="session")
def library(require, keras):
    return require("tf_explain.core")


@pytest.fixture(scope="session")
def theirs(library):
    """The library's Grad-CAM of a batch, image by image, scaled as its display scales it."""
    method = library.GradCAM

    def maps(batch):
        scaled = []
        for one in batch.one_by_one():
            outputs, guided = method.get_gradients_and_filters(
                one.model, one.images, one.layer, one.classes[0], True
            )
            (signed,) = method.generate_ponderated_output(outputs, guided)
            heat = cv2.resize(signed.numpy(), one.images.shape[2:0:-1])
            scaled.append((heat - np.min(heat)) / (heat.max() - heat.min()))
        return np.stack(scaled)

    return maps


def test_gradcam(keras_cases, theirs, assert_alike):
    for batch in keras_cases.all:
        assert_alike(batch.explain("gradcam", RECIPE).maps, theirs(batch))


def test_a_batch_of_one_class(keras_resnet, library, assert_alike):
    batch = keras_resnet.four
    alike = type(batch)(batch.model, batch.layer, batch.images, (batch.classes[0],) * 4)
    outputs, guided = library.GradCAM.get_gradients_and_filters(
        batch.model, batch.images, batch.layer, batch.classes[0], True
    )
    signed = np.stack(library.GradCAM.generate_ponderated_output(outputs, guided))
    assert_alike(alike.explain("gradcam", RECIPE).raw[batch.layer], signed)


def test_display(keras_resnet, library, require):
    display = require("tf_explain.utils.display").heatmap_display
    batch = keras_resnet.alone[0]
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = display(batch.explain("gradcam", RECIPE).maps[0], photo)
    ours = overlay(
        photo, batch.explain("gradcam", RECIPE).maps, **vars(find_recipe(RECIPE).overlay)
    )
    assert np.abs(ours[0].astype(int) - picture).max() <= 1


@pytest.mark.parametrize(
    ("method", "kind"),
    [("saliency", "VanillaGradients"), ("gradienttimesinput", "GradientsInputs")],
)
def test_gradients_at_the_input(keras_cases, library, assert_alike, method, kind):
    # It compiles anew for each class and batch size, so all images share a class.
    alone = keras_cases.alone[0]
    images = np.concatenate([one.images for one in keras_cases.alone])
    together = type(alone)(alone.model, alone.layer, images, alone.classes * len(images))
    for batch in (together,) if len(images) > 4 else (alone, together):
        array = getattr(library, kind).compute_gradients(
            batch.images, batch.model, batch.classes[0]
        )
        maps = np.abs(array.numpy()).sum(axis=-1)
        assert_alike(batch.explain(method, RECIPE).maps, maps)


def test_integrated_gradients(keras_resnet, library, assert_alike):
    method = library.IntegratedGradients
    for one in keras_resnet.alone:
        path = method.generate_interpolations(one.images, 10)
        array = method.get_integrated_gradients(path, one.model, one.classes[0], 10)
        maps = np.abs(array.numpy()).sum(axis=-1)
        assert_alike(one.explain("integratedgradients", RECIPE).maps, maps)


def test_smoothgrad_under_the_same_noise(keras_resnet, library, assert_alike):
    batch, samples, seed = keras_resnet.alone[0], 3, 5
    size = batch.images.transpose(0, 3, 1, 2).shape[1:]
    noise = np.stack([np.random.default_rng([seed, d]).normal(size=size) for d in range(samples)])
    noisy = (batch.images + noise.transpose(0, 2, 3, 1)).astype(np.float32)
    array = library.SmoothGrad.get_averaged_gradients(noisy, batch.model, batch.classes[0], samples)
    ours = batch.explain("smoothgrad", RECIPE, samples=samples, seed=seed).maps
    assert_alike(ours, np.abs(array.numpy()).sum(axis=-1))


def test_occlusion(keras_resnet, library, assert_alike):
    for one in keras_resnet.alone:
        heat = library.OcclusionSensitivity().get_sensitivity_map(
            one.model, one.images[0], one.classes[0], 20
        )
        maps = (heat - heat.min()) / (heat.max() - heat.min())
        assert_alike(one.explain("occlusion", RECIPE).maps, maps[None])


def test_a_torch_model_is_shown_as_the_library_shows_its_twin(
    torch_lite0, keras_lite0, theirs, assert_alike
):
    here, there = keras_lite0.four, torch_lite0.four
    assert there.classes == here.classes
    assert_alike(there.explain("gradcam", RECIPE).maps, theirs(here), 1e-4)
