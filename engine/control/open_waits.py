"""Waits of tasks that need not wait any more."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, update

from engine.dialects.clock import now
from engine.keys import Key, chunks, pair_among
from engine.tables import IS_OPEN_WAIT, wait


def cancel(conn: Connection, keys: Collection[Key], actor: str) -> int:
    """Close what these tasks still await, without anything having come. The caller settles or recounts the tasks.
    Returns how many waits were open."""
    count = 0
    for part in chunks(sorted(keys)):
        mine = pair_among(wait.c.task_flow_id, wait.c.task_exec_seq, part)
        closed = update(wait).where(IS_OPEN_WAIT, mine).values(state="cancelled", closed_ts=now(), closed_by=actor)
        count += conn.execute(closed).rowcount
    return count
