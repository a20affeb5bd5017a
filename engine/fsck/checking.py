"""Run the queries, page by page, and collect what they find.

Each query is one statement, and so sees one state of the database, between commits. What a person changes by SQL is put
in order by a watcher a moment later, and a database that is under way is full of such moments: `check` can look twice,
and reports then only what it found both times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select

from engine.database import Database
from engine.dialects.clock import later
from engine.errors import DatabaseUnavailable
from engine.fsck.invariant import Invariant
from engine.fsck.registry import chosen
from engine.fsck.scope import FLOWS_PER_PAGE, Scope, pages
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.keys import Key, chunks

GRACE_S: Final = 60.0
"""How long a task may run without a living owner before somebody should have taken it back."""
MAX_ROWS: Final = 10_000
"""Rows of one invariant that are kept; all are counted."""
MAX_TRIES: Final = 5
"""Of one query: a server may end it, or the connection, and a look can be repeated."""


@dataclass(frozen=True)
class Violation:
    """A row that breaks an invariant; `seq` 0: it is about the flow. `facts` are the query's other columns."""

    flow_id: str
    seq: int
    facts: Mapping[str, Any]

    @property
    def key(self) -> Key:
        return Key(self.flow_id, self.seq)


@dataclass
class Finding:
    """An invariant that does not hold: how many rows break it, and the first of them."""

    invariant: Invariant
    count: int = 0
    violations: list[Violation] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.invariant.name

    def add(self, violations: Collection[Violation]) -> None:
        self.count += len(violations)
        self.violations += list(violations)[: max(0, MAX_ROWS - len(self.violations))]


def check(
    db: Database,
    names: Iterable[str] | None = None,
    at_rest: bool = False,
    flow_id: str | None = None,
    policy: Policy = DEFAULT_POLICY,
    *,
    since_s: float | None = None,
    confirm_s: float = 0.0,
    grace_s: float = GRACE_S,
    on_page: Callable[[int], None] = lambda pages: None,
) -> list[Finding]:
    """Find what does not hold. Reads only, a page of flows and one statement at a time.

    `names`: these invariants alone, at rest or not; else all that hold always, and with `at_rest` those that hold once
    nothing is left to run. `flow_id`, `since_s`: one flow, or those registered in the last so many seconds.
    `confirm_s`: pause so long, look again at the flows found, and keep what is found both times. `on_page` is told how
    many pages were looked at.

    Shape: one Finding for each invariant that is broken; none is good. Errors: BadRequest for an unknown name;
    DatabaseUnavailable. Units: seconds of the database's clock.
    """
    found = {invariant.name: Finding(invariant) for invariant in chosen(names, at_rest=at_rest)}
    looker = Looker(db, policy, grace_s)
    for number, scope in enumerate(pages(db, flow_id, since_s), start=1):
        for finding in found.values():
            finding.add(looker.look(finding.invariant, scope))
        on_page(number)
    broken = [finding for finding in found.values() if finding.count]
    if broken and confirm_s > 0:
        time.sleep(confirm_s)
        broken = [again for finding in broken if (again := _confirmed(looker, finding)).count]
    return broken


def _confirmed(looker: Looker, finding: Finding) -> Finding:
    """The finding once more, of the rows that it had; the number of further ones is taken for what it was."""
    before = {violation.key for violation in finding.violations}
    again = Finding(finding.invariant, count=finding.count - len(finding.violations))
    for part in chunks(sorted({key.flow_id for key in before}), FLOWS_PER_PAGE):
        seen = looker.look(finding.invariant, Scope(flows=tuple(part)))
        again.add([violation for violation in seen if violation.key in before])
    return again


class Looker:
    """Runs one query at a time, each in a transaction of its own."""

    def __init__(self, db: Database, policy: Policy, grace_s: float) -> None:
        self._db = db
        self._grace_s = grace_s
        self._facts: dict[str, Any] = {"ignored": 9 if policy.ignore_satisfies else 3, "open": "open"}

    def look(self, invariant: Invariant, scope: Scope) -> list[Violation]:
        for _ in range(MAX_TRIES - 1):
            try:
                return self._look(invariant, scope)
            except DatabaseUnavailable:
                time.sleep(0.2)
        return self._look(invariant, scope)

    def _look(self, invariant: Invariant, scope: Scope) -> list[Violation]:
        with self._db.read() as conn:
            return self.look_in(conn, invariant, scope)

    def look_in(self, conn: Connection, invariant: Invariant, scope: Scope) -> list[Violation]:
        """The same in the caller's transaction: what is locked there stays as it is found."""
        facts = self._facts
        if ":before" in invariant.query:
            facts = {**facts, "before": conn.scalar(select(later(-self._grace_s)))}
        found = conn.execute(scope.statement(invariant.query, facts))
        names = list(found.keys())[2:]
        return [Violation(row[0], row[1], dict(zip(names, row[2:], strict=True))) for row in found]
