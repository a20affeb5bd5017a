"""What every peer is asked to do, in its own environment; a peer's file says how it does it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import quantiles

from notes import Notes

CHAIN = 40
DIAMOND = {1: (), 2: (1,), 3: (1,), 4: (2,), 5: (2, 3), 6: (3,), 7: (4,), 8: (4, 5), 9: (5, 6), 10: (6,)}
"""Before which steps each step of the ten-task diamond comes: the shape of `penstock bench diamond10`."""
PAUSE_S = 0.03
"""Between single submissions: the system is idle."""
WARM_UP = 5
Submit = Callable[[int], object]
"""Begin the work of one workload, as many times as it says; it may return before that is done."""


def measure(peer: str, submits: Mapping[str, tuple[Submit, int]], name: str, size: int | None) -> None:
    """Run one workload and print a line of JSON: tasks, seconds, tasks a second; of latencies the spread.

    `submits`: for each workload that the peer can do, what begins it, and the number of tasks of one unit.
    """
    submit, tasks_of_one = submits[name]
    notes = Notes()
    notes.clear()
    _warm_up(submit, notes, tasks_of_one)
    facts: dict[str, float] = {}
    if name == "latency":
        count = size or 100
        found = sorted(_single(submit, notes) for _ in range(count))
        at = quantiles(found, n=100, method="inclusive")
        facts = {"p50_ms": round(at[49] * 1000, 2), "p99_ms": round(at[98] * 1000, 2)}
        tasks, wall = count, sum(found)
    else:
        units = size or {"queue": 10_000, "fan-out": 1, "chain": 1, "diamond10": 100}[name]
        tasks = units * tasks_of_one
        notes.clear()
        began = time.monotonic()
        submit(units)
        wall = notes.await_count(tasks) - began
    line = {"peer": peer, "workload": name, "tasks": tasks, "wall_s": round(wall, 4)}
    print(json.dumps({**line, "tasks_per_s": round(tasks / wall, 1), "facts": facts}), flush=True)


def _warm_up(submit: Submit, notes: Notes, tasks_of_one: int) -> None:
    submit(1)
    notes.await_count(tasks_of_one, 60.0)


def _single(submit: Submit, notes: Notes) -> float:
    time.sleep(PAUSE_S)
    notes.clear()
    began = time.monotonic()
    submit(1)
    return notes.await_count(1) - began


@contextmanager
def worker(*command: str, seconds: float = 2.0) -> Iterator[None]:
    """The peer's own worker process, given time to come up."""
    process = subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr)
    try:
        time.sleep(seconds)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
