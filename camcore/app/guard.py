"""What stands in front of Gradio's server: it fetches nothing from elsewhere, and says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
            await _refuse(send)
            return

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


async def _refuse(send: Any) -> None:
    body = b"This page serves no files of other servers."
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
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
