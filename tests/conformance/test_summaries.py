"""Summaries: each minute that is over is written once, whoever does it, and figures are read from there."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from factories import rows
from sqlalchemy import insert, select

from engine import summaries
from engine.access import Reach
from engine.database import Database
from engine.dialects.clock import seconds_between, time_now
from engine.queries import stats
from engine.tables import flow_stat, flow_summary, limit_stat

pytestmark = pytest.mark.by_turns

MINUTE = timedelta(minutes=1)


def this_minute(db: Database) -> datetime:
    with db.read() as conn:
        return time_now(conn).replace(second=0, microsecond=0)


def add(db: Database, task_id: str, began: datetime, took_s: float | None = None, status: int = 3) -> None:
    ended = None if took_s is None else began + timedelta(seconds=took_s)
    with db.transaction() as conn:
        number = len(conn.execute(select(flow_stat.c.task_flow_id)).all())
        row = {"task_flow_id": f"f{number}", "task_id": task_id, "flow_status": status if ended else 0}
        conn.execute(insert(flow_stat).values(**row, registered_ts=began, finished_ts=ended))


def begin_at(db: Database, minute: datetime) -> None:
    with db.transaction() as conn:
        conn.execute(insert(limit_stat).values(scope="summary", name="next minute", free_at_ts=minute))


def written(db: Database) -> list[tuple[int, str, int, int, int]]:
    """(minutes ago, workflow, registered, finished, ignored)"""
    now = this_minute(db)
    return [
        (int((now - row.minute_ts) / MINUTE), row.task_id, row.registered, row.finished, row.ignored)
        for row in rows(db, flow_summary)
    ]


def test_minutes_that_are_over_are_written_once(db: Database) -> None:
    now = this_minute(db)
    begin_at(db, now - 5 * MINUTE)
    add(db, "a", now - 5 * MINUTE, 2.5)
    add(db, "a", now - 4.5 * MINUTE, 90.0, status=9)
    add(db, "b", now - 3 * MINUTE)
    add(db, "b", now + timedelta(seconds=1))
    done = summaries.summarise(db)
    assert done in (4, 5), "the last minute may not have settled yet"
    expected = [(5, "a", 2, 1, 0), (3, "a", 0, 0, 1), (3, "b", 1, 0, 0)]
    assert written(db) == expected
    assert summaries.summarise(db) == 0
    [first, *_] = rows(db, flow_summary)
    assert (round(first.took_s, 2), round(first.longest_s, 2)) == (2.5, 2.5)


def test_nothing_is_written_of_the_minute_that_runs(db: Database) -> None:
    add(db, "a", this_minute(db))
    summaries.summarise(db)
    assert written(db) == []


def test_after_a_long_pause_it_goes_on_some_time_back(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "FORGOTTEN", timedelta(hours=2))
    now = this_minute(db)
    begin_at(db, now - timedelta(days=400))
    add(db, "old", now - timedelta(days=3), 1.0)
    add(db, "new", now - timedelta(minutes=110), 1.0)
    rounds = 0
    while summaries.summarise(db):
        rounds += 1
    assert rounds <= 2 * 60 / summaries.CATCH_UP + 2
    assert [row[1:] for row in written(db)] == [("new", 1, 1, 0)]


def test_watchers_that_race_write_each_minute_once(db: Database) -> None:
    now = this_minute(db)
    begin_at(db, now - 20 * MINUTE)
    for ago in range(3, 20):
        add(db, "a", now - ago * MINUTE, 1.0)
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        summaries.summarise(db)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row[2:] for row in written(db)] == [(1, 1, 0)] * 17


def test_old_summaries_are_forgotten(db: Database) -> None:
    now = this_minute(db)
    for days in (29, 31):
        row = {"minute_ts": now - timedelta(days=days), "task_id": "a", "registered": 1}
        with db.transaction() as conn:
            conn.execute(insert(flow_summary).values(row))
    assert db.transact(summaries.forget_old) == 1


def test_a_series_adds_up_the_workflows(db: Database) -> None:
    minute = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for number, name in enumerate(("a", "b")):
        for ago in (0, 1):
            row = {"minute_ts": minute - ago * MINUTE, "task_id": name, "registered": 1, "finished": 1, "ignored": 1}
            with db.transaction() as conn:
                conn.execute(insert(flow_summary).values(**row, took_s=number + 1.0, longest_s=number + 0.5))
    with db.read() as conn:
        both = stats.series(conn)
        assert [(one["minute_ts"], one["registered"], one["mean_s"], one["longest_s"]) for one in both] == [
            ("2026-01-01T11:59:00.000000Z", 2, 0.75, 1.5),
            ("2026-01-01T12:00:00.000000Z", 2, 0.75, 1.5),
        ]
        assert [one["registered"] for one in stats.series(conn, task_id="a")] == [1, 1]
        assert [one["mean_s"] for one in stats.series(conn, within=Reach(("b",)))] == [1.0, 1.0]
        assert len(stats.series(conn, limit=1)) == 1
        assert len(stats.series(conn, after=minute)) == 1
        assert len(stats.series(conn, before=minute)) == 1


@pytest.mark.parametrize("seconds", [0.0, 0.25, 61.5, 86_400.0 * 400])
def test_the_time_between_two_instants(db: Database, seconds: float) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    add(db, "a", begin, seconds)
    with db.read() as conn:
        found = conn.scalar(select(seconds_between(flow_stat.c.registered_ts, flow_stat.c.finished_ts)))
    assert found == pytest.approx(seconds, abs=0.002)


def test_counters_count_what_is_in_play(db: Database) -> None:
    now = this_minute(db)
    add(db, "a", now)
    add(db, "a", now, 1.0)
    with db.read() as conn:
        found = stats.counters(conn)
    assert (found["flows_wait"], found["flows_running"], found["tasks_ready"], found["more"]) == (1, 0, 0, [])
