"""Where ready tasks stand: their rank in the queue, who would take them, and who holds the places of a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, exists, func, select

from engine.access import EVERYTHING, Reach
from engine.keys import KEY_COLUMNS, Key, leading_key
from engine.limits.rows import KEY, QUEUE, WORKFLOW
from engine.tables import CLAIM_ORDER, IS_ACTIVE, IS_READY, IS_RUNNING, IS_TURN, flow_stat, task_stat, wait, workflow
from engine.tables import watcher as watchers
from engine.views import offer

FAR: Final = 1_000
"""Ready tasks of a queue that are looked at for a rank: who is further behind is told so."""
SHOWN: Final = 10
"""Holders of a limit that are named."""
_COLUMNS: Final = {WORKFLOW: task_stat.c.task_id, QUEUE: task_stat.c.queue, KEY: task_stat.c.limit_key}


@dataclass
class Standing:
    """Asks each question once, however many tasks of a flow it is for."""

    conn: Connection
    within: Reach = EVERYTHING
    """The workflows of which holders may be named."""
    _ranks: dict[str, Mapping[Key, int]] = field(default_factory=dict)
    _workers: dict[tuple[str, str | None], tuple[int, int, int]] = field(default_factory=dict)
    _holders: dict[tuple[str, str], list[Key]] = field(default_factory=dict)

    def rank(self, queue: str, key: Key) -> int | None:
        """1 for the task that a claim sees first; None for one that stands further behind than is looked."""
        if queue not in self._ranks:
            first = select(*KEY_COLUMNS).where(IS_READY, task_stat.c.queue == queue).order_by(*CLAIM_ORDER).limit(FAR)
            rows = self.conn.execute(first)
            self._ranks[queue] = {leading_key(row): place for place, row in enumerate(rows, start=1)}
        return self._ranks[queue].get(key)

    def workers(self, queue: str, program: str | None) -> tuple[int, int, int]:
        """The live watchers that would take such a task, their slots, and how many tasks they run."""
        if (queue, program) not in self._workers:
            ids = select(offer.c.watcher_id).where(offer.c.queue == queue, offer.c.program == program).distinct()
            found = list(self.conn.scalars(ids))
            slots = select(func.sum(watchers.c.slots)).where(watchers.c.watcher_id.in_(found))
            busy = select(func.count()).select_from(task_stat).where(IS_RUNNING, task_stat.c.owner.in_(found))
            counts = (int(self.conn.scalar(slots) or 0), int(self.conn.scalar(busy) or 0)) if found else (0, 0)
            self._workers[queue, program] = (len(found), *counts)
        return self._workers[queue, program]

    def holders(self, scope: str, name: str) -> list[Key]:
        """Running tasks that count against a limit, those that have run for longest first; the first few."""
        column = _COLUMNS.get(scope)
        if column is None:
            return []
        if (scope, name) not in self._holders:
            shown = self.within.condition(task_stat.c.task_id)
            query = select(*KEY_COLUMNS).where(IS_RUNNING, column == name, shown).order_by(task_stat.c.started_ts)
            self._holders[scope, name] = [leading_key(row) for row in self.conn.execute(query.limit(SHOWN))]
        return self._holders[scope, name]

    def turn(self, task_id: str, flow_id: str) -> tuple[int | None, int | None, list[str]]:
        """Of a flow that waits its turn: how many flows may be under way, its rank among those that wait (None: beyond
        what is looked at), and the first few of those under way."""
        most = self.conn.scalar(select(workflow.c.max_active_flows).where(workflow.c.task_id == task_id))
        queue = select(wait.c.task_flow_id).where(IS_TURN, wait.c.name == task_id, wait.c.correlation_key == "")
        queue = queue.order_by(wait.c.created_ts, wait.c.task_flow_id).limit(FAR)
        places = {found: place for place, found in enumerate(dict.fromkeys(self.conn.scalars(queue)), start=1)}
        active = select(flow_stat.c.task_flow_id).where(flow_stat.c.task_id == task_id, IS_ACTIVE, ~_in_turn())
        shown = list(self.conn.scalars(active.order_by(flow_stat.c.registered_ts).limit(SHOWN)))
        return most, places.get(flow_id), shown


def _in_turn() -> ColumnElement[bool]:
    of_flow = wait.c.task_flow_id == flow_stat.c.task_flow_id, wait.c.state == "open", wait.c.kind == "turn"
    return exists(select(1).where(*of_flow)).correlate(flow_stat)


def gives_up_at(conn: Connection, key: Key) -> Any:
    """Until when a task may be poked; None if for ever."""
    of_task = wait.c.task_flow_id == key.flow_id, wait.c.task_exec_seq == key.seq
    return conn.scalar(select(wait.c.due_ts).where(*of_task, wait.c.state == "open", wait.c.kind == "poke"))
