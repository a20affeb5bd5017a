"""Programs that do their worst (N9): rounds of 33 that crash, hang, fork and print without end in child processes, each
round beside 60 healthy neighbours in one watcher.

    python benchmarks/reliability/battery.py sqlite --rounds 10

Goal: the watcher lives, every deed ends as the tests expect, no neighbour is harmed, no process is left.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path
from typing import Any

from lab import Lab, run, wait_for
from sqlalchemy import func, insert, select

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "watcher"))

from children import below
from test_battery import EXPECTED, LIMITED

from engine.tables import task_stat
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

NEIGHBOURS = 60


def measure(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    before = below()
    settings = Settings(workers=6, interval_s=0.2, child_memory_mb=1200, child_max_rss_mb=256)
    watcher = Watcher(lab.db, build_catalogue(extra=["battery_process"], autoload=False), settings)
    thread = threading.Thread(target=watcher.run)
    thread.start()
    rounds = int(options.rounds)
    wrong = [found for number in range(rounds) for found in _round(lab, number)]
    lives = thread.is_alive()
    harmed = lab.rows(select(func.count()).where(task_stat.c.program == "good", task_stat.c.exec_status != 3))[0][0]
    watcher.stop()
    thread.join(60)
    return {
        "deeds": rounds * len(EXPECTED),
        "ended otherwise than expected": wrong,
        "neighbours": rounds * NEIGHBOURS,
        "neighbours harmed": harmed,
        "watcher exits": 0 if lives else 1,
        "processes left": len(below() - before),
    }


def _round(lab: Lab, number: int) -> list[str]:
    deeds = [_row(f"{how} {number}", "misbehaves", {"how": how}, 1.0 if how in LIMITED else None) for how in EXPECTED]
    good = [_row(f"good {number}.{n}", "good", {"n": n}, None) for n in range(NEIGHBOURS)]
    with lab.db.transaction() as conn:
        conn.execute(insert(task_stat), deeds + good)
    mine = task_stat.c.task_flow_id.in_([row["task_flow_id"] for row in deeds + good])
    ended = select(func.count()).where(mine, task_stat.c.exec_status.in_([2, 3]))
    wait_for(lambda: lab.rows(ended)[0][0] == len(deeds) + len(good), f"round {number}", 300, 0.2)
    wrong = []
    for how, (status, reason, _) in EXPECTED.items():
        this = task_stat.c.task_flow_id == f"{how} {number}"
        found = lab.rows(select(task_stat.c.exec_status, task_stat.c.reason).where(this))[0]
        if tuple(found) != (status, reason):
            wrong.append(f"{how}: {tuple(found)}")
    return wrong


def _row(flow_id: str, program: str, parameters: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
    """A task as a person inserts it."""
    row = {"task_flow_id": flow_id, "task_exec_seq": 1, "depends_task_exec_seq": -1, "task_id": program, "task_seq": 1}
    return {**row, "program": program, "parameters": json.dumps(parameters), "timeout_s": timeout_s}


if __name__ == "__main__":
    run(measure, __doc__, rounds=3)
