"""DBOS on PostgreSQL or, without PEER_POSTGRESQL, a SQLite file; a flow is a workflow that calls its steps in order."""

from __future__ import annotations

import os
import sys

from dbos import DBOS, DBOSConfig
from driver import CHAIN, DIAMOND, measure
from notes import Notes

POSTGRESQL = os.environ.get("PEER_POSTGRESQL")
ADDRESS = POSTGRESQL or f"sqlite:///{os.environ['PEER_FILE']}"
config: DBOSConfig = {"name": "peer", "system_database_url": ADDRESS, "run_admin_server": False, "log_level": "ERROR"}
DBOS(config=config)
NOTES = Notes()


@DBOS.step()
def step() -> None:
    NOTES.note()


@DBOS.workflow()
def steps(count: int) -> None:
    for _ in range(count):
        step()


def _flows(count: int, of: int) -> None:
    for handle in [DBOS.start_workflow(steps, of) for _ in range(count)]:
        handle.get_result()


if __name__ == "__main__":
    DBOS.launch()
    submits = {
        "queue": (lambda count: _flows(count, 1), 1),
        "latency": (lambda count: _flows(count, 1), 1),
        "chain": (lambda count: _flows(count, CHAIN), CHAIN),
        "diamond10": (lambda count: _flows(count, len(DIAMOND)), len(DIAMOND)),
    }
    measure("dbos, postgresql" if POSTGRESQL else "dbos, sqlite", submits, sys.argv[1], int(sys.argv[2]) or None)
    DBOS.destroy()
