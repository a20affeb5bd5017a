"""What a verb changed of a flow and its tasks: their columns as the verb found them, and as the rows hold them now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from engine.commands.changes import Change, Side, in_groups, of_members
from engine.control.acting import Chosen, TaskRow, Verb
from engine.control.afterwards import column_now, statuses_now
from engine.keys import Key, key_of
from engine.queries.rows import status_name
from engine.tables import flow_stat


def flow_status(conn: Connection, flow_id: str) -> Side:
    status = conn.scalar(select(flow_stat.c.flow_status).where(flow_stat.c.task_flow_id == flow_id))
    return None if status is None else {"status": status_name(status)}


def of_flow(conn: Connection, verb: Verb, chosen: Chosen, flow_id: str, before: Side) -> Change:
    """`before`: the flow's own columns ahead of the verb. Read in its transaction, once it is done."""
    old, new = dict(before or {}), dict(flow_status(conn, flow_id) or {})
    if old == new:
        old, new = {}, {}
    if (mine := Key(flow_id, 0)) in chosen.texts:
        was, now = of_members(chosen.was[mine], chosen.texts[mine])
        if was or now:
            old["parameters"], new["parameters"] = was, now
    tasks = _of_tasks(conn, verb, chosen)
    if tasks[0] or tasks[1]:
        old["tasks"], new["tasks"] = in_groups(tasks[0]), in_groups(tasks[1])
    if chosen.others:
        old["sub_flows"], new["sub_flows"] = _counted(chosen.others), by_name(statuses_now(conn, chosen.others))
    return Change(old, new)


def _counted(rows: Iterable[TaskRow]) -> dict[str, int]:
    return by_name(Counter(row.exec_status for row in rows))


def by_name(counts: Mapping[int, int]) -> dict[str, int]:
    """Numbers of tasks by the name of their status."""
    return {status_name(status): number for status, number in sorted(counts.items())}


def _of_tasks(conn: Connection, verb: Verb, chosen: Chosen) -> tuple[dict[int, Any], dict[int, Any]]:
    """The tasks of the flow that were changed, by run number, before and after."""
    if verb.column is None:
        return {}, {}
    rows = [*chosen.rows, *chosen.superseded]
    now = column_now(conn, rows, verb.column)
    old: dict[int, Any] = {}
    new: dict[int, Any] = {}
    for row in rows:
        key = key_of(row)
        before, after = _shown(verb.column.name, verb.was(chosen, row), now[key])
        if before != after:
            old[key.seq], new[key.seq] = before, after
    return old, new


def _shown(column: str, was: Any, now: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    if column == "exec_status":
        return {"status": status_name(was)}, {"status": status_name(now)}
    if column == "parameters":
        before, after = of_members(was, now)
        return {"parameters": before}, {"parameters": after}
    return {column: was}, {column: now}
