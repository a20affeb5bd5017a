"""What a person did by SQL to rows that exist: settled them, suspended them, set them back."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, case, func, null, or_, select, update

from engine import flow_counts, history
from engine.database import Database
from engine.dialects.clock import now
from engine.graph import routing
from engine.graph.branching import Ended, Ending
from engine.graph.dependencies import DEFAULT_POLICY, Policy, lock_tasks, raise_behind
from engine.keys import KEY_COLUMNS, Key, among, key_of
from engine.lookout import set_back
from engine.states import PASSED_ON, WAITING_REASONS, Reason, Status
from engine.supervise import batches
from engine.supervise.batches import take_rows
from engine.tables import IS_SET_BACK, IS_SUSPENDED, IS_UNEXPLAINED, IS_UNTOLD, task_stat
from engine.waiting import waits


def pass_on(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Tell the successors of rows that a person set to FINISH or IGNORE. Returns how many rows were told."""

    def work(conn: Connection) -> int:
        task = task_stat.c
        rows = take_rows(
            conn, db, select(*KEY_COLUMNS, task.exec_status, task.reason).where(IS_UNTOLD).order_by(*KEY_COLUMNS)
        )
        if not rows:
            return 0
        keys = [key_of(row) for row in rows]
        stamps = {"registered_ts": func.coalesce(task.registered_ts, now()), "suspended_ts": null()}
        finished = {**stamps, "finished_ts": func.coalesce(task.finished_ts, now())}
        told = update(task_stat).where(among(keys), IS_UNTOLD)
        conn.execute(told.where(task.exec_status == int(Status.FINISH)).values(wait_count=PASSED_ON, **finished))
        ignored = {**stamps, "reason": func.coalesce(task.reason, Reason.IGNORED)}
        conn.execute(told.where(task.exec_status == int(Status.IGNORE)).values(wait_count=PASSED_ON, **ignored))
        endings = {key_of(row): routing.ending_of(row.exec_status, row.reason) for row in rows}
        told_of = {key: ending for key, ending in endings.items() if _satisfies(ending, policy)}
        waits.cancel(conn, keys)
        routing.route(conn, db, told_of, policy)
        flow_counts.recount(conn, db, {key.flow_id for key in keys})
        history.record(conn, [history.about(key, _BY_HAND[how], "sql") for key, how in _made_by_hand(endings)])
        return len(keys)

    return db.transact(work)


_BY_HAND = {Ended.FINISHED: "task finished by hand", Ended.IGNORED: "task ignored by hand"}


def _made_by_hand(endings: Mapping[Key, Ending]) -> list[tuple[Key, Ended]]:
    """Of these, those that a person settled; the others were skipped by the engine, which left the rest to a sweep."""
    return [(key, ending.how) for key, ending in endings.items() if ending.how in _BY_HAND]


def _satisfies(ending: Ending, policy: Policy) -> bool:
    return ending.how is not Ended.IGNORED or policy.ignore_satisfies


def note_paused(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Give rows that a person set to SUSPEND their reason and time, so that they explain themselves, and take these
    from rows that a person set back to WAIT; their flows count anew. Returns how many rows were noted."""
    return db.transact(lambda conn: _note_suspended(conn, db, policy) + _note_set_back(conn, db))


def _note_suspended(conn: Connection, db: Database, policy: Policy) -> int:
    task = task_stat.c
    rows = take_rows(conn, db, select(*KEY_COLUMNS, task.wait_count).where(IS_UNEXPLAINED).order_by(*KEY_COLUMNS))
    if not rows:
        return 0
    keys = [key_of(row) for row in rows]
    own = or_(task.reason.is_(None), task.reason.in_(WAITING_REASONS))
    stamps = {
        "reason": case((own, Reason.PAUSED), else_=task.reason),
        "suspended_ts": func.coalesce(task.suspended_ts, now()),
    }
    conn.execute(update(task_stat).where(among(keys), IS_UNEXPLAINED).values(**stamps))
    told = [key for key, row in zip(keys, rows, strict=True) if row.wait_count is not None and row.wait_count < 0]
    if told:  # a settled row was suspended: what waits behind it waits for it again
        raise_behind(conn, db, told, policy)
        conn.execute(update(task_stat).where(among(told), IS_SUSPENDED).values(wait_count=null()))
    flow_counts.recount(conn, db, {key.flow_id for key in keys})
    history.record(conn, [history.about(key, "task paused by hand", "sql") for key in keys])
    return len(keys)


def _note_set_back(conn: Connection, db: Database) -> int:
    keys = sorted(Key(*row) for row in conn.execute(set_back().limit(batches.BATCH)))
    if not keys:
        return 0
    lock_tasks(conn, db, keys)
    conn.execute(
        update(task_stat).where(among(keys), IS_SET_BACK).values(suspended_ts=null(), reason=null(), owner=null())
    )
    flow_counts.recount(conn, db, {key.flow_id for key in keys})
    history.record(conn, [history.about(key, "task resumed by hand", "sql") for key in keys])
    db.dialect.notify(conn)
    return len(keys)
