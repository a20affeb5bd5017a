"""Parts of the logs of tries that run: kept, taken away with their tries, and swept up where nobody does that."""

from __future__ import annotations

import pytest
from factories import claim, define, enlisted, kill_lease, rows, settle_as, sql, start

from engine import fsck, supervise, task_logs
from engine.claimed import ClaimedTask
from engine.database import Database
from engine.fsck.repairing import repair
from engine.keys import Fence
from engine.settle import Settlement
from engine.tables import attempt, task_log
from watcher.cycle import Cycle
from watcher.settings import Settings


@pytest.fixture
def held(db: Database) -> list[ClaimedTask]:
    """Two tasks that run."""
    enlisted(db)
    define(db)
    start(db, flow_id="a")
    start(db, flow_id="b")
    return sorted(claim(db))


def parts(db: Database) -> list[tuple[str, str]]:
    return [(row.task_flow_id, row.text) for row in rows(db, task_log)]


def add(db: Database, *said: tuple[ClaimedTask, str]) -> None:
    db.transact(lambda conn: task_logs.add(conn, {task.fence: text for task, text in said}))


def long_ago(db: Database) -> None:
    sql(db, "UPDATE kr_task_log SET written_ts = '2001-01-01 00:00:00'")


def test_settling_takes_away_what_a_watcher_has_written_of_the_try(db: Database, held: list[ClaimedTask]) -> None:
    """Its whole log comes with its outcome, and the parts of others stay."""
    add(db, (held[0], "one\n"), (held[1], "uno\n"))
    add(db, (held[0], "two\n"))
    cycle = Cycle(db, "watcher-1", Settings())
    cycle.parted = {held[0].fence}
    cycle.turn([Settlement(held[0], "finish", log="one\ntwo\nthree")], 0)
    assert parts(db) == [("b", "uno\n")]
    assert [row.log for row in rows(db, attempt)] == ["one\ntwo\nthree"]


def test_what_is_taken_is_of_these_tries_alone(db: Database, held: list[ClaimedTask]) -> None:
    """One claim takes many tasks, so a later try of one task may have the claim of another one's."""
    later = held[0]._replace(claim_id="later")
    add(db, (held[0], "first\n"), (later, "again\n"), (held[1]._replace(claim_id="later"), "b\n"))
    fences = [held[0].fence, Fence("b", 1, "later")]
    assert set(db.transact(lambda conn: task_logs.take(conn, fences)).values()) == {"first\n", "b\n"}
    assert parts(db) == [("a", "again\n")]


def test_a_lost_try_keeps_its_parts_until_its_outcome_comes_after_all(db: Database, held: list[ClaimedTask]) -> None:
    add(db, (held[0], "so far\n"))
    kill_lease(db)
    supervise.reap(db, grace_s=0)
    assert parts(db) == []
    assert [(row.outcome, row.log) for row in rows(db, attempt)] == [("lost", "so far\n"), ("lost", None)]
    settle_as(db, [Settlement(held[0], "finish", log="so far\nand on")])
    assert next((row.outcome, row.log) for row in rows(db, attempt)) == ("finished", "so far\nand on")


def test_an_outcome_without_a_log_leaves_what_was_kept_of_it(db: Database, held: list[ClaimedTask]) -> None:
    add(db, (held[0], "so far\n"))
    kill_lease(db)
    supervise.reap(db, grace_s=0)
    settle_as(db, [Settlement(held[0], "suspend", reason="failed", error="x")])
    assert next((row.outcome, row.log) for row in rows(db, attempt)) == ("failed", "so far\n")


def test_what_nobody_takes_is_swept_up(db: Database, held: list[ClaimedTask]) -> None:
    """A task was ended by hand and its watcher died: what it said belongs to its try. Others that run keep theirs."""
    add(db, (held[0], "one\n"), (held[1], "uno\n"))
    add(db, (held[0], "two\n"))
    sql(db, "UPDATE kr_task_stat SET exec_status = 9, wait_count = -1 WHERE task_flow_id = 'a'")
    settle_as(db, [Settlement(held[0], "finish")])
    assert task_logs.sweep(db) == 0, "its watcher may be about to"
    assert fsck.check(db, ["L1"]) == []
    long_ago(db)
    (found,) = fsck.check(db, ["L1"])
    assert [(row.flow_id, row.facts["parts"]) for row in found.violations] == [("a", 2)]
    assert [done.outcome.value for done in repair(db, [found])] == ["repaired"]
    assert parts(db) == [("b", "uno\n")]
    assert [(row.outcome, row.log) for row in rows(db, attempt)] == [("stale", "one\ntwo\n")]
    assert task_logs.sweep(db) == 0
