"""Opening what waits behind settled tasks: counters go down in the transaction that settles.

Counters are lowered under row locks and never computed from the siblings, so two siblings that settle together both
lower the same row and the second one sees zero.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select, update

from engine.database import Database
from engine.dependencies import successors
from engine.keys import KEY_COLUMNS, Key, among, chunks
from engine.tables import task_stat


def unlock(conn: Connection, db: Database, parents: Collection[Key]) -> int:
    """Lower the counters of everything behind `parents`, whatever its status: a paused task must not miss its signal.

    A row whose counter is NULL has not been adopted yet and is counted then. Returns how many became ready.
    """
    lowering = successors(conn, parents)
    if not lowering:
        return 0
    groups: dict[int, list[Key]] = {}
    opened = 0
    for key, count in _locked_counts(conn, db, lowering).items():
        if count is not None and count > 0:
            by = min(lowering[key], count)
            groups.setdefault(by, []).append(key)
            opened += count == by
    for by, keys in groups.items():
        for part in chunks(keys):
            enough = task_stat.c.wait_count >= by
            lowered = task_stat.c.wait_count - by
            conn.execute(update(task_stat).where(among(part), enough).values(wait_count=lowered))
    return opened


def _locked_counts(conn: Connection, db: Database, keys: Collection[Key]) -> dict[Key, int | None]:
    """Lock every successor, not only those that wait: PostgreSQL does not look again at a row that its snapshot had
    ruled out, and would miss one whose counter is being written this moment."""
    found: dict[Key, int | None] = {}
    for part in chunks(sorted(keys)):
        query = select(*KEY_COLUMNS, task_stat.c.wait_count).where(among(part)).order_by(*KEY_COLUMNS)
        if db.can.row_locks:
            query = query.with_for_update()
        found |= {Key(flow_id, seq): count for flow_id, seq, count in conn.execute(query)}
    return found
