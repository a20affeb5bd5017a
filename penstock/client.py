"""The client for programs: `Client` of a service over HTTP, or of a database that it opens itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from engine.errors import PenstockError
from engine.queries.pages import MAX_PAGE
from engine.states import Status
from penstock.asker import token_of, user
from penstock.doors.door import Door
from penstock.doors.http import TIMEOUT_S, HttpDoor
from penstock.doors.problems import BadRequest, Refused
from penstock.models import Event, Flow, FlowId, ManyRegistered
from penstock.sdk import ends, many, opening
from penstock.sdk.asking import Listing, Request, Sync
from penstock.sdk.commands import Commands
from penstock.sdk.errors import NoResult, StillGoing, as_problem
from penstock.sdk.patience import PATIENCE_S, looks, may_repeat, pauses
from penstock.sdk.reads import Reads

__all__ = ["Client"]
T = TypeVar("T")


class Client(Reads, Commands, Sync):
    """What an operator may look at or ask for, as methods. docs/sdk.md has examples.

        with Client("http://127.0.0.1:8000", token="...") as client:
            flow = client.register_and_wait("load", {"DAY": "2026-11-22"}, timeout_s=60)

    Without arguments, the address and the token are those of PENSTOCK_URL and PENSTOCK_TOKEN. One object may be used by
    one thread at a time. Errors: penstock/sdk/errors.py.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`timeout_s`: the longest wait for one answer. `patience_s`: how long what can safely be asked again is asked
        again, while the service does not answer or says that it cannot; 0 for once."""
        self._open(HttpDoor(opening.address(url), token_of(token), timeout_s=timeout_s), patience_s)

    @classmethod
    def of_database(cls, url: str, *, actor: str | None = None, patience_s: float = PATIENCE_S) -> Self:
        """A client that needs no service: `Client.of_database("sqlite:///penstock.db")`. What it asks for is recorded
        with `actor`, the name of the process's user unless given. Errors: of an unusable URL, and of missing tables."""
        from engine.access import Actor
        from penstock.doors.database import DatabaseDoor

        return cls.through(DatabaseDoor.open(url, Actor(actor or user())), patience_s=patience_s)

    @classmethod
    def through(cls, door: Door, *, patience_s: float = PATIENCE_S) -> Self:
        """A client of a door that is open; closed with the client."""
        made = cls.__new__(cls)
        made._open(door, patience_s)
        return made

    def _open(self, door: Door, patience_s: float) -> None:
        self._door = door
        self._patience_s = patience_s

    @property
    def where(self) -> str:
        """The service or the database, without what is secret."""
        return self._door.where

    def close(self) -> None:
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- lists that go on, and flows that end -------------------------------------------------------------------------

    def follow(self, *, flow_id: str | None = None, after: int | None = None) -> Iterator[Event]:
        """Events as they happen, from now on, or from behind the event with the number `after`; of one flow, if that is
        named. Goes on after breaks without a gap, and never ends by itself."""
        try:
            for event in self._door.follow(flow_id=flow_id, after=after):
                yield Event.of(event)
        except PenstockError as error:
            raise as_problem(error) from error

    def wait(
        self, flow_id: str, timeout_s: float | None = None, *, on_change: Callable[[Flow], None] | None = None
    ) -> Flow:
        """Wait until the flow is over, and return it: it has ended, or it is suspended and nothing in it can go on
        without a person. `on_change` is called with the flow as it is at first, and whenever it has changed.

        The service may be restarted meanwhile. Errors: StillGoing after `timeout_s` seconds; NotFound; Unavailable once
        the service has not answered for as long as the client's patience lasts.
        """
        flow: Flow | None = None
        for rest_s in looks(timeout_s):
            before, flow = flow, self.flow(flow_id)
            if on_change is not None and flow != before:
                on_change(flow)
            if self.is_over(flow):
                return flow
            time.sleep(rest_s)
        assert flow is not None
        raise StillGoing(flow, timeout_s or 0.0)

    def is_over(self, flow: Flow | str) -> bool:
        """Has it ended, or can nothing in it go on without a person?"""
        flow = self.flow(flow) if isinstance(flow, str) else flow
        if flow.has_ended or not ends.may_be_over(flow):
            return flow.has_ended
        for status in (Status.RUNNING, Status.WAIT, None):  # at last all at once: a task may go from one to the other
            if any(map(ends.is_moving, self.tasks(flow.id, status=status, page=MAX_PAGE))):
                return False
        return True

    def register_and_wait(
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
        flow_id: FlowId = self.register(
            task_id,
            parameters,
            priority=priority,
            run_key=run_key,
            idempotency_key=idempotency_key,
            tags=tags,
            reason=reason,
        )
        return self.wait(flow_id, timeout_s, on_change=on_change)

    def result(self, flow_id: str) -> Any:
        """What a finished flow returned: what its workflow's `result_mapping` made of it, else the result of its last
        task if one alone is the last, else None. Errors: NoResult for a flow that has not finished; NotFound."""
        flow = self.flow(flow_id)
        if not flow.has_finished:
            raise NoResult(flow)
        return flow.result if flow.result is not None else ends.last_result(flow, self.tasks(flow_id))

    def register_many(
        self, task_id: str, registrations: Iterable[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> ManyRegistered:
        """Start a flow for each of `registrations`, which may be a generator of any length: objects with any of
        `parameters`, `priority`, `run_key`, `idempotency_key` and `tags`. Each stands and falls alone.

        They are sent as lines, 1,000 in each request. Each that has no key of its own gets one: `idempotency_key` and
        its place, so that the same call again makes those that are missing; or one made up, so that a request whose
        answer was lost is safely sent again.
        Errors: BadRequest for what is no JSON; where none of the first request can be made, that of its first one.
        """
        tally = many.Tally()
        for lines in many.requests(registrations, idempotency_key):
            try:
                tally.add(self._carry_out(many.request(task_id, lines)))
            except (BadRequest, Refused) as error:
                tally.refuse(len(lines), error)
        return tally.total()

    # --- how all of it is carried out ---------------------------------------------------------------------------------

    def _carry_out(self, request: Request[T]) -> T:
        left = pauses(self._patience_s)
        while True:
            try:
                return request.read(request.of(self._door))
            except PenstockError as error:
                pause = next(left, None) if may_repeat(error, request.is_repeatable) else None
                if pause is None:
                    raise as_problem(error) from error
            time.sleep(pause)

    def _iterate(self, listing: Listing[T]) -> Iterator[T]:
        cursor: str | None = None
        while True:
            at = cursor
            page = self._carry_out(Request(lambda door: listing.page(door, at), lambda found: found))  # noqa: B023
            yield from map(listing.read, page.rows)
            if page.next is None:
                return
            cursor = page.next
