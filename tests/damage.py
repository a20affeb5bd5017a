"""Damage done to the rows of flow `f`, a chain of three: one sort for each invariant of engine/fsck."""

from __future__ import annotations

from typing import NamedTuple

from factories import claim, define, enlisted, finish, start
from invariants import hold

from engine.database import Database


def chain(db: Database) -> str:
    """The flow to be damaged: its first task has finished, the second is ready, the third waits."""
    define(db, steps=3)
    enlisted(db)
    flow_id = start(db, flow_id="f")
    finish(db, *claim(db))
    hold(db)
    return flow_id


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
    "L1": Damage(
        [
            "INSERT INTO kr_task_log(task_flow_id, task_exec_seq, claim_id, written_ts, text)"
            f" VALUES ('f', 2, 'c', {LONG_AGO}, 'x')"
        ]
    ),
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
            task(3, "exec_status = 0, wait_count = 0, attempt = 0, finished_ts = NULL"),
            flow("finish_count = 2, flow_status = 1, finished_ts = NULL"),
        ]
    ),
    "J2": Damage([task(3, "wait_count = NULL")]),
    "F1": Damage([flow("closing = 1")]),
    "F2": Damage([tried("c1", 1, 1, 2).replace("'f'", "'gone'")]),
}
