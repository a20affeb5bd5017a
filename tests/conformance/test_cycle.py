"""Register, claim, settle, unlock: the cycle of the engine on every database."""

from __future__ import annotations

from factories import claim, define, define_graph, enlisted, finish, flow, run_all, start, states, task, tasks

from engine.database import Database
from engine.keys import Key
from engine.states import Status


def test_register_copies_a_definition_into_a_chain(db: Database) -> None:
    define(db, steps=3, task_priority=7)
    flow_id = start(db)
    rows = tasks(db, flow_id)
    assert [(row.task_exec_seq, row.depends_task_exec_seq, row.exec_status) for row in rows] == [
        (1, -1, 0),
        (2, 1, 0),
        (3, 2, 0),
    ]
    assert [row.wait_count for row in rows] == [0, 1, 1]
    assert {row.task_priority for row in rows} == {7}
    assert all(row.registered_ts is not None for row in rows)
    assert all((row.started_ts, row.finished_ts, row.suspended_ts) == (None, None, None) for row in rows)


def test_a_chain_runs_in_order(db: Database) -> None:
    define(db, steps=5)
    flow_id = start(db)
    enlisted(db)
    assert run_all(db) == [Key(flow_id, seq) for seq in range(1, 6)]
    assert states(db, flow_id) == [(3, -1)] * 5
    done = flow(db, flow_id)
    assert (done.flow_status, done.finish_count, done.task_count) == (Status.FINISH, 5, 5)
    assert done.started_ts <= done.finished_ts


def test_a_join_opens_after_its_last_parent_only(db: Database) -> None:
    define_graph(db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)])
    flow_id = start(db, "diamond")
    enlisted(db)
    finish(db, *claim(db))
    assert states(db, flow_id) == [(3, -1), (0, 0), (0, 0), (0, 2)]
    left, right = claim(db)
    finish(db, left)
    assert task(db, Key(flow_id, 4)).wait_count == 1
    finish(db, right)
    assert task(db, Key(flow_id, 4)).wait_count == 0
    assert run_all(db) == [Key(flow_id, 4)]
    assert flow(db, flow_id).flow_status == Status.FINISH
