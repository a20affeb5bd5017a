"""Who waits for whom in a flow, counted from the rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, case, func, select, update

from engine.database import Database
from engine.graph import edges
from engine.graph.edge_outcomes import withdraw
from engine.graph.edges import AFTER, Edge
from engine.graph.trigger_rules import EdgeOutcome, Verdict, verdict
from engine.keys import KEY_COLUMNS, Key, among, chunks, pair_among
from engine.states import PASSED_ON, SETTLED, Reason, Status
from engine.tables import task_stat, wait


@dataclass(frozen=True)
class Policy:
    """Which settled statuses satisfy a dependency. Flower's own rule, where the followers of an ignored task never
    run, is `Policy(ignore_satisfies=False)`."""

    ignore_satisfies: bool = True

    def satisfied_by(self, status: int) -> bool:
        return status == Status.FINISH or (self.ignore_satisfies and status == Status.IGNORE)


DEFAULT_POLICY = Policy()


@dataclass
class Awaited:
    """What one task waits for: how many predecessors and waits are still open, and which predecessors do not exist."""

    verdict: Verdict = Verdict.RUN
    open_count: int = 0
    missing: list[int] = field(default_factory=list)
    undecided: list[Key] = field(default_factory=list)
    """Predecessors whose edge is open, and is not settled by how they end alone."""

    @property
    def total(self) -> int:
        return self.open_count + len(self.missing)


def predecessors(conn: Connection, keys: Collection[Key]) -> dict[Key, set[Key]]:
    """The parents that the rows name, whether or not these exist; a task without any has an empty set."""
    found: dict[Key, set[Key]] = {key: set() for key in keys}
    for edge in edges.before(conn, keys):
        found[edge.child].add(edge.parent)
    return found


def count_awaited(conn: Connection, keys: Collection[Key], policy: Policy = DEFAULT_POLICY) -> dict[Key, Awaited]:
    """Recount what these tasks wait for. A settled parent that has not told its successors yet still counts: telling
    them is what will lower the counter. The caller holds the locks of `keys`."""
    into = edges_into(conn, keys, policy)
    rules = _rules(conn, [key for key, found in into.items() if found])
    result: dict[Key, Awaited] = {}
    for key, found in into.items():
        awaited = result[key] = Awaited(verdict(rules.get(key), [outcome for _, outcome, _ in found]))
        if awaited.verdict is Verdict.WAIT:
            still_open = [(edge, there) for edge, outcome, there in found if outcome is None]
            awaited.missing = sorted(edge.parent.seq for edge, there in still_open if not there)
            awaited.open_count = len(still_open) - len(awaited.missing)
            awaited.undecided = [edge.parent for edge, there in still_open if there and not edge.is_plain]
    for key, count in _open_waits(conn, into).items():
        result[key].open_count += count
    return result


def edges_into(
    conn: Connection, keys: Collection[Key], policy: Policy = DEFAULT_POLICY
) -> dict[Key, list[tuple[Edge, str | None, bool]]]:
    """The edges into these tasks, each with its outcome (None: open) and whether the earlier task exists."""
    into: dict[Key, list[Edge]] = {key: [] for key in keys}
    for edge in edges.before(conn, keys):
        into[edge.child].append(edge)
    parents = _states(conn, {edge.parent for found in into.values() for edge in found})
    return {
        key: [(edge, outcome_of(edge, parents.get(edge.parent), policy), edge.parent in parents) for edge in found]
        for key, found in into.items()
    }


State = tuple[int, int | None, str | None]
"""exec_status, wait_count and reason of a parent."""


def outcome_of(edge: Edge, parent: State | None, policy: Policy = DEFAULT_POLICY) -> str | None:
    """What became of an edge: as its row says, else, of a plain one, as follows from the earlier task. None: open."""
    if edge.outcome is not None:
        return edge.outcome
    if parent is not None and parent[0] == Status.IGNORE and parent[2] == Reason.SUPERSEDED:
        return EdgeOutcome.MOOT  # what made it runs again
    if parent is None or not edge.is_plain:
        return None
    status, wait_count, reason = parent
    if status not in SETTLED or wait_count != PASSED_ON:
        return None
    if edge.kind == AFTER:
        return EdgeOutcome.MOOT
    if status == Status.IGNORE and reason in _PASSED_BY:
        return _PASSED_BY[reason]
    return EdgeOutcome.TAKEN if policy.satisfied_by(status) else None


_PASSED_BY: dict[str | None, EdgeOutcome] = {
    Reason.SKIPPED: EdgeOutcome.SKIPPED,
    Reason.ROLLED_BACK: EdgeOutcome.SKIPPED,
    Reason.HANDLED: EdgeOutcome.FAILED,
    Reason.HANDLED_TIMEOUT: EdgeOutcome.FAILED,
}


def _states(conn: Connection, keys: Collection[Key]) -> dict[Key, State]:
    task = task_stat.c
    states: dict[Key, State] = {}
    for part in chunks(sorted(keys)):
        query = select(*KEY_COLUMNS, task.exec_status, task.wait_count, task.reason).where(among(part))
        states |= {Key(flow_id, seq): (status, count, why) for flow_id, seq, status, count, why in conn.execute(query)}
    return states


def _rules(conn: Connection, keys: Collection[Key]) -> dict[Key, str]:
    rules: dict[Key, str] = {}
    for part in chunks(sorted(keys)):
        query = select(*KEY_COLUMNS, task_stat.c.trigger_rule).where(among(part), task_stat.c.trigger_rule.isnot(None))
        rules |= {Key(flow_id, seq): rule for flow_id, seq, rule in conn.execute(query)}
    return rules


def _open_waits(conn: Connection, keys: Collection[Key]) -> dict[Key, int]:
    """How many things each task awaits beside its predecessors; a poke is a time limit, and is not awaited."""
    found: dict[Key, int] = {}
    for part in chunks(sorted(keys)):
        # the state as a parameter: an index of all open waits would be read from end to end
        of_tasks = pair_among(wait.c.task_flow_id, wait.c.task_exec_seq, part), wait.c.state == "open"
        query = select(wait.c.task_flow_id, wait.c.task_exec_seq, func.count()).where(*of_tasks, wait.c.kind != "poke")
        counts = conn.execute(query.group_by(wait.c.task_flow_id, wait.c.task_exec_seq))
        found |= {Key(flow_id, seq): count for flow_id, seq, count in counts}
    return found


def lock_tasks(conn: Connection, db: Database, keys: Collection[Key]) -> None:
    """Lock task rows in key order, where the database has row locks. Read what you decide by only after this."""
    if db.can.row_locks:
        for part in chunks(sorted(keys)):
            conn.execute(select(*KEY_COLUMNS).where(among(part)).order_by(*KEY_COLUMNS).with_for_update()).all()


def raise_behind(
    conn: Connection, db: Database, parents: Collection[Key], policy: Policy, *, but: Collection[Key] = ()
) -> None:
    """Count anew what waits behind tasks that will settle once more: it was told by them once already."""
    withdraw(conn, parents)
    behind = sorted({edge.child for edge in edges.behind(conn, parents)} - set(but))
    lock_tasks(conn, db, behind)
    groups: dict[int, list[Key]] = {}
    for key, awaited in count_awaited(conn, behind, policy).items():
        groups.setdefault(awaited.total, []).append(key)
    task = task_stat.c
    still_open = task.exec_status.in_([int(Status.WAIT), int(Status.SUSPEND)]), task.wait_count >= 0
    due = case((task.due_ts.isnot(None), 1), else_=0)
    for count, keys in groups.items():
        for part in chunks(keys):
            conn.execute(update(task_stat).where(among(part), *still_open).values(wait_count=count + due))
