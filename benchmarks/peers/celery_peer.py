"""Celery with Redis; its diamond goes level by level, as chords do."""

from __future__ import annotations

import os
import sys

from celery import Celery, chain, group
from driver import CHAIN, measure, worker
from notes import Notes

app = Celery("celery_peer", broker=os.environ["PEER_REDIS"], backend=os.environ["PEER_REDIS"])
app.conf.update(worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True, result_expires=600)
NOTES = Notes()
LEVELS = (1, 2, 3, 4)
"""Tasks of each level of the diamond."""
WIDTH = 1_000


@app.task  # type: ignore[untyped-decorator]
def step(*_: object) -> None:
    NOTES.note()


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]
def alone() -> None:
    NOTES.note()


def _queue(count: int) -> None:
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            alone.apply_async(producer=producer)


def _chain(count: int) -> None:
    for _ in range(count):
        chain(*(step.si() for _ in range(CHAIN))).apply_async()


def _diamond(count: int) -> None:
    for _ in range(count):
        chain(*(group(step.si() for _ in range(level)) if level > 1 else step.si() for level in LEVELS)).apply_async()


def _fan_out(count: int) -> None:
    for _ in range(count):
        chain(step.si(), group(step.si() for _ in range(WIDTH)), step.si()).apply_async()


if __name__ == "__main__":
    command = "celery", "-A", "celery_peer", "worker", "--concurrency=2", "--loglevel=error"
    with worker(*command, "--without-gossip", "--without-mingle", "--without-heartbeat", seconds=5.0):
        submits = {
            "queue": (_queue, 1),
            "latency": (_queue, 1),
            "chain": (_chain, CHAIN),
            "diamond10": (_diamond, sum(LEVELS)),
            "fan-out": (_fan_out, WIDTH + 2),
        }
        measure("celery, redis", submits, sys.argv[1], int(sys.argv[2]) or None)
