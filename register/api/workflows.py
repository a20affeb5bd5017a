"""Workflows as documents: listed, read, created or replaced, validated, compared, taken away."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field, RootModel, create_model
from starlette.requests import Request
from starlette.responses import Response

from engine.access import Role
from engine.commands import Ask, carry_out
from engine.commands.carrying_out import MAX_REASON
from engine.documents import kept, listing, text
from engine.documents.differences import difference
from engine.documents.replacing import ANY
from engine.documents.shape import Document, Id
from engine.documents.standing import read_standing
from engine.documents.validating import validate
from engine.errors import BadDefinition, BadDocument, BadRequest, UnfitProgram, UnknownWorkflow
from register import bodies, problems
from register.actors import actor_of
from register.answers import Answer
from register.api.parts import PREFIX, PageQuery, Query, next_link, part_of, query_of
from register.endpoints import NEXT_PAGE, Endpoint
from register.problems import BAD_REQUEST, Refused
from register.service import read, service_of

TOML: Final = ("application/toml", "text/x-toml", "text/toml")
WorkflowBody = create_model(
    "WorkflowBody",
    __base__=Document,
    __doc__="A workflow: all that its definition rows say (docs/workflow-files.md).",
    task_id=(Id | None, Field(default=None, description="that of the path; need not be repeated")),
)


class WorkflowsQuery(PageQuery):
    """Which workflows to list."""

    text: str | None = Field(default=None, max_length=256, description="found in the id or the description")
    tag: str | None = Field(default=None, max_length=255)
    owner: str | None = Field(default=None, max_length=256)


class ApplyQuery(Query):
    dry_run: bool = Field(False, description="say what would change, and change nothing")
    reason: str | None = Field(default=None, max_length=MAX_REASON, description="why it is asked for")


class DeleteQuery(Query):
    force: bool = Field(False, description="also while flows of it are under way; they go on")
    reason: str | None = Field(default=None, max_length=MAX_REASON, description="why it is asked for")


class DiffQuery(Query):
    older: str | None = Field(default=None, alias="from", max_length=64, description="unless given, the version before")
    newer: str | None = Field(default=None, alias="to", max_length=64, description="unless given, what is there now")


class Anything(RootModel[Any]):
    """A document of a workflow, good or bad (docs/workflow-files.md)."""


class WorkflowListed(BaseModel):
    task_id: str
    description: str | None
    owner: str | None
    tags: list[str]
    changed_ts: str | None
    changed_by: str | None
    version_id: str | None = Field(description="null if it cannot run")
    problem: str | None = Field(description="why it cannot run")
    live_flows: int = Field(description="flows under way, counted up to 1,000")
    last_flow: str | None


class Workflows(BaseModel):
    workflows: list[WorkflowListed]
    next: str | None = Field(description="`cursor` of the next page")


class WorkflowRead(BaseModel):
    """A workflow as it is."""

    document: Document
    version_id: str
    stamp: str = Field(description="what If-Match takes: it changes whenever the workflow does")
    changed_ts: str | None
    changed_by: str | None
    source_format: str | None = Field(description="how it was written last: toml, json")


class WorkflowVersion(BaseModel):
    version_id: str
    created_ts: str
    is_current: bool = Field(description="flows are made from it now")


class WorkflowVersions(BaseModel):
    versions: list[WorkflowVersion]
    next: str | None = Field(description="`cursor` of the next page")


class WorkflowVersionRead(WorkflowVersion):
    """A version, as a document with every edge that it has."""

    document: Document


class Compared(BaseModel):
    """`added` and `removed` with their fields, `changed` with `fields` {name: {from, to}}; steps by `seq`, edges by
    `before` and `after`."""

    added: list[dict[str, Any]]
    removed: list[dict[str, Any]]
    changed: list[dict[str, Any]]


class Changes(BaseModel):
    is_same: bool
    steps: Compared
    edges: Compared
    workflow: dict[str, Any] = Field(description="name -> {from, to}")


class LiveOfVersion(BaseModel):
    version_id: str | None
    flows: int


class Live(BaseModel):
    """Flows under way; they keep the version that they were made from."""

    count: int = Field(description="counted up to 10,000")
    is_more: bool
    versions: list[LiveOfVersion]
    flows: list[str] = Field(description="the first 20")


class WorkflowDiff(Changes):
    task_id: str
    older: str | None = Field(alias="from", description="a version; null: there was none")
    newer: str = Field(alias="to", description="a version")
    live: Live


class WorkflowApplied(BaseModel):
    task_id: str
    version_id: str
    stamp: str
    was: str | None = Field(description="the version before")
    is_new: bool
    changes: Changes


class WorkflowDeleted(BaseModel):
    task_id: str


class DocumentProblem(BaseModel):
    where: str
    line: int | None
    words: str


class WorkflowValidated(BaseModel):
    is_valid: bool
    task_id: str | None
    version_id: str | None
    problems: list[DocumentProblem]


async def list_workflows(request: Request) -> Response:
    query, reach = query_of(request, WorkflowsQuery), actor_of(request).reach
    found, cursor = await read(request, lambda conn: listing.list_workflows(conn, **query.model_dump(), reach=reach))
    return Answer({"workflows": found, "next": cursor}, headers=next_link(request, cursor))


async def read_workflow(request: Request) -> Response:
    """As JSON, or as the TOML that a person would write."""
    task_id = _reached(request)
    found = await read(request, lambda conn: read_standing(conn, task_id))
    headers = {"ETag": f'"{found.stamp}"'}
    if any(media in request.headers.get("accept", "") for media in TOML):
        return Response(text.as_toml(found.document), headers=headers, media_type=TOML[0])
    return Answer(found.as_json(), headers=headers)


async def put_workflow(request: Request) -> Response:
    task_id, query = part_of(request, "task_id"), query_of(request, ApplyQuery)
    if_version, only_new = _conditions(request)
    arguments = {"document": await _text(request), "format": _format(request), "dry_run": query.dry_run}
    arguments |= {"if_version": if_version, "only_new": only_new}
    answer = await _carried_out(request, Ask("apply", task_id, arguments, query.reason))
    return Answer(dict(answer), headers={} if query.dry_run else {"ETag": f'"{answer["stamp"]}"'})


async def delete_workflow(request: Request) -> Response:
    task_id, query = part_of(request, "task_id"), query_of(request, DeleteQuery)
    return Answer(
        dict(await _carried_out(request, Ask("delete_workflow", task_id, {"force": query.force}, query.reason)))
    )


async def validate_workflow(request: Request) -> Response:
    said, form, check = await _text(request), _format(request), service_of(request).check
    if not said.strip():
        raise BadRequest("body", "is empty: a document is what this looks at")
    found = await service_of(request).readers.run(lambda _: validate(said, form, check))
    return Answer(found.as_json())


async def list_versions(request: Request) -> Response:
    task_id, query = _reached(request), query_of(request, PageQuery)
    found, cursor = await read(
        request, lambda conn: kept.versions_page(conn, task_id, limit=query.limit, cursor=query.cursor)
    )
    return Answer({"versions": found, "next": cursor}, headers=next_link(request, cursor))


async def read_version(request: Request) -> Response:
    task_id, version_id = _reached(request), part_of(request, "version_id")
    return Answer(await read(request, lambda conn: kept.version_document(conn, task_id, version_id)))


async def compare_versions(request: Request) -> Response:
    task_id, query = _reached(request), query_of(request, DiffQuery)
    return Answer(await read(request, lambda conn: difference(conn, task_id, query.older, query.newer)))


def _reached(request: Request) -> str:
    task_id = part_of(request, "task_id")
    if not actor_of(request).reach.covers(task_id):
        raise UnknownWorkflow(task_id)
    return task_id


async def _carried_out(request: Request, ask: Ask) -> Any:
    service, actor = service_of(request), actor_of(request)
    try:
        return await service.readers.run(lambda db: carry_out(db, ask, actor, service.check))
    except UnfitProgram:
        raise
    except BadDocument as error:
        faults = [{"pointer": _pointer(one.where), "detail": str(one)} for one in error.found]
        raise Refused(BAD_REQUEST, error.why, errors=faults) from error
    except BadDefinition as error:
        faults = [{"pointer": "#", "detail": words} for words in error.problems]
        raise Refused(BAD_REQUEST, error.why, errors=faults) from error


def _pointer(where: str) -> str:
    return "#" + "".join(f"/{part.rstrip(']')}" for part in where.replace("[", ".").split(".") if part)


async def _text(request: Request) -> str:
    body = await bodies.read_body(request, service_of(request).settings.max_body_bytes)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("body", "is not UTF-8") from error


def _format(request: Request) -> str:
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return text.TOML if media in TOML else text.JSON


def _conditions(request: Request) -> tuple[str | None, bool]:
    """What If-Match and If-None-Match ask for: the stamp (or any), and whether it must be new. Errors: BadRequest."""
    match, none = request.headers.get("if-match"), request.headers.get("if-none-match")
    if none is not None and none.strip() != ANY:
        raise BadRequest("If-None-Match", "can only be *: the workflow must not be there yet")
    if match is not None and len(match) > 100:
        raise BadRequest("If-Match", "is no single ETag")
    stamp = match.strip() if match is not None else None
    return stamp[1:-1] if stamp and len(stamp) > 1 and stamp[0] == stamp[-1] == '"' else stamp, none is not None


_READ: Final = (problems.UNKNOWN_WORKFLOW, *problems.READING)
_WRITE: Final = (problems.OUTCOME_UNKNOWN, *_READ, problems.FORBIDDEN, problems.REFUSED_VALUE)
_PATH: Final = f"{PREFIX}/workflows"
_ONE: Final = f"{_PATH}/{{task_id}}"
_ETAG: Final = {"ETag": "the stamp of the workflow, for If-Match"}
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        _PATH,
        list_workflows,
        "List workflows by id",
        Workflows,
        query=WorkflowsQuery,
        answer_headers=NEXT_PAGE,
        problems=problems.READING,
    ),
    Endpoint(
        "POST",
        f"{_PATH}/validate",
        validate_workflow,
        "Say what is wrong with a document of a workflow, in JSON or in TOML",
        WorkflowValidated,
        takes=Anything,
        problems=(problems.BAD_REQUEST, problems.TOO_LARGE, problems.BUSY),
        role=Role.VIEWER,
    ),
    Endpoint(
        "GET",
        _ONE,
        read_workflow,
        "Show a workflow as a document",
        WorkflowRead,
        answer_headers=_ETAG,
        problems=(problems.BAD_DEFINITION, *_READ),
    ),
    Endpoint(
        "PUT",
        _ONE,
        put_workflow,
        "Create or replace a workflow by a document, in JSON or in TOML",
        WorkflowApplied,
        takes=WorkflowBody,
        query=ApplyQuery,
        headers={"If-Match": {"type": "string"}, "If-None-Match": {"const": ANY}},
        answer_headers=_ETAG,
        problems=(problems.UNFIT_PROGRAM, problems.OUTDATED, problems.TOO_LARGE, *_WRITE),
        role=Role.AUTHOR,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        delete_workflow,
        "Take a workflow's definition away; its flows and versions stay",
        WorkflowDeleted,
        query=DeleteQuery,
        problems=(problems.CONFLICT, *_WRITE),
        name="remove_workflow",
        role=Role.AUTHOR,
    ),
    Endpoint(
        "GET",
        f"{_ONE}/versions",
        list_versions,
        "List the versions of a workflow that are kept, newest first",
        WorkflowVersions,
        query=PageQuery,
        answer_headers=NEXT_PAGE,
        problems=_READ,
    ),
    Endpoint(
        "GET",
        f"{_ONE}/versions/{{version_id}}",
        read_version,
        "Show a version of a workflow",
        WorkflowVersionRead,
        problems=(problems.UNKNOWN_VERSION, *_READ),
    ),
    Endpoint(
        "GET",
        f"{_ONE}/diff",
        compare_versions,
        "Compare two versions of a workflow, with the flows that are under way",
        WorkflowDiff,
        query=DiffQuery,
        problems=(problems.UNKNOWN_VERSION, problems.BAD_DEFINITION, *_READ),
    ),
)
