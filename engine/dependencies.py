"""Who waits for whom in a flow, read from the rows: the first predecessor of a task stands in its own row, as in
Flower, further ones in kr_task_edge."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, case, func, select, update

from engine.database import Database
from engine.keys import KEY_COLUMNS, Key, among, chunks, pair_among
from engine.states import PASSED_ON, SETTLED, Status
from engine.tables import run_edge, task_stat, wait


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

    open_count: int = 0
    missing: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.open_count + len(self.missing)


def successors(conn: Connection, parents: Collection[Key]) -> dict[Key, int]:
    """The tasks behind these parents, each with how many of the parents it waits for."""
    found: dict[Key, set[int]] = {}  # a predecessor may be named twice, in the row and in kr_task_edge
    for part in chunks(sorted(parents)):
        for table in (task_stat, run_edge):
            columns = table.c.task_flow_id, table.c.task_exec_seq, table.c.depends_task_exec_seq
            behind = pair_among(table.c.task_flow_id, table.c.depends_task_exec_seq, part)
            for flow_id, seq, parent in conn.execute(select(*columns).where(behind)):
                found.setdefault(Key(flow_id, seq), set()).add(parent)
    return {key: len(before) for key, before in found.items()}


def predecessors(conn: Connection, keys: Collection[Key]) -> dict[Key, set[Key]]:
    """The parents that the rows name, whether or not these exist; a task without any has an empty set."""
    found: dict[Key, set[Key]] = {}
    for part in chunks(sorted(keys)):
        first = select(*KEY_COLUMNS, task_stat.c.depends_task_exec_seq).where(among(part))
        for flow_id, seq, before in conn.execute(first):
            found[Key(flow_id, seq)] = {Key(flow_id, before)} if before > 0 else set()
        edge = run_edge.c
        further = select(edge.task_flow_id, edge.task_exec_seq, edge.depends_task_exec_seq)
        for flow_id, seq, before in conn.execute(
            further.where(pair_among(edge.task_flow_id, edge.task_exec_seq, part))
        ):
            if Key(flow_id, seq) in found:
                found[Key(flow_id, seq)].add(Key(flow_id, before))
    return found


def count_awaited(conn: Connection, keys: Collection[Key], policy: Policy = DEFAULT_POLICY) -> dict[Key, Awaited]:
    """Recount what these tasks wait for. A settled parent that has not told its successors yet still counts: telling
    them is what will lower the counter. The caller holds the locks of `keys`."""
    parents = predecessors(conn, keys)
    states: dict[Key, tuple[int, int | None]] = {}
    for part in chunks(sorted({parent for before in parents.values() for parent in before})):
        query = select(*KEY_COLUMNS, task_stat.c.exec_status, task_stat.c.wait_count).where(among(part))
        states |= {Key(flow_id, seq): (status, count) for flow_id, seq, status, count in conn.execute(query)}
    result: dict[Key, Awaited] = {}
    for key, before in parents.items():
        awaited = result[key] = Awaited()
        for parent in sorted(before):
            if parent not in states:
                awaited.missing.append(parent.seq)
            elif not _told(*states[parent], policy):
                awaited.open_count += 1
    for key, count in _open_waits(conn, parents).items():
        result[key].open_count += count
    return result


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
    behind = sorted(successors(conn, parents).keys() - set(but))
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


def _told(status: int, wait_count: int | None, policy: Policy) -> bool:
    return status in SETTLED and wait_count == PASSED_ON and policy.satisfied_by(status)
