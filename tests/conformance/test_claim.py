"""Claims: the most urgent first, each row to one watcher, limits exact over all of them, and served by an index."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from explaining import explained, lasting_plan, plan_of, with_statistics
from factories import (
    claim,
    define,
    enlisted,
    finish,
    hand_made,
    insert_task,
    rows,
    settle_as,
    sql,
    start,
    sweep,
    task,
    together,
)
from invariants import hold
from sqlalchemy import Connection, insert, select, update

from engine import migrate
from engine.candidates import query_of
from engine.claim import _CLAIM, claim_ready
from engine.claimed import claimed_under
from engine.database import Database, open_database
from engine.dialects import postgresql
from engine.dialects.for_rows import ForRows
from engine.ids import new_claim_id
from engine.keys import Fence, Key, among, keyed
from engine.limits.room import Limits
from engine.settle import Settlement
from engine.settling import moves, plain, verdicts
from engine.states import Status
from engine.tables import IS_READY, run_edge, task_stat


def ready(db: Database, count: int, **columns: Any) -> None:
    """Rows that are ready to be claimed."""
    row = {"task_exec_seq": 1, "task_id": "w", "task_seq": 1, "parameters": "{}", "wait_count": 0, "program": "Noop"}
    flows = [f"flow{number:05d}" for number in range(count)]
    with db.transaction() as conn:
        conn.execute(insert(task_stat), [{**row, "task_flow_id": flow_id, **columns} for flow_id in flows])


def test_the_most_urgent_come_first(db: Database) -> None:
    urgencies = [number % 40 - 20 for number in range(100)]
    random.Random(7).shuffle(urgencies)
    for number, priority in enumerate(urgencies):
        insert_task(db, f"f{number:03d}", task_priority=priority, program="Noop")
    sweep(db)
    enlisted(db)
    taken: list[int] = []
    while claimed := claim(db, 7):
        taken += [task(db, item.key).task_priority for item in claimed]
    assert taken == sorted(urgencies)
    assert (taken[0], taken[-1]) == (-20, 19)


def test_of_equal_priority_the_oldest_comes_first(db: Database) -> None:
    ready(db, 3)
    for flow_id, day in (("flow00000", 3), ("flow00001", 1), ("flow00002", 2)):
        sql(
            db,
            f"UPDATE kr_task_stat SET registered_ts = '2020-01-0{day} 00:00:00' WHERE task_flow_id = :flow",
            flow=flow_id,
        )
    assert [item.key.flow_id for item in claim(db)] == ["flow00001", "flow00002", "flow00000"]


def test_no_more_than_the_limit(db: Database) -> None:
    ready(db, 5)
    assert len(claim(db, 3)) == 3
    assert len(claim(db, 0)) == 0
    assert len(claim(db, 3)) == 2
    assert claim(db, 3) == []


def test_queues_are_asked_in_order_and_others_not_at_all(db: Database) -> None:
    ready(db, 1)
    for number, queue in enumerate(["slow", "fast", "slow", "other"]):
        insert_task(db, f"q{number}", queue=queue, wait_count=0, program="Noop", task_priority=-number)
    claimed = claim(db, 10, queues=("fast", "slow", "fast"))
    assert [item.key.flow_id for item in claimed] == ["q1", "q2", "q0"]
    assert [item.key.flow_id for item in claim(db, 10)] == ["flow00000"]


def test_a_claim_marks_the_row(db: Database) -> None:
    define(db)
    flow_id = start(db, parameters={"x": 1})
    enlisted(db)
    [claimed] = claim(db)
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.wait_count, row.claims, row.owner) == (Status.RUNNING, 0, 1, "watcher-1")
    assert (row.claim_id, row.program) == (claimed.claim_id, "Noop")
    assert row.started_ts >= row.registered_ts
    assert (claimed.claim_no, claimed.attempt, claimed.flow_parameters) == (1, 1, '{"x":1}')
    hold(db)


def test_what_a_claim_took_can_be_read_back(db: Database) -> None:
    define(db)
    for _ in range(3):
        start(db, parameters={"x": 1})
    claim_id = new_claim_id()
    enlisted(db)
    took = db.transact(lambda conn: claim_ready(conn, db, "watcher-1", claim_id, 2))
    with db.read() as conn:
        assert claimed_under(conn, claim_id) == took
        assert claimed_under(conn, new_claim_id()) == []
    finish(db, took[0])
    with db.read() as conn:
        assert claimed_under(conn, claim_id) == took[1:]


@pytest.mark.parametrize("skip_locked", [True, False])
def test_racing_watchers_never_share_a_row(db: Database, skip_locked: bool) -> None:
    ready(db, 300)
    others = [open_database(db.url.render_as_string(hide_password=False)) for _ in range(4)]

    def drain(other: Database, name: str) -> list[Key]:
        other.can.skip_locked = skip_locked and db.can.skip_locked
        taken: list[Key] = []
        while claimed := claim(other, 9, watcher_id=name):
            taken += [item.key for item in claimed]
        return taken

    shares = together(*[lambda other=other, n=n: drain(other, f"w{n}") for n, other in enumerate(others)])
    for other in others:
        other.close()
    times = Counter(key for share in shares for key in share)
    assert len(times) == 300
    assert set(times.values()) == {1}
    assert {row.claims for row in rows(db, task_stat)} == {1}
    owners = Counter(row.owner for row in rows(db, task_stat))
    assert owners == Counter({f"w{n}": len(share) for n, share in enumerate(shares) if share})


@pytest.mark.needs("skip_locked")
def test_a_claim_does_not_wait_for_rows_that_somebody_holds(db: Database) -> None:
    ready(db, 4)
    other = open_database(db.url.render_as_string(hide_password=False))
    first = Key("flow00000", 1)
    with other.transaction() as conn:
        conn.execute(select(task_stat.c.claims).where(among([first])).with_for_update()).all()
        assert [item.key.flow_id for item in claim(db, 10)] == ["flow00001", "flow00002", "flow00003"]
    other.close()
    assert [item.key for item in claim(db, 10)] == [first]


LIMITS = {
    "total": (Limits(max_running=5), lambda counts: counts.total(), 5),
    "each workflow": (Limits(max_active=2), lambda counts: counts["a"], 2),
    "one workflow": (Limits(max_active_of={"a": 1}), lambda counts: counts["a"], 1),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_exact_over_concurrent_watchers(db: Database, name: str) -> None:
    limits, measure, most = LIMITS[name]
    for number in range(30):
        insert_task(db, f"f{number:02d}", task_id="ab"[number % 2], program="Noop", wait_count=0)
    others = [open_database(db.url.render_as_string(hide_password=False)) for _ in range(4)]
    for other in others:
        other.can.skip_locked = db.can.skip_locked
    together(*[lambda other=other: [claim(other, 3, limits=limits) for _ in range(5)] for other in others])
    for other in others:
        other.close()
    counts = Counter(row.task_id for row in rows(db, task_stat) if row.exec_status == Status.RUNNING)
    assert measure(counts) == most
    if name == "one workflow":
        assert counts["b"] == 15


def test_limits_hold_over_several_queues_of_one_claim(db: Database) -> None:
    for number in range(6):
        insert_task(db, f"f{number}", queue="ab"[number % 2], program="Noop", wait_count=0)
    assert len(claim(db, 10, queues=("a", "b"), limits=Limits(max_active=2))) == 2
    assert claim(db, 10, queues=("a", "b"), limits=Limits(max_active=2)) == []
    assert len(claim(db, 10, queues=("a", "b"), limits=Limits(max_running=5))) == 3


def test_a_full_workflow_does_not_hide_others(db: Database) -> None:
    for number in range(20):
        insert_task(db, f"f{number:02d}", task_id="full", program="Noop", wait_count=0, task_priority=-10)
    insert_task(db, "other", task_id="other", program="Noop", wait_count=0)
    claimed = claim(db, 5, limits=Limits(max_active=1))
    assert [item.task_id for item in claimed] == ["full", "other"]


def test_a_settled_task_frees_its_place(db: Database) -> None:
    enlisted(db)
    define(db)
    start(db)
    start(db)
    for kind in ("finish", "again", "suspend"):
        [held] = claim(db, 5, limits=Limits(max_active=1))
        assert claim(db, 5, limits=Limits(max_active=1)) == []
        settle_as(db, [Settlement(held, kind, reason="failed", delay_s=0)])
        sweep(db)


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def crowded(db: Database) -> Database:
    """History and work enough that a plan matters."""
    for status, count, name in ((3, -1, "old"), (0, 0, "new"), (0, 1, "wait")):
        row = {"task_id": "w", "task_seq": 1, "parameters": "{}", "exec_status": status, "wait_count": count}
        with db.transaction() as conn:
            keys = [(f"{name}-{flow:03d}", seq) for flow in range(150) for seq in range(1, 11)]
            conn.execute(insert(task_stat), [{"task_flow_id": f, "task_exec_seq": seq, **row} for f, seq in keys])
    return with_statistics(db, task_stat, run_edge)


@pytest.mark.parametrize("leaves", [False, True])
def test_the_claim_reads_an_index_in_its_order(crowded: Database, leaves: bool) -> None:
    query = query_of(crowded.can.row_locks, crowded.can.skip_locked, crowded.can.lock_of, leaves)
    found = plan_of(crowded, query, of_queue="default", most=10, left=["Other"])
    assert ("ix_kr_task_stat_ready" if crowded.can.partial_indexes else "ix_kr_task_stat_state") in found
    for sign in ("filesort", "TEMP B-TREE", "Sort", "Seq Scan on kr_task_stat", "SCAN kr_task_stat"):
        assert sign not in found


KEYS = [Key(f"new-{flow:03d}", seq) for flow in range(0, 150, 10) for seq in (2, 5)]
STATEMENTS = {
    "update by key": update(task_stat).where(among(KEYS)).values(claims=1),
    "guarded update by key": update(task_stat)
    .where(task_stat.c.exec_status.in_([0]), IS_READY, among(KEYS))
    .values(claims=1),
    "update by fence": update(task_stat).where(among([Fence(*key, "c") for key in KEYS])).values(claims=1),
    "update of one row by key": update(task_stat).where(among(KEYS[:1])).values(claims=1),
    "update of one row by fence": update(task_stat).where(among([Fence(*KEYS[0], "c")])).values(claims=1),
    "read by key": select(task_stat.c.wait_count).where(among(KEYS)).order_by(*task_stat.primary_key),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_rows_named_by_their_keys_are_looked_up(crowded: Database, name: str) -> None:
    found = plan_of(crowded, STATEMENTS[name])
    assert "SCAN kr_task_stat" not in found
    assert "Seq Scan" not in found
    if not crowded.can.partial_indexes:
        assert " range " in found
        assert " PRIMARY " in found
    elif not crowded.can.row_locks:
        assert "(task_flow_id=? AND task_exec_seq=?)" in found


GIVEN: dict[str, tuple[ForRows, tuple[Any, ...]]] = {
    "the lock of a settlement": (verdicts._LOCKING, ()),
    "a plain finish": (plain._FINISH.statement, ("c",)),
    "a plain finish with a result": (plain._FINISH_WITH_RESULT.statement, ("c", "1")),
    "a finish": (moves.FINISH.statement, ("c",)),
    "a finish with a result": (moves.FINISH_WITH_RESULT.statement, ("c", "1")),
    "a claim": (_CLAIM.statement, ()),
    "a counter that goes down": (plain._LOWER, (1,)),
    "edges of rows": (ForRows(keyed(), plain._first), ()),
}
"""Statements that are given their rows, and what they are given beside the keys."""
CLAIMANT = {"new_claim_id": "c", "new_owner": "w"}
AMOUNTS = pytest.mark.parametrize("keys", [KEYS[:1], KEYS], ids=["one", "many"])


def run_for(conn: Connection, name: str, keys: Sequence[Key]) -> None:
    statement, more = GIVEN[name]
    statement(conn, [(*key, *more) for key in keys], **(CLAIMANT if name == "a claim" else {}))


def plan_for(db: Database, name: str, keys: Sequence[Key]) -> str:
    with explained(db) as plans, db.transaction() as conn:
        run_for(conn, name, keys)
    (plan,) = plans
    return plan


@AMOUNTS
@pytest.mark.parametrize("name", GIVEN)
def test_rows_that_are_given_are_looked_up_one_by_one(crowded: Database, name: str, keys: Sequence[Key]) -> None:
    found = plan_for(crowded, name, keys)
    assert "SCAN kr_task_stat" not in found
    assert "Seq Scan" not in found
    if not crowded.can.partial_indexes:
        tables = found.splitlines()
        if len(keys) > 1:
            assert " given " in tables.pop(0)
        assert " PRIMARY " in tables[0] or "ix_kr_task_stat_behind" in tables[0]
    elif not crowded.can.row_locks:
        assert "SEARCH kr_task_stat" in found


@pytest.mark.parametrize("kind", ["postgresql"])
def test_rows_are_looked_up_by_their_keys_before_the_planner_knows_any(empty_url: str) -> None:
    """It takes the table to be nearly empty, and so each of its indexes to be quickly read from end to end."""
    db = open_database(empty_url)
    migrate.init(db, samples=False)
    rows_of = [{**hand_made(f"new-{flow:03d}", seq), "wait_count": 0} for flow in range(150) for seq in range(1, 11)]
    with db.transaction() as conn:
        conn.execute(insert(task_stat), rows_of)
    for name in GIVEN:
        for keys in (KEYS[:1], KEYS[:5]):
            found = plan_for(db, name, keys)
            assert "Nested Loop" in found or len(keys) == 1, name
            assert "kr_task_stat_pkey" in found or name == "edges of rows", (name, found)
    db.close()


@pytest.mark.parametrize("kind", ["postgresql"])
def test_plans_that_last_look_rows_up_too(crowded: Database) -> None:
    """What a watcher does all the time is planned once for a connection, for whatever it is given."""

    def claiming(conn: Connection) -> None:
        conn.execute(query_of(True, True, True, False), {"of_queue": "default", "most": 10})

    found = lasting_plan(crowded, claiming)
    assert "ix_kr_task_stat_ready" in found
    assert "Sort" not in found
    for keys in (KEYS[:1], KEYS):
        for name in GIVEN:
            found = lasting_plan(crowded, lambda conn, name=name, keys=keys: run_for(conn, name, keys))  # type: ignore[misc]
            index = "ix_kr_task_stat_behind" if name == "edges of rows" else "kr_task_stat_pkey"
            assert re.search(rf"Index (Only )?Scan using {index} .*\n +Index Cond: \(\(", found), (name, found)


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_plan_that_was_kept_is_made_anew_in_time(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(statement: str) -> str:
        with db.transaction(repeated=True) as conn:  # the connection that was used last
            found = conn.exec_driver_sql(statement)
            return "\n".join(row[0] for row in found) if found.returns_rows else ""

    monkeypatch.setattr(postgresql, "PLANS_LAST_S", 600.0)
    said("PREPARE kept AS SELECT * FROM kr_task_stat WHERE task_flow_id = $1")
    assert "Bitmap" not in said("EXPLAIN EXECUTE kept('f')")
    for setting in ("enable_indexscan = off", "enable_bitmapscan = on"):  # plans that are there do not ask
        said(f"SET {setting}")
    monkeypatch.setattr(postgresql, "PLANS_LAST_S", 0.0)
    assert "Bitmap" in said("EXPLAIN EXECUTE kept('f')")


@pytest.mark.needs("row_locks")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", GIVEN)
def test_of_few_rows_only_those_that_are_given_are_locked(db: Database, name: str, count: int) -> None:
    """A table so small that reading all of it looks cheap; somebody holds another row of it."""
    for number in range(3):
        insert_task(db, f"f{number}", program="Noop", wait_count=0, claim_id="c")
    other = open_database(db.url.render_as_string(hide_password=False))
    with other.transaction() as holder:
        holder.execute(select(task_stat).where(task_stat.c.task_flow_id == "f2").with_for_update()).all()
        with db.transaction() as conn:
            run_for(conn, name, [Key("f0", 1), Key("f1", 1)][:count])
    other.close()
