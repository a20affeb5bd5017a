"""What a request shows to say who asks: a bearer token, or the cookie of a session, and never both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from engine.tokens import API, SESSION, hash_of
from engine.waiting.tokens import digest, has_shape
from register import problems
from register.access.refusals import Unauthenticated
from register.problems import Refused

COOKIE: Final = "penstock_session"
NONE: Final = "this takes a token: Authorization: Bearer pst_..."
NO_GOOD: Final = "the token or the session is unknown, has expired, or was revoked"


@dataclass(frozen=True)
class Shown:
    """Not looked up yet."""

    kind: str
    hashed: str
    secret: str
    """For the CSRF token of a session."""


def is_secure(request: Request) -> bool:
    """Did it come over TLS, here or at the proxy that we believe?"""
    return bool(request.scope["scheme"] == "https")


def cookie_name(request: Request, name: str = COOKIE) -> str:
    """With the prefix for which browsers take a cookie from this very host alone, and over TLS alone."""
    return f"__Host-{name}" if is_secure(request) else name


def set_cookie(request: Request, response: Response, value: str, seconds: float, name: str = COOKIE) -> None:
    """No script reads it, and no other site's form sends it; an empty value takes it away."""
    age = int(seconds) if value else 0
    response.set_cookie(
        cookie_name(request, name), value, age, path="/", secure=is_secure(request), httponly=True, samesite="lax"
    )


def shown_by(request: Request) -> Shown:
    """Errors: Unauthenticated for none, and for what cannot be one; Refused (400) for a cookie beside a token."""
    given = request.headers.getlist("authorization")
    cookie = request.cookies.get(cookie_name(request))
    if len(given) > 1 or (given and cookie):
        raise Refused(problems.TWO_CREDENTIALS, "show either one bearer token or a session's cookie, not both")
    if given:
        scheme, _, token = given[0].partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(NONE)
        hashed = hash_of(token.strip())
        if hashed is None:
            raise Unauthenticated(NO_GOOD, is_wrong=True)
        return Shown(API, hashed, "")
    if not cookie:
        raise Unauthenticated(NONE)
    if not has_shape(cookie):
        raise Unauthenticated(NO_GOOD, is_wrong=True)
    return Shown(SESSION, digest(cookie), cookie)
