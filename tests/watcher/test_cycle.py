"""Turns of the cycle that meet rows which the database itself refuses."""

from __future__ import annotations

import pytest
from factories import bypass_checks, define, enlisted, start, task

from engine.database import Database
from engine.keys import Key
from engine.states import Reason, Status
from watcher.cycle import Cycle
from watcher.settings import Settings


@pytest.mark.needs("row_locks")  # SQLite looks at a constraint only when its own column changes, and lets it run
def test_a_ready_row_that_cannot_be_claimed_holds_nobody_up(db: Database) -> None:
    """Inserted as ready, so nobody adopts it; and the database refuses the claim that it is part of."""
    define(db)
    flow_id = start(db)
    columns = "task_flow_id, task_exec_seq, task_id, task_seq, task_priority, wait_count, parameters"
    bypass_checks(db, f"INSERT INTO kr_task_stat({columns}) VALUES ('f', 1, 'w', 1, -99, 0, '{{}}')")
    cycle = Cycle(db, enlisted(db), Settings())
    taken = cycle.turn([], 10).claimed or cycle.turn([], 10).claimed
    assert [item.key for item in taken] == [Key(flow_id, 1)]
    row = task(db, ("f", 1))
    assert (row.exec_status, row.reason, row.task_priority) == (Status.SUSPEND, Reason.BAD_ROW, -20)
    assert "-99" in row.error
