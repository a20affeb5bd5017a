"""How many flows of a workflow may be under way: queued, refused, or the oldest cancelled; exact over registers."""

from __future__ import annotations

from typing import Any

import pytest
from factories import (
    by_hand,
    claim,
    define,
    define_graph,
    enlisted,
    finish,
    flow,
    rows,
    run_all,
    run_out,
    settle_as,
    start,
    states,
    sweep,
    task,
    tasks,
    together,
)
from invariants import hold
from sqlalchemy import delete, insert, update

from engine.control import recover
from engine.database import Database, open_database
from engine.errors import PenstockError, TooManyFlows
from engine.flows import Registered, Registration, register
from engine.keys import Key
from engine.limits import flow_limits
from engine.lookout import look
from engine.settle import Settlement
from engine.states import Reason, Status
from engine.tables import flow_stat, task_stat, wait, workflow


def limited(db: Database, most: int | None, on_limit: str | None = None, task_id: str = "w", steps: int = 1) -> None:
    """A workflow of which so many flows may be under way."""
    define(db, task_id, steps)
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id=task_id, max_active_flows=most, on_limit=on_limit))


def change(db: Database, **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(update(workflow).values(**columns))


def start_many(db: Database, count: int, task_id: str = "w", **wish: Any) -> list[Any]:
    """Register so many flows in one transaction; the answers, in order."""
    wishes = [Registration(task_id, **wish) for _ in range(count)]
    answers = db.transact(lambda conn: register(conn, db, wishes))
    return [answers[wish.flow_id] for wish in wishes]


def ready(db: Database) -> set[str]:
    """Flows that have a task which is ready or runs."""
    return {row.task_flow_id for row in rows(db, task_stat) if row.exec_status in (0, 1) and row.wait_count == 0}


def queued(db: Database) -> set[str]:
    return {row.task_flow_id for row in rows(db, wait) if row.state == "open"}


def end(db: Database, *flow_ids: str) -> None:
    """These flows come to their end, and no other moves."""
    for item in claim(db, 500):
        if item.key.flow_id in flow_ids:
            finish(db, item)
        else:
            settle_as(db, [Settlement(item, "release")])


@pytest.fixture(autouse=True)
def watched(db: Database) -> None:
    enlisted(db)


# --- queue ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_limit", [None, "queue"])
def test_ten_in_one_commit_where_three_may_run(db: Database, on_limit: str | None) -> None:
    limited(db, 3, on_limit)
    flows = [answer.flow_id for answer in start_many(db, 10)]
    assert ready(db) == set(flows[:3])
    assert queued(db) == set(flows[3:])
    held = tasks(db, flows[3])[0]
    assert (held.exec_status, held.wait_count) == (0, 1)
    [turn] = [row for row in rows(db, wait) if row.task_flow_id == flows[3]]
    assert (turn.kind, turn.name, turn.state, turn.task_exec_seq) == ("turn", "w", "open", 1)
    hold(db)
    assert flow_limits.give_turns(db) == 0, "nothing has ended"
    end(db, flows[1])
    assert flow_limits.give_turns(db) == 1
    assert ready(db) == {flows[0], flows[2], flows[3]}, "the one that has waited longest"
    end(db, flows[0], flows[2], flows[3])
    assert flow_limits.give_turns(db) == 3
    assert ready(db) == set(flows[4:7])
    hold(db)
    for _ in range(3):
        run_all(db)
        flow_limits.give_turns(db)
    assert {flow(db, flow_id).flow_status for flow_id in flows} == {Status.FINISH}
    hold(db, at_rest=True)


def test_never_more_than_the_limit_over_a_whole_run(db: Database) -> None:
    limited(db, 2, steps=3)
    flows = [answer.flow_id for answer in start_many(db, 9)]
    seen: set[str] = set()
    for _ in range(200):
        flow_limits.give_turns(db)
        if not (claimed := claim(db, 3)):
            break
        under_way = {row.task_flow_id for row in rows(db, flow_stat) if row.flow_status in (0, 1, 2)} - queued(db)
        assert len(under_way) <= 2
        seen |= under_way
        finish(db, *claimed)
    assert seen == set(flows)
    assert {flow(db, flow_id).flow_status for flow_id in flows} == {Status.FINISH}
    hold(db, at_rest=True)


def test_nobody_overtakes_the_queue(db: Database) -> None:
    limited(db, 1)
    first, second = start(db), start(db)
    end(db, first)
    third = start(db)  # there is room, but nobody has given the turn yet
    assert queued(db) == {second, third}
    assert flow_limits.give_turns(db) == 1
    assert (ready(db), queued(db)) == ({second}, {third})


def test_each_first_task_of_a_queued_flow_waits_its_turn(db: Database) -> None:
    define_graph(db, "w", [(1, 3), (2, 3), (3, 4)])
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", max_active_flows=1))
    first, second = start(db), start(db)
    assert states(db, second) == [(0, 1), (0, 1), (0, 2), (0, 1)]
    hold(db)
    end(db, first)
    end(db, first)
    end(db, first)
    assert flow_limits.give_turns(db) == 1
    assert states(db, second) == [(0, 0), (0, 0), (0, 2), (0, 1)]
    assert {row.state for row in rows(db, wait)} == {"arrived"}
    hold(db)
    run_out(db)
    assert flow(db, second).flow_status == Status.FINISH


def test_a_flow_that_needs_a_person_keeps_its_place(db: Database) -> None:
    limited(db, 1)
    first, second = start(db), start(db)
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason="failed", error="x")])
    assert flow_limits.give_turns(db) == 0
    recover(db, first, actor="me")
    run_all(db)
    assert flow_limits.give_turns(db) == 1
    assert ready(db) == {second}


def test_a_queued_flow_that_a_person_ends_takes_no_place(db: Database) -> None:
    limited(db, 1)
    first, second, third = start(db), start(db), start(db)
    by_hand(db, Key(second, 1), Status.IGNORE)
    sweep(db)
    assert flow(db, second).flow_status == Status.FINISH
    end(db, first)
    for _ in range(2):
        flow_limits.give_turns(db)
    assert ready(db) == {third}
    assert states(db, second) == [(9, -1)]
    assert queued(db) == set()


def test_a_paused_queued_flow_gets_its_turn_and_stays_paused(db: Database) -> None:
    limited(db, 1)
    first, second = start(db), start(db)
    by_hand(db, Key(second, 1), Status.SUSPEND)
    sweep(db)
    end(db, first)
    assert flow_limits.give_turns(db) == 1
    assert (task(db, (second, 1)).exec_status, task(db, (second, 1)).wait_count) == (2, 0)
    by_hand(db, Key(second, 1), Status.WAIT)
    run_out(db)
    assert flow(db, second).flow_status == Status.FINISH


def test_a_changed_limit_is_obeyed(db: Database) -> None:
    limited(db, 1)
    flows = [answer.flow_id for answer in start_many(db, 8)]
    change(db, max_active_flows=3)
    assert flow_limits.give_turns(db) == 2
    assert ready(db) == set(flows[:3])
    change(db, max_active_flows=1)
    end(db, flows[0])
    assert flow_limits.give_turns(db) == 0
    change(db, max_active_flows=None)
    assert flow_limits.give_turns(db) == 5, "no limit any more"
    assert queued(db) == set()
    assert len(start_many(db, 5)) == 5
    assert queued(db) == set()
    hold(db)


def test_the_queue_of_a_workflow_whose_row_was_deleted_is_let_go(db: Database) -> None:
    limited(db, 1)
    flows = [answer.flow_id for answer in start_many(db, 3)]
    with db.transaction() as conn:
        conn.execute(delete(workflow))
    assert flow_limits.give_turns(db) == 2
    assert ready(db) == set(flows)


def test_workflows_do_not_mind_each_other(db: Database) -> None:
    for task_id in ("a", "b", "c"):
        limited(db, 1, task_id=task_id)
    define(db, "free")
    flows = {task_id: [answer.flow_id for answer in start_many(db, 3, task_id)] for task_id in ("a", "b", "c", "free")}
    assert len(ready(db)) == 3 + 3
    end(db, flows["a"][0], flows["c"][0])
    assert flow_limits.give_turns(db) == 2
    assert ready(db) >= {flows["a"][1], flows["c"][1], flows["b"][0]}
    assert queued(db) == {flows["a"][2], flows["b"][1], flows["b"][2], flows["c"][2]}


def test_the_lookout_knows_when_there_is_a_queue(db: Database) -> None:
    def turns() -> bool:
        with db.read() as conn:
            return look(conn, ["default"]).turns

    limited(db, 1)
    first = start(db)
    assert not turns()
    start(db)
    assert turns()
    end(db, first)
    flow_limits.give_turns(db)
    assert not turns()


# --- refuse -----------------------------------------------------------------------------------------------------------


def test_a_refusal_spoils_its_own_registration_alone(db: Database) -> None:
    limited(db, 2, "refuse")
    define(db, "other")
    wishes = [Registration(task_id) for task_id in ("w", "other", "w", "w", "other", "w")]
    answers = db.transact(lambda conn: register(conn, db, wishes))
    assert [isinstance(answers[wish.flow_id], Registered) for wish in wishes] == [True, True, True, False, True, False]
    refused = answers[wishes[3].flow_id]
    assert isinstance(refused, TooManyFlows)
    assert "'w'" in str(refused)
    assert "2" in str(refused)
    there = {wish.flow_id for wish in wishes if isinstance(answers[wish.flow_id], Registered)}
    assert {row.task_flow_id for row in rows(db, flow_stat)} == there
    assert {row.task_flow_id for row in rows(db, task_stat)} == there
    run_all(db)
    assert isinstance(start_many(db, 1)[0], Registered)
    hold(db)


def test_a_replay_is_not_counted_and_a_refused_key_is_free(db: Database) -> None:
    limited(db, 1, "refuse")
    [first] = start_many(db, 1, idempotency_key="k1")
    [again] = start_many(db, 1, idempotency_key="k1")
    assert (again.flow_id, again.replayed) == (first.flow_id, True)
    [other] = start_many(db, 1, idempotency_key="k2")
    assert isinstance(other, TooManyFlows)
    run_all(db)
    [other] = start_many(db, 1, idempotency_key="k2")
    assert (isinstance(other, Registered), other.replayed) == (True, False)
    [again] = start_many(db, 1, idempotency_key="k1")
    assert (again.flow_id, again.replayed) == (first.flow_id, True)


# --- cancel the oldest ------------------------------------------------------------------------------------------------


def test_the_oldest_is_cancelled(db: Database) -> None:
    limited(db, 2, "cancel oldest", steps=2)
    first = start(db)
    finish(db, *claim(db))
    second = start(db)
    running = claim(db, 1)[0]
    assert running.key == Key(first, 2)
    third = start(db)
    assert [(row.exec_status, row.wait_count, row.reason) for row in tasks(db, first)] == [
        (3, -1, None),
        (9, -1, Reason.CANCELLED),
    ]
    assert flow(db, first).reason == Reason.CANCELLED
    assert ready(db) == {second, third}
    finish(db, running)
    assert states(db, first) == [(3, -1), (9, -1)], "what it answers comes too late"
    run_out(db)
    assert {flow(db, flow_id).flow_status for flow_id in (second, third)} == {Status.FINISH}


def test_of_many_in_one_commit_the_last_remain(db: Database) -> None:
    limited(db, 3, "cancel oldest")
    old = [answer.flow_id for answer in start_many(db, 3)]
    flows = [answer.flow_id for answer in start_many(db, 10)]
    assert ready(db) == set(flows[-3:])
    assert {flow(db, flow_id).reason for flow_id in old + flows[:-3]} == {Reason.CANCELLED}


def test_a_queue_from_before_waits_on(db: Database) -> None:
    limited(db, 1)
    start_many(db, 3)
    change(db, on_limit="cancel oldest")
    newest = start(db)
    for _ in range(5):
        flow_limits.give_turns(db)
    assert newest in ready(db)
    assert len(ready(db)) == 1
    hold(db)


# --- races ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_limit", ["queue", "refuse", "cancel oldest"])
def test_registers_that_race_never_see_the_same_place(db: Database, on_limit: str) -> None:
    limited(db, 5, on_limit)
    others = [open_database(db.url.render_as_string(hide_password=False)) for _ in range(4)]
    together(*[lambda other=other: [start_many(other, 3) for _ in range(4)] for other in others])
    for other in others:
        other.close()
    assert len(ready(db)) == 5
    there = rows(db, flow_stat)
    assert len(there) == (5 if on_limit == "refuse" else 48)
    assert len(queued(db)) == (43 if on_limit == "queue" else 0)
    assert len([row for row in there if row.reason == Reason.CANCELLED]) == (43 if on_limit == "cancel oldest" else 0)


def test_sweeps_that_race_give_each_turn_once(db: Database) -> None:
    limited(db, 4)
    flows = [answer.flow_id for answer in start_many(db, 20)]
    end(db, *flows[:3])
    others = [open_database(db.url.render_as_string(hide_password=False)) for _ in range(4)]
    together(*[lambda other=other: flow_limits.give_turns(other) for other in others])
    for other in others:
        other.close()
    assert ready(db) == set(flows[3:7])
    hold(db)


@pytest.mark.parametrize("columns", [{"max_active_flows": 0}, {"max_active_flows": -1}, {"on_limit": "shrug"}])
def test_nonsense_is_refused_by_the_table(db: Database, columns: dict[str, Any]) -> None:
    with pytest.raises(PenstockError), db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", **columns))
