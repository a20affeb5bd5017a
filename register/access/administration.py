"""Tokens and people by HTTP: the same commands as through every other door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from engine import tokens
from engine.access import Role
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.errors import BadRequest
from engine.waiting.tokens import digest
from register import bodies, problems
from register.access import models
from register.actors import actor_of
from register.answers import Answer
from register.endpoints import Endpoint
from register.problems import misfit
from register.readers import Readers

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


async def list_tokens(request: Request) -> Response:
    return await _page(request, "tokens", tokens.list_tokens)


async def list_principals(request: Request) -> Response:
    return await _page(request, "principals", tokens.list_principals)


async def create_token(request: Request) -> Response:
    told = await _body(request, models.NewToken)
    token = tokens.new_token()
    arguments = {"token_hash": digest(token), "role": told.role.value}
    arguments |= told.model_dump(include={"workflows", "expires_s"}, exclude_none=True)
    answer = await _carry_out(request, Ask("create_token", told.name, arguments, told.reason))
    return Answer({"token": token, **answer})


async def revoke_token(request: Request) -> Response:
    return Answer(await _carry_out(request, Ask("revoke_token", _id(request, "token_id"))))


async def set_principal(request: Request) -> Response:
    told = await _body(request, models.Granted)
    arguments = told.model_dump(mode="json", include={"role", "workflows"}, exclude_none=True)
    return Answer(await _carry_out(request, Ask("set_principal", _id(request, "name"), arguments, told.reason)))


async def drop_principal(request: Request) -> Response:
    return Answer(await _carry_out(request, Ask("drop_principal", _id(request, "name"))))


async def _page(request: Request, name: str, read: Callable[..., tuple[list[dict[str, Any]], str | None]]) -> Response:
    try:
        query = models.PageQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise misfit(error, place="query") from error
    if "\x00" in (query.cursor or ""):
        raise BadRequest("cursor", "holds a character that no database can store")
    actor_of(request).needs_all(f"list {name}")

    def work(db: Database) -> tuple[list[dict[str, Any]], str | None]:
        with db.read() as conn:
            return read(conn, limit=query.limit, cursor=query.cursor)

    found, cursor = await _readers(request).run(work)
    return Answer({name: found, "next": cursor})


async def _carry_out(request: Request, ask: Ask) -> dict[str, Any]:
    actor = actor_of(request)
    return dict(await _readers(request).run(lambda db: carry_out(db, ask, actor)))


async def _body(request: Request, model: type[M]) -> M:
    most = request.app.state.gate.settings.max_body_bytes
    return bodies.read_model(await bodies.read_body(request, most), model)


def _readers(request: Request) -> Readers:
    readers: Readers = request.app.state.service.readers
    return readers


def _id(request: Request, name: str) -> str:
    try:
        return unquote(request.path_params[name], errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequest(name, "is not UTF-8") from error


_READ = (problems.BAD_REQUEST, problems.BUSY, problems.UNAVAILABLE, problems.FATAL)
_WRITE = (*_READ, problems.OUTCOME_UNKNOWN, problems.TOO_LARGE, problems.CONFLICT, problems.REFUSED_VALUE)
ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/tokens",
        list_tokens,
        "List tokens, newest first",
        models.TokenPage,
        query=models.PageQuery,
        role=Role.ADMIN,
        problems=_READ,
    ),
    Endpoint(
        "POST",
        "/api/v1/tokens",
        create_token,
        "Make a token, and show it this once",
        models.MadeToken,
        takes=models.NewToken,
        role=Role.ADMIN,
        problems=_WRITE,
    ),
    Endpoint(
        "POST",
        "/api/v1/tokens/{token_id}/revoke",
        revoke_token,
        "End a token, and the sessions that came from it",
        models.RevokedToken,
        role=Role.ADMIN,
        problems=(*_WRITE, problems.UNKNOWN_TOKEN),
    ),
    Endpoint(
        "GET",
        "/api/v1/principals",
        list_principals,
        "List people who log in elsewhere, by name",
        models.PrincipalPage,
        query=models.PageQuery,
        role=Role.ADMIN,
        problems=_READ,
    ),
    Endpoint(
        "PUT",
        "/api/v1/principals/{name}",
        set_principal,
        "Say what a person may do",
        models.SetPrincipal,
        takes=models.Granted,
        role=Role.ADMIN,
        problems=_WRITE,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/principals/{name}",
        drop_principal,
        "Let a person in no longer",
        models.DroppedPrincipal,
        role=Role.ADMIN,
        problems=(*_WRITE, problems.UNKNOWN_PRINCIPAL),
    ),
)
