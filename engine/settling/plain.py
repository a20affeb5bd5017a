"""The settlement of tasks that simply finished, and behind which nobody asks how: what most settlements are.

It comes to the same as the long way round (engine/settle.py), which first looks at what each settlement asks for and at
what each edge says. Here nothing is asked for, and every edge only counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Integer, Select, Update, and_, case, literal_column, null, or_, select, union_all

from engine import flow_counts
from engine.database import Database
from engine.dialects.for_rows import ForRows, Rows
from engine.dialects.given import select_given, update_given
from engine.ending.failure import GUARDED
from engine.failpoints import hit
from engine.flow_counts import Change
from engine.graph.edges import NORMAL
from engine.keys import KEY_COLUMNS, Key, chunks, joined, keyed
from engine.settling import moves
from engine.settling.settlement import Settlement
from engine.tables import BEHIND, EDGES_BEHIND, IS_RUNNING_BY_KEY, run_edge, task_stat
from engine.transitions import Move, told

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
        and (item.result is None or len(item.result) <= moves.LONG)
        for item in settlements
    )


class LongWayError(Exception):
    """The short way has begun to write and may not go on: a claim was superseded, or something behind the tasks asks
    how they ended, the tasks that are `asked_about`."""

    def __init__(self, asked_about: Collection[Key] = ()) -> None:
        self.asked_about = asked_about
        super().__init__("settle these the long way, in another transaction")


def settle(conn: Connection, db: Database, settlements: Sequence[Settlement]) -> None:
    """Finish all of these. Errors: LongWayError, after which the transaction must be given up."""
    _finish(conn, settlements)
    hit("settle.after_moves")
    behind = _behind(conn, settlements)  # now that their rows are locked, nothing is put behind them any more
    for part in chunks(sorted((*key, count) for key, count in behind.items())):
        _LOWER(conn, part)
    hit("settle.after_successors")
    finished = Counter(item.task.key.flow_id for item in settlements)
    flow_counts.add(conn, db, {flow_id: _FINISHED._replace(finished=count) for flow_id, count in finished.items()})
    hit("settle.after_counters")


def _finish(conn: Connection, settlements: Sequence[Settlement]) -> None:
    """Move all of these, each under the claim that settles it. Errors: LongWayError if one does not hold its task."""
    bare = [item.task.fence for item in settlements if item.result is None]
    told = [(*item.task.fence, item.result) for item in settlements if item.result is not None]
    moved = (_FINISH(conn, bare) if bare else 0) + (_FINISH_WITH_RESULT(conn, told) if told else 0)
    if moved != len(settlements):
        raise LongWayError


def _behind(conn: Connection, settlements: Sequence[Settlement]) -> Counter[tuple[str, int]]:
    """By how much the counters of the tasks behind go down. Errors: LongWayError if an edge or a rule takes a closer
    look."""
    named: set[tuple[Any, ...]] = set()
    for part in chunks(sorted(item.task.key for item in settlements)):
        rows = _EDGES(conn, part).all()
        if asked := {Key(row[0], row[2]) for row in rows if row[3]}:
            raise LongWayError(asked)
        named.update(row[:3] for row in rows)  # an edge may be named twice, in the row and in kr_task_edge
    return Counter((flow_id, seq) for flow_id, seq, _ in named)


_task, _edge = task_stat.c, run_edge.c
_FINISH = Move("finish", moves.FENCE, IS_RUNNING_BY_KEY, result=null(), **moves.ENDED)
_FINISH_WITH_RESULT = Move("finish", moves.RESULT, IS_RUNNING_BY_KEY, result=told("result"), **moves.ENDED)
_HAS_RULE = _task.trigger_rule.isnot(None)
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
_IS_OPEN = and_(_task.exec_status.in_([literal_column("0"), literal_column("2")]), _task.wait_count > 0)


def _first(rows: Rows) -> Select[Any]:
    """From rows whose first predecessor is given."""
    query = select_given(rows, *KEY_COLUMNS, _task.depends_task_exec_seq, _HAS_RULE, by=BEHIND)
    is_behind = _task.task_flow_id == rows.c.flow_id, _task.depends_task_exec_seq == rows.c.seq
    return query.where(*is_behind, _task.depends_task_exec_seq > 0)


def _further(rows: Rows) -> Select[Any]:
    """From kr_task_edge."""
    ends = _edge.task_flow_id, _edge.task_exec_seq, _edge.depends_task_exec_seq
    query = select_given(rows, *ends, _IS_SPECIAL, by=EDGES_BEHIND)
    return query.where(_edge.task_flow_id == rows.c.flow_id, _edge.depends_task_exec_seq == rows.c.seq)


_EDGES = ForRows(keyed(), lambda rows: union_all(_first(rows), _further(rows)))
"""The edges behind the given tasks."""


def _lowered(rows: Rows) -> Update:
    """A paused task must not miss its signal either; one that was never counted, or is settled, stays as it is."""
    lowered = case(
        (and_(_IS_OPEN, _task.wait_count > rows.c.lower_by), _task.wait_count - rows.c.lower_by),
        (_IS_OPEN, 0),
        else_=_task.wait_count,
    )
    # by the key alone: PostgreSQL would not look again at a row that its snapshot had ruled out
    return update_given(task_stat).where(joined(rows)).values(wait_count=lowered)


_LOWER = ForRows(keyed(lower_by=Integer()), _lowered)
