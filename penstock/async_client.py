"""The client for programs that await: `AsyncClient` of a service over HTTP (`pip install 'penstock[async]'`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from engine.errors import PenstockError
from engine.queries.pages import MAX_PAGE
from engine.states import Status
from penstock.asker import token_of
from penstock.doors.http import TIMEOUT_S
from penstock.doors.problems import BadRequest, Refused
from penstock.models import Event, Flow, ManyRegistered
from penstock.sdk import ends, many, opening
from penstock.sdk.asking import Async, Listing, Request
from penstock.sdk.async_door import AsyncDoor
from penstock.sdk.commands import Commands
from penstock.sdk.errors import NoResult, StillGoing, as_problem
from penstock.sdk.patience import PATIENCE_S, looks, may_repeat, pauses
from penstock.sdk.reads import Reads

__all__ = ["AsyncClient"]
T = TypeVar("T")


class AsyncClient(Reads, Commands, Async):
    """What `Client` does, awaited; lists are iterated over with `async for`.

        async with AsyncClient("http://127.0.0.1:8000", token="...") as client:
            flow = await client.register_and_wait("load", {"DAY": "2026-11-22"}, timeout_s=60)

    Many tasks of one event loop may use one client. Errors: penstock/sdk/errors.py.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """As of `Client`."""
        self._door = AsyncDoor(opening.address(url), token_of(token), timeout_s)
        self._patience_s = patience_s

    @property
    def where(self) -> str:
        """The service."""
        return self._door.where

    async def close(self) -> None:
        await self._door.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- lists that go on, and flows that end -------------------------------------------------------------------------

    async def follow(self, *, flow_id: str | None = None, after: int | None = None) -> AsyncIterator[Event]:
        """As `Client.follow`."""
        last = after
        if last is None:
            newest = await self._carry_out(Request(lambda door: door.events(limit=1), lambda page: page.rows))
            last = newest[0]["event_id"] if newest else 0
        try:
            async for event in self._door.follow(flow_id, last):
                yield Event.of(event)
        except PenstockError as error:
            raise as_problem(error) from error

    async def wait(
        self, flow_id: str, timeout_s: float | None = None, *, on_change: Callable[[Flow], None] | None = None
    ) -> Flow:
        """As `Client.wait`."""
        flow: Flow | None = None
        for rest_s in looks(timeout_s):
            before, flow = flow, await self.flow(flow_id)
            if on_change is not None and flow != before:
                on_change(flow)
            if await self.is_over(flow):
                return flow
            await asyncio.sleep(rest_s)
        assert flow is not None
        raise StillGoing(flow, timeout_s or 0.0)

    async def is_over(self, flow: Flow | str) -> bool:
        """As `Client.is_over`."""
        flow = await self.flow(flow) if isinstance(flow, str) else flow
        if flow.has_ended or not ends.may_be_over(flow):
            return flow.has_ended
        for status in (Status.RUNNING, Status.WAIT, None):  # at last all at once: a task may go from one to the other
            async for task in self.tasks(flow.id, status=status, page=MAX_PAGE):
                if ends.is_moving(task):
                    return False
        return True

    async def register_and_wait(
        self,
        task_id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        priority: int | None = None,
        run_key: str | None = None,
        idempotency_key: str | None = None,
        tags: Sequence[str] | None = None,
        reason: str | None = None,
        timeout_s: float | None = None,
        on_change: Callable[[Flow], None] | None = None,
    ) -> Flow:
        """`register`, then `wait`."""
        flow_id = await self.register(
            task_id,
            parameters,
            priority=priority,
            run_key=run_key,
            idempotency_key=idempotency_key,
            tags=tags,
            reason=reason,
        )
        return await self.wait(flow_id, timeout_s, on_change=on_change)

    async def result(self, flow_id: str) -> Any:
        """As `Client.result`."""
        flow = await self.flow(flow_id)
        if not flow.has_finished:
            raise NoResult(flow)
        if flow.result is not None:
            return flow.result
        return ends.last_result(flow, [task async for task in self.tasks(flow_id)])

    async def register_many(
        self, task_id: str, registrations: Iterable[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> ManyRegistered:
        """As `Client.register_many`."""
        tally = many.Tally()
        for lines in many.requests(registrations, idempotency_key):
            try:
                tally.add(await self._carry_out(many.request(task_id, lines)))
            except (BadRequest, Refused) as error:
                tally.refuse(len(lines), error)
        return tally.total()

    # --- how all of it is carried out ---------------------------------------------------------------------------------

    async def _carry_out(self, request: Request[T]) -> T:
        left = pauses(self._patience_s)
        while True:
            try:
                return request.read(await self._door.ask(request.of))
            except PenstockError as error:
                pause = next(left, None) if may_repeat(error, request.is_repeatable) else None
                if pause is None:
                    raise as_problem(error) from error
            await asyncio.sleep(pause)

    async def _iterate(self, listing: Listing[T]) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            at = cursor
            page = await self._carry_out(Request(lambda door: listing.page(door, at), lambda found: found))  # noqa: B023
            for row in page.rows:
                yield listing.read(row)
            if page.next is None:
                return
            cursor = page.next
