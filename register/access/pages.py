"""Requests that a page in somebody's browser makes: of our own origin, or of another that was let in."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Collection
from typing import Final

from starlette.requests import Request

from engine.errors import BadRequest

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
CSRF_HEADER: Final = "X-CSRF-Token"
ASKED_WITH: Final = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID", "X-Request-Id")
"""Headers that pages of other origins may send."""
ANSWERED_WITH: Final = ("ETag", "Idempotency-Replayed", "Link", "Location", "Retry-After", "X-Request-Id")
"""Headers that they may read."""
_PORT: Final = re.compile(r":[0-9]*$")
_ORIGIN: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def check_origins(origins: Collection[str]) -> None:
    """Errors: BadRequest for what is no origin as browsers send it; `*` would be everybody's pages."""
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise BadRequest("origin", f"{origin!r} is none: write it as https://host or https://host:port")


def is_own_page(request: Request) -> bool | None:
    """Was it made by a page of our own? None: nothing says that it was made by a page at all.

    What the browser itself finds (Sec-Fetch-Site, which pages cannot set) counts before what is compared here, as a
    proxy may change the name that we are asked by.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None:
        return None
    return origin == f"{request.scope['scheme']}://{request.headers.get('host', '')}".lower()


def is_let_in(request: Request, origins: Collection[str]) -> bool:
    """May it be a page that asks, where no cookie is needed? Programs and people say no origin."""
    if is_own_page(request) is not False or request.headers.get("origin") in origins:
        return True
    return request.headers.get("sec-fetch-site") == "none"  # somebody typed it


def csrf_of(secret: str) -> str:
    """What a page shows beside its cookie. It is made of the secret of the session, which no page can read."""
    return hashlib.sha256(f"penstock-csrf:{secret}".encode("utf-8", "replace")).hexdigest()


def has_csrf(request: Request, secret: str) -> bool:
    given = request.headers.get(CSRF_HEADER, "")
    return hmac.compare_digest(given.encode("latin-1", "replace"), csrf_of(secret).encode())


def is_strange_host(request: Request) -> bool:
    """Was it asked for by a name of the internet, although this machine alone can reach it? Then such a name was bent
    to lead here (DNS rebinding), and a page of its owner would read the answers."""
    host = _PORT.sub("", request.headers.get("host", "").lower()).rstrip(".")
    if "." not in host or host.endswith(".localhost"):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False
