"""Many registrations in one request: each stands and falls alone, and the answer says which did what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from engine.errors import OutcomeUnknown, PenstockError
from engine.flows import Registered, Registration
from register import bodies
from register.commits import Outcome
from register.group_commit import GroupCommit
from register.models import BulkItem
from register.problems import Busy, problem_of

TOGETHER: Final = 200
"""Registrations of one request that are under way at once."""
MAX_TOLD: Final = 100
"""Problems that an answer tells in full; it counts the others."""

Wish = Registration | PenstockError
"""A registration, or what is wrong with the document that asks for it."""


@dataclass
class Tally:
    """What became of the registrations, in their order."""

    flow_ids: list[str | None] = field(default_factory=list)
    """None where there is a problem."""
    told: list[tuple[int, Wish, Exception]] = field(default_factory=list)
    """The first problems, each with its place in the request, from 0."""

    @property
    def registered(self) -> int:
        return len(self.flow_ids) - self.flow_ids.count(None)

    @property
    def refused(self) -> int:
        return self.flow_ids.count(None)

    def add(self, wish: Wish, outcome: Outcome) -> None:
        if isinstance(outcome, Registered):
            self.flow_ids.append(outcome.flow_id)
            return
        if len(self.told) < MAX_TOLD:
            self.told.append((len(self.flow_ids), wish, outcome))
        self.flow_ids.append(None)

    def document(self, task_id: str, request_id: str) -> dict[str, Any]:
        """As the answer says it."""
        return {
            "status": "failed" if self.refused else "succeeded",
            "taskId": task_id,
            "registered": self.registered,
            "refused": self.refused,
            "taskFlowIds": self.flow_ids,
            "problems": [
                {"index": index, **problem_of(error, request_id, **about(wish, error))}
                for index, wish, error in self.told
            ],
        }


def about(wish: Wish, error: Exception) -> dict[str, Any]:
    """What the problem of a registration names besides: the flow that may exist, where nobody knows."""
    if isinstance(error, OutcomeUnknown) and isinstance(wish, Registration):
        return {"taskFlowId": wish.flow_id}
    return {}


Read = Callable[[str, bytes | Any, str | None, str | None], Registration]
"""Makes a registration of the id of a workflow, a document, the key that it has unless the document names one, and who
asks. Errors: of a document that does not fit."""


def read_item(task_id: str, document: bytes | Any, key: str | None, by: str | None) -> Registration:
    """As `POST /register/<task_id>` takes it."""
    item = bodies.read_model(document, BulkItem)
    return Registration(task_id, item.parameters, item.priority, item.runKey, item.idempotencyKey or key, by=by)


def wishes_of(
    task_id: str,
    documents: Iterable[bytes | Any],
    key: str | None,
    *,
    start: int = 0,
    by: str | None = None,
    read: Read = read_item,
) -> list[Wish]:
    """The registrations of these documents. With a key, each has one of its own, by its place: `key/0`, `key/1` ..."""
    wishes: list[Wish] = []
    for place, document in enumerate(documents, start):
        try:
            wishes.append(read(task_id, document, None if key is None else f"{key}/{place}", by))
        except PenstockError as error:
            wishes.append(error)
    return wishes


async def register_all(
    commits: GroupCommit,
    task_id: str,
    parts: AsyncIterable[Sequence[bytes | Any]],
    key: str | None,
    *,
    by: str | None = None,
    read: Read = read_item,
) -> Tally:
    """Register what comes in, part by part."""
    tally = Tally()
    async for documents in parts:
        wishes = wishes_of(task_id, documents, key, start=len(tally.flow_ids), by=by, read=read)
        for wish, outcome in zip(wishes, await _outcomes(commits, wishes), strict=True):
            tally.add(wish, outcome)
    return tally


async def _outcomes(commits: GroupCommit, wishes: Iterable[Wish]) -> list[Outcome]:
    under_way: list[asyncio.Future[Outcome] | PenstockError] = []
    for wish in wishes:
        if isinstance(wish, Registration):
            await commits.room()
            try:
                under_way.append(commits.submit(wish))
                continue
            except Busy as error:
                wish = error
        under_way.append(wish)
    return [item if isinstance(item, PenstockError) else await item for item in under_way]
