"""Why a task is where it is: each way of being held up is made with the engine's own calls, and has to be told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from awaiting import awaiting
from factories import (
    by_hand,
    claim,
    define,
    define_graph,
    finish,
    insert_task,
    kill_lease,
    run_all,
    settle_as,
    sql,
    start,
    sweep,
    task,
)
from sqlalchemy import insert, select, update

from engine import control
from engine.access import Actor, Reach
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.errors import UnknownFlow, UnknownTask
from engine.explain import CAUSES, FlowWhy, TaskWhy, explain
from engine.keys import Key
from engine.leases import enlist
from engine.limits.room import Limits
from engine.settle import Settlement
from engine.tables import run_edge, task_option, watcher, workflow
from engine.views import waiting
from engine.wishes import WaitWish

pytestmark = pytest.mark.by_turns

ANN = Actor("ann")
LIMITED = Limits(from_rows=True)


@pytest.fixture(autouse=True)
def live_watcher(db: Database) -> None:
    with db.transaction() as conn:
        enlist(conn, "watcher-1", 60.0, slots=10, queues=["default", "mail"], programs=["Noop", "Other"])


def why(db: Database, flow_id: str, seq: int | None = None) -> FlowWhy:
    with db.read() as conn:
        return explain(conn, flow_id, seq)


def told(db: Database, key: Key) -> TaskWhy:
    (only,) = why(db, *key).tasks
    return only


def of_view(db: Database, key: Key) -> list[str]:
    mine = waiting.c.task_flow_id == key.flow_id, waiting.c.task_exec_seq == key.seq
    with db.read() as conn:
        return sorted(conn.scalars(select(waiting.c.cause).where(*mine)))


def option(db: Database, seq: int = 1, **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id="w", task_seq=seq, **columns))


def do(db: Database, _verb: str, _subject: str, _reason: str | None = None, **arguments: Any) -> None:
    carry_out(db, Ask(_verb, _subject, arguments, _reason), ANN)


# --- the ways of being held up ----------------------------------------------------------------------------------------


def behind_a_running_task(db: Database) -> Key:
    define(db, steps=2)
    flow_id = start(db)
    claim(db)
    return Key(flow_id, 2)


def behind_a_failed_task(db: Database) -> Key:
    key = behind_a_running_task(db)
    settle_as(db, [Settlement(_held(db, key.flow_id), "suspend", reason="failed", error="no such file")])
    return key


def _held(db: Database, flow_id: str) -> Any:
    """What watcher-1 holds of this flow, as it was claimed."""
    from engine.claimed import claimed_under

    with db.read() as conn:
        (held,) = claimed_under(conn, task(db, (flow_id, 1)).claim_id)
    return held


def joining_two(db: Database) -> Key:
    """One of two predecessors is over; the other one's edge stands in kr_task_edge."""
    define_graph(db, "w", [(1, 3), (2, 3)])
    flow_id = start(db)
    finish(db, claim(db, 1)[0])
    return Key(flow_id, 3)


def behind_a_condition(db: Database) -> Key:
    define_graph(db, "w", [(1, 2)])
    sql(db, "UPDATE ms_task_edge SET only_if = 'true'")
    return Key(start(db), 2)


def depending_on_nothing(db: Database) -> Key:
    """The row that it names was deleted after it had been counted."""
    define(db, steps=2)
    flow_id = start(db)
    sql(db, "DELETE FROM kr_task_stat WHERE task_exec_seq = 1")
    return Key(flow_id, 2)


def awaiting_a_time(db: Database) -> Key:
    define(db)
    return awaiting(db, "timer", delay_s=3600)


def awaiting_a_message(db: Database) -> Key:
    define(db)
    return awaiting(db, "message", name="paid", key="order-7", delay_s=60)


def awaiting_approval(db: Database) -> Key:
    define(db)
    return awaiting(db, "approval", details=json.dumps({"prompt": "Ship?", "candidates": ["ann", "bob"]}))


def awaiting_a_form(db: Database) -> Key:
    define(db)
    return awaiting(db, "form", details="{}")


def awaiting_a_call_back(db: Database) -> Key:
    define(db)
    return awaiting(db, "callback", key="A" * 43)


def awaiting_a_sub_flow(db: Database) -> Key:
    define(db)
    define(db, "child")
    key = Key(start(db), 1)
    settle_as(db, [Settlement(claim(db)[0], "await", wait=WaitWish("flow", "child"))])
    return key


def awaiting_its_turn(db: Database) -> Key:
    define(db)
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", max_active_flows=1))
    start(db)
    start(db)
    return Key(start(db), 1)


def between_tries(db: Database) -> Key:
    define(db)
    option(db, max_attempts=3)
    key = Key(start(db), 1)
    settle_as(db, [Settlement(claim(db)[0], "retry", error="connection refused", delay_s=600)])
    return key


def between_pokes(db: Database) -> Key:
    define(db)
    key = Key(start(db), 1)
    settle_as(db, [Settlement(claim(db)[0], "again", delay_s=60, poke_s=3600)])
    return key


def due_by_hand(db: Database) -> Key:
    define(db)
    key = Key(start(db), 1)
    sql(db, "UPDATE kr_task_stat SET wait_count = NULL, due_ts = '2990-01-01 00:00:00'")
    sweep(db)
    return key


def made_by_hand(db: Database) -> Key:
    define(db)
    return insert_task(db, "mine")


def in_the_queue(db: Database) -> Key:
    define(db)
    start(db)
    return Key(start(db), 1)


def behind_a_limit(db: Database) -> Key:
    define(db)
    do(db, "set_limit", "w", scope="workflow", max_running=1)
    flow_id = start(db)
    assert [item.key.flow_id for item in claim(db, limits=LIMITED)] == [flow_id]
    second = Key(start(db), 1)
    assert claim(db, limits=LIMITED) == []
    return second


def behind_the_limit_of_every_key(db: Database) -> Key:
    define(db)
    option(db, limit_key="customer-{params.N}")
    do(db, "set_limit", "*", scope="key", max_running=1)
    start(db, parameters={"N": 7})
    assert len(claim(db, limits=LIMITED)) == 1
    return Key(start(db, parameters={"N": 7}), 1)


def behind_a_rate(db: Database) -> Key:
    define(db)
    do(db, "set_limit", "default", scope="queue", rate=1, rate_period_s=3600)
    start(db)
    assert len(claim(db, limits=LIMITED)) == 1
    return Key(start(db), 1)


def in_a_paused_queue(db: Database) -> Key:
    define(db)
    do(db, "pause_queue", "default", "the provider is down")
    return Key(start(db), 1)


def in_a_paused_workflow(db: Database) -> Key:
    define(db)
    do(db, "pause_workflow", "w")
    return Key(start(db), 1)


def in_a_queue_that_nobody_serves(db: Database) -> Key:
    define(db)
    option(db, queue="mai")
    return Key(start(db), 1)


def of_a_program_that_nobody_has(db: Database) -> Key:
    define(db, program="Noo")
    return Key(start(db), 1)


def exclusive_and_still_held(db: Database) -> Key:
    define(db)
    option(db, is_exclusive=True, executor="process")
    key = Key(start(db), 1)
    claim(db)
    by_hand(db, key, 0)
    assert claim(db) == []
    return key


def running(db: Database) -> Key:
    define(db)
    option(db, max_attempts=3, timeout_s=90)
    key = Key(start(db), 1)
    claim(db)
    return key


def held_by_the_dead(db: Database) -> Key:
    key = running(db)
    kill_lease(db)
    return key


def failed(db: Database) -> Key:
    return Key(behind_a_failed_task(db).flow_id, 1)


def paused(db: Database) -> Key:
    define(db)
    key = Key(start(db), 1)
    control.pause(db, key.flow_id, actor="ann", note="look at the data first")
    return key


def paused_by_sql(db: Database) -> Key:
    define(db)
    key = Key(start(db), 1)
    by_hand(db, key, 2)
    sweep(db)
    return key


def paused_behind_another(db: Database) -> Key:
    """Two causes: resuming it alone does not let it run."""
    key = behind_a_running_task(db)
    control.pause(db, key.flow_id, [2], actor="ann")
    return key


def lost_count(db: Database) -> Key:
    define(db)
    key = Key(start(db), 1)
    sql(db, "UPDATE kr_task_stat SET wait_count = 1")
    return key


@dataclass(frozen=True)
class Case:
    """How a task comes to be held up, and what has to be told: its causes, and words of the first one."""

    make: Callable[[Database], Key]
    causes: list[str]
    what: str
    unblocks: str


CASES = [
    Case(behind_a_running_task, ["dependency"], r"task 1 \(Noop\) has to end first, and is RUNNING", "task 1"),
    Case(behind_a_failed_task, ["dependency"], "task 1 .* is SUSPEND, failed", "recover or resume task 1"),
    Case(joining_two, ["dependency"], "task 2 .* has to end first, and is WAIT", "task 2"),
    Case(behind_a_condition, ["dependency"], "task 1 .* is WAIT", "task 1"),
    Case(depending_on_nothing, ["dependency"], "task 1 .* the flow has no such task", "insert that task"),
    Case(awaiting_a_time, ["timer"], r"a time at 20\d\d-", "its time must come"),
    Case(awaiting_a_message, ["message"], "'paid' with the key 'order-7', until 20", "send a message 'paid'"),
    Case(awaiting_approval, ["approval"], "an approval by ann, bob", "answer wait "),
    Case(awaiting_a_form, ["form"], "a form by anybody who may", "answer wait "),
    Case(awaiting_a_call_back, ["callback"], "a call-back", "token"),
    Case(awaiting_a_sub_flow, ["flow"], r"sub-flow \S+ \(child\) has to end first, and is WAIT", "penstock why "),
    Case(awaiting_its_turn, ["turn"], "rank 2.*may have 1 flows", "max_active_flows"),
    Case(between_tries, ["retry"], "try 1 of 3 failed: connection refused; the next is due at 20", "its time"),
    Case(between_pokes, ["poke"], "looks again at 20.* gives up at 20", "its time must come"),
    Case(due_by_hand, ["due"], "before a time at 2990-01-01", "due_ts"),
    Case(made_by_hand, ["by hand"], "by SQL", "within a poll"),
    Case(in_the_queue, ["queued"], "rank 2 in queue 'default', priority 0; 0 of 10 workers are busy", "worker"),
    Case(behind_a_limit, ["limit", "queued"], r"workflow 'w' may run 1 at once; 1 are running: \S+/1", "must end"),
    Case(behind_the_limit_of_every_key, ["limit", "queued"], "key 'customer-7' may run 1", "must end"),
    Case(behind_a_rate, ["rate", "queued"], "rate of queue 'default' lets the next start at 20", "its time"),
    Case(in_a_paused_queue, ["paused", "queued"], "'default' was paused by ann: the provider", "resume the queue"),
    Case(in_a_paused_workflow, ["paused", "queued"], "workflow 'w' was paused by ann", "resume the workflow"),
    Case(in_a_queue_that_nobody_serves, ["no watcher", "queued"], "serves the queue 'mai'", "--queue mai"),
    Case(of_a_program_that_nobody_has, ["no program", "queued"], "has the program 'Noo'", "install its plugin"),
    Case(exclusive_and_still_held, ["exclusive", "queued"], "watcher watcher-1 still has", "must stop"),
    Case(running, ["running"], r"runs since 20\S+ on watcher watcher-1 \(try 1 of 3, lease until 20", "may for 90 s"),
    Case(held_by_the_dead, ["silent"], "watcher-1 has no valid lease since 20", "sets it back"),
    Case(failed, ["suspended"], r"needs a person \(failed\): no such file", "retry it"),
    Case(paused, ["suspended"], "was paused by ann: look at the data first", "resume it"),
    Case(paused_by_sql, ["suspended"], "was paused by sql", "resume it"),
    Case(paused_behind_another, ["dependency", "suspended"], "task 1 .* is RUNNING", "task 1"),
    Case(lost_count, ["uncounted"], "wait_count is 1, and nothing is found", "penstock fsck --repair"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.make.__name__)
def test_each_way_of_being_held_up_is_told(db: Database, case: Case) -> None:
    key = case.make(db)
    found = told(db, key)
    assert [cause.cause for cause in found.causes] == case.causes
    first = found.causes[0]
    assert re.search(case.what, first.what), first.what
    assert re.search(case.unblocks, first.unblocks), first.unblocks
    assert of_view(db, key) == sorted(cause for cause in case.causes if cause != "uncounted")
    json.dumps(why(db, *key).document())
    assert key.seq in [task.seq for task in why(db, key.flow_id).tasks], "the flow tells it as well"


def test_every_cause_has_a_case() -> None:
    assert {cause for case in CASES for cause in case.causes} == set(CAUSES)


# --- the facts --------------------------------------------------------------------------------------------------------


def test_the_holders_of_a_limit_are_named_and_its_end_helps(db: Database) -> None:
    key = behind_a_limit(db)
    facts = told(db, key).causes[0].facts
    assert facts["running"] == facts["max_running"] == 1
    (holder,) = facts["holders"]
    finish(db, _held(db, holder["flow_id"]))
    assert [cause.cause for cause in told(db, key).causes] == ["queued"]


def test_who_reaches_only_some_workflows_is_told_of_no_others(db: Database) -> None:
    define(db)
    define(db, "other")
    do(db, "set_limit", "default", scope="queue", max_running=1)
    other = start(db, "other")
    assert len(claim(db, limits=LIMITED)) == 1
    key = Key(start(db), 1)
    reach = Reach(("w",))
    with db.read() as conn:
        (mine,) = explain(conn, *key, within=reach).tasks
        assert (mine.causes[0].facts["running"], mine.causes[0].facts["holders"]) == (1, [])
        assert other not in json.dumps(mine.document())
        for seq in (None, 1):
            with pytest.raises(UnknownFlow):
                explain(conn, other, seq, within=reach)


def test_a_rank_is_that_of_the_claim(db: Database) -> None:
    define(db)
    flows = [start(db) for _ in range(4)] + [start(db, priority=-5)]
    ranks = {flow_id: told(db, Key(flow_id, 1)).causes[0].facts["rank"] for flow_id in flows}
    order = [item.key.flow_id for item in claim(db, 10)]
    assert sorted(ranks, key=lambda flow_id: ranks[flow_id]) == order
    assert sorted(ranks.values()) == [1, 2, 3, 4, 5]


def test_a_rank_is_not_counted_without_end(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.explain.standing.FAR", 2)
    monkeypatch.setattr("engine.explain.held_back.FAR", 2)
    define(db)
    *_, last = [start(db) for _ in range(3)]
    (cause,) = told(db, Key(last, 1)).causes
    assert (cause.facts.get("rank"), cause.facts["rank_is_beyond"]) == (None, 2)
    assert "beyond rank 2 in queue" in cause.what


def test_busy_workers_are_counted(db: Database) -> None:
    define(db)
    start(db)
    claim(db)
    facts = told(db, Key(start(db), 1)).causes[0].facts
    assert (facts["watchers"], facts["workers"], facts["busy"]) == (1, 10, 1)


@pytest.mark.parametrize("change", ["state", "wanted", "lease", "programs"])
def test_a_watcher_that_takes_nothing_more_is_no_watcher(db: Database, change: str) -> None:
    define(db)
    key = Key(start(db), 1)
    values = {
        "state": {"state": "draining"},
        "wanted": {"wanted": "drain"},
        "programs": {"programs": '["Noop", {"broken'},
    }
    if change == "lease":
        kill_lease(db)
    else:
        with db.transaction() as conn:
            conn.execute(update(watcher).values(values[change]))
    expected = "no program" if change == "programs" else "no watcher"
    assert [cause.cause for cause in told(db, key).causes] == [expected, "queued"]


def test_the_bottom_of_a_chain_is_told(db: Database) -> None:
    define_graph(db, "w", [(1, 3), (2, 3), (3, 4), (4, 5)])
    flow_id = start(db)
    settle_as(db, [Settlement(claim(db, 1)[0], "suspend", reason="failed", error="no such file")])
    found = told(db, Key(flow_id, 5))
    assert [cause.facts["seq"] for cause in found.causes] == [4]
    assert [(root.seq, root.causes[0].cause) for root in found.roots] == [(1, "suspended"), (2, "queued")]
    assert "no such file" in found.roots[0].words
    assert told(db, Key(flow_id, 1)).roots == ()


def test_an_edge_that_is_settled_holds_nothing_up(db: Database) -> None:
    """Of `any`, one taken edge is enough; what the other one is still to say is no cause."""
    define_graph(db, "w", [(1, 3), (2, 3)])
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id="w", task_seq=3, trigger_rule="any"))
    flow_id = start(db)
    assert sorted(cause.facts["seq"] for cause in told(db, Key(flow_id, 3)).causes) == [1, 2]
    finish(db, claim(db, 1)[0])
    assert [cause.cause for cause in told(db, Key(flow_id, 3)).causes] == ["queued"]


def test_a_loop_edge_is_nothing_that_is_awaited(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    with db.transaction() as conn:
        conn.execute(
            insert(run_edge).values(task_flow_id=flow_id, task_exec_seq=1, depends_task_exec_seq=2, kind="loop")
        )
        conn.execute(
            insert(run_edge).values(task_flow_id=flow_id, task_exec_seq=2, depends_task_exec_seq=2, kind="loop")
        )
    assert [cause.cause for cause in told(db, Key(flow_id, 1)).causes] == ["queued"]
    assert [cause.facts["seq"] for cause in told(db, Key(flow_id, 2)).causes] == [1]


def test_an_edge_with_a_condition_holds_up_until_that_is_worked_out(db: Database) -> None:
    key = behind_a_condition(db)
    sql(db, "UPDATE kr_task_stat SET exec_status = 3, wait_count = -1 WHERE task_exec_seq = 1")
    (cause,) = told(db, key).causes
    assert "is over, and its edge is not decided yet" in cause.what
    sql(db, "UPDATE kr_task_edge SET outcome = 'taken'")
    assert [cause.cause for cause in told(db, key).causes] == ["uncounted"]


@pytest.mark.parametrize("make", [behind_a_running_task, behind_a_condition])
def test_what_is_made_anew_holds_nothing_up(db: Database, make: Callable[[Database], Key]) -> None:
    key = make(db)
    sql(db, "UPDATE kr_task_stat SET exec_status = 9, wait_count = NULL, reason = 'superseded' WHERE task_exec_seq = 1")
    assert [cause.cause for cause in told(db, key).causes] == ["uncounted"]


def test_only_an_exclusive_task_waits_for_its_former_run(db: Database) -> None:
    define(db)
    key = Key(start(db), 1)
    claim(db)
    by_hand(db, key, 0)
    assert [cause.cause for cause in told(db, key).causes] == ["queued"]


def test_a_key_with_a_limit_of_its_own_has_no_other(db: Database) -> None:
    key = behind_the_limit_of_every_key(db)
    do(db, "set_limit", "customer-7", scope="key", max_running=2)
    assert [cause.cause for cause in told(db, key).causes] == ["queued"]
    do(db, "drop_limit", "customer-7", scope="key")
    assert [cause.cause for cause in told(db, key).causes] == ["limit", "queued"]


def test_a_limit_that_is_not_full_and_a_pause_of_another_hold_nothing_up(db: Database) -> None:
    define(db)
    option(db, limit_key="k")
    do(db, "set_limit", "w", scope="workflow", max_running=1)
    do(db, "pause_queue", "w")
    do(db, "pause_workflow", "default")
    do(db, "set_limit", "w", scope="key", max_running=0)
    assert [cause.cause for cause in told(db, Key(start(db), 1)).causes] == ["queued"]


def test_many_causes_are_counted_and_not_all_told(db: Database) -> None:
    define_graph(db, "w", [(before, 31) for before in range(1, 31)])
    found = told(db, Key(start(db), 31))
    assert (len(found.causes), found.hidden) == (20, 10)
    assert len(found.roots) == 10


@pytest.mark.parametrize("make", [between_tries, between_pokes, due_by_hand, awaiting_a_time])
def test_what_is_said_to_help_against_a_time_does(db: Database, make: Callable[[Database], Key]) -> None:
    key = make(db)
    (cause,) = told(db, key).causes
    assert "to a time that is past" in cause.unblocks
    table = "kr_wait" if "kr_wait" in cause.unblocks else "kr_task_stat"
    sql(db, f"UPDATE {table} SET due_ts = '2001-01-01 00:00:00' WHERE due_ts IS NOT NULL")
    sweep(db)
    assert [cause.cause for cause in told(db, key).causes] == ["queued"]


# --- flows ------------------------------------------------------------------------------------------------------------


def test_a_flow_tells_first_what_needs_a_person(db: Database) -> None:
    define_graph(db, "w", [(1, 4), (2, 4), (3, 4)])
    flow_id = start(db)
    _, second = claim(db, 2)
    settle_as(db, [Settlement(second, "suspend", reason="failed", error="x")])
    found = why(db, flow_id)
    assert [(task.seq, task.status) for task in found.tasks] == [
        (2, "SUSPEND"),
        (1, "RUNNING"),
        (3, "WAIT"),
        (4, "WAIT"),
    ]
    assert found.status == "SUSPEND"
    assert "1 of its tasks needs a person" in found.words


def test_a_flow_that_is_over_says_so(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    run_all(db)
    found = why(db, flow_id)
    assert (found.status, found.tasks) == ("FINISH", ())
    assert "nothing of it waits" in found.words
    over = told(db, Key(flow_id, 1))
    assert over.causes == ()
    assert over.words.startswith("task 1 (Noop) is over: FINISH at 20")


def test_a_task_that_was_finished_by_hand_has_not_told_yet(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    by_hand(db, Key(flow_id, 1), 9)
    assert "not been told yet" in told(db, Key(flow_id, 1)).words
    (cause,) = told(db, Key(flow_id, 2)).causes
    assert (cause.facts["status"], cause.unblocks) == ("IGNORE", "a watcher does so within a poll")


def test_only_so_many_tasks_are_told(db: Database) -> None:
    define(db, steps=5)
    flow_id = start(db)
    with db.read() as conn:
        found = explain(conn, flow_id, most=3)
    assert ([task.seq for task in found.tasks], found.more) == ([1, 2, 3], True)


def test_a_flow_of_rows_alone_is_told(db: Database) -> None:
    found = why(db, insert_task(db, "mine").flow_id)
    assert (found.task_id, found.status) == ("w", None)
    assert "inserted by hand" in found.words


def test_what_there_is_not_is_named(db: Database) -> None:
    define(db)
    flow_id = start(db)
    with pytest.raises(UnknownTask, match="has no task 2"):
        why(db, flow_id, 2)
    for seq in (None, 1):
        with pytest.raises(UnknownFlow, match="'nobody' does not exist"):
            why(db, "nobody", seq)
