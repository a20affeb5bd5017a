"""`GET /api/v1/events/stream`: events as they happen (Server-Sent Events), gone on with from the last that was seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from engine import jsontext
from engine.access import Reach
from engine.errors import BadRequest
from engine.queries import events
from engine.queries.pages import read_number
from engine.queries.tasks import check_flow
from register import problems
from register.access.gate import Gate
from register.actors import actor_of
from register.api import models
from register.api.parts import PREFIX, query_of
from register.endpoints import Endpoint
from register.envelope import without_end
from register.following import Follower
from register.service import read, service_of

ALIVE_S: Final = 15.0
"""After so long without an event a comment is sent, by which proxies and clients see that the stream lives."""
AGAIN_MS: Final = 2_000
PAGE: Final = 500


async def stream_events(request: Request) -> Response:
    query, within = query_of(request, models.StreamQuery), actor_of(request).reach
    flow_id = query.flow_id
    if flow_id is not None:
        await read(request, lambda conn: check_flow(conn, flow_id, within))
    after = _after(request, query.after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":  # nobody reads what would follow
        return Response(None, media_type="text/event-stream", headers=headers)
    follower, last = await service_of(request).following.join()
    without_end(request)
    body = _body(request, follower, last if after is None else after, last, flow_id, within)
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)


def _after(request: Request, given: int | None) -> int | None:
    """The last event that the client knows; its header, which browsers send by themselves, counts first."""
    header = request.headers.get("last-event-id")
    if not header:
        return given
    try:
        return read_number(header)
    except BadRequest:
        raise BadRequest("Last-Event-ID", "is no number of an event") from None


async def _body(
    request: Request, follower: Follower, after: int, joined_at: int, flow_id: str | None, within: Reach
) -> AsyncIterator[str]:
    following = service_of(request).following
    gate: Gate = request.app.state.gate
    try:
        yield f"retry: {AGAIN_MS}\n\n"
        while after < joined_at:  # what came before the stream was joined, page by page
            known = after
            page = await read(request, lambda conn: _between(conn, known, flow_id, within))  # noqa: B023
            for earlier in page:
                if earlier["event_id"] <= joined_at:
                    yield _written(earlier)
            after = page[-1]["event_id"] if len(page) == PAGE else joined_at
        while (event := await _next(follower)) is not None:
            if not await gate.still_good(request):
                return  # revoked meanwhile
            if event is _NOTHING:
                yield ": alive\n\n"
            elif await _concerns(request, event, flow_id, within):
                yield _written(event)
    finally:
        following.leave(follower)


_NOTHING: Final[dict[str, Any]] = {}


async def _next(follower: Follower) -> dict[str, Any] | None:
    try:
        return await asyncio.wait_for(follower.queue.get(), ALIVE_S)
    except TimeoutError:
        return _NOTHING


def _between(conn: Any, after: int, flow_id: str | None, within: Reach) -> list[dict[str, Any]]:
    return events.events_after(conn, after, limit=PAGE, flow_id=flow_id, within=within)


async def _concerns(request: Request, event: dict[str, Any], flow_id: str | None, within: Reach) -> bool:
    if flow_id is not None:
        return bool(event["task_flow_id"] == flow_id)
    if within.is_all:
        return True
    before = event["event_id"] - 1
    found = await read(request, lambda conn: events.events_after(conn, before, limit=1, within=within))
    return [one["event_id"] for one in found] == [event["event_id"]]


def _written(event: dict[str, Any]) -> str:
    return f"id: {event['event_id']}\ndata: {jsontext.dumps(event)}\n\n"


ENDPOINTS = (
    Endpoint(
        "GET",
        f"{PREFIX}/events/stream",
        stream_events,
        "Follow what happens",
        None,
        query=models.StreamQuery,
        headers={"Last-Event-ID": {"type": "string", "pattern": "^[0-9]{1,18}$"}},
        problems=(problems.UNKNOWN_FLOW, *problems.READING),
        media="text/event-stream",
    ),
)
