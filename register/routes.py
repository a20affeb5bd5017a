"""Parse, one engine call, answer; and the table of all paths."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlencode

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from engine import queries, schema
from engine.access import Role
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.errors import BadRequest, DatabaseUnavailable, OutcomeUnknown, PenstockError, UnknownFlow, UnknownWorkflow
from engine.flows import MAX_ID, MAX_KEY, Registered, Registration
from register import bodies, bulk, docs_page, models, problems
from register.actors import actor_of, registered_by
from register.answers import Answer
from register.endpoints import NEXT_PAGE, Endpoint, Many
from register.problems import Refused, answer_to, misfit
from register.service import service_of

_MARKUP: Final = re.compile(r"html|xml|svg", re.IGNORECASE)
LINES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")


async def register_flow(request: Request) -> Response:
    service, most = service_of(request), service_of(request).settings.max_body_bytes
    task_id, key = _task_id(request), _idempotency_key(request)
    if not actor_of(request).reach.covers(task_id):
        raise UnknownWorkflow(task_id)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() in LINES:
        return await _register_many(request, task_id, bodies.read_lines(request, most, bulk.TOGETHER), key)
    document = bodies.read_document(await bodies.read_body(request, most))
    if isinstance(document, list):
        return await _register_many(request, task_id, bodies.in_parts(document, bulk.TOGETHER), key)
    body = bodies.read_model(document, models.RegisterBody)
    wish = Registration(task_id, body.parameters, body.priority, body.runKey, key, by=registered_by(request))
    outcome = await service.commits.submit(wish)
    if isinstance(outcome, Registered):
        answer = {"status": "succeeded", "taskId": outcome.task_id, "taskFlowId": outcome.flow_id}
        return Answer(answer, headers={"Idempotency-Replayed": "true"} if outcome.replayed else None)
    # not raised: one error object may belong to many requests
    return answer_to(request, outcome, **bulk.about(wish, outcome))


async def _register_many(
    request: Request, task_id: str, parts: AsyncIterable[Sequence[Any]], key: str | None
) -> Response:
    commits, by = service_of(request).commits, registered_by(request)
    tally = await bulk.register_all(commits, task_id, parts, key, by=by)
    if tally.told and not tally.registered:
        _, wish, error = tally.told[0]
        return answer_to(request, error, **bulk.about(wish, error))
    answer = tally.document(task_id, request.scope["request_id"])
    return Answer(answer, 207 if tally.refused else 200)


async def list_flows(request: Request) -> Response:
    try:
        query = models.FlowQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise misfit(error, place="query") from error
    for name in ("taskId", "cursor"):
        if "\x00" in (getattr(query, name) or ""):
            raise BadRequest(name, "holds a character that no database can store")

    within = actor_of(request).reach

    def work(db: Database) -> tuple[list[dict[str, Any]], str | None]:
        with db.read() as conn:
            return queries.list_flows(
                conn,
                limit=query.limit,
                cursor=query.cursor,
                task_id=query.taskId,
                status=query.status,
                within=within,
            )

    flows, cursor = await service_of(request).readers.run(work)
    headers = {}
    if cursor is not None:
        more = urlencode({**request.query_params, "cursor": cursor})
        headers["Link"] = f'<{request.scope.get("root_path", "")}/flows?{more}>; rel="next"'
    return Answer({"flows": flows, "next": cursor}, headers=headers)


async def read_flow(request: Request) -> Response:
    flow_id, within = _flow_id(request), actor_of(request).reach

    def work(db: Database) -> dict[str, Any]:
        with db.read() as conn:
            return queries.read_flow(conn, flow_id, within)

    return Answer(await service_of(request).readers.run(work))


async def recover_flow(request: Request) -> Response:
    flow_id, actor = _flow_id(request), actor_of(request)
    done = await service_of(request).readers.run(lambda db: carry_out(db, Ask("recover", flow_id), actor))
    return Answer({"status": "succeeded", "taskFlowId": flow_id, "recovered": done["seqs"]})


async def healthz(request: Request) -> Response:
    return Answer({"status": "ok"})


async def readyz(request: Request) -> Response:
    reasons = await service_of(request).readers.run(_reasons)
    if reasons:
        raise Refused(problems.NOT_READY, "; ".join(reasons), reasons=reasons)
    return Answer({"status": "ok"})


def _reasons(db: Database) -> list[str]:
    try:
        schema.verify(db)
    except (DatabaseUnavailable, OutcomeUnknown):
        return ["the database does not answer"]
    except PenstockError as error:  # its words without user and host: this page is open to everyone
        return [str(error).replace(db.url.render_as_string(), "the database")]
    return []


async def openapi(request: Request) -> Response:
    return Answer(service_of(request).document)


async def docs(request: Request) -> Response:
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'self'"}
    return HTMLResponse(docs_page.page(service_of(request).document), headers=headers)


async def docs_style(request: Request) -> Response:
    return Response(docs_page.STYLE, media_type="text/css")


async def root(request: Request) -> Response:
    paths = service_of(request).document["paths"]
    what = {f"{verb.upper()} {path}": it["summary"] for path, verbs in paths.items() for verb, it in verbs.items()}
    return Answer({"service": "penstock register", "paths": what})


async def echo(request: Request) -> Response:
    body = await bodies.read_body(request, service_of(request).settings.max_body_bytes)
    kind = request.headers.get("content-type")
    if kind and _MARKUP.search(kind):  # no browser may take what somebody sent for a page of ours
        kind = "text/plain"
    return Response(body, headers={"Content-Type": kind} if kind else None)


def _task_id(request: Request) -> str:
    """Everything behind /register/, as Flower takes it, less one slash at its end."""
    encoded: str = request.path_params["task_id"].removesuffix("/")
    if not encoded:
        raise Refused(problems.NOT_FOUND, "the id of a workflow belongs behind /register/")
    try:
        return unquote(encoded, errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequest("taskId", "is not UTF-8") from error


def _flow_id(request: Request) -> str:
    encoded: str = request.path_params["flow_id"]
    flow_id = unquote(encoded)
    if len(flow_id) > MAX_ID or "\x00" in flow_id:  # no row can have it, and not every database would say so
        raise UnknownFlow(flow_id[:MAX_ID])
    return flow_id


def _idempotency_key(request: Request) -> str | None:
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    key = given[0]
    if len(given) > 1 or not 1 <= len(key) <= MAX_KEY or not all("!" <= char <= "~" for char in key):
        raise BadRequest("Idempotency-Key", f"must be given once, with 1 to {MAX_KEY} visible ASCII characters")
    return key


REGISTERING: Final = (
    problems.UNKNOWN_WORKFLOW,
    problems.BAD_DEFINITION,
    problems.UNFIT_PROGRAM,
    problems.TOO_LARGE,
    problems.BAD_REQUEST,
    problems.KEY_REUSED,
    problems.TOO_MANY_FLOWS,
    problems.REFUSED_VALUE,
    problems.OUTCOME_UNKNOWN,
    *problems.DATABASE,
)
"""What a registration may be answered with, whichever path it takes."""
ENDPOINTS = (
    Endpoint("GET", "/", root, "Name the service and its paths", models.Service),
    Endpoint(
        "POST",
        "/register/{task_id:path}",
        register_flow,
        "Start a flow of a workflow, or many",
        models.RegisterAnswer,
        role=Role.OPERATOR,
        takes=models.RegisterBody,
        many=Many(models.BulkBody, models.BulkItem, models.BulkAnswer),
        headers={"Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"}},
        answer_headers={"Idempotency-Replayed": "`true` if an earlier request with the same key made the flow"},
        problems=REGISTERING,
    ),
    Endpoint(
        "GET",
        "/flows",
        list_flows,
        "List flows, newest first",
        models.FlowPage,
        name="list_newest_flows",
        query=models.FlowQuery,
        answer_headers=NEXT_PAGE,
        problems=problems.READING,
    ),
    Endpoint(
        "GET",
        "/flows/{flow_id}",
        read_flow,
        "Show a flow with its tasks and their kept attempts",
        models.FlowWithTasks,
        name="read_whole_flow",
        problems=(problems.UNKNOWN_FLOW, *problems.DATABASE),
    ),
    Endpoint(
        "POST",
        "/flows/{flow_id}/recover",
        recover_flow,
        "Set a flow's suspended tasks back to waiting",
        models.RecoverAnswer,
        role=Role.OPERATOR,
        problems=(problems.UNKNOWN_FLOW, problems.OUTCOME_UNKNOWN, *problems.DATABASE),
    ),
    Endpoint("GET", "/healthz", healthz, "Say that the process lives", models.Health, role=None),
    Endpoint(
        "GET",
        "/readyz",
        readyz,
        "Say whether it can work",
        models.Health,
        role=None,
        problems=(problems.NOT_READY, problems.BUSY),
    ),
    Endpoint("GET", "/openapi.json", openapi, "This description", None),
    Endpoint("GET", "/docs", docs, "This description as a page", None, media="text/html; charset=utf-8"),
    Endpoint("GET", "/docs.css", docs_style, "How that page looks", None, media="text/css; charset=utf-8"),
)
ECHO = Endpoint(  # open, as the sample workflow posts there and has no token
    "POST", "/echo", echo, "Answer with the request's body", None, role=None, problems=(problems.TOO_LARGE,)
)
