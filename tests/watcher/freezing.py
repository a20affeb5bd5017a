"""Watcher processes that stand still, as a paused machine leaves them: outside their transactions."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from patience import until
from sqlalchemy import select

from engine.database import Database
from engine.errors import DatabaseUnavailable
from engine.tables import task_stat, watcher

Tell = Callable[[int, int], None]


def freeze(pid: int, db: Database, tell: Tell = os.kill) -> None:
    """Stop the process, or by `os.killpg` its group, between two transactions: in one it would keep its locks."""
    _stop(pid, tell)
    while not _is_unlocked(db):
        tell(pid, signal.SIGCONT)
        time.sleep(0.05)
        _stop(pid, tell)


def _stop(pid: int, tell: Tell) -> None:
    """Return when it stands: until then a thread ends its system call, which may be the one that takes a lock."""
    tell(pid, signal.SIGSTOP)
    told = [pid] if tell is os.kill else [one.pid for one in psutil.process_iter() if _group(one.pid) == pid]
    until(lambda: all(map(_stands, told)))


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _stands(pid: int) -> bool:
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) <= {"T", "Z", "X"}


def _is_unlocked(db: Database) -> bool:
    if not db.can.row_locks:
        return _is_unlocked_file(str(db.url.database))
    time.sleep(0.1)  # what it sent just before is still being carried out
    try:
        with db.transaction() as conn:
            for table in (task_stat, watcher):
                conn.execute(select(table).with_for_update(nowait=True)).all()
    except DatabaseUnavailable:
        return False
    return True


def _is_unlocked_file(path: str) -> bool:
    connection = sqlite3.connect(path, timeout=0.1, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True
