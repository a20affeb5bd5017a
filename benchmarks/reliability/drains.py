"""Drains (N11): watchers are told to stop by SIGTERM at any moment while there is more to do than they can.

    python benchmarks/reliability/drains.py --drains 200

Goal: no claim later than 100 ms after the signal, exit within the grace and 2 s, and no task that is shorter than the
grace runs again.
"""

from __future__ import annotations

import argparse
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lab import Lab, run, spread, wait_for
from sqlalchemy import func, select

from engine.tables import attempt, flow_stat, task_stat, watcher

AT_ONCE = 2
GRACE_S = 10.0


@dataclass
class Drain:
    label: str
    asked_at: datetime
    took_s: float
    exit_code: int


def measure(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    sleep = {"program": "EchoRandomTimeSleep", "param1_key": "MIN_SECOND", "param1_value": "0.05"}
    lab.define("task", **sleep, param2_key="MAX_SECOND", param2_value="1.5")
    lab.register("task", options.drains * 60)
    with ThreadPoolExecutor(AT_ONCE) as lanes:
        drains = list(lanes.map(lambda number: _drain(lab, number), range(options.drains)))
    late = [_latest_claim_s(lab, drain) for drain in drains]
    lab.watch("last", "--workers", 200)
    unfinished = select(func.count()).where(flow_stat.c.flow_status != 3)
    wait_for(lambda: lab.rows(unfinished)[0][0] == 0, "every task has finished", 900, 1.0)
    return {
        "drains": len(drains),
        "from the signal to the exit, s": spread([drain.took_s for drain in drains]),
        "last claim after the signal, s": spread([max(0.0, seconds) for seconds in late], 3),
        "exit codes": sorted({drain.exit_code for drain in drains}),
        "tasks": lab.rows(select(func.count()).select_from(task_stat))[0][0],
        "tasks that ran again": lab.rows(_RAN_AGAIN)[0][0],
        "violations": lab.violations(),
    }


_RAN_AGAIN = select(func.count()).select_from(attempt).where(attempt.c.outcome.in_(["lost", "stale", "failed"]))


def _drain(lab: Lab, number: int) -> Drain:
    process = lab.watch(f"watcher{number}", "--grace", GRACE_S, "--workers", 10)
    label = process.label
    running = select(func.count()).join_from(task_stat, watcher, task_stat.c.owner == watcher.c.watcher_id)
    mine = running.where(watcher.c.label == label, task_stat.c.exec_status == 1)
    wait_for(lambda: lab.rows(mine)[0][0] > 0, f"{label} works")
    time.sleep(random.uniform(0, 1))
    asked_at, began = datetime.now(UTC), time.monotonic()
    code = process.stop(GRACE_S + 20)
    return Drain(label, asked_at, time.monotonic() - began, code)


def _latest_claim_s(lab: Lab, drain: Drain) -> float:
    """Seconds from the signal to the last claim of that watcher; less than 0 if all were earlier."""
    claims = select(func.max(attempt.c.claimed_ts)).join_from(
        attempt, watcher, attempt.c.watcher_id == watcher.c.watcher_id
    )
    last = lab.rows(claims.where(watcher.c.label == drain.label))[0][0]
    return float((last - drain.asked_at).total_seconds()) if last else 0.0


if __name__ == "__main__":
    run(measure, __doc__, drains=200)
