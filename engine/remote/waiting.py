"""What is ready that waiting workers could take: one query, however many of them wait."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, select, union_all

from engine.keys import chunks
from engine.tables import CLAIM_ORDER, IS_READY, task_stat


class Ready(NamedTuple):
    """A ready task: where it is, and what runs it."""

    queue: str
    program: str


def ready(conn: Connection, queues: Collection[str], programs: Collection[str], most: int) -> list[Ready]:
    """The first ready tasks of each of these queues that one of these programs runs, at most `most` of each."""
    task = task_stat.c
    found: list[Ready] = []
    for part in chunks(sorted(queues), 50):
        each = [
            select(task.queue, task.program)
            .where(IS_READY, task.queue == queue, task.program.in_(sorted(programs)))
            .order_by(*CLAIM_ORDER)
            .limit(most)
            .subquery()
            for queue in part
        ]
        found += [Ready(*row) for row in conn.execute(union_all(*(select(one) for one in each)))]
    return found
