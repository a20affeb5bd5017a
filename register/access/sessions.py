"""Sessions of browsers: log in with a token, ask who one is, log out."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from engine import history, tokens
from engine.database import Database
from engine.tokens import API, CHANGES, SESSION, Holder
from engine.waiting.tokens import digest
from register import bodies, problems
from register.access import models, pages
from register.access.credentials import NO_GOOD, Shown, is_secure, set_cookie
from register.access.gate import SHOWN, Gate
from register.access.refusals import TooMany, Unauthenticated
from register.actors import HOLDER, actor_of
from register.answers import Answer
from register.endpoints import Endpoint
from register.problems import Refused

PATH: Final = "/api/v1/session"


async def log_in(request: Request) -> Response:
    gate: Gate = request.app.state.gate
    try:
        holder = await _holder_of(request, gate)
    except Refused as error:
        if error.kind in (problems.UNAUTHENTICATED, problems.CROSS_SITE):
            gate.note(request, PATH, error)
        raise
    secret = await open_session(request, holder)
    request.scope[HOLDER] = holder
    ends_in_s = min(gate.settings.session_s, holder.left_s or gate.settings.session_s)
    answer = Answer(_document(gate, replace(holder, left_s=ends_in_s), secret))
    set_cookie(request, answer, secret, gate.settings.session_s)
    return answer


async def _holder_of(request: Request, gate: Gate) -> Holder:
    """Errors: Refused for a page of another site, and for a body that does not fit; Unauthenticated; TooMany."""
    if not pages.is_let_in(request, ()):
        raise Refused(problems.CROSS_SITE, "only a page of this service's own origin may log somebody in")
    body = await bodies.read_body(request, gate.settings.max_body_bytes)
    hashed = tokens.hash_of(bodies.read_model(body, models.LogIn).token)
    if hashed is None:
        raise Unauthenticated(NO_GOOD, is_wrong=True)
    return await gate.identify(request, Shown(API, hashed, ""))


async def open_session(request: Request, of: Holder | str) -> str:
    """A new session of the holder of a token, or of a person; returns its secret. Errors: TooMany."""
    gate: Gate = request.app.state.gate
    secret = secrets.token_urlsafe(32)
    name = of if isinstance(of, str) else of.name
    if (wait_s := gate.logins.take(name)) > 0:
        raise TooMany("too many sessions were opened for this token or person", wait_s)
    details = {"address": request.client.host if request.client else None, "request_id": request.scope["request_id"]}

    def work(db: Database) -> None:
        def write(conn: Any) -> None:
            tokens.open_session(conn, digest(secret), of, gate.settings.session_s)
            history.record(conn, [history.Event("session opened", None, None, name, details)])

        db.transact(write)

    await request.app.state.service.readers.run(work)
    return secret


async def who_am_i(request: Request) -> Response:
    gate: Gate = request.app.state.gate
    holder: Holder | None = request.scope.get(HOLDER)
    shown: Shown | None = request.scope.get(SHOWN)
    if holder is None:
        actor = actor_of(request)
        holder = Holder("", actor.name, actor.role, actor.reach, API, None, True)
    return Answer(_document(gate, holder, shown.secret if shown is not None and shown.kind == SESSION else None))


async def log_out(request: Request) -> Response:
    shown: Shown | None = request.scope.get(SHOWN)
    if shown is not None and shown.kind == SESSION:
        token_id = request.scope[HOLDER].token_id

        def work(db: Database) -> None:
            db.transact(lambda conn: tokens.close_session(conn, token_id))
            CHANGES.note()

        await request.app.state.service.readers.run(work)
    answer = Answer({"status": "succeeded"})
    set_cookie(request, answer, "", 0)
    if is_secure(request):
        answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


def _document(gate: Gate, holder: Holder, secret: str | None) -> dict[str, Any]:
    patterns = holder.reach.patterns
    return {
        "name": holder.name,
        "role": holder.role.value,
        "workflows": None if patterns is None else list(patterns),
        "authentication": gate.needs_token,
        "oidc": gate.settings.provider is not None,
        "csrf": None if secret is None else pages.csrf_of(secret),
        "ends_in_s": holder.left_s,
    }


ENDPOINTS = (
    Endpoint(
        "POST",
        PATH,
        log_in,
        "Log a browser in with a token",
        models.Session,
        takes=models.LogIn,
        role=None,
        answer_headers={"Set-Cookie": "the session, for browsers alone"},
        problems=(
            problems.UNAUTHENTICATED,
            problems.CROSS_SITE,
            problems.TOO_MANY_REQUESTS,
            problems.TOO_LARGE,
            problems.BAD_REQUEST,
            problems.OUTCOME_UNKNOWN,
            *problems.DATABASE,
        ),
    ),
    Endpoint("GET", PATH, who_am_i, "Say who asks, and what they may do", models.Session, problems=problems.DATABASE),
    Endpoint(
        "DELETE",
        PATH,
        log_out,
        "Log a browser out",
        models.Done,
        problems=(problems.OUTCOME_UNKNOWN, *problems.DATABASE),
    ),
)
