"""Which flows a list shows: what an index answers in the order of the list, and what is looked at row by row.

Flows are listed newest first. One of the conditions leads through an index that has them in that order; the others are
tried on what it gives, a bounded number of rows for each page, so that a rare thing among millions of flows makes a
page short and never slow.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, literal_column, select

from engine.access import EVERYTHING, Reach
from engine.dialects.rowset import one_of
from engine.errors import BadRequest
from engine.keys import chunks
from engine.states import Status
from engine.tables import IS_ACTIVE, flow_stat, flow_tag
from engine.waiting.messages import check_text

_flow = flow_stat.c
SCANNED: Final = 5_000
"""Flows that are looked at for one page, at most."""
AT_ONCE: Final = 1_000
FEW: Final = 1_000
"""Flows of a tag that are taken by their ids; where more have it, the newest flows are asked whether they do."""
LOOKED_AT: Final = (
    _flow.task_flow_id,
    _flow.registered_ts,
    _flow.task_id,
    _flow.flow_status,
    _flow.run_key,
    _flow.reason,
)


@dataclass(frozen=True)
class FlowFilter:
    """What narrows a list of flows; None narrows nothing.

    `registered_after` (included) and `registered_before` are aware instants. `text` is searched for, whatever its
    case, in the ids of flow and workflow, run key and reason. Flows of workflows that are not `within` are not there.
    """

    task_id: str | None = None
    status: int | None = None
    run_key: str | None = None
    tag: str | None = None
    registered_after: datetime | None = None
    registered_before: datetime | None = None
    text: str | None = None
    within: Reach = EVERYTHING

    def __post_init__(self) -> None:
        for name in ("task_id", "run_key", "tag", "text"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))
        for name in ("registered_after", "registered_before"):
            value = getattr(self, name)
            if value is not None and value.tzinfo is None:
                raise BadRequest(name, f"{value} has no time zone")

    @property
    def times(self) -> list[ColumnElement[bool]]:
        found = []
        if self.registered_after is not None:
            found.append(_flow.registered_ts >= self.registered_after)
        if self.registered_before is not None:
            found.append(_flow.registered_ts < self.registered_before)
        return found


@dataclass(frozen=True)
class Path:
    """How the list is read: conditions that an index answers, and what is left to look at in each row."""

    conditions: tuple[ColumnElement[bool], ...]
    filter: FlowFilter
    looks_at: frozenset[str]

    @property
    def is_exact(self) -> bool:
        return not self.looks_at

    def passing(self, conn: Connection, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
        """Those of these rows that belong on the list."""
        kept = [row for row in rows if self._fits(row)]
        if "tag" in self.looks_at and kept:
            tagged = _having(conn, self.filter.tag or "", [row.task_flow_id for row in kept])
            kept = [row for row in kept if row.task_flow_id in tagged]
        return kept

    def _fits(self, row: Row[Any]) -> bool:
        wanted, looked = self.filter, self.looks_at
        return (
            ("task_id" not in looked or row.task_id == wanted.task_id)
            and ("status" not in looked or row.flow_status == wanted.status)
            and ("run_key" not in looked or row.run_key == wanted.run_key)
            and ("text" not in looked or _holds(row, (wanted.text or "").casefold()))
            and ("within" not in looked or wanted.within.covers(row.task_id))
        )


def path_for(conn: Connection, wanted: FlowFilter) -> Path:
    """The index to read, and what remains to be looked at."""
    given = {name for name in ("task_id", "status", "run_key", "tag", "text") if getattr(wanted, name) is not None}
    given |= set() if wanted.within.is_all else {"within"}
    led, answered = _leading(conn, wanted, given)
    if "task_id" in answered and "within" in given and wanted.task_id and wanted.within.covers(wanted.task_id):
        answered |= {"within"}
    return Path((*led, *wanted.times), wanted, frozenset(given - answered))


def _leading(
    conn: Connection, wanted: FlowFilter, given: Collection[str]
) -> tuple[tuple[ColumnElement[bool], ...], set[str]]:
    if "tag" in given and (ids := _of_tag(conn, wanted.tag or "")) is not None:
        return (one_of((_flow.task_flow_id,), [(one,) for one in ids]),), {"tag"}
    if "run_key" in given:
        return (_flow.run_key == wanted.run_key,), {"run_key"}
    if "task_id" in given and wanted.status in (Status.WAIT, Status.RUNNING, Status.SUSPEND):
        number: Any = literal_column(str(int(wanted.status)))
        return (_flow.task_id == wanted.task_id, IS_ACTIVE, _flow.flow_status == number), {"task_id", "status"}
    if "task_id" in given:
        return (_flow.task_id == wanted.task_id,), {"task_id"}
    if "status" in given:
        return (_flow.flow_status == wanted.status,), {"status"}
    return (), set()


def _of_tag(conn: Connection, tag: str) -> list[str] | None:
    """The flows of a tag that few have."""
    query = select(flow_tag.c.task_flow_id).where(flow_tag.c.tag == tag).limit(FEW + 1)
    ids = list(conn.scalars(query))
    return ids if len(ids) <= FEW else None


def _having(conn: Connection, tag: str, flow_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for part in chunks(sorted(flow_ids)):
        query = select(flow_tag.c.task_flow_id).where(flow_tag.c.tag == tag, flow_tag.c.task_flow_id.in_(part))
        found |= set(conn.scalars(query))
    return found


def _holds(row: Row[Any], text: str) -> bool:
    shown = row._mapping
    return any(text in (shown[name] or "").casefold() for name in ("task_flow_id", "task_id", "run_key", "reason"))
