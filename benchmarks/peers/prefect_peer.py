"""Prefect 3 with its own server on SQLite; a flow calls its tasks in order."""

from __future__ import annotations

import sys

from driver import CHAIN, DIAMOND, measure
from notes import Notes
from prefect import flow, task

NOTES = Notes()


@task  # type: ignore[untyped-decorator]
def step() -> None:
    NOTES.note()


@flow(log_prints=False)  # type: ignore[untyped-decorator]
def steps(count: int) -> None:
    for _ in range(count):
        step()


def _flows(count: int, of: int) -> None:
    for _ in range(count):
        steps(of)


if __name__ == "__main__":
    submits = {
        "latency": (lambda count: _flows(count, 1), 1),
        "chain": (lambda count: _flows(count, CHAIN), CHAIN),
        "diamond10": (lambda count: _flows(count, len(DIAMOND)), len(DIAMOND)),
    }
    measure("prefect, sqlite", submits, sys.argv[1], int(sys.argv[2]) or None)
