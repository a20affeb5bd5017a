"""REXFlow's branch shapes as rows: gateways, events, user tasks, call-backs, errors and recovery."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from factories import flow, rows, start, task, tasks
from sqlalchemy import update
from workshop import Workshop, failing

from engine import control
from engine.database import Database
from engine.errors import AlreadyAnswered, BadRequest
from engine.keys import Key
from engine.states import Reason, Status
from engine.tables import attempt, task_definition, task_edge, task_stat, wait
from engine.waiting import answers, messages
from penstock import Await, Call, Finish, Outcome

pytestmark = pytest.mark.by_turns


def edge(db: Database, task_id: str, before: int, after: int, **columns: Any) -> None:
    """What more an edge says."""
    this = task_edge.c.task_id == task_id, task_edge.c.depends_task_seq == before, task_edge.c.task_seq == after
    with db.transaction() as conn:
        conn.execute(update(task_edge).where(*this).values(**columns))


def become(db: Database, task_id: str, seq: int, program: str, *pairs: tuple[str, str]) -> None:
    """The step runs this program with these parameters."""
    columns: dict[str, str] = {}
    for number, (key, value) in enumerate(pairs, 1):
        columns |= {f"param{number}_key": key, f"param{number}_value": value}
    this = task_definition.c.task_id == task_id, task_definition.c.task_seq == seq
    with db.transaction() as conn:
        conn.execute(update(task_definition).where(*this).values(program=program, **columns))


def open_wait(db: Database, kind: str) -> Any:
    return next((row for row in rows(db, wait) if (row.kind, row.state) == (kind, "open")), None)


# --- gateways -------------------------------------------------------------------------------------------------------

THREE_AND_DEFAULT = [(1, 2), (1, 3), (1, 4), (1, 5), (2, 6), (3, 6), (4, 6), (5, 6)]


@pytest.mark.parametrize("value, branch", [(5, 2), (50, 3), (500, 4), (5_000, 5)])
def test_an_exclusive_gateway_with_a_default(db: Database, shop: Workshop, value: int, branch: int) -> None:
    """RX27, RX34: three conditions and a default edge; what is behind the merge runs once."""
    shop.define("wf", THREE_AND_DEFAULT)
    edge(db, "wf", 1, 2, only_if="result.val < 10")
    edge(db, "wf", 1, 3, only_if="result.val >= 10 && result.val < 100")
    edge(db, "wf", 1, 4, only_if="result.val >= 100 && result.val < 1000")
    edge(db, "wf", 1, 5, is_default=True)
    shop.does[1] = lambda call: {"val": value}
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert shop.worked == [1, branch, 6]
    skipped = {row.task_seq for row in tasks(db, flow_id) if row.reason == Reason.SKIPPED}
    assert skipped == {2, 3, 4, 5} - {branch}
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_a_text_decides_as_in_underpants(db: Database, shop: Workshop) -> None:
    """RX28: collected underpants go on to the sauce and to profit; others end at once, at an end event of their own."""
    shop.define("wf", [(1, 2), (2, 3), (1, 4)])
    edge(db, "wf", 1, 2, only_if='result.underpants == "Collected."')
    edge(db, "wf", 1, 4, is_default=True)
    shop.does = {
        1: lambda call: {"underpants": "Collected." if call.flow_parameters["lucky"] else "Not collected ):"},
        2: lambda call: {**call.upstream[0], "sauce": "Applied."},
        3: lambda call: {**call.upstream[0], "cashflow": "Positive!"},
    }
    lucky, unlucky = (start(db, "wf", parameters={"lucky": lucky}) for lucky in (True, False))
    shop.run(lucky, unlucky)
    assert shop.ends(lucky) == {1: 3, 2: 3, 3: 3, 4: 9}
    assert shop.ends(unlucky) == {1: 3, 2: 9, 3: 9, 4: 3}
    earned = {"underpants": "Collected.", "sauce": "Applied.", "cashflow": "Positive!"}
    assert json.loads(task(db, Key(lucky, 3)).result) == earned


def test_a_condition_that_raises_fails_the_flow_with_a_reason(db: Database, shop: Workshop) -> None:
    """RX28: and once the data are mended, the flow goes on from there."""
    shop.define("wf", [(1, 2), (1, 3)])
    edge(db, "wf", 1, 2, only_if="result.val > 100")
    edge(db, "wf", 1, 3, is_default=True)
    shop.does[1] = lambda call: {"value": 150}
    flow_id = start(db, "wf")
    shop.run(flow_id)
    found = tasks(db, flow_id)
    assert (flow(db, flow_id).flow_status, found[1].reason) == (Status.SUSPEND, Reason.BAD_CONDITION)
    assert "result.val > 100" in found[1].error
    with db.transaction() as conn:
        conn.execute(update(task_stat).where(task_stat.c.task_exec_seq == 1).values(result='{"val": 150}'))
    control.recover(db, flow_id, actor="ann")
    shop.run(flow_id)
    assert shop.ends(flow_id) == {1: 3, 2: 3, 3: 9}


FORK = [(1, 2), (1, 3), (2, 4), (3, 4)]


def test_a_parallel_gateway_joins_the_bodies_of_its_branches(db: Database, shop: Workshop) -> None:
    """RX33: both branches run at once, and the join gets both bodies, in the order of the steps."""
    meeting = threading.Barrier(2)
    shop.define("wf", FORK)
    shop.does = {
        2: lambda call: {"left": meeting.wait(30) >= 0},
        3: lambda call: {"right": meeting.wait(30) >= 0},
        4: lambda call: {name: value for body in call.upstream for name, value in body.items()},
    }
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert json.loads(task(db, Key(flow_id, 4)).result) == {"left": True, "right": True}
    assert shop.worked.count(4) == 1


def test_a_join_survives_a_restart_between_two_arrivals(db: Database, shop: Workshop) -> None:
    """RX33: REXFlow counts arrivals in the memory of a process."""
    shop.define("wf", FORK, {3: {"queue": "later"}})
    flow_id = start(db, "wf")
    with shop.watching():
        shop.until(lambda: shop.ends(flow_id)[2] == Status.FINISH)
    assert task(db, Key(flow_id, 4)).wait_count == 1
    with shop.watching(queues=("later", "default")):
        shop.until(lambda: shop.rests(flow_id))
    assert shop.worked == [1, 2, 3, 4]


def test_two_end_events(db: Database, shop: Workshop) -> None:
    """RX25: which one was reached is to be read, and a second one that is reached spoils nothing."""
    shop.define("wf", [(1, 2), (1, 3)], {2: {"name": "shipped"}, 3: {"name": "billed"}})
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert {row.name for row in tasks(db, flow_id) if row.exec_status == Status.FINISH} == {None, "shipped", "billed"}
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_a_step_that_is_called_twice(db: Database, shop: Workshop) -> None:
    """RX37: the same service at two steps, one right after the other."""
    shop.define("wf", [(1, 2), (2, 3)])
    shop.does = {
        1: lambda call: {"val": 7},
        2: lambda call: {"val": call.upstream[0]["val"] + 1},
        3: lambda call: {"val": call.upstream[0]["val"] + 1},
    }
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert task(db, Key(flow_id, 3)).result == '{"val":9}'


# --- events ---------------------------------------------------------------------------------------------------------


def test_an_error_event_leads_on_instead_of_failing(db: Database, shop: Workshop) -> None:
    """RX32: the unreliable task fails, and the flow is completed at the end event `error`."""
    shop.define("wf", [(1, 2), (1, 3)], {1: {"max_attempts": 2, "retry_delay_s": 0}, 3: {"name": "error"}})
    edge(db, "wf", 1, 3, kind="error")
    shop.does[1] = failing
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert (flow(db, flow_id).flow_status, shop.worked) == (Status.FINISH, [1, 1, 3])
    assert [(row.exec_status, row.reason) for row in tasks(db, flow_id)] == [
        (Status.IGNORE, Reason.HANDLED),
        (Status.IGNORE, Reason.SKIPPED),
        (Status.FINISH, None),
    ]


def test_without_an_error_the_error_event_is_not_reached(db: Database, shop: Workshop) -> None:
    """RX32"""
    shop.define("wf", [(1, 2), (1, 3)])
    edge(db, "wf", 1, 3, kind="error")
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert (flow(db, flow_id).flow_status, shop.ends(flow_id)) == (Status.FINISH, {1: 3, 2: 3, 3: 9})


def test_a_timer_fires_after_its_duration(db: Database, shop: Workshop) -> None:
    """RX31: no worker is held meanwhile."""
    shop.define("wf", [(1, 2), (2, 3), (1, 4)])
    become(db, "wf", 2, "Wait", ("DURATION", "PT0.6S"))
    flow_id = start(db, "wf")
    shop.run(flow_id, workers=1)
    assert shop.worked == [1, 4, 3]
    first, _, last, _ = tasks(db, flow_id)
    assert (last.started_ts - first.finished_ts).total_seconds() >= 0.6


def test_a_timer_fires_after_a_restart(db: Database, shop: Workshop) -> None:
    """RX53: it is a row; two timers of one flow do not meet."""
    shop.define("wf", [(1, 2), (1, 3), (2, 4), (3, 4)])
    become(db, "wf", 2, "Wait", ("SECONDS", "0.5"))
    become(db, "wf", 3, "Wait", ("SECONDS", "1"))
    flow_id = start(db, "wf")
    with shop.watching():
        shop.until(lambda: len(rows(db, wait)) == 2)
    assert flow(db, flow_id).flow_status == Status.RUNNING
    shop.run(flow_id)
    assert shop.worked == [1, 4]
    assert [row.state for row in rows(db, wait)] == ["arrived", "arrived"]


def catch(db: Database, shop: Workshop, key: str = "order-7", **more: str) -> str:
    """A flow whose second step catches the message `paid`."""
    shop.define("wf", [(1, 2), (2, 3)])
    become(db, "wf", 2, "WaitForMessage", ("NAME", "paid"), ("KEY", key), *more.items())
    return start(db, "wf")


def test_a_message_is_caught_by_the_flow_that_waits_for_it(db: Database, shop: Workshop) -> None:
    """RX30: the flow first, then the message; one with another key is not for it."""
    flow_id = catch(db, shop)
    with shop.watching():
        shop.until(lambda: open_wait(db, "message"))
        messages.send(db, "paid", "order-8", {"sum": 1}, actor="bank")
        messages.send(db, "billed", "order-7", {"sum": 2}, actor="bank")
        messages.send(db, "paid", "order-7", {"sum": 120}, actor="bank")
        shop.until(lambda: shop.rests(flow_id))
    assert task(db, Key(flow_id, 2)).result == '{"sum":120}'
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_a_message_that_came_before_its_flow(db: Database, shop: Workshop) -> None:
    """RX30"""
    messages.send(db, "paid", "order-7", {"sum": 120}, actor="bank")
    flow_id = catch(db, shop)
    shop.run(flow_id)
    assert task(db, Key(flow_id, 2)).result == '{"sum":120}'


def test_two_messages_and_two_flows_of_one_key(db: Database, shop: Workshop) -> None:
    """RX30: each flow gets one, first come, first served."""
    first = catch(db, shop)
    second = start(db, "wf")
    messages.send(db, "paid", "order-7", 1, actor="bank")
    messages.send(db, "paid", "order-7", 2, actor="bank")
    shop.run(first, second)
    assert sorted(task(db, Key(flow_id, 2)).result for flow_id in (first, second)) == ["1", "2"]


def test_a_message_that_never_comes(db: Database, shop: Workshop) -> None:
    """RX30: expired, with what was awaited in the error."""
    flow_id = catch(db, shop, TIMEOUT_S="0.3")
    shop.run(flow_id)
    second = task(db, Key(flow_id, 2))
    assert (second.exec_status, "order-7" in second.error) == (Status.SUSPEND, True)
    assert shop.worked == [1]


# --- people and services --------------------------------------------------------------------------------------------


def test_a_user_task_waits_for_a_person_and_gives_its_form_on(db: Database, shop: Workshop) -> None:
    """RX35, RX66, RX68: an answer that does not fit is refused, the next task gets one that does."""
    schema = {
        "type": "object",
        "properties": {"rows": {"type": "integer", "exclusiveMinimum": 0}},
        "required": ["rows"],
    }
    shop.define("wf", [(1, 2), (2, 3)])
    become(db, "wf", 2, "Form", ("PROMPT", "How many rows?"), ("SCHEMA", json.dumps(schema)))
    shop.does[3] = lambda call: {**call.upstream[0], "seen": True}
    flow_id = start(db, "wf")
    with shop.watching():
        asked = shop.until(lambda: open_wait(db, "form"))
        with pytest.raises(BadRequest, match="rows"):
            answers.answer(db, asked.wait_id, {"rows": 0}, actor="ann")
        assert task(db, Key(flow_id, 2)).exec_status == Status.WAIT
        answers.answer(db, asked.wait_id, {"rows": 12}, actor="ann")
        shop.until(lambda: shop.rests(flow_id))
    assert task(db, Key(flow_id, 3)).result == '{"rows":12,"seen":true}'


@pytest.mark.parametrize("approved, ends", [(True, {1: 3, 2: 3, 3: 3, 4: 9}), (False, {1: 3, 2: 3, 3: 9, 4: 3})])
def test_an_approval_decides_the_branch(db: Database, shop: Workshop, approved: bool, ends: dict[int, int]) -> None:
    """RX35 with RX27: a gateway on the value that a person gave."""
    shop.define("wf", [(1, 2), (2, 3), (2, 4)])
    become(db, "wf", 2, "Approval", ("PROMPT", "Ship?"), ("REJECTED", "finish"))
    edge(db, "wf", 2, 3, only_if="result.approved")
    edge(db, "wf", 2, 4, is_default=True)
    flow_id = start(db, "wf")
    with shop.watching():
        asked = shop.until(lambda: open_wait(db, "approval"))
        answers.answer(db, asked.wait_id, {"approved": approved}, actor="ann")
        shop.until(lambda: shop.rests(flow_id))
    assert shop.ends(flow_id) == ends


def called_back(tokens: list[str], until: float | None = None) -> Any:
    """A service that answers later: it is given a token, and the task waits for its call."""

    def act(call: Call) -> Outcome:
        if call.arrivals:
            arrival = call.arrivals[-1]
            return Finish({"late": arrival.expired, "got": arrival.payload})
        tokens.append(call.new_token())
        return Await("callback", key=tokens[-1], until=until)

    return act


def test_a_service_that_calls_back(db: Database, shop: Workshop) -> None:
    """RX36: once; a second call is refused and changes nothing."""
    tokens: list[str] = []
    shop.define("wf", [(1, 2)])
    shop.does[1] = called_back(tokens)
    flow_id = start(db, "wf")
    with shop.watching():
        shop.until(lambda: open_wait(db, "callback"))
        answers.call_back(db, tokens[0], {"scan": "clean"})
        shop.until(lambda: shop.rests(flow_id))
        with pytest.raises(AlreadyAnswered):
            answers.call_back(db, tokens[0], {"scan": "dirty"})
    assert json.loads(task(db, Key(flow_id, 1)).result) == {"late": False, "got": {"scan": "clean"}}
    assert tokens[0] not in repr(rows(db, wait)), "the token itself is not stored"


def test_a_service_that_never_calls_back(db: Database, shop: Workshop) -> None:
    """RX36: the task is told that the time is over."""
    shop.define("wf", [(1, 2)])
    shop.does[1] = called_back([], until=0.3)
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert json.loads(task(db, Key(flow_id, 1)).result) == {"late": True, "got": None}


def test_two_attempts_against_a_service_that_fails_once(db: Database, shop: Workshop, receiver: Any) -> None:
    """RX20: the service has seen two calls, and the flow is completed."""
    receiver.refusals = 1
    shop.define("wf", [(1, 2)], {1: {"max_attempts": 2, "retry_delay_s": 0.1}})
    become(db, "wf", 1, "HTTPPostRequest", ("URL", receiver.url), ("BODY", '{"id": 7}'))
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert [body for _, body in receiver.received] == [b'{"id": 7}'] * 2
    assert flow(db, flow_id).flow_status == Status.FINISH
    assert task(db, Key(flow_id, 1)).attempt == 2


def test_what_a_failure_leaves_to_be_read(db: Database, shop: Workshop, receiver: Any) -> None:
    """RX19: which task, what it was given, the status and the words of the service."""
    receiver.refusals = 1
    shop.define("wf", [(1, 2)], {2: {"name": "post"}})
    become(db, "wf", 2, "HTTPPostRequest", ("URL", receiver.url), ("BODY", '{"id": 7}'))
    flow_id = start(db, "wf")
    shop.run(flow_id)
    [failed] = [row for row in tasks(db, flow_id) if row.exec_status == Status.SUSPEND]
    assert (failed.name, failed.task_seq, failed.reason) == ("post", 2, Reason.FAILED)
    assert json.loads(failed.parameters)["BODY"] == '{"id": 7}'
    assert "503" in failed.error
    [kept] = rows(db, attempt)
    assert (kept.outcome, kept.accepted, kept.error) == ("failed", True, failed.error)


def test_a_failed_instance_goes_on_at_its_failed_element(db: Database, shop: Workshop) -> None:
    """RX21: step 1 is not called again; a second failure can be recovered from as well; step 2 gets the same data."""
    shop.define("wf", [(1, 2), (2, 3)])
    got: list[Any] = []
    shop.does = {1: lambda call: {"val": 42}, 2: lambda call: got.append(call.upstream[0]) or failing(call)}
    flow_id = start(db, "wf")
    for _ in range(2):
        shop.run(flow_id)
        assert shop.ends(flow_id) == {1: 3, 2: 2, 3: 0}
        control.recover(db, flow_id, actor="ann")
    shop.does[2] = lambda call: got.append(call.upstream[0])
    shop.run(flow_id)
    assert shop.worked == [1, 2, 2, 2, 3]
    assert got == [{"val": 42}] * 3
    assert flow(db, flow_id).flow_status == Status.FINISH


# --- data -----------------------------------------------------------------------------------------------------------


def test_what_one_task_returns_is_what_the_next_one_gets(db: Database, shop: Workshop) -> None:
    """RX43, RX3: the arguments of the run reach the first step; each answer replaces the data."""
    shop.define("wf", [(1, 2), (2, 3)])
    shop.does = {
        1: lambda call: [float(number) ** 3 for number in call.flow_parameters["numbers"]],
        2: lambda call: [number + 1 for number in call.upstream[0]],
        3: lambda call: call.upstream[0],
    }
    flow_id = start(db, "wf", parameters={"numbers": [1, 2, 3]})
    shop.run(flow_id)
    assert task(db, Key(flow_id, 3)).result == "[2.0,9.0,28.0]"


def test_parameters_and_results_are_mapped(db: Database, shop: Workshop) -> None:
    """RX42: named fields in, named fields out, a default where one is missing."""
    mapped = {
        "name": "price",
        "input_mapping": '{"NET": "results.order.net", "TAX": "has(results.order.tax) ? results.order.tax : 8"}',
        "output_mapping": '{"total": "result.gross"}',
    }
    shop.define("wf", [(1, 2)], {1: {"name": "order"}, 2: mapped})
    shop.does = {
        1: lambda call: {"net": 100, "other": "not asked for"},
        2: lambda call: {"gross": call.params["NET"] + call.params["TAX"], "given": sorted(call.params)},
    }
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert task(db, Key(flow_id, 2)).result == '{"total":108}'


@pytest.mark.parametrize(
    "column, mapping, reason",
    [
        ("input_mapping", '{"NET": "results.order.nett"}', Reason.BAD_PARAMETERS),
        ("output_mapping", '{"total": "result.grosss"}', Reason.BAD_RESULT),
    ],
)
def test_a_field_that_is_missing_without_a_default(
    db: Database, shop: Workshop, column: str, mapping: str, reason: str
) -> None:
    """RX42: the task fails and says on which side of it the data were wrong."""
    shop.define("wf", [(1, 2)], {1: {"name": "order"}, 2: {column: mapping}})
    shop.does = {1: lambda call: {"net": 100}, 2: lambda call: {"gross": 108}}
    flow_id = start(db, "wf")
    shop.run(flow_id)
    second = task(db, Key(flow_id, 2))
    assert (second.exec_status, second.reason) == (Status.SUSPEND, reason)


def test_a_workflow_as_a_step_of_another(db: Database, shop: Workshop) -> None:
    """RX44: no seed has a call activity; here it is a sub-flow, with parameters and a result."""
    shop.define("child", [(11, 12)])
    shop.does[12] = lambda call: {"val": call.flow_parameters["val"] + 1}
    shop.define("wf", [(1, 2), (2, 3)])
    become(db, "wf", 2, "SubFlow", ("WORKFLOW", "child"), ("PARAMETERS", '{"val": 41}'))
    shop.does[3] = lambda call: call.upstream[0]
    flow_id = start(db, "wf")
    shop.run(flow_id)
    assert (shop.worked, task(db, Key(flow_id, 3)).result) == ([1, 11, 12, 3], '{"val":42}')


@pytest.mark.slow
def test_two_hundred_instances(db: Database, shop: Workshop) -> None:
    """RX22: 200 instances of a chain on 20 workers, each step of each exactly once."""
    shop.define("wf", [(1, 2), (2, 3)])
    flow_ids = [start(db, "wf") for _ in range(200)]
    shop.run(*flow_ids, workers=20)
    assert len(shop.ran) == 600
    assert {row.claims for row in rows(db, task_stat)} == {1}
