"""Errors that no code expects, in the middle of a watcher's work."""

from __future__ import annotations

from factories import define_graph, rows, start
from invariants import hold
from patience import until
from witnessing import Begin, Witness

from engine.database import Database
from engine.tables import flow_stat

SPEC = "claim.after_select=raise/2;claim.before_commit=raise/2;settle.before=raise@#2;settle.after_*s=raise@0.2/6;"
SPEC += "settle.before_commit=raise@#4;due.*=raise/1;waits.*=raise/1;heartbeat.*=raise/1"
"""Inside transactions, where errors come from."""


def test_a_watcher_outlives_errors_in_its_turns(db: Database, begin: Begin, witness: Witness) -> None:
    define_graph(db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)], program="Witness")
    flows = [start(db, "diamond") for _ in range(5)]
    names = {"PENSTOCK_FAILPOINTS_SEED": "1", "PENSTOCK_FAILPOINTS_LABEL": "one"}
    watcher = begin("watch", SPEC, "--log-level", "warning", **names)

    def all_ended() -> bool:
        assert watcher.lives, watcher.said_all()
        return all(row.flow_status not in (0, 1) for row in rows(db, flow_stat))

    until(all_ended, 60, watcher.said_all)
    assert watcher.terminate() == 0
    assert "FailpointError" in watcher.said_all()
    assert len({effect.flow_id for effect in witness.effects()}) == len(flows)
    hold(db)
