"""Rows for tests: a test names only the columns that it is about."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection, insert, select, text, update

from engine import settle as settling
from engine import supervise
from engine.adopt import Adopter
from engine.claim import claim_ready
from engine.claimed import ClaimedTask
from engine.database import Database
from engine.flows import Registered, Registration, register
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.ids import new_claim_id
from engine.keys import Key
from engine.leases import enlist
from engine.settle import Settled, Settlement, settle
from engine.settling.ways import Ways
from engine.tables import flow_stat, task_definition, task_edge, task_stat, watcher
from engine.waiting import messages, overdue, waits

__all__ = ["settling"]


def define(db: Database, task_id: str = "w", steps: int = 1, **columns: Any) -> None:
    """A chain of steps 1..n of one program."""
    row = {"program": "Noop", **columns}
    with db.transaction() as conn:
        conn.execute(insert(task_definition), [{"task_id": task_id, "task_seq": n + 1, **row} for n in range(steps)])


def define_graph(db: Database, task_id: str, edges: Sequence[tuple[int, int]], **columns: Any) -> None:
    """A workflow of these edges (before, after)."""
    nodes = sorted({node for edge in edges for node in edge})
    row = {"program": "Noop", **columns}
    with db.transaction() as conn:
        conn.execute(insert(task_definition), [{"task_id": task_id, "task_seq": node, **row} for node in nodes])
        conn.execute(
            insert(task_edge),
            [{"task_id": task_id, "task_seq": after, "depends_task_seq": before} for before, after in edges],
        )


def start(db: Database, task_id: str = "w", **wish: Any) -> str:
    """Register one flow and return its id."""
    registration = Registration(task_id, **wish)
    answer = db.transact(lambda conn: register(conn, db, [registration]))[registration.flow_id]
    assert isinstance(answer, Registered), answer
    return answer.flow_id


def insert_task(db: Database, flow_id: str = "hand", seq: int = 1, **columns: Any) -> Key:
    """Insert a task row as a person would."""
    with db.transaction() as conn:
        conn.execute(insert(task_stat).values(**hand_made(flow_id, seq, **columns)))
    return Key(flow_id, seq)


def hand_made(flow_id: str, seq: int = 1, **columns: Any) -> dict[str, Any]:
    """A task row as a person would insert it: Flower's columns only, unless told otherwise."""
    return {
        "task_flow_id": flow_id,
        "task_exec_seq": seq,
        "depends_task_exec_seq": seq - 1 if seq > 1 else -1,
        "task_id": "w",
        "task_seq": seq,
        "exec_status": 0,
        "task_priority": 0,
        "parameters": "{}",
        **columns,
    }


def sql(db: Database, statement: str, **values: Any) -> None:
    """What a person types."""
    with db.transaction() as conn:
        conn.execute(text(statement), values)


def task(db: Database, key: tuple[str, int]) -> Any:
    with db.read() as conn:
        row = task_stat.c.task_flow_id == key[0], task_stat.c.task_exec_seq == key[1]
        return conn.execute(select(task_stat).where(*row)).one()


def tasks(db: Database, flow_id: str) -> list[Any]:
    with db.read() as conn:
        rows = select(task_stat).where(task_stat.c.task_flow_id == flow_id).order_by(task_stat.c.task_exec_seq)
        return list(conn.execute(rows))


def states(db: Database, flow_id: str) -> list[tuple[int, int | None]]:
    """(exec_status, wait_count) of each task of a flow, in run order."""
    return [(row.exec_status, row.wait_count) for row in tasks(db, flow_id)]


def flow(db: Database, flow_id: str) -> Any:
    with db.read() as conn:
        return conn.execute(select(flow_stat).where(flow_stat.c.task_flow_id == flow_id)).one()


def rows(db: Database, table: Any) -> list[Any]:
    with db.read() as conn:
        return list(conn.execute(select(table).order_by(*table.primary_key)))


def enlisted(db: Database, watcher_id: str = "watcher-1", lease_s: float = 60.0) -> str:
    with db.transaction() as conn:
        enlist(conn, watcher_id, lease_s)
    return watcher_id


def kill_lease(db: Database, watcher_id: str = "watcher-1") -> None:
    """The watcher fell silent long ago."""
    with db.transaction() as conn:
        from engine.dialects.clock import later

        gone = update(watcher).where(watcher.c.watcher_id == watcher_id)
        conn.execute(gone.values(lease_until_ts=later(-1.0)))


def claim(db: Database, limit: int = 10, watcher_id: str = "watcher-1", **options: Any) -> list[ClaimedTask]:
    claim_id = new_claim_id()
    return db.transact(lambda conn: claim_ready(conn, db, watcher_id, claim_id, limit, **options))


def finish(db: Database, *claimed: ClaimedTask, result: str | None = None, **options: Any) -> Settled:
    return settle_as(db, [Settlement(item, "finish", result=result) for item in claimed], **options)


def settle_as(
    db: Database, settlements: Sequence[Settlement], watcher_id: str = "watcher-1", **options: Any
) -> Settled:
    def work(conn: Connection, shortly: bool) -> Settled:
        return settle(conn, db, watcher_id, settlements, shortly=shortly, **options)

    return Ways().transact(db, settlements, work)


def run_all(db: Database, most: int = 1000) -> list[Key]:
    """Claim and finish until nothing is ready; the keys in the order in which they ran."""
    ran: list[Key] = []
    while claimed := claim(db):
        finish(db, *claimed)
        ran += [item.key for item in claimed]
        assert len(ran) <= most
    return ran


def sweep(db: Database, policy: Policy = DEFAULT_POLICY, adopter: Adopter | None = None) -> None:
    """Everything that supervise does without a clock, until it finds nothing more to do."""
    adopter = adopter or Adopter(db, policy, grace_s=0)
    for _ in range(200):
        done = supervise.pass_on(db, policy) + supervise.note_paused(db, policy)
        done += adopter.adopt() + supervise.fire_due(db, policy)
        done += waits.fire_waits(db, policy) + overdue.fire_pokes(db, policy) + messages.match(db)
        if not done:
            return
    raise AssertionError("the sweep finds work for ever")


def run_out(db: Database, policy: Policy = DEFAULT_POLICY, most: int = 5000, batch: int = 100) -> list[Key]:
    """Sweep, claim and finish until nothing moves; the keys in the order in which they ran."""
    ran: list[Key] = []
    while True:
        sweep(db, policy)
        claimed = claim(db, batch)
        if not claimed:
            return ran
        finish(db, *claimed, policy=policy)
        ran += [item.key for item in claimed]
        assert len(ran) <= most


def by_hand(db: Database, key: Key, status: int) -> None:
    """A person sets the status of a row, and nothing else."""
    where = "task_flow_id = :flow AND task_exec_seq = :seq"
    sql(db, f"UPDATE kr_task_stat SET exec_status = :status WHERE {where}", status=status, flow=key[0], seq=key[1])


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run the jobs at the same moment, one thread each; their results, or the first error."""
    start_line = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        start_line.wait(30)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(60) for future in [pool.submit(run, job) for job in jobs]]


def bypass_checks(db: Database, statement: str, **values: Any) -> None:
    """Write what the constraints of the table refuse."""
    with db.transaction() as conn:
        if not db.can.row_locks:
            conn.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        elif not db.can.partial_indexes:
            conn.exec_driver_sql("SET check_constraint_checks = 0")
        else:
            conn.exec_driver_sql("ALTER TABLE kr_task_stat DROP CONSTRAINT ck_kr_task_stat_priority")
            conn.exec_driver_sql("ALTER TABLE ms_task_definition DROP CONSTRAINT ck_ms_task_definition_priority")
        conn.execute(text(statement), values)
        if not db.can.row_locks:
            conn.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")
        elif not db.can.partial_indexes:
            conn.exec_driver_sql("SET check_constraint_checks = 1")
        else:
            check = "CHECK (task_priority >= -20 AND task_priority < 20) NOT VALID"
            for table in PRIORITIES:
                conn.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_priority {check}")
            vars(db)["is_bypassed"] = True


PRIORITIES = ("kr_task_stat", "ms_task_definition")


def check_again(db: Database) -> None:
    """Once the rows are gone that a constraint would refuse, it holds as before, also for whoever looks at it."""
    if vars(db).pop("is_bypassed", False):
        with db.transaction() as conn:
            for table in PRIORITIES:
                conn.exec_driver_sql(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_priority")
