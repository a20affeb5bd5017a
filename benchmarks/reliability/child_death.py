"""How soon the death of one child process is noticed (N3): children are killed one at a time while their program runs,
and each is timed from the kill to the next claim of its task.

    python benchmarks/reliability/child_death.py sqlite --samples 200

Goal: p99 2 s.
"""

from __future__ import annotations

import argparse
import random
from contextlib import suppress
from typing import Any

import psutil
from lab import Lab, run, spread, utc_now, wait_for
from sqlalchemy import func, select

from engine.tables import task_stat

SLOTS = 4


def measure(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    sleep = {"program": "EchoParamTimeSleep", "param1_key": "SLEEP_TIME_SECOND", "param1_value": "3600"}
    lab.define("long", **sleep, executor="process", max_attempts=1_000_000, retry_delay_s=0)
    lab.register("long", SLOTS)
    parent = lab.watch("parent", "--workers", SLOTS)
    running = select(func.count()).where(task_stat.c.exec_status == 1)
    wait_for(lambda: lab.rows(running)[0][0] == SLOTS, "the tasks run")
    found = [_kill_one(lab, parent.popen.pid) for _ in range(options.samples)]
    return {"recovery after the death of a child, s": spread(found, 3), "violations": lab.violations(at_rest=False)}


def _kill_one(lab: Lab, parent: int) -> float:
    wait_for(lambda: len(_children(parent)) == SLOTS, "each task has a child")
    begun = utc_now()
    random.choice(_children(parent)).kill()
    again = select(task_stat.c.started_ts).where(task_stat.c.started_ts > begun, task_stat.c.exec_status == 1)
    wait_for(lambda: bool(lab.rows(again)), "the task is claimed again", every_s=0.005)
    return float((lab.rows(again)[0].started_ts - begun).total_seconds())


def _children(parent: int) -> list[psutil.Process]:
    """The processes in which programs run; not their keepers, and not the one that beats."""
    found = []
    for child in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.Error):
            if any(word.endswith("start_child.py") for word in child.cmdline()) and child.ppid() != parent:
                found.append(child)
    return found


if __name__ == "__main__":
    run(measure, __doc__, samples=200)
