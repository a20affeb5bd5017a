"""Both clients against a service over a socket, with a watcher beside it; and the client of a database alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from awaiting import awaiting, wait_of
from factories import define, define_graph, insert_task, sql, start
from patience import until

from engine import tokens
from engine.access import Actor
from engine.commands import Ask, carry_out
from engine.database import Database
from penstock import Call, Fail, Finish, Refused, program
from penstock.models import FlowId, Status
from penstock.sdk.errors import NoResult, StillGoing

pytestmark = pytest.mark.by_turns


@program("Add")
def add(ONE: int, OTHER: int = 1) -> int:
    return ONE + OTHER


@program("Break")
def broken(call: Call) -> Fail:
    return Fail("out of paper")


def test_register_and_wait_and_see_the_result(db: Database, any_client: Any, watch: Callable[..., Any]) -> None:
    define(db, "sum", steps=2, program="Add")
    watch(add)
    changes: list[Any] = []
    flow = any_client.register_and_wait(
        "sum", {"ONE": 3}, run_key="today", tags=["team=data"], priority=-1, timeout_s=30, on_change=changes.append
    )
    assert (flow.status, flow.run_key, flow.flow_priority, flow.tags) == (Status.FINISH, "today", -1, ("team=data",))
    assert changes[-1] == flow
    assert changes[0].finish_count <= changes[-1].finish_count == 2
    assert flow.has_ended
    assert isinstance(flow.finished_ts, datetime)
    assert flow.finished_ts.tzinfo is not None
    assert any_client.result(flow.id) == 4
    tasks = list(any_client.tasks(flow.id))
    assert [(task.seq, task.title, task.depends, task.result) for task in tasks] == [
        (1, "Add", (), 4),
        (2, "Add", (1,), 4),
    ]
    assert any_client.task(flow.id, 2) == tasks[1]


def test_a_suspended_flow_is_over_and_goes_on_when_it_is_retried(
    db: Database, any_client: Any, watch: Callable[..., Any]
) -> None:
    gone_wrong: list[int] = []

    @program("Once")
    def once(call: Call) -> Any:
        gone_wrong.append(1)
        return Fail("out of paper") if len(gone_wrong) == 1 else Finish("printed")

    define(db, "print", steps=2, program="Once")
    watch(once)
    flow = any_client.register_and_wait("print", timeout_s=30)
    assert (flow.status, flow.suspend_count) == (Status.SUSPEND, 1)
    with pytest.raises(NoResult, match="SUSPEND"):
        any_client.result(flow.id)
    (failed,) = any_client.tasks(flow.id, status="suspend")
    assert any_client.failures(limit=5) == [failed]
    assert (failed.reason, failed.error) == ("failed", "out of paper")
    assert [event.what for event in any_client.events(flow_id=flow.id)] == ["task suspended"]
    assert any_client.retry(flow.id, [1], reason="refilled") == [1]
    assert any_client.wait(flow.id, 30).has_finished
    (retried, *_) = any_client.events(flow_id=flow.id)
    assert (retried.what, retried.details) == ("task retried", {"note": "refilled"})
    (asked,) = any_client.commands(subject=flow.id)
    assert [one.command_id for one in any_client.commands(after=asked.command_id - 1)] == [asked.command_id]
    assert asked.changes["after"]["tasks"] == [{"seqs": "1", "status": "WAIT"}]
    assert [one.event_id for one in any_client.events(after=retried.event_id - 1, page=1)] == [retried.event_id]


def test_a_flow_that_takes_longer_is_still_going(db: Database, any_client: Any) -> None:
    define(db, "slow")
    flow_id = any_client.register("slow")
    with pytest.raises(StillGoing, match=r"still WAIT after 0\.2 s \(0 of 1 tasks finished\)") as caught:
        any_client.wait(flow_id, 0.2)
    assert caught.value.flow.id == flow_id
    with pytest.raises(StillGoing):
        any_client.wait(flow_id, 0)
    assert any_client.cancel(flow_id, reason="ordered twice") == [1]
    flow = any_client.wait(flow_id, 0)
    assert (flow.status, flow.reason, flow.has_finished) == (Status.IGNORE, "cancelled", False)


def test_suspended_beside_what_waits_for_a_time_is_not_over(db: Database, any_client: Any) -> None:
    define_graph(db, "two", [(1, 2), (1, 3)])
    flow_id = start(db, "two")
    sql(db, "UPDATE kr_task_stat SET exec_status = 2, reason = 'failed' WHERE task_exec_seq = 2")
    sql(db, "UPDATE kr_flow_stat SET flow_status = 2")
    assert any_client.is_over(flow_id) is False, "the first is ready"
    sql(db, "UPDATE kr_task_stat SET exec_status = 3, wait_count = -1 WHERE task_exec_seq = 1")
    sql(db, "UPDATE kr_task_stat SET wait_count = 1, due_ts = '2100-01-01 00:00:00' WHERE task_exec_seq = 3")
    assert any_client.is_over(flow_id) is False, "the third is due some day"
    sql(db, "UPDATE kr_task_stat SET due_ts = NULL WHERE task_exec_seq = 3")
    assert any_client.is_over(flow_id) is True


def test_lists_are_read_page_by_page(db: Database, any_client: Any) -> None:
    define(db)
    ids = [start(db, tags=("odd",) if number % 2 else ()) for number in range(7)]
    found = list(any_client.flows(page=2))
    assert [flow.id for flow in found] == ids[::-1]
    assert [flow.id for flow in any_client.flows(tag="odd", status="wait", task_id="w", page=3)] == ids[-2::-2]
    assert next(iter(any_client.flows(page=1))).id == ids[-1]
    before, after = found[3].registered_ts, datetime.now(UTC) + timedelta(days=1)
    assert [flow.id for flow in any_client.flows(registered_before=before, page=2)] == ids[2::-1]
    assert list(any_client.flows(registered_after=after)) == []
    with pytest.raises(ValueError, match="is none of 0 WAIT"):
        any_client.flows(status="lost")
    with pytest.raises(ValueError, match="is none of 0 WAIT"):
        any_client.flows(status=7)


def test_the_answer_of_a_person_a_message_and_a_call_back(db: Database, any_client: Any) -> None:
    define(db, steps=1)
    key = awaiting(db, "approval", name="load?")
    (wait,) = any_client.waits()
    assert (wait.wait_id, wait.kind, wait.is_open) == (wait_of(db, key).wait_id, "approval", True)
    any_client.answer(wait.wait_id, {"approved": True})
    assert list(any_client.waits()) == []
    (closed,) = any_client.waits_of(key.flow_id)
    assert (closed.state, closed.payload) == ("arrived", {"approved": True})
    kept = any_client.send("paid", "order-7", {"sum": 120}, expires_s=60)
    assert kept.wait_id is None
    awaited = awaiting(db, "message", name="paid", key="order-8")
    assert any_client.send("paid", "order-8").wait_id == wait_of(db, awaited).wait_id
    called = awaiting(db, "callback", name="c", key="a-secret-token")
    any_client.call_back("a-secret-token", {"ok": 1})
    (told,) = any_client.waits_of(called.flow_id)
    assert told.payload == {"ok": 1}


def test_queues_limits_watchers_commands_and_figures(db: Database, any_client: Any, watch: Callable[..., Any]) -> None:
    define(db)
    start(db)
    any_client.pause_queue("default", reason="moving")
    any_client.set_limit("mail", "queue", max_running=2)
    watcher = watch(add)
    while not any_client.watchers():
        pass
    (seen,) = any_client.watchers()
    assert (seen.watcher_id, seen.queues, seen.lives) == (watcher.id, ("default",), True)
    queues = {queue.queue: queue for queue in any_client.queues()}
    assert (queues["default"].ready, queues["default"].paused_reason, queues["mail"].max_running) == (1, "moving", 2)
    assert [(limit.scope, limit.name) for limit in any_client.limits()] == [("queue", "default"), ("queue", "mail")]
    any_client.resume_queue("default")
    any_client.drop_limit("mail", "queue")
    any_client.pause_workflow("w")
    any_client.resume_workflow("w")
    verbs = [command.verb for command in any_client.commands(page=2)]
    assert verbs == ["resume_workflow", "pause_workflow", "drop_limit", "resume_queue", "set_limit", "pause_queue"]
    assert next(iter(any_client.commands(subject="mail"))).arguments == {"scope": "queue"}
    assert any_client.stats().watchers == 1
    assert any_client.series() == []
    any_client.drain(watcher.id)
    assert watcher.finished.wait(20)


def test_verbs_on_flows(db: Database, any_client: Any) -> None:
    define(db, steps=3)
    flow_id = any_client.register("w")
    assert any_client.pause(flow_id) == [1, 2, 3]
    assert any_client.resume(flow_id, [2, 3]) == [2, 3]
    assert any_client.recover(flow_id) == [1]
    assert any_client.set_priority(flow_id, -5, [3]) == [3]
    assert any_client.set_parameters(flow_id, [2], {"A": 1}) == [2]
    any_client.set_flow_parameters(flow_id, {"B": 2}, replace=True)
    assert any_client.flow(flow_id).parameters == {"B": 2}
    assert any_client.task(flow_id, 2).parameters == {"A": 1}
    assert any_client.ignore(flow_id, [1], reason="not today") == [1]
    assert any_client.finish(flow_id, [2, 3], result={"rows": 1}) == [2, 3]
    assert any_client.result(flow_id) == {"rows": 1}
    assert any_client.rerun(flow_id, [3]) == [3]
    again = any_client.run_again(flow_id)
    assert (isinstance(again, FlowId), any_client.flow(again).rerun_of) == (True, flow_id)
    assert [(edge.task_exec_seq, edge.depends_task_exec_seq) for edge in any_client.edges(flow_id)] == [(2, 1), (3, 2)]
    counted = any_client.bulk("cancel", {"task_id": "w", "registered_before": datetime(2100, 1, 1, tzinfo=UTC)})
    assert (counted.dry_run, counted.flows, counted.tasks) == (True, 2, 4)
    done = any_client.bulk("cancel", {"task_id": "w"}, dry_run=False, reason="clean up")
    assert (done.flows, {flow.status for flow in any_client.flows()}) == (2, {Status.IGNORE})
    assert any_client.ask("register", "w", {"tags": ["x"]})["replayed"] is False


def test_workflows_as_documents(db: Database, any_client: Any) -> None:
    document = {"task_id": "nightly", "steps": [{"program": "Noop"}], "tags": ["etl"]}
    first = any_client.apply("nightly", document, only_new=True, reason="new")
    assert (first.is_new, first.was) == (True, None)
    toml = 'task_id = "nightly"\n[[steps]]\nprogram = "Noop"\n[[steps]]\nprogram = "Noop"\n'
    assert any_client.apply("nightly", toml, format="toml", dry_run=True).was == first.version_id
    with pytest.raises(Refused):
        any_client.apply("nightly", document, only_new=True)
    second = any_client.apply("nightly", toml, format="toml", if_version=first.version_id)
    read = any_client.workflow("nightly")
    assert (read.version_id, len(read.document["steps"])) == (second.version_id, 2)
    assert [one.task_id for one in any_client.workflows(text="night")] == ["nightly"]
    assert list(any_client.workflows(owner="nobody")) == []
    assert [(one.version_id, one.is_current) for one in any_client.versions("nightly", page=1)] == [
        (second.version_id, True),
        (first.version_id, False),
    ]
    assert len(any_client.version("nightly", first.version_id).document["steps"]) == 1
    assert len(any_client.diff("nightly")["steps"]["added"]) == 1
    flow_id = any_client.register("nightly")
    with pytest.raises(Refused):
        any_client.delete_workflow("nightly")
    any_client.delete_workflow("nightly", force=True)
    why = any_client.why(flow_id)
    assert (why.task_flow_id, [task.task_exec_seq for task in why.tasks]) == (flow_id, [1, 2])
    (second_task,) = any_client.why(flow_id, 2).tasks
    assert [root.task_exec_seq for root in second_task.roots] == [1]
    assert "1" in second_task.causes[0].what


def test_tokens_and_people(db: Database, any_client: Any) -> None:
    made = any_client.new_token("loader", "operator", workflows=["load*"], expires_s=60)
    other = any_client.create_token("other", "viewer", "0" * 64)
    assert [(one.token_id, one.name, one.role, one.workflows) for one in any_client.tokens(page=1)] == [
        (other, "other", "viewer", None),
        (made.token_id, "loader", "operator", ("load*",)),
    ]
    with db.read() as conn:
        holder = tokens.find(conn, str(tokens.hash_of(made.token)))
    assert holder is not None, "the secret is the one whose hash was sent"
    any_client.revoke_token(made.token_id, reason="lost")
    assert [one.is_live for one in any_client.tokens()] == [True, False]
    any_client.set_principal("ann@example.org", "author", workflows=["load*"])
    any_client.drop_principal("ann@example.org")
    (person,) = any_client.principals()
    assert (person.name, person.role, person.disabled_ts is None) == ("ann@example.org", "author", False)


def test_logs_of_a_task(db: Database, any_client: Any, watch: Callable[..., Any]) -> None:
    @program("Talk")
    def talk(call: Call) -> None:
        call.logger.info("hello")

    define(db, "talk", program="Talk")
    watch(talk)
    flow = any_client.register_and_wait("talk", timeout_s=30)
    (log,) = any_client.logs(flow.id, 1)
    assert (log.outcome, "hello" in log.text) == ("finished", True)


def test_events_are_followed_as_they_happen(db: Database, any_client: Any) -> None:
    define(db, steps=1)
    flow_id, other = start(db), start(db)
    any_client.pause(flow_id)
    follower = any_client.follow(flow_id=flow_id, after=0)
    assert next(follower).what == "task paused"
    any_client.pause(other)
    any_client.resume(flow_id)
    event = next(follower)
    assert (event.what, event.task_flow_id) == ("task resumed", flow_id)
    follower.close()


def test_events_are_followed_from_now_on(db: Database, any_client: Any) -> None:
    define(db, steps=1)
    flow_id = start(db)
    any_client.pause(flow_id)
    found: list[str] = []

    def follow() -> None:
        for event in any_client.follow():
            found.append(event.what)
            if event.what == "task resumed":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    while thread.is_alive():  # until one comes after it has begun
        carry_out(db, Ask("resume", flow_id), Actor("ann"))
        carry_out(db, Ask("pause", flow_id), Actor("ann"))
        thread.join(0.3)
    assert found[-1] == "task resumed"


def test_many_flows_are_made_and_iterated_over(db: Database, any_client: Any) -> None:
    define(db, "many")
    made = any_client.register_many("many", ({"run_key": f"day-{n}"} for n in range(2500)), idempotency_key="load")
    assert (made.registered, made.refused, len(set(made.task_flow_ids))) == (2500, 0, 2500)
    again = any_client.register_many("many", ({"run_key": f"day-{n}"} for n in range(2500)), idempotency_key="load")
    assert again.task_flow_ids == made.task_flow_ids, "the same call makes no second flow"
    found = [flow.id for flow in any_client.flows(task_id="many", page=500)]
    assert len(found) == len(set(found)) == 2500
    assert set(found) == set(made.task_flow_ids)


def test_of_many_each_stands_and_falls_alone(db: Database, any_client: Any) -> None:
    from penstock import BadRequest, NotFound

    define(db, "some")
    wishes: list[dict[str, Any]] = [{"priority": 99 if n == 1 or n >= 1000 else 0} for n in range(1010)]
    made = any_client.register_many("some", wishes)
    assert (made.registered, made.refused) == (999, 11)
    assert [(one.index, one.kind) for one in made.problems[:2]] == [(1, "bad-request"), (1000, "bad-request")]
    assert made.task_flow_ids[1] is None
    with pytest.raises(NotFound):
        any_client.register_many("nothing", [{}])
    with pytest.raises(BadRequest, match="priority"):
        any_client.register_many("some", [{"priority": 99}])
    with pytest.raises(BadRequest, match="number 1"):
        any_client.register_many("some", [{}, {"parameters": {"x": object()}}])
    assert any_client.register_many("some", []).registered == 0
    for unfit in (object(), float("nan"), {1, 2}):
        with pytest.raises(BadRequest, match="is not JSON"):
            any_client.register("some", {"x": unfit})


def test_a_result_of_the_workflow_and_of_several_ends(db: Database, any_client: Any) -> None:
    define_graph(db, "two", [(1, 2), (1, 3)])
    flow_id = any_client.register("two")
    any_client.finish(flow_id, [1, 2, 3], result=5)
    assert any_client.result(flow_id) is None, "two tasks are the last"
    sql(db, "UPDATE kr_flow_stat SET result = '{\"rows\": 7}'")
    assert any_client.result(flow_id) == {"rows": 7}


def test_a_flow_made_by_hand(db: Database, any_client: Any, watch: Callable[..., Any]) -> None:
    insert_task(db, program="Noop")
    watch()
    until(lambda: any(any_client.flows()))
    assert any_client.wait("hand", 30).has_finished
