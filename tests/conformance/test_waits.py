"""Waits that hold no slot: opened by a settlement, closed once, counted by `wait_count`, on every database."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from awaiting import arrived, await_it, awaiting, make_due, wait_of, waits_of
from factories import (
    by_hand,
    claim,
    define,
    enlisted,
    finish,
    flow,
    insert_task,
    kill_lease,
    rows,
    run_all,
    run_out,
    settle_as,
    sql,
    start,
    states,
    sweep,
    task,
    tasks,
    together,
)
from invariants import hold

from engine import control, supervise
from engine.database import Database, open_database
from engine.graph.dependencies import count_awaited, lock_tasks
from engine.keys import Key
from engine.lookout import look
from engine.settle import Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import attempt, wait
from engine.waiting import waits
from engine.waiting.waits import Closing, NewWait
from engine.wishes import WaitWish


@pytest.fixture
def awaited(db: Database) -> Key:
    """A flow of two tasks; the first awaits a message."""
    define(db, steps=2)
    return awaiting(db)


def close(db: Database, *closings: Closing) -> int:
    return db.transact(lambda conn: waits.close(conn, db, closings))


def test_a_task_that_awaits_holds_no_slot_and_is_not_charged(db: Database, awaited: Key) -> None:
    row = task(db, awaited)
    assert (row.exec_status, row.wait_count, row.reason) == (Status.WAIT, 1, Reason.AWAITING)
    assert (row.attempt, row.claims, row.due_ts) == (0, 1, None)
    found = wait_of(db, awaited)
    assert (found.kind, found.name, found.correlation_key, found.state) == ("message", "paid", "7", "open")
    assert (found.details, found.payload, found.due_ts, found.closed_ts, found.closed_by) == (None,) * 5
    assert claim(db) == []
    (tried,) = rows(db, attempt)
    assert (tried.outcome, tried.accepted) == ("awaiting", False)
    hold(db, at_rest=True)


def test_a_batch_of_waits_is_a_batch(db: Database) -> None:
    define(db, steps=1)
    for _ in range(50):
        start(db)
    enlisted(db)
    held = claim(db, 50)
    at = datetime(2040, 1, 1, tzinfo=UTC)
    wishes = [
        WaitWish("timer", delay_s=60.0),
        WaitWish("timer", due_at=at),
        WaitWish("message", "n", "k"),
        WaitWish("form", "f", details='{"prompt":"?"}', delay_s=3600.0),
        WaitWish("approval", "a"),
    ]
    settled = settle_as(db, [Settlement(item, "await", wait=wishes[n % 5]) for n, item in enumerate(held)])
    assert settled.verdicts == [Verdict.ACCEPTED] * 50
    for n, item in enumerate(held):
        found = wait_of(db, item.key)
        assert (found.kind, found.name, found.details) == (
            wishes[n % 5].kind,
            wishes[n % 5].name,
            wishes[n % 5].details,
        )
        match n % 5:
            case 0:
                assert timedelta(seconds=55) < found.due_ts - found.created_ts < timedelta(seconds=65)
            case 1:
                assert found.due_ts == at
            case 3:
                assert timedelta(seconds=3595) < found.due_ts - found.created_ts < timedelta(seconds=3605)
            case _:
                assert found.due_ts is None
    hold(db)


def test_awaiting_settled_twice_opens_one_wait(db: Database) -> None:
    """The answer to the COMMIT was lost, and the batch is given again."""
    define(db, steps=1)
    flow_id = start(db)
    enlisted(db)
    (held,) = claim(db)
    assert await_it(db, held).verdicts == [Verdict.ACCEPTED]
    assert await_it(db, held).verdicts == [Verdict.ALREADY]
    assert len(waits_of(db, Key(flow_id, 1))) == 1
    hold(db)


def test_a_stale_await_opens_nothing(db: Database) -> None:
    define(db, steps=1)
    flow_id = start(db)
    enlisted(db)
    (held,) = claim(db)
    by_hand(db, held.key, 0)
    (later,) = claim(db)
    assert await_it(db, held).verdicts == [Verdict.STALE]
    assert waits_of(db, Key(flow_id, 1)) == []
    finish(db, later)
    hold(db, at_rest=True)


def test_what_arrives_lets_the_task_run_again_and_is_given_to_it(db: Database, awaited: Key) -> None:
    wait_id = wait_of(db, awaited).wait_id
    assert close(db, Closing(wait_id, "arrived", '{"sum":3}', "ann")) == 1
    assert (task(db, awaited).exec_status, task(db, awaited).wait_count) == (Status.WAIT, 0)
    (found,) = arrived(db, awaited)
    assert (found.kind, found.name, found.key, found.payload, found.by) == ("message", "paid", "7", {"sum": 3}, "ann")
    assert not found.expired
    (again,) = claim(db)
    assert (again.key, again.attempt, again.claim_no) == (awaited, 1, 2)
    finish(db, again)
    assert run_all(db) == [Key(awaited.flow_id, 2)]
    hold(db, at_rest=True)


def test_a_wait_is_closed_once_and_lowers_once(db: Database, awaited: Key) -> None:
    closing = Closing(wait_of(db, awaited).wait_id, "arrived", '"first"', "ann")
    assert close(db, closing, closing) == 1
    assert close(db, Closing(closing.wait_id, "arrived", '"second"', "bob")) == 0
    assert close(db, Closing("no such wait", "arrived")) == 0
    assert task(db, awaited).wait_count == 0
    assert wait_of(db, awaited).payload == '"first"'


def test_two_who_close_at_once_lower_once(db: Database, url: str, awaited: Key) -> None:
    """Two real connections; whoever is second finds it closed."""
    other = open_database(url)
    wait_id = wait_of(db, awaited).wait_id
    with db.transaction() as conn:
        conn.execute(
            wait.insert().values(
                wait_id="second",
                task_flow_id=awaited.flow_id,
                task_exec_seq=1,
                kind="form",
                created_ts=datetime.now(UTC),
            )
        )
    sql(db, "UPDATE kr_task_stat SET wait_count = 2 WHERE task_exec_seq = 1")
    closed = together(
        lambda: close(db, Closing(wait_id, "arrived", None, "ann")),
        lambda: close(other, Closing(wait_id, "expired", None, "bob")),
    )
    other.close()
    assert sorted(closed) == [0, 1]
    assert task(db, awaited).wait_count == 1
    hold(db)


@pytest.mark.needs("row_locks")
def test_a_closing_waits_for_one_that_is_under_way(db: Database, url: str, awaited: Key) -> None:
    """The first has closed the wait and not committed when the second comes."""
    other = open_database(url)
    closing = Closing(wait_of(db, awaited).wait_id, "arrived")
    results: list[int] = []
    with db.transaction() as conn:
        assert waits.close(conn, db, [closing]) == 1
        second = threading.Thread(target=lambda: results.append(close(other, closing)))
        second.start()
        second.join(0.3)
        assert results == []
    second.join(20)
    other.close()
    assert results == [0]
    assert task(db, awaited).wait_count == 0


@pytest.mark.parametrize(
    "what, state", [("timer", "arrived"), ("message", "expired"), ("approval", "expired"), ("form", "expired")]
)
def test_at_its_time_a_timer_arrives_and_everything_else_expires(db: Database, what: str, state: str) -> None:
    define(db, steps=1)
    wish = {} if what in ("timer", "message") else {"name": "x"}
    key = awaiting(db, what, delay_s=3600.0, **wish)
    assert waits.fire_waits(db) == 0
    make_due(db)
    assert waits.fire_waits(db) == 1
    assert waits.fire_waits(db) == 0
    assert wait_of(db, key).state == state
    assert [found.expired for found in arrived(db, key)] == [state == "expired"]
    assert task(db, key).wait_count == 0
    assert run_all(db) == [key]
    hold(db, at_rest=True)


def test_waits_outlive_every_process(db: Database, url: str) -> None:
    define(db, steps=1)
    key = awaiting(db, "timer", delay_s=0.0)
    db.close()
    later = open_database(url)
    assert waits.fire_waits(later) == 1
    assert [item.key for item in claim(later)] == [key]
    later.close()


def test_two_who_fire_at_once_lower_once(db: Database, url: str) -> None:
    define(db, steps=1)
    keys = [awaiting(db, "timer", delay_s=0.0) for _ in range(60)]
    other = open_database(url)
    other.probe()
    fired = together(lambda: waits.fire_waits(db), lambda: waits.fire_waits(other))
    other.close()
    assert sum(fired) + waits.fire_waits(db) == 60
    assert [task(db, key).wait_count for key in keys] == [0] * 60
    hold(db)


@pytest.mark.needs("row_locks")
def test_a_wait_that_ends_while_the_sweep_looks_is_left_alone(
    db: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer is committed after the sweep has seen the wait as due, and before it has locked the task."""
    define(db, steps=1)
    key = awaiting(db, "form", name="x", delay_s=0.0)
    other = open_database(url)
    lock_free = waits.lock_free

    def late(*arguments: Any) -> Any:
        assert close(other, Closing(wait_of(other, key).wait_id, "arrived", '"answer"', "ann")) == 1
        return lock_free(*arguments)

    monkeypatch.setattr(waits, "lock_free", late)
    assert waits.fire_waits(db) == 0
    other.close()
    found = wait_of(db, key)
    assert (found.state, found.payload, found.closed_by) == ("arrived", '"answer"', "ann")
    assert task(db, key).wait_count == 0


@pytest.mark.needs("skip_locked")
def test_a_task_that_somebody_holds_is_left_for_the_next_sweep(db: Database, url: str) -> None:
    define(db, steps=1)
    first, second = awaiting(db, "timer", delay_s=0.0), awaiting(db, "timer", delay_s=0.0)
    other = open_database(url)
    other.probe()
    with db.transaction() as conn:
        lock_tasks(conn, db, [first])
        assert waits.fire_waits(other) == 1
    assert (task(db, first).wait_count, task(db, second).wait_count) == (1, 0)
    assert waits.fire_waits(other) == 1
    other.close()


def test_the_waits_of_rows_that_were_deleted_do_not_stay_due(db: Database) -> None:
    define(db, steps=1)
    key = awaiting(db, "timer", delay_s=0.0)
    sql(db, "DELETE FROM kr_task_stat")
    assert waits.fire_waits(db) == 1
    assert wait_of(db, key).state == "cancelled"
    assert waits.fire_waits(db) == 0


def test_an_idle_watcher_knows_when_the_next_wait_is_due(db: Database) -> None:
    define(db, steps=1)
    awaiting(db, "timer", delay_s=500.0)
    key = awaiting(db, "timer", delay_s=100.0)
    with db.read() as conn:
        seen = look(conn, ["default"])
    assert seen.next_due_s is not None
    assert 90 < seen.next_due_s <= 100
    assert (seen.wait_is_due, seen.anything) == (False, False)
    settle_due = "UPDATE kr_wait SET due_ts = created_ts WHERE task_flow_id = :flow"
    sql(db, settle_due, flow=key.flow_id)
    with db.read() as conn:
        seen = look(conn, ["default"])
    assert (seen.next_due_s, seen.wait_is_due, seen.anything) == (0.0, True, True)


def test_a_wait_answered_by_sql_arrives_with_its_payload(db: Database) -> None:
    define(db, steps=1)
    key = awaiting(db, "approval", name="ok?", delay_s=3600.0)
    sql(db, "UPDATE kr_wait SET payload = '{\"approved\": true}', closed_by = 'ann', due_ts = created_ts")
    sweep(db)
    (found,) = arrived(db, key)
    assert (found.payload, found.by, found.expired) == ({"approved": True}, "ann", False)
    hold(db)


def test_what_is_paused_hears_of_what_arrives(db: Database, awaited: Key) -> None:
    assert control.pause(db, awaited.flow_id, [1], actor="ann") == [1]
    hold(db)
    close(db, Closing(wait_of(db, awaited).wait_id, "arrived"))
    assert states(db, awaited.flow_id) == [(2, 0), (0, 1)]
    assert claim(db) == []
    control.resume(db, awaited.flow_id, actor="ann")
    assert run_all(db) == [awaited, Key(awaited.flow_id, 2)]
    hold(db, at_rest=True)


@pytest.mark.parametrize("verb", [control.resume, control.recover])
def test_what_was_paused_while_it_awaited_awaits_it_still(db: Database, awaited: Key, verb: Any) -> None:
    control.pause(db, awaited.flow_id, actor="ann")
    assert verb(db, awaited.flow_id, actor="ann") == [1, 2]
    assert states(db, awaited.flow_id) == [(0, 1), (0, 1)]
    assert claim(db) == []
    hold(db)
    close(db, Closing(wait_of(db, awaited).wait_id, "arrived"))
    assert run_all(db) == [awaited, Key(awaited.flow_id, 2)]
    hold(db, at_rest=True)


def test_paused_and_resumed_by_sql_it_awaits_it_still(db: Database, awaited: Key) -> None:
    by_hand(db, awaited, 2)
    sweep(db)
    hold(db)
    by_hand(db, awaited, 0)
    sweep(db)
    assert states(db, awaited.flow_id) == [(0, 1), (0, 1)]
    close(db, Closing(wait_of(db, awaited).wait_id, "arrived"))
    assert run_out(db) == [awaited, Key(awaited.flow_id, 2)]
    hold(db, at_rest=True)


def test_a_due_time_set_by_hand_does_not_end_the_waiting(db: Database, awaited: Key) -> None:
    sql(db, "UPDATE kr_task_stat SET due_ts = '2001-01-01 00:00:00' WHERE task_exec_seq = 1")
    assert supervise.fire_due(db) == 1
    assert (task(db, awaited).wait_count, task(db, awaited).due_ts) == (1, None)
    hold(db)


@pytest.mark.parametrize("verb", ["ignore", "finish", "set to 9", "set to 3"])
def test_settled_in_another_way_it_awaits_nothing_any_more(db: Database, awaited: Key, verb: str) -> None:
    match verb:
        case "ignore":
            control.ignore(db, awaited.flow_id, [1], actor="ann")
        case "finish":
            control.finish(db, awaited.flow_id, 1, actor="ann")
        case _:
            by_hand(db, awaited, int(verb[-1]))
    sweep(db)
    found = wait_of(db, awaited)
    assert (found.state, found.closed_ts is not None) == ("cancelled", True)
    assert close(db, Closing(found.wait_id, "arrived")) == 0
    assert states(db, awaited.flow_id)[1] == (0, 0)
    assert arrived(db, awaited) == []
    hold(db)


def test_set_back_by_hand_a_task_awaits_anew_what_it_had_got(db: Database, awaited: Key) -> None:
    close(db, Closing(wait_of(db, awaited).wait_id, "arrived", '"old"'))
    run_all(db)
    by_hand(db, awaited, 0)
    sweep(db)
    assert arrived(db, awaited) == []
    assert wait_of(db, awaited).payload == '"old"'
    (held,) = [item for item in claim(db) if item.key == awaited]
    await_it(db, held)
    sweep(db)
    assert [row.state for row in waits_of(db, awaited)] == ["cancelled", "open"]
    hold(db)


def test_a_row_that_is_counted_anew_awaits_nothing(db: Database, awaited: Key) -> None:
    sql(db, "UPDATE kr_task_stat SET wait_count = NULL WHERE task_exec_seq = 1")
    sweep(db)
    assert states(db, awaited.flow_id) == [(0, 0), (0, 1)]
    assert wait_of(db, awaited).state == "cancelled"
    hold(db)


def test_a_wait_of_a_row_changed_by_hand_lowers_nothing_below_zero(db: Database, awaited: Key) -> None:
    sql(db, "UPDATE kr_task_stat SET wait_count = 0 WHERE task_exec_seq = 1")
    assert close(db, Closing(wait_of(db, awaited).wait_id, "arrived")) == 1
    assert task(db, awaited).wait_count == 0


def test_a_try_that_fails_of_an_expiry_does_not_hand_it_to_the_next(db: Database) -> None:
    """Else each further try would fail of it at once."""
    define(db, steps=1)
    key = awaiting(db, delay_s=0.0)
    make_due(db)
    waits.fire_waits(db)
    (held,) = claim(db)
    settle_as(db, [Settlement(held, "retry", error="nobody came", delay_s=0.0)])
    assert arrived(db, key) == []
    supervise.fire_due(db)
    (held,) = claim(db)
    await_it(db, held)
    close(db, Closing(waits_of(db, key)[1].wait_id, "arrived", '"at last"'))
    (held,) = claim(db)
    settle_as(db, [Settlement(held, "suspend", reason=Reason.FAILED, error="x")])
    assert [found.payload for found in arrived(db, key)] == ["at last"]
    hold(db)


def test_several_things_can_be_awaited_at_once(db: Database) -> None:
    """As sub-flows and turns of flows are: one call opens them, and the last to close lets the task run."""
    define(db, steps=1)
    enlisted(db)
    key = Key(start(db), 1)
    news = [NewWait(key, "flow", f"child {n}", details="{}") for n in range(3)]

    def open_them(conn: Any) -> None:
        waits.open_waits(conn, news)
        conn.exec_driver_sql("UPDATE kr_task_stat SET wait_count = 3")

    db.transact(open_them)
    hold(db)
    with db.read() as conn:
        assert count_awaited(conn, [key])[key].open_count == 3
    assert close(db, *(Closing(new.wait_id, "arrived", f'"{new.name}"') for new in news[:2])) == 2
    assert task(db, key).wait_count == 1
    hold(db)
    assert close(db, Closing(news[2].wait_id, "cancelled")) == 1
    assert task(db, key).wait_count == 0
    assert [found.payload for found in arrived(db, key)] == ["child 0", "child 1"]
    hold(db)


def test_a_watcher_that_was_lost_leaves_no_time_limit_behind(db: Database) -> None:
    define(db, steps=1)
    enlisted(db)
    flow_id = start(db)
    claim(db)
    key = Key(flow_id, 1)
    db.transact(lambda conn: waits.open_waits(conn, [NewWait(key, "poke", delay_s=60.0)]))
    kill_lease(db)
    assert supervise.reap(db, grace_s=1.0, max_losses=1) == 1
    assert wait_of(db, key).state == "cancelled"
    hold(db)


def test_waits_in_hand_made_flows(db: Database) -> None:
    enlisted(db)
    key = insert_task(db, program="Noop")
    sweep(db)
    (held,) = claim(db)
    await_it(db, held)
    close(db, Closing(wait_of(db, key).wait_id, "arrived"))
    assert run_out(db) == [key]
    assert flow(db, key.flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_a_flow_with_waits_is_running(db: Database, awaited: Key) -> None:
    assert flow(db, awaited.flow_id).flow_status == Status.RUNNING
    assert [row.exec_status for row in tasks(db, awaited.flow_id)] == [Status.WAIT, Status.WAIT]
