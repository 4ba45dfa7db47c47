"""Several people at once, and those who mean ill: uploads that are no photographs, and paths."""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen
from uuid import uuid4

import numpy as np
import pytest

import camcore
import camcore.app
from camcore.app import PageRequest, pieces
from camcore.app.guard import MAX_REQUEST
from camcore.app.page import MAX_FILE
from camcore.app.session import SAMPLES, sample

SECONDS = float(os.environ.get("CAMCORE_APP_SECONDS", "10"))
"""For how long people look at the model at once."""

USERS = 8


@pytest.fixture
def client(server, require, tmp_path):
    made = require("gradio_client")
    return lambda: made.Client(server, verbose=False, download_files=str(tmp_path / "got"))


def settings(asked, bench, files=None):
    """What the page sends for what is asked."""
    one = bench.model(asked.model)
    names = [layer.name for layer in one.layers]
    layer = names.index(asked.layer) if asked.layer else one.default
    target, against = ("none" if v is None else str(v) for v in (asked.target, asked.against))
    return [
        *(files, asked.photo, one.name, target, against, layer, asked.method, asked.recipe),
        *(asked.signed, asked.threshold is not None, asked.threshold or 0.5),
        *(list(asked.beside), list(bench.models)[-1], "none"),
    ]


def test_eight_at_once_get_each_their_own_and_the_memory_stays(client, bench, require):
    psutil = require("psutil")
    asked = [
        PageRequest(photo=photo, target=target, layer=layer, method=method)
        for photo in SAMPLES[:3]
        for target, layer, method in (
            (None, None, "gradcam"),
            (281, "blocks.3.0.bn1", "layercam"),
            (282, None, "hirescam"),
        )
    ]
    asked += [PageRequest(photo="coffee", model="demo-onnx:efficientnet_lite0", signed=True)]
    expected = {one: pieces.one(bench.explain(one, sample(one.photo))) for one in asked}
    users = [client() for _ in range(USERS)]
    memory, done, wrong = [], [], []
    process, end = psutil.Process(), time.monotonic() + SECONDS

    def look(number):
        turns = cycle(asked[number % len(asked) :] + asked[: number % len(asked)])
        while time.monotonic() < end:
            one = next(turns)
            found = users[number].predict(*settings(one, bench), api_name="/show")
            done.append(number)
            if found[0] != expected[one]:
                wrong.append((number, one))

    def watch():
        while time.monotonic() < end:
            memory.append(process.memory_info().rss)
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(USERS) as pool:
        for error in [f.exception() for f in [pool.submit(look, i) for i in range(USERS)]]:
            assert error is None
    watcher.join()
    assert wrong == []
    assert set(done) == set(range(USERS))
    third = len(memory) // 3
    assert max(memory[third:]) - max(memory[: third + 1]) < 200 * 2**20


def test_more_than_can_wait_are_told_so(bench):
    from camcore.app import page

    queue = camcore.app.build(bench)._queue
    assert queue.max_size == page.WAITING
    assert queue.default_concurrency_limit == page.AT_ONCE


HOSTILE = {
    "script.png": b"<script>alert(1)</script>",
    "page.jpg": b"<!doctype html><html><body onload=alert(1)>",
    "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "empty.png": b"",
    "cut.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "zip.png": b"PK\x03\x04" + bytes(100),
    "pickle.png": b"cos\nsystem\n(S'touch /tmp/never'\ntR.",
    "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage",
    "zeros.png": bytes(4096),
}


def bomb():
    """A small PNG of 60,000 by 60,000 pixels."""

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    side = (60_000).to_bytes(4, "big")
    head = chunk(b"IHDR", side + side + b"\x08\x00\x00\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(60_001), 9)) + (
        chunk(b"IEND", b"")
    )  # fmt: skip


def shown(client, path, name, bench):
    """Upload a file and look at it."""
    from gradio_client import handle_file

    user, files = client(), [handle_file(str(path))]
    user.predict(files, api_name="/_added")
    return user.predict(*settings(PageRequest(photo=name), bench, files), api_name="/show")[0]


@pytest.mark.parametrize("name", [*HOSTILE, "bomb.png"])
def test_what_is_no_photograph_is_refused_in_words(client, bench, tmp_path, folder, name):
    path = tmp_path / name
    path.write_bytes(bomb() if name == "bomb.png" else HOSTILE[name])
    answer = shown(client, path, name, bench)
    assert 'role="alert"' in answer
    assert "<script>" not in answer
    assert name in answer
    assert str(folder) not in answer


def test_a_name_of_markup_is_no_markup(client, bench, cat, tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.png"
    path.write_bytes(HOSTILE["script.png"])
    user = client()
    from gradio_client import handle_file

    files = [handle_file(str(path))]
    added = user.predict(files, api_name="/_added")
    name = added[0]["value"] if isinstance(added[0], dict) else added[0]
    answer = user.predict(*settings(PageRequest(photo=name), bench, files), api_name="/show")[0]
    assert "<img src=x" not in answer


def test_damaged_photographs_are_shown_or_refused(client, bench, tmp_path):
    from fuzz.files import FORMATS, damaged

    random = np.random.default_rng(0)
    whole = {}
    for kind in ("png", "jpeg", "gif", "webp", "tiff", "bmp"):
        FORMATS[kind].make(tmp_path / f"whole.{kind}")
        whole[kind] = (tmp_path / f"whole.{kind}").read_bytes()
    for kind, good in whole.items():
        for turn in range(3):
            path = tmp_path / f"{turn}.{kind}"
            path.write_bytes(damaged(random, good, list(whole.values())))
            answer = shown(client, path, path.name, bench)
            assert "<figure>" in answer or 'role="alert"' in answer


@pytest.mark.parametrize("name", ["model.pth", "page.html", "a.npz", "picture.svg", "x"])
def test_other_kinds_of_files_are_refused(client, bench, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"anything")
    with pytest.raises(Exception, match="Invalid file type"):
        shown(client, path, name, bench)


def upload(server, name, data):
    mark = "mark"
    body = (
        f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode() + data + f"\r\n--{mark}--\r\n".encode()  # fmt: skip
    about = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    return status(Request(f"{server}gradio_api/upload", body, about))


def status(request):
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def test_an_upload_larger_than_the_limit_is_refused(server, folder):
    code, said, _ = upload(server, "large.png", bytes(MAX_FILE + 2**20))
    assert code == 413
    assert b"size" in said
    assert all(path.stat().st_size <= MAX_FILE for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "..\\..\\evil.png"])
def test_an_upload_stays_in_its_folder(server, folder, name):
    code, said, _ = upload(server, name, b"x")
    assert code == 200
    (path,) = json.loads(said)
    assert Path(path).resolve().is_relative_to(folder.resolve())
    assert not Path("/etc/evil.png").exists()


REPO = Path(camcore.__file__).parents[1]

PATHS = [
    "/etc/passwd",
    "//etc/passwd",
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2fetc/passwd",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "pyproject.toml",
    "./pyproject.toml",
    str(REPO / "pyproject.toml"),
    str(REPO / "camcore" / "app" / "page.py"),
    "~/.bashrc",
    "/proc/self/environ",
    "/dev/zero",
    "file:///etc/passwd",
    "C:/Windows/win.ini",
    "http://127.0.0.1:9/",
    "https://example.com/x.png",
    "HTTP://example.com/x.png",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("route", ["gradio_api/file=", "file=", "gradio_api/file/"])
def test_no_file_of_the_server_is_served_by_name(server, path, route):
    code, said, _ = status(Request(f"{server}{route}{quote(path, safe='/:.%')}"))
    assert code in (400, 403, 404)
    assert b"root:" not in said
    assert b"[project]" not in said


def test_neither_through_the_folder_of_uploads_nor_by_links(server, folder, tmp_path):
    inside = folder / "abc"
    inside.mkdir(exist_ok=True)
    (inside / "photo.png").write_bytes(b"an upload")
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    (inside / "link.png").symlink_to(secret)
    (inside / "links").symlink_to(tmp_path)
    code, said, about = status(Request(f"{server}gradio_api/file={inside}/photo.png"))
    assert (code, said) == (200, b"an upload")
    for path in (f"{folder}/../{tmp_path.name}/secret.txt", f"{folder}/abc/../../../etc/passwd"):
        assert status(Request(f"{server}gradio_api/file={path}"))[0] == 403
    for path in (inside / "link.png", inside / "links" / "secret.txt", inside, folder):
        code, said, _ = status(Request(f"{server}gradio_api/file={path}"))
        assert code == 403
        assert b"a secret" not in said
    # What is no picture is never opened as a page of this server.
    (inside / "page.html").write_bytes(b"<script>alert(1)</script>")
    _, _, about = status(Request(f"{server}gradio_api/file={inside}/page.html"))
    assert about["content-disposition"].startswith("attachment")
    assert about["x-content-type-options"] == "nosniff"


def sent(server, data):
    """Send what a page sends to be shown, and return all that the server says."""
    config = json.loads(status(Request(f"{server}config"))[1])
    (index,) = [one["id"] for one in config["dependencies"] if one["api_name"] == "show"]
    session = uuid4().hex
    data = [*data, None, None]  # what the server keeps for itself
    body = json.dumps({"data": data, "fn_index": index, "session_hash": session}).encode()
    about = {"Content-Type": "application/json"}
    code, said, _ = status(Request(f"{server}gradio_api/queue/join", body, about))
    assert code == 200, said
    events = []
    with urlopen(f"{server}gradio_api/queue/data?session_hash={session}", timeout=60) as stream:
        for line in stream:
            if line.startswith(b"data:"):
                events.append(json.loads(line[5:]))
                if events[-1]["msg"] in ("process_completed", "unexpected_error"):
                    return events[-1]
    raise AssertionError(events)


def test_a_request_is_answered_as_the_page_is(server, bench):
    found = sent(server, settings(PageRequest(photo="chelsea"), bench))
    assert found["success"]
    assert "<figure>" in found["output"]["data"][0]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", str(REPO / "docs" / "recipes.png"), "docs/recipes.png"]
)
def test_a_request_cannot_name_a_file_of_the_server_as_its_upload(server, bench, path):
    forged = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
    name = Path(path).name
    found = sent(server, settings(PageRequest(photo="chelsea"), bench, forged))
    assert not found["success"], (name, found)
    assert "<figure>" not in json.dumps(found["output"])


def forged(url):
    return {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}


def posted(server, data):
    """Ask the server for something of one's own making."""
    body = json.dumps({"data": data, "fn_index": 0, "session_hash": "x"}).encode()
    about = {"Content-Type": "application/json"}
    return status(Request(f"{server}gradio_api/queue/join", body, about))


# A host that is public, which Gradio would fetch from, and this machine, which it would not.
@pytest.mark.parametrize("url", ["https://example.com/x.png", "HTTP://127.0.0.1:{port}/x.png"])
def test_the_server_fetches_no_upload_from_elsewhere(server, bench, url):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        url = url.format(port=listener.getsockname()[1])
        good = settings(PageRequest(photo="chelsea"), bench)
        # In place of an upload, and where no file belongs.
        for place, value in [(0, [forged(url)]), (1, forged(url)), (11, [{"x": [forged(url)]}])]:
            odd = [*good[:place], value, *good[place + 1 :]]
            code, said, _ = posted(server, odd)
            assert code == 403
            assert b"fetches no files of other servers" in said
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_request_that_is_no_upload_is_short(server):
    code, said, _ = posted(server, ["x" * MAX_REQUEST])
    assert code == 413
    assert str(MAX_REQUEST).encode() in said
    assert status(Request(f"{server}gradio_api/queue/join", b"[" * 100_000))[0] == 403
    assert status(Request(f"{server}gradio_api/queue/join", b"no JSON"))[0] == 422


def test_the_page_in_an_app_of_ones_own_is_guarded_too(bench, require):
    require("fastapi")
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()
    app.get("/own")(lambda: "one's own")
    with TestClient(camcore.app.mount(app, camcore.app.build(bench), "/look")) as web:
        own, page = web.get("/own"), web.get("/look/")
        assert (own.json(), page.status_code) == ("one's own", 200)
        assert "content-security-policy" not in own.headers
        assert "default-src 'self'" in page.headers["content-security-policy"]
        config = web.get("/look/config").json()
        assert config["max_file_size"] == MAX_FILE
        assert not config["analytics_enabled"]
        found = web.post("/look/gradio_api/queue/join", json={"data": [forged("https://a.b/c")]})
        assert found.status_code == 403
        for path in ("docs", "openapi.json", "gradio_api/file=/etc/passwd"):
            assert web.get(f"/look/{path}").status_code in (403, 404)


def test_what_is_asked_outside_of_the_choices_is_refused(client, bench):
    good = settings(PageRequest(photo="chelsea"), bench)
    for place, value in [(1, "/etc/passwd"), (2, "x:y"), (3, "9999"), (6, "gradkam"), (7, "x")]:
        odd = [*good[:place], value, *good[place + 1 :]]
        with pytest.raises(Exception, match="not in the list of choices"):
            client().predict(*odd, api_name="/show")


def test_the_server_is_of_this_machine_and_tells_little(server):
    assert server.startswith("http://127.0.0.1:")
    code, _, about = status(Request(server))
    assert code == 200
    assert "default-src 'self'" in about["content-security-policy"]
    for path in ("docs", "redoc", "openapi.json", "monitoring", "gradio_api/mcp/sse"):
        assert status(Request(f"{server}{path}"))[0] in (403, 404)
    config = status(Request(f"{server}config"))[1]
    assert b'"analytics_enabled":false' in config
    assert b"googleapis" not in config
