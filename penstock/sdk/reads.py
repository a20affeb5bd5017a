"""Everything that may be read, as methods of both clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from engine.states import Status
from penstock import models
from penstock.models.base import M
from penstock.sdk.asking import Listing, Request, asking, listing

PAGE: Final = 200
"""Rows that are asked for at once, where a list is read from end to end."""


class Reads:
    """What may be looked at. Lists are read page by page, as far as they are iterated over."""

    @listing
    def flows(
        self,
        *,
        task_id: str | None = None,
        status: Status | int | str | None = None,
        run_key: str | None = None,
        tag: str | None = None,
        registered_after: datetime | None = None,
        registered_before: datetime | None = None,
        text: str | None = None,
        page: int = PAGE,
    ) -> Listing[models.Flow]:
        """Flows, newest first. `status` by its name or number; times with a zone; `text` is looked for in the ids of
        flow and workflow, in run key and reason, whatever its case. `page` (at most 500): so many are asked for at
        once."""
        where = _given(
            task_id=task_id,
            status=_number(status),
            run_key=run_key,
            tag=tag,
            registered_after=registered_after,
            registered_before=registered_before,
            text=text,
        )
        return Listing(lambda door, cursor: door.flows(limit=page, cursor=cursor, **where), models.Flow.of)

    @asking
    def flow(self, flow_id: str) -> Request[models.Flow]:
        """One flow. Errors: NotFound."""
        return Request(lambda door: door.flow(flow_id), models.Flow.of)

    @listing
    def tasks(
        self, flow_id: str, *, status: Status | int | str | None = None, page: int = PAGE
    ) -> Listing[models.Task]:
        """The tasks of a flow by run number, with their kept tries. Errors: NotFound."""
        number = _number(status)
        return Listing(
            lambda door, cursor: door.tasks(flow_id, limit=page, cursor=cursor, status=number), models.Task.of
        )

    @asking
    def task(self, flow_id: str, seq: int) -> Request[models.Task]:
        """One task by its run number. Errors: NotFound."""
        return Request(lambda door: door.task(flow_id, seq), models.Task.of)

    @asking
    def failures(self, *, limit: int = 50) -> Request[list[models.Task]]:
        """Suspended tasks of all flows, the latest first, each with its last try: what needs a person."""
        return Request(lambda door: door.failures(limit=limit), lambda rows: _all(models.Task, rows))

    @listing
    def edges(self, flow_id: str, *, page: int = PAGE) -> Listing[models.Edge]:
        """What runs after what, by run number. Errors: NotFound."""
        return Listing(lambda door, cursor: door.edges(flow_id, limit=page, cursor=cursor), models.Edge.of)

    @asking
    def waits_of(self, flow_id: str) -> Request[list[models.Wait]]:
        """What the tasks of a flow await or have awaited, the latest first. Errors: NotFound."""
        return Request(lambda door: door.waits_of(flow_id), lambda rows: _all(models.Wait, rows))

    @asking
    def logs(self, flow_id: str, seq: int) -> Request[list[models.Log]]:
        """What the kept tries of a task have logged, oldest first, then what the one that runs has so far."""
        return Request(lambda door: door.logs(flow_id, seq), lambda rows: _all(models.Log, rows))

    @asking
    def why(self, flow_id: str, seq: int | None = None) -> Request[models.FlowWhy]:
        """What the open tasks of a flow wait for, and what would let them go on; or one of its tasks, with what lies at
        the bottom in its `roots`. Errors: NotFound."""
        return Request(lambda door: door.why(flow_id, seq), models.FlowWhy.of)

    @listing
    def workflows(
        self, *, text: str | None = None, tag: str | None = None, owner: str | None = None, page: int = PAGE
    ) -> Listing[models.WorkflowListed]:
        """Workflows by id; `text` is looked for in the id and the description."""
        where = _given(text=text, tag=tag, owner=owner)
        return Listing(
            lambda door, cursor: door.workflows(limit=page, cursor=cursor, **where), models.WorkflowListed.of
        )

    @asking
    def workflow(self, task_id: str) -> Request[models.WorkflowRead]:
        """One workflow as a document, with its version and its stamp. Errors: NotFound."""
        return Request(lambda door: door.workflow(task_id), models.WorkflowRead.of)

    @listing
    def versions(self, task_id: str, *, page: int = PAGE) -> Listing[models.WorkflowVersion]:
        """The versions of a workflow that are kept, newest first. Errors: NotFound."""
        return Listing(
            lambda door, cursor: door.versions(task_id, limit=page, cursor=cursor), models.WorkflowVersion.of
        )

    @asking
    def version(self, task_id: str, version_id: str) -> Request[models.WorkflowVersionRead]:
        """One version as a document. Errors: NotFound."""
        return Request(lambda door: door.version(task_id, version_id), models.WorkflowVersionRead.of)

    @asking
    def diff(self, task_id: str, older: str | None = None, newer: str | None = None) -> Request[dict[str, Any]]:
        """What changed from one version to another (from the version before, to what is there now), and the flows under
        way (docs/workflow-files.md has the shape). Errors: NotFound."""
        return Request(lambda door: door.diff(task_id, older, newer), dict)

    @asking
    def queues(self) -> Request[list[models.Queue]]:
        """Every queue with something in it, a limit or a live watcher."""
        return Request(lambda door: door.queues(), lambda rows: _all(models.Queue, rows))

    @asking
    def limits(self) -> Request[list[models.Limit]]:
        """Limits and pauses."""
        return Request(lambda door: door.limits(), lambda rows: _all(models.Limit, rows))

    @asking
    def watchers(self) -> Request[list[models.Watcher]]:
        """Watchers that live or have died within a day, the latest first."""
        return Request(lambda door: door.watchers(), lambda rows: _all(models.Watcher, rows))

    @listing
    def waits(self, *, kind: str | None = None, page: int = PAGE) -> Listing[models.Wait]:
        """What is awaited now: approvals and forms, unless another kind is named."""
        return Listing(lambda door, cursor: door.waits(kind=kind, limit=page, cursor=cursor), models.Wait.of)

    @listing
    def commands(
        self, *, subject: str | None = None, after: int | None = None, page: int = PAGE
    ) -> Listing[models.Command]:
        """What was asked for, newest first; of one subject, if that is named. With `after` what was carried out or
        refused behind that number, oldest first, each once and none left out: 0 is from the beginning."""
        return Listing(
            lambda door, cursor: door.commands(subject=subject, after=after, limit=page, cursor=cursor),
            models.Command.of,
        )

    @listing
    def events(
        self, *, flow_id: str | None = None, after: int | None = None, page: int = PAGE
    ) -> Listing[models.Event]:
        """What happened, newest first; in one flow, if that is named. With `after` as `commands`."""
        return Listing(
            lambda door, cursor: door.events(flow_id=flow_id, after=after, limit=page, cursor=cursor), models.Event.of
        )

    @listing
    def tokens(self, *, kind: str = "api", page: int = PAGE) -> Listing[models.Token]:
        """Tokens, newest first; `kind` session for those of browsers."""
        return Listing(lambda door, cursor: door.tokens(kind=kind, limit=page, cursor=cursor), models.Token.of)

    @listing
    def principals(self, *, page: int = PAGE) -> Listing[models.Principal]:
        """People who log in elsewhere, by name."""
        return Listing(lambda door, cursor: door.principals(limit=page, cursor=cursor), models.Principal.of)

    @asking
    def stats(self) -> Request[models.Counters]:
        """What is in play."""
        return Request(lambda door: door.stats(), models.Counters.of)

    @asking
    def series(
        self,
        *,
        limit: int = 60,
        after: datetime | None = None,
        before: datetime | None = None,
        task_id: str | None = None,
    ) -> Request[list[models.Minute]]:
        """What each of the last minutes brought that brought something, oldest first."""
        where = _given(limit=limit, after=after, before=before, task_id=task_id)
        return Request(lambda door: door.series(**where), lambda rows: _all(models.Minute, rows))


def _all(model: type[M], rows: Sequence[Mapping[str, Any]]) -> list[M]:
    return [model.of(row) for row in rows]


def _given(**where: Any) -> dict[str, Any]:
    return {name: value for name, value in where.items() if value is not None}


def _number(status: Status | int | str | None) -> int | None:
    """Errors: ValueError, which names those that there are."""
    if status is None:
        return None
    found = Status.__members__.get(status.upper()) if isinstance(status, str) else None
    try:
        return int(found if found is not None else Status(int(status)))
    except ValueError:
        names = ", ".join(f"{one.value} {one.name}" for one in Status)
        raise ValueError(f"status {status!r} is none of {names}") from None
