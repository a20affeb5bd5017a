"""How the paths of the forerunners answer: 400 for what does not fit, and 429 when too many ask at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from engine.database import Database
from engine.errors import PenstockError
from register import bodies, problems
from register.problems import Busy, Refused, kind_of, misfit, problem_of
from register.service import service_of

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
Run = Callable[[Request], Awaitable[Response]]
_OWN = ("type", "title", "code", "detail", "instance", "status", "taskId", "description")


def in_their_way(run: Run) -> Run:
    @wraps(run)
    async def wrapped(request: Request) -> Response:
        try:
            return await run(request)
        except Busy as error:
            raise Refused(problems.PRESSED, str(error)) from error
        except PenstockError as error:
            if kind_of(error).code != 422:
                raise
            told = problem_of(error, request.scope["request_id"])
            members = {name: value for name, value in told.items() if name not in _OWN}
            raise Refused(problems.BAD_INPUT, str(error), **members) from error

    return wrapped


def named(request: Request, name: str) -> str:
    """A part of the path."""
    return unquote(request.path_params[name])


def query_of(request: Request, model: type[M]) -> M:
    """Errors: Refused."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise misfit(error, place="query") from error


async def body_of(request: Request, model: type[M], limit: int | None = None) -> M:
    """The body; a JSON text within JSON is read as what it holds. Errors: Refused, BadRequest."""
    most = limit or service_of(request).settings.max_body_bytes
    document = bodies.read_document(await bodies.read_body(request, most))
    if isinstance(document, str):
        document = bodies.read_document(document.encode("utf-8", "surrogatepass"))
    return bodies.read_model(document, model)


async def run_in(request: Request, work: Callable[[Database], T]) -> T:
    return await service_of(request).readers.run(work)


__all__ = ["body_of", "in_their_way", "named", "query_of", "run_in"]
