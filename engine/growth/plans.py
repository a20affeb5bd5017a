"""Plans: tasks that a program adds to its own flow, written in the transaction in which the program's task finishes.

A planned task that comes after no other of its plan comes after the planner, which has finished by then, so nothing is
left to wait for. With `join`, what waits for the planner waits for the last tasks of the plan too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select, update

from engine import executors, history, retry
from engine.database import Database
from engine.dialects.clock import time_now
from engine.dialects.rowset import one_of
from engine.graph import edges
from engine.graph.dependencies import lock_tasks
from engine.growth.bulk import insert_rows
from engine.growth.plan_checks import MAX_EDGES, leaves_of
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of, lock_flows, pair_among
from engine.states import PRIORITY_MAX, Status
from engine.tables import run_edge, task_stat
from engine.wishes import PlanWish

_NO_OPTIONS: Mapping[str, Any] = {
    "queue": "default",
    **dict.fromkeys((*retry.COLUMNS, "trigger_rule", "timeout_s", "limit_key", *executors.COLUMNS)),
}
"""Every row of one INSERT names the same columns; these are what a task without options has in them."""


@dataclass(frozen=True)
class Placed:
    """A plan and its place in the flow: its tasks have the run numbers from `first` on."""

    planner: Key
    task_id: str
    task_seq: int
    priority: int
    wish: PlanWish
    first: int

    def number(self, place: int) -> int:
        return self.first + place

    def rows(self, instant: datetime | None) -> Iterator[dict[str, Any]]:
        """The rows of kr_task_stat, in the order of the plan."""
        for place, task in enumerate(self.wish.tasks):
            yield {
                "task_flow_id": self.planner.flow_id,
                "task_exec_seq": self.number(place),
                "depends_task_exec_seq": self.number(task.after[0]) if task.after else self.planner.seq,
                "task_id": self.task_id,
                "task_seq": self.task_seq,
                "exec_status": int(Status.WAIT),
                "task_priority": self.priority if task.priority is None else task.priority,
                "parameters": task.parameters,
                "program": task.program,
                "wait_count": len(task.after),
                "registered_ts": instant,
                "made_by_exec_seq": self.planner.seq,
                "name": task.name,
                **_NO_OPTIONS,
                **task.options,
            }

    def edges(self) -> Iterator[dict[str, Any]]:
        """The rows of kr_task_edge within the plan: second and further predecessors."""
        for place, task in enumerate(self.wish.tasks):
            for earlier in task.after[1:]:
                yield _edge(self.planner.flow_id, self.number(place), self.number(earlier))


def _edge(flow_id: str, seq: int, before: int) -> dict[str, Any]:
    return {"task_flow_id": flow_id, "task_exec_seq": seq, "depends_task_exec_seq": before}


def unjoinable(conn: Connection, wishes: Mapping[Key, PlanWish]) -> dict[Key, str]:
    """The planners whose plan would make too many edges by joining, each with the words for a person. Asked before
    the planners finish."""
    joining = {key: len(leaves_of(wish)) for key, wish in wishes.items() if wish.join}
    behind = dict.fromkeys(joining, 0)
    for _, before in _joined(conn, joining):
        behind[before] += 1
    return {
        key: f"the plan: its {leaves:,} last tasks and the {behind[key]:,} that would wait for them make more than"
        f" {MAX_EDGES:,} edges; let one task come after all of them"
        for key, leaves in joining.items()
        if leaves * behind[key] > MAX_EDGES
    }


def insert(conn: Connection, db: Database, wishes: Mapping[Key, PlanWish], finished: Collection[Key]) -> dict[str, int]:
    """Add what these planners planned to their flows. Shape: flow id -> how many tasks it got.

    The planners have just finished, in this transaction, and nobody has been told yet. `finished` are all tasks of
    which that is true: what waits for them is locked first, because flow rows come after task rows.
    """
    lock_tasks(conn, db, {edge.child for edge in edges.behind(conn, finished)})
    lock_flows(conn, db, {key.flow_id for key in wishes})
    plans = _placed(conn, wishes)
    _join(conn, [plan for plan in plans if plan.wish.join])
    instant = time_now(conn)
    insert_rows(conn, task_stat, (row for plan in plans for row in plan.rows(instant)))
    insert_rows(conn, run_edge, (row for plan in plans for row in plan.edges()))
    history.record(conn, [history.about(plan.planner, "tasks planned", tasks=len(plan.wish.tasks)) for plan in plans])
    db.dialect.notify(conn)
    added: dict[str, int] = {}
    for plan in plans:
        added[plan.planner.flow_id] = added.get(plan.planner.flow_id, 0) + len(plan.wish.tasks)
    return added


def leave_unjoined(conn: Connection, skipped: Collection[tuple[Key, int]]) -> dict[Key, int]:
    """Take back the joins behind edges (task, planner's number) that the planner's finish skips: a branch that is not
    taken does not wait for the plan either. Shape: task -> by how much its counter must go down further."""
    undone: dict[Key, int] = {}
    edge, planned = run_edge.c, task_stat.alias("planned")
    for part in chunks(sorted(skipped)):
        rows = [(key.flow_id, key.seq, planner) for key, planner in part]
        made = select(edge.task_flow_id, edge.task_exec_seq, edge.depends_task_exec_seq).join(
            planned,
            (planned.c.task_flow_id == edge.task_flow_id) & (planned.c.task_exec_seq == edge.depends_task_exec_seq),
        )
        mine = one_of((edge.task_flow_id, edge.task_exec_seq, planned.c.made_by_exec_seq), rows)
        among_them = pair_among(edge.task_flow_id, edge.task_exec_seq, [key for key, _ in part])
        for found in chunks(tuple(row) for row in conn.execute(made.where(among_them, mine)).all()):
            columns = edge.task_flow_id, edge.task_exec_seq, edge.depends_task_exec_seq
            conn.execute(run_edge.delete().where(one_of(columns, found)))
            for flow_id, seq, _ in found:
                undone[Key(flow_id, seq)] = undone.get(Key(flow_id, seq), 0) + 1
    return undone


def _placed(conn: Connection, wishes: Mapping[Key, PlanWish]) -> list[Placed]:
    """Number the plans, in the order of their planners, behind what each flow has. The caller holds the flow rows."""
    rows = _planners(conn, wishes)
    last: dict[str, int] = {}
    plans: list[Placed] = []
    for key in sorted(wishes):
        row, wish = rows[key], wishes[key]
        first = last.get(key.flow_id, row.last) + 1
        last[key.flow_id] = first + len(wish.tasks) - 1
        own = min(row.task_priority + row.aged, PRIORITY_MAX)  # as it was given, before waiting raised it
        plans.append(Placed(key, row.task_id, row.task_seq, own, wish, first))
    return plans


def _planners(conn: Connection, keys: Collection[Key]) -> dict[Key, Any]:
    task = task_stat.c
    query = select(*KEY_COLUMNS, task.task_id, task.task_seq, task.task_priority, task.aged, last_number())
    return {key_of(row): row for part in chunks(sorted(keys)) for row in conn.execute(query.where(among(part)))}


def last_number() -> Any:
    """The highest run number of the flow of a row of kr_task_stat, as a column `last`: read from the end of an index,
    where MAX() would make MariaDB read the flow."""
    other = task_stat.alias("other")
    same_flow = other.c.task_flow_id == task_stat.c.task_flow_id
    highest = select(other.c.task_exec_seq).where(same_flow).order_by(other.c.task_exec_seq.desc()).limit(1)
    return highest.correlate(task_stat).scalar_subquery().label("last")


def _joined(conn: Connection, planners: Collection[Key]) -> Iterator[tuple[Key, Key]]:
    """What is to wait for the plans of these planners, as (task, planner): whatever has a normal edge from one and has
    not begun. What listens to the planner's failure, or is gone back to by a loop, does not follow its plan."""
    for part in chunks(sorted(planners)):
        told = {(edge.child, edge.parent) for edge in edges.behind(conn, part) if edge.kind == edges.NORMAL}
        open_ones = _open(conn, {key for key, _ in told})
        yield from sorted((key, planner) for key, planner in told if key in open_ones)


def _open(conn: Connection, keys: Collection[Key]) -> set[Key]:
    is_open = task_stat.c.exec_status.in_([int(Status.WAIT), int(Status.SUSPEND)])
    not_ready = or_(task_stat.c.wait_count.is_(None), task_stat.c.wait_count != 0)
    query = select(*KEY_COLUMNS).where(is_open, not_ready)
    return {key_of(row) for part in chunks(sorted(keys)) for row in conn.execute(query.where(among(part)))}


def _join(conn: Connection, plans: Sequence[Placed]) -> None:
    """Counters go up before the planner's own finish lowers them, so that none of them touches 0 in between."""
    by_planner = {plan.planner: plan for plan in plans}
    numbers = {plan.planner: [plan.number(place) for place in leaves_of(plan.wish)] for plan in plans}
    pairs = list(_joined(conn, by_planner))
    insert_rows(
        conn, run_edge, (_edge(key.flow_id, key.seq, leaf) for key, planner in pairs for leaf in numbers[planner])
    )
    raised: dict[Key, int] = {}
    for key, planner in pairs:
        raised[key] = raised.get(key, 0) + len(numbers[planner])
    groups: dict[int, list[Key]] = {}
    for key, by in raised.items():
        groups.setdefault(by, []).append(key)
    for by, keys in groups.items():
        for part in chunks(sorted(keys)):
            counted = update(task_stat).where(among(part), task_stat.c.wait_count > 0)
            conn.execute(counted.values(wait_count=task_stat.c.wait_count + by))
