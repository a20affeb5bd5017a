"""A live system: a register, a watcher, and healthy flows that keep coming while poison is inserted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import requests
import servers
from patience import until
from poison import End, Poison
from processes import Service
from sqlalchemy import insert, select, text

from engine.database import Database
from engine.errors import PenstockError
from engine.keys import Key
from engine.tables import flow_stat, task_definition, task_stat

HEALTHY: Final = "healthy"
STEPS: Final = 3


def define_healthy(db: Database) -> None:
    """The workflow of the load: three steps, one after the other."""
    steps = [{"task_id": HEALTHY, "task_seq": seq, "program": "Noop"} for seq in range(1, STEPS + 1)]
    with db.transaction() as conn:
        conn.execute(insert(task_definition), steps)


@contextmanager
def running(url: str, folder: Path) -> Iterator[tuple[str, Service, Service]]:
    """`penstock serve` and `penstock watch`, each in a process of its own, and the address of the first."""
    common = "--db", url, "--no-plugins"
    port = servers.free_port()
    watch = "--workers", 8, "--interval", 0.2, "--lease", 5, "--heartbeat", 1, "--log-json"
    with (
        Service(folder / "serve.log", "serve", *common, "--port", port, "--no-check-programs") as serve,
        Service(folder / "watch.log", "watch", *common, *watch) as watcher,
    ):
        watcher.said("watcher started")
        until(lambda: servers.answers(port), 40, serve.log.read_text)
        yield f"http://127.0.0.1:{port}", serve, watcher


class Load:
    """Registers a healthy flow every so often, over HTTP, until the block ends. `flows`: those that were promised."""

    def __init__(self, address: str, every_s: float = 0.05) -> None:
        self.flows: list[str] = []
        self.refused: list[str] = []
        self._address = address
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._over.wait(self._every_s):
                answer = session.post(f"{self._address}/register/{HEALTHY}", timeout=30)
                if answer.status_code == 200:
                    self.flows.append(answer.json()["taskFlowId"])
                else:
                    self.refused.append(answer.text)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)

    def __exit__(self, *_: Any) -> None:
        self.stop()


@dataclass
class Inserted:
    """What the database let in, and what it refused."""

    inside: list[Poison] = field(default_factory=list)
    refused: list[Poison] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(len(poison.rows) for poison in self.inside)

    @property
    def ends(self) -> dict[Key, End]:
        return {Key(*key): end for poison in self.inside for key, end in poison.ends.items()}


def insert_poison(
    db: Database, kind: str, corpus: Sequence[Poison], together: int = 25, pause_s: float = 0.0
) -> Inserted:
    """Insert those that this database takes, so many in a transaction, with a pause after each; and try those that it
    is to refuse."""
    done = Inserted()
    corpus = [poison for poison in corpus if poison.only_on in (None, kind)]
    good = [poison for poison in corpus if kind not in poison.refused_by]
    for first in range(0, len(good), together):
        part = good[first : first + together]
        db.transact(lambda conn, part=part: [poison.insert(conn) for poison in part])
        done.inside += part
        time.sleep(pause_s)
    for poison in corpus:
        if kind in poison.refused_by:
            assert not _is_let_in(db, poison), f"{kind} took what it was to refuse: {poison.name}"
            done.refused.append(poison)
    return done


def _is_let_in(db: Database, poison: Poison) -> bool:
    try:
        with db.transaction() as conn:
            poison.insert(conn)
    except PenstockError:
        return False
    return True


def found_ends(db: Database, keys: Collection[Key]) -> dict[Key, End]:
    """What these tasks have come to by now; a row that waits for another pass of the sweep is left out."""
    columns = "task_flow_id, task_exec_seq, exec_status, reason, wait_count"
    with db.read() as conn:
        rows = conn.execute(text(f"SELECT {columns} FROM kr_task_stat")).all()
    ends = {}
    for flow_id, seq, status, reason, wait_count in rows:
        is_in = wait_count is not None and (wait_count >= 0 or status in (3, 9))
        if is_in or status == 2:
            ends[Key(flow_id, seq)] = End(status, reason)
    return {key: ends[key] for key in keys if key in ends}


def meets(found: End | None, wanted: End) -> bool:
    return found is not None and found.status == wanted.status and wanted.reason in (None, found.reason)


def unmet(db: Database, wanted: Mapping[Key, End]) -> dict[Key, tuple[End, End | None]]:
    """The tasks that have not come to what they should: (wanted, found)."""
    found = found_ends(db, wanted)
    return {key: (end, found.get(key)) for key, end in wanted.items() if not meets(found.get(key), end)}


def wait_until_met(db: Database, wanted: Mapping[Key, End], seconds: float) -> float:
    """Wait until every task has come to what it should; how long that took, in seconds."""
    began = time.monotonic()
    while left := unmet(db, wanted):
        assert time.monotonic() - began < seconds, f"after {seconds:g} s: {dict(list(left.items())[:20])}"
        time.sleep(0.1)
    return time.monotonic() - began


def latencies(db: Database, flows: Iterable[str]) -> list[float]:
    """Seconds from the registration of each flow to the start of its first task, by the database's clock; sorted."""
    task = task_stat.c
    query = select(task.task_flow_id, task.registered_ts, task.started_ts).where(task.task_exec_seq == 1)
    with db.read() as conn:
        rows = conn.execute(query.where(task.task_id == HEALTHY)).all()
    wanted = set(flows)
    waited = [started - registered for flow_id, registered, started in rows if flow_id in wanted and started]
    return sorted(delay / timedelta(seconds=1) for delay in waited)


def unfinished(db: Database, flows: Iterable[str]) -> list[str]:
    with db.read() as conn:
        over = set(conn.scalars(select(flow_stat.c.task_flow_id).where(flow_stat.c.flow_status == 3)))
    return [flow_id for flow_id in flows if flow_id not in over]


def complaints(log: Path) -> list[str]:
    """Lines of a watcher's log that say that something went wrong which is not a task's own."""
    found = []
    for line in log.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            found.append(line)
            continue
        if "exception" in entry or entry.get("level") in ("error", "critical"):
            found.append(line[:3000])
    return found
