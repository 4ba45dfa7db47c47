"""What stands in front of Gradio's server: it fetches nothing from elsewhere, and says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

MAX_REQUEST: Final = 2**20
"""Bytes of a request at most that is no upload: what the page asks for is a few words."""

_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'"
)


class Guard:
    """ASGI middleware that refuses to fetch other servers' files, and names a content policy.

    Parameters
    ----------
    app : ASGI application
        Gradio's.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].lower()
        if "file=" in path and "://" in path.partition("file=")[2]:
            await _refuse(send, 403, "This page serves no files of other servers.")
            return
        if scope["method"] == "POST" and not _is_upload(scope):
            body = await _read(receive)
            if body is None:
                await _refuse(send, 413, f"A request has at most {MAX_REQUEST} bytes.")
                return
            if _names_elsewhere(body):
                await _refuse(send, 403, "This page fetches no files of other servers: upload it.")
                return
            receive = _again(body, receive)

        async def headed(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [
                    *message.get("headers", []),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, headed)


def _is_upload(scope: Any) -> bool:
    kinds = [value for name, value in scope["headers"] if name.lower() == b"content-type"]
    return any(value.lower().startswith(b"multipart/form-data") for value in kinds)


async def _read(receive: Any) -> bytes | None:
    """Read the body of a request; None for one that is too long."""
    parts, more, length = [], True, 0
    while more:
        message = await receive()
        if message["type"] != "http.request":  # whoever asked has gone
            break
        parts.append(message.get("body", b""))
        length += len(parts[-1])
        if length > MAX_REQUEST:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Any) -> Any:
    """Make what hands a body on that was read, and then what comes after it."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def handed() -> Any:
        return left.pop() if left else await receive()

    return handed


def _names_elsewhere(body: bytes) -> bool:
    """Whether what was sent names an uploaded file that lies on another server."""
    try:
        todo = [json.loads(body)]
    except ValueError:
        return False  # no JSON: Gradio refuses it
    except RecursionError:
        return True
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if "://" in str(one.get("path", "")):
                return True
            todo += one.values()
        elif isinstance(one, list):
            todo += one
    return False


async def _refuse(send: Any, status: int, why: str) -> None:
    body = why.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def guarded(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Put the guard before what else is asked of the server.

    Parameters
    ----------
    options : mapping or None
        Keyword arguments of FastAPI.

    Returns
    -------
    dict
    """
    from starlette.middleware import Middleware

    given = dict(options or {})
    given["middleware"] = [Middleware(Guard), *given.get("middleware", ())]
    # No pages that describe the server; FastAPI's own take scripts from elsewhere.
    return {"docs_url": None, "redoc_url": None, "openapi_url": None, **given}
