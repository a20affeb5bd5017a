"""One workflow as a document: read, created or replaced, taken away, and a document validated."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from engine.access import Role
from engine.commands import Ask, carry_out
from engine.documents import text
from engine.documents.replacing import ANY
from engine.documents.standing import read_standing
from engine.documents.validating import validate
from engine.errors import BadDefinition, BadDocument, BadRequest, UnfitProgram
from register import bodies, problems
from register.actors import actor_of
from register.answers import Answer
from register.api import workflow_models as models
from register.api.parts import PREFIX, part_of, query_of, workflow_of
from register.endpoints import Endpoint
from register.problems import BAD_REQUEST, Refused
from register.service import read, service_of

TOML: Final = ("application/toml", "text/x-toml", "text/toml")


async def read_workflow(request: Request) -> Response:
    """As JSON, or as the TOML that a person would write."""
    task_id = workflow_of(request)
    found = await read(request, lambda conn: read_standing(conn, task_id))
    headers = {"ETag": f'"{found.stamp}"'}
    if any(media in request.headers.get("accept", "") for media in TOML):
        return Response(text.as_toml(found.document), headers=headers, media_type=TOML[0])
    return Answer(found.as_json(), headers=headers)


async def put_workflow(request: Request) -> Response:
    task_id, query = part_of(request, "task_id"), query_of(request, models.ApplyQuery)
    if_version, only_new = _conditions(request)
    arguments = {"document": await _text(request), "format": _format(request), "dry_run": query.dry_run}
    arguments |= {"if_version": if_version, "only_new": only_new}
    answer = await _carried_out(request, Ask("apply", task_id, arguments, query.reason))
    return Answer(dict(answer), headers={} if query.dry_run else {"ETag": f'"{answer["stamp"]}"'})


async def delete_workflow(request: Request) -> Response:
    task_id, query = part_of(request, "task_id"), query_of(request, models.DeleteQuery)
    return Answer(
        dict(await _carried_out(request, Ask("delete_workflow", task_id, {"force": query.force}, query.reason)))
    )


async def validate_workflow(request: Request) -> Response:
    said, form, check = await _text(request), _format(request), service_of(request).check
    if not said.strip():
        raise BadRequest("body", "is empty: a document is what this looks at")
    found = await service_of(request).readers.run(lambda _: validate(said, form, check))
    return Answer(found.as_json())


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


WORKFLOWS: Final = f"{PREFIX}/workflows"
WORKFLOW: Final = f"{WORKFLOWS}/{{task_id}}"
OF_WORKFLOW: Final = (problems.UNKNOWN_WORKFLOW, *problems.READING)
_WRITE: Final = (problems.OUTCOME_UNKNOWN, *OF_WORKFLOW, problems.FORBIDDEN, problems.REFUSED_VALUE)
_ETAG: Final = {"ETag": "the stamp of the workflow, for If-Match"}
ENDPOINTS = (
    Endpoint(
        "POST",
        f"{WORKFLOWS}/validate",
        validate_workflow,
        "Say what is wrong with a document of a workflow, in JSON or in TOML",
        models.WorkflowValidated,
        takes=models.Anything,
        problems=(problems.BAD_REQUEST, problems.TOO_LARGE, problems.BUSY),
        role=Role.VIEWER,
    ),
    Endpoint(
        "GET",
        WORKFLOW,
        read_workflow,
        "Show a workflow as a document",
        models.WorkflowRead,
        answer_headers=_ETAG,
        problems=(problems.BAD_DEFINITION, *OF_WORKFLOW),
    ),
    Endpoint(
        "PUT",
        WORKFLOW,
        put_workflow,
        "Create or replace a workflow by a document, in JSON or in TOML",
        models.WorkflowApplied,
        takes=models.WorkflowBody,
        query=models.ApplyQuery,
        headers={"If-Match": {"type": "string"}, "If-None-Match": {"const": ANY}},
        answer_headers=_ETAG,
        problems=(problems.UNFIT_PROGRAM, problems.OUTDATED, problems.TOO_LARGE, *_WRITE),
        role=Role.AUTHOR,
    ),
    Endpoint(
        "DELETE",
        WORKFLOW,
        delete_workflow,
        "Take a workflow's definition away; its flows and versions stay",
        models.WorkflowDeleted,
        query=models.DeleteQuery,
        problems=(problems.CONFLICT, *_WRITE),
        name="remove_workflow",
        role=Role.AUTHOR,
    ),
)
