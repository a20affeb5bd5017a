"""Loops: taking a loop edge makes the next iteration of its body, in the transaction in which the body's last step
finishes.

Run rows are never used twice: each iteration has rows of its own, so what an earlier one did stays readable, and its
cost is that of the body, however long the flow has become. The first task of an iteration comes after the last one of
the iteration before, and reads its result in `call.upstream`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, or_, select, update

from engine import executors, retry
from engine.database import Database
from engine.dialects.clock import time_now
from engine.dialects.rowset import one_of
from engine.errors import BrokenPromise
from engine.graph import edges as flow_edges
from engine.graph.dependencies import lock_tasks
from engine.graph.edges import IS_FORWARD, LOOP
from engine.graph.trigger_rules import EdgeOutcome
from engine.growth.bulk import insert_rows
from engine.growth.iterations import Edge, Instance, Step, Turn, left, next_iteration
from engine.growth.plans import last_number
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of, lock_flows, pair_among
from engine.states import PRIORITY_MAX, READY, Status
from engine.tables import run_edge, task_stat
from engine.tables.columns import option_columns

_EXTRAS: Final = ("only_if", "is_default")
_COPIED: Final = (
    *("task_id", "task_seq", "parameters", "program", "queue"),
    *retry.COLUMNS,
    *(column.name for column in option_columns()),
    *executors.COLUMNS,
    *("phase", "templates"),
)
"""What a definition, or an operator since, says of a task: the next iteration takes it over as it is now."""
_EDGE_KEY: Final = (run_edge.c.task_flow_id, run_edge.c.task_exec_seq, run_edge.c.depends_task_exec_seq)


@dataclass(frozen=True)
class LoopEdge:
    """A loop edge of a flow: from its source back to its target, both as run numbers. `max_iterations` says how often
    it may still be taken, and goes down by one with every iteration; None is the default of 1,000."""

    flow_id: str
    target: int
    source: int
    max_iterations: int | None = None
    only_if: str | None = None

    @property
    def key(self) -> Key:
        """The task after which the edge is decided."""
        return Key(self.flow_id, self.source)


@dataclass
class _Body:
    """The present iteration of a loop, while it is read."""

    loop: LoopEdge
    members: set[Key] = field(default_factory=set)
    edges: list[Edge] = field(default_factory=list)

    @property
    def inner_edges(self) -> list[Edge]:
        seqs = {key.seq for key in self.members}
        return [edge for edge in self.edges if edge.seq in seqs and edge.before in seqs]


def edges_of(conn: Connection, sources: Collection[Key]) -> dict[Key, list[LoopEdge]]:
    """The loop edges to be decided after these tasks; of one task those of inner loops first. At most one of a task's
    edges is taken, the first whose condition holds: the others go on to its next instance."""
    edge = run_edge.c
    found: dict[Key, list[LoopEdge]] = {}
    columns = *_EDGE_KEY, edge.max_iterations, edge.only_if
    for part in chunks(sorted(sources)):
        behind = pair_among(edge.task_flow_id, edge.depends_task_exec_seq, part)
        query = select(*columns).where(behind, edge.kind == LOOP, edge.outcome.is_(None))
        for row in conn.execute(query.order_by(edge.task_exec_seq.desc())):
            loop = LoopEdge(*row)
            found.setdefault(loop.key, []).append(loop)
    return found


def exhausted(conn: Connection, loops: Collection[LoopEdge]) -> dict[Key, str]:
    """The sources of those loops that may be taken no more, each with the words for a person. Asked before the sources
    finish: they are suspended instead."""
    return {loop.key: _words(conn, loop) for loop in loops if left(loop.max_iterations) <= 0}


def turn(conn: Connection, db: Database, taken: Sequence[LoopEdge]) -> dict[str, int]:
    """Make the next iteration of these loops. Shape: flow id -> how many tasks it got.

    The sources have just finished, in this transaction, and nothing has been told yet of that: what waits for them is
    made to wait for their next instances. Of several loops of one source the first is taken. Locks what waits for the
    sources, then the flows. Errors: BrokenPromise for a source that its target does not lead to.
    """
    loops = {loop.key: loop for loop in reversed(taken)}
    lock_tasks(conn, db, {edge.child for edge in flow_edges.behind(conn, loops)})
    lock_flows(conn, db, {key.flow_id for key in loops})
    instant = time_now(conn)
    added: dict[str, int] = {}
    for alike in _rounds(loops.values()):
        for flow_id, count in _turn(conn, alike, instant).items():
            added[flow_id] = added.get(flow_id, 0) + count
    return added


def _rounds(loops: Collection[LoopEdge]) -> Iterator[list[LoopEdge]]:
    """One loop of each flow at a time: bodies may nest, and the outer one is to find what the inner one has made."""
    by_flow: dict[str, list[LoopEdge]] = {}
    for loop in sorted(loops, key=lambda one: one.key):
        by_flow.setdefault(loop.flow_id, []).append(loop)
    while by_flow:
        yield [waiting.pop(0) for waiting in by_flow.values()]
        by_flow = {flow_id: waiting for flow_id, waiting in by_flow.items() if waiting}


def _turn(conn: Connection, loops: Sequence[LoopEdge], instant: datetime | None) -> dict[str, int]:
    bodies = _read_bodies(conn, loops)
    rows, last = _read_tasks(conn, {key for body in bodies for key in body.members})
    turns: list[tuple[LoopEdge, Turn]] = []
    for body in bodies:
        loop = body.loop
        if loop.key not in body.members:
            ends = f"task {loop.target} does not lead to task {loop.source}"
            raise BrokenPromise(f"the loop edge of flow {loop.flow_id!r} has no body: {ends}")
        instances = [rows[key] for key in body.members]
        turns.append(
            (loop, next_iteration(loop.target, loop.source, instances, body.inner_edges, last[loop.flow_id] + 1))
        )
    _mark(conn, bodies)
    _repoint(conn, turns)
    insert_rows(conn, task_stat, (row for loop, made in turns for row in _task_rows(loop.flow_id, made, instant)))
    insert_rows(conn, run_edge, (row for loop, made in turns for row in _edge_rows(loop.flow_id, made)))
    return {loop.flow_id: len(made.copies) for loop, made in turns}


def _read_bodies(conn: Connection, loops: Sequence[LoopEdge]) -> list[_Body]:
    """Walk forward from each target to its source: only the source has edges that leave its body, so nothing else of
    the flow is read. All loops take each step of the walk together."""
    bodies = [_Body(loop, {Key(loop.flow_id, loop.target)}) for loop in loops]
    of_flow = {body.loop.flow_id: body for body in bodies}
    frontier = {key for body in bodies for key in body.members}
    while frontier:
        reached: set[Key] = set()
        for part in chunks(sorted(frontier)):
            for flow_id, edge in _edges_behind(conn, part):
                body = of_flow[flow_id]
                if edge.kind != LOOP and edge.before == body.loop.source:
                    continue
                body.edges.append(edge)
                if edge.kind != LOOP and Key(flow_id, edge.seq) not in body.members:
                    body.members.add(Key(flow_id, edge.seq))
                    reached.add(Key(flow_id, edge.seq))
        frontier = reached
    return bodies


def _edges_behind(conn: Connection, keys: Collection[Key]) -> Iterator[tuple[str, Edge]]:
    """The edges that begin at these tasks. Those to planned tasks are left out: the planner's copy plans anew."""
    task, edge = task_stat.c, run_edge.c
    behind = pair_among(task.task_flow_id, task.depends_task_exec_seq, keys), task.made_by_exec_seq.is_(None)
    first = select(*KEY_COLUMNS, task.depends_task_exec_seq).where(*behind)
    for flow_id, seq, before in conn.execute(first):
        yield flow_id, Edge(seq, before)
    further = select(*_EDGE_KEY, edge.kind, edge.max_iterations, *(edge[name] for name in _EXTRAS))
    for row in conn.execute(further.where(pair_among(edge.task_flow_id, edge.depends_task_exec_seq, keys))):
        extras = {name: row._mapping[name] for name in _EXTRAS}
        most = row.max_iterations
        yield row.task_flow_id, Edge(row.task_exec_seq, row.depends_task_exec_seq, row.kind, extras, True, most)


def _read_tasks(conn: Connection, keys: Collection[Key]) -> tuple[dict[Key, Instance], dict[str, int]]:
    """The tasks as they are to be copied, and the highest run number of each of their flows."""
    task = task_stat.c
    given = (task.task_priority + task.aged).label("given")  # before waiting raised it
    query = select(*KEY_COLUMNS, task.iteration, given, *(task[name] for name in _COPIED))
    found: dict[Key, Instance] = {}
    for part in chunks(sorted(keys)):
        for row in conn.execute(query.where(among(part))):
            columns = {name: row._mapping[name] for name in _COPIED}
            columns["task_priority"] = min(row.given, PRIORITY_MAX)
            step = Step(row.task_seq, row.phase)
            found[key_of(row)] = Instance(row.task_exec_seq, step, row.iteration, columns)
    ends = {key.flow_id: key for key in keys}
    highest = select(task.task_flow_id, last_number())
    last = {
        row[0]: row[1] for part in chunks(sorted(ends.values())) for row in conn.execute(highest.where(among(part)))
    }
    return found, last


def _mark(conn: Connection, bodies: Sequence[_Body]) -> None:
    """Settle the loop edges of the sources that stay with this iteration: the one that is taken, and those of loops
    within it, which begin anew."""
    for outcome, wanted in ((EdgeOutcome.LOOPED, True), (EdgeOutcome.SKIPPED, False)):
        ends = [
            (body.loop.flow_id, edge.seq, edge.before)
            for body in bodies
            for edge in body.inner_edges
            if edge.kind == LOOP and edge.before == body.loop.source and (edge.seq == body.loop.target) is wanted
        ]
        for part in chunks(ends):
            conn.execute(update(run_edge).where(one_of(_EDGE_KEY, part)).values(outcome=str(outcome)))


def _repoint(conn: Connection, turns: Sequence[tuple[LoopEdge, Turn]]) -> None:
    """Let what waits for a source wait for its next instance: the counters stay as they are. Loop edges further out
    are decided after that one too. Sources that move equally far share a statement."""
    groups: dict[int, list[Key]] = {}
    for loop, made in turns:
        groups.setdefault(made.source - loop.source, []).append(loop.key)
    task, edge = task_stat.c, run_edge.c
    for far, sources in groups.items():
        for part in chunks(sources):
            behind = pair_among(task.task_flow_id, task.depends_task_exec_seq, part), task.made_by_exec_seq.is_(None)
            moved = {"depends_task_exec_seq": task.depends_task_exec_seq + far}
            conn.execute(update(task_stat).where(*behind).values(**moved))
            beside = pair_among(edge.task_flow_id, edge.depends_task_exec_seq, part)
            goes_on = or_(IS_FORWARD, edge.outcome.is_(None))
            moved = {"depends_task_exec_seq": edge.depends_task_exec_seq + far}
            conn.execute(update(run_edge).where(beside, goes_on).values(**moved))


def _task_rows(flow_id: str, made: Turn, instant: datetime | None) -> Iterator[dict[str, Any]]:
    first = made.copies[0].seq
    for copy in made.copies:
        is_inside = copy.parents[0] >= first
        yield {
            "task_flow_id": flow_id,
            "task_exec_seq": copy.seq,
            "depends_task_exec_seq": copy.parents[0],
            "exec_status": int(Status.WAIT),
            "wait_count": len(copy.parents) if is_inside else READY,
            "registered_ts": instant,
            "iteration": copy.iteration,
            **copy.of.columns,
        }


def _edge_rows(flow_id: str, made: Turn) -> Iterator[dict[str, Any]]:
    for edge in made.edges:
        yield {
            "task_flow_id": flow_id,
            "task_exec_seq": edge.seq,
            "depends_task_exec_seq": edge.before,
            "kind": edge.kind,
            "max_iterations": edge.max_iterations,
            **{name: edge.extras.get(name) for name in _EXTRAS},
        }


def _words(conn: Connection, loop: LoopEdge) -> str:
    """Every iteration has a row of the edge, and the first one says how often it might be taken."""
    edge = run_edge.c
    later, earlier = task_stat.alias("later"), task_stat.alias("earlier")
    rows = (
        select(*_EDGE_KEY, later.c.task_seq.label("target"), earlier.c.task_seq.label("source"), edge.max_iterations)
        .join(later, (later.c.task_flow_id == edge.task_flow_id) & (later.c.task_exec_seq == edge.task_exec_seq))
        .join(
            earlier,
            (earlier.c.task_flow_id == edge.task_flow_id) & (earlier.c.task_exec_seq == edge.depends_task_exec_seq),
        )
        .where(edge.task_flow_id == loop.flow_id, edge.kind == LOOP)
    )
    found = conn.execute(rows).all()
    ends = loop.target, loop.source
    this = next((row.target, row.source) for row in found if (row.task_exec_seq, row.depends_task_exec_seq) == ends)
    most = max(left(row.max_iterations) for row in found if (row.target, row.source) == this)
    return (
        f"the loop from step {this[1]} back to step {this[0]} was taken as often as its max_iterations allow: {most:,}"
    )
