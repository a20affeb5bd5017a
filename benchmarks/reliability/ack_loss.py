"""Answers to COMMIT that nobody gets: at registrations, with an idempotency key and without, at claims, at
settlements, and at all that a whole watcher does.

    python benchmarks/reliability/ack_loss.py                 all databases whose servers are on the machine
    python benchmarks/reliability/ack_loss.py mariadb         one of them; or the URL of a database of yours,
                                                              whose Penstock tables are emptied

The wire between Penstock and a server lets a COMMIT pass and breaks instead of bringing the answer; on a SQLite file,
which has no wire, a failpoint does as if. Registrations go to a real `penstock serve`, and the last line of figures is
of a real `penstock watch`. Every figure but the counts and the seconds should be 0. The exit code is 1 if one is not.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
import structlog
from sqlalchemy import delete, func, insert, select

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import processes
from main_job import databases
from proxy import Proxy
from servers import answers, free_port

from engine import failpoints, migrate
from engine.database import Database, open_database
from engine.flows import Registered, Registration, register
from engine.ids import new_claim_id
from engine.leases import enlist
from engine.settle import Settlement
from engine.states import Status
from engine.tables import flow_stat, task_definition, task_stat
from engine.tables import watcher as watcher_table
from watcher.cycle import Cycle
from watcher.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COUNTS = ("answers lost", "seconds")
GROUP = 20
"""Flows that are registered at once for what is measured behind them."""


class Losing:
    """A database whose next COMMIT is answered by nobody: `lose("settle")` says whose, for databases without a wire."""

    def __init__(self, db: Database, wire: Proxy | None) -> None:
        self.near = db
        self.wire = wire
        self.far = open_database(wire.url, role="bench") if wire else db
        self.far.probe()

    def lose(self, where: str) -> None:
        if self.wire is not None:
            self.wire.drop_commits(1)
        else:
            failpoints._armed = failpoints.Armed(f"{where}.after_commit=lose/1")

    def was_lost(self) -> bool:
        if self.wire is not None:
            return self.wire.dropping == 0
        return bool(failpoints._armed and failpoints._armed._acted)


def main() -> int:
    options = _options()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("penstock").setLevel(logging.ERROR)
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
    found = []
    for name, url in databases(options.url, options.kinds):
        print(f"{name} ...", file=sys.stderr)
        with prepared(url) as losing:
            for what, measure in MEASURED.items():
                began = time.monotonic()
                figures = measure(losing, options.count)
                seconds = round(time.monotonic() - began, 1)
                found.append({"database": name, "at": what, **figures, "seconds": seconds})
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for row in found:
            print(" | ".join(f"{name}: {value}" for name, value in row.items()))
    bad = [row for row in found if any(v for n, v in row.items() if isinstance(v, int) and n not in COUNTS)]
    return 1 if bad else 0


@contextmanager
def prepared(url: str) -> Iterator[Losing]:
    db = open_database(url, role="bench")
    migrate.reset(db)
    db.probe()
    with ExitStack() as stack:
        stack.callback(db.close)
        wire = stack.enter_context(Proxy(url)) if db.can.many_writers else None
        losing = Losing(db, wire)
        if wire is not None:
            stack.callback(losing.far.close)
        with db.transaction() as conn:
            row = {"task_id": "w", "program": "Noop"}
            conn.execute(insert(task_definition), [{**row, "task_seq": seq} for seq in (1, 2)])
        yield losing


# --- register -----------------------------------------------------------------------------------------------------


def registrations(*, keyed: bool) -> Callable[[Losing, int], dict[str, Any]]:
    def measure(losing: Losing, count: int) -> dict[str, Any]:
        before = _flows(losing.near)
        told: list[str] = []
        lost = failed = 0
        with serving(losing) as url:
            for number in range(count):
                if losing.wire is not None:
                    losing.wire.drop_commits(1)
                headers = {"Idempotency-Key": f"key-{number}"} if keyed else {}
                answer = requests.post(f"{url}/register/w", headers=headers, timeout=60)
                lost += losing.wire is None or losing.wire.dropping == 0
                if answer.status_code == 200:
                    told.append(answer.json()["taskFlowId"])
                else:
                    failed += 1
        made = _flows(losing.near) - before
        return {
            "answers lost": lost,
            "callers without a flow": failed,
            "flows that nobody was told of": len(made - set(told)),
            "flows told and not there": len(set(told) - made),
        }

    return measure


@contextmanager
def serving(losing: Losing) -> Iterator[str]:
    port = free_port()
    url = losing.wire.url if losing.wire else losing.near.url.render_as_string(hide_password=False)
    spec = "" if losing.wire else "register.after_commit=lose"
    with penstock("serve", "--db", url, "--port", port, PENSTOCK_FAILPOINTS=spec):
        deadline = time.monotonic() + 60
        while not answers(port):
            if time.monotonic() > deadline:
                raise RuntimeError("the register did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def penstock(*arguments: object, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of Penstock's own processes, silent, ended with the block."""
    process = subprocess.Popen(
        [*processes.PENSTOCK, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=processes.environment(PYTHONPATH=str(ROOT), **env),
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


# --- claim and settle ---------------------------------------------------------------------------------------------


def claims(losing: Losing, count: int) -> dict[str, Any]:
    """Nobody may claim in vain: what a lost answer was about is run at once, by the same watcher."""
    cycle = _cycle(losing)
    lost = leaked = 0
    for number in range(count):
        if number % GROUP == 0:
            _start(losing.near, GROUP)
        losing.lose("claim")
        held = cycle.turn([], 1).claimed
        lost += losing.was_lost()
        leaked += len(_running(losing.near) - {item.claim_id for item in held})
        cycle.turn([Settlement(item, "finish") for item in held], 0)
    _drain(losing)
    return {"answers lost": lost, "leaked": leaked, **_tasks(losing.near)}


def settlements(losing: Losing, count: int) -> dict[str, Any]:
    cycle = _cycle(losing)
    lost = unsettled = 0
    for number in range(count):
        if number % GROUP == 0:
            _start(losing.near, GROUP)
        held = cycle.turn([], 1).claimed
        losing.lose("settle")
        turn = cycle.turn([Settlement(item, "finish") for item in held], 0)
        lost += losing.was_lost()
        unsettled += len(held) - sum(verdict.name in ("ACCEPTED", "ALREADY") for _, verdict in turn.settled)
    _drain(losing)
    return {"answers lost": lost, "unsettled": unsettled, **_tasks(losing.near)}


def whole(losing: Losing, count: int) -> dict[str, Any]:
    """A watcher process, of which any COMMIT may be hit: turns, heartbeats and sweeps. Each loss has its own flow."""
    url = losing.wire.url if losing.wire else losing.near.url.render_as_string(hide_password=False)
    lost, before = 0, losing.wire.dropped if losing.wire else 0
    with losing.near.transaction() as conn:
        conn.execute(delete(watcher_table))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "failpoints.log"
        spec = "" if losing.wire else "settle.after_commit=lose@0.5;claim.after_commit=lose@0.5"
        env = {"PENSTOCK_FAILPOINTS": spec, "PENSTOCK_FAILPOINTS_LOG": str(log)}
        with penstock("watch", "--db", url, "--interval", 0.1, "--keep-attempts", **env) as watcher:
            _wait(lambda: _watchers(losing.near))
            while lost < count:
                if losing.wire is not None:
                    losing.wire.drop_commits(1)
                _start(losing.near, 1)
                _wait(lambda: watcher.poll() is not None or not _open(losing.near))
                if watcher.poll() is not None:
                    raise RuntimeError("the watcher ended")
                lost = losing.wire.dropped - before if losing.wire else _acted(log)
            _wait(lambda: not _open(losing.near))
    return {"answers lost": lost, **_tasks(losing.near)}


def _cycle(losing: Losing) -> Cycle:
    watcher_id = new_claim_id()
    with losing.near.transaction() as conn:
        enlist(conn, watcher_id, 3600.0)
    return Cycle(losing.far, watcher_id, Settings())


def _start(db: Database, count: int) -> None:
    wishes = [Registration("w") for _ in range(count)]
    found = db.transact(lambda conn: register(conn, db, wishes))
    assert all(isinstance(answer, Registered) for answer in found.values())


def _drain(losing: Losing) -> None:
    """Run what is left, so that the next measurement begins with nothing."""
    failpoints._armed = None
    cycle = _cycle(losing)
    while claimed := cycle.turn([], 100).claimed:
        cycle.turn([Settlement(item, "finish") for item in claimed], 0)


def _tasks(db: Database) -> dict[str, int]:
    """What became of all tasks so far."""
    with db.read() as conn:
        rows = conn.execute(select(task_stat.c.exec_status, task_stat.c.claims, task_stat.c.losses)).all()
    count = Counter(row.exec_status for row in rows)
    return {
        "tasks not finished": len(rows) - count[int(Status.FINISH)],
        "claimed more than once": sum(row.claims > 1 for row in rows),
        "lost with a lease": sum(row.losses > 0 for row in rows),
    }


def _flows(db: Database) -> set[str]:
    with db.read() as conn:
        return set(conn.scalars(select(flow_stat.c.task_flow_id)))


def _running(db: Database) -> set[str]:
    with db.read() as conn:
        return set(conn.scalars(select(task_stat.c.claim_id).where(task_stat.c.exec_status == int(Status.RUNNING))))


def _open(db: Database) -> int:
    with db.read() as conn:
        is_open = flow_stat.c.flow_status.in_([int(Status.WAIT), int(Status.RUNNING)])
        return conn.scalar(select(func.count()).select_from(flow_stat).where(is_open)) or 0


def _watchers(db: Database) -> int:
    with db.read() as conn:
        return conn.scalar(select(func.count()).select_from(watcher_table)) or 0


def _acted(log: Path) -> int:
    return log.read_text().count(" lose ") if log.exists() else 0


def _wait(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("it did not come to pass in time")
        time.sleep(0.01)


MEASURED: dict[str, Callable[[Losing, int], dict[str, Any]]] = {
    "claim": claims,
    "settle": settlements,
    "register with a key": registrations(keyed=True),
    "register without": registrations(keyed=False),
    "watcher": whole,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("db", nargs="?", help="sqlite, mariadb, postgresql or a URL (default: all three)")
    parser.add_argument("--count", type=int, default=200, help="answers to lose at each place (default: 200)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kinds = ("sqlite", "mariadb", "postgresql")
    options.kinds = [options.db] if options.db in kinds else list(kinds)
    options.url = options.db if options.db and options.db not in kinds else None
    return options


if __name__ == "__main__":
    sys.exit(main())
