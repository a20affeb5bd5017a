"""Joins under load (N10): flows whose two, or two hundred, branches end together on different watchers; each successor
must start exactly once, and soon.

    python benchmarks/reliability/joins.py --two-way 10000 --wide 100 --rate 60

Flows are registered at a steady rate, so that the figure is the wake-up and not the length of a queue. Goal: each join
starts once, p99 of the wake-up 500 ms.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from lab import Lab, run, spread, wait_for
from sqlalchemy import func, select

from engine.tables import flow_stat, task_stat

WATCHERS = 8
BRANCHES = 200


def measure(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    lab.define("two", [(1, 3), (2, 3)])
    lab.define("wide", [(branch, BRANCHES + 1) for branch in range(1, BRANCHES + 1)])
    for number in range(WATCHERS):
        lab.watch(f"watcher{number}")
    lab.await_watchers(WATCHERS)
    figures = {
        "wake-up of 2-way joins, s": _joins(lab, "two", 3, options.two_way, options.rate),
        f"wake-up of {BRANCHES}-way joins, s": _joins(lab, "wide", BRANCHES + 1, options.wide, options.rate / 100),
    }
    starts = lab.rows(select(func.min(task_stat.c.claims), func.max(task_stat.c.claims)))[0]
    return {**figures, "starts of each task (least, most)": tuple(starts), "violations": lab.violations()}


def _joins(lab: Lab, task_id: str, last: int, flows: int, rate: float) -> dict[str, float | int]:
    began = time.monotonic()
    for number in range(flows):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        lab.register(task_id, 1)
    unfinished = select(func.count()).where(flow_stat.c.flow_status != 3)
    wait_for(lambda: lab.rows(unfinished)[0][0] == 0, "every flow has finished", 300)
    branches = (
        select(task_stat.c.task_flow_id, func.max(task_stat.c.finished_ts).label("open_at"))
        .where(task_stat.c.task_id == task_id, task_stat.c.task_exec_seq < last)
        .group_by(task_stat.c.task_flow_id)
        .subquery()
    )
    joins = select(branches.c.open_at, task_stat.c.started_ts).join_from(
        branches, task_stat, branches.c.task_flow_id == task_stat.c.task_flow_id
    )
    rows = lab.rows(joins.where(task_stat.c.task_exec_seq == last))
    return spread([(started - open_at).total_seconds() for open_at, started in rows], 3)


if __name__ == "__main__":
    run(measure, __doc__, two_way=3000, wide=30, rate=60.0)
