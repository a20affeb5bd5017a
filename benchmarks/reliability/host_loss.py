"""How long work lies still when a host is lost (N3): watchers are killed with all their processes, and each of their
tasks is timed from the kill to its next claim by another watcher.

    python benchmarks/reliability/host_loss.py sqlite --samples 200
    python benchmarks/reliability/host_loss.py --lease 4 --heartbeat 1          the short profile

Goal with the default lease of 20 s: p50 22 s, p99 25 s, largest 30 s.
"""

from __future__ import annotations

import argparse
import random
import time
from typing import Any

from lab import Lab, run, spread, wait_for
from sqlalchemy import and_, func, select, update

from engine.tables import attempt, task_stat, watcher

SLOTS = 10
VICTIMS = 10


def measure(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    lab.define("long", program="EchoParamTimeSleep", param1_key="SLEEP_TIME_SECOND", param1_value="3600")
    found: list[float] = []
    while len(found) < options.samples:
        found += _lose_hosts(lab, len(found), options.lease, options.heartbeat)
    return {"recovery after host loss, s": spread(found), "violations": lab.violations()}


def _lose_hosts(lab: Lab, number: int, lease_s: float, heartbeat_s: float) -> list[float]:
    """Lose some hosts one after the other, each at any moment between two of its heartbeats."""
    pace = ("--lease", lease_s, "--heartbeat", heartbeat_s)
    lab.register("long", SLOTS * VICTIMS)
    victims = [lab.watch(f"victim{number}.{victim}", "--workers", SLOTS, *pace) for victim in range(VICTIMS)]
    running = select(func.count()).where(task_stat.c.exec_status == 1)
    wait_for(lambda: lab.rows(running)[0][0] == SLOTS * VICTIMS, "the victims hold every task")
    heir = lab.watch(f"heir{number}", "--workers", SLOTS * VICTIMS, *pace)
    time.sleep(lease_s + heartbeat_s)  # it takes tasks back only after a lease in contact
    killed = {}
    for victim in victims:
        time.sleep(random.uniform(0, 2 * heartbeat_s / VICTIMS))
        killed[victim.label] = victim.kill()
    wait_for(lambda: len(lab.rows(_TAKEN)) == SLOTS * VICTIMS, "the heir runs every task", 3 * lease_s + 60)
    found = [row.started_ts.timestamp() - killed[row.label] for row in lab.rows(_TAKEN)]
    with lab.db.transaction() as conn:
        conn.execute(update(task_stat).where(task_stat.c.exec_status == 1).values(exec_status=9))
    wait_for(lambda: not lab.rows(_UNTOLD), "the tasks are given up")
    heir.kill()
    return found


_TAKEN = (
    select(watcher.c.label, task_stat.c.started_ts)
    .join_from(attempt, watcher, attempt.c.watcher_id == watcher.c.watcher_id)
    .join(
        task_stat,
        and_(
            task_stat.c.task_flow_id == attempt.c.task_flow_id,
            task_stat.c.task_exec_seq == attempt.c.task_exec_seq,
        ),
    )
    .where(attempt.c.outcome == "lost", task_stat.c.exec_status == 1, task_stat.c.claims == 2)
)
_UNTOLD = select(task_stat.c.task_flow_id).where(task_stat.c.exec_status == 9, task_stat.c.wait_count != -1)

if __name__ == "__main__":
    run(measure, __doc__, samples=200, lease=20.0, heartbeat=5.0)
