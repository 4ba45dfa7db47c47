"""Bands stand side by side, leads have each their own colours, on one scale."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.testing import random_network
from camcore.viz import caption_text, heat_map, signed_map
from camcore.viz.channels import channels_figure

IMAGES = np.random.default_rng(0).normal(size=(2, 2, 8, 8))


def pictures(drawing):
    panels = [panel for panel in drawing.axes if panel.images]
    return [np.asarray(panel.images[0].get_array()) for panel in panels]


def explained(method, rank=2):
    images = np.random.default_rng(0).normal(size=(2, 2, *[8] * rank))
    return images, camcore.explain(random_network(rank), images, 1, method=method)


def test_bands_are_drawn_by_their_signs_on_one_scale():
    _, result = explained("gradienttimesinput")
    drawing = result.figure(kind="channels", channels=["red", "near infrared"])
    limit = np.abs(result.by_channel).max()
    expected = [signed_map(one, limit=limit)[0] for one in result.by_channel.reshape(4, 8, 8)]
    np.testing.assert_array_equal(pictures(drawing), expected)
    assert [panel.get_title() for panel in drawing.axes[:2]] == ["red", "near infrared"]
    assert [panel.get_ylabel() for panel in drawing.axes[:4:2]] == [
        f"class 1 (score {score:.4g})" for score in result.scores
    ]
    ends = [tick.get_text() for tick in drawing.axes[-1].get_xticklabels()]
    assert ends == [f"{-limit:.3g}", "0", f"{limit:.3g}"]
    assert "Red speaks for" in caption_text(result, "channels")


def test_bands_without_signs_are_relative_to_the_strongest_of_their_sample():
    _, result = explained("saliency")
    photos = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    found = pictures(result.figure(photos, kind="channels"))
    for sample in range(2):
        shares = (result.by_channel[sample] / result.by_channel[sample].max()).astype(np.float32)
        expected = [photos[sample], *(heat_map(share)[0] for share in shares)]
        np.testing.assert_array_equal(found[3 * sample : 3 * sample + 3], expected)
    assert "relative to the strongest" in caption_text(result, "channels")


def test_leads_are_traces_each_in_its_own_colours():
    signals, result = explained("gradienttimesinput", 1)
    for given, axis in ((signals, 1), (signals.swapaxes(1, 2), 2), (None, None)):
        drawing = result.figure(
            given, kind="channels", channels=["I", "II"], channel_axis=axis, rate=4
        )
        panel = drawing.axes[0]
        assert [tick.get_text() for tick in panel.get_yticklabels()] == ["I", "II"]
        assert drawing.axes[1].get_xlabel() == "time (s)"
        limit = np.abs(result.by_channel).max()
        lines = [line for line in panel.collections if line.get_segments()]
        for line, lead in zip(lines, result.by_channel[0], strict=True):
            colours = signed_map(lead[None], limit=limit)[0, 0] / 255
            np.testing.assert_allclose(line.get_colors()[0, :3], colours[0])
            np.testing.assert_allclose(line.get_colors()[-1, :3], colours[-1])


def test_what_cannot_be_drawn_by_channel_is_said():
    with pytest.raises(InputError, match="Grad-CAM does not join attributions"):
        explained("gradcam")[1].figure(kind="channels")
    with pytest.raises(InputError, match="Grad-CAM does not join"):
        caption_text(explained("gradcam")[1], "channels")
    with pytest.raises(InputError, match=r"volume_figure\(volume, by_channel"):
        explained("saliency", 3)[1].figure(kind="channels")
    with pytest.raises(InputError, match="25 bands are more than the 24"):
        channels_figure(None, np.zeros((1, 25, 4, 4)))
    with pytest.raises(InputError, match="3 names for 2 channels"):
        channels_figure(None, np.zeros((1, 2, 4, 4)), channels=["a", "b", "c"])
    with pytest.raises(InputError, match="1 images, 2 attributions"):
        channels_figure(np.zeros((1, 4, 4, 3)), np.zeros((2, 2, 4, 4)))
