"""`POST /api/v1/workflows/{task_id}/register`: one flow, or many by an array or by lines, many requests to a commit."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, RootModel
from starlette.requests import Request
from starlette.responses import Response

from engine.access import Role
from engine.commands.on_workflows import Registered as Body
from engine.flows import Registered, Registration
from register import bodies, bulk
from register.actors import registered_by
from register.answers import Answer
from register.api import models
from register.api.parts import PREFIX, workflow_of
from register.endpoints import Endpoint, Many
from register.models import BulkProblem
from register.problems import answer_to
from register.routes import LINES, REGISTERING
from register.service import service_of


class Registrations(RootModel[list[Body]]):
    """Registrations of one workflow; each stands and falls alone."""


class ManyRegistered(BaseModel):
    """What became of many registrations."""

    registered: int
    refused: int
    task_flow_ids: list[str | None] = Field(description="in the order of the request; null where it was refused")
    problems: list[BulkProblem] = Field(max_length=bulk.MAX_TOLD, description="the first that were refused, and why")


async def register(request: Request) -> Response:
    service, most = service_of(request), service_of(request).settings.max_body_bytes
    task_id = workflow_of(request)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() in LINES:
        return await _many(request, task_id, bodies.read_lines(request, most, bulk.TOGETHER))
    document = bodies.read_document(await bodies.read_body(request, most))
    if isinstance(document, list):
        return await _many(request, task_id, bodies.in_parts(document, bulk.TOGETHER))
    wish = wish_of(task_id, document, None, registered_by(request))
    outcome = await service.commits.submit(wish)
    if not isinstance(outcome, Registered):
        return answer_to(request, outcome, **bulk.about(wish, outcome))
    answer = {"task_flow_id": outcome.flow_id, "replayed": outcome.replayed}
    return Answer({"outcome": "done", "verb": "register", "subject": task_id, "answer": answer})


async def _many(request: Request, task_id: str, parts: Any) -> Response:
    commits, by = service_of(request).commits, registered_by(request)
    tally = await bulk.register_all(commits, task_id, parts, None, by=by, read=wish_of)
    if tally.told and not tally.registered:
        _, wish, error = tally.told[0]
        return answer_to(request, error, **bulk.about(wish, error))
    told = tally.document(task_id, request.scope["request_id"])
    answer = {name: told[name] for name in ("registered", "refused", "problems")}
    return Answer({**answer, "task_flow_ids": told["taskFlowIds"]}, 207 if tally.refused else 200)


def wish_of(task_id: str, document: bytes | Any, key: str | None, by: str | None) -> Registration:
    told = bodies.read_model(document, Body)
    return Registration(
        task_id,
        told.parameters,
        told.priority,
        told.run_key,
        told.idempotency_key or key,
        tags=tuple(told.tags or ()),
        by=by,
    )


ENDPOINTS = (
    Endpoint(
        "POST",
        f"{PREFIX}/workflows/{{task_id}}/register",
        register,
        "Start a flow of a workflow, or many",
        models.CommandAnswer,
        takes=Body,
        many=Many(Registrations, Body, ManyRegistered),
        problems=REGISTERING,
        role=Role.OPERATOR,
        name="register",
    ),
)
