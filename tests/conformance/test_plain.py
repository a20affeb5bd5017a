"""The short way of settling (engine/settling/plain.py) comes to the same as the long one, and is taken where it may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from factories import claim, define, enlisted, finish, flow, insert_task, kill_lease, rows, sql, start, states, tasks
from graphs import Edge, make_flow, play
from invariants import hold
from sqlalchemy import insert

from engine import supervise
from engine.database import Database
from engine.settle import Settlement, Verdict, settle
from engine.settling import plain
from engine.settling.ways import Ways
from engine.tables import attempt, run_edge, task_stat

DIAMOND: list[Edge] = [(1, 2), (1, 3), (2, 4), (2, 5), (3, 5), (3, 6), (4, 7), (4, 8), (5, 8), (5, 9), (6, 9), (6, 10)]
WIDE: list[Edge] = [*((1, step) for step in range(2, 30)), *((step, 30) for step in range(2, 30))]
SHAPES: dict[str, list[Edge]] = {"diamond": DIAMOND, "chain": [(n, n + 1) for n in range(1, 9)], "wide": WIDE}
OF_THE_MOMENT = {"task_flow_id", "claim_id", "owner", "registered_ts", "started_ts", "finished_ts"}


@pytest.fixture(autouse=True)
def enlist_watcher(db: Database) -> None:
    enlisted(db)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each batch that fitted, whether it was settled the short way."""
    found: list[bool] = []
    real = plain.settle

    def noted(*args: Any) -> None:
        found.append(False)
        real(*args)
        found[-1] = True

    monkeypatch.setattr(plain, "settle", noted)
    return found


def facts(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name not in OF_THE_MOMENT}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [1, 3, 50])
def test_both_ways_leave_the_same_rows(
    db: Database, taken: list[bool], monkeypatch: pytest.MonkeyPatch, shape: str, batch: int
) -> None:
    answers = {2: {"result": '"two"'}, 3: {"result": '"three"'}}
    short = make_flow(db, SHAPES[shape])
    ran = play(db, answers, batch)
    assert taken, "no batch fitted"
    assert all(taken)
    monkeypatch.setattr(plain, "fits", lambda settlements: False)
    count = len(taken)
    long = make_flow(db, SHAPES[shape])
    assert play(db, answers, batch) == ran
    assert len(taken) == count
    assert [facts(row) for row in tasks(db, short)] == [facts(row) for row in tasks(db, long)]
    assert facts(flow(db, short)) == facts(flow(db, long))
    assert rows(db, attempt) == []
    hold(db, at_rest=True)


def test_a_paused_successor_hears_of_it(db: Database, taken: list[bool]) -> None:
    define(db, steps=2)
    flow_id = start(db)
    [held] = claim(db)
    sql(db, "UPDATE kr_task_stat SET exec_status = 2 WHERE task_exec_seq = 2")
    finish(db, held)
    assert taken == [True]
    assert states(db, flow_id) == [(3, -1), (2, 0)]


def test_a_successor_that_was_never_counted_is_left_to_the_adopter(db: Database, taken: list[bool]) -> None:
    define(db)
    flow_id = start(db)
    [held] = claim(db)
    insert_task(db, flow_id, 2, program="Noop")
    finish(db, held)
    assert taken == [True]
    assert states(db, flow_id) == [(3, -1), (0, None)]
    assert len(play(db)) == 1
    hold(db, at_rest=True)


def test_an_edge_that_is_named_twice_counts_once(db: Database, taken: list[bool]) -> None:
    flow_id = make_flow(db, [(1, 3), (2, 3)], adopt=False)
    with db.transaction() as conn:
        conn.execute(insert(run_edge).values(task_flow_id=flow_id, task_exec_seq=3, depends_task_exec_seq=1))
    assert play(db, batch=1) == [1, 2, 3]
    assert all(taken)
    hold(db, at_rest=True)


SPECIAL: dict[str, Callable[[Database], Any]] = {
    "a condition": lambda db: make_flow(db, [(1, 2, {"only_if": "true"}), (1, 3)]),
    "a default": lambda db: make_flow(db, [(1, 2, {"is_default": True}), (1, 3)]),
    "an error edge": lambda db: make_flow(db, [(1, 2, {"kind": "error"}), (1, 3)]),
    "a trigger rule": lambda db: make_flow(db, [(1, 3), (2, 3)], columns={3: {"trigger_rule": "any_success"}}),
}


@pytest.mark.parametrize("what", SPECIAL)
def test_what_asks_how_a_task_ended_goes_the_long_way(db: Database, taken: list[bool], what: str) -> None:
    SPECIAL[what](db)
    play(db)
    assert taken[0] is False
    hold(db, at_rest=True)


def test_a_step_that_is_asked_about_goes_the_long_way_at_once_from_then_on(db: Database, taken: list[bool]) -> None:
    ways, watcher_id = Ways(), "watcher-1"
    for tries in (1, 1):
        flow_id = make_flow(db, [(1, 2, {"only_if": "true"}), (1, 3)])
        held = [item for item in claim(db) if item.key == (flow_id, 1)]
        batch = [Settlement(item, "finish") for item in held]
        settled = ways.transact(
            db, batch, lambda conn, shortly, batch=batch: settle(conn, db, watcher_id, batch, shortly=shortly)
        )
        assert settled.verdicts == [Verdict.ACCEPTED]
        assert taken == [False] * tries


def test_one_that_was_superseded_sends_all_of_them_the_long_way(db: Database, taken: list[bool]) -> None:
    define(db)
    first, second = start(db), start(db)
    held = sorted(claim(db, 2), key=lambda item: [first, second].index(item.key.flow_id))
    sql(db, "UPDATE kr_task_stat SET claim_id = 'another' WHERE task_flow_id = :flow", flow=second)
    settled = finish(db, *held)
    assert taken == [False]
    assert settled.verdicts == [Verdict.ACCEPTED, Verdict.STALE]
    assert (states(db, first), states(db, second)) == ([(3, -1)], [(1, 0)])


def test_a_task_whose_lease_lapsed_is_settled_and_its_try_is_kept(db: Database, taken: list[bool]) -> None:
    define(db)
    flow_id = start(db)
    [held] = claim(db)
    kill_lease(db)
    supervise.reap(db, grace_s=0.0)
    finish(db, held)
    assert taken == [False]
    assert states(db, flow_id) == [(3, -1)]
    assert [(row.outcome, row.accepted) for row in rows(db, attempt)] == [("finished", True)]


def test_a_second_claim_goes_the_long_way(db: Database, taken: list[bool]) -> None:
    define(db)
    start(db)
    sql(db, "UPDATE kr_task_stat SET claims = 1")
    finish(db, *claim(db))
    assert taken == []


def test_the_first_tasks_of_a_flow_are_behind_nobody(db: Database, taken: list[bool]) -> None:
    """-1 as a predecessor is none, even if there is a task of that number."""
    insert_task(db, "odd", -1, depends_task_exec_seq=-1, program="Noop", wait_count=0)
    insert_task(db, "odd", 1, depends_task_exec_seq=-1, program="Noop", wait_count=1)
    held = [item for item in claim(db) if item.key.seq == -1]
    finish(db, *held)
    assert [row.wait_count for row in rows(db, task_stat) if row.task_exec_seq == 1] == [1]
    assert all(taken)


@pytest.mark.parametrize("kind", ["postgresql"])
def test_only_what_fits_the_short_way_is_planned_once(db: Database) -> None:
    define(db)
    start(db)
    (held,) = claim(db)

    def mode(kind: str) -> Any:
        asked = [Settlement(held, kind, reason="failed")]  # type: ignore[arg-type]
        return Ways().transact(
            db, asked, lambda conn, _: conn.exec_driver_sql("SHOW plan_cache_mode").scalar(), repeated=True
        )

    assert mode("finish") == "force_generic_plan"
    assert mode("suspend") == "force_custom_plan"
