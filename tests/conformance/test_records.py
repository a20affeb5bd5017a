"""Records are taken out in the order of their numbers, each once and none left out, and outlive the flows."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from factories import define, enlisted, rows, run_all, sql, start
from sqlalchemy import insert, update

from engine import history, retention
from engine.access import Actor, Reach
from engine.commands import Ask, carry_out
from engine.commands.asked_by_sql import carry_out_asked
from engine.database import Database
from engine.dialects.clock import later, now
from engine.errors import BadRequest
from engine.queries import records
from engine.queries.records import SETTLED_S, commands_behind, events_behind
from engine.retention import Retention, Wanted
from engine.tables import command, event, flow_stat
from penstock import taking
from penstock.doors.database import DatabaseDoor

ANN = Actor("ann")
DAY = 86_400.0


def asked(db: Database, number: int = 1) -> None:
    for _ in range(number):
        carry_out(db, Ask("pause_queue", "mail"), ANN)
        carry_out(db, Ask("resume_queue", "mail"), ANN)


def ahead(db: Database, table: Any = command) -> int:
    """The number before the first: a table that was emptied counts on."""
    (key,) = table.primary_key
    return int(rows(db, table)[0]._mapping[key.name]) - 1


def taken(db: Database, after: int | None = None, limit: int = 500, **where: Any) -> list[int]:
    """The numbers of all commands, or of those behind this one, page by page."""
    numbers: list[int] = []
    place: int | None = ahead(db) if after is None else after
    while place is not None:
        with db.read() as conn:
            found, place = commands_behind(conn, place, limit=limit, **where)
        numbers += [one["command_id"] for one in found]
    return numbers


def aged(db: Database, table: Any, column: Any, seconds: float, *numbers: int) -> None:
    (key,) = table.primary_key
    with db.transaction() as conn:
        conn.execute(update(table).where(key.in_(numbers)).values({column: later(-seconds)}))


def test_pages_begin_where_the_one_before_ended(db: Database) -> None:
    asked(db, 4)
    every = [row.command_id for row in rows(db, command)]
    for limit in (1, 3, 8, 500):
        assert taken(db, limit=limit) == every, limit
    for place in range(9):
        assert taken(db, every[0] - 1 + place) == every[place:]
    assert taken(db, subject="mail", limit=3) == every
    assert taken(db, subject="else", limit=3) == []
    with db.read() as conn, pytest.raises(BadRequest, match="limit"):
        commands_behind(conn, 0, limit=501)


@pytest.mark.needs("many_writers")
def test_what_is_not_committed_yet_holds_up_what_is_behind_it(db: Database) -> None:
    asked(db)
    before = taken(db)
    row = {"verb": "drain", "door": "cli", "outcome": "done"}
    with db.engine.connect() as slow, slow.begin():
        slow.execute(insert(command).values(**row, handled_ts=now()))
        asked(db)
        assert taken(db) == before
    every = [one.command_id for one in rows(db, command)]
    assert taken(db, before[-1]) == every[2:]
    assert len(every) == 5


def test_a_number_that_was_rolled_back_is_waited_for_no_longer_than_a_minute(db: Database) -> None:
    asked(db, 2)
    first, second, *behind = [row.command_id for row in rows(db, command)]
    sql(db, "DELETE FROM kr_command WHERE command_id = :it", it=second)
    assert taken(db) == [first]
    aged(db, command, "handled_ts", SETTLED_S - 20, behind[0])
    assert taken(db) == [first]
    aged(db, command, "handled_ts", SETTLED_S + 1, behind[0])
    assert taken(db) == [first, *behind]


def test_a_command_that_waits_for_a_watcher_is_taken_once_it_is_answered(db: Database) -> None:
    asked(db)
    sql(db, "INSERT INTO kr_command (verb, subject) VALUES ('pause_queue', 'post')")
    asked(db)
    assert len(taken(db)) == 2
    carry_out_asked(db, "watcher-1")
    beginning = ahead(db)
    with db.read() as conn:
        found, following = commands_behind(conn, beginning)
    assert [one["outcome"] for one in found] == ["done"] * 5
    assert (found[2]["changes"]["before"], following) == (None, None)


@pytest.mark.parametrize("looked_at", [1, 5_000])
def test_events_of_flows_beyond_the_reach_are_passed_over(
    db: Database, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LOOKED_AT", looked_at)
    define(db, "load")
    define(db, "pay")
    for task_id in ("load", "pay", "pay", "load"):
        carry_out(db, Ask("pause", start(db, task_id)), ANN)
    numbers, place = [], ahead(db, event)
    while True:
        with db.read() as conn:
            found, following = events_behind(conn, place, limit=1, within=Reach(("load",)))
        numbers += [one["event_id"] for one in found]
        if following is None:
            break
        place = following
    every = [row.event_id for row in rows(db, event)]
    assert numbers == [every[0], every[3]]


def test_what_is_followed_goes_on_with_what_comes(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "EVERY_S", 0.0)
    asked(db)
    door = DatabaseDoor(db, ANN)
    live = taking.take(door.commands, "command_id", ahead(db), live=True)
    seen = [one["verb"] for one in islice(live, 2)]
    asked(db)
    seen += [one["verb"] for one in islice(live, 2)]
    assert seen == ["pause_queue", "resume_queue"] * 2
    assert len(list(taking.take(door.events, "event_id", ahead(db, event), live=False))) == 4


# --- retention --------------------------------------------------------------------------------------------------------


def test_records_outlive_the_flow_that_they_are_about(db: Database) -> None:
    define(db)
    enlisted(db)
    flow_id = start(db)
    carry_out(db, Ask("set_priority", flow_id, {"priority": 3}, "now"), ANN)
    carry_out(db, Ask("pause_queue", "mail"), ANN)
    run_all(db)
    with db.transaction() as conn:
        conn.execute(update(flow_stat).values(finished_ts=later(-9 * DAY), registered_ts=later(-9 * DAY)))
        conn.execute(update(event).values(event_ts=later(-9 * DAY)))
        conn.execute(update(command).values(handled_ts=later(-9 * DAY)))
    assert Retention(db, DAY).slice() == retention.Pruned(1, 1)
    assert [row.subject for row in rows(db, command)] == [flow_id, "mail"]
    assert [row.what for row in rows(db, event)] == ["queue paused"]


def test_the_number_of_the_newest_event_is_never_given_again(db: Database) -> None:
    define(db)
    enlisted(db)
    carry_out(db, Ask("cancel", start(db)), ANN)
    [told] = rows(db, event)
    retention.prune(db, Wanted(0.0), by="bob", pause_s=0)
    behind = rows(db, event)
    assert min(row.event_id for row in behind) > told.event_id
    assert (behind[-1].what, behind[-1].actor) == ("flows deleted", "bob")


def test_old_records_go_when_they_are_asked_to(db: Database) -> None:
    define(db)
    flow_id = start(db)
    asked(db, 3)
    carry_out(db, Ask("pause", flow_id), ANN)
    numbers = [row.command_id for row in rows(db, command)]
    aged(db, command, "handled_ts", 3 * DAY, *numbers[:4])
    told = [row.event_id for row in rows(db, event)]
    aged(db, event, "event_ts", 3 * DAY, *told[:2], told[-1])
    assert retention.prune_records(db, DAY, by="bob", dry_run=True) == retention.Gone(4, 2)
    assert retention.prune_records(db, DAY, by="bob", pause_s=0) == retention.Gone(4, 2)
    assert [row.command_id for row in rows(db, command)] == numbers[4:]
    left = rows(db, event)
    assert [row.event_id for row in left[:-1]] == told[2:], "the event of the flow is the flow's"
    assert (left[-1].what, left[-1].actor) == ("records deleted", "bob")
    with pytest.raises(BadRequest, match="older_than_s"):
        retention.prune_records(db, -1.0, by="bob")


def test_the_newest_record_stays_and_those_that_wait(db: Database) -> None:
    asked(db)
    sql(db, "INSERT INTO kr_command (verb, subject, asked_ts) VALUES ('pause_queue', 'post', '2001-01-01 00:00:00')")
    with db.transaction() as conn:
        history.record(conn, [history.deed("seen", "ann")])
    newest = rows(db, event)[-1].event_id
    assert retention.prune_records(db, 0.0, by="bob", pause_s=0) == retention.Gone(2, 2)
    assert [row.outcome for row in rows(db, command)] == [None]
    assert rows(db, event)[0].event_id == newest
    carry_out_asked(db, "watcher-1")
    assert retention.prune_records(db, 0.0, by="bob", pause_s=0).commands == 0
