"""Errors that no code expects, in the middle of a watcher's work."""

from __future__ import annotations

import time

import pytest
from factories import define_graph, rows, start
from invariants import hold
from witnessing import Begin, Witness

from engine.database import Database
from engine.tables import flow_stat

SPEC = "claim.*=raise@0.2/6;settle.*=raise@0.2/12;due.*=raise/1;waits.*=raise/1;heartbeat.*=raise/1"


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_watcher_outlives_errors_in_its_turns(db: Database, begin: Begin, witness: Witness, seed: str) -> None:
    define_graph(db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)], program="Witness")
    flows = [start(db, "diamond") for _ in range(5)]
    names = {"PENSTOCK_FAILPOINTS_SEED": seed, "PENSTOCK_FAILPOINTS_LABEL": "one"}
    watcher = begin("watch", SPEC, "--log-level", "warning", **names)
    deadline = time.monotonic() + 60
    while any(row.flow_status == 1 or row.flow_status == 0 for row in rows(db, flow_stat)):
        assert watcher.lives, watcher.said_all()
        assert time.monotonic() < deadline, watcher.said_all()
        time.sleep(0.05)
    assert watcher.terminate() == 0
    assert "FailpointError" in watcher.said_all()
    assert len({effect.flow_id for effect in witness.effects()}) == len(flows)
    hold(db)
