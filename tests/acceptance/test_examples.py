"""Every workflow in examples, run by a whole watcher: how it ends, and what it is there to show.

`ENDS` says of each example how each of its tasks ends, in the order of their run numbers; an example in which people or
services have a part is in `MEANWHILE` too, with what they do. What else an example shows has a test of its own below.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from example_rows import FILES, FOLDER, NAMES, begin
from factories import flow, rows, sql, start, tasks
from workshop import Workshop

from engine.database import Database
from engine.errors import AlreadyAnswered, BadRequest, NotAllowed
from engine.states import Reason, Status
from engine.tables import attempt, flow_stat, wait
from engine.waiting import answers, messages

pytestmark = pytest.mark.by_turns

ENDS: dict[str, tuple[int, list[int]]] = {
    "alarm": (Status.SUSPEND, [3, 2, 3, 0]),
    "approval": (Status.FINISH, [3, 3, 3]),
    "branches": (Status.FINISH, [3, 3, 3, 3]),
    "by_size": (Status.FINISH, [3, 9, 3, 3]),
    "call_back": (Status.FINISH, [3, 3]),
    "error_edge": (Status.FINISH, [9, 9, 3, 3]),
    "exclusive_choice": (Status.FINISH, [3, 9, 3, 3]),
    "fan_out": (Status.FINISH, [3, 3, 3, 3, 3]),
    "flow_result": (Status.FINISH, [3, 3]),
    "flow_time_out": (Status.IGNORE, [3, 9, 9]),
    "handled": (Status.FINISH, [3, 9, 3, 9, 3]),
    "limits": (Status.FINISH, [3, 3, 3, 3]),
    "loop": (Status.FINISH, [3, 3, 3, 3, 3, 3, 3]),
    "mappings": (Status.FINISH, [3, 3]),
    "merge": (Status.FINISH, [3, 3, 3]),
    "message": (Status.FINISH, [3, 3]),
    "nightly_load": (Status.FINISH, [3, 3, 3, 9]),
    "one_at_a_time": (Status.FINISH, [3, 3]),
    "phases": (Status.FINISH, [3, 3, 3, 3]),
    "priorities": (Status.FINISH, [3, 3, 3, 3]),
    "program_choice": (Status.FINISH, [3, 3, 9, 3, 3]),
    "queues": (Status.FINISH, [3, 3]),
    "retries": (Status.FINISH, [3, 3]),
    "roll_back": (Status.IGNORE, [3, 3, 9, 9, 3, 3]),
    "sensor": (Status.FINISH, [3, 3]),
    "stop": (Status.SUSPEND, [2, 2, 3]),
    "sub_flow": (Status.FINISH, [3, 3, 3]),
    "templates": (Status.FINISH, [3, 3]),
    "time_out": (Status.FINISH, [9, 9, 3]),
    "timer": (Status.FINISH, [3, 3]),
}
"""Status of the flow, and of each of its tasks."""


def open_wait(db: Database, shop: Workshop, kind: str) -> str:
    """Wait until a task awaits something of this kind; the id of the wait."""
    return str(
        shop.until(lambda: [row.wait_id for row in rows(db, wait) if (row.kind, row.state) == (kind, "open")])[0]
    )


def pay(db: Database, shop: Workshop, receiver: Any) -> None:
    open_wait(db, shop, "message")
    messages.send(db, "paid", "order-7", {"sum": 120}, actor="bank")


def approve(db: Database, shop: Workshop, receiver: Any) -> None:
    wait_id = open_wait(db, shop, "approval")
    with pytest.raises(NotAllowed, match="ann, bob"):
        answers.answer(db, wait_id, {"approved": True}, actor="eve")
    answers.answer(db, wait_id, {"approved": True}, actor="bob")
    form = open_wait(db, shop, "form")
    with pytest.raises(BadRequest, match="rows"):
        answers.answer(db, form, {"rows": "twelve"}, actor="eve")
    answers.answer(db, form, {"rows": 12}, actor="eve")


def call_back(db: Database, shop: Workshop, receiver: Any) -> None:
    shop.until(lambda: receiver.received)
    token = json.loads(receiver.received[0][1])["token"]
    answers.call_back(db, token, {"scan": "clean"}, actor="scanner")
    with pytest.raises(AlreadyAnswered):
        answers.call_back(db, token, {"scan": "dirty"}, actor="scanner")


MEANWHILE: dict[str, Callable[[Database, Workshop, Any], None]] = {
    "message": pay,
    "approval": approve,
    "call_back": call_back,
}
CALLS_US = {"sensor", "call_back"}
"""Examples that call a service, by the parameter URL."""
SETTINGS: dict[str, dict[str, Any]] = {
    "queues": {"queues": ("default", "reports")},
    "priorities": {"workers": 1},
}


def play(db: Database, shop: Workshop, name: str, receiver: Any = None, **wish: Any) -> list[Any]:
    """Run an example until nothing moves any more; its tasks as rows."""
    if name in CALLS_US:
        wish["parameters"] = {"URL": receiver.url}
    flow_id = begin(db, name, **wish)
    more = [_plugin(name)] if (FOLDER / f"{name}.py").exists() else []
    with shop.watching(*more, **SETTINGS.get(name, {})):
        if name in MEANWHILE:
            MEANWHILE[name](db, shop, receiver)
        shop.until(lambda: shop.rests(flow_id))
    return tasks(db, flow_id)


def _plugin(name: str) -> Any:
    """The one program of the file beside an example."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (program,) = module.penstock_programs()
    return program


def test_every_example_is_listed() -> None:
    assert list(ENDS) == NAMES
    listed = (FOLDER / "README.md").read_text()
    assert [name for name in NAMES if f"[{FILES[name].name}]({FILES[name].name})" not in listed] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_example_ends_as_it_says(db: Database, shop: Workshop, receiver: Any, name: str) -> None:
    found = play(db, shop, name, receiver)
    assert (flow(db, found[0].task_flow_id).flow_status, [row.exec_status for row in found]) == ENDS[name]


# --- what each of them shows ----------------------------------------------------------------------------------------


def test_branches_wait_for_one_another_where_they_join(db: Database, shop: Workshop) -> None:
    first, second, third, last = play(db, shop, "branches")
    assert min(second.started_ts, third.started_ts) >= first.finished_ts
    assert last.started_ts >= max(second.finished_ts, third.finished_ts)


def test_the_first_answer_is_enough_to_merge(db: Database, shop: Workshop) -> None:
    _, slow, merged = play(db, shop, "merge")
    assert merged.started_ts < slow.finished_ts


def test_the_error_edge_is_for_this_error(db: Database, shop: Workshop) -> None:
    first, passed_over, repair, _ = play(db, shop, "error_edge")
    assert (first.reason, first.error, passed_over.reason) == (Reason.HANDLED, "E42: no paper", Reason.SKIPPED)
    assert repair.reason is None


def test_a_large_order_is_approved(db: Database, shop: Workshop) -> None:
    """The other branch of the choice."""
    flow_id = begin(db, "exclusive_choice", parameters={"VALUE": {"amount": 2500}})
    shop.run(flow_id)
    assert shop.ends(flow_id) == {1: 3, 2: 3, 3: 9, 4: 3}


def test_the_loop_goes_round_three_times(db: Database, shop: Workshop) -> None:
    found = play(db, shop, "loop")
    assert sorted((row.iteration or 0, row.task_seq) for row in found if row.task_seq < 3) == [
        (turn, step) for turn in (0, 1, 2) for step in (1, 2)
    ]
    last = next(row for row in found if row.task_seq == 3)
    assert last.started_ts >= max(row.finished_ts for row in found if row is not last)


def test_the_phases_run_one_after_the_other(db: Database, shop: Workshop) -> None:
    before, step, after, following = play(db, shop, "phases")
    assert [row.name for row in (before, step, after)] == ["render.pre", "render", "render.post"]
    assert before.finished_ts <= step.started_ts <= step.finished_ts <= after.started_ts
    assert following.started_ts >= after.finished_ts


def test_the_retries_are_the_ones_that_the_rows_ask_for(db: Database, shop: Workshop) -> None:
    first, _ = play(db, shop, "retries")
    tries = sorted((row.claim_no, row.outcome) for row in rows(db, attempt) if row.outcome == "failed")
    assert tries == [(1, "failed"), (2, "failed")]
    assert (first.attempt, first.claims) == (3, 3)
    # half a second after the first failure, one second after the second
    assert first.started_ts - first.registered_ts >= timedelta(seconds=1.5)


def test_the_time_out_comes_before_the_step_is_done(db: Database, shop: Workshop) -> None:
    first, _, instead = play(db, shop, "time_out")
    assert (first.reason, first.attempt) == (Reason.HANDLED_TIMEOUT, 2)
    assert instead.finished_ts - first.registered_ts < timedelta(seconds=30)


def test_the_flow_ends_when_its_time_is_over(db: Database, shop: Workshop) -> None:
    first, asked, _ = play(db, shop, "flow_time_out")
    ended = flow(db, first.task_flow_id)
    assert (ended.reason, asked.reason) == (Reason.TIMED_OUT, Reason.CANCELLED)
    assert ended.finished_ts - ended.registered_ts >= timedelta(seconds=1)
    assert {row.state for row in rows(db, wait)} == {"cancelled"}, "nobody is asked any more"


def test_the_stopped_flow_is_tidied_up(db: Database, shop: Workshop) -> None:
    _, stopped, tidy = play(db, shop, "stop")
    assert (stopped.reason, stopped.started_ts, tidy.name) == (Reason.STOPPED, None, "tidy")


def test_the_flight_is_cancelled_before_the_hotel(db: Database, shop: Workshop) -> None:
    *_, flight, hotel = play(db, shop, "roll_back")
    assert [row.name for row in (flight, hotel)] == ["flight.rollback", "hotel.rollback"]
    assert [row.result for row in (flight, hotel)] == ['"flight cancelled"', '"hotel cancelled"']
    assert flight.finished_ts <= hotel.started_ts
    assert flow(db, hotel.task_flow_id).reason == Reason.ROLLED_BACK


def test_the_timer_is_waited_for(db: Database, shop: Workshop) -> None:
    first, second = play(db, shop, "timer")
    assert second.started_ts - first.registered_ts >= timedelta(seconds=0.5)


def test_what_the_message_carries_is_the_result(db: Database, shop: Workshop) -> None:
    assert [row.result for row in play(db, shop, "message")] == ['{"sum":120}', None]


def test_the_message_may_be_sent_first_and_by_sql(db: Database, shop: Workshop) -> None:
    sql(
        db,
        "INSERT INTO kr_message(message_id, name, correlation_key, payload, sent_ts)"
        " VALUES ('any new id', 'paid', 'order-7', :payload, CURRENT_TIMESTAMP)",
        payload='{"sum": 120}',
    )
    flow_id = begin(db, "message")
    shop.run(flow_id)
    assert [row.result for row in tasks(db, flow_id)] == ['{"sum":120}', None]


def test_what_people_answer_is_the_result(db: Database, shop: Workshop) -> None:
    assert [row.result for row in play(db, shop, "approval")] == ['{"approved":true}', '{"rows":12}', None]


def test_an_approval_by_sql(db: Database, shop: Workshop) -> None:
    flow_id = begin(db, "approval")
    with shop.watching():
        sql(
            db,
            "UPDATE kr_wait SET payload = :payload, closed_by = 'ann', due_ts = created_ts"
            " WHERE wait_id = :wait_id AND state = 'open'",
            payload='{"approved": true}',
            wait_id=open_wait(db, shop, "approval"),
        )
        open_wait(db, shop, "form")
    assert [row.exec_status for row in tasks(db, flow_id)] == [3, 0, 0]


def test_an_approval_that_is_refused_suspends_its_flow(db: Database, shop: Workshop) -> None:
    flow_id = begin(db, "approval")
    with shop.watching():
        answers.answer(db, open_wait(db, shop, "approval"), {"approved": False}, actor="bob")
        shop.until(lambda: shop.rests(flow_id))
    first = tasks(db, flow_id)[0]
    assert (first.exec_status, first.error) == (Status.SUSPEND, "not approved by bob")


def test_what_the_service_said_when_it_called_back(db: Database, shop: Workshop, receiver: Any) -> None:
    first, _ = play(db, shop, "call_back", receiver)
    assert (first.result, first.claims, first.attempt) == ('{"scan":"clean"}', 2, 1)


def test_the_sensor_looks_until_the_service_is_there(db: Database, shop: Workshop, receiver: Any) -> None:
    receiver.refusals = 2
    first, _ = play(db, shop, "sensor", receiver)
    assert (first.claims, first.attempt) == (3, 1)
    assert [(row.kind, row.state) for row in rows(db, wait)] == [("poke", "cancelled")]


def test_the_fan_out_gathers_a_result_for_each_item(db: Database, shop: Workshop) -> None:
    planner, join, *items = play(db, shop, "fan_out")
    assert [row.parameters for row in items] == [f'{{"SLEEP_TIME_SECOND":{s}}}' for s in (0.1, 0.2, 0.1)]
    assert {row.made_by_exec_seq for row in items} == {planner.task_exec_seq}
    assert (join.result, join.started_ts >= max(row.finished_ts for row in items)) == ("[null,null,null]", True)


def test_the_sub_flow_is_a_flow_of_its_own(db: Database, shop: Workshop) -> None:
    _, parent, _ = play(db, shop, "sub_flow")
    [child] = [row for row in rows(db, flow_stat) if row.task_id == "sub_flow_load"]
    assert (child.parent_flow_id, child.parent_exec_seq) == (parent.task_flow_id, 2)
    assert (child.run_key, child.flow_status) == ("2030-01", Status.FINISH)
    assert tasks(db, child.task_flow_id)[0].parameters == '{"SLEEP_TIME_SECOND":0.2}'
    assert parent.result == "[null]"


def test_templates_are_filled_from_the_run_key_and_from_results(db: Database, shop: Workshop) -> None:
    _, report = play(db, shop, "templates", run_key="2024-03-31")
    assert json.loads(report.result) == {"file": "sales-2024-03-31.csv", "since": "2024-02-29", "rows": 12}


def test_mappings_work_out_parameters_and_results(db: Database, shop: Workshop) -> None:
    order, price = play(db, shop, "mappings")
    assert [json.loads(row.result) for row in (order, price)] == [{"net": 100, "tax": 8}, {"gross": 108}]


def test_the_result_of_the_flow(db: Database, shop: Workshop) -> None:
    with_defaults = begin(db, "flow_result")
    with_francs = start(db, "flow_result", parameters={"currency": "CHF"})
    shop.run(with_defaults, with_francs)
    assert json.loads(flow(db, with_defaults).result) == {"total": 42, "currency": "EUR"}
    assert json.loads(flow(db, with_francs).result) == {"total": 42, "currency": "CHF"}
    with pytest.raises(AssertionError, match="currency"):
        start(db, "flow_result", parameters={"currency": "USD"})


def test_the_load_is_given_its_day_and_says_how_many_rows(db: Database, shop: Workshop) -> None:
    _, store, _, alarm = play(db, shop, "nightly_load", parameters={"day": "2030-01-31"})
    assert json.loads(store.result) == {"file": "orders-2030-01-31.csv", "rows": 12}
    assert json.loads(flow(db, store.task_flow_id).result) == {"rows": 12}
    assert alarm.reason == Reason.SKIPPED
    with pytest.raises(AssertionError, match="day"):
        start(db, "nightly_load", parameters={"day": 31})


def test_one_task_at_a_time_prints_in_each_office(db: Database, shop: Workshop) -> None:
    in_basel = begin(db, "limits")
    in_bern = start(db, "limits", parameters={"office": "Bern"})
    shop.run(in_basel, in_bern)
    for flow_id in (in_basel, in_bern):
        printed = sorted(tasks(db, flow_id)[1:], key=lambda row: row.started_ts)
        for earlier, later in pairwise(printed):
            assert later.started_ts >= earlier.finished_ts


def test_the_second_flow_waits_for_the_first(db: Database, shop: Workshop) -> None:
    flow_ids = [begin(db, "one_at_a_time"), start(db, "one_at_a_time"), start(db, "one_at_a_time")]
    assert {row.kind for row in rows(db, wait)} == {"turn"}
    shop.run(*flow_ids)
    for earlier, later in pairwise(flow_ids):
        assert tasks(db, later)[0].started_ts >= tasks(db, earlier)[-1].finished_ts


def test_the_most_urgent_step_begins_first(db: Database, shop: Workshop) -> None:
    found = play(db, shop, "priorities")
    assert [row.task_seq for row in sorted(found, key=lambda row: row.started_ts)] == [1, 4, 3, 2]


def test_a_queue_waits_for_its_own_watchers(db: Database, shop: Workshop) -> None:
    flow_id = begin(db, "queues")
    with shop.watching() as watcher:
        shop.until(lambda: tasks(db, flow_id)[0].exec_status == Status.FINISH)
        shop.until(lambda: watcher._lookout.idle_looks >= 2)
        assert [row.exec_status for row in tasks(db, flow_id)] == [3, 0]
    shop.run(flow_id, queues=("reports",))
    assert shop.ends(flow_id) == {1: 3, 2: 3}
