"""What the measurements of recovery share: a database of their own, real processes, and percentiles.

Servers run with their default durability. Times are of the machine's clock, which is also the databases'.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import servers
from sqlalchemy import insert, select

from engine import fsck, migrate
from engine.database import Database, open_database
from engine.errors import PenstockError
from engine.flows import Registration, register
from engine.tables import task_definition, task_edge, task_option, watcher

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("sqlite", "mariadb", "postgresql")


@dataclass
class Process:
    """One of Penstock's processes, in a session of its own, so that its whole group can be ended."""

    label: str
    popen: subprocess.Popen[bytes]

    def kill(self) -> float:
        """End the whole group as the loss of its host would. Returns when, in seconds of the machine's clock."""
        instant = time.time()
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        return instant

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM, and the exit code that comes of it."""
        self.popen.terminate()
        return self.popen.wait(seconds)


@dataclass
class Lab:
    """A database under test and the processes that work on it."""

    kind: str
    url: str
    db: Database
    folder: Path
    server: servers.Server | None = None
    processes: list[Process] = field(default_factory=list)

    def watch(self, label: str, *flags: object) -> Process:
        """Start `penstock watch`, and return before it is up."""
        return self._start(label, "watch", "--label", label, "--keep-attempts", *flags)

    def await_watchers(self, count: int) -> None:
        """Wait until so many watchers hold a lease."""
        query = select(watcher.c.watcher_id).where(watcher.c.state == "running", watcher.c.lease_until_ts > utc_now())
        wait_for(lambda: len(self.rows(query)) >= count, f"{count} watchers")

    def _start(self, label: str, command: str, *flags: object) -> Process:
        words = [sys.executable, "-m", "penstock", command, "--db", self.url, *map(str, flags)]
        with (self.folder / f"{label}.log").open("ab") as log:
            popen = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True, cwd=ROOT)
        process = Process(label, popen)
        self.processes.append(process)
        return process

    def define(self, task_id: str, edges: Sequence[tuple[int, int]] = (), **columns: Any) -> None:
        """A workflow of these edges (before, after), or of one step; `columns` of the definition and its options."""
        steps = sorted({end for edge in edges for end in edge}) or [1]
        options = {name: columns.pop(name) for name in list(columns) if name in task_option.c}
        with self.db.transaction() as conn:
            rows = [{"task_id": task_id, "task_seq": seq, "program": "Noop", **columns} for seq in steps]
            conn.execute(insert(task_definition), rows)
            if edges:
                pairs = [{"task_id": task_id, "task_seq": after, "depends_task_seq": b} for b, after in edges]
                conn.execute(insert(task_edge), pairs)
            if options:
                conn.execute(insert(task_option), [{"task_id": task_id, "task_seq": seq, **options} for seq in steps])

    def register(self, task_id: str, flows: int) -> None:
        for first in range(0, flows, 200):
            wishes = [Registration(task_id) for _ in range(min(200, flows - first))]
            self.db.transact(lambda conn, wishes=wishes: register(conn, self.db, wishes))

    def rows(self, query: Any) -> list[Any]:
        with self.db.read() as conn:
            return list(conn.execute(query))

    def violations(self, *, at_rest: bool = True) -> list[str]:
        """The invariants that do not hold at the end, each with how many rows break it."""
        return [f"{found.name} ({found.count})" for found in fsck.check(self.db, at_rest=at_rest)]


@contextmanager
def lab(kind: str) -> Iterator[Lab]:
    """A new database of this kind; every process that is left is ended at the end."""
    with tempfile.TemporaryDirectory(prefix="penstock-lab-") as folder:
        server = None if kind == "sqlite" else servers.start(kind, durable=True)
        if kind != "sqlite" and server is None:
            raise SystemExit(f"{kind} is not installed on this machine")
        url = server.create("lab") if server else f"sqlite:///{folder}/lab.db"
        db = open_database(url, role="lab")
        migrate.init(db, samples=False)
        made = Lab(kind, url, db, Path(folder), server)
        try:
            yield made
        finally:
            for process in made.processes:
                if process.popen.poll() is None:
                    process.kill()
            db.close()
            if server:
                server.stop()


def wait_for(is_so: Callable[[], bool], what: str, seconds: float = 120.0, every_s: float = 0.05) -> float:
    """Wait until it is so; returns when. A database that is away is not so."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_so():
                return time.time()
        except PenstockError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {seconds:g} s in vain: {what}")
        time.sleep(every_s)


def utc_now() -> datetime:
    return datetime.now(UTC)


def spread(seconds: Sequence[float], digits: int = 2) -> dict[str, float | int]:
    """p50, p99 and the largest of these seconds, and how many there are."""
    ordered = sorted(seconds)
    if not ordered:
        return {"samples": 0}
    at = {f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], digits) for share in (50, 99)}
    return {"samples": len(ordered), **at, "max": round(ordered[-1], digits)}


def run(measure: Callable[[Lab, argparse.Namespace], dict[str, Any]], words: str | None, **numbers: float) -> None:
    """The command line of a measurement: databases, its numbers as flags, and one line of figures for each database."""
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=list(KINDS), metavar="DATABASE", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true")
    for name, default in numbers.items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=type(default), default=default, help=f"default: {default:g}")
    options = parser.parse_args()
    for kind in options.kinds:
        with lab(kind) as made:
            figures = {"database": kind, **measure(made, options)}
        line = (
            json.dumps(figures) if options.json else " | ".join(f"{name}: {value}" for name, value in figures.items())
        )
        print(line, flush=True)
