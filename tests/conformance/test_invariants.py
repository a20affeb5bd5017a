"""Each invariant is shown to find the damage that it is about, and nothing that has to do with another one."""

from __future__ import annotations

from typing import Any

import pytest
from damage import DAMAGE, DAMAGE_AT_REST, chain
from factories import claim, define, run_out, settle_as, sql, start
from invariants import broken, hold

from engine import fsck
from engine.database import Database
from engine.fsck import INVARIANTS
from engine.settle import Settlement


def test_every_invariant_has_its_damage() -> None:
    assert {name for name, invariant in INVARIANTS.items() if not invariant.at_rest} == DAMAGE.keys()
    assert {name for name, invariant in INVARIANTS.items() if invariant.at_rest} == DAMAGE_AT_REST.keys()


@pytest.fixture
def flow_id(db: Database) -> str:
    return chain(db)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_nothing_else(db: Database, flow_id: str, name: str) -> None:
    for statement in DAMAGE[name].statements:
        sql(db, statement)
    assert broken(db).keys() == {name} | DAMAGE[name].also
    assert [finding.name for finding in fsck.check(db, [name], flow_id="f")] == [name]
    assert [finding.name for finding in fsck.check(db, [name], confirm_s=0.01)] == [name]
    assert fsck.check(db, [name], flow_id="another") == []


@pytest.mark.parametrize("name", DAMAGE_AT_REST)
def test_damage_at_rest_is_found_and_nothing_else(db: Database, flow_id: str, name: str) -> None:
    run_out(db)
    for statement in DAMAGE_AT_REST[name].statements:
        sql(db, statement)
    assert broken(db) == {}
    assert broken(db, at_rest=True).keys() == {name}


def test_a_running_task_may_lose_its_owner_for_a_while(db: Database, flow_id: str) -> None:
    claim(db)
    sql(db, "DELETE FROM kr_watcher")
    hold(db)
    (found,) = fsck.check(db, grace_s=0)
    assert (found.name, found.count, found.violations[0].key) == ("I14", 1, ("f", 2))


def test_clean_flows_are_silent(db: Database, flow_id: str) -> None:
    run_out(db)
    hold(db, at_rest=True)


def test_a_suspended_flow_is_silent(db: Database, flow_id: str) -> None:
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason="failed", error="x")])
    hold(db, at_rest=True)


def test_pages_and_recent_flows_leave_nothing_out(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    define(db, steps=3)
    for number in range(7):
        start(db, flow_id=f"f{number}")
    sql(db, "UPDATE kr_flow_stat SET finish_count = 1")
    sql(db, "DELETE FROM kr_flow_stat WHERE task_flow_id = 'f3'")
    looks: list[dict[str, Any]] = [{}, {"since_s": 60.0}]
    for size in (1, 2, 3, 5, 21, 50):
        monkeypatch.setattr("engine.fsck.scope.TASKS_PER_PAGE", size)
        monkeypatch.setattr("engine.fsck.scope.FLOWS_PER_PAGE", size)
        for look in looks:
            found = {finding.name: finding for finding in fsck.check(db, **look)}
            wrong = sorted(violation.flow_id for violation in found["I11"].violations)
            assert wrong == ["f0", "f1", "f2", "f4", "f5", "f6"]
            assert ("I11b" in found) is (not look)
    sql(db, "UPDATE kr_flow_stat SET registered_ts = '2001-01-01 00:00:00'")
    assert fsck.check(db, since_s=60.0) == []


PAIRS = {
    0: (None, 0, 1, 7),
    1: (0,),
    2: (None, 0, 1),
    3: (None, -1, 0, 1),
    9: (None, -1, 0, 1),
}


@pytest.mark.parametrize("status", PAIRS)
@pytest.mark.parametrize("count", [None, -7, -2, -1, 0, 1, 7])
def test_pairs_outside_the_table_are_found(db: Database, flow_id: str, status: int, count: int | None) -> None:
    sql(
        db,
        "UPDATE kr_task_stat SET exec_status = :status, wait_count = :count WHERE task_exec_seq = 3",
        status=status,
        count=count,
    )
    allowed = count in PAIRS[status] or (count is not None and count > 0 and status in (0, 2, 3, 9))
    assert ("J1" in broken(db)) == (not allowed)
