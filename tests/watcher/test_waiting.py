"""A whole watcher and tasks that await: it sleeps until the next is due, and is woken by whatever arrives."""

from __future__ import annotations

import time
from typing import Any

import pytest
from factories import define, rows, start, task
from invariants import hold
from patience import until
from waiting import finished, settled
from watching import Watch

from engine.database import Database
from engine.keys import Key
from engine.states import Reason, Status
from engine.tables import wait
from engine.waiting import answers, messages
from programs.contract import Call, program
from programs.outcomes import Again, Await, Finish, Outcome

pytestmark = pytest.mark.by_turns

TOKENS: list[str] = []


@program("Timed")
def timed(call: Call, S: float = 0.5) -> Outcome:
    return Finish(len(call.arrivals)) if call.arrivals else Await("timer", until=S)


@program("Scanned")
def scanned(call: Call) -> Outcome:
    """Give the token away before it is awaited, as whoever calls an outside service does."""
    if call.arrivals:
        return Finish([call.arrivals[0].payload, call.arrivals[0].by])
    token = call.new_token()
    TOKENS.append(token)
    return Await("callback", name="scan", key=token)


@program("Paid")
def paid(call: Call) -> Outcome:
    return Finish(call.arrivals[-1].payload) if call.arrivals else Await("message", name="paid", key=call.flow_id)


@program("Careless")
def careless() -> Outcome:
    return Await("callback", key="the same for all of them")


@program("Never")
def never(EVERY_S: float = 0.05, TIMEOUT_S: float = 0.3) -> Outcome:
    return Again(after=EVERY_S, timeout=TIMEOUT_S)


@pytest.fixture(autouse=True)
def _no_tokens() -> None:
    TOKENS.clear()


def begin(db: Database, name: str, **columns: Any) -> str:
    define(db, "w", program=name, **columns)
    return start(db, "w")


def test_an_idle_watcher_wakes_for_a_timer_long_before_its_poll(db: Database, watch: Watch) -> None:
    flow_id = begin(db, "Timed")
    watch(timed, interval_s=60.0)
    began = time.monotonic()
    finished(db, flow_id)
    assert time.monotonic() - began < 20
    row = task(db, Key(flow_id, 1))
    assert (row.claims, row.attempt, row.result) == (2, 1, "1")
    hold(db, at_rest=True)


def test_a_call_back_brings_its_task_back(db: Database, watch: Watch) -> None:
    flow_id = begin(db, "Scanned")
    watch(scanned)
    until(lambda: TOKENS)
    answers.call_back(db, TOKENS[0], "clean", actor="scanner")
    finished(db, flow_id)
    assert task(db, Key(flow_id, 1)).result == '["clean","scanner"]'
    hold(db, at_rest=True)


def test_a_message_is_taken_by_a_watcher_that_starts_later(db: Database, watch: Watch) -> None:
    flow_id = begin(db, "Paid")
    first = watch(paid)
    until(lambda: rows(db, wait))
    first.stop()
    assert messages.send(db, "paid", flow_id, {"sum": 3}, actor="bank").wait_id is not None
    watch(paid)
    finished(db, flow_id)
    assert task(db, Key(flow_id, 1)).result == '{"sum":3}'
    hold(db, at_rest=True)


def test_a_used_token_suspends_its_own_task_alone(db: Database, watch: Watch) -> None:
    define(db, "careless", program="Careless")
    define(db, "good", program="Noop", steps=3)
    flows = [start(db, "careless") for _ in range(3)]
    good = [start(db, "good") for _ in range(5)]
    watch(careless)
    finished(db, *good)
    until(lambda: sorted(task(db, Key(flow_id, 1)).exec_status for flow_id in flows) == [0, 2, 2])
    until(lambda: rows(db, wait))
    bad = [row for row in (task(db, Key(flow_id, 1)) for flow_id in flows) if row.exec_status == Status.SUSPEND]
    assert [row.reason for row in bad] == [Reason.BAD_RESULT] * 2
    hold(db)


def test_a_sensor_gives_up_at_its_time(db: Database, watch: Watch) -> None:
    flow_id = begin(db, "Never")
    watch(never, interval_s=60.0)
    settled(db, (flow_id, 1))
    row = task(db, Key(flow_id, 1))
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.TIMED_OUT)
    assert row.error == "still not there after 0.3 s of poking"
    hold(db, at_rest=True)


def test_a_sensor_gives_up_between_two_pokes(db: Database, watch: Watch) -> None:
    flow_id = begin(db, "Never", param1_key="EVERY_S", param1_value="3600")
    watch(never, interval_s=60.0)
    settled(db, (flow_id, 1))
    assert (task(db, Key(flow_id, 1)).claims, task(db, Key(flow_id, 1)).reason) == (1, Reason.TIMED_OUT)
    hold(db, at_rest=True)
