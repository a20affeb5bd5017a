"""What kill -9 of the database server costs (N4): how long after the server is back the first task is claimed, and
whether any of Penstock's processes ended.

    python benchmarks/reliability/database_kills.py mariadb postgresql --kills 30

Goal: no process ends, first claim p99 5 s. SQLite has no server to kill.
"""

from __future__ import annotations

import argparse
import random
import time
from datetime import UTC, datetime
from typing import Any

from lab import Lab, run, spread, wait_for
from sqlalchemy import func, select

from engine.tables import flow_stat, task_stat

BACKLOG = 400
CHAIN = [(1, 2), (2, 3), (3, 4), (4, 5)]


def measure(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    if lab.server is None:
        return {"skipped": "no server to kill"}
    lab.define("chain", CHAIN, program="EchoParamTimeSleep", param1_key="SLEEP_TIME_SECOND", param1_value="0.3")
    started = [lab.watch(f"watcher{number}") for number in range(3)]
    lab.await_watchers(3)
    found = [_kill(lab) for _ in range(options.kills)]
    open_flows = select(func.count()).where(flow_stat.c.flow_status != 3)
    wait_for(lambda: lab.rows(open_flows)[0][0] == 0, "every flow has finished", 300)
    ended = [process.label for process in started if process.popen.poll() is not None]
    again = lab.rows(select(func.count()).where(task_stat.c.claims > 1))[0][0]
    return {
        "kills": options.kills,
        "first claim after the server is back, s": spread(found),
        "processes that ended": len(ended),
        "tasks claimed more than once": again,
        "tasks": lab.rows(select(func.count()).select_from(task_stat))[0][0],
        "violations": lab.violations(),
    }


def _kill(lab: Lab) -> float:
    assert lab.server is not None
    ready = select(func.count()).where(task_stat.c.exec_status == 0)
    if lab.rows(ready)[0][0] < BACKLOG:
        lab.register("chain", BACKLOG // len(CHAIN))
    time.sleep(random.uniform(0.5, 1.5))
    lab.server.kill()
    time.sleep(random.uniform(0, 3))
    lab.server.revive()  # returns when the server accepts connections
    back = datetime.now(UTC)
    first = select(func.min(task_stat.c.started_ts)).where(task_stat.c.started_ts > back)
    wait_for(lambda: lab.rows(first)[0][0] is not None, "a task is claimed", every_s=0.01)
    return float((lab.rows(first)[0][0] - back).total_seconds())


if __name__ == "__main__":
    run(measure, __doc__, kills=30)
