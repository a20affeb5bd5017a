"""Databases that are away, full of others' connections, or wrong: what a watcher does and what it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from factories import insert_task, sql, task
from patience import until
from proxy import Proxy
from waiting import settled
from watching import Watch

from engine import outages
from engine.database import Database
from engine.errors import FatalDatabaseError
from engine.ids import new_claim_id
from engine.outages import Quiet
from penstock import Call, program


def test_one_line_for_each_cause_and_a_count_of_the_others() -> None:
    quiet = Quiet(every_s=0.3)
    assert [quiet.may_say("a"), quiet.may_say("a"), quiet.may_say("a"), quiet.may_say("b")] == [0, None, None, 0]
    time.sleep(0.35)
    assert [quiet.may_say("a"), quiet.may_say("a"), quiet.may_say("b")] == [2, None, 0]


def test_five_lines_a_minute_are_the_most() -> None:
    assert 60 / outages.EVERY_S <= 5


@pytest.mark.needs("many_writers")
def test_all_parts_of_a_watcher_share_their_lines(
    db: Database, started: Watch, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages.OUTAGES, "_said", {})
    with structlog.testing.capture_logs() as said, Proxy(url) as wire:
        watching = started(url=wire.url, lease_s=1.5, heartbeat_s=0.4, interval_s=0.1)
        del said[:]
        wire.cut()
        time.sleep(4)
        assert len(said) <= 2, said
        wire.mend()
        settled(db, insert_task(db, program="Noop"))
        assert watching.lives


@pytest.mark.needs("many_writers")
def test_what_was_kept_is_settled_as_soon_as_a_beat_gets_through(
    db: Database, started: Watch, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when the pause is over that an outage has made long."""
    monkeypatch.setattr("watcher.backoff.FIRST_PAUSE_S", 600.0)
    began, leave = threading.Event(), threading.Event()

    @program
    def worth(call: Call) -> str:
        began.set()
        leave.wait(30)
        return "kept"

    with Proxy(url) as wire:
        watching = started(worth, url=wire.url, lease_s=6.0, heartbeat_s=0.4, interval_s=0.1)
        loop: Any = watching.watcher
        key = insert_task(db, program="worth")
        assert began.wait(20)
        wire.cut()
        leave.set()
        until(lambda: loop._backoff.left_s > 100)
        until(lambda: loop._heartbeat._in_contact_since is None)
        wire.mend()
        settled(db, key)
        assert task(db, key).result == '"kept"'


@pytest.mark.needs("many_writers")
def test_new_work_is_seen_as_soon_as_a_beat_gets_through(
    db: Database, started: Watch, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcher.backoff.FIRST_PAUSE_S", 600.0)
    with Proxy(url) as wire:
        watching = started(url=wire.url, lease_s=6.0, heartbeat_s=0.4, interval_s=0.1)
        loop: Any = watching.watcher
        wire.cut()
        until(lambda: loop._lookout._backoff.left_s > 100)
        until(lambda: loop._heartbeat._in_contact_since is None)
        wire.mend()
        settled(db, insert_task(db, program="Noop"))


@contextmanager
def without_the_tasks(db: Database) -> Iterator[None]:
    sql(db, "ALTER TABLE kr_task_stat RENAME TO kr_task_away")
    try:
        yield
    finally:
        sql(db, "ALTER TABLE kr_task_away RENAME TO kr_task_stat")


def test_a_database_that_refuses_for_good_ends_the_watcher(db: Database, started: Watch) -> None:
    watching = started(db_wait_s=1.0, interval_s=0.2)
    with without_the_tasks(db):
        until(lambda: not watching.lives)
    assert isinstance(watching.error, FatalDatabaseError)
    assert "kr_task_stat" in str(watching.error)
    watching.error = None


def test_but_not_while_it_holds_a_result(db: Database, started: Watch) -> None:
    leave = threading.Event()
    ran: list[str] = []

    @program
    def worth(call: Call) -> str:
        ran.append(call.flow_id)
        leave.wait(30)
        return "kept"

    watching = started(worth, db_wait_s=0.5, interval_s=0.2)
    key = insert_task(db, program="worth")
    until(lambda: ran)
    with without_the_tasks(db):
        leave.set()
        time.sleep(2.5)
        assert watching.lives
    settled(db, key)
    assert (task(db, key).result, len(ran)) == ('"kept"', 1)


def test_many_large_results_are_all_settled(db: Database, watch: Watch) -> None:
    """Twelve megabytes in one packet would be more than some servers take."""

    @program
    def large() -> str:
        return "x" * 1_000_000

    keys = [insert_task(db, f"f{number}", program="large") for number in range(12)]
    watch(large, workers=12)
    settled(db, *keys, seconds=60)
    assert {task(db, key).exec_status for key in keys} == {3}


def test_a_row_that_a_commit_without_answer_took_is_not_given_back(
    db: Database, started: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading it back and running it, the rows name a task that the watcher does not run yet."""
    watching = started()
    loop: Any = watching.watcher
    key = insert_task(db, program="Noop", wait_count=0, exec_status=1, owner=watching.id, claim_id=new_claim_id())
    monkeypatch.setattr(loop._cycle, "_unknown", ["a claim that is to be read back"])
    loop._comparison.compare()
    assert task(db, key).exec_status == 1
    monkeypatch.setattr(loop._cycle, "_unknown", [])
    loop._comparison.compare()
    settled(db, key)


def test_what_the_rows_no_longer_name_is_told_to_stop(
    db: Database, started: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half of the comparison: its outcome would come too late anyway."""
    monkeypatch.setattr("watcher.comparison.EVERY_S", 0.3)
    stopped = threading.Event()
    began = threading.Event()

    @program
    def waits(call: Call) -> None:
        began.set()
        if call.stop.wait(20):
            stopped.set()

    started(waits)
    key = insert_task(db, program="waits")
    assert began.wait(20)
    sql(db, "UPDATE kr_task_stat SET owner = 'another' WHERE task_flow_id = :f", f=key.flow_id)
    assert stopped.wait(20)
