"""`penstock up --watchers`: several processes that live and end as one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from factories import define, insert_task, rows, task
from processes import Service
from sqlalchemy import select

from engine.access import Actor
from engine.database import Database
from engine.dialects.clock import now
from engine.tables import flow_stat, task_stat, watcher
from penstock.doors.database import DatabaseDoor
from penstock.many import register_many
from tests.watcher.waiting import until

pytestmark = pytest.mark.by_turns


@pytest.fixture
def up(db: Database, tmp_path: Path) -> Iterator[Service]:
    common = "--db", db.address, "--port", 0, "--no-plugins", "--no-samples"
    knobs = "--workers", 2, "--interval", 0.1, "--lease", 3, "--label", "crew"
    with Service(tmp_path / "up.log", "up", "--watchers", 3, *common, *knobs) as service:
        assert service.url
        yield service


def at_work(db: Database) -> list[Any]:
    """Watchers with a lease."""
    query = select(watcher).where(watcher.c.state == "running", watcher.c.lease_until_ts > now())
    with db.read() as conn:
        return list(conn.execute(query))


def members(service: Service) -> list[psutil.Process]:
    """The processes of further watchers."""
    found = []
    for one in psutil.Process(service.process.pid).children():
        with suppress(psutil.Error):  # it has ended meanwhile
            found += [one] if "--with-parent" in one.cmdline() else []
    return found


def test_all_work_and_all_end(db: Database, up: Service) -> None:
    define(db, "w", 3, program="EchoParamTimeSleep", param1_key="SLEEP_TIME_SECOND", param1_value="0.1")
    crew = until(lambda: (found := at_work(db)) and len(found) == 3 and found)
    assert {row.label for row in crew} == {"crew"}, "each is told what the first was told"
    assert len({row.pid for row in crew}) == 3
    others = members(up)
    assert not any(db.url.password and db.url.password in " ".join(one.cmdline()) for one in others)
    register_many(DatabaseDoor(db, Actor("ann")), "w", [{}] * 20, None, lambda count: None)
    until(lambda: {row.flow_status for row in rows(db, flow_stat)} == {3}, 60)
    assert {row.owner for row in rows(db, task_stat)} == {row.watcher_id for row in crew}
    assert up.terminate() == 0
    assert not any(one.is_running() for one in others)
    assert at_work(db) == []


def test_all_may_call_their_own_service_and_nothing_else(db: Database, tmp_path: Path) -> None:
    """The sample posts there, so nobody has to allow it."""
    with Service(
        tmp_path / "up.log", "up", "--watchers", 2, "--db", db.address, "--port", 0, "--no-plugins"
    ) as service:
        base = service.url
        own = insert_task(db, "own", program="HTTPGetRequest", parameters=json.dumps({"URL": f"{base}/healthz"}))
        other = insert_task(db, "other", program="HTTPGetRequest", parameters='{"URL": "http://127.0.0.1:1/"}')
        until(lambda: (task(db, own).exec_status, task(db, other).exec_status) == (3, 2))
        assert "closed to programs" in task(db, other).error
        [member] = until(lambda: members(service))
        assert f"--http-network={base.removeprefix('http://')}" in member.cmdline()
        assert service.terminate() == 0


def test_one_that_ends_is_started_again(db: Database, up: Service) -> None:
    first = until(lambda: (found := members(up)) and len(found) == 2 and len(at_work(db)) == 3 and found)
    first[0].kill()
    until(lambda: {one.pid for one in members(up)} - {one.pid for one in first})
    until(lambda: len({row.pid for row in at_work(db)}) == 3)
    assert "a watcher ended and is started again" in up.log.read_text()
    assert up.terminate() == 0


def test_none_is_left_behind(db: Database, up: Service) -> None:
    others = until(lambda: (found := members(up)) and len(found) == 2 and len(at_work(db)) == 3 and found)
    os.kill(up.process.pid, signal.SIGKILL)
    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in others))
