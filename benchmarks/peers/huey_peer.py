"""Huey, with Redis or, without PEER_REDIS, a SQLite file."""

from __future__ import annotations

import os
import sys
from typing import Any

from driver import CHAIN, measure, worker
from huey import RedisHuey, SqliteHuey
from notes import Notes

REDIS = os.environ.get("PEER_REDIS")
huey: Any = RedisHuey("peer", url=REDIS) if REDIS else SqliteHuey(filename=os.environ["PEER_FILE"], fsync=True)
NOTES = Notes()


@huey.task()  # type: ignore[untyped-decorator]
def step(*_: object) -> None:
    NOTES.note()


def _queue(count: int) -> None:
    for _ in range(count):
        step()


def _chain(count: int) -> None:
    for _ in range(count):
        first = step.s()
        for _ in range(CHAIN - 1):
            first = first.then(step)
        huey.enqueue(first)


def main() -> None:
    consumer = "huey_consumer", "huey_peer.huey", "--workers=4", "--delay=0.002", "--max-delay=0.002", "--quiet"
    with worker(*consumer):
        submits = {"queue": (_queue, 1), "latency": (_queue, 1), "chain": (_chain, CHAIN)}
        measure("huey, redis" if REDIS else "huey, sqlite", submits, sys.argv[1], int(sys.argv[2]) or None)


if __name__ == "__main__":
    import huey_peer  # tasks are known by the module that they come from, and the consumer's is not __main__

    huey_peer.main()
