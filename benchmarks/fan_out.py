"""What a fan-out costs: one task plans N others, all of them run, and a join reads their results in order.

    python benchmarks/fan_out.py                                  all databases whose servers are on the machine
    python benchmarks/fan_out.py --db URL --items 1000 100000     one database of yours; its Penstock tables are emptied

The engine alone: claims and settlements in batches of 500, no programs. The last column says how much dearer an item of
the largest fan-out is than one of the smallest: about 1 where the cost is linear.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import insert, select

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from main_job import databases

from engine import inputs, migrate
from engine.claim import claim_ready
from engine.claimed import ClaimedTask
from engine.database import Database, open_database
from engine.flows import Registration, register
from engine.growth import plan_checks
from engine.ids import new_claim_id
from engine.leases import enlist
from engine.settle import Settlement, settle
from engine.tables import flow_stat, task_definition
from programs.outcomes import Task

T = TypeVar("T")
BATCH = 500
WATCHER = "benchmark"


def main() -> None:
    options = _options()
    found = []
    for name, url in databases(options.db, options.kinds):
        print(f"{name} ...", file=sys.stderr)
        found += measure(name, url, sorted(options.items))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    columns = list(found[0]) if found else []
    print(" | ".join(columns))
    for row in found:
        print(" | ".join(str(row[column]) for column in columns))


def measure(name: str, url: str, sizes: list[int]) -> list[dict[str, Any]]:
    """One row for each size. Units: seconds, and microseconds for one item, planning and reading included."""
    db = open_database(url, role="bench")
    migrate.reset(db)
    db.probe()
    with db.transaction() as conn:
        conn.execute(insert(task_definition), [{"task_id": "fan", "task_seq": n, "program": "Noop"} for n in (1, 2)])
        enlist(conn, WATCHER, 3600.0)
    _fan_out(db, 100)  # statements are compiled, and pages read, before the clock starts
    rows = [{"database": name, "items": size, **_fan_out(db, size)} for size in sizes]
    for row in rows:
        row["x the smallest"] = round(row["us for one item"] / rows[0]["us for one item"], 2)
    db.close()
    return rows


def _fan_out(db: Database, items: int) -> dict[str, Any]:
    wish = Registration("fan")
    db.transact(lambda conn: register(conn, db, [wish]))
    [planner] = _claim(db)
    check_s, plan = _timed(lambda: plan_checks.check([Task("Noop", {"ITEM": number}) for number in range(items)]))
    plan_s, _ = _timed(lambda: _settle(db, [Settlement(planner, "finish", plan=plan)]))
    run_s, joined = _timed(lambda: _run(db))
    read_s, results = _timed(lambda: _results(db, joined))
    assert results == list(range(items)), "the join did not get every result in order: the figure would be worthless"
    _settle(db, [Settlement(joined, "finish")])
    with db.read() as conn:
        status = conn.scalar(select(flow_stat.c.flow_status).where(flow_stat.c.task_flow_id == wish.flow_id))
    assert status == 3, "the flow did not finish"
    total = check_s + plan_s + run_s + read_s
    return {
        "plan checked, s": round(check_s, 3),
        "plan settled, s": round(plan_s, 3),
        "items run, s": round(run_s, 3),
        "join read, s": round(read_s, 3),
        "all, s": round(total, 2),
        "us for one item": round(total / items * 1e6),
    }


def _run(db: Database) -> ClaimedTask:
    """Run the items, whose result is their place; return the join, claimed."""
    done: list[Settlement] = []
    while True:
        held = _turn(db, done)
        if len(held) == 1 and held[0].key.seq == 2:
            return held[0]
        done = [Settlement(item, "finish", result=str(item.key.seq - 3)) for item in held]


def _turn(db: Database, done: list[Settlement]) -> list[ClaimedTask]:
    """Settle and claim in one transaction, as a watcher does."""
    claim_id = new_claim_id()

    def work(conn: Any) -> list[ClaimedTask]:
        if done:
            settle(conn, db, WATCHER, done)
        return claim_ready(conn, db, WATCHER, claim_id, BATCH)

    return db.transact(work)


def _claim(db: Database) -> list[ClaimedTask]:
    return _turn(db, [])


def _settle(db: Database, done: list[Settlement]) -> None:
    db.transact(lambda conn: settle(conn, db, WATCHER, done))


def _results(db: Database, joined: ClaimedTask) -> list[Any]:
    with db.read() as conn:
        return inputs.upstream_of(conn, joined.key)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    answer = work()
    return time.perf_counter() - started, answer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", help="measure this database only; its Penstock tables are emptied")
    parser.add_argument("--kinds", nargs="+", default=["sqlite", "mariadb", "postgresql"])
    parser.add_argument("--items", nargs="+", type=int, default=[1000, 10_000], help="sizes (default: 1000 10000)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
