"""Each invariant is shown to find the damage that it is about, and nothing that has to do with another one."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from factories import claim, define, enlisted, finish, run_out, settle_as, sql, start
from invariants import broken, hold

from engine import fsck
from engine.database import Database
from engine.fsck import INVARIANTS
from engine.settle import Settlement


def tried(claim_id: str, number: int, begun: int, ended: int, **more: str) -> str:
    """A try of task 1, in seconds of a day to come."""
    given = {"outcome": "'finished'", "accepted": "FALSE", **more}
    columns = ", ".join(("task_flow_id, task_exec_seq, claim_id, claim_no, claimed_ts, ended_ts", *given))
    times = f"'2030-01-01 00:00:0{begun}', '2030-01-01 00:00:0{ended}'"
    values = ", ".join((f"'f', 1, '{claim_id}', {number}", times, *given.values()))
    return f"INSERT INTO kr_task_attempt({columns}) VALUES ({values})"


def awaited(seq: int, kind: str, state: str = "open", **more: str) -> str:
    given = {"wait_id": "'w1'", "created_ts": "'2030-01-01 00:00:00'", **more}
    columns = ", ".join(("task_flow_id, task_exec_seq, kind, state", *given))
    return f"INSERT INTO kr_wait({columns}) VALUES ('f', {seq}, '{kind}', '{state}', {', '.join(given.values())})"


def message(message_id: str) -> str:
    columns = "message_id, name, correlation_key, sent_ts, wait_id"
    return f"INSERT INTO kr_message({columns}) VALUES ('{message_id}', 'n', 'k', '2030-01-01 00:00:00', 'w1')"


def task(seq: int, values: str) -> str:
    return f"UPDATE kr_task_stat SET {values} WHERE task_exec_seq = {seq}"


def flow(values: str) -> str:
    return f"UPDATE kr_flow_stat SET {values}"


class Damage(NamedTuple):
    """`also`: other invariants that are broken by the same rows, because they say more or less the same of them."""

    statements: list[str]
    also: frozenset[str] = frozenset()


LONG_AGO = "'2001-01-01 00:00:00'"
WON = tried("c1", 1, 1, 5, accepted="TRUE")
TWO_CLAIMS = task(1, "claims = 2")
ONE_MORE = task(3, "wait_count = 2")
RUNNING = "exec_status = 1, claim_id = 'c', claims = 1"
DAMAGE = {
    "I3": Damage(["DELETE FROM kr_task_stat WHERE task_exec_seq = 2", flow("task_count = 2")]),
    "I5": Damage([TWO_CLAIMS, WON, tried("c2", 2, 6, 7, accepted="TRUE")]),
    "I5b": Damage([tried("c2", 2, 6, 7)]),
    "I6": Damage([TWO_CLAIMS, WON, tried("c2", 2, 3, 7)], also=frozenset({"I7"})),
    "I6b": Damage(
        [
            WON,
            task(1, "exec_status = 1, claim_id = 'c1', wait_count = 0"),
            task(2, "wait_count = 1"),
            flow("finish_count = 0"),
        ]
    ),
    "I7": Damage(
        [
            TWO_CLAIMS,
            tried("c1", 1, 1, 3, outcome="'lost'", lease_until_ts="'2030-01-01 00:00:09'"),
            tried("c2", 2, 6, 8),
        ]
    ),
    "I8": Damage([WON, tried("c2", 1, 6, 7)]),
    "I8b": Damage([TWO_CLAIMS, tried("c1", 1, 6, 7, outcome="'stale'"), tried("c2", 2, 1, 2)]),
    "I9": Damage(
        [
            f"UPDATE kr_task_stat SET registered_ts = {LONG_AGO}",
            task(2, f"exec_status = 3, wait_count = -1, claims = 1, started_ts = {LONG_AGO}, finished_ts = {LONG_AGO}"),
            task(3, "wait_count = 0"),
            flow("finish_count = 2"),
        ]
    ),
    "I10": Damage([ONE_MORE]),
    "I11": Damage([flow("finish_count = 2")]),
    "I11b": Damage(["DELETE FROM kr_flow_stat"]),
    "I12": Damage([task(1, f"finished_ts = {LONG_AGO}")]),
    "I12b": Damage([tried("c1", 1, 5, 1)]),
    "I13": Damage([task(2, "exec_status = 1, owner = 'watcher-1', started_ts = registered_ts")]),
    "I14": Damage(
        [
            f"UPDATE kr_task_stat SET registered_ts = {LONG_AGO}",
            task(1, f"started_ts = {LONG_AGO}, finished_ts = {LONG_AGO}"),
            task(2, f"{RUNNING}, owner = 'gone', started_ts = '2001-01-01 00:00:01'"),
        ]
    ),
    "I15": Damage([task(1, "attempt = 5, claims = 5")]),
    "I16": Damage([flow("idempotency_key = 'k'")]),
    "I17": Damage([task(3, "exec_status = 2"), flow("suspend_count = 1, flow_status = 2")]),
    "J1": Damage([task(3, "wait_count = -1")]),
    "J3": Damage([task(3, "wait_count = 0")], also=frozenset({"I10"})),
    "W1": Damage([awaited(1, "timer")]),
    "W2": Damage([awaited(1, "timer", "expired")]),
    "W3": Damage([awaited(3, "message"), ONE_MORE, message("m1")]),
    "W4": Damage([awaited(1, "message", "arrived", closed_ts="'2030-01-01 00:00:01'"), message("m1"), message("m2")]),
    "W5": Damage([awaited(1, "poke")]),
    "W6": Damage([awaited(3, "flow", correlation_key="'gone'"), ONE_MORE]),
}
DAMAGE_AT_REST = {
    "I4": Damage(
        [
            task(3, "exec_status = 0, wait_count = 0, finished_ts = NULL"),
            flow("finish_count = 2, flow_status = 1, finished_ts = NULL"),
        ]
    ),
    "J2": Damage([task(3, "wait_count = NULL")]),
    "F1": Damage([flow("closing = 1")]),
    "F2": Damage([tried("c1", 1, 1, 2).replace("'f'", "'gone'")]),
}


def test_every_invariant_has_its_damage() -> None:
    assert {name for name, invariant in INVARIANTS.items() if not invariant.at_rest} == DAMAGE.keys()
    assert {name for name, invariant in INVARIANTS.items() if invariant.at_rest} == DAMAGE_AT_REST.keys()


@pytest.fixture
def flow_id(db: Database) -> str:
    """A chain of three: the first finished, the second ready, the third waits."""
    define(db, steps=3)
    enlisted(db)
    flow_id = start(db, flow_id="f")
    finish(db, *claim(db))
    hold(db)
    return flow_id


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
