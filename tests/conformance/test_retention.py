"""Ended flows are deleted whole, and nobody is in the way of anybody."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from explaining import explained
from factories import claim, define, enlisted, finish, rows, run_all, settle_as, sql, start, task
from invariants import hold
from sqlalchemy import insert, select, text, update

from engine import control, retention
from engine.claim import claim_ready
from engine.database import Database
from engine.dialects.clock import later, now
from engine.ending import closing
from engine.ids import new_claim_id
from engine.keys import Key
from engine.retention import Pruned, Retention, Wanted
from engine.retention.automatic import TURN
from engine.retention.candidates import due, page
from engine.retention.deletion import delete_flows
from engine.settle import Settlement
from engine.states import Status
from engine.tables import attempt, event, flow_stat, limit_stat, message, run_edge, task_stat, wait, workflow
from engine.waiting import messages
from engine.wishes import WaitWish

DAY = 86_400.0
OF_FLOWS = (flow_stat, task_stat, run_edge, attempt, wait, event)


def aged(db: Database, days: float, *flow_ids: str) -> None:
    """The flows, and all of them if none is named, were registered and ended so many days ago."""
    flow = flow_stat.c
    old = update(flow_stat).where(flow.task_flow_id.in_(flow_ids)) if flow_ids else update(flow_stat)
    with db.transaction() as conn:
        conn.execute(old.values(registered_ts=later(-days * DAY)))
        conn.execute(old.where(flow.finished_ts.isnot(None)).values(finished_ts=later(-days * DAY)))


def there(db: Database) -> list[str]:
    return [row.task_flow_id for row in rows(db, flow_stat)]


def prune(db: Database, days: float = 1.0, **options: Any) -> Pruned:
    names = ("dry_run", "batch")
    how = {name: options.pop(name) for name in names if name in options}
    return retention.prune(db, Wanted(days * DAY, **options), pause_s=0, **how)


@pytest.fixture
def ended(db: Database) -> str:
    """A flow of three that ended two days ago."""
    define(db, steps=3)
    enlisted(db)
    flow_id = start(db)
    run_all(db)
    aged(db, 2)
    return flow_id


def test_an_ended_flow_goes_with_everything_that_belongs_to_it(db: Database) -> None:
    define(db, steps=2)
    enlisted(db)
    flow_id, other = start(db, flow_id="f"), start(db, flow_id="g")
    held = {item.key.flow_id: item for item in claim(db)}
    awaits = {name: Settlement(item, "await", wait=WaitWish("message", "news", name)) for name, item in held.items()}
    settle_as(db, list(awaits.values()))
    for name in held:
        messages.send(db, "news", name, 1, actor="ann")
    run_all_kept(db)
    edge = "INSERT INTO kr_task_edge(task_flow_id, task_exec_seq, depends_task_exec_seq) VALUES (:flow, 2, 1)"
    for name in held:
        sql(db, edge, flow=name)
        with db.transaction() as conn:
            conn.execute(insert(event).values(task_flow_id=name, event_ts=now(), what="seen"))
    aged(db, 2, flow_id)
    before = {table.name: [row for row in rows(db, table) if row.task_flow_id == other] for table in OF_FLOWS}
    assert all(before.values())
    assert prune(db) == Pruned(1, 2)
    for table in OF_FLOWS:
        assert [row for row in rows(db, table) if row.task_flow_id] == before[table.name], table.name
    assert [row.correlation_key for row in rows(db, message)] == [other]
    hold(db)


def run_all_kept(db: Database) -> None:
    while claimed := claim(db):
        finish(db, *claimed, keep_all_attempts=True)


def test_what_is_younger_stays(db: Database, ended: str) -> None:
    assert prune(db, 3) == Pruned()
    assert there(db) == [ended]
    assert prune(db, 1) == Pruned(1, 3)


@pytest.mark.parametrize("status", ["waits", "runs", "is suspended", "is not passed on", "is not closed"])
def test_what_is_under_way_is_never_deleted(db: Database, status: str) -> None:
    """Even where the flow's own row says that it has ended."""
    define(db, steps=2)
    enlisted(db)
    flow_id = start(db)
    match status:
        case "runs":
            claim(db)
        case "is suspended":
            settle_as(db, [Settlement(claim(db)[0], "suspend", reason="failed", error="x")])
        case "is not passed on" | "is not closed":
            run_all(db)
    aged(db, 9)
    assert prune(db) == Pruned() or status.startswith("is not")
    if not status.startswith("is not"):
        with db.transaction() as conn:
            conn.execute(update(flow_stat).values(flow_status=3, finished_ts=later(-9 * DAY)))
        assert prune(db) == Pruned()
    if status == "is not passed on":
        flow_id = start(db)
        run_all(db)
        aged(db, 9)
        sql(db, "UPDATE kr_task_stat SET wait_count = 0 WHERE task_exec_seq = 2")
        assert prune(db) == Pruned()
    if status == "is not closed":
        flow_id = start(db)
        run_all(db)
        aged(db, 9)
        sql(db, "UPDATE kr_flow_stat SET closing = 1")
        assert prune(db) == Pruned()
    assert there(db) == [flow_id]


def test_a_flow_with_a_key_answers_for_a_week(db: Database) -> None:
    define(db)
    enlisted(db)
    keyed = [start(db, idempotency_key="k"), start(db, run_key="2030-01-01")]
    run_all(db)
    aged(db, 6.9)
    assert prune(db) == Pruned()
    assert there(db) == keyed
    aged(db, 7.1)
    assert prune(db) == Pruned(2, 2)


def test_only_one_workflow_and_only_finished_flows(db: Database) -> None:
    define(db, "a")
    define(db, "b")
    enlisted(db)
    of_a, of_b, cancelled = start(db, "a"), start(db, "b"), start(db, "a")
    control.cancel(db, cancelled, actor="ann")
    run_all(db)
    aged(db, 2)
    assert prune(db, task_id="a", statuses=retention.FINISHED) == Pruned(1, 1)
    assert there(db) == sorted([of_b, cancelled])
    assert prune(db, task_id="a") == Pruned(1, 1)
    assert there(db) == [of_b]
    assert of_a not in there(db)


def with_sub_flow(db: Database) -> tuple[str, str]:
    """A flow whose first step awaits a flow of another workflow, which runs."""
    define(db, "parent", steps=2)
    define(db, "child", steps=2)
    enlisted(db)
    parent = start(db, "parent")
    settle_as(db, [Settlement(claim(db)[0], "await", wait=WaitWish("flow", "child"))])
    (child,) = set(there(db)) - {parent}
    return parent, child


def test_a_sub_flow_stays_as_long_as_its_parent_is_under_way(db: Database) -> None:
    parent, child = with_sub_flow(db)
    finish(db, *claim(db))
    finish(db, *claim(db))
    closing.close_ended(db)
    aged(db, 2)
    assert prune(db) == Pruned()
    run_all(db)
    aged(db, 2)
    assert prune(db, dry_run=True) == Pruned(2, 4)
    assert prune(db, task_id="child") == Pruned()
    assert prune(db, task_id="parent") == Pruned(2, 4)
    assert there(db) == []
    assert {parent, child}


def test_a_parent_stays_as_long_as_its_sub_flow_is_under_way(db: Database) -> None:
    parent, child = with_sub_flow(db)
    sql(db, "UPDATE kr_wait SET state = 'cancelled', closed_ts = created_ts")
    sql(db, "UPDATE kr_task_stat SET wait_count = 0 WHERE task_flow_id = :parent AND task_exec_seq = 1", parent=parent)
    held = [one for one in claim(db) if one.key.flow_id == parent]
    finish(db, *held)
    finish(db, *[one for one in claim(db) if one.key.flow_id == parent])
    aged(db, 2)
    assert task(db, Key(parent, 2)).exec_status == Status.FINISH
    assert prune(db) == Pruned()
    assert there(db) == sorted([parent, child])


def test_batches_take_every_flow_whole(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    define(db, steps=3)
    enlisted(db)
    for _ in range(9):
        start(db)
    run_all(db)
    aged(db, 2)
    monkeypatch.setattr("engine.retention.pruning.TASKS", 7)
    seen: list[Pruned] = []
    wanted = Wanted(DAY)
    assert retention.prune(db, wanted, dry_run=True, batch=4) == Pruned(9, 27)
    assert len(there(db)) == 9
    assert retention.prune(db, wanted, batch=4, pause_s=0, on_batch=seen.append) == Pruned(9, 27)
    assert [one.flows for one in seen] == [2, 4, 6, 8, 9]
    hold(db, at_rest=True)


@pytest.mark.needs("row_locks", "skip_locked")
def test_what_somebody_holds_is_left_and_nobody_waits(db: Database, ended: str) -> None:
    """A task that an operator has locked keeps its flow; the others go at once."""
    other = start(db)
    run_all(db)
    aged(db, 2)
    with db.transaction() as conn:
        held = select(task_stat.c.task_exec_seq).where(
            task_stat.c.task_flow_id == ended, task_stat.c.task_exec_seq == 2
        )
        conn.execute(held.with_for_update()).all()
        assert prune(db) == Pruned(1, 3)
        assert there(db) == [ended]
    assert other not in there(db)
    with db.transaction() as conn:
        conn.execute(select(flow_stat.c.task_flow_id).with_for_update()).all()
        assert prune(db) == Pruned()
    assert prune(db) == Pruned(1, 3)


@pytest.mark.needs("many_writers")
def test_claims_go_on_beside_a_deletion_that_has_not_been_committed(db: Database, ended: str) -> None:
    running = start(db)
    with db.transaction() as deleting:
        with db.read() as reading:
            found = page(reading, due(reading, Wanted(DAY)), None, 10)
        assert len(delete_flows(deleting, db, Wanted(DAY), [row.task_flow_id for row in found], "ann")) == 1
        (held,) = claim(db)
        assert held.key.flow_id == running
        finish(db, held)
        assert start(db) in there(db)
    assert ended not in there(db)


def test_flows_run_while_others_are_deleted(db: Database) -> None:
    """Claims and settlements of one side, deletions of the other: everything runs once, and everything old goes."""
    define(db, steps=2)
    enlisted(db)
    for _ in range(30):
        start(db)
    run_all(db)
    aged(db, 2)
    old = set(there(db))
    for _ in range(15):
        start(db)
    pruned: list[Pruned] = []
    pruner = threading.Thread(target=lambda: pruned.append(prune(db, batch=5)))
    pruner.start()
    ran: list[Key] = []
    while claimed := db.transact(lambda conn: claim_ready(conn, db, "watcher-1", new_claim_id(), 3)):
        finish(db, *claimed)
        ran += [item.key for item in claimed]
    pruner.join(60)
    if pruned != [Pruned(30, 60)]:  # a batch may have met a lock; what was left goes now
        prune(db)
    assert len(ran) == len(set(ran)) == 30
    assert old.isdisjoint(there(db))
    hold(db, at_rest=True)


def test_a_re_run_keeps_its_flow(db: Database, ended: str) -> None:
    control.rerun(db, ended, [3], actor="ann")
    assert prune(db) == Pruned()
    run_all(db)
    assert prune(db) == Pruned()  # it has ended just now
    aged(db, 2)
    assert prune(db) == Pruned(1, 3)


def turn_comes(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute(update(limit_stat).values(free_at_ts=later(-1.0)))


def test_watchers_delete_by_turns(db: Database, ended: str) -> None:
    first, second = Retention(db, DAY), Retention(db, DAY)
    assert first.slice() == Pruned(1, 3)
    assert second.slice() is None
    (row,) = rows(db, limit_stat)
    assert (row.scope, row.name) == TURN
    turn_comes(db)
    assert second.slice() == Pruned()
    assert first.slice() is None


def test_without_retention_nothing_is_deleted(db: Database, ended: str) -> None:
    assert Retention(db, None).slice() is None
    assert there(db) == [ended]
    assert rows(db, limit_stat) == []


@pytest.mark.parametrize(
    ("own_s", "general_s", "goes"), [(DAY, None, True), (3 * DAY, DAY, False), (DAY, 9 * DAY, True)]
)
def test_a_workflow_says_for_itself(
    db: Database, ended: str, own_s: float, general_s: float | None, goes: bool
) -> None:
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", retention_s=own_s))
    found = Retention(db, general_s).slice()
    assert (found == Pruned(1, 3)) is goes
    assert (there(db) == []) is goes


def test_a_retention_that_is_no_time_deletes_nothing(db: Database, ended: str) -> None:
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", retention_s=-1.0))
    assert Retention(db, DAY).slice() == Pruned()
    assert there(db) == [ended]


INDEXES = {"ix_kr_flow_stat_ended", "ix_kr_flow_stat_finished"}
OF_WORKFLOW = {"ix_kr_flow_stat_workflow"}


def many(db: Database) -> None:
    """Three thousand ended flows of three workflows, a tenth of them old."""
    with db.transaction() as conn:
        old, young = conn.execute(select(later(-9 * DAY), later(-0.1 * DAY))).one()
        given = []
        for number in range(3_000):
            ended = old if number % 10 == 0 else young
            times = {"finished_ts": ended, "registered_ts": ended}
            given.append({"task_flow_id": f"f{number:05}", "task_id": f"w{number % 3}", "flow_status": 3, **times})
        conn.execute(insert(flow_stat), given)
    with db.transaction() as conn:
        conn.execute(text("ANALYZE kr_flow_stat" if db.can.partial_indexes else "ANALYZE TABLE kr_flow_stat")).close()


@pytest.mark.parametrize(("task_id", "indexes"), [(None, INDEXES), ("w1", INDEXES | OF_WORKFLOW)])
def test_the_old_flows_are_found_by_an_index(db: Database, task_id: str | None, indexes: set[str]) -> None:
    many(db)
    with explained(db, "finished_ts IS NOT NULL") as plans, db.read() as conn:
        assert len(page(conn, due(conn, Wanted(DAY, task_id)), None, 10)) == 10
    plan = "\n".join(plans)
    assert any(index in plan for index in indexes), plan
    assert "Seq Scan on kr_flow_stat " not in plan, plan
    if db.can.partial_indexes and db.can.row_locks:
        assert "Index Cond" in plan or "Bitmap" in plan, plan  # the time bounds the scan, and does not only sift it


def test_what_cannot_go_does_not_hide_what_can(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.retention.automatic.FLOWS", 2)
    define(db)
    enlisted(db)
    for number in range(5):
        start(db, flow_id=f"f{number}")
    run_all(db)
    for number in range(5):
        aged(db, 9 - number, f"f{number}")
    sql(db, "UPDATE kr_task_stat SET exec_status = 2 WHERE task_flow_id IN ('f0', 'f1', 'f2')")
    watching = Retention(db, DAY)
    found = [watching.slice()]
    for _ in range(3):
        turn_comes(db)
        found.append(watching.slice())
    assert found == [Pruned(), Pruned(1, 1), Pruned(), Pruned(1, 1)]
    assert there(db) == ["f0", "f1", "f2"]
