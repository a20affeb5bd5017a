"""What fsck mends comes right and runs to its end once; what it does not mend stays as it is."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from damage import DAMAGE, DAMAGE_AT_REST, LONG_AGO, Damage, awaited, chain, tried
from damage import flow as of_flow
from damage import task as of_task
from factories import claim, define, define_graph, enlisted, finish, flow, insert_task, rows, run_out, sql, start, task
from invariants import broken, hold

from engine import fsck
from engine.database import Database
from engine.fsck import INVARIANTS, Finding, Outcome, Repair
from engine.fsck.menders import MENDERS
from engine.keys import Key
from engine.states import Status
from engine.tables import attempt, event, flow_stat, message, run_edge, task_stat, wait

MENDED = sorted(name for name in DAMAGE if INVARIANTS[name].repair and name not in ("I13", "I14"))
LEFT = sorted(name for name in DAMAGE if not INVARIANTS[name].repair)
EVERYTHING = (flow_stat, task_stat, run_edge, attempt, wait, message)


def everything(db: Database) -> list[list[Any]]:
    return [rows(db, table) for table in EVERYTHING]


def harm(db: Database, damage: Damage) -> list[Finding]:
    for statement in damage.statements:
        sql(db, statement)
    return fsck.check(db)


def mend(db: Database, findings: list[Finding] | None = None) -> list[Repair]:
    found = fsck.check(db, at_rest=True) if findings is None else findings
    return fsck.repair(db, found, patience_s=0)


def test_every_repair_has_a_mender() -> None:
    assert {invariant.repair for invariant in INVARIANTS.values()} - {None} == MENDERS.keys()


@pytest.fixture
def flow_id(db: Database) -> str:
    return chain(db)


@pytest.mark.parametrize("name", MENDED)
def test_it_is_mended_and_goes_on(db: Database, flow_id: str, name: str) -> None:
    found = harm(db, DAMAGE[name])
    repairs = mend(db, found)
    assert {(one.name, one.outcome) for one in repairs} <= {(one.name, Outcome.DONE) for one in found}
    assert repairs
    assert broken(db) == {}
    told = [row for row in rows(db, event) if row.what == "repaired"]
    assert {(row.actor, row.task_flow_id) for row in told} == {("fsck", "f")}
    assert len(told) == len(repairs)
    sql(db, "UPDATE kr_wait SET due_ts = '2001-01-01 00:00:00' WHERE state = 'open'")
    sql(db, "UPDATE kr_task_stat SET exec_status = 0 WHERE exec_status = 2")
    assert set(run_out(db)) <= {Key("f", 2), Key("f", 3)}
    if name not in ("W3",):
        assert [row.exec_status for row in rows(db, task_stat)] == [Status.FINISH] * 3
        hold(db, at_rest=True)


@pytest.mark.parametrize("name", [*MENDED, *LEFT])
def test_a_dry_run_changes_nothing(db: Database, flow_id: str, name: str) -> None:
    found = harm(db, DAMAGE[name])
    before = everything(db)
    repairs = fsck.repair(db, found, dry_run=True)
    assert everything(db) == before
    assert {one.name for one in repairs} == {name} | DAMAGE[name].also
    outcomes = {one.outcome for one in repairs if one.name == name}
    assert outcomes == ({Outcome.LEFT} if name in LEFT else {Outcome.WOULD})


@pytest.mark.parametrize("name", LEFT)
def test_what_a_person_must_judge_is_left(db: Database, flow_id: str, name: str) -> None:
    found = harm(db, DAMAGE[name])
    before = everything(db)
    repairs = mend(db, found)
    assert everything(db) == before
    assert {one.outcome for one in repairs} == {Outcome.LEFT}
    assert all(one.what for one in repairs)


@pytest.mark.parametrize("name", ["J2", "F1", "I4"])
def test_what_must_hold_at_rest_is_mended(db: Database, flow_id: str, name: str) -> None:
    run_out(db)
    for statement in DAMAGE_AT_REST[name].statements:
        sql(db, statement)
    if name == "I4":  # what it waits for is counted too high, and nothing will ever lower that
        sql(db, of_task(3, "wait_count = 7"))
    mend(db)
    run_out(db)
    hold(db, at_rest=True)


def test_counters_are_not_mended_over_rows_that_have_gone(db: Database, flow_id: str) -> None:
    sql(db, "DELETE FROM kr_task_stat WHERE task_exec_seq = 3")
    found = fsck.check(db)
    assert [finding.name for finding in found] == ["I3", "I11"]
    repairs = mend(db, found)
    assert {(one.name, one.outcome) for one in repairs} == {("I3", Outcome.LEFT), ("I11", Outcome.FAILED)}
    assert flow(db, flow_id).task_count == 3


def test_a_task_of_a_dead_watcher_is_taken_back(db: Database, flow_id: str) -> None:
    for statement in DAMAGE["I14"].statements:
        sql(db, statement)
    (done,) = mend(db, fsck.check(db))
    assert (done.name, done.outcome, done.seq) == ("I14", Outcome.DONE, 2)
    row = task(db, ("f", 2))
    assert (row.exec_status, row.wait_count, row.reason, row.losses) == (Status.WAIT, 0, "lapsed", 1)
    assert [one.outcome for one in rows(db, attempt)] == ["lost"]
    assert run_out(db) == [Key("f", 2), Key("f", 3)]


def test_a_task_of_a_living_watcher_is_not_taken_back(db: Database, flow_id: str) -> None:
    """The row looks dead when it is found, and its owner beats before it is mended."""
    for statement in DAMAGE["I14"].statements:
        sql(db, statement)
    found = fsck.check(db)
    enlisted(db, "gone")
    assert mend(db, found) == []
    assert task(db, ("f", 2)).exec_status == Status.RUNNING


def test_a_task_that_was_set_to_run_by_hand_is_taken_back(db: Database, flow_id: str) -> None:
    sql(db, f"UPDATE kr_task_stat SET registered_ts = {LONG_AGO}, started_ts = NULL, finished_ts = NULL")
    sql(db, of_task(2, f"exec_status = 1, started_ts = {LONG_AGO}"))
    sql(db, "UPDATE kr_task_stat SET finished_ts = registered_ts WHERE task_exec_seq = 1")
    assert fsck.check(db, ["I13"])
    mend(db, fsck.check(db, ["I13"]))
    assert task(db, ("f", 2)).exec_status == Status.WAIT
    assert broken(db) == {}


def test_what_runs_already_is_not_called_back(db: Database, flow_id: str) -> None:
    sql(db, of_task(3, "wait_count = 0"))
    claim(db)
    found = fsck.check(db)
    assert "J3" in {finding.name for finding in found}
    repairs = {one.name: one.outcome for one in mend(db, found)}
    assert repairs["J3"] is Outcome.LEFT
    assert task(db, ("f", 3)).exec_status == Status.RUNNING


def test_a_settled_row_with_an_impossible_count_tells_nobody_twice(db: Database) -> None:
    """A join of two: one parent is settled and its count makes no sense; the other is still open."""
    define_graph(db, "w", [(1, 3), (2, 3)])
    enlisted(db)
    flow_id = start(db)
    finish(db, claim(db, 1)[0])
    sql(db, of_task(1, "wait_count = -5"))
    assert "J1" in broken(db)
    mend(db)
    assert broken(db) == {}
    assert task(db, (flow_id, 3)).wait_count == 1
    assert run_out(db) == [Key(flow_id, 2), Key(flow_id, 3)]
    hold(db, at_rest=True)


def test_a_settled_row_that_was_suspended_is_waited_for_again(db: Database, flow_id: str) -> None:
    sql(db, of_task(1, "exec_status = 2, reason = 'failed', suspended_ts = finished_ts"))
    sql(db, of_flow("finish_count = 0, suspend_count = 1, flow_status = 2"))
    assert broken(db).keys() == {"J1", "I10", "J3"}
    mend(db)
    assert broken(db) == {}
    assert [(row.exec_status, row.wait_count) for row in rows(db, task_stat)] == [(2, None), (0, 1), (0, 1)]


def test_rows_made_by_hand_are_adopted(db: Database) -> None:
    define(db, steps=2)
    insert_task(db, "hand", 1)
    insert_task(db, "hand", 2)
    assert broken(db).keys() == {"I11b"}
    repairs = mend(db, fsck.check(db, ["J2", "I11b"]))
    assert {(one.name, one.outcome) for one in repairs} == {("J2", Outcome.DONE)}
    assert broken(db) == {}
    enlisted(db)
    assert run_out(db) == [Key("hand", 1), Key("hand", 2)]


def test_what_nothing_leads_to_is_skipped_and_not_run(db: Database) -> None:
    """A branch that was not taken, whose counter was lost."""
    define_graph(db, "w", [(1, 2), (2, 3)])
    sql(db, "UPDATE ms_task_edge SET only_if = 'false' WHERE task_seq = 2")
    enlisted(db)
    flow_id = start(db)
    finish(db, *claim(db))
    assert [row.exec_status for row in rows(db, task_stat)] == [3, 9, 9]
    undo = "exec_status = 0, wait_count = 1, reason = NULL"
    sql(db, f"UPDATE kr_task_stat SET {undo} WHERE task_exec_seq > 1")
    sql(db, of_flow("ignore_count = 0, flow_status = 1, finished_ts = NULL"))
    assert "I10" in broken(db)
    mend(db)
    assert run_out(db) == []
    assert [row.exec_status for row in rows(db, task_stat)] == [3, 9, 9]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_two_that_mend_together_do_it_once(db: Database, flow_id: str) -> None:
    found = harm(db, DAMAGE["I10"])
    jobs = [threading.Thread(target=mend, args=(db, found)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert broken(db) == {}
    assert run_out(db) == [Key("f", 2), Key("f", 3)]


def test_what_came_right_meanwhile_is_not_touched(db: Database, flow_id: str) -> None:
    found = harm(db, DAMAGE["I10"])
    sql(db, of_task(3, "wait_count = 1"))
    before = everything(db)
    assert mend(db, found) == []
    assert everything(db) == before


def test_waits_of_a_settled_task_are_closed(db: Database, flow_id: str) -> None:
    sql(db, awaited(1, "timer"))
    sql(db, tried("c0", 1, 1, 2, outcome="'stale'"))
    mend(db)
    assert [(row.state, row.closed_ts is not None) for row in rows(db, wait)] == [("cancelled", True)]
