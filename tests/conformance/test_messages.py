"""Messages by name and correlation key: either side first, first in first out, none lost and none given twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from awaiting import arrived, await_it, awaiting, make_due, wait_of
from factories import claim, define, enlisted, rows, run_all, settle_as, sql, start, sweep, task, together
from invariants import hold
from sqlalchemy import select

from engine.claimed import ClaimedTask
from engine.database import Database, open_database
from engine.errors import BadRequest, OutcomeUnknown, PoisonData
from engine.keys import Key
from engine.lookout import look
from engine.settle import Settlement
from engine.states import Status
from engine.tables import message, task_stat
from engine.waiting import messages, waits
from engine.waiting.messages import Sent
from engine.wishes import WaitWish


@pytest.fixture(autouse=True)
def _defined(db: Database) -> None:
    define(db, steps=1)


def send(db: Database, payload: Any = None, name: str = "paid", key: str = "7", **options: Any) -> Sent:
    return messages.send(db, name, key, payload, actor="bank", **options)


def held_tasks(db: Database, count: int) -> list[ClaimedTask]:
    """So many running tasks, each in a flow of its own, in the order of their flows."""
    enlisted(db)
    for _ in range(count):
        start(db)
    return sorted(claim(db, count), key=lambda item: item.key)


def payloads(db: Database, *keys: Key) -> list[Any]:
    return [[found.payload for found in arrived(db, key)] for key in keys]


def test_a_message_goes_to_the_task_that_awaits_it(db: Database) -> None:
    key = awaiting(db)
    sent = send(db, {"sum": 3})
    assert sent.wait_id == wait_of(db, key).wait_id
    (found,) = arrived(db, key)
    assert (found.payload, found.by, found.expired) == ({"sum": 3}, "bank", False)
    (stored,) = rows(db, message)
    assert (stored.message_id, stored.wait_id) == sent
    assert (task(db, key).exec_status, task(db, key).wait_count) == (Status.WAIT, 0)
    assert run_all(db) == [key]
    hold(db, at_rest=True)


def test_a_message_that_comes_first_is_kept_and_taken_at_once(db: Database) -> None:
    sent = send(db, [1, 2])
    assert sent.wait_id is None
    key = awaiting(db)
    assert payloads(db, key) == [[[1, 2]]]
    (stored,) = rows(db, message)
    assert stored.wait_id == wait_of(db, key).wait_id
    assert task(db, key).wait_count == 0
    assert run_all(db) == [key]
    hold(db, at_rest=True)


def test_the_settlement_that_meets_its_message_leaves_its_task_ready(db: Database) -> None:
    send(db)
    (held,) = held_tasks(db, 1)
    await_it(db, held)
    assert task(db, held.key).wait_count == 0


@pytest.mark.parametrize(
    "name, key", [("paid", "8"), ("Paid", "7"), ("paid ", "7"), ("unpaid", "7")], ids=["key", "case", "blank", "name"]
)
def test_name_and_key_must_both_be_the_same(db: Database, name: str, key: str) -> None:
    waiting = awaiting(db)
    assert send(db, "x", name, key).wait_id is None
    assert task(db, waiting).wait_count == 1
    assert awaiting(db, name=name, key=key) != waiting
    assert task(db, waiting).wait_count == 1
    hold(db)


def test_a_message_without_a_payload_is_one_too(db: Database) -> None:
    key = awaiting(db)
    assert send(db).wait_id is not None
    assert payloads(db, key) == [[None]]


def test_two_hundred_waits_get_two_hundred_messages_in_order(db: Database) -> None:
    """One name, one key: half of the messages come before the tasks that await them, half after."""
    for number in range(100):
        send(db, number)
    held = held_tasks(db, 200)
    await_it(db, *held[:150])
    assert len([row for row in rows(db, task_stat) if (row.exec_status, row.wait_count) == (0, 0)]) == 100
    await_it(db, *held[150:])
    for number in range(100, 200):
        assert send(db, number).wait_id is not None
    assert payloads(db, *(item.key for item in held)) == [[number] for number in range(200)]
    assert [row.wait_id for row in rows(db, message) if row.wait_id is None] == []
    assert len(run_all(db)) == 200
    hold(db, at_rest=True)


def test_the_order_holds_for_more_messages_than_are_read_at_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "BATCH", 2)
    for number in range(5):
        send(db, number)
    keys = [awaiting(db) for _ in range(9)]
    assert payloads(db, *keys) == [[0], [1], [2], [3], [4], [], [], [], []]
    for number in range(5, 9):
        send(db, number)
    assert payloads(db, *keys) == [[number] for number in range(9)]
    hold(db)


def test_a_batch_of_waits_of_many_keys_finds_its_messages(db: Database) -> None:
    held = held_tasks(db, 60)
    for number in range(60):
        if number % 3:
            send(db, number, key=str(number))
    batch = [Settlement(item, "await", wait=WaitWish("message", "paid", str(n))) for n, item in enumerate(held)]
    settle_as(db, batch)
    assert payloads(db, *(item.key for item in held)) == [[n] if n % 3 else [] for n in range(60)]
    hold(db)


def test_an_older_wait_is_served_before_one_that_comes_now(db: Database) -> None:
    """A message and the first wait missed each other; the second wait must not overtake the first."""
    first = awaiting(db)
    by_sql(db, "m1", '"one"')
    second = awaiting(db)
    assert payloads(db, first, second) == [[], []]
    assert messages.match(db) == 1
    assert payloads(db, first, second) == [["one"], []]
    hold(db)


def test_an_older_message_is_taken_before_one_that_comes_now(db: Database) -> None:
    first, second = awaiting(db), awaiting(db)
    by_sql(db, "m1", '"one"')
    assert send(db, "two").wait_id is not None
    assert payloads(db, first, second) == [["one"], ["two"]]
    hold(db)


def by_sql(db: Database, message_id: str, payload: str) -> None:
    """A message as a person inserts it."""
    sql(
        db,
        "INSERT INTO kr_message(message_id, name, correlation_key, payload, sent_ts)"
        " VALUES (:id, 'paid', '7', :payload, '2001-01-01 00:00:00')",
        id=message_id,
        payload=payload,
    )


def test_a_message_inserted_by_sql_is_handed_over_by_the_sweep(db: Database) -> None:
    key = awaiting(db)
    by_sql(db, "mine", "no JSON")
    with db.read() as conn:
        assert look(conn, ["default"]).mail
    sweep(db)
    assert payloads(db, key) == [["no JSON"]]
    with db.read() as conn:
        assert not look(conn, ["default"]).mail
    hold(db)


@pytest.mark.parametrize("mail, waiting", [(3, 3), (3, 1), (1, 3)], ids=["many of both", "few wait", "few messages"])
def test_the_sweep_finds_pairs_among_many(
    db: Database, monkeypatch: pytest.MonkeyPatch, mail: int, waiting: int
) -> None:
    monkeypatch.setattr(messages, "_FEW", 2)
    keys = {number: awaiting(db, key=f"k{number}") for number in range(waiting)}
    awaiting(db, kind="form", name="other")
    for number in range(mail):
        columns = "message_id, name, correlation_key, payload, sent_ts"
        to_one, to_none = (f"('{to}{number}', 'paid', '{to}{number}', '{number}', '2001-01-01')" for to in "kx")
        sql(db, f"INSERT INTO kr_message({columns}) VALUES {to_one}, {to_none}")
    both = min(mail, waiting)
    assert messages.match(db) == both
    assert messages.match(db) == 0
    assert payloads(db, *(keys[number] for number in range(both))) == [[number] for number in range(both)]
    hold(db)


def test_the_sweep_finds_nothing_where_names_or_keys_differ(db: Database) -> None:
    awaiting(db)
    send(db, key="8")
    send(db, name="unpaid")
    assert messages.match(db) == 0


def test_the_sweep_pairs_in_order(db: Database) -> None:
    keys = [awaiting(db) for _ in range(5)]
    for number in range(7):
        sql(
            db,
            "INSERT INTO kr_message(message_id, name, correlation_key, payload, sent_ts)"
            f" VALUES ('m{9 - number}', 'paid', '7', '{number}', '2001-01-01 00:00:0{number}')",
        )
    assert messages.match(db) == 5
    assert payloads(db, *keys) == [[0], [1], [2], [3], [4]]
    hold(db)


def test_sender_and_task_that_come_at_once_do_not_miss_each_other(db: Database, url: str) -> None:
    """Two real connections. Neither sees what the other has not committed; the sweep brings them together."""
    other = open_database(url)
    held = held_tasks(db, 12)
    for number, item in enumerate(held):
        together(lambda item=item: await_it(db, item), lambda number=number: send(other, number))
        sweep(db)
        assert payloads(db, item.key) == [[number]]
    other.close()
    assert len(run_all(db)) == 12
    hold(db, at_rest=True)


@pytest.mark.needs("row_locks")
def test_both_uncommitted_then_matched(db: Database, url: str) -> None:
    """The same, step by step: the message is inserted and not committed while the task comes to await it."""
    other = open_database(url)
    (held,) = held_tasks(db, 1)
    with other.transaction() as conn:
        messages.insert_message(conn, "m", messages.Address("paid", "7"), '"x"', "bank", 60.0)
        assert messages.meet(conn, other, [messages.Address("paid", "7")]) == {}
        await_it(db, held)
    other.close()
    assert payloads(db, held.key) == [[]]
    assert messages.match(db) == 1
    assert payloads(db, held.key) == [["x"]]
    hold(db)


def test_many_senders_at_once_serve_each_wait_once(db: Database, url: str) -> None:
    others = [open_database(url) for _ in range(4)]
    keys = [awaiting(db) for _ in range(6)]

    def send_all(connection: Database, sender: int) -> None:
        for number in range(2):
            send(connection, [sender, number])

    together(*(lambda one=one, sender=sender: send_all(one, sender) for sender, one in enumerate(others)))
    sweep(db)
    got = [payload for found in payloads(db, *keys) for payload in found]
    assert len(got) == 6
    assert len({json.dumps(one) for one in got}) == 6
    assert len([row for row in rows(db, message) if row.wait_id is None]) == 2
    for one in others:
        one.close()
    hold(db)


def test_a_message_and_the_end_of_the_wait_at_once(db: Database, url: str) -> None:
    """Exactly one of them closes it; a message that was too late is kept."""
    other = open_database(url)
    for number in range(6):
        key = awaiting(db, key=f"k{number}")
        make_due(db)
        sent, _ = together(lambda n=number: send(db, n, key=f"k{n}"), lambda: waits.fire_waits(other))
        found = wait_of(db, key)
        assert (found.state == "arrived") == (sent.wait_id == found.wait_id)
        assert task(db, key).wait_count == 0
    other.close()
    hold(db)


def test_a_message_that_nobody_came_for_is_deleted_after_its_time(db: Database) -> None:
    send(db, "old", expires_s=60.0)
    send(db, "new", key="8", expires_s=60.0)
    taken = awaiting(db, key="8")
    assert messages.expire(db) == 0
    sql(db, "UPDATE kr_message SET expires_ts = '2001-01-01 00:00:00'")
    assert messages.expire(db) == 1
    assert [row.wait_id for row in rows(db, message)] == [wait_of(db, taken).wait_id]


def test_an_expired_message_is_not_given_to_anybody(db: Database) -> None:
    send(db, "old")
    sql(db, "UPDATE kr_message SET expires_ts = '2001-01-01 00:00:00'")
    key = awaiting(db)
    assert messages.match(db) == 0
    assert task(db, key).wait_count == 1
    send(db, "new")
    assert payloads(db, key) == [["new"]]


def test_messages_outlive_every_process(db: Database, url: str) -> None:
    send(db, "kept")
    db.close()
    later = open_database(url)
    assert payloads(later, awaiting(later)) == [["kept"]]
    later.close()


def test_the_largest_payload_passes_and_a_larger_one_is_refused(db: Database) -> None:
    key = awaiting(db)
    assert send(db, "x" * (1024 * 1024 - 2)).wait_id is not None
    assert len(arrived(db, key)[0].payload) == 1024 * 1024 - 2
    with pytest.raises(BadRequest, match=r"payload: is 1,048,577 bytes"):
        send(db, "x" * (1024 * 1024 - 1))
    assert len(rows(db, message)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 257},
        {"name": 7},
        {"name": "~callback"},
        {"key": ""},
        {"key": "a\x00b"},
        {"key": "\ud800"},
        {"payload": {1, 2}},
        {"payload": float("nan")},
        {"expires_s": 0},
        {"expires_s": float("inf")},
        {"expires_s": float("nan")},
    ],
    ids=str,
)
def test_what_cannot_be_a_message_is_refused_and_named(db: Database, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(wrong))):
        send(db, **wrong)
    assert rows(db, message) == []


def test_a_name_of_penstocks_own_is_not_awaited(db: Database) -> None:
    with pytest.raises(PoisonData, match="tilde"):
        awaiting(db, name="~callback")


def test_a_message_whose_commit_was_answered_by_nobody_is_sent_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = awaiting(db)
    transact, answers = db.transact, iter([False])

    def deaf(work: Any, **how: Any) -> Any:
        done = transact(work, **how)
        if next(answers, True):
            return done
        raise OutcomeUnknown("the answer to COMMIT was lost")

    monkeypatch.setattr(db, "transact", deaf)
    sent = send(db, "once")
    with db.read() as conn:
        assert [tuple(row) for row in conn.execute(select(message.c.message_id, message.c.wait_id))] == [sent]
    assert sent.wait_id == wait_of(db, key).wait_id
    assert payloads(db, key) == [["once"]]
