"""Parts of a request to the API: names in its path, and what its query says."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import unquote, urlencode

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request

from engine.errors import BadRequest, UnknownWorkflow
from engine.queries.pages import MAX_PAGE
from engine.waiting.messages import check_text
from register.actors import actor_of
from register.answers import Answer
from register.problems import misfit

Q = TypeVar("Q", bound=BaseModel)
PREFIX: Final = "/api/v1"
MAX_SEQ: Final = 2**63 - 1


def _rfc3339(value: Any) -> Any:
    """A number is no time, whatever pydantic makes of it."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", value) is None:
        raise ValueError("is no time such as 2026-01-31T12:00:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]


class Query(BaseModel):
    """What a query may say; unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    """Which page of a list."""

    limit: int = Field(50, ge=1, le=MAX_PAGE, description="rows of a page, at most")
    cursor: str | None = Field(default=None, min_length=1, max_length=600, description="`next` of the page before")


def part_of(request: Request, name: str) -> str:
    """A name in the path, decoded. Errors: BadRequest for what no row can be called."""
    try:
        text = unquote(request.path_params[name], errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequest(name, "is not UTF-8") from error
    check_text(name, text)
    return text


def workflow_of(request: Request) -> str:
    """The workflow in the path. Errors: UnknownWorkflow for one beyond the reach of who asks; BadRequest."""
    task_id = part_of(request, "task_id")
    if not actor_of(request).reach.covers(task_id):
        raise UnknownWorkflow(task_id)
    return task_id


def seq_of(request: Request) -> int:
    """The run number in the path. Errors: BadRequest."""
    text = request.path_params["seq"]
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not 1 <= int(text) <= MAX_SEQ:
        raise BadRequest("seq", "is no run number of a task")
    return int(text)


def query_of(request: Request, model: type[Q]) -> Q:
    """Errors: Refused, with every name that does not fit; BadRequest for a text that no database can store."""
    given = request.query_params
    if len(given.multi_items()) != len(given):
        raise BadRequest("query", "names something twice")
    try:
        query = model.model_validate(dict(given))
    except ValidationError as error:
        raise misfit(error, place="query") from error
    for name, value in query:
        if isinstance(value, str) and ("\x00" in value or "\ufffd" in value):
            raise BadRequest(name, "holds a character that no database can store")
    return query


def paged(request: Request, members: str, found: list[dict[str, Any]], cursor: str | int | None) -> Answer:
    """One page of a list, with the cursor of the next."""
    following = None if cursor is None else str(cursor)
    return Answer({members: found, "next": following}, headers=next_link(request, following))


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """The header that leads to the next page."""
    if cursor is None:
        return {}
    more = urlencode({**request.query_params, "cursor": cursor})
    path = request.scope.get("root_path", "") + request.scope["path"]
    return {"Link": f'<{path}?{more}>; rel="next"'}
