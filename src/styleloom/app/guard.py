"""What stands before every address of the page: who may ask, how much they may send, what exists at all."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

COOKIE = "styleloom"

MAX_BYTES, BODY_SEC = 12 * 2**20, 60.0
"""Longest body of a request, and how long it may take to arrive."""

GRADIO_BYTES = 2**18
"""Longest body of a request to Gradio's own addresses, which take values of fields alone."""

SLOW_SEC = 1.0
"""How long a wrong password waits for its answer."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

CLOSED = re.compile(
    r"/(gradio_api/)?(upload|upload_progress|file|file=.*|proxy=.*|stream|reset|component_server|"
    r"custom_component|deep_link|call|api|run/(?!predict$).*|login|logout|monitoring|mcp|vibe.*|dev|openapi\.json|docs|redoc)"
    r"(/.*|=.*)?"
)
"""Addresses of Gradio that the page does not use: files, uploads and calls by name among them."""

HEADERS = {
    "content-security-policy": (
        "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
"""Of every answer. The first keeps the browser from loading anything that is not from here."""


class Guard:
    """An ASGI application in front of another.

    Args:
        app: what answers.
        hosts: names under which it may be asked, without ports; None for any.
        password: None for none; else of HTTP's basic authentication, with any user name.
        prefixes: of paths below which Gradio's pages are mounted, such as "/other".
    """

    def __init__(
        self, app: Any, hosts: Sequence[str] | None, password: str | None, prefixes: Sequence[str] = ()
    ) -> None:
        self.app, self.hosts, self.password = app, hosts, password
        self.prefixes = sorted(prefixes, key=len, reverse=True)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            if refusal[0] == 401:
                await asyncio.sleep(SLOW_SEC if "authorization" in headers else 0)
            await _answer(send, *refusal)
            return
        session = _session(headers.get("cookie", ""))
        new = session is None
        session = session or secrets.token_urlsafe(18)
        scope["session_name"] = session

        limit = _Limit(receive, self._most(scope))
        started = False

        async def guarded(message: Any) -> None:
            nonlocal started
            if limit.passed and not started:
                return  # what is answered to half a body
            started = True
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_own_headers(session if new else None)]
            await send(message)

        with contextlib.suppress(TooLongError):
            await self.app(scope, limit, guarded)
        if limit.passed and not started:
            await _answer(send, 413, f"more than {self._most(scope):,} bytes, or too slow")

    def _most(self, scope: Any) -> int:
        return GRADIO_BYTES if "/gradio_api/" in scope["path"] else MAX_BYTES

    def _refusal(self, scope: Any, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and words of an answer that ends it here; None for a request that may pass."""
        if scope["type"] != "http":
            return 404, "there is no such address"
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if self.hosts is not None and host not in self.hosts:
            return 421, "this server is asked under another name; see --host"
        if self.password is not None and not _knows(headers.get("authorization", ""), self.password):
            return 401, "a password is needed"
        path = scope["path"]
        for prefix in self.prefixes:
            if prefix and path.startswith(f"{prefix}/"):
                path = path[len(prefix) :]
                break
        if CLOSED.fullmatch(path):
            return 404, "there is no such address"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "valid: GET, POST"
        origin = headers.get("origin")
        if scope["method"] == "POST" and origin and urlsplit(origin).netloc != headers.get("host"):
            return 403, "asked by another page"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most(scope):
            return 413, f"more than {self._most(scope):,} bytes"
        return None


def _knows(authorization: str, password: str) -> bool:
    """Whether a header of basic authentication has the password."""
    kind, _, text = authorization.partition(" ")
    if kind.lower() != "basic":
        return False
    try:
        given = base64.b64decode(text, validate=True).partition(b":")[2]
    except ValueError:
        return False
    return hmac.compare_digest(given, password.encode())


def _session(cookies: str) -> str | None:
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel is not None and re.fullmatch(r"[\w-]{24}", morsel.value) else None


def _own_headers(session: str | None) -> list[tuple[bytes, bytes]]:
    found = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    if session is not None:
        cookie = f"{COOKIE}={session}; HttpOnly; SameSite=Strict; Path=/"
        found.append((b"set-cookie", cookie.encode()))
    return found


class TooLongError(Exception):
    """A body that is longer than it may be, or takes too long."""


class _Limit:
    """`receive`, which raises TooLongError where a body is too long or too slow."""

    def __init__(self, receive: Any, most: int) -> None:
        self._receive, self._most = receive, most
        self._taken, self._end = 0, asyncio.get_running_loop().time() + BODY_SEC
        self._whole = self.passed = False

    async def __call__(self) -> Any:
        if self._whole:
            return await self._receive()
        left = self._end - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.01))
        except asyncio.TimeoutError as error:
            self.passed = True
            raise TooLongError from error
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._taken > self._most:
                self.passed = True
                raise TooLongError
        return message


async def _answer(send: Any, status: int, words: str) -> None:
    body = json.dumps({"error": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="styleloom", charset="UTF-8"'))
    start = {"type": "http.response.start", "status": status, "headers": [*headers, *_own_headers(None)]}
    await send(start)
    await send({"type": "http.response.body", "body": body})
