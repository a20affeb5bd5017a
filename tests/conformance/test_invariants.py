"""Each invariant is shown to find the damage that it is about."""

from __future__ import annotations

import pytest
from factories import claim, define, enlisted, finish, run_out, settle_as, sql, start
from invariants import ALWAYS, AT_REST, broken, hold

from engine.database import Database
from engine.settle import Settlement

ATTEMPT = (
    "INSERT INTO kr_task_attempt"
    "(task_flow_id, task_exec_seq, claim_id, claim_no, outcome, accepted, claimed_ts, ended_ts)"
    " VALUES ('f', 1, '{claim}', {no}, 'finished', {accepted}, '2030-01-01 00:00:0{at}', '2030-01-01 00:00:0{end}')"
)
FIRST = ATTEMPT.format(claim="c1", no=1, accepted="TRUE", at=1, end=5)
WAIT = (
    "INSERT INTO kr_wait(wait_id, task_flow_id, task_exec_seq, kind, state, created_ts)"
    " VALUES ('{wait}', 'f', {seq}, '{kind}', '{state}', '2030-01-01 00:00:00')"
)
MESSAGE = (
    "INSERT INTO kr_message(message_id, name, correlation_key, sent_ts, wait_id)"
    " VALUES ('{message}', 'n', 'k', '2030-01-01 00:00:00', 'w1')"
)
DAMAGE = {
    "I3": ["DELETE FROM kr_task_stat WHERE task_exec_seq = 3"],
    "I5": [FIRST, ATTEMPT.format(claim="c2", no=2, accepted="TRUE", at=6, end=7)],
    "I6": [FIRST, ATTEMPT.format(claim="c2", no=2, accepted="FALSE", at=3, end=7)],
    "I6b": [FIRST, "UPDATE kr_task_stat SET exec_status = 1, claim_id = 'c1' WHERE task_exec_seq = 1"],
    "I8": [FIRST, ATTEMPT.format(claim="c2", no=1, accepted="FALSE", at=6, end=7)],
    "I8b": [
        ATTEMPT.format(claim="c1", no=1, accepted="FALSE", at=6, end=7),
        ATTEMPT.format(claim="c2", no=2, accepted="FALSE", at=1, end=2),
    ],
    "I10": ["UPDATE kr_task_stat SET wait_count = 2 WHERE task_exec_seq = 3"],
    "I11": ["UPDATE kr_flow_stat SET finish_count = 2"],
    "I11b": ["DELETE FROM kr_flow_stat"],
    "I12": ["UPDATE kr_task_stat SET finished_ts = '2001-01-01 00:00:00' WHERE task_exec_seq = 1"],
    "I13": ["UPDATE kr_task_stat SET exec_status = 1 WHERE task_exec_seq = 3"],
    "I17": ["UPDATE kr_task_stat SET exec_status = 2 WHERE task_exec_seq = 3"],
    "J1": ["UPDATE kr_task_stat SET exec_status = 2, wait_count = -1 WHERE task_exec_seq = 1"],
    "J3": ["UPDATE kr_task_stat SET wait_count = 0 WHERE task_exec_seq = 3"],
    "W1": [WAIT.format(wait="w1", seq=2, kind="timer", state="open")],
    "W2": [WAIT.format(wait="w1", seq=1, kind="timer", state="expired")],
    "W3": [WAIT.format(wait="w1", seq=2, kind="message", state="open"), MESSAGE.format(message="m1")],
    "W4": [MESSAGE.format(message="m1"), MESSAGE.format(message="m2")],
    "W5": [WAIT.format(wait="w1", seq=1, kind="poke", state="open")],
    "I4": ["UPDATE kr_task_stat SET wait_count = 1 WHERE task_exec_seq = 2"],
    "J2": ["UPDATE kr_task_stat SET wait_count = NULL WHERE task_exec_seq = 1"],
}
NAMES = {name.split()[0]: name for name in ALWAYS | AT_REST}


def test_every_invariant_has_its_damage() -> None:
    assert NAMES.keys() == DAMAGE.keys()


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
def test_damage_is_found(db: Database, flow_id: str, name: str) -> None:
    for statement in DAMAGE[name]:
        sql(db, statement)
    assert NAMES[name] in broken(db, at_rest=True)


def test_clean_flows_are_silent(db: Database, flow_id: str) -> None:
    run_out(db)
    hold(db, at_rest=True)


def test_a_suspended_flow_is_silent(db: Database, flow_id: str) -> None:
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason="failed", error="x")])
    hold(db, at_rest=True)


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
    assert (NAMES["J1"] in broken(db)) == (not allowed)
