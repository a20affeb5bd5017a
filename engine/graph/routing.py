"""What the end of a task means for the tasks behind it: edges are taken or skipped, counters go down, and what no edge
leads to any more is skipped, all in the transaction that settles.

Counters are lowered under row locks and never computed from the siblings, so two siblings that settle together both
lower the same row and the second one sees zero. Only then, and only where the answer is not plain, are the outcomes of
all edges into a task weighed by its trigger rule.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Integer, Row, Select, select

from engine import history
from engine.database import Database
from engine.dialects.for_rows import ForRows, Rows
from engine.dialects.given import select_given, update_given
from engine.flow_counts import Change, note
from engine.graph import edge_outcomes, edges
from engine.graph.branching import Ended, Ending, decide
from engine.graph.dependencies import DEFAULT_POLICY, Awaited, Policy, count_awaited, edges_into
from engine.graph.edges import LOOP, Edge
from engine.graph.trigger_rules import EdgeOutcome, Verdict, hits_at_once
from engine.growth import plans
from engine.keys import KEY_COLUMNS, Key, among, chunks, joined, key_of, keyed, leading_key
from engine.states import FAILURES, PASSED_ON, READY, Reason, Status
from engine.tables import task_stat
from engine.transitions import move

MAX_LEVELS: Final = 20
"""How far one transaction follows tasks that are skipped behind skipped ones; the sweep goes on from there."""
_SKIPPED: Final = Ending(Ended.SKIPPED)


@dataclass
class Routed:
    """What became of the tasks behind, beside counters that went down."""

    skipped: list[Row[Any]] = field(default_factory=list)
    broken: list[Row[Any]] = field(default_factory=list)
    """Suspended, because the condition of an edge into them cannot be worked out."""

    def changes(self) -> dict[str, Change]:
        """By how much the counters of flows change."""
        found: dict[str, Change] = {}
        for row in self.skipped:
            was_suspended = row.exec_status == Status.SUSPEND
            note(found, row.task_flow_id, Change(ignored=1, suspended=-1 if was_suspended else 0))
        for row in self.broken:
            note(found, row.task_flow_id, Change(suspended=1))
        return found


def route(
    conn: Connection,
    db: Database,
    endings: Mapping[Key, Ending],
    policy: Policy = DEFAULT_POLICY,
    out: Sequence[Edge] | None = None,
) -> Routed:
    """Tell everything behind tasks that ended. Their own rows say so already, with `wait_count` PASSED_ON; a task that
    only failed, and waits for a person, tells those alone who listen to failures. `out`: the edges behind these tasks,
    where the caller has read them.

    The caller adds `changes()` to the flows' counters.
    """
    routed = Routed()
    front = dict(endings)
    for level in range(MAX_LEVELS):
        if not front:
            break
        if out is None:
            out = edges.behind(conn, front)
        front = _one_level(conn, db, front, out, policy, routed, is_last=level == MAX_LEVELS - 1)
        out = None
    return routed


def ending_of(status: int, reason: str | None) -> Ending:
    """How a settled row ended, read from the row itself."""
    if status == Status.IGNORE:
        if reason in (Reason.SKIPPED, Reason.ROLLED_BACK):
            return _SKIPPED
        if reason in FAILURES.values():
            return Ending(Ended.HANDLED)
        return Ending(Ended.IGNORED)
    return Ending(Ended.FINISHED)


def catch_up(conn: Connection, db: Database, counted: Iterable[Awaited], policy: Policy = DEFAULT_POLICY) -> Routed:
    """Work out edges that are still open although the earlier task has told: those into rows made by hand after it
    had, and those whose condition could not be worked out the first time. `counted`: the tasks behind, counted anew."""
    undecided = sorted({parent for awaited in counted for parent in awaited.undecided})
    task = task_stat.c
    told: dict[Key, Ending] = {}
    for part in chunks(undecided):
        query = select(*KEY_COLUMNS, task.exec_status, task.reason).where(among(part), task.wait_count == PASSED_ON)
        told |= {key_of(row): ending_of(row.exec_status, row.reason) for row in conn.execute(query)}
    return route(conn, db, told, policy)


def _one_level(
    conn: Connection,
    db: Database,
    front: Mapping[Key, Ending],
    out: Sequence[Edge],
    policy: Policy,
    routed: Routed,
    *,
    is_last: bool,
) -> dict[Key, Ending]:
    """Tell the direct successors of `front`. Returns those that were skipped, which have successors of their own."""
    children = _locked(conn, db, {edge.child for edge in out if edge.kind != LOOP})
    if not children:
        return {}
    rules = {key: row.trigger_rule for key, row in children.items()}
    branches = decide(conn, front, [edge for edge in out if edge.child in children], rules)
    to_store = {edge: outcome for edge, outcome in branches.outcomes.items() if _is_stored(edge, front[edge.parent])}
    if to_store:
        edge_outcomes.write(conn, db, to_store)
    _break(conn, children, branches.broken, routed)
    extra = _unjoined(conn, front, branches.outcomes)
    skipped = _lower(conn, db, children, branches.outcomes, extra, policy)
    return _skip(conn, [children[key] for key in skipped], routed, is_last=is_last)


def _unjoined(conn: Connection, front: Mapping[Key, Ending], outcomes: Mapping[Edge, EdgeOutcome]) -> Mapping[Key, int]:
    """A branch that a planner does not take does not wait for its plan either: by how much its counter goes down."""
    skipped = EdgeOutcome.SKIPPED
    left = [edge for edge, outcome in outcomes.items() if outcome is skipped and front[edge.parent].planned]
    return plans.leave_unjoined(conn, [(edge.child, edge.parent.seq) for edge in left]) if left else {}


def _is_stored(edge: Edge, ending: Ending) -> bool:
    """Does the outcome not follow from the earlier task's row alone?"""
    return not edge.is_plain or ending.chosen is not None or ending.how is Ended.FAILED


def _locked(conn: Connection, db: Database, keys: Collection[Key]) -> dict[Key, Row[Any]]:
    """Lock every successor, not only those that wait: PostgreSQL does not look again at a row that its snapshot had
    ruled out, and would miss one whose counter is being written this moment."""
    query = _LOCKING if db.can.row_locks else _READING
    found: dict[Key, Row[Any]] = {}
    for part in chunks(sorted(keys)):
        for row in query(conn, part):
            found[leading_key(row)] = row
    return found


_task = task_stat.c


def _reading(rows: Rows) -> Select[Any]:
    told = _task.exec_status, _task.wait_count, _task.trigger_rule, _task.due_ts
    query = select_given(rows, *KEY_COLUMNS, *told, by_key_of=task_stat)
    return query.where(joined(rows)).order_by(*KEY_COLUMNS)


_READING = ForRows(keyed(), _reading)
_LOCKING = ForRows(keyed(), lambda rows: _reading(rows).with_for_update())
_LOWER = ForRows(
    keyed(lower_by=Integer()),
    lambda rows: (
        update_given(task_stat)
        .where(joined(rows), _task.wait_count >= rows.c.lower_by)
        .values(wait_count=_task.wait_count - rows.c.lower_by)
    ),
)


def _lower(
    conn: Connection,
    db: Database,
    children: Mapping[Key, Row[Any]],
    outcomes: Mapping[Edge, EdgeOutcome],
    extra: Mapping[Key, int],
    policy: Policy,
) -> list[Key]:
    """Lower the counters by the edges that were settled, whatever the status: a paused task must not miss its signal.
    A row whose counter is NULL has not been adopted yet and is counted then. Returns the tasks that are to be skipped.
    """
    news: dict[Key, list[EdgeOutcome]] = {}
    for edge, outcome in outcomes.items():
        news.setdefault(edge.child, []).append(outcome)
    lowering: dict[Key, int] = {}
    doubtful: list[Key] = []
    for key, heard in news.items():
        row = children[key]
        if row.wait_count is None or row.wait_count <= 0 or row.exec_status not in (Status.WAIT, Status.SUSPEND):
            continue
        lowering[key] = min(len(heard) + extra.get(key, 0), row.wait_count)
        if hits_at_once(row.trigger_rule, heard):
            lowering[key] += _moot(conn, db, key, policy)
        elif (lowering[key] == row.wait_count or row.due_ts is not None) and not _runs_for_sure(row, heard):
            doubtful.append(key)
    _write(conn, lowering)
    counted = count_awaited(conn, doubtful, policy) if doubtful else {}
    return [key for key, awaited in counted.items() if awaited.verdict is Verdict.SKIP]


def _runs_for_sure(row: Row[Any], heard: Collection[EdgeOutcome]) -> bool:
    """Under the default rule one edge that was taken is enough, once all are settled."""
    return row.trigger_rule is None and EdgeOutcome.TAKEN in heard


def _moot(conn: Connection, db: Database, key: Key, policy: Policy) -> int:
    """Close the edges into this task that are still open: its rule is satisfied. Returns how many."""
    still_open = [edge for edge, outcome, _ in edges_into(conn, [key], policy)[key] if outcome is None]
    edge_outcomes.write(conn, db, dict.fromkeys(still_open, EdgeOutcome.MOOT))
    return len(still_open)


def _write(conn: Connection, lowering: Mapping[Key, int]) -> None:
    for part in chunks(sorted((*key, by) for key, by in lowering.items())):
        _LOWER(conn, part)


def _break(conn: Connection, children: Mapping[Key, Row[Any]], broken: Mapping[Key, str], routed: Routed) -> None:
    """Suspend tasks whose edge cannot be worked out. The edge stays open, and is tried again with the task."""
    for key, words in sorted(broken.items()):
        row = children[key]
        if row.exec_status == Status.WAIT and row.wait_count is not None and row.wait_count >= READY:
            move(conn, "stop", [key], reason=Reason.BAD_CONDITION, error=words)
            routed.broken.append(row)
    told = [row for row in routed.broken if key_of(row) in broken]
    history.record(conn, [history.about(key_of(row), "task suspended", reason=Reason.BAD_CONDITION) for row in told])


def _skip(conn: Connection, rows: Collection[Row[Any]], routed: Routed, *, is_last: bool) -> dict[Key, Ending]:
    """Nothing leads to these tasks any more. At the last level their successors are left to the sweep."""
    keys = sorted(key_of(row) for row in rows)
    if not keys:
        return {}
    move(conn, "skip", keys, wait_count=READY if is_last else PASSED_ON, due_ts=None, reason=Reason.SKIPPED)
    routed.skipped += rows
    return dict.fromkeys(keys, _SKIPPED)
