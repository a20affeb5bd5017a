"""How often a watcher looks for work that nobody announced, and what tells it to."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from factories import insert_task
from patience import until
from sqlalchemy import event, func, select
from watching import Watch, Watching

from engine.database import Database, open_database
from engine.tables import task_stat
from watcher import chores, lookout
from watcher.lookout import LOOKS, SOON_S

on_one_database = pytest.mark.parametrize("kind", ["sqlite"])


class Counted:
    """What a watcher's own connections ask, its beats apart."""

    def __init__(self, watching: Watching) -> None:
        self.asked: list[str] = []
        for engine in {watching.db.engine, watching.db.repeating}:
            event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            self.asked.append(statement)


@pytest.mark.slow
def test_an_idle_watcher_asks_less_than_once_in_an_interval(
    db: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its beats nor those of others lead to more, and nobody looks for lost tasks where none is held."""
    monkeypatch.setattr(chores, "SUMMARISE_EVERY_S", 1e6)  # what ended before is still summed up, for some minutes
    interval_s, seconds = 0.25, 10
    quick: dict[str, Any] = {"interval_s": interval_s, "heartbeat_s": 1.0, "lease_s": 4.0}  # reaps every 0.4 s
    watching = watch(**quick)
    watch(**quick)
    until(lambda: watching.watcher._lookout.idle_looks > LOOKS, 60)
    counted = Counted(watching)
    began = time.monotonic()
    time.sleep(seconds)
    most = 0.9 * (time.monotonic() - began) / interval_s
    on_hints = 0 if db.can.row_locks else 2.5 * seconds  # a beat is a commit, which SQLite alone hints at
    assert len(counted.asked) < most + on_hints
    assert {statement.split()[0] for statement in counted.asked} <= {"SELECT", "DELETE"}


def test_whatever_happens_looks_rest_in_between(db: Database, started: Watch) -> None:
    watching = started(interval_s=5.0)
    counted = Counted(watching)
    began = time.monotonic()
    while time.monotonic() < began + 1.0:
        watching.watcher._lookout.nudge()
        time.sleep(0.001)
    assert 0 < len(counted.asked) <= (time.monotonic() - began) / SOON_S + 5


@on_one_database
def test_a_hint_of_sqlite_comes_once_a_commit_can_be_seen(db: Database, url: str) -> None:
    other, stopped, seen = open_database(url), threading.Event(), [0]

    def count() -> int:
        with other.read() as conn:
            return int(conn.scalar(select(func.count()).select_from(task_stat)) or 0)

    def listen() -> None:
        for _ in other.dialect.listen(other.url, stopped.is_set):
            seen[0] = count()

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        for number in range(20):
            insert_task(db, f"f{number}", program="Noop")
            until(lambda number=number: seen[0] == number + 1, 5)
    finally:
        stopped.set()
        thread.join(10)
        other.close()


@on_one_database
def test_rows_of_another_process_begin_long_before_the_next_look(
    db: Database, started: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "RESTING", (1.0, 1.0))
    watching = started(interval_s=60.0)
    watching.watcher._lookout.pause_s = 60.0
    time.sleep(0.5)  # in which it begins its long pause
    insert_task(db, program="Noop", wait_count=0)
    until(lambda: _begun(db), 20)


def _begun(db: Database) -> bool:
    with db.read() as conn:
        return bool(conn.scalar(select(func.count()).where(task_stat.c.claims > 0)))
