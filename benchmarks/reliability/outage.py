"""What a long outage costs (N5): the database is away for three leases while 50 tasks run. Away is, in turn, `refused`
(the server is killed and started again) and `silent` (it is frozen; on SQLite somebody holds the file's lock).

    python benchmarks/reliability/outage.py --repetitions 20 --lease 4

Goal: no task runs again, and all are settled within 10 s of the return. A try that was `released` had not begun.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from lab import Lab, run, spread, wait_for
from sqlalchemy import func, select

from engine.tables import attempt, flow_stat, task_stat

WATCHERS, SLOTS = 5, 10
IN_FLIGHT = WATCHERS * SLOTS


def measure(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    sleep = {"program": "EchoRandomTimeSleep", "param1_key": "MIN_SECOND", "param1_value": str(options.lease / 4)}
    lab.define("task", **sleep, param2_key="MAX_SECOND", param2_value=str(options.lease * 2.5))
    pace = ("--lease", options.lease, "--heartbeat", options.lease / 4, "--workers", SLOTS)
    started = [lab.watch(f"watcher{number}", *pace) for number in range(WATCHERS)]
    lab.await_watchers(WATCHERS)
    figures: dict[str, Any] = {}
    for how in ("refused", "silent") if lab.server else ("silent",):
        found = [_away(lab, how, 3 * options.lease) for _ in range(options.repetitions)]
        figures[f"{how}: settled after the return, s"] = spread(found)
    tries = lab.rows(select(attempt.c.outcome, func.count()).group_by(attempt.c.outcome))
    return {
        **figures,
        "tasks": lab.rows(select(func.count()).select_from(task_stat))[0][0],
        "tries in vain": {outcome: count for outcome, count in tries if outcome != "finished"},
        "processes that ended": sum(process.popen.poll() is not None for process in started),
        "violations": lab.violations(),
    }


def _away(lab: Lab, how: str, seconds: float) -> float:
    lab.register("task", IN_FLIGHT)
    running = select(func.count()).where(task_stat.c.exec_status == 1)
    wait_for(lambda: lab.rows(running)[0][0] >= IN_FLIGHT * 0.9, "the tasks run")
    with _REFUSED[how](lab) if lab.server else _locked(lab):
        time.sleep(seconds)
    back = time.time()
    unfinished = select(func.count()).where(flow_stat.c.flow_status != 3)
    return wait_for(lambda: lab.rows(unfinished)[0][0] == 0, "every task is settled") - back


@contextmanager
def _killed(lab: Lab) -> Iterator[None]:
    assert lab.server is not None
    lab.server.kill()
    yield
    lab.server.revive()


@contextmanager
def _frozen(lab: Lab) -> Iterator[None]:
    assert lab.server is not None
    assert lab.server.process is not None
    main = psutil.Process(lab.server.process.pid)
    group = [main, *main.children(recursive=True)]
    _tell(group, signal.SIGSTOP)
    yield
    _tell(group, signal.SIGCONT)


def _tell(group: list[psutil.Process], what: signal.Signals) -> None:
    for process in group:
        with suppress(ProcessLookupError):  # servers end processes of theirs at any time
            os.kill(process.pid, what)


@contextmanager
def _locked(lab: Lab) -> Iterator[None]:
    holder = sqlite3.connect(lab.folder / "lab.db", isolation_level=None, timeout=30)
    holder.execute("BEGIN EXCLUSIVE")
    yield
    holder.close()


_REFUSED = {"refused": _killed, "silent": _frozen}

if __name__ == "__main__":
    run(measure, __doc__, repetitions=20, lease=4.0)
