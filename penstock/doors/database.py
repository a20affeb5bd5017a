"""The door of a database that this process opens itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from sqlalchemy import Connection

from engine import tokens
from engine.access import Actor
from engine.database import Database
from engine.definition.reading import Check
from engine.queries import events, flows, operating, records, stats, tasks
from engine.queries.pages import read_number
from penstock.access import database
from penstock.doors.door import Document, Door, Page
from penstock.doors.lines import register_lines

T = TypeVar("T")
FOLLOW_EVERY_S = 0.5


class DatabaseDoor(Door):
    """`check` finds steps that no program fits, where a flow is registered."""

    def __init__(self, db: Database, actor: Actor, check: Check | None = None) -> None:
        self.db = db
        self._actor = actor
        self._check = check
        self._closing = ExitStack()
        self.where = db.url.render_as_string()
        self.backslashes = db.dialect.backslashes

    @classmethod
    def open(cls, url: str, actor: Actor, check: Check | None = None) -> DatabaseDoor:
        """Errors: of an unusable URL; the schema's."""
        stack = ExitStack()
        door = cls(stack.enter_context(database(url)), actor, check)
        door._closing = stack
        return door

    def close(self) -> None:
        self._closing.close()

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self.db.read() as conn:
            return work(conn)

    def _of_flow(self, flow_id: str, work: Callable[[Connection], T]) -> T:
        def checked(conn: Connection) -> T:
            tasks.check_flow(conn, flow_id, self._actor.reach)
            return work(conn)

        return self._read(checked)

    def flows(self, *, limit: int = 50, cursor: str | None = None, **where: Any) -> Page:
        within = self._actor.reach
        return Page(
            *self._read(lambda conn: flows.list_flows(conn, limit=limit, cursor=cursor, within=within, **where))
        )

    def flow(self, flow_id: str) -> Document:
        return self._read(lambda conn: flows.read_tagged(conn, flow_id, self._actor.reach))

    def tasks(self, flow_id: str, *, limit: int = 50, cursor: str | None = None, status: int | None = None) -> Page:
        after = read_number(cursor) or 0
        found, last = self._of_flow(
            flow_id, lambda conn: tasks.list_tasks(conn, flow_id, after=after, limit=limit, status=status)
        )
        return _page(found, last)

    def task(self, flow_id: str, seq: int) -> Document:
        return self._of_flow(flow_id, lambda conn: tasks.read_task(conn, flow_id, seq))

    def failures(self, *, limit: int = 50) -> list[Document]:
        return self._read(lambda conn: flows.failed_tasks(conn, limit=limit, within=self._actor.reach))

    def edges(self, flow_id: str, *, limit: int = 50, cursor: str | None = None) -> Page:
        after = read_number(cursor) or 0
        return _page(*self._of_flow(flow_id, lambda conn: tasks.list_edges(conn, flow_id, after=after, limit=limit)))

    def waits_of(self, flow_id: str) -> list[Document]:
        return self._of_flow(flow_id, lambda conn: tasks.list_waits(conn, flow_id))

    def logs(self, flow_id: str, seq: int) -> list[Document]:
        def work(conn: Connection) -> list[Document]:
            tasks.read_task(conn, flow_id, seq)
            return tasks.read_logs(conn, flow_id, seq)

        return self._of_flow(flow_id, work)

    def why(self, flow_id: str, seq: int | None = None) -> Document:
        from engine.explain import explain

        within = self._actor.reach
        return self._read(lambda conn: explain(conn, flow_id, seq, within=within)).document()

    def queues(self) -> list[Document]:
        return self._read(operating.list_queues)

    def limits(self) -> list[Document]:
        return self._read(lambda conn: operating.list_limits(conn, self._actor.reach))

    def watchers(self) -> list[Document]:
        return self._read(operating.list_watchers)

    def waits(self, *, kind: str | None = None, limit: int = 50, cursor: str | None = None) -> Page:
        where: dict[str, Any] = {"kind": kind, "limit": limit, "cursor": cursor, "within": self._actor.reach}
        return Page(*self._read(lambda conn: operating.list_open_waits(conn, **where)))

    def commands(
        self, *, subject: str | None = None, after: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        where = {"after": after, "place": read_number(cursor), "limit": limit, "subject": subject}
        return self._records(operating.list_commands, records.commands_behind, where)

    def events(
        self, *, flow_id: str | None = None, after: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        within = self._actor.reach
        where = {"after": after, "place": read_number(cursor), "limit": limit, "flow_id": flow_id, "within": within}
        return self._records(events.list_events, records.events_behind, where)

    def _records(self, newest_first: records.Listing, behind: records.Listing, where: dict[str, Any]) -> Page:
        return _page(*self._read(lambda conn: records.from_either_end(conn, newest_first, behind, **where)))

    def follow(self, *, flow_id: str | None = None, after: int | None = None) -> Iterator[Document]:
        if flow_id is not None:
            self._of_flow(flow_id, lambda conn: None)
        last = self._read(events.last_event) if after is None else after
        within = self._actor.reach
        while True:
            known = last
            found = self._read(lambda conn: events.events_after(conn, known, flow_id=flow_id, within=within))  # noqa: B023
            for event in found:
                yield event
                last = event["event_id"]
            if not found:
                time.sleep(FOLLOW_EVERY_S)

    def tokens(self, *, kind: str = "api", limit: int = 50, cursor: str | None = None) -> Page:
        return Page(*self._read(lambda conn: tokens.list_tokens(conn, limit=limit, cursor=cursor, kind=kind)))

    def principals(self, *, limit: int = 50, cursor: str | None = None) -> Page:
        return Page(*self._read(lambda conn: tokens.list_principals(conn, limit=limit, cursor=cursor)))

    def stats(self) -> Document:
        return self._read(stats.counters)

    def series(self, **where: Any) -> list[Document]:
        return self._read(lambda conn: stats.series(conn, within=self._actor.reach, **where))

    def workflows(self, *, limit: int = 50, cursor: str | None = None, **where: Any) -> Page:
        from engine.documents import listing

        reach = self._actor.reach
        return Page(
            *self._read(lambda conn: listing.list_workflows(conn, limit=limit, cursor=cursor, reach=reach, **where))
        )

    def workflow(self, task_id: str) -> Document:
        from engine.documents.standing import read_standing

        return self._read(lambda conn: read_standing(conn, task_id).as_json())

    def versions(self, task_id: str, *, limit: int = 50, cursor: str | None = None) -> Page:
        from engine.documents import kept

        return Page(*self._read(lambda conn: kept.versions_page(conn, task_id, limit=limit, cursor=cursor)))

    def version(self, task_id: str, version_id: str) -> Document:
        from engine.documents import kept

        return self._read(lambda conn: kept.version_document(conn, task_id, version_id))

    def diff(self, task_id: str, older: str | None = None, newer: str | None = None) -> Document:
        from engine.documents.differences import difference

        return self._read(lambda conn: difference(conn, task_id, older, newer))

    def run_script(self, text: str, reason: str | None = None, *, dry_run: bool = False) -> list[Document]:
        from engine.documents.script import run_sql

        return run_sql(self.db, text, self._actor.name, reason, self._check, dry_run=dry_run)

    def ask(
        self,
        verb: str,
        subject: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Document:
        from engine.commands import Ask, carry_out  # with the models of all arguments: who only looks needs none

        return dict(carry_out(self.db, Ask(verb, subject, dict(arguments or {}), reason), self._actor, self._check))

    def register_many(self, task_id: str, lines: Sequence[bytes]) -> Document:
        return register_lines(self.db, task_id, lines, self._actor, self._check)


def _page(found: list[Document], last: int | None) -> Page:
    return Page(found, None if last is None else str(last))
