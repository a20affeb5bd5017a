"""What a limit costs, and whether it holds: short tasks over several watchers, with and without one.

    python benchmarks/limits.py                          all databases whose servers are on the machine
    python benchmarks/limits.py --db URL --tasks 2000    one database of yours; its Penstock tables are emptied

Every watcher is a process of its own. Each task notes in a file that all share, under its lock, that it begins and that
it ends; the largest number that was ever inside is what counts, whatever the database says. `--hold-ms` says
how long a task stays inside: 0 measures no-ops, which hardly ever overlap.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import multiprocessing
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, insert, select, update

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from main_job import databases

from engine import migrate
from engine.database import Database, open_database
from engine.flows import Registration, register
from engine.tables import flow_stat, limit, task_definition, task_stat
from penstock import program
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

COUNTS = struct.Struct("qqq")
"""What the shared file holds: how many are inside, the most that ever were, how many have ended."""
LIMITS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "workflow": {"scope": "workflow", "name": "w"},
    "key": {"scope": "key", "name": "*"},
    "queue": {"scope": "queue", "name": "default"},
}


def main() -> None:
    options = _options()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    found = []
    for name, url in databases(options.db, options.kinds):
        for limited_by, row in LIMITS.items():
            print(f"{name}, limit by {limited_by} ...", file=sys.stderr)
            figures = measure(url, row, options.limit, options.watchers, options.tasks, options.hold_ms)
            found.append({"database": name, "limit by": limited_by, **figures})
    if options.json:
        print(json.dumps(found, indent=2))
        return
    columns = list(found[0]) if found else []
    print(" | ".join(columns))
    for row in found:
        print(" | ".join(str(row[column]) for column in columns))


def measure(
    url: str, row: dict[str, Any] | None, most: int, watchers: int, tasks: int, hold_ms: float
) -> dict[str, Any]:
    """Units: tasks per second of the database's clock, from the first claim to the last settlement."""
    db = open_database(url, role="bench")
    migrate.reset(db)
    with db.transaction() as conn:
        conn.execute(insert(task_definition).values(task_id="w", task_seq=1, program="inside"))
        if row is not None:
            conn.execute(insert(limit).values(**row, max_running=most))
    for first in range(0, tasks, 200):
        wishes = [Registration("w") for _ in range(min(200, tasks - first))]
        db.transact(lambda conn, wishes=wishes: register(conn, db, wishes))
    with db.transaction() as conn:
        conn.execute(update(task_stat).values(limit_key="k"))
    with tempfile.NamedTemporaryFile() as counts:
        counts.write(COUNTS.pack(0, 0, 0))
        counts.flush()
        _watch(url, counts.name, watchers, tasks, hold_ms)
        _, largest, ended = COUNTS.unpack(Path(counts.name).read_bytes())
    assert ended == tasks, "not every task ran once: the figure would be worthless"
    rate = round(tasks / _took(db))
    db.close()
    return {"largest overlap": largest, "tasks/s": rate}


def _watch(url: str, counts: str, watchers: int, tasks: int, hold_ms: float) -> None:
    """Run the watchers until every task has ended."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    processes = [context.Process(target=_watcher, args=(url, counts, hold_ms / 1000, stop)) for _ in range(watchers)]
    for process in processes:
        process.start()
    db = open_database(url, role="bench")
    try:
        deadline = time.monotonic() + 300
        while _finished(db) < tasks:
            assert time.monotonic() < deadline, "the tasks do not come to an end"
            time.sleep(0.1)
    finally:
        stop.set()
        for process in processes:
            process.join(30)
        db.close()


def _watcher(url: str, counts: str, hold_s: float, stop: Any) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

    @program("inside")
    def inside() -> None:
        _note(counts, +1)
        if hold_s:
            time.sleep(hold_s)
        _note(counts, -1)

    db = open_database(url, role="watcher")
    watcher = Watcher(db, build_catalogue(extra=[inside], autoload=False), Settings())
    threading.Thread(target=lambda: (stop.wait(), watcher.stop()), daemon=True).start()
    watcher.run()
    db.close()


def _note(path: str, change: int) -> None:
    with open(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        now, most, ended = COUNTS.unpack(file.read())
        now += change
        file.seek(0)
        file.write(COUNTS.pack(now, max(most, now), ended + (change < 0)))


def _finished(db: Database) -> int:
    with db.read() as conn:
        done = select(func.count()).select_from(flow_stat).where(flow_stat.c.flow_status == 3)
        return int(conn.scalar(done) or 0)


def _took(db: Database) -> float:
    """Seconds of the database's clock from the first claim to the last settlement."""
    times = select(func.min(task_stat.c.started_ts), func.max(task_stat.c.finished_ts))
    with db.read() as conn:
        first, last = conn.execute(times).one()
    return float((last - first).total_seconds())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", help="measure this database only; its Penstock tables are emptied")
    parser.add_argument("--kinds", nargs="+", default=["sqlite", "mariadb", "postgresql"])
    parser.add_argument("--tasks", type=int, default=2000, help="tasks (default: 2000)")
    parser.add_argument("--watchers", type=int, default=4, help="watcher processes (default: 4)")
    parser.add_argument("--limit", type=int, default=7, help="how many may run at once (default: 7)")
    parser.add_argument("--hold-ms", type=float, default=10.0, help="how long a task takes (default: 10)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
