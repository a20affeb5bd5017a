"""Watchers as processes of their own, and the time until everything that was registered has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psutil
from sqlalchemy import func, select

from engine.database import Database
from engine.dialects.clock import now, time_now
from engine.tables import IS_ACTIVE, flow_stat, watcher
from penstock.failures import CannotStart, TimedOut

PATIENCE_S = 600.0
MOST = 4
"""Watchers, unless more are asked for: they share the cores with the database."""


def begun(db: Database, service: str, *flags: str) -> subprocess.Popen[bytes]:
    """A service of this database in a process of its own, which says nothing but errors."""
    command = [sys.executable, "-m", "penstock", service, "--no-plugins", "--log-level", "error", *flags]
    return subprocess.Popen(command, env={**os.environ, "PENSTOCK_DB": db.address})


def usual_watchers(db: Database) -> int:
    """How many make sense on this machine: writers of a file take turns, those of a server do not."""
    return min(MOST, os.cpu_count() or 1) if db.can.many_writers else 1


@contextmanager
def watchers(db: Database, count: int, *flags: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """`penstock watch`, so many times. Errors: CannotStart if one of them ends, or does not come up."""
    processes = [begun(db, "watch", *flags) for _ in range(count)]
    try:
        _await_all(db, processes)
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def _await_all(db: Database, processes: list[subprocess.Popen[bytes]]) -> None:
    working = select(func.count()).where(watcher.c.state == "running", watcher.c.lease_until_ts > now())

    def are_up() -> bool:
        if any(process.poll() is not None for process in processes):
            raise CannotStart("a watcher ended instead of working")
        return bool(_ask(db, working) >= len(processes))

    until(are_up, "the watchers work", 60.0)


def finished(db: Database, every_s: float = 0.02) -> None:
    """Wait until no flow is open. Errors: TimedOut."""
    is_open = select(func.count()).select_from(select(1).select_from(flow_stat).where(IS_ACTIVE).limit(1).subquery())
    until(lambda: _ask(db, is_open) == 0, "every flow has ended", PATIENCE_S, every_s)


def until(is_so: Callable[[], bool], what: str, seconds: float, every_s: float = 0.02) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimedOut(f"waited {seconds:g} s in vain until {what}")
        time.sleep(every_s)


def through(db: Database, tasks: int, pid: int, every_s: float = 0.1) -> tuple[int, int]:
    """Wait until so many tasks have finished, or more by the time one looks. How many, and the most memory that the
    watcher held meanwhile, in bytes. Errors: TimedOut."""
    done = select(func.coalesce(func.sum(flow_stat.c.finish_count), 0)).where(flow_stat.c.finished_ts.isnot(None))
    watched, most = psutil.Process(pid), 0
    counted = 0

    def are_through() -> bool:
        nonlocal most, counted
        most = max(most, watched.memory_info().rss)
        counted = int(_ask(db, done))
        return counted >= tasks

    until(are_through, f"{tasks:,} tasks have finished", PATIENCE_S, every_s)
    return counted, most


def time_of(db: Database) -> datetime | None:
    """The database's time."""
    with db.read() as conn:
        return time_now(conn)


def took_s(db: Database, *, since: datetime | None = None) -> float:
    """Seconds of the database's clock from the first registration to the end of the last flow; `since`: of those that
    were registered after that."""
    times = select(func.min(flow_stat.c.registered_ts), func.max(flow_stat.c.finished_ts))
    if since is not None:
        times = times.where(flow_stat.c.registered_ts >= since)
    with db.read() as conn:
        first, last = conn.execute(times).one()
    return float((last - first).total_seconds())


def _ask(db: Database, query: Any) -> Any:
    with db.read() as conn:
        return conn.scalar(query)
