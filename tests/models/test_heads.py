"""Heads beyond a class: frames of a video, embeddings of images and texts, a caption's words."""

from __future__ import annotations

import numpy as np
import pytest
from architectures import embeddings, sequences

import camcore
from camcore.errors import LayerError, MethodError, TargetError
from camcore.targets import Linear, Similarity


@pytest.fixture(scope="module")
def video_classifier(torch):
    return sequences.torch_video_classifier()


def test_a_video_seen_by_frames_has_a_map_of_each(torch, video_classifier):
    """Each frame's own weights, in plain PyTorch; all frames on one scale."""
    video = sequences.torch_video(2)
    result = camcore.explain(video_classifier, video, 3)
    kept = []
    hook = video_classifier.frame.register_forward_hook(lambda m, a, out: kept.append(out))
    with hook, torch.enable_grad():
        score = video_classifier(video)[:, 3].sum()
        (gradients,) = torch.autograd.grad(score, kept[0])
    expected = (gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1).detach()
    expected = expected.reshape(2, sequences.FRAMES, *expected.shape[1:]).numpy()
    np.testing.assert_allclose(
        result.raw["frame"], expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )
    assert result.maps.shape == (2, sequences.FRAMES, 24, 32)
    np.testing.assert_allclose(result.maps.max(axis=(1, 2, 3)), 1, rtol=1e-6)
    assert result.scores.shape == result.empty.shape == (2,)


def test_frames_that_do_not_count_have_empty_maps(torch, video_classifier):
    """A score of the first steps alone: no gradient reaches the frames after them."""

    class First(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.whole = video_classifier

        def forward(self, x):
            frames = self.whole.frame(x.flatten(0, 1)).mean((2, 3)).unflatten(0, x.shape[:2])
            return self.whole.head(self.whole.lstm(frames)[0][:, 1])

    result = camcore.explain(First().eval(), sequences.torch_video(2), 3, "whole.frame")
    counts = np.abs(result.raw["whole.frame"]).max(axis=(0, 2, 3)) > 0
    np.testing.assert_array_equal(counts, [True, True, False, False])


def test_frames_in_a_batch_are_explained_alike(video_classifier):
    video = sequences.torch_video(2)
    both = camcore.explain(video_classifier, video, 3, method="layercam").maps
    alone = [camcore.explain(video_classifier, v[None], 3, method="layercam").maps for v in video]
    np.testing.assert_allclose(both, np.concatenate(alone), rtol=0, atol=1e-5)


def test_methods_that_need_no_target_take_videos(video_classifier):
    result = camcore.explain(video_classifier, sequences.torch_video(2), method="eigencam")
    assert result.maps.shape == (2, sequences.FRAMES, 24, 32)


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "guidedgradcam"])
def test_methods_that_alter_inputs_refuse_frames(video_classifier, method):
    with pytest.raises(MethodError, match=r"sees their frames one by one\. Choose method="):
        camcore.explain(video_classifier, sequences.torch_video(2), 3, method=method)


def test_rows_that_are_no_frames_are_refused(torch):
    class Windows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)

        def forward(self, x):
            quarters = torch.cat([part for half in x.chunk(2, 2) for part in half.chunk(2, 3)])
            return self.conv(quarters).mean((2, 3)).unflatten(0, (4, -1)).mean(0)

    with pytest.raises(LayerError, match=r"'conv' returns 8 rows for 2 samples: .* windows or"):
        camcore.explain(Windows(), torch.randn(2, 3, 16, 16), 1, "conv")


def test_the_image_most_like_another_is_seen_in_both(torch):
    """Similarity to what the model returns for another image, against autograd."""
    model, images = embeddings.embedder(), embeddings.torch_images(3)
    with torch.no_grad():
        reference = model(images[2:])[0]
    result = camcore.explain(model, images[:2], Similarity(reference), "features.layer3")
    kept = []
    hook = model.features.layer3.register_forward_hook(lambda m, a, out: kept.append(out))
    with hook, torch.enable_grad():
        score = torch.cosine_similarity(model(images[:2]), reference[None])
        (gradients,) = torch.autograd.grad(score.sum(), kept[0])
    expected = camcore.methods.gradcam(kept[0].detach().numpy(), gradients.numpy())
    np.testing.assert_allclose(
        result.raw["features.layer3"], expected, rtol=0, atol=2e-5 * np.abs(expected).max()
    )
    np.testing.assert_allclose(result.scores, score.detach(), rtol=1e-5)
    itself = camcore.explain(model, images[2:], Similarity(reference), "features.layer3")
    np.testing.assert_allclose(itself.scores, 1, rtol=1e-6)


def test_a_text_vector_of_the_same_model_is_its_logit(torch):
    """Ten times the cosine is the logit, so its map is ten times the similarity's."""
    model, inputs = embeddings.two_towers(), embeddings.pixels_and_words(2)
    with torch.no_grad():
        text = model(*inputs)["text"][1]
    like = camcore.explain(model, inputs, Similarity(text), "image", output="image")
    logit = camcore.explain(model, inputs, 1, "image", output="logits")
    np.testing.assert_allclose(
        10 * like.raw["image"], logit.raw["image"], rtol=0, atol=1e-5 * np.abs(logit.maps).max()
    )
    np.testing.assert_allclose(10 * like.scores, logit.scores, rtol=1e-5)


def test_a_word_of_a_caption_says_where_it_was_read(torch):
    model, inputs = sequences.captioner(), sequences.image_and_words(2)
    one = camcore.explain(model, inputs, Linear(sequences.word(3, 7)), "encoder")
    other = camcore.explain(model, inputs, Linear(sequences.word(3, 8)), "encoder")
    both = sequences.word(3, 7) - sequences.word(3, 8)
    contrast = camcore.explain(model, inputs, Linear(both), "encoder")
    np.testing.assert_allclose(
        contrast.raw["encoder"], one.raw["encoder"] - other.raw["encoder"], rtol=0, atol=1e-7
    )
    with pytest.raises(TargetError, match=r"outputs of shape \(batch, classes\).*\(2, 6, 20\)"):
        camcore.explain(model, inputs, 7, "encoder")


@pytest.mark.parametrize("method", ["eigencam", "fem", "kpcacam", "activations"])
def test_no_target_is_needed_where_activations_are_all(torch, method):
    model, inputs = sequences.captioner(), sequences.image_and_words(2)
    result = camcore.explain(model, inputs, layer="encoder", method=method)
    assert result.classes is None
    np.testing.assert_array_equal(result.scores, [0, 0])
    assert result.outputs.shape == (2, 6, sequences.WORDS)
