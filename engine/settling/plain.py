"""The settlement of tasks that simply finished, and behind which nobody asks how: what most settlements are.

It comes to the same as the long way round (engine/settle.py), which first looks at what each settlement asks for and at
what each edge says. Here nothing is asked for, and every edge only counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Integer, and_, case, func, literal_column, or_, select

from engine import flow_counts
from engine.database import Database
from engine.dialects.given import document, select_given, update_given
from engine.dialects.types import Id
from engine.ending.failure import GUARDED
from engine.failpoints import hit
from engine.flow_counts import Change
from engine.graph.edges import NORMAL
from engine.keys import KEY_COLUMNS, chunks, given_keys, joined
from engine.settling import moves
from engine.settling.settlement import Settlement
from engine.states import Status
from engine.tables import run_edge, task_stat

_FINISHED: Final = Change(finished=1)


def fits(settlements: Sequence[Settlement]) -> bool:
    """Do all of these ask for nothing but to be finished, by the first claim of their tasks?"""
    seen = {item.task.key for item in settlements}
    return len(seen) == len(settlements) and all(
        item.kind == "finish"
        and item.task.claim_no == 1  # an earlier claim may have left a wait, or a record of having been lost
        and item.log is None
        and item.choose is None
        and item.plan is None
        and item.task.failure_policy not in GUARDED
        for item in settlements
    )


def settle(conn: Connection, db: Database, settlements: Sequence[Settlement]) -> bool:
    """Finish all of these, or, if one was superseded or something behind them asks how they ended, write nothing and
    return False."""
    if not _are_held(conn, db, settlements):
        return False
    behind = _behind(conn, settlements)
    if behind is None:
        return False
    moves.apply(conn, settlements)
    hit("settle.after_moves")
    for part in chunks(sorted((*key, count) for key, count in behind.items())):
        conn.execute(_LOWER, {"given": document(part)})
    hit("settle.after_successors")
    finished = Counter(item.task.key.flow_id for item in settlements)
    flow_counts.add(conn, db, {flow_id: _FINISHED._replace(finished=count) for flow_id, count in finished.items()})
    hit("settle.after_counters")
    return True


def _are_held(conn: Connection, db: Database, settlements: Sequence[Settlement]) -> bool:
    """Do the claims that settle still hold their tasks? Locks the rows, where the database has row locks."""
    fences = sorted((*item.task.key, item.task.claim_id) for item in settlements)
    held = 0
    for part in chunks(fences):
        given = {"given": document(part)}
        held += len(conn.execute(_LOCK_HELD, given).all()) if db.can.row_locks else conn.scalar(_COUNT_HELD, given) or 0
    return held == len(fences)


def _behind(conn: Connection, settlements: Sequence[Settlement]) -> Counter[tuple[str, int]] | None:
    """By how much the counters of the tasks behind go down; None if that takes a closer look at an edge or a rule."""
    named: set[tuple[Any, ...]] = set()
    for part in chunks(sorted(item.task.key for item in settlements)):
        given = {"given": document(part)}
        for query in (_FIRST, _FURTHER):
            rows = conn.execute(query, given).all()
            if any(row[3] for row in rows):
                return None
            named.update(row[:3] for row in rows)  # an edge may be named twice, in the row and in kr_task_edge
    return Counter((flow_id, seq) for flow_id, seq, _ in named)


_task, _edge = task_stat.c, run_edge.c
_KEYS, _FENCES = given_keys(), given_keys(claim_id=Id(36))
_IS_HELD = and_(joined(_FENCES), _task.exec_status == literal_column(str(int(Status.RUNNING))))
_COUNT_HELD = select_given(_FENCES, func.count()).where(_IS_HELD)
_LOCK_HELD = (
    select_given(_FENCES, *KEY_COLUMNS, by_key_of=task_stat).where(_IS_HELD).order_by(*KEY_COLUMNS).with_for_update()
)
_HAS_RULE = _task.trigger_rule.isnot(None)
_FIRST = select_given(_KEYS, *KEY_COLUMNS, _task.depends_task_exec_seq, _HAS_RULE).where(
    _task.task_flow_id == _KEYS.c.flow_id,
    _task.depends_task_exec_seq == _KEYS.c.seq,
    _task.depends_task_exec_seq > 0,
)
_IS_SPECIAL = or_(
    and_(_edge.kind.isnot(None), _edge.kind != NORMAL),
    _edge.only_if.isnot(None),
    _edge.is_default.is_(True),
    _edge.outcome.isnot(None),
    select(1)
    .where(_task.task_flow_id == _edge.task_flow_id, _task.task_exec_seq == _edge.task_exec_seq, _HAS_RULE)
    .correlate(run_edge)
    .exists(),
)
_FURTHER = select_given(_KEYS, _edge.task_flow_id, _edge.task_exec_seq, _edge.depends_task_exec_seq, _IS_SPECIAL).where(
    _edge.task_flow_id == _KEYS.c.flow_id, _edge.depends_task_exec_seq == _KEYS.c.seq
)
"""The edges behind the given tasks: from rows whose first predecessor they are, and from kr_task_edge."""
_BY = given_keys(lower_by=Integer())
_IS_OPEN = and_(_task.exec_status.in_([literal_column("0"), literal_column("2")]), _task.wait_count > 0)
_LOWER = (
    update_given(task_stat)
    .where(joined(_BY))  # nothing else: PostgreSQL would not look again at a row that its snapshot had ruled out
    .values(
        wait_count=case(
            (and_(_IS_OPEN, _task.wait_count > _BY.c.lower_by), _task.wait_count - _BY.c.lower_by),
            (_IS_OPEN, 0),
            else_=_task.wait_count,
        )
    )
)
"""A paused task must not miss its signal either; one that was never counted, or is settled, stays as it is."""
