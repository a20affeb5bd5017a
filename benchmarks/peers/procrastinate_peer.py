"""Procrastinate on PostgreSQL."""

from __future__ import annotations

import os
import sys

import procrastinate
from driver import measure, worker
from notes import Notes

CONNINFO = os.environ["PEER_POSTGRESQL"]
BATCH = 1_000
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=CONNINFO))
NOTES = Notes()


@app.task(name="step")  # type: ignore[untyped-decorator]
def step() -> None:
    NOTES.note()


def _queue(count: int) -> None:
    for first in range(0, count, BATCH):
        step.batch_defer(*({} for _ in range(min(BATCH, count - first))))


if __name__ == "__main__":
    sync = app.with_connector(procrastinate.SyncPsycopgConnector(conninfo=CONNINFO))
    with sync.open(), app.replace_connector(sync.connector):
        app.schema_manager.apply_schema()
        command = "procrastinate", "--app=procrastinate_peer.app", "worker", "--concurrency=20"
        with worker(*command, "--delete-jobs=successful", seconds=4.0):
            submits = {"queue": (_queue, 1), "latency": (_queue, 1)}
            measure("procrastinate, postgresql", submits, sys.argv[1], int(sys.argv[2]) or None)
