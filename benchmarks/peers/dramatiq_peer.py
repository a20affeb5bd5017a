"""Dramatiq with Redis."""

from __future__ import annotations

import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from driver import CHAIN, measure, worker
from notes import Notes

dramatiq.set_broker(RedisBroker(url=os.environ["PEER_REDIS"]))
NOTES = Notes()


@dramatiq.actor(max_retries=0)  # type: ignore[untyped-decorator]
def step(*_: object) -> None:
    NOTES.note()


def _queue(count: int) -> None:
    for _ in range(count):
        step.send()


def _chain(count: int) -> None:
    for _ in range(count):
        dramatiq.pipeline([step.message() for _ in range(CHAIN)]).run()


if __name__ == "__main__":
    with worker("dramatiq", "dramatiq_peer", "--processes=2", "--threads=4", seconds=3.0):
        submits = {"queue": (_queue, 1), "latency": (_queue, 1), "chain": (_chain, CHAIN)}
        measure("dramatiq, redis", submits, sys.argv[1], int(sys.argv[2]) or None)
