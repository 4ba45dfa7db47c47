"""The example server answers many requests at once as it answers one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest

import camcore

ROOT = Path(__file__).parents[2]


def photographs(image, count):
    """Pictures as PNG, each with its bright square elsewhere."""
    for i in range(count):
        pixels = np.full((40, 32, 3), 20 * i, np.uint8)
        pixels[3 * i : 3 * i + 8, 2 * i : 2 * i + 8] = 255 - 10 * i
        file = io.BytesIO()
        image.fromarray(pixels).save(file, "PNG")
        yield pixels, file.getvalue()


@pytest.fixture(scope="module")
def address():
    path = os.pathsep.join([str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")])
    server = subprocess.Popen(
        [
            *(sys.executable, ROOT / "examples" / "server.py", "--model", "tiny_torch:training"),
            *("--port", "0", "--threads", "8"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)},
    )
    yield server.stdout.readline().strip()
    server.terminate()
    server.wait(30)


def post(address, where, body):
    with urlopen(f"{address}/{where}", body, timeout=60) as answer:
        return answer.read()


def test_four_hundred_requests_at_once_are_answered_as_one_alone(torch, require, address):
    tiny, pictures = require("tiny_torch"), [*photographs(require("PIL.Image"), 8)]
    expected = [post(address, "explain", body) for _, body in pictures]
    drawn = [post(address, "overlay", body) for _, body in pictures]
    assert len(set(expected)) == len(set(drawn)) == 8

    def ask(i):
        body = pictures[i % 8][1]
        if i % 20 == 19:
            return post(address, "overlay", body) == drawn[i % 8]
        return post(address, "explain", body) == expected[i % 8]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(400))) == [True] * 400

    model = tiny.training().model
    for (pixels, _), answer in zip(pictures, map(json.loads, expected), strict=True):
        one = camcore.explain(model, tiny.preprocess(pixels[4:36]))
        assert answer["class"] == one.classes[0]
        np.testing.assert_allclose(answer["score"], one.scores[0], rtol=1e-5)
        (raw,) = one.raw.values()
        np.testing.assert_allclose(answer["map"], raw[0], rtol=0, atol=1e-5 * np.abs(raw).max())


def test_what_is_no_photograph_is_refused_with_words(torch, require, address):
    with pytest.raises(HTTPError) as caught:
        post(address, "explain", b"not a picture")
    assert caught.value.code == 400
    assert "no image" in json.load(caught.value)["error"]
    with pytest.raises(HTTPError) as caught:
        post(address, "elsewhere", b"x")
    assert caught.value.code == 404
    with pytest.raises(HTTPError) as caught:
        post(address, "explain", b"")
    assert caught.value.code == 413
