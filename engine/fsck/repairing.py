"""Mend what `check` has found, where that is safe, in small transactions; say of the rest what a person can do."""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from engine import history
from engine.database import Database
from engine.fsck.checking import GRACE_S, Finding, Looker, Violation
from engine.fsck.menders import MENDERS, Mender, Task
from engine.fsck.scope import Scope
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.keys import Key, chunks

BATCH: Final = 100
"""Rows that are mended in one transaction."""
PATIENCE_S: Final = 20.0
"""The default lease: whoever takes tasks back must have been in contact for so long, as a watcher must. After an outage
of everybody the owners need that time to beat again."""
ACTOR: Final = "fsck"


class Outcome(enum.StrEnum):
    """What became of a violation."""

    DONE = "repaired"
    WOULD = "would be repaired"
    LEFT = "for a person"
    FAILED = "still broken"


@dataclass(frozen=True)
class Repair:
    """What was done, or would be, for one row: `what` in words; of a row that is left, what a person can do."""

    name: str
    flow_id: str
    seq: int
    outcome: Outcome
    what: str


def repair(
    db: Database,
    findings: Sequence[Finding],
    *,
    dry_run: bool = False,
    policy: Policy = DEFAULT_POLICY,
    patience_s: float = PATIENCE_S,
) -> list[Repair]:
    """Mend the rows that these findings name. Each is looked at again under its lock, and written down as an event
    `repaired`. Nothing is run, or run again, by this; tasks of dead watchers go back to waiting, as they would anyhow.

    Shape: one Repair for each violation, in the order of mending; rows that came right with another are left out. With
    `dry_run` nothing is changed. Units: patience_s in seconds, before tasks are taken back.
    """
    repairs: list[Repair] = []
    looker = Looker(db, policy, GRACE_S)
    for finding in sorted(findings, key=_rank):
        mender = MENDERS.get(finding.invariant.repair or "")
        fitting = [one for one in finding.violations if mender is not None and mender.fits(one)]
        if mender is not None and fitting and dry_run:
            repairs += [_repair(finding, one, Outcome.WOULD, mender.what) for one in fitting]
        elif mender is not None and fitting:
            if finding.invariant.repair == "release":
                time.sleep(patience_s)
                patience_s = 0.0
            for part in chunks(fitting, BATCH):
                repairs += _mend(Task(db, policy, looker, finding.invariant, part), finding, mender)
        left = [one for one in finding.violations if one not in fitting]
        repairs += [_repair(finding, one, Outcome.LEFT, finding.invariant.remedy) for one in left]
    return repairs


def _rank(finding: Finding) -> int:
    name = finding.invariant.repair
    return list(MENDERS).index(name) if name is not None else len(MENDERS)


def _mend(task: Task, finding: Finding, mender: Mender) -> list[Repair]:
    before = _broken(task)  # what an earlier repair, or a watcher, has mended is not ours to claim
    wanted = [violation for violation in task.violations if violation.key in before]
    if not wanted:
        return []
    task = replace(task, violations=wanted)
    mender.work(task)
    after = _broken(task)
    done = [violation for violation in wanted if violation.key not in after]
    details = {"invariant": finding.name, "what": mender.what}
    events = [history.Event("repaired", one.flow_id, one.seq, ACTOR, details) for one in done]
    task.db.transact(lambda conn: history.record(conn, events))
    failed = [violation for violation in wanted if violation.key in after]
    return [
        *(_repair(finding, violation, Outcome.DONE, mender.what) for violation in done),
        *(_repair(finding, violation, Outcome.FAILED, finding.invariant.remedy) for violation in failed),
    ]


def _broken(task: Task) -> set[Key]:
    return {violation.key for violation in task.looker.look(task.invariant, Scope(flows=tuple(task.flow_ids)))}


def _repair(finding: Finding, violation: Violation, outcome: Outcome, what: str) -> Repair:
    return Repair(finding.name, violation.flow_id, violation.seq, outcome, what)
