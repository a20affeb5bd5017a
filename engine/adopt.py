"""Rows that a person inserted or set back by SQL: checked, counted, and brought into the cycle.

A waiting row whose `wait_count` is NULL or negative was made by hand. A row that can never run goes to SUSPEND with a
reason, alone; everything else in its flow goes on.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, null, select, update

from engine import flow_counts, graph, history, jsontext
from engine.database import Database
from engine.dependencies import DEFAULT_POLICY, Awaited, Policy, count_awaited, lock_tasks, predecessors, successors
from engine.dialects.clock import now
from engine.keys import KEY_COLUMNS, Key, among
from engine.states import PASSED_ON, PRIORITY_MAX, PRIORITY_MIN, SETTLED, Reason, Status
from engine.tables import IS_MADE_BY_HAND, task_definition, task_stat
from engine.transitions import move

BATCH = 200
DANGLING_GRACE_S = 3.0
"""How long a row may wait for the row it depends on: people insert the rows of a flow one by one, in any order."""


class Adopter:
    """Adopts rows pass by pass; it remembers since when a row has been waiting for a predecessor to be inserted."""

    def __init__(self, db: Database, policy: Policy = DEFAULT_POLICY, grace_s: float = DANGLING_GRACE_S) -> None:
        self.db = db
        self.policy = policy
        self.grace_s = grace_s
        self._since: dict[Key, float] = {}

    def adopt(self) -> int:
        """Adopt up to a batch of rows. Returns how many rows were dealt with."""
        return self.db.transact(self._adopt)

    def _adopt(self, conn: Connection) -> int:
        rows = self._take(conn)
        if not rows:
            self._since.clear()
            return 0
        behind = _still_waiting(conn, successors(conn, [key for key, row in rows.items() if row.was_settled]))
        lock_tasks(conn, self.db, behind - rows.keys())  # told once already: they count anew
        awaited = count_awaited(conn, rows.keys() | behind, self.policy)
        refused = self._refusals(conn, rows, awaited)
        held = {key for key in rows if key not in refused and awaited[key].missing}
        events = [history.about(key, "task refused", reason=why, error=words) for key, (why, words) in refused.items()]
        for key, (why, words) in refused.items():
            move(conn, "refuse", [key], IS_MADE_BY_HAND, wait_count=awaited[key].open_count, reason=why, error=words)
        entering = rows.keys() - refused.keys() - held
        self._enter(conn, {key: rows[key] for key in entering}, awaited)
        events += [history.about(key, "task adopted", waits_for=awaited[key].open_count) for key in sorted(entering)]
        for key in behind - rows.keys():
            conn.execute(update(task_stat).where(among([key])).values(wait_count=_count(awaited[key])))
        flow_counts.recount(conn, self.db, {key.flow_id for key in rows})
        history.record(conn, events)
        return len(rows) - len(held)

    def _take(self, conn: Connection) -> dict[Key, Row[Any]]:
        task = task_stat.c
        query = select(
            *KEY_COLUMNS,
            task.task_id,
            task.task_seq,
            task.program,
            task.parameters,
            task.task_priority,
            (task.due_ts.isnot(None)).label("has_due"),
            func.coalesce(task.wait_count < 0, False).label("was_settled"),
        ).where(IS_MADE_BY_HAND)
        query = query.order_by(*KEY_COLUMNS).limit(BATCH + len(self._since))  # rows held back must not hide others
        if self.db.can.row_locks:
            query = query.with_for_update(skip_locked=self.db.can.skip_locked)
        return {Key(row.task_flow_id, row.task_exec_seq): row for row in conn.execute(query)}

    def _refusals(
        self, conn: Connection, rows: Mapping[Key, Row[Any]], awaited: Mapping[Key, Awaited]
    ) -> dict[Key, tuple[str, str]]:
        """What can never run, each with its reason and the words for a person."""
        programs = _defined_programs(conn, rows)
        refused: dict[Key, tuple[str, str]] = {}
        for key in _on_cycles(conn, rows):
            refused[key] = Reason.CYCLE, "depends on itself through other tasks of its flow: break the circle"
        for key, row in rows.items():
            if key in refused:
                continue
            if verdict := _bad_row(row, programs.get(key)) or self._dangling(key, awaited[key]):
                refused[key] = verdict
        return refused

    def _dangling(self, key: Key, awaited: Awaited) -> tuple[str, str] | None:
        if not awaited.missing:
            self._since.pop(key, None)
            return None
        if time.monotonic() - self._since.setdefault(key, time.monotonic()) < self.grace_s:
            return None
        self._since.pop(key)
        missing = ", ".join(map(str, awaited.missing))
        return Reason.DANGLING, f"depends on task {missing}, which flow {key.flow_id!r} does not have"

    def _enter(self, conn: Connection, rows: Mapping[Key, Row[Any]], awaited: Mapping[Key, Awaited]) -> None:
        defined = _defined_programs(conn, rows)
        groups: dict[tuple[int, str], list[Key]] = {}
        for key, row in rows.items():
            group = _count(awaited[key]) + bool(row.has_due), row.program or defined[key]
            groups.setdefault(group, []).append(key)
        registered = func.coalesce(task_stat.c.registered_ts, now())
        anew = {"attempt": 0, "losses": 0, "result": null(), "registered_ts": registered}
        for (count, program), keys in groups.items():
            move(conn, "adopt", keys, IS_MADE_BY_HAND, wait_count=count, program=program, **anew)


def _count(awaited: Awaited) -> int:
    return awaited.open_count + len(awaited.missing)


def _bad_row(row: Row[Any], defined: str | None) -> tuple[str, str] | None:
    if row.program is None and defined is None:
        what = f"task_id {row.task_id!r}, task_seq {row.task_seq}"
        return Reason.UNKNOWN_PROGRAM, f"names no program, and ms_task_definition has no row for {what}"
    if row.task_priority is None or not PRIORITY_MIN <= row.task_priority <= PRIORITY_MAX:
        return Reason.BAD_ROW, f"task_priority {row.task_priority} is outside {PRIORITY_MIN} .. {PRIORITY_MAX}"
    try:
        jsontext.loads_object(row.parameters)
    except jsontext.NotJSON as error:
        return Reason.BAD_PARAMETERS, f"parameters {error}"
    return None


def _defined_programs(conn: Connection, rows: Mapping[Key, Row[Any]]) -> dict[Key, str]:
    """The program that the definition has for rows that name none of their own, as Flower's rows never do."""
    steps = {key: (row.task_id, int(row.task_seq)) for key, row in rows.items() if row.program is None}
    if not steps:
        return {}
    step = task_definition.c
    query = select(step.task_id, step.task_seq, step.program)
    defined = conn.execute(query.where(step.task_id.in_(sorted({task_id for task_id, _ in steps.values()}))))
    programs = {(task_id, int(seq)): program for task_id, seq, program in defined}
    return {key: programs[wanted] for key, wanted in steps.items() if wanted in programs}


def _still_waiting(conn: Connection, keys: Collection[Key]) -> set[Key]:
    """Those that may still be told again: waiting or suspended, not running or settled."""
    if not keys:
        return set()
    counted = task_stat.c.wait_count != PASSED_ON, task_stat.c.wait_count.isnot(None)
    open_ones = task_stat.c.exec_status.in_([int(Status.WAIT), int(Status.SUSPEND)])
    return {Key(*row) for row in conn.execute(select(*KEY_COLUMNS).where(among(keys), open_ones, *counted))}


def _on_cycles(conn: Connection, rows: Mapping[Key, Row[Any]]) -> set[Key]:
    """Adopted rows that wait, directly or not, for themselves. Only tasks that are still open can hold them up."""
    stuck: set[Key] = set()
    for flow_id in sorted({key.flow_id for key in rows}):
        settled = [int(status) for status in SETTLED]
        open_ones = select(*KEY_COLUMNS).where(
            task_stat.c.task_flow_id == flow_id, task_stat.c.exec_status.not_in(settled)
        )
        keys = {Key(*row) for row in conn.execute(open_ones)}
        before = {
            key.seq: [parent.seq for parent in parents if parent in keys]
            for key, parents in predecessors(conn, keys).items()
        } if keys else {}
        cycle_nodes = graph.on_cycles(before)
        stuck |= {Key(flow_id, seq) for seq in cycle_nodes if Key(flow_id, seq) in rows}
    return stuck
