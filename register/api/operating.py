"""What operators look at beside flows: queues, limits, watchers, open waits, commands, programs, figures."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from engine.access import Role
from engine.queries import events, operating, records, stats
from engine.queries.pages import read_number
from register import problems
from register.actors import actor_of
from register.answers import Answer
from register.api import models
from register.api.parts import PREFIX, paged, query_of
from register.endpoints import NEXT_PAGE, Endpoint
from register.problems import READING
from register.service import read, service_of


async def list_queues(request: Request) -> Response:
    return Answer({"queues": await read(request, operating.list_queues)})


async def list_limits(request: Request) -> Response:
    within = actor_of(request).reach
    return Answer({"limits": await read(request, lambda conn: operating.list_limits(conn, within))})


async def list_watchers(request: Request) -> Response:
    return Answer({"watchers": await read(request, operating.list_watchers)})


async def list_waits(request: Request) -> Response:
    query, within = query_of(request, models.WaitsQuery), actor_of(request).reach
    found, cursor = await read(
        request, lambda conn: operating.list_open_waits(conn, **query.model_dump(), within=within)
    )
    return paged(request, "waits", found, cursor)


async def list_commands(request: Request) -> Response:
    query, actor = query_of(request, models.CommandsQuery), actor_of(request)
    actor.needs_all("list commands")
    where: dict[str, Any] = {"limit": query.limit, "subject": query.subject}
    return await _records(request, "commands", query, operating.list_commands, records.commands_behind, where)


async def list_events(request: Request) -> Response:
    query, within = query_of(request, models.EventsQuery), actor_of(request).reach
    where: dict[str, Any] = {"limit": query.limit, "flow_id": query.flow_id, "within": within}
    return await _records(request, "events", query, events.list_events, records.events_behind, where)


async def _records(
    request: Request,
    members: str,
    query: models.RecordsQuery,
    newest_first: records.Listing,
    behind: records.Listing,
    where: dict[str, Any],
) -> Response:
    """A page of a list that is read from either end."""
    where |= {"after": query.after, "place": read_number(query.cursor)}
    found, last = await read(request, lambda conn: records.from_either_end(conn, newest_first, behind, **where))
    return paged(request, members, found, last)


async def list_programs(request: Request) -> Response:
    known = service_of(request).programs
    return Answer({"programs": [] if known is None else list(known())})


async def counters(request: Request) -> Response:
    actor_of(request).needs_all("read the counters of all workflows")
    return Answer(await read(request, stats.counters))


async def series(request: Request) -> Response:
    query, within = query_of(request, models.SeriesQuery), actor_of(request).reach
    found = await read(request, lambda conn: stats.series(conn, **query.model_dump(), within=within))
    return Answer({"minutes": found})


def _get(path: str, run: Any, summary: str, answers: Any, **more: Any) -> Endpoint:
    return Endpoint("GET", f"{PREFIX}{path}", run, summary, answers, **{"problems": READING, **more})


def _page(path: str, run: Any, summary: str, answers: Any, query: Any, **more: Any) -> Endpoint:
    return _get(path, run, summary, answers, query=query, answer_headers=NEXT_PAGE, **more)


ENDPOINTS = (
    _get("/queues", list_queues, "List queues: what waits and runs, who serves them, limits and pauses", models.Queues),
    _get("/limits", list_limits, "List limits and pauses", models.Limits),
    _get("/watchers", list_watchers, "List watchers, the latest first", models.Watchers),
    _page(
        "/waits", list_waits, "List what is awaited of people", models.Waits, models.WaitsQuery, name="list_open_waits"
    ),
    _page(
        "/commands",
        list_commands,
        "List what operators asked for, newest first or behind a number",
        models.Commands,
        models.CommandsQuery,
        role=Role.OPERATOR,
        problems=(problems.FORBIDDEN, *READING),
    ),
    _page(
        "/events",
        list_events,
        "List what happened, newest first or behind a number",
        models.Events,
        models.EventsQuery,
        problems=(problems.UNKNOWN_FLOW, *READING),
    ),
    _get("/programs", list_programs, "List the programs that are installed here", models.Programs, problems=()),
    _get("/stats", counters, "Count what is in play", models.Counters, problems=(problems.FORBIDDEN, *READING)),
    _get("/stats/series", series, "Count what each minute brought", models.Series, query=models.SeriesQuery),
)
