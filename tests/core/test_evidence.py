"""Further passes: asked for with the same settings, on the right sample, in the right order."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.adapter import LayerRecord
from camcore.targets import Box
from camcore.testing import NumpyAdapter, random_network
from camcore.testing.network import Conv, Dense, Op

PHOTOS = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
CLASSES = [3, 1]
HALVES = np.repeat([[1, 0], [0, 1]], 4, axis=1)[:, :, None] * np.ones(8, bool) > 0
FURTHER = {
    "scorecam": {},
    "iscam": {"steps": 2},
    "sscam": {"samples": 2},
    "gscorecam": {},
    "groupcam": {"groups": 2, "side": 3, "sigma": 2.0},
    "opticam": {"steps": 2},
    "polycam": {},
    "ablationcam": {},
    "reciprocam": {},
    "smoothgradcampp": {"samples": 2},
    "rise": {"masks": 20, "cells": 3},
    "occlusion": {"window": 3, "stride": 2},
    "smoothgrad": {"samples": 2},
    "smoothgradsq": {"samples": 2},
    "vargrad": {"samples": 2},
    "integratedgradients": {"steps": 3},
    "idgi": {"steps": 3},
    "gradientshap": {"samples": 2},
    "guidedig": {"steps": 3},
    "blurig": {"steps": 3, "max_sigma": 2},
    "xrai": {"steps": 2, "regions": HALVES, "min_pixels": 4},
    "guidedbackprop": {},
    "deconvnet": {},
    "guidedgradcam": {},
    "fullgrad": {},
    "layerig": {"steps": 3},
    "dix": {"steps": 2},
    "sobol": {"designs": 2, "cells": 3},
    "hsic": {"masks": 8, "cells": 3},
}
"""Methods that need more than the one pass, made quick."""
DRAWN = {"sscam", "rise", "smoothgrad", "smoothgradcampp"}
DRAWN |= {"smoothgradsq", "vargrad", "gradientshap"}
OF_THE_PROBABILITY = {"polycam"}
"""What a class's probability is explained by, whatever the score."""
SCORED_IN_NUMPY = {"ablationcam", "reciprocam", "layerig", "dix"}


class Softmax(Op):
    """Shares of one."""

    def forward(self, x):
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def pull_back(self, x, cotangent):
        share = self.forward(x)
        return share * (cotangent - (share * cotangent).sum(axis=1, keepdims=True))


class Ending(NumpyAdapter):
    """A chain whose last layer is its final activation, which is left off for the logits."""

    def _served(self, logits):
        return NumpyAdapter(**dict(list(self.ops.items())[: -1 if logits else None]))

    def run(self, *args, logits=True, **options):
        return self._served(logits).run(*args, **options)

    def resume(self, *args, logits=True):
        return self._served(logits).resume(*args)

    def gradients_from(self, *args, logits=True):
        return self._served(logits).gradients_from(*args)


BARE = random_network(head="deep")
PROBABLE = NumpyAdapter(**BARE.ops, softmax=Softmax())
BOTH = Ending(**PROBABLE.ops)


def raw(model, target, method, images=PHOTOS, **options):
    options = {**FURTHER.get(method, {}), **options}
    result = camcore.explain(model, images, target, "relu2", method, **options)
    (found,) = result.raw.values()
    return found


def native(outputs):
    """The two classes' scores, as a callable of a framework's user."""
    chosen = np.eye(outputs.shape[1])[CLASSES]
    return (outputs * chosen).sum(axis=1), chosen


def native_one_by_one(outputs):
    """Class 3, of however many alterations of a sample."""
    return outputs[:, 3], np.eye(outputs.shape[1])[[3] * len(outputs)]


@pytest.mark.parametrize("method", ["gradcam", *sorted(FURTHER.keys() - OF_THE_PROBABILITY)])
def test_every_pass_scores_with_or_without_the_final_activation_as_asked(method):
    logit = raw(BOTH, CLASSES, method)
    np.testing.assert_array_equal(logit, raw(BARE, CLASSES, method))
    probability = raw(BOTH, CLASSES, method, score="output")
    np.testing.assert_array_equal(probability, raw(PROBABLE, CLASSES, method))
    assert np.abs(logit - probability).max() > 1e-3 * np.abs(logit).max()


@pytest.mark.parametrize("score", ["logit", "output"])
@pytest.mark.parametrize("method", sorted(FURTHER.keys() - SCORED_IN_NUMPY - OF_THE_PROBABILITY))
def test_a_native_callable_is_scored_as_the_class_it_takes_in_every_pass(method, score):
    expected = raw(BOTH, 3, method, score=score)
    np.testing.assert_allclose(
        raw(BOTH, native_one_by_one, method, score=score), expected, rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("method", ["gradcam", "smoothgradcampp", "smoothgrad", "guidedgradcam"])
def test_a_native_callable_may_score_each_sample_of_a_batch_otherwise(method):
    np.testing.assert_allclose(
        raw(BOTH, native, method), raw(BOTH, CLASSES, method), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("method", FURTHER)
def test_samples_are_explained_as_if_each_were_alone(method):
    together = raw(BARE, CLASSES, method)
    for i, chosen in enumerate(CLASSES):
        alone = raw(BARE, chosen, method, PHOTOS[i : i + 1])
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-10, atol=1e-13)


class Detector(NumpyAdapter):
    """The chain's outputs as the scores of five boxes, listed image by image."""

    def run(self, inputs, layers=(), seeds=(), **options):
        def scored(seed):
            return lambda leaves: {"": np.stack(list(seed(listed(leaves)).values()))}

        trace = super().run(inputs, layers, [scored(seed) for seed in seeds], **options)
        return replace(trace, outputs=listed(trace.outputs))

    @contextmanager
    def resume(self, *args, **options):
        with super().resume(*args, **options) as head:
            yield lambda activations: listed(head(activations))

    @contextmanager
    def gradients_from(self, *args, **options):
        def scored(seed):
            return lambda leaves: {"": np.stack(list(seed(listed(leaves)).values()))}

        with super().gradients_from(*args, **options) as pull:
            yield lambda activations, seed: pull(activations, scored(seed))


PLACES = [[0, 0, 4, 4], [4, 4, 8, 8], [0, 4, 4, 8], [4, 0, 8, 4], [2, 2, 6, 6]]


def listed(leaves):
    found = {}
    for image, scores in enumerate(leaves[""]):
        found[f"{image}.boxes"] = np.array(PLACES, float)
        found[f"{image}.scores"] = scores
        found[f"{image}.labels"] = np.arange(5)
    return found


@pytest.mark.parametrize(
    "method", ["gradcam", "ablationcam", "scorecam", "smoothgradcampp", "layerig"]
)
def test_a_box_is_followed_through_further_passes(method):
    boxes = raw(Detector(**BARE.ops), Box(CLASSES), method)
    np.testing.assert_allclose(boxes, raw(BARE, CLASSES, method), rtol=1e-12, atol=1e-15)


def test_the_scores_of_boxes_are_plain_numbers():
    found = camcore.explain(Detector(**BARE.ops), PHOTOS, Box(CLASSES), "relu2")
    np.testing.assert_array_equal(found.outputs, found.scores)
    assert found.activation == "none"
    assert found.probabilities is None


@pytest.mark.parametrize("method", sorted(FURTHER.keys() - DRAWN))
def test_a_mirrored_view_takes_the_same_further_passes(method):
    for score in ("logit", "output"):
        found = raw(BOTH, CLASSES, method, augment=[camcore.augment.Flip()], score=score)
        mirrored = raw(BOTH, CLASSES, method, PHOTOS[..., ::-1], score=score)[..., ::-1]
        expected = (raw(BOTH, CLASSES, method, score=score) + mirrored) / 2
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


def last(array):
    return np.moveaxis(array, 1, -1) if array.ndim > 2 else array


class ChannelsLast(Ending):
    """The same chain in a framework that puts channels last."""

    input_channels = "last"

    def survey(self, inputs):
        records = super().survey(np.moveaxis(np.asarray(inputs), -1, 1))
        shapes = [last(np.empty(record.shape)).shape for record in records]
        return [
            replace(record, shape=shape, channels="last" if len(shape) > 2 else None)
            for record, shape in zip(records, shapes, strict=True)
        ]

    def run(self, inputs, *args, **options):
        trace = super().run(np.moveaxis(np.asarray(inputs), -1, 1), *args, **options)
        layers = {
            name: replace(
                layer,
                activations=last(layer.activations),
                gradients=tuple(map(last, layer.gradients)),
                hessian_products=tuple(map(last, layer.hessian_products)),
                channels="last",
            )
            for name, layer in trace.layers.items()
        }
        return replace(trace, inputs={"": np.asarray(inputs)}, input_channels="last", layers=layers)

    @contextmanager
    def resume(self, inputs, *args, **options):
        with super().resume(np.moveaxis(np.asarray(inputs), -1, 1), *args, **options) as head:
            yield lambda activations: head(np.moveaxis(activations, -1, 1))

    @contextmanager
    def gradients_from(self, inputs, *args, **options):
        first = np.moveaxis(np.asarray(inputs), -1, 1)
        with super().gradients_from(first, *args, **options) as pull:
            yield lambda activations, seed: last(pull(np.moveaxis(activations, -1, 1), seed))


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "saliency", *FURTHER])
def test_channels_may_come_last(method):
    # Sides of other lengths than the channels, and of one another.
    images = np.random.default_rng(1).normal(size=(2, 2, 10, 9))
    model = Ending(**random_network(head="gap").ops, softmax=Softmax())
    regions = np.ones((2, 10, 9), bool)
    regions[0, :3] = False
    said = {"regions": regions} if method == "xrai" else {}
    first = raw(model, CLASSES, method, images, **said)
    found = raw(ChannelsLast(**model.ops), CLASSES, method, last(images), **said)
    np.testing.assert_allclose(found, first, rtol=1e-9, atol=1e-12)
    assert np.ptp(first) > 0


class ByFrame(NumpyAdapter):
    """The chain run on every frame of a video; a sample's outputs are the mean of its frames'."""

    def __init__(self, channels, **ops):
        super().__init__(**ops)
        self.input_channels = channels

    def survey(self, inputs):
        traced = self.run(np.asarray(inputs)[:1], list(self.ops)).layers
        return [
            LayerRecord(layer, traced[layer.name].activations.shape, None)
            for layer in self.layers()
        ]

    def run(self, inputs, layers=(), seeds=(), **options):
        videos = np.asarray(inputs)
        batch, count = videos.shape[:2]
        rows = videos.reshape(-1, *videos.shape[2:])
        frames = rows if self.input_channels == "first" else np.moveaxis(rows, -1, 1)

        def mean(leaves):
            return {"": leaves[""].reshape(batch, count, -1).mean(axis=1)}

        def spread(seed):
            return lambda leaves: {"": np.repeat(seed(mean(leaves))[""] / count, count, axis=0)}

        inner = NumpyAdapter(**self.ops)
        trace = inner.run(frames, layers, [spread(seed) for seed in seeds], **options)
        found = {
            name: replace(
                one,
                activations=self._placed(one.activations),
                gradients=tuple(map(self._placed, one.gradients)),
                channels=None,
            )
            for name, one in trace.layers.items()
        }
        return replace(
            trace,
            inputs={"": videos},
            input_channels=self.input_channels,
            outputs=mean(trace.outputs),
            layers=found,
        )

    def _placed(self, array):
        return array if self.input_channels == "first" else last(array)


@pytest.mark.parametrize("channels", ["first", "last"])
# Few bands are found by their number; many, of few frames, look like frames of few bands.
@pytest.mark.parametrize("bands", [2, 6])
def test_a_layer_that_sees_frames_one_by_one_has_a_map_of_each(bands, channels):
    rng = np.random.default_rng(3)
    # As many channels as the layer's map has rows: shapes do not tell the axes apart.
    ops = random_network(channels=4).ops
    joined = Conv(rng.normal(size=(2, bands, 1, 1)), np.zeros(2))
    network = NumpyAdapter(joined=joined, **ops)
    videos = rng.normal(size=(2, 3, bands, 8, 8))
    given = videos if channels == "first" else np.moveaxis(videos, 2, -1)
    found = camcore.explain(ByFrame(channels, **network.ops), given, 0, "relu2", "hirescam")
    alone = raw(network, 0, "hirescam", videos.reshape(6, bands, 8, 8)).reshape(2, 3, 4, 4)
    np.testing.assert_allclose(found.raw["relu2"], alone / 3, rtol=1e-10, atol=1e-13)
    assert found.maps.shape == (2, 3, 8, 8)


class Compared(NumpyAdapter):
    """Scores each image against every text, as models of both do, and gives shares of one."""

    def _with(self, texts):
        return Ending(**self.ops, texts=Dense(texts, np.zeros(len(texts))), softmax=Softmax())

    def run(self, inputs, *args, **options):
        images, texts = inputs
        trace = self._with(texts).run(images, *args, **options)
        return replace(trace, inputs={"0": images, "1": texts})


@pytest.mark.parametrize("score", ["logit", "output"])
@pytest.mark.parametrize("method", ["occlusion", "scorecam", "smoothgrad"])
def test_as_many_texts_as_images_stay_together_where_an_image_is_altered(method, score):
    texts = np.random.default_rng(4).normal(size=(2, 5))
    model = Compared(**BARE.ops)
    found = raw(model, [1, 0], method, (PHOTOS, texts), score=score)
    alone = raw(model._with(texts), [1, 0], method, score=score)
    np.testing.assert_allclose(found, alone, rtol=1e-10)


@pytest.mark.parametrize("target", [None, CLASSES, camcore.targets.Probability(CLASSES)])
def test_alterations_of_several_samples_are_scored_together(target):
    network = random_network(head="deep")
    score = camcore.Explainer(network, layer="relu2").evidence(PHOTOS, target).score_images
    samples = np.array([1, 0, 0, 1, 1])
    images = np.random.default_rng(1).normal(size=(5, 2, 8, 8))
    expected = [score(s, image[None])[0] for s, image in zip(samples, images, strict=True)]
    np.testing.assert_allclose(score.many(samples, images), expected, rtol=1e-12)


def test_alterations_of_several_samples_share_a_pass():
    network = random_network(head="deep")
    score = camcore.Explainer(network, layer="relu2").evidence(PHOTOS, CLASSES).score_images
    runs = []
    network.run = lambda *args, run=network.run, **options: (
        runs.append(len(args[0])),
        run(*args, **options),
    )[1]
    score.many(np.array([0, 1, 1, 0, 1]), np.zeros((5, 2, 8, 8)))
    assert runs == [5]


@pytest.mark.parametrize("target", [None, CLASSES, camcore.targets.Probability(CLASSES)])
def test_gradients_from_altered_activations_are_those_of_the_same_target(target):
    network = random_network(head="deep")
    evidence = camcore.Explainer(network, layer="relu2").evidence(PHOTOS, target)
    for sample in range(2):
        with evidence.gradients_from(sample) as at:
            scores, gradients = at(evidence.activations[[sample, sample]])
        np.testing.assert_allclose(scores, evidence.scores[[sample, sample]], rtol=1e-12)
        np.testing.assert_allclose(
            gradients, evidence.gradients[[sample, sample]], rtol=1e-12, atol=1e-15
        )


def test_outputs_that_have_no_row_for_each_alteration_are_refused():
    class Summed(NumpyAdapter):
        @contextmanager
        def gradients_from(self, *args, **options):
            def pull(activations, seed):
                seed({"": np.ones((1, 5))})
                return activations

            yield pull

    evidence = camcore.Explainer(Summed(**BARE.ops), layer="relu2").evidence(PHOTOS, 1)
    message = "has 1 rows for 3 altered activations of layer 'relu2'"
    with evidence.gradients_from(0) as at, pytest.raises(camcore.errors.MethodError, match=message):
        at(np.ones((3, 4, 4, 4)))
