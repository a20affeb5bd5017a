"""Log in at an OpenID provider: the browser goes there, comes back with a code, and is given a session."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from engine import tokens
from engine.database import Database, DuplicateKey
from register import problems
from register.access.credentials import cookie_name, set_cookie
from register.access.gate import Gate
from register.access.openid import PROVIDER_AWAY, Begun, OpenID
from register.access.provider import Provider
from register.access.refusals import Unauthenticated
from register.access.sessions import PATH, open_session
from register.endpoints import Endpoint
from register.problems import Refused

CALLBACK: Final = f"{PATH}/oidc/callback"
COOKIE: Final = "penstock_login"
TIME_S: Final = 600.0
"""How long a person may take at the provider."""
AT_ONCE: Final = 4
T = TypeVar("T")
_ONWARD: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1000}")
"""A path of our own: no other host, however browsers read it."""


class LogIn:
    """The two paths of one provider."""

    def __init__(self, provider: Provider) -> None:
        self._openid = OpenID(provider)
        self._provider = provider
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        kinds = (PROVIDER_AWAY, problems.UNAUTHENTICATED, problems.FORBIDDEN, problems.TOO_MANY_REQUESTS)
        return (
            Endpoint("GET", f"{PATH}/oidc/login", self.begin, "Log in elsewhere", None, role=None, problems=kinds),
            Endpoint(
                "GET",
                CALLBACK,
                self.finish,
                "Come back from there",
                None,
                role=None,
                problems=(*kinds, *problems.DATABASE, problems.OUTCOME_UNKNOWN),
            ),
        )

    async def begin(self, request: Request) -> Response:
        onward = request.query_params.get("next", "/")
        url, begun = await self._blocking(lambda: self._openid.begin(onward if _ONWARD.fullmatch(onward) else "/"))
        answer = _to(url)
        set_cookie(request, answer, _packed(begun), TIME_S, COOKIE)
        return answer

    async def finish(self, request: Request) -> Response:
        gate: Gate = request.app.state.gate
        try:
            begun = _begun(request)
            code = _code(request, begun, self._provider.issuer)
            name = await self._blocking(lambda: self._openid.finish(code, begun))
        except Unauthenticated as error:
            gate.note(request, CALLBACK, error)
            gate.count_failure(request)
            raise
        if not await request.app.state.service.readers.run(lambda db: _is_let_in(db, name, self._provider)):
            words = f"{name!r} may do nothing here: ask for `penstock principal set {name}`"
            stranger = Refused(problems.FORBIDDEN, words)
            gate.note(request, CALLBACK, stranger, name)
            raise stranger
        secret = await open_session(request, name)
        answer = _to(begun.onward)
        set_cookie(request, answer, secret, gate.settings.session_s)
        set_cookie(request, answer, "", 0, COOKIE)
        return answer

    async def _blocking(self, work: Callable[[], T]) -> T:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(AT_ONCE)
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)


def _is_let_in(db: Database, name: str, provider: Provider) -> bool:
    def work(conn: Connection) -> bool:
        return tokens.admit(conn, name, provider.default_role)

    try:
        return db.transact(work)
    except DuplicateKey:  # the same person came in at the same moment
        return db.transact(work)


def _code(request: Request, begun: Begun, issuer: str) -> str:
    """Errors: Unauthenticated for an answer that is not to our question."""
    said = request.query_params
    if not hmac.compare_digest(said.get("state", "").encode(), begun.state.encode()):
        raise Unauthenticated("this answer belongs to another log-in: begin again")
    if said.get("iss", issuer) != issuer:
        raise Unauthenticated("this answer is another provider's")
    if "error" in said or not said.get("code"):
        why = re.sub(r"[^a-z_]", "", said.get("error", ""))[:50]
        raise Unauthenticated(f"the provider did not let the person in: {why or 'it gave no code'}")
    return said["code"]


def _begun(request: Request) -> Begun:
    packed = request.cookies.get(cookie_name(request, COOKIE), "")
    try:
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(packed.encode("ascii")))
        begun = Begun(**found)
    except (ValueError, TypeError, binascii.Error) as error:
        raise Unauthenticated("no log-in has begun in this browser, or it took too long: begin again") from error
    if not all(isinstance(value, str) for value in found.values()) or not _ONWARD.fullmatch(begun.onward):
        raise Unauthenticated("no log-in has begun in this browser: begin again")
    return begun


def _packed(begun: Begun) -> str:
    return base64.urlsafe_b64encode(json.dumps(begun.document()).encode()).decode("ascii")


def _to(url: str) -> RedirectResponse:
    return RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
