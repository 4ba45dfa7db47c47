"""Recipe "tf-keras-vis" against the installed tf-keras-vis."""

from __future__ import annotations

import numpy as np
import pytest

from camcore import zoo

RECIPE = "tf-keras-vis"


@pytest.fixture(scope="session")
def theirs(keras, require):
    """The library's maps of a batch."""
    kinds = {
        "Gradcam": require("tf_keras_vis.gradcam").Gradcam,
        "GradcamPlusPlus": require("tf_keras_vis.gradcam_plus_plus").GradcamPlusPlus,
        "Layercam": require("tf_keras_vis.layercam").Layercam,
        "Scorecam": require("tf_keras_vis.scorecam").Scorecam,
    }
    score = require("tf_keras_vis.utils.scores").CategoricalScore

    def maps(kind, batch):
        return kinds[kind](batch.model)(
            score(list(batch.classes)),
            batch.images,
            penultimate_layer=batch.layer,
            seek_penultimate_conv_layer=False,
        )

    return maps


def test_gradcam(keras_cases, theirs, assert_alike):
    for batch in keras_cases.all:
        assert_alike(batch.explain("gradcam", RECIPE).maps, theirs("Gradcam", batch))


@pytest.mark.parametrize(
    ("method", "kind"), [("gradcampp", "GradcamPlusPlus"), ("layercam", "Layercam")]
)
def test_methods_of_one_pass(keras_cases, theirs, assert_alike, method, kind):
    for batch in keras_cases.few:
        assert_alike(batch.explain(method, RECIPE).maps, theirs(kind, batch))


def test_scorecam(keras_resnet, theirs, assert_alike):
    for batch in keras_resnet.few:
        narrow = batch.at("first")
        assert_alike(narrow.explain("scorecam", RECIPE).maps, theirs("Scorecam", narrow))


def test_scorecam_on_real_weights(keras_lite0, theirs, assert_alike):
    narrow = keras_lite0.alone[0].at("block1a_project_bn")
    assert_alike(narrow.explain("scorecam", RECIPE).maps, theirs("Scorecam", narrow))


@pytest.fixture(scope="session")
def saliency(keras, tf, require):
    """The library's saliency of a batch; compiled, as camcore's is, unless told."""
    kind = require("tf_keras_vis.saliency").Saliency
    score = require("tf_keras_vis.utils.scores").CategoricalScore

    def maps(batch, compiled=True, **options):
        method = kind(batch.model)
        if compiled:
            method._get_gradients = tf.function(method._get_gradients)
        return method(score(list(batch.classes)), batch.images, **options)

    return maps


def test_saliency(keras_cases, saliency, assert_alike):
    for batch in keras_cases.few:
        assert_alike(batch.explain("saliency", RECIPE).maps, saliency(batch))


def test_saliency_run_eagerly(keras_lite0, double, saliency, assert_alike):
    # In single precision TensorFlow's optimiser rounds the compiled network otherwise, by the
    # number of threads, which takes values across the kinks of rectifiers: up to 0.002 apart.
    four = keras_lite0.four
    with double():
        model = zoo.load_model("demo-keras:efficientnet_lite0").model
    batch = type(four)(model, four.layer, four.images.astype(np.float64), four.classes)
    ours = batch.explain("saliency", RECIPE)
    assert ours.outputs.dtype == np.float64
    assert_alike(ours.maps, saliency(batch, compiled=False))


def test_smoothgrad_under_the_same_noise(keras_resnet, saliency, monkeypatch, assert_alike):
    batch, samples, seed = keras_resnet.alone[0], 3, 5
    # camcore draws it channels first.
    size = batch.images.transpose(0, 3, 1, 2).shape[1:]
    noise = np.stack([np.random.default_rng([seed, d]).normal(size=size) for d in range(samples)])
    noise = noise.transpose(0, 2, 3, 1)[:, None]
    monkeypatch.setattr(np.random, "normal", lambda mean, sigma, shape: np.asarray(sigma) * noise)
    maps = saliency(batch, smooth_samples=samples, smooth_noise=0.2)
    monkeypatch.undo()
    assert_alike(batch.explain("smoothgrad", RECIPE, samples=samples, seed=seed).maps, maps)


@pytest.mark.parametrize(
    ("method", "kind"),
    [("gradcam", "Gradcam"), ("gradcampp", "GradcamPlusPlus"), ("layercam", "Layercam")],
)
def test_a_torch_model_is_shown_as_the_library_shows_its_twin(
    twins, theirs, assert_alike, method, kind
):
    for there, here in twins:
        assert_alike(there.explain(method, RECIPE).maps, theirs(kind, here), 1e-4)
