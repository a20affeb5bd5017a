"""Sub-flows: a task that awaits a whole flow."""

from __future__ import annotations

import json
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
    kill_lease,
    rows,
    run_all,
    settle_as,
    sql,
    start,
    states,
    task,
    tasks,
    together,
)
from invariants import hold
from sqlalchemy import insert, select

from engine import inputs, supervise
from engine.claimed import ClaimedTask
from engine.database import Database, open_database
from engine.ending.closing import close_ended
from engine.flows import Registration, register
from engine.growth import subflows
from engine.keys import Key
from engine.settle import Settled, Settlement, Verdict, settle
from engine.states import Reason, Status
from engine.tables import flow_stat, run_edge, wait
from engine.wishes import WaitWish
from programs.catalogue import build_catalogue
from programs.contract import Call, program
from watcher.loop import Watcher
from watcher.settings import Settings


@pytest.fixture(autouse=True)
def enlist_watcher(db: Database) -> None:
    enlisted(db)


def asking(held: ClaimedTask, name: str = "child", **details: Any) -> Settlement:
    return Settlement(held, "await", wait=WaitWish("flow", name, details=json.dumps(details)))


def ask(db: Database, held: ClaimedTask, name: str = "child", **details: Any) -> Settled:
    return settle_as(db, [asking(held, name, **details)])


def flows_of(db: Database, task_id: str) -> list[Any]:
    with db.read() as conn:
        query = select(flow_stat).where(flow_stat.c.task_id == task_id).order_by(flow_stat.c.task_flow_id)
        return list(conn.execute(query))


def arrivals(db: Database, key: tuple[str, int]) -> list[inputs.Arrived]:
    with db.read() as conn:
        return inputs.arrivals_of(conn, Key(*key))


def pair(db: Database) -> tuple[str, str]:
    """A flow whose first task awaits a flow of two steps: the ids of both."""
    define(db, "parent", steps=2)
    define(db, "child", steps=2)
    flow_id = start(db, "parent")
    ask(db, claim(db)[0])
    return flow_id, flows_of(db, "child")[0].task_flow_id


# --- beginning --------------------------------------------------------------------------------------------------------


def test_a_task_that_awaits_a_flow_registers_it_in_the_same_transaction(db: Database) -> None:
    define(db, "parent", steps=2)
    define(db, "child", steps=2, param1_key="a", param1_value="0")
    flow_id = start(db, "parent")
    settled = ask(db, claim(db)[0], parameters={"a": 1}, run_key="monday", priority=-7)
    assert settled.verdicts == [Verdict.ACCEPTED]
    assert states(db, flow_id) == [(0, 1), (0, 1)]
    [child] = flows_of(db, "child")
    assert (child.parent_flow_id, child.parent_exec_seq, child.closing) == (flow_id, 1, 1)
    assert (json.loads(child.parameters), child.run_key, child.flow_priority) == ({"a": 1}, "monday", -7)
    assert [json.loads(row.parameters) for row in tasks(db, child.task_flow_id)] == [{"a": 1}] * 2
    [waiting] = rows(db, wait)
    assert (waiting.kind, waiting.name, waiting.correlation_key, waiting.state) == (
        "flow",
        "child",
        child.task_flow_id,
        "open",
    )
    assert flow(db, flow_id).closing is None
    hold(db, at_rest=False)


def test_the_end_of_the_flow_tells_the_task_its_result(db: Database) -> None:
    flow_id, child_id = pair(db)
    assert close_ended(db) == 0
    finish(db, *claim(db), result='"first"')
    assert close_ended(db) == 0, "it has not ended"
    finish(db, *claim(db), result='{"rows":3}')
    assert close_ended(db) == 1
    assert flow(db, child_id).closing == 2
    assert states(db, flow_id) == [(0, 0), (0, 1)]
    [came] = arrivals(db, (flow_id, 1))
    assert (came.kind, came.name, came.key, came.expired, came.by) == ("flow", "child", child_id, False, child_id)
    assert came.payload == {"flow_id": child_id, "status": 3, "reason": None, "result": {"rows": 3}}
    assert close_ended(db) == 0
    hold(db)
    [again] = claim(db)
    assert (again.key, again.claim_no, again.attempt) == (Key(flow_id, 1), 2, 1)
    finish(db, again)
    run_all(db)
    hold(db, at_rest=True)


def test_the_result_of_the_flow_wins_over_that_of_its_last_task(db: Database) -> None:
    flow_id, child_id = pair(db)
    sql(db, "UPDATE kr_flow_stat SET result = '[1]' WHERE task_flow_id = :flow", flow=child_id)
    for _ in range(2):
        finish(db, *claim(db), result="2")
    close_ended(db)
    assert arrivals(db, (flow_id, 1))[0].payload["result"] == [1]


@pytest.mark.parametrize(
    "edges, settled, expected",
    [
        ([(1, 2), (1, 3)], {}, "3"),
        ([(1, 3), (2, 3), (3, 4)], {}, "4"),
        ([(1, 2), (1, 3)], {3: 9}, "2"),
        ([(1, 2)], {1: 9, 2: 9}, None),
    ],
)
def test_the_last_result_is_that_of_the_last_finished_task_that_nothing_waits_for(
    db: Database, edges: list[tuple[int, int]], settled: dict[int, int], expected: str | None
) -> None:
    define_graph(db, "child", edges)
    child_id = start(db, "child")
    for seq, status in settled.items():
        by_hand(db, Key(child_id, seq), status)
    supervise.pass_on(db)
    while held := claim(db):
        for item in held:
            finish(db, item, result=str(item.key.seq))
    with db.read() as conn:
        assert subflows.last_results(conn, [child_id]).get(child_id) == expected


def test_a_loop_edge_does_not_hide_the_last_task(db: Database) -> None:
    define(db, "child", steps=2)
    child_id = start(db, "child")
    for _ in range(2):
        finish(db, *claim(db), result="7")
    with db.transaction() as conn:
        edge = {"task_flow_id": child_id, "task_exec_seq": 1, "depends_task_exec_seq": 2, "kind": "loop"}
        conn.execute(insert(run_edge).values(**edge, outcome="skipped"))
    with db.read() as conn:
        assert subflows.last_results(conn, [child_id, "no such flow"]) == {child_id: "7"}


def test_a_cancelled_flow_tells_so(db: Database) -> None:
    flow_id, child_id = pair(db)
    for seq in (1, 2):
        by_hand(db, Key(child_id, seq), 9)
    supervise.pass_on(db)
    cancelled = "UPDATE kr_flow_stat SET flow_status = 9, reason = 'cancelled' WHERE task_flow_id = :flow"
    sql(db, cancelled, flow=child_id)
    assert close_ended(db) == 1
    told = {"flow_id": child_id, "status": 9, "reason": "cancelled", "result": None}
    assert arrivals(db, (flow_id, 1))[0].payload == told


def test_a_suspended_task_of_the_flow_keeps_the_parent_waiting(db: Database) -> None:
    flow_id, child_id = pair(db)
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
    assert flow(db, child_id).flow_status == Status.SUSPEND
    assert close_ended(db) == 0
    assert states(db, flow_id)[0] == (0, 1)
    by_hand(db, Key(child_id, 1), 0)
    run_all(db)
    close_ended(db)
    assert states(db, flow_id)[0] == (0, 0)
    hold(db)


def test_only_flows_under_way_are_children(db: Database) -> None:
    flow_id, child_id = pair(db)
    with db.read() as conn:
        assert subflows.children_of(conn, [flow_id, "other"]) == {child_id: Key(flow_id, 1)}
        assert subflows.children_of(conn, [child_id]) == subflows.children_of(conn, []) == {}
    run_all(db)
    with db.read() as conn:
        assert subflows.children_of(conn, [flow_id]) == {}


def test_many_tasks_await_flows_in_one_batch(db: Database) -> None:
    define(db, "parent", steps=1)
    define(db, "child", steps=1)
    flow_ids = [start(db, "parent") for _ in range(60)]
    batch = [asking(item, "child" if place % 3 else "nobody") for place, item in enumerate(claim(db, 100))]
    assert set(settle_as(db, batch).verdicts) == {Verdict.ACCEPTED}
    assert len(flows_of(db, "child")) == 40
    assert [task(db, (flow_id, 1)).exec_status for flow_id in flow_ids].count(2) == 20
    finish(db, *claim(db, 100))
    assert close_ended(db) == 40
    assert len(claim(db, 100)) == 40
    hold(db)


# --- what cannot begin ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, details, words",
    [
        ("nobody", {}, "the sub-flow 'nobody': workflow 'nobody' has no rows in ms_task_definition"),
        ("round", {}, "the sub-flow 'round': workflow 'round': the edges go in a circle"),
        ("child", {"parameters": [1]}, "the sub-flow 'child': parameters: must be an object"),
        ("child", {"priority": 20}, "the sub-flow 'child': priority: 20 is outside -20 .. 19"),
        ("child", {"priority": "high"}, "the sub-flow 'child': priority: must be a whole number"),
        ("child", {"run_key": 7}, "the sub-flow 'child': run_key: must be a text"),
        ("child", {"run_key": ""}, "the sub-flow 'child': runKey: must have 1 to 256 characters"),
        ("child", {"param": {}}, "the sub-flow 'child': details: 'param' is none of parameters, run_key, priority"),
    ],
)
def test_a_flow_that_cannot_be_registered_suspends_the_task(
    db: Database, name: str, details: dict[str, Any], words: str
) -> None:
    define(db, "parent", steps=2)
    define(db, "child")
    define_graph(db, "round", [(1, 2), (2, 1)])
    flow_id = start(db, "parent")
    assert ask(db, claim(db)[0], name, **details).verdicts == [Verdict.ACCEPTED]
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.BAD_RESULT)
    assert row.error.startswith(words), row.error
    assert rows(db, wait) == []
    assert len(rows(db, flow_stat)) == 1
    hold(db, at_rest=True)


def test_sub_flows_go_twenty_levels_deep_and_no_further(db: Database) -> None:
    """A workflow that starts itself for ever."""
    define(db, "self")
    start(db, "self")
    for _ in range(30):
        if not (held := claim(db)):
            break
        ask(db, held[0], "self")
    flows = flows_of(db, "self")
    assert len(flows) == subflows.MAX_LEVELS == 20
    deepest = next(item for item in flows if item.flow_status == Status.SUSPEND)
    row = task(db, (deepest.task_flow_id, 1))
    assert (row.reason, row.error) == (
        Reason.BAD_RESULT,
        "the sub-flow 'self': it would be on level 21, and there are 20; does it start itself?",
    )
    hold(db, at_rest=True)


def test_a_circle_of_parents_made_by_hand_ends_the_search(db: Database) -> None:
    define(db, "self")
    flow_id = start(db, "self")
    sql(db, "UPDATE kr_flow_stat SET parent_flow_id = task_flow_id, parent_exec_seq = 1")
    ask(db, claim(db)[0], "self")
    assert task(db, (flow_id, 1)).exec_status == Status.SUSPEND


# --- fences, crashes, races -------------------------------------------------------------------------------------------


def test_a_superseded_claim_begins_no_flow(db: Database) -> None:
    define(db, "parent")
    define(db, "child")
    start(db, "parent")
    [old] = claim(db)
    kill_lease(db)
    supervise.reap(db, grace_s=60)
    enlisted(db, "watcher-2")
    [new] = claim(db, watcher_id="watcher-2")
    assert ask(db, old).verdicts == [Verdict.STALE]
    assert flows_of(db, "child") == []
    ask(db, new)
    assert ask(db, new).verdicts == [Verdict.ALREADY]
    assert len(flows_of(db, "child")) == 1
    hold(db)


def test_a_transaction_that_ends_before_its_commit_begins_no_flow(db: Database) -> None:
    define(db, "parent")
    define(db, "child")
    flow_id = start(db, "parent")
    [held] = claim(db)

    def ends_early() -> None:
        with db.transaction() as conn:
            settle(conn, db, "watcher-1", [asking(held)])
            raise RuntimeError("the process ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        ends_early()
    assert (flows_of(db, "child"), rows(db, wait), states(db, flow_id)) == ([], [], [(1, 0)])


def test_two_sweeps_at_once_tell_the_parent_once(db: Database) -> None:
    other = open_database(db.url.render_as_string(hide_password=False))
    other.can.skip_locked = db.can.skip_locked
    flow_id, _ = pair(db)
    run_all(db)
    together(lambda: close_ended(db), lambda: close_ended(other))
    assert states(db, flow_id) == [(0, 0), (0, 1)]
    assert [row.state for row in rows(db, wait)] == ["arrived"]
    hold(db)
    other.close()


def test_a_parent_that_waits_no_more_is_left_alone(db: Database) -> None:
    flow_id, child_id = pair(db)
    by_hand(db, Key(flow_id, 1), 9)
    supervise.pass_on(db)
    run_all(db)
    assert close_ended(db) in (0, 1)
    assert flow(db, child_id).closing == 2
    assert task(db, (flow_id, 1)).exec_status == Status.IGNORE


def test_a_parent_whose_flow_is_gone_is_left_alone(db: Database) -> None:
    define(db, "child")
    wish = Registration("child", parent=Key("gone", 1))
    db.transact(lambda conn: register(conn, db, [wish]))
    run_all(db)
    assert close_ended(db) == 1
    assert flow(db, wish.flow_id).closing == 2


# --- the program ------------------------------------------------------------------------------------------------------


@program("doubles")
def doubles(call: Call, n: int = 0) -> int:
    return 2 * n


def watch_until(db: Database, flow_id: str, status: int) -> None:
    for _ in range(20):
        Watcher(
            db, build_catalogue(autoload=False, extra=[doubles]), Settings(interval_s=0.05, heartbeat_in="thread")
        ).run(until_idle=True)
        close_ended(db)
        if flow(db, flow_id).flow_status == status:
            return
    raise AssertionError(f"flow_status is {flow(db, flow_id).flow_status}")


def test_the_program_finishes_with_the_result_of_the_flow(db: Database) -> None:
    define(db, "parent", program="SubFlow", param1_key="WORKFLOW", param1_value="child", param2_key="PARAMETERS",
           param2_value='{"n": 21}', param3_key="RUN_KEY", param3_value="k")  # fmt: skip
    define(db, "child", program="doubles", param1_key="n", param1_value="0")
    flow_id = start(db, "parent")
    watch_until(db, flow_id, 3)
    assert task(db, (flow_id, 1)).result == "42"
    assert [row.run_key for row in flows_of(db, "child")] == ["k"]
    hold(db, at_rest=True)


def test_the_program_fails_for_good_when_the_flow_was_cancelled(db: Database) -> None:
    define(db, "parent", program="SubFlow", param1_key="WORKFLOW", param1_value="child")
    define(db, "child", program="doubles")
    flow_id = start(db, "parent")
    ask(db, claim(db)[0])
    [child] = flows_of(db, "child")
    by_hand(db, Key(child.task_flow_id, 1), 9)
    supervise.pass_on(db)
    sql(db, "UPDATE kr_flow_stat SET flow_status = 9, reason = 'rolled back' WHERE task_id = 'child'")
    close_ended(db)
    watch_until(db, flow_id, 2)
    row = task(db, (flow_id, 1))
    assert (row.reason, row.error) == (
        Reason.FAILED,
        f"flow {child.task_flow_id} of child did not finish: rolled back",
    )
