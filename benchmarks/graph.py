"""What the graph costs: a loop of 1,000 iterations, a chain of 1,000 tasks, and joins of 200 tasks settled by four
watchers, where each join must start exactly once.

    python benchmarks/graph.py                  all databases whose servers are on the machine
    python benchmarks/graph.py --db URL         one database of yours; its Penstock tables are emptied

Times are of the database's clock, from the first claim to the last settlement, of one run on the machine it runs on.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from typing import Any

import structlog
from main_job import databases
from sqlalchemy import Connection, func, insert, select

from engine import migrate
from engine.database import Database, open_database
from engine.flows import Registration, register
from engine.tables import flow_stat, task_definition, task_edge, task_stat
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

WATCHERS = 4


def main() -> None:
    options = _options()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    found = []
    for name, url in databases(options.db, options.kinds):
        print(f"{name} ...", file=sys.stderr)
        found.append({"database": name, **measure(url, options)})
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for row in found:
        print(" | ".join(f"{name}: {value}" for name, value in row.items()))


def measure(url: str, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one database. Units: seconds; milliseconds for each task."""
    db = open_database(url, role="bench")
    migrate.reset(db)
    db.probe()
    figures: dict[str, Any] = {}
    _define_loop(db, options.iterations)
    _define(db, "chain", [(seq, seq + 1) for seq in range(1, options.chain)])
    _define(db, "join", [(seq, options.width + 1) for seq in range(1, options.width + 1)])
    for name, label, tasks in (
        ("loop", f"loop of {options.iterations} iterations", 2 * options.iterations + 1),
        ("chain", f"chain of {options.chain}", options.chain),
    ):
        _register(db, name, 1)
        Watcher(db, build_catalogue(autoload=False), Settings()).run(until_idle=True)
        seconds = _took(db, name, tasks)
        figures[f"{label}, s"] = round(seconds, 2)
        figures[f"ms a task of the {name}"] = round(1000 * seconds / tasks, 3)
    figures |= _joins(db, url, options)
    db.close()
    return figures


def _joins(db: Database, url: str, options: argparse.Namespace) -> dict[str, Any]:
    _register(db, "join", options.joins)
    watchers = [
        subprocess.Popen(
            [sys.executable, "-m", "penstock", "watch", "--db", url, "--keep-attempts"], stderr=subprocess.DEVNULL
        )
        for _ in range(WATCHERS)
    ]
    try:
        _wait_until_over(db, "join")
    finally:
        for process in watchers:
            process.terminate()
        for process in watchers:
            process.wait(30)
    seconds = _took(db, "join", options.joins * (options.width + 1))
    with db.read() as conn:
        starts = _starts(conn, options.width + 1)
    return {
        f"{options.joins} joins of {options.width} by {WATCHERS} watchers, s": round(seconds, 2),
        "joins started": len(starts),
        "starts of each (least, most)": (min(starts), max(starts)),
    }


def _starts(conn: Connection, join_seq: int) -> list[int]:
    """How often each join was claimed."""
    join = select(task_stat.c.claims).where(task_stat.c.task_id == "join", task_stat.c.task_seq == join_seq)
    return list(conn.scalars(join))


def _define(db: Database, task_id: str, edges: list[tuple[int, int]]) -> None:
    steps = sorted({end for edge in edges for end in edge})
    with db.transaction() as conn:
        conn.execute(
            insert(task_definition), [{"task_id": task_id, "task_seq": seq, "program": "Noop"} for seq in steps]
        )
        conn.execute(
            insert(task_edge),
            [{"task_id": task_id, "task_seq": after, "depends_task_seq": before} for before, after in edges],
        )


def _define_loop(db: Database, iterations: int) -> None:
    """1 -> 2, back to 1 until `iterations` are over, then 3."""
    _define(db, "loop", [(1, 2), (2, 3)])
    back = {"task_id": "loop", "task_seq": 1, "depends_task_seq": 2, "kind": "loop", "max_iterations": iterations}
    with db.transaction() as conn:
        conn.execute(insert(task_edge).values(**back, only_if=f"iteration < {iterations - 1}"))


def _register(db: Database, task_id: str, flows: int, batch: int = 50) -> None:
    for first in range(0, flows, batch):
        wishes = [Registration(task_id) for _ in range(min(batch, flows - first))]
        db.transact(lambda conn, wishes=wishes: register(conn, db, wishes))


def _wait_until_over(db: Database, task_id: str, most_s: float = 900.0) -> None:
    ends = time.monotonic() + most_s
    still_open = select(func.count()).where(flow_stat.c.task_id == task_id, flow_stat.c.flow_status < 3)
    while time.monotonic() < ends:
        with db.read() as conn:
            if conn.scalar(still_open) == 0:
                return
        time.sleep(0.5)
    raise SystemExit("not over in time")


def _took(db: Database, task_id: str, tasks: int) -> float:
    times = select(
        func.min(flow_stat.c.started_ts), func.max(flow_stat.c.finished_ts), func.sum(flow_stat.c.finish_count)
    )
    with db.read() as conn:
        first, last, finished = conn.execute(times.where(flow_stat.c.task_id == task_id)).one()
    assert finished == tasks, f"{task_id}: {finished} of {tasks} tasks finished: the figure would be worthless"
    return float((last - first).total_seconds())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", help="URL of one database; its Penstock tables are emptied")
    parser.add_argument("--kinds", default="sqlite,mariadb,postgresql", help="which private servers to start")
    parser.add_argument("--iterations", type=int, default=1_000)
    parser.add_argument("--chain", type=int, default=1_000)
    parser.add_argument("--joins", type=int, default=100)
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
