"""What must hold in the tables whatever happened: the invariants of engine/fsck, as assertions."""

from __future__ import annotations

from engine import fsck
from engine.database import Database
from engine.graph.dependencies import DEFAULT_POLICY, Policy

Broken = dict[str, list[tuple[str, int, object]]]


def broken(db: Database, *, at_rest: bool = False, policy: Policy = DEFAULT_POLICY) -> Broken:
    """The invariants that do not hold, by name, each with the rows that break it."""
    findings = fsck.check(db, at_rest=at_rest, policy=policy)
    return {
        finding.name: [(row.flow_id, row.seq, dict(row.facts)) for row in finding.violations] for finding in findings
    }


def hold(db: Database, *, at_rest: bool = False, policy: Policy = DEFAULT_POLICY) -> None:
    """Assert that every invariant holds."""
    found = broken(db, at_rest=at_rest, policy=policy)
    assert not found, f"broken: {found}"
