"""Rows that a person inserted or set back by SQL: checked, counted, and brought into the cycle.

A waiting row whose `wait_count` is NULL or negative was made by hand. A row that can never run goes to SUSPEND with a
reason, alone; everything else in its flow goes on.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Row, String, func, null, select, true, tuple_

from engine import flow_counts, history, jsontext, row_checks
from engine.database import Database
from engine.dialects.clock import now
from engine.errors import DatabaseUnavailable, OutcomeUnknown
from engine.graph import cycles as graph
from engine.graph import routing
from engine.graph.dependencies import DEFAULT_POLICY, Awaited, Policy, count_awaited, raise_behind
from engine.graph.edges import IS_FORWARD
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of, keyed
from engine.states import PRIORITY_DEFAULT, PRIORITY_MAX, PRIORITY_MIN, SETTLED, Reason
from engine.tables import IS_MADE_BY_HAND, run_edge, task_definition, task_stat
from engine.transitions import Move, told
from engine.waiting import waits

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
        self._untouchable: set[Key] = set()
        """Rows that cannot be changed: they broke a constraint past its check, or their id is no text that can be
        asked for."""

    def adopt(self) -> int:
        """Adopt up to a batch of rows. Returns how many rows were dealt with."""
        try:
            return self.db.transact(self._adopt)
        except (DatabaseUnavailable, OutcomeUnknown):
            raise
        except Exception:  # one of them holds what nobody has thought of: the others must not wait for that
            return self._one_by_one()

    def _one_by_one(self) -> int:
        done = 0
        for key in self.db.transact(self._take):
            try:
                done += self.db.transact(lambda conn, key=key: self._adopt(conn, key))  # type: ignore[misc]
            except (DatabaseUnavailable, OutcomeUnknown):
                raise
            except Exception as error:
                done += self._refuse(key, error)
        return done

    def _refuse(self, key: Key, error: Exception) -> int:
        """Suspend a row that cannot be taken in; if not even that can be done, it is left where it is."""
        words = f"cannot be taken in ({error}): correct the row, then set exec_status to 0"
        try:
            refused = self.db.transact(lambda conn: refuse(conn, self.db, {key: words}, IS_MADE_BY_HAND))
        except (DatabaseUnavailable, OutcomeUnknown):
            raise
        except Exception:
            refused = 0
        if not refused:
            self._untouchable.add(key)
        return refused

    def _adopt(self, conn: Connection, only: Key | None = None) -> int:
        rows = self._take(conn, only)
        if only is None:
            self._since = {key: since for key, since in self._since.items() if key in rows}
        if not rows:
            return 0
        waits.forget(conn, rows)
        raise_behind(conn, self.db, [key for key, row in rows.items() if row.was_settled], self.policy, but=rows)
        awaited = count_awaited(conn, rows, self.policy)
        refused = self._refusals(conn, rows, awaited)
        held = {key for key in rows if key not in refused and awaited[key].missing}
        events = [history.about(key, "task refused", reason=why, error=words) for key, (why, words) in refused.items()]
        told = [(*key, why, words, _legal(rows[key].task_priority)) for key, (why, words) in refused.items()]
        if _REFUSE(conn, told) < len(told):
            self._note_untouchable(conn, refused)
        entering = rows.keys() - refused.keys() - held
        self._enter(conn, {key: rows[key] for key in entering}, awaited)
        events += [history.about(key, "task adopted", waits_for=awaited[key].open_count) for key in sorted(entering)]
        routing.catch_up(conn, self.db, [awaited[key] for key in entering], self.policy)
        flow_counts.recount(conn, self.db, {key.flow_id for key in rows})
        history.record(conn, events)
        return len(rows.keys() - held - self._untouchable)

    def _take(self, conn: Connection, only: Key | None = None) -> dict[Key, Row[Any]]:
        task = task_stat.c
        query = select(
            *KEY_COLUMNS,
            task.task_id,
            task.task_seq,
            task.program,
            row_checks.head_of(task.parameters),
            task.task_priority,
            *(task[name] for name in row_checks.KEPT),
            (task.due_ts.isnot(None)).label("has_due"),
            func.coalesce(task.wait_count < 0, False).label("was_settled"),
        ).where(IS_MADE_BY_HAND)
        if only is not None:
            query = query.where(among([only]))
        elif self._untouchable:
            query = query.where(tuple_(*KEY_COLUMNS).not_in(sorted(self._untouchable)))
        most = BATCH + len(self._since) + len(self._untouchable)  # rows held back must not hide others
        query = query.order_by(*KEY_COLUMNS).limit(most)
        if self.db.can.row_locks:
            query = query.with_for_update(skip_locked=self.db.can.skip_locked)
        return {key_of(row): row for row in conn.execute(query)}

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
        instant = time.monotonic()
        if instant - self._since.setdefault(key, instant) < self.grace_s:
            return None
        self._since.pop(key)
        missing = ", ".join(map(str, awaited.missing))
        return Reason.DANGLING, f"depends on task {missing}, which flow {key.flow_id!r} does not have"

    def _enter(self, conn: Connection, rows: Mapping[Key, Row[Any]], awaited: Mapping[Key, Awaited]) -> None:
        defined = _defined_programs(conn, rows)
        entering = [
            (*key, awaited[key].open_count + bool(row.has_due), defined[key] if row.program is None else row.program)
            for key, row in rows.items()
        ]
        if _ADOPT(conn, entering) < len(entering):
            self._note_untouchable(conn, rows)

    def _note_untouchable(self, conn: Connection, keys: Collection[Key]) -> None:
        """Not every one of these rows could be changed: remember those whose id is read as another one."""
        self._untouchable |= set(keys) - set(_found(conn, keys))


_REFUSAL = keyed(reason=String(), error=String(), priority=Integer())
_REFUSED = {
    "reason": told("reason"),
    "error": told("error"),
    "task_priority": told("priority"),
    # the count stays open: whoever mends the row and sets it back to 0 has it adopted anew
    "wait_count": null(),
}
_REFUSE = Move("refuse", _REFUSAL, IS_MADE_BY_HAND, **_REFUSED)
_ADOPT = Move(
    "adopt",
    keyed(count=Integer(), program=String()),
    IS_MADE_BY_HAND,
    wait_count=told("count"),
    program=told("program"),
    attempt=0,
    losses=0,
    result=null(),
    owner=null(),
    # one time for all: rows made together keep the order of their keys
    registered_ts=func.coalesce(task_stat.c.registered_ts, select(now()).scalar_subquery()),
)


def refuse(
    conn: Connection,
    db: Database,
    words: Mapping[Key, str],
    *guards: ColumnElement[bool],
    priorities: Mapping[Key, Any] | None = None,
) -> int:
    """Suspend waiting rows that hold what nothing can work with, each with the words for a person; a priority past its
    constraint is made legal, as no row that has one can be changed. Returns how many."""
    known = priorities or {}
    refusals = [
        (*key, Reason.BAD_ROW, jsontext.clean_text(why, 1000), _legal(known.get(key, PRIORITY_DEFAULT)))
        for key, why in words.items()
    ]
    refused = Move("refuse", _REFUSAL, *guards, **_REFUSED)(conn, refusals)
    flow_counts.recount(conn, db, {key.flow_id for key in words})
    history.record(conn, [history.about(key, "task refused", reason=Reason.BAD_ROW) for key in words])
    return refused


def _found(conn: Connection, keys: Collection[Key]) -> list[Key]:
    """Those of the keys that name a row: on SQLite an id that is no UTF-8 is read as another one."""
    return [
        key_of(row) for part in chunks(sorted(keys)) for row in conn.execute(select(*KEY_COLUMNS).where(among(part)))
    ]


def _legal(priority: Any) -> int:
    """A priority that came in past its constraint would not let the row be changed at all."""
    return max(PRIORITY_MIN, min(PRIORITY_MAX, priority)) if isinstance(priority, int) else PRIORITY_DEFAULT


def _bad_row(row: Row[Any], defined: str | None) -> tuple[str, str] | None:
    if row.program is None and defined is None:
        what = f"task_id {row.task_id!r}, task_seq {row.task_seq}"
        return Reason.UNKNOWN_PROGRAM, f"names no program, and ms_task_definition has no row for {what}"
    if problem := row_checks.bad_priority(row.task_priority):
        return Reason.BAD_ROW, problem
    if problem := row_checks.bad_count(row._mapping, row_checks.KEPT):
        return Reason.BAD_ROW, problem
    try:
        jsontext.loads_object(row.parameters, max_bytes=row_checks.MAX_PARAMETERS_BYTES)
    except jsontext.NotJSON as error:
        return Reason.BAD_PARAMETERS, f"parameters {error}"
    return None


def _defined_programs(conn: Connection, rows: Mapping[Key, Row[Any]]) -> dict[Key, str]:
    """The program that the definition has for rows that name none of their own, as Flower's rows never do."""
    steps = {key: (row.task_id, row.task_seq) for key, row in rows.items() if row.program is None}
    if not steps:
        return {}
    step = task_definition.c
    query = select(step.task_id, step.task_seq, step.program)
    defined = conn.execute(query.where(step.task_id.in_(sorted({task_id for task_id, _ in steps.values()}))))
    programs = {(task_id, seq): program for task_id, seq, program in defined}
    return {key: programs[wanted] for key, wanted in steps.items() if wanted in programs}


def _on_cycles(conn: Connection, rows: Mapping[Key, Row[Any]]) -> set[Key]:
    """Adopted rows that wait, directly or not, for themselves. Only tasks that are still open can hold them up."""
    stuck: set[Key] = set()
    for part in chunks(sorted({key.flow_id for key in rows})):
        for flow_id in _flows_going_back(conn, part):
            parents = _open_parents(conn, flow_id)
            stuck |= {Key(flow_id, seq) for seq in graph.on_cycles(parents)}
    return stuck & rows.keys()


def _flows_going_back(conn: Connection, flow_ids: list[str]) -> list[str]:
    """The flows in which some task waits for itself or for a later one: no other flow has a circle."""
    found: set[str] = set()
    for table, counts in ((task_stat, true()), (run_edge, IS_FORWARD)):
        back = table.c.task_flow_id.in_(flow_ids), table.c.depends_task_exec_seq >= table.c.task_exec_seq, counts
        found.update(conn.scalars(select(table.c.task_flow_id).where(*back).distinct()))
    return sorted(found)


def _open_parents(conn: Connection, flow_id: str) -> dict[int, set[int]]:
    task, edge = task_stat.c, run_edge.c
    is_open = task.exec_status.not_in([int(status) for status in SETTLED])
    first = select(task.task_exec_seq, task.depends_task_exec_seq).where(task.task_flow_id == flow_id, is_open)
    parents: dict[int, set[int]] = {row.task_exec_seq: {row.depends_task_exec_seq} for row in conn.execute(first)}
    further = select(edge.task_exec_seq, edge.depends_task_exec_seq).where(edge.task_flow_id == flow_id, IS_FORWARD)
    for seq, before in conn.execute(further):
        if seq in parents:
            parents[seq].add(before)
    return {seq: before & parents.keys() for seq, before in parents.items()}
