"""Answer photographs with the class a model sees in them and where it looks for it.

One model, loaded once, serves a pool of threads; an explanation only reads it.

    python examples/server.py [--model demo-torch:efficientnet_lite0] [--port 8765] [--threads 8]
    curl --data-binary @cat.jpg http://127.0.0.1:8765/explain    # JSON: class, score, map
    curl --data-binary @cat.jpg http://127.0.0.1:8765/overlay > cat.overlay.png
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from camcore import Explainer, zoo
from camcore.batch import ExplainedPhoto, PreparedPhoto
from camcore.errors import CamcoreError
from camcore.photos import encode_png, read_photo

LARGEST = 20 * 2**20
"""Bytes of a photograph that is accepted."""


class Answers:
    """The model, and what is made of a photograph with it."""

    def __init__(self, spec: str, method: str = "gradcam") -> None:
        self.loaded = zoo.load_model(spec)
        self.explainer = Explainer(self.loaded.model, method=method)

    def explain(self, body: bytes) -> dict[str, Any]:
        """Name the predicted class, its score, and the map at the layer, rows of its grid."""
        result = self._explained(body).explanation
        assert result.classes is not None
        index = int(result.classes[0])
        names = self.loaded.classes
        (raw,) = result.raw.values()
        return {
            "class": index,
            "name": names[index] if names else None,
            "score": float(result.scores[0]),
            "map": raw[0].tolist(),
        }

    def overlay(self, body: bytes) -> bytes:
        """Draw the map over the photograph, as PNG."""
        return encode_png(self._explained(body).overlay())

    def _explained(self, body: bytes) -> ExplainedPhoto:
        with _as_file(body) as path:
            photo = read_photo(path)
        prepared = PreparedPhoto.for_model(self.loaded, photo)
        return prepared.explained(self.explainer(prepared.inputs))


@contextmanager
def _as_file(body: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photograph"
        path.write_bytes(body)
        yield path


class Handler(BaseHTTPRequestHandler):
    """Answers a POST of a photograph's bytes."""

    def do_POST(self) -> None:
        """Explain what was posted, or say what is wrong with it."""
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= LARGEST:
            self._send(413, _json(error=f"Post a photograph of 1 to {LARGEST} bytes."))
            return
        assert isinstance(self.server, Server)
        body, answers = self.rfile.read(length), self.server.answers
        try:
            if self.path == "/explain":
                self._send(200, _json(**answers.explain(body)))
            elif self.path == "/overlay":
                self._send(200, answers.overlay(body), "image/png")
            else:
                self._send(404, _json(error="Post to /explain or to /overlay."))
        except CamcoreError as error:
            self._send(400, _json(error=str(error)))

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _json(**answer: object) -> bytes:
    return json.dumps(answer).encode()


class Server(ThreadingHTTPServer):
    """A server whose requests wait for one of a fixed number of threads."""

    def __init__(self, answers: Answers, port: int, threads: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.answers = answers
        self.pool = ThreadPoolExecutor(threads)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a request to the pool."""
        self.pool.submit(self.process_request_thread, request, client_address)

    def server_close(self) -> None:
        """Answer what is waiting, and stop."""
        super().server_close()
        self.pool.shutdown()


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="demo-torch:efficientnet_lite0")
    parser.add_argument("--method", default="gradcam")
    parser.add_argument("--port", type=int, default=8765, help="0 takes any free one")
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    answers = Answers(options.model, options.method)
    with Server(answers, options.port, options.threads) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
