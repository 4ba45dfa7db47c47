"""The command ``camcore app``, the files of a Space, and the page within other pages."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import camcore
from camcore.errors import MissingExtraError

REPO = Path(camcore.__file__).parents[1]
MODEL = "demo-torch:efficientnet_lite0"


@pytest.fixture
def run():
    from typer.testing import CliRunner

    from camcore.cli.app import app

    return lambda *words: CliRunner().invoke(app, ["app", *words])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Name a model"),
        (("--model", "nonsense"), "names no model"),
        (("--model", MODEL, "--model", "demo-onnx:x", "--weights", "w.pt"), "is of one model"),
        (("--model", MODEL, "--port", "0"), "port"),
    ],
)
def test_misuse_ends_before_a_model_is_loaded(run, words, says):
    done = run(*words)
    assert done.exit_code == 2
    assert says in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.output).split())


@pytest.mark.parametrize("ended", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "ended"])
def test_it_serves_this_machine_until_it_is_ended(require, tmp_path, ended):
    require("gradio")
    port = free_port()
    started = subprocess.Popen(
        [sys.executable, "-m", "camcore", "app", "--model", MODEL, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)},
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        lines = iter(started.stdout.readline, "")
        assert next((line for line in lines if f"Look at {address[:-1]} " in line), None)
        with urlopen(f"{address}config", timeout=60) as answer:
            config = json.load(answer)
        assert config["title"] == "camcore: where a model looks"
        assert config["analytics_enabled"] is False
        # No other address of this machine answers.
        own = socket.gethostbyname(socket.gethostname())
        if not own.startswith("127."):
            with pytest.raises(URLError):
                urlopen(f"http://{own}:{port}/", timeout=5)
    finally:
        started.send_signal(ended)
        said, _ = started.communicate(timeout=60)
    assert "Traceback" not in said
    # What was uploaded is gone.
    assert not list(tmp_path.glob("camcore-app-*"))


def test_a_port_in_use_is_told(run, require):
    require("gradio")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = run("--model", MODEL, "--port", str(port))
    assert done.exit_code == 1
    assert f"cannot be served at port {port}" in " ".join(done.output.split())


def test_without_gradio_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "camcore.app.page", raising=False)
    with pytest.raises(MissingExtraError, match=r"camcore\[app\]"):
        camcore.app.build(MODEL)


def test_importing_the_room_does_not_import_gradio():
    code = "import sys, camcore.app; assert not {'gradio', 'PIL', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_space_has_what_it_needs(require):
    require("gradio")
    readme = (REPO / "deploy" / "space" / "README.md").read_text("utf-8")
    front = dict(re.findall(r"^(\w+): (.+)$", readme.split("---")[1], re.M))
    assert front["sdk"] == "gradio"
    assert front["sdk_version"].startswith("6.")
    assert (REPO / "deploy" / "space" / front["app_file"]).is_file()
    names = {"__name__": "app"}
    exec((REPO / "deploy" / "space" / "app.py").read_text("utf-8"), names)
    assert type(names["page"]).__mro__[1].__name__ == "Blocks"
    wanted = (REPO / "deploy" / "space" / "requirements.txt").read_text("utf-8").split()
    extras = set(re.search(r"\[(.+)\]", wanted[0]).group(1).split(","))
    declared = (REPO / "pyproject.toml").read_text("utf-8")
    assert all(re.search(rf"^{extra} = \[", declared, re.M) for extra in extras)


def test_it_can_stand_in_an_app_of_ones_own(require, bench):
    fastapi, gradio = require("fastapi"), require("gradio")
    from fastapi.testclient import TestClient

    app = gradio.mount_gradio_app(fastapi.FastAPI(), camcore.app.build(bench), path="/look")
    with TestClient(app) as client:
        config = client.get("/look/config")
        assert config.json()["title"] == "camcore: where a model looks"
        assert ".cam-grid" in config.text
        assert client.get("/look/gradio_api/file=/etc/passwd").status_code == 403
