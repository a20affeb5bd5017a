"""Watchers and limits that are rows: obeyed within a poll, woken when a rate allows, and no place lost with a life."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from factories import define, flow, insert_task, start, task
from patience import until
from sqlalchemy import delete, insert, update
from waiting import finished, running, settled, status
from watching import Watch

from engine.database import Database, open_database
from engine.tables import limit, task_stat, workflow
from penstock import Call, program
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

CHILD = Path(__file__).parent / "child.py"


def allow(db: Database, scope: str, name: str, **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(delete(limit).where(limit.c.scope == scope, limit.c.name == name))
        conn.execute(insert(limit).values(scope=scope, name=name, **columns))


def test_a_pause_and_its_end_are_obeyed_within_a_poll(db: Database, started: Watch) -> None:
    define(db)
    started(interval_s=0.2)
    finished(db, start(db))
    allow(db, "queue", "default", max_running=0)
    time.sleep(1.0)
    key = insert_task(db, program="Noop")
    time.sleep(1.0)
    assert status(db, key) == 0
    with db.transaction() as conn:
        conn.execute(delete(limit))
    settled(db, key)
    assert status(db, key) == 3


def test_a_rate_lets_go_without_a_poll(db: Database, started: Watch) -> None:
    """Nobody looks and nobody hints: the watcher knows by itself when to claim."""
    define(db)
    allow(db, "workflow", "w", rate=2, rate_period_s=0.5)
    watcher = started().watcher
    watcher._lookout.stop()
    watcher._hints.stop()
    flows = [start(db) for _ in range(9)]
    watcher.wake()
    finished(db, *flows, seconds=15)
    begun = sorted(task(db, (flow_id, 1)).started_ts for flow_id in flows)
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            assert last - first + 1 <= 2 + 2 * (begun[last] - begun[first]).total_seconds() / 0.5 + 1e-6


def test_four_watchers_never_run_more_than_the_limit(db: Database, watch: Watch) -> None:
    define(db, program="brief")
    allow(db, "key", "*", max_running=3)
    inside: list[int] = []
    most: list[int] = [0]

    @program("brief")
    def brief(call: Call) -> None:
        inside.append(1)
        most[0] = max(most[0], len(inside))
        time.sleep(0.05)
        inside.pop()

    flows = [start(db) for _ in range(60)]
    with db.transaction() as conn:
        conn.execute(update(task_stat).values(limit_key="k"))
    for _ in range(4):
        watch(brief, workers=4)
    finished(db, *flows, seconds=40)
    assert most[0] == 3


def test_until_idle_leaves_what_is_paused(db: Database, watch: Watch) -> None:
    define(db)
    define(db, "paused")
    allow(db, "workflow", "paused", max_running=0)
    allow(db, "workflow", "w", rate=1, rate_period_s=0.3)
    flows, paused = [start(db) for _ in range(3)], start(db, "paused")
    own = open_database(db.url.render_as_string(hide_password=False))
    Watcher(own, build_catalogue(autoload=False), Settings(interval_s=0.2, heartbeat_in="thread")).run(until_idle=True)
    own.close()
    assert [flow(db, flow_id).flow_status for flow_id in flows] == [3, 3, 3], "a rate is worth waiting for"
    assert flow(db, paused).flow_status == 0


def test_a_killed_watcher_leaves_no_place_taken(db: Database, url: str, watch: Watch) -> None:
    ran: list[int] = []

    @program("slow")
    def slow(call: Call) -> None:
        ran.append(call.exec_seq)

    allow(db, "queue", "default", max_running=2)
    keys = [insert_task(db, f"f{number}", program="slow") for number in range(6)]
    command = [sys.executable, str(CHILD), url, "60", "1.5", "0.4"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        until(lambda: running(db) == 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        watch(slow, lease_s=1.5, heartbeat_s=0.4, interval_s=0.1)
        settled(db, *keys, seconds=40)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert [status(db, key) for key in keys] == [3] * 6
    assert len(ran) == 6


def test_queued_flows_get_their_turn_one_after_the_other(db: Database, watch: Watch) -> None:
    define(db, steps=2)
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", max_active_flows=1))
    flows = [start(db) for _ in range(5)]
    watch()
    finished(db, *flows)
    by_flow = [flow(db, flow_id) for flow_id in flows]
    assert all(before.finished_ts <= after.started_ts for before, after in pairwise(by_flow))


def test_a_waiting_task_rises(db: Database, watch: Watch) -> None:
    key = insert_task(db, program="Noop", queue="default", task_priority=5, wait_count=0)
    with db.transaction() as conn:
        conn.execute(update(task_stat).values(registered_ts=datetime.now(UTC) - timedelta(hours=1)))
    allow(db, "queue", "default", max_running=0)
    watch(ageing_s=300.0)
    until(lambda: task(db, key).aged == 12)
    assert task(db, key).task_priority == -7
