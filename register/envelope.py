"""What surrounds every request: an id, a path that keeps its encoded slashes, a time limit, and a last resort."""

from __future__ import annotations

import asyncio
import itertools
import re
import uuid
from urllib.parse import quote, unquote_to_bytes

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from register.access.headers import protect
from register.problems import STOPPING, TIMED_OUT, Refused, answer_to

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LIMIT = "penstock.limit"
"""Where the request's scope holds its time limit."""
_PROCESS = uuid.uuid4().hex[:12]
_requests = itertools.count(1)  # a random id for each would cost a system call


class Envelope:
    """ASGI middleware. Routes behind it match paths that are still percent-encoded: `%2F` is part of a name there."""

    def __init__(self, app: ASGIApp, *, timeout_s: float) -> None:
        self.app = app
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = {**scope, "path": canonical_path(scope), "request_id": _request_id(scope)}
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = scope["request_id"]
                protect(headers, scope)
            await send(message)

        try:
            await self._in_time(scope, receive, send_named)
        except Exception as error:  # nothing behind this line would answer
            if started:
                raise  # half an answer is out: only the connection can say that it failed
            await answer_to(Request(scope), error)(scope, receive, send_named)

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                scope[LIMIT] = limit
                await self.app(scope, receive, send)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Refused(TIMED_OUT, _undecided(scope, f"no answer within {self.timeout_s:g} seconds")) from error
        except asyncio.CancelledError as error:  # the server waits for nobody any longer
            raise Refused(STOPPING, _undecided(scope, "no answer before the end of this process")) from error


def without_end(request: Request) -> None:
    """This answer is a stream, which ends when its client goes or the service stops."""
    request.scope[LIMIT].reschedule(None)


def _undecided(scope: Scope, words: str) -> str:
    if scope["method"] in ("GET", "HEAD"):
        return words
    return f"{words}; it may still be committed: repeat it with the same Idempotency-Key to find out"


def canonical_path(scope: Scope) -> str:
    """The path as it was sent, each segment percent-encoded in one way."""
    raw = scope.get("raw_path")
    if raw is None:  # optional in ASGI
        return quote(scope["path"])
    return "/".join(quote(unquote_to_bytes(part), safe="") for part in raw.split(b"/"))


def _request_id(scope: Scope) -> str:
    """The caller's own id if it is harmless in a log, else a new one."""
    given: str = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if _SAFE_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    return f"{_PROCESS}-{next(_requests)}"
