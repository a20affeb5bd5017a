"""Verbs against each other and against the cycle, on two real connections: exactly one effect."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from factories import (
    claim,
    define,
    define_graph,
    enlisted,
    finish,
    flow,
    insert_task,
    rows,
    run_all,
    settle_as,
    start,
    states,
    tasks,
    together,
)
from invariants import hold
from sqlalchemy import insert

from engine import control
from engine.control import Filter, bulk
from engine.database import Database, open_database
from engine.errors import Conflict
from engine.keys import Key
from engine.settle import Settlement, Verdict, settle
from engine.states import Reason, Status
from engine.tables import event, flow_stat, run_edge, task_stat

FLOWS = 30


@pytest.fixture
def other(db: Database) -> Iterator[Database]:
    """The same database on connections of its own."""
    opened = open_database(db.url.render_as_string(hide_password=False), role="other")
    opened.probe()
    yield opened
    opened.close()


def attempt_all(verb: Any, flows: list[str], *args: Any, **given: Any) -> list[str]:
    """Apply a verb to each flow; those on which it acted."""
    acted: list[str] = []
    for flow_id in flows:
        try:
            acted += [flow_id] * bool(verb(*args[:1], flow_id, *args[1:], actor="ann", **given))
        except Conflict:
            continue
    return acted


def test_cancel_and_settle_together(db: Database, other: Database) -> None:
    define(db, steps=2)
    flows = [start(db) for _ in range(FLOWS)]
    enlisted(db)
    held = claim(db, FLOWS)
    verdicts, cancelled = together(
        lambda: {item.key.flow_id: finish(db, item).verdicts[0] for item in held},
        lambda: attempt_all(control.cancel, sorted(flows, reverse=True), other),
    )
    assert sorted(cancelled) == sorted(flows)
    for flow_id in flows:
        first = (3, -1) if verdicts[flow_id] is Verdict.ACCEPTED else (9, -1)
        assert states(db, flow_id) == [first, (9, -1)]
        assert flow(db, flow_id).flow_status == Status.IGNORE
    hold(db, at_rest=True)


def test_cancel_and_claim_together(db: Database, other: Database) -> None:
    define(db, steps=2)
    flows = [start(db) for _ in range(FLOWS)]
    enlisted(db)
    claimed, cancelled = together(
        lambda: [item for _ in range(FLOWS) for item in claim(db, 1)],
        lambda: attempt_all(control.cancel, sorted(flows, reverse=True), other),
    )
    assert sorted(cancelled) == sorted(flows)
    assert {state for flow_id in flows for state in states(db, flow_id)} == {(9, -1)}
    assert all(verdict is Verdict.STALE for verdict in finish(db, *claimed).verdicts)
    hold(db, at_rest=True)


@pytest.mark.needs("row_locks")
def test_cancel_waits_for_a_settlement_under_way_and_sees_what_it_added(db: Database, other: Database) -> None:
    """A plan commits its tasks while cancel waits for the planner's row: they are closed as well."""
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    (held,) = claim(db)
    with db.transaction() as conn:
        settle(conn, db, "watcher-1", [Settlement(held, "finish")])
        row = {"task_flow_id": flow_id, "task_exec_seq": 3, "task_id": "w", "task_seq": 3, "parameters": "{}"}
        conn.execute(insert(task_stat).values(**row, wait_count=0, program="Noop", made_by_exec_seq=1))
        conn.execute(flow_stat.update().values(task_count=3))
        pool = ThreadPoolExecutor(1)
        waiting = pool.submit(control.cancel, other, flow_id, actor="ann")
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
    assert waiting.result(20) == [2, 3]
    pool.shutdown()
    assert states(db, flow_id) == [(3, -1), (9, -1), (9, -1)]
    hold(db, at_rest=True)


@pytest.mark.needs("row_locks")
def test_a_settlement_that_waits_for_a_cancel_is_stale(db: Database, other: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    (held,) = claim(db)
    with db.transaction() as conn:
        control.cancel_flows(conn, db, [flow_id], actor="ann")
        pool = ThreadPoolExecutor(1)
        waiting = pool.submit(finish, other, held)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
    assert waiting.result(20).verdicts == [Verdict.STALE]
    pool.shutdown()
    hold(db, at_rest=True)


def test_rerun_and_claim_together(db: Database, other: Database) -> None:
    """The second task is ready: it is claimed before, and the re-run refused, or it waits once more."""
    define(db, steps=2)
    flows = [start(db) for _ in range(FLOWS)]
    enlisted(db)
    finish(db, *claim(db, FLOWS))
    claimed, acted = together(
        lambda: [item.key for _ in range(FLOWS) for item in claim(db, 1)],
        lambda: attempt_all(control.rerun_from, sorted(flows, reverse=True), other, 1),
    )
    for flow_id in flows:
        if flow_id in acted:
            assert states(db, flow_id)[1] == (0, 1)
            assert tasks(db, flow_id)[0].generation == 1
        else:
            assert states(db, flow_id) == [(3, -1), (1, 0)]
            assert Key(flow_id, 2) in claimed
    hold(db)


def test_rerun_and_settle_of_a_sibling_together(db: Database, other: Database) -> None:
    """The join is lowered by the one and raised by the other: its counter is right whoever is first."""
    define_graph(db, "g", [(1, 3), (2, 3)])
    flows = [start(db, "g") for _ in range(FLOWS)]
    enlisted(db)
    held = claim(db, 2 * FLOWS)
    finish(db, *(item for item in held if item.key.seq == 1))
    left = [item for item in held if item.key.seq == 2]
    _, acted = together(
        lambda: [finish(db, item) for item in left],
        lambda: attempt_all(control.rerun, sorted(flows, reverse=True), other, [1]),
    )
    assert sorted(acted) == sorted(flows)
    assert {tuple(states(db, flow_id)) for flow_id in flows} == {((0, 0), (3, -1), (0, 1))}
    hold(db)
    run_all(db)
    hold(db, at_rest=True)


@pytest.mark.parametrize("name", ["retry", "rerun", "cancel", "rerun_all", "recover"])
def test_the_same_verb_twice_at_once_has_one_effect(db: Database, other: Database, name: str) -> None:
    define(db)
    flows = [start(db) for _ in range(FLOWS)]
    enlisted(db)
    failing = [Settlement(item, "suspend", reason=Reason.FAILED, error="x") for item in claim(db, FLOWS)]
    settle_as(db, failing)
    verb = getattr(control, name)
    args = [[1]] if name in ("retry", "rerun") else []
    acted = together(*(lambda of=of: attempt_all(verb, flows, of, *args) for of in (db, other)))
    assert sorted(acted[0] + acted[1]) == sorted(flows)
    told = [row for row in rows(db, event) if row.actor == "ann"]
    assert len(told) == FLOWS
    if name.startswith("rerun"):
        assert {row.generation for row in rows(db, task_stat)} == {1}
    hold(db)


def test_bulk_and_the_cycle_together(db: Database, other: Database) -> None:
    """Hundreds of flows are cancelled in transactions of many while they run."""
    define_graph(db, "g", [(1, 2), (1, 3), (2, 4), (3, 4)])
    flows = [start(db, "g") for _ in range(4 * FLOWS)]
    enlisted(db)
    ran, count = together(
        lambda: run_all(db),
        lambda: bulk(other, "cancel", Filter(task_id="g"), actor="ann", dry_run=False),
    )
    assert count.flows <= len(flows)
    assert len(set(ran)) == len(ran)
    run_all(db)
    ends = {flow(db, flow_id).flow_status for flow_id in flows}
    assert ends <= {Status.FINISH, Status.IGNORE}
    assert sum(flow(db, flow_id).flow_status == Status.IGNORE for flow_id in flows) == count.flows
    hold(db, at_rest=True)


def test_verbs_on_one_flow_do_not_wait_for_ever_on_each_other(db: Database, other: Database) -> None:
    """A tangle of edges in both directions of the numbers: deadlocks are retried, and everything holds after."""
    for seq in range(1, 9):
        insert_task(db, "f", seq, depends_task_exec_seq=-1, program="Noop", wait_count=0, task_seq=seq)
    with db.transaction() as conn:
        conn.execute(insert(flow_stat).values(task_flow_id="f", task_id="w", task_count=8))
        for after, before in ((1, 5), (6, 2), (3, 7), (8, 4)):
            conn.execute(insert(run_edge).values(task_flow_id="f", task_exec_seq=after, depends_task_exec_seq=before))
            of = task_stat.c.task_exec_seq == after
            conn.execute(task_stat.update().where(of).values(wait_count=1))
    enlisted(db)
    hold(db)

    def tangle(of: Database, seqs: list[int]) -> None:
        for seq in seqs * 5:
            try:
                control.ignore(of, "f", [seq], actor="ann")
                control.rerun(of, "f", [seq], actor="ann")
            except Conflict:
                continue

    together(lambda: tangle(db, [5, 6, 7, 8, 1]), lambda: tangle(other, [2, 1, 3, 4, 6]))
    hold(db)
