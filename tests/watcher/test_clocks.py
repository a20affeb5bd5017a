"""A database whose clock jumps: nobody is called dead for it, and nobody is kept alive by it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from factories import insert_task, rows, sql, task
from patience import until
from waiting import attempts, settled
from watching import Watch

from engine.database import Database
from engine.dialects import clock
from engine.supervise import batches
from engine.tables import watcher
from penstock import Call, program
from watcher.clocks import MAX_JUMP_S, Clocks

SHORT: dict[str, Any] = {"lease_s": 1.5, "heartbeat_s": 0.4, "interval_s": 0.1}
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "passed_s, asked_at, answered_at, jump_s",
    [
        (1.0, 11.0, 11.0, 0),
        (3600.0, 11.0, 11.0, 3599),
        (-3600.0, 11.0, 11.0, -3601),
        (9.0, 11.0, 19.0, 0),  # a slow answer proves nothing
        (9.0, 11.0, 16.0, 3),
        (0.5, 11.0, 11.0, -0.5),
    ],
)
def test_what_surely_is_a_jump(passed_s: float, asked_at: float, answered_at: float, jump_s: float) -> None:
    clocks = Clocks()
    assert clocks.jump_s(NOON, 10.0, 10.0) == 0
    assert clocks.jump_s(NOON + timedelta(seconds=passed_s), asked_at, answered_at) == pytest.approx(jump_s)


def test_the_clocks_of_real_databases_agree_with_ours(db: Database) -> None:
    from engine.lookout import look

    clocks = Clocks()
    for _ in range(3):
        asked_at = time.monotonic()
        with db.read() as conn:
            seen = look(conn, ["default"])
        assert seen.time_now is not None
        assert abs(clocks.jump_s(seen.time_now, asked_at, time.monotonic())) < MAX_JUMP_S / 4
        time.sleep(0.2)


class Clock:
    """The host's clock, which is the clock of SQLite, as the database's function reads it."""

    ahead = timedelta()

    @classmethod
    def now(cls, zone: Any) -> datetime:
        return datetime.now(zone) + cls.ahead


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize("hours", [1, -1])
def test_a_jump_costs_no_living_watcher_its_task(
    db: Database, started: Watch, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    monkeypatch.setattr(clock, "datetime", Clock)
    monkeypatch.setattr(Clock, "ahead", timedelta())
    leave: list[bool] = []

    @program
    def long(call: Call) -> str:
        until(lambda: leave)
        return "kept"

    both = [started(long, **SHORT, keep_all_attempts=True) for _ in range(2)]
    until(lambda: all(one.watcher._heartbeat.in_contact_s > 1.5 for one in both))
    key = insert_task(db, program="long")
    until(lambda: task(db, key).exec_status == 1)
    Clock.ahead = timedelta(hours=hours)
    time.sleep(2 * SHORT["lease_s"])
    leave.append(True)
    settled(db, key)
    row = task(db, key)
    assert (row.exec_status, row.result, row.claims, row.losses) == (3, '"kept"', 1, 0)
    assert [item.outcome for item in attempts(db, key)] == ["finished"]


def test_a_clock_set_back_keeps_no_dead_watcher_alive(db: Database, watch: Watch) -> None:
    """Its last beat is an hour ahead of the clock, and so is the end of its lease."""

    @program
    def quick() -> str:
        return "survivor"

    watching = watch(quick, **SHORT)
    until(lambda: rows(db, watcher))
    sql(
        db,
        "INSERT INTO kr_watcher (watcher_id, started_ts, beat_ts, lease_until_ts)"
        " SELECT 'dead', started_ts, '2999-01-01 00:00:00', '2999-01-01 00:00:20' FROM kr_watcher",
    )
    key = insert_task(db, program="quick", wait_count=0, exec_status=1, owner="dead", claim_id="0")
    settled(db, key)
    row = task(db, key)
    assert (row.exec_status, row.losses, row.owner) == (3, 1, watching.id)


def test_more_than_one_pass_of_lapsed_rows_goes_back_at_once(
    db: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass is bounded, and the rest does not wait for the next tick."""
    monkeypatch.setattr(batches, "BATCH", 5)
    for number in range(20):
        insert_task(db, f"f{number}", program="Noop", wait_count=0, exec_status=1, owner="gone", claim_id=str(number))
    begun = time.monotonic()
    watch(**{**SHORT, "lease_s": 4}, reap_s=3.9)
    settled(db, *[(f"f{number}", 1) for number in range(20)])
    assert time.monotonic() - begun < 9, "four passes with three ticks between them take longer"
