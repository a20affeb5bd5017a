"""Tokens and people by HTTP, where a command alone does not do: the lists, and a token whose secret is made here.

What changes them besides are commands like all others: `POST /api/v1/tokens/{token_id}/revoke` and its like.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from engine import tokens
from engine.access import Role
from engine.commands import Ask, carry_out
from engine.waiting.tokens import digest
from register import bodies, problems
from register.access import models
from register.actors import actor_of
from register.answers import Answer
from register.api.parts import PREFIX, PageQuery, next_link, query_of
from register.endpoints import NEXT_PAGE, Endpoint
from register.service import read, service_of


async def list_tokens(request: Request) -> Response:
    query = query_of(request, models.TokensQuery)
    return await _page(request, "tokens", query, partial(tokens.list_tokens, kind=query.kind))


async def list_principals(request: Request) -> Response:
    return await _page(request, "principals", query_of(request, PageQuery), tokens.list_principals)


async def create_token(request: Request) -> Response:
    service, actor = service_of(request), actor_of(request)
    told = bodies.read_model(await bodies.read_body(request, service.settings.max_body_bytes), models.NewToken)
    token = tokens.new_token()
    arguments = {"token_hash": digest(token), "role": told.role.value}
    arguments |= told.model_dump(include={"workflows", "expires_s"}, exclude_none=True)
    ask = Ask("create_token", told.name, arguments, told.reason)
    answer = await service.readers.run(lambda db: carry_out(db, ask, actor))
    return Answer({"token": token, **answer})


async def _page(request: Request, name: str, query: PageQuery, list_them: Callable[..., Any]) -> Response:
    actor_of(request).needs_all(f"list {name}")
    found, cursor = await read(request, lambda conn: list_them(conn, limit=query.limit, cursor=query.cursor))
    return Answer({name: found, "next": cursor}, headers=next_link(request, cursor))


_READ = (problems.FORBIDDEN, *problems.READING)
_WRITE = (*_READ, problems.OUTCOME_UNKNOWN, problems.TOO_LARGE, problems.CONFLICT, problems.REFUSED_VALUE)


def _list(path: str, run: Any, summary: str, answers: Any, query: Any) -> Endpoint:
    where = f"{PREFIX}{path}"
    return Endpoint(
        "GET", where, run, summary, answers, query=query, role=Role.ADMIN, answer_headers=NEXT_PAGE, problems=_READ
    )


ENDPOINTS = (
    _list("/tokens", list_tokens, "List tokens, newest first", models.TokenPage, models.TokensQuery),
    _list("/principals", list_principals, "List people who log in elsewhere, by name", models.PrincipalPage, PageQuery),
    Endpoint(
        "POST",
        f"{PREFIX}/tokens",
        create_token,
        "Make a token, and show it this once",
        models.MadeToken,
        takes=models.NewToken,
        role=Role.ADMIN,
        problems=_WRITE,
        name="make_token",
    ),
)
