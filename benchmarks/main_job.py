"""How fast the main job is: registrations over HTTP, and no-op ten-task diamonds through one watcher.

    python benchmarks/main_job.py                       all databases whose servers are on the machine
    python benchmarks/main_job.py --db URL --flows 2000 one database of yours; its Penstock tables are emptied

Servers run with their default durability, SQLite with synchronous=FULL. Rates are of one run on the machine it runs on:
compare figures of one run with each other, not with those of another day.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, insert, select

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import servers

from engine import migrate
from engine.database import Database, open_database
from engine.flows import Registration, register
from engine.tables import flow_stat, task_definition, task_edge
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

# A -> B, C; B -> D, E; C -> E, F; D -> G, H; E -> H, I; F -> I, J
DIAMOND = [(1, 2), (1, 3), (2, 4), (2, 5), (3, 5), (3, 6), (4, 7), (4, 8), (5, 8), (5, 9), (6, 9), (6, 10)]
CHAIN_LENGTH = 40


def main() -> None:
    options = _options()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    found = []
    for name, url in databases(options.db, options.kinds):
        print(f"{name} ...", file=sys.stderr)
        found.append({"database": name, **measure(url, options.flows, options.seconds)})
    if options.json:
        print(json.dumps(found, indent=2))
        return
    columns = list(found[0]) if found else []
    print(" | ".join(columns))
    for row in found:
        print(" | ".join(str(row[column]) for column in columns))


def measure(url: str, flows: int, seconds: float) -> dict[str, Any]:
    """All figures of one database. Units: registrations, tasks and flows per second; seconds; milliseconds."""
    db = open_database(url, role="bench")
    migrate.reset(db)
    db.probe()
    _define(db)
    figures: dict[str, Any] = {}
    for clients in (1, 50):
        rate, p50, p99 = asyncio.run(_register_load(url, clients, seconds))
        figures[f"registrations/s, {clients} clients"] = round(rate)
        figures[f"p50/p99 ms, {clients} clients"] = f"{p50:.1f}/{p99:.1f}"
    migrate.reset(db)
    _define(db)
    started = time.perf_counter()
    _register(db, "diamond", flows)
    figures["flows/s registered in batches"] = round(flows / (time.perf_counter() - started))
    _run(db)
    _assert_finished(db, flows)
    figures["diamond tasks/s"] = round(flows * 10 / _took(db, "diamond"))
    _register(db, "chain", 1)
    _run(db)
    figures[f"chain of {CHAIN_LENGTH}, s"] = round(_took(db, "chain"), 3)
    db.close()
    return figures


def _define(db: Database) -> None:
    steps = [{"task_id": "three", "task_seq": seq, "program": "Noop"} for seq in (1, 2, 3)]
    steps += [{"task_id": "diamond", "task_seq": seq, "program": "Noop"} for seq in range(1, 11)]
    steps += [{"task_id": "chain", "task_seq": seq, "program": "Noop"} for seq in range(1, CHAIN_LENGTH + 1)]
    edges = [{"task_id": "diamond", "task_seq": after, "depends_task_seq": before} for before, after in DIAMOND]
    with db.transaction() as conn:
        conn.execute(insert(task_definition), steps)
        conn.execute(insert(task_edge), edges)


def _register(db: Database, task_id: str, flows: int, batch: int = 200) -> None:
    for first in range(0, flows, batch):
        wishes = [Registration(task_id) for _ in range(min(batch, flows - first))]
        db.transact(lambda conn, wishes=wishes: register(conn, db, wishes))


def _run(db: Database) -> None:
    Watcher(db, build_catalogue(autoload=False), Settings()).run(until_idle=True)


def _assert_finished(db: Database, flows: int) -> None:
    with db.read() as conn:
        statuses = list(conn.scalars(select(flow_stat.c.flow_status)))
    assert statuses == [3] * flows, "not every flow finished: the figure would be worthless"


def _took(db: Database, task_id: str) -> float:
    """Seconds of the database's clock from the first claim to the last settlement."""
    times = select(func.min(flow_stat.c.started_ts), func.max(flow_stat.c.finished_ts))
    with db.read() as conn:
        first, last = conn.execute(times.where(flow_stat.c.task_id == task_id)).one()
    return float((last - first).total_seconds())


async def _register_load(url: str, clients: int, seconds: float) -> tuple[float, float, float]:
    with _serving(url) as port:
        deadline = time.perf_counter() + seconds
        started = time.perf_counter()
        answers = await asyncio.gather(*(_client(port, deadline) for _ in range(clients)))
        took = time.perf_counter() - started
    latencies = sorted(latency for mine in answers for latency in mine)
    at = [latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.99)]
    return len(latencies) / took, at[0], at[1]


async def _client(port: int, deadline: float) -> list[float]:
    """One client with one connection: the next request goes out when the answer to the last one is there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    latencies: list[float] = []
    while (sent := time.perf_counter()) < deadline:
        writer.write(b"POST /register/three HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        latencies.append(time.perf_counter() - sent)
    writer.close()
    return latencies


@contextmanager
def _serving(url: str) -> Iterator[int]:
    """`penstock serve` in a process of its own."""
    port = servers.free_port()
    command = [sys.executable, "-m", "penstock", "serve", "--db", url, "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 20
        while not servers.answers(port):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError("penstock serve did not come up")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def databases(url: str | None, kinds: list[str]) -> Iterator[tuple[str, str]]:
    if url is not None:
        yield url.split(":", 1)[0], url
        return
    if "sqlite" in kinds:
        with tempfile.TemporaryDirectory() as folder:
            yield "sqlite", f"sqlite:///{folder}/bench.db"
    for kind in ("mariadb", "postgresql"):
        server = servers.start(kind, durable=True) if kind in kinds else None
        if server is not None:
            try:
                yield kind, server.create("bench")
            finally:
                server.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", help="measure this database only; its Penstock tables are emptied")
    parser.add_argument("--kinds", nargs="+", default=["sqlite", "mariadb", "postgresql"])
    parser.add_argument("--flows", type=int, default=1000, help="diamonds to run (default: 1000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each registration load (default: 5)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
