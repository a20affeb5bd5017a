"""Flows and their tasks, to be read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from engine.explain import explain
from engine.queries import flows, tasks
from engine.queries.pages import read_number
from register import problems
from register.actors import actor_of
from register.answers import Answer
from register.api import models
from register.api.parts import PREFIX, PageQuery, paged, part_of, query_of, seq_of
from register.endpoints import NEXT_PAGE, Endpoint
from register.models import Task
from register.problems import READING
from register.service import read

_OF_FLOW = (problems.UNKNOWN_FLOW, *READING)
_OF_TASK = (problems.UNKNOWN_TASK, *_OF_FLOW)


async def list_flows(request: Request) -> Response:
    query = query_of(request, models.FlowsQuery)
    within = actor_of(request).reach
    found, cursor = await read(request, lambda conn: flows.list_flows(conn, **query.model_dump(), within=within))
    return paged(request, "flows", found, cursor)


async def read_flow(request: Request) -> Response:
    flow_id, within = part_of(request, "flow_id"), actor_of(request).reach
    return Answer(await read(request, lambda conn: flows.read_tagged(conn, flow_id, within)))


async def list_tasks(request: Request) -> Response:
    flow_id, within = part_of(request, "flow_id"), actor_of(request).reach
    query = query_of(request, models.TasksQuery)
    after = read_number(query.cursor) or 0

    def work(conn: Connection) -> tuple[list[dict[str, Any]], int | None]:
        tasks.check_flow(conn, flow_id, within)
        return tasks.list_tasks(conn, flow_id, after=after, limit=query.limit, status=query.status)

    found, last = await read(request, work)
    return paged(request, "tasks", found, last)


async def list_edges(request: Request) -> Response:
    flow_id, within = part_of(request, "flow_id"), actor_of(request).reach
    query = query_of(request, PageQuery)
    after = read_number(query.cursor) or 0

    def work(conn: Connection) -> tuple[list[dict[str, Any]], int | None]:
        tasks.check_flow(conn, flow_id, within)
        return tasks.list_edges(conn, flow_id, after=after, limit=query.limit)

    found, last = await read(request, work)
    return paged(request, "edges", found, last)


async def list_waits(request: Request) -> Response:
    flow_id, within = part_of(request, "flow_id"), actor_of(request).reach

    def work(conn: Connection) -> list[dict[str, Any]]:
        tasks.check_flow(conn, flow_id, within)
        return tasks.list_waits(conn, flow_id)

    return Answer({"waits": await read(request, work)})


async def read_task(request: Request) -> Response:
    return Answer(await _task(request))


async def read_result(request: Request) -> Response:
    return Answer({"result": (await _task(request))["result"]})


async def read_logs(request: Request) -> Response:
    """As JSON, or as the plain text that a person reads."""
    flow_id, seq, within = part_of(request, "flow_id"), seq_of(request), actor_of(request).reach

    def work(conn: Connection) -> list[dict[str, Any]]:
        tasks.check_flow(conn, flow_id, within)
        tasks.read_task(conn, flow_id, seq)
        return tasks.read_logs(conn, flow_id, seq)

    found = await read(request, work)
    if "text/plain" in request.headers.get("accept", ""):
        text = "".join(one["text"] if one["text"].endswith("\n") else f"{one['text']}\n" for one in found)
        return PlainTextResponse(text.encode("utf-8", "replace"), media_type="text/plain; charset=utf-8")
    return Answer({"logs": found})


async def explain_flow(request: Request) -> Response:
    flow_id, within = part_of(request, "flow_id"), actor_of(request).reach
    found = await read(request, lambda conn: explain(conn, flow_id, within=within))
    return Answer(found.document())


async def explain_task(request: Request) -> Response:
    flow_id, seq, within = part_of(request, "flow_id"), seq_of(request), actor_of(request).reach
    found = await read(request, lambda conn: explain(conn, flow_id, seq, within=within))
    return Answer(found.document())


async def list_failures(request: Request) -> Response:
    query, within = query_of(request, models.FailuresQuery), actor_of(request).reach
    return Answer(
        {"tasks": await read(request, lambda conn: flows.failed_tasks(conn, limit=query.limit, within=within))}
    )


async def _task(request: Request) -> dict[str, Any]:
    flow_id, seq, within = part_of(request, "flow_id"), seq_of(request), actor_of(request).reach

    def work(conn: Connection) -> dict[str, Any]:
        tasks.check_flow(conn, flow_id, within)
        return tasks.read_task(conn, flow_id, seq)

    return await read(request, work)


def _get(path: str, run: Any, summary: str, answers: Any, **more: Any) -> Endpoint:
    return Endpoint("GET", f"{PREFIX}/flows{path}", run, summary, answers, **more)


ENDPOINTS = (
    _get(
        "",
        list_flows,
        "List flows, newest first",
        models.Flows,
        query=models.FlowsQuery,
        answer_headers=NEXT_PAGE,
        problems=READING,
    ),
    Endpoint(
        "GET",
        f"{PREFIX}/failures",
        list_failures,
        "List suspended tasks, the latest first, with their last try: what needs a person, and why",
        models.Failures,
        query=models.FailuresQuery,
        problems=READING,
    ),
    _get("/{flow_id}", read_flow, "Show a flow", models.FlowRead, problems=_OF_FLOW),
    _get(
        "/{flow_id}/tasks",
        list_tasks,
        "List the tasks of a flow by run number, with their kept tries",
        models.Tasks,
        query=models.TasksQuery,
        answer_headers=NEXT_PAGE,
        problems=_OF_FLOW,
    ),
    _get(
        "/{flow_id}/edges",
        list_edges,
        "List what runs after what, by run number",
        models.Edges,
        query=PageQuery,
        answer_headers=NEXT_PAGE,
        problems=_OF_FLOW,
    ),
    _get("/{flow_id}/waits", list_waits, "List what a flow awaits or has awaited", models.Waiting, problems=_OF_FLOW),
    _get(
        "/{flow_id}/why",
        explain_flow,
        "Say what the open tasks of a flow wait for, and what would let them go on",
        models.FlowWhy,
        problems=_OF_FLOW,
    ),
    _get(
        "/{flow_id}/tasks/{seq}/why",
        explain_task,
        "Say what a task waits for, and what would let it go on",
        models.FlowWhy,
        problems=_OF_TASK,
    ),
    _get("/{flow_id}/tasks/{seq}", read_task, "Show a task", Task, problems=_OF_TASK),
    _get("/{flow_id}/tasks/{seq}/result", read_result, "Show what a task returned", models.Result, problems=_OF_TASK),
    _get(
        "/{flow_id}/tasks/{seq}/logs", read_logs, "Show what the tries of a task logged", models.Logs, problems=_OF_TASK
    ),
)
