"""Commands: one table for all doors. Each is checked, carried out once, and recorded with who asked and why."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from awaiting import awaiting, waits_of
from factories import claim, define, enlisted, finish, flow, rows, settle_as, sql, start, states, task
from sqlalchemy import func, select, text

from engine.access import Actor, Reach, Role
from engine.commands import COMMANDS, Ask, carry_out
from engine.commands.asked_by_sql import carry_out_asked
from engine.database import Database
from engine.errors import (
    AlreadyAnswered,
    BadRequest,
    Conflict,
    Forbidden,
    PenstockError,
    UnknownFlow,
    UnknownWorkflow,
)
from engine.keys import Key
from engine.limits.room import Limits
from engine.settle import Settlement
from engine.states import Reason, Status
from engine.tables import command, event, flow_stat, flow_tag, limit, watcher

ANN = Actor("ann", door="cli")
LIMITED = Limits(from_rows=True)


def ask(db: Database, _verb: str, _subject: str | None = None, _reason: str | None = None, **arguments: Any) -> Any:
    return carry_out(db, Ask(_verb, _subject, arguments, _reason), ANN)


def insert(db: Database, verb: str, subject: str | None = None, arguments: str | None = None, **more: Any) -> None:
    """As a person would, in a transaction of its own."""
    columns = {"verb": verb, "subject": subject, "arguments": arguments, **more}
    names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    sql(db, f"INSERT INTO kr_command ({names}) VALUES ({marks})", **columns)


def handled(db: Database) -> list[tuple[str, Any]]:
    """(outcome, answer) of every command, after the watcher has looked."""
    carry_out_asked(db, "watcher-1")
    return [(row.outcome, json.loads(row.answer)) for row in rows(db, command)]


def test_a_command_is_done_and_recorded_with_who_asked_and_why(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    assert ask(db, "pause", flow_id, "disk is full", seqs=[2]) == {"seqs": [2]}
    assert states(db, flow_id) == [(Status.WAIT, 0), (Status.SUSPEND, 1)]
    [row] = rows(db, command)
    assert (row.verb, row.subject, row.reason, row.asked_by, row.door) == (
        "pause",
        flow_id,
        "disk is full",
        "ann",
        "cli",
    )
    assert (json.loads(row.arguments), row.outcome, json.loads(row.answer)) == ({"seqs": [2]}, "done", {"seqs": [2]})
    assert row.handled_ts is not None
    told = [json.loads(one.details) for one in rows(db, event) if one.what == "task paused"]
    assert told == [{"note": "disk is full"}]


def test_what_is_refused_changes_nothing_and_is_recorded(db: Database) -> None:
    define(db)
    flow_id = start(db)
    with pytest.raises(Conflict, match="only a suspended or cancelled task"):
        ask(db, "retry", flow_id, seqs=[1])
    assert states(db, flow_id) == [(Status.WAIT, 0)]
    [row] = rows(db, command)
    assert (row.outcome, json.loads(row.answer)["error"]) == ("refused", "Conflict")


@pytest.mark.parametrize(
    ("verb", "subject", "arguments", "words"),
    [
        ("explode", "x", {}, "is none of .*cancel"),
        ("cancel", None, {}, "subject"),
        ("cancel", "", {}, "subject"),
        ("cancel", "x\x00y", {}, "subject"),
        ("cancel", "x" * 257, {}, "subject"),
        ("cancel", "x", {"seqs": [1]}, "seqs: .*not permitted"),
        ("pause", "x", {"seqs": []}, "seqs"),
        ("pause", "x", {"seqs": ["1"]}, "seqs.0"),
        ("pause", "x", {"seqs": [True]}, "seqs.0"),
        ("finish", "x", {}, "seqs"),
        ("set_priority", "x", {"priority": 20}, "priority"),
        ("rerun", "x", {"seqs": [1], "name": "a"}, "goes without seqs"),
        ("bulk", "x", {"verb": "cancel", "where": {"task_id": "w"}}, "subject"),
        ("bulk", None, {"verb": "explode", "where": {"task_id": "w"}}, "is none of"),
        ("bulk", None, {"verb": "cancel", "where": {}}, "names nothing"),
        ("bulk", None, {"verb": "cancel", "where": {"task_id": "w"}, "arguments": {"actor": "eve"}}, "are none of"),
        ("set_limit", "q", {"scope": "queue"}, "max_running: or rate"),
        ("set_limit", "q", {"scope": "planet", "rate": 1}, "scope"),
        ("send", "~callback", {"key": "k"}, "tilde"),
        ("register", "w", {"parameters": {"a": float("nan")}}, "JSON"),
    ],
)
def test_a_bad_request_is_named(db: Database, verb: str, subject: Any, arguments: Any, words: str) -> None:
    define(db)
    with pytest.raises(BadRequest, match=words):
        carry_out(db, Ask(verb, subject, arguments), ANN)
    assert [row.outcome for row in rows(db, command)] == ["refused"]


def test_an_inserted_row_is_carried_out_once_and_answered_in_place(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    insert(db, "cancel", flow_id, reason="wrong day", asked_by="bob")
    assert handled(db) == [("done", {"seqs": [1, 2]})]
    [row] = rows(db, command)
    assert (row.asked_by, row.handled_by, row.door) == ("bob", "watcher-1", "sql")
    assert flow(db, flow_id).flow_status == Status.IGNORE
    assert carry_out_asked(db, "watcher-2") == 0, "it was handled already"
    [told] = [one for one in rows(db, event) if one.what == "flow cancelled"]
    assert (told.actor, json.loads(told.details)["note"]) == ("bob", "wrong day")


def test_a_flow_is_started_with_the_business_change_or_not_at_all(db: Database) -> None:
    define(db)
    words = {"parameters": {"order": 7}, "tags": ["k=v"], "run_key": "2026-01-01"}
    statement = "INSERT INTO kr_command (verb, subject, arguments) VALUES ('register', 'w', :words)"
    with db.engine.connect() as conn, conn.begin() as undone:
        conn.exec_driver_sql("UPDATE ms_task_definition SET task_priority = 5")
        conn.execute(text(statement), {"words": json.dumps(words)})
        undone.rollback()
    assert handled(db) == []
    with db.engine.connect() as conn, conn.begin():
        conn.exec_driver_sql("UPDATE ms_task_definition SET task_priority = 5")
        conn.execute(text(statement), {"words": json.dumps(words)})
    [(outcome, answer)] = handled(db)
    assert outcome == "done"
    made = flow(db, answer["task_flow_id"])
    assert (json.loads(made.parameters), made.run_key, made.registered_by) == ({"order": 7}, "2026-01-01", "sql")
    assert [(row.task_flow_id, row.tag) for row in rows(db, flow_tag)] == [(made.task_flow_id, "k=v")]


@pytest.mark.parametrize(
    ("verb", "subject", "arguments", "error"),
    [
        ("explode", "x", None, "BadRequest"),
        ("cancel", "nowhere", None, "UnknownFlow"),
        ("cancel", None, None, "BadRequest"),
        ("cancel", "x", "{", "BadRequest"),
        ("cancel", "x", "[1]", "BadRequest"),
        ("cancel", "x", '{"a": NaN}', "BadRequest"),
        ("cancel", "x", "[" * 10_000, "BadRequest"),
        ("register", "nowhere", "{}", "UnknownWorkflow"),
        ("drain", "nobody", "{}", "UnknownWatcher"),
        ("answer", "nothing", "{}", "UnknownWait"),
        ("resume_queue", "default", "{}", "Conflict"),
        ("drop_limit", "x", '{"scope": "key"}', "Conflict"),
    ],
)
def test_a_bad_row_is_answered_and_those_behind_it_are_carried_out(
    db: Database, verb: str, subject: Any, arguments: Any, error: str
) -> None:
    define(db)
    flow_id = start(db)
    insert(db, verb, subject, arguments)
    insert(db, "cancel", flow_id)
    [(refused, answer), (done, _)] = handled(db)
    assert (refused, answer["error"], done) == ("refused", error, "done")
    assert answer["message"]


def test_a_command_that_fails_by_a_mistake_of_ours_is_answered(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("oops")

    monkeypatch.setitem(COMMANDS, "cancel", type(COMMANDS["cancel"])(**{**vars(COMMANDS["cancel"]), "work": broken}))
    insert(db, "cancel", "x")
    [(outcome, answer)] = handled(db)
    assert (outcome, answer) == ("refused", {"error": "BrokenPromise", "message": "RuntimeError: oops"})


def test_watchers_that_race_for_commands_carry_each_out_once(db: Database) -> None:
    define(db)
    for number in range(20):
        insert(db, "register", "w", json.dumps({"run_key": str(number)}))
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        carry_out_asked(db, "someone")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    carry_out_asked(db, "the last")
    assert {row.outcome for row in rows(db, command)} == {"done"}
    assert sorted(row.run_key for row in rows(db, flow_stat)) == sorted(map(str, range(20)))


def test_a_queue_is_paused_by_whom_and_why_and_resumed(db: Database) -> None:
    define(db)
    start(db)
    enlisted(db)
    ask(db, "set_limit", "default", scope="queue", max_running=7)
    ask(db, "pause_queue", "default", "moving house")
    [row] = rows(db, limit)
    assert (row.max_running, row.paused_by, row.paused_reason) == (7, "ann", "moving house")
    assert row.paused_ts is not None
    assert claim(db, limits=LIMITED) == []
    with pytest.raises(Conflict, match="paused already by 'ann'"):
        ask(db, "pause_queue", "default")
    ask(db, "resume_queue", "default")
    assert rows(db, limit)[0].max_running == 7, "the limit is what it was"
    assert len(claim(db, limits=LIMITED)) == 1
    ask(db, "drop_limit", "default", scope="queue")
    assert rows(db, limit) == []


def test_a_paused_workflow_runs_nothing_and_others_do(db: Database) -> None:
    define(db, "a")
    define(db, "b")
    start(db, "a")
    other = start(db, "b")
    enlisted(db)
    ask(db, "pause_workflow", "a")
    assert [one.key.flow_id for one in claim(db, 5, limits=LIMITED)] == [other]
    ask(db, "resume_workflow", "a")
    assert rows(db, limit) == []
    assert len(claim(db, 5, limits=LIMITED)) == 1


def test_a_watcher_is_told_to_drain(db: Database) -> None:
    enlisted(db)
    ask(db, "drain", "watcher-1")
    assert rows(db, watcher)[0].wanted == "drain"


def test_answers_messages_and_call_backs_arrive(db: Database) -> None:
    define(db)
    approval = awaiting(db, "approval", name="ok?", details='{"candidates": ["ann"]}')
    [one] = waits_of(db, approval)
    insert(db, "answer", one.wait_id, '{"payload": {"approved": true}}', asked_by="eve")
    assert handled(db)[0][1]["error"] == "NotAllowed"
    ask(db, "answer", one.wait_id, payload={"approved": True})
    assert task(db, approval).wait_count == 0
    with pytest.raises(AlreadyAnswered):
        ask(db, "answer", one.wait_id, payload={"approved": False})
    message = awaiting(db, name="paid", key="7")
    insert(db, "send", "paid", '{"key": "7", "payload": {"sum": 3}}')
    assert handled(db)[-1][1]["wait_id"] == waits_of(db, message)[0].wait_id
    assert task(db, message).wait_count == 0
    token = "A" * 43
    awaited = awaiting(db, "callback", key=token)
    insert(db, "call_back", None, json.dumps({"token": token, "payload": 1}))
    assert handled(db)[-1][0] == "done"
    assert task(db, awaited).wait_count == 0
    assert token not in str(rows(db, command)), "a token is written down nowhere"
    with pytest.raises(AlreadyAnswered):
        ask(db, "call_back", token=token, payload=1)
    assert token not in str(rows(db, command))


def test_a_bulk_counts_and_then_does(db: Database) -> None:
    define(db)
    ids = [start(db, run_key=f"2026-01-0{day}") for day in (1, 2, 3)]
    where = {"task_id": "w", "run_key_from": "2026-01-02"}
    counted = ask(db, "bulk", verb="cancel", where=where)
    assert (counted["dry_run"], counted["flows"]) == (True, 2)
    insert(db, "bulk", None, json.dumps({"verb": "cancel", "where": where, "dry_run": False}))
    assert handled(db)[-1][1]["flows"] == 2
    assert [flow(db, one).flow_status for one in ids] == [Status.WAIT, Status.IGNORE, Status.IGNORE]


def test_a_failed_task_is_rerun_by_its_name(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db))
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
    assert ask(db, "rerun", flow_id, name="^No") == {"seqs": [1, 2]}
    assert task(db, Key(flow_id, 1)).generation == 1


def test_roles_cover_what_is_before_them(db: Database) -> None:
    define(db)
    flow_id = start(db)
    for role in Role:
        actor = Actor("eve", role)
        if role in (Role.VIEWER, Role.WORKER):
            with pytest.raises(Forbidden, match=f"takes the role operator, not {role}"):
                carry_out(db, Ask("pause", flow_id), actor)
        else:
            carry_out(db, Ask("pause", flow_id), actor)
    assert [row.outcome for row in rows(db, command)] == ["refused", "refused", "done", "done", "done"]


def test_what_is_beyond_the_reach_is_as_if_it_were_not_there(db: Database) -> None:
    for name in ("load_a", "load_b", "pay"):
        define(db, name)
    mine, other = start(db, "load_a"), start(db, "pay")
    eve = Actor("eve", Role.OPERATOR, Reach(("load_*",)))
    carry_out(db, Ask("pause", mine), eve)
    with pytest.raises(UnknownFlow):
        carry_out(db, Ask("pause", other), eve)
    with pytest.raises(UnknownWorkflow):
        carry_out(db, Ask("register", "pay"), eve)
    with pytest.raises(UnknownWorkflow):
        carry_out(db, Ask("set_limit", "pay", {"scope": "workflow", "rate": 1}), eve)
    for ask_ in (Ask("pause_queue", "default"), Ask("set_limit", "k", {"scope": "key", "rate": 1})):
        with pytest.raises(Forbidden):
            carry_out(db, ask_, eve)
    found = carry_out(db, Ask("bulk", None, {"verb": "cancel", "where": {"status": 2}, "dry_run": False}), eve)
    assert found["flows"] == 1
    everything = carry_out(db, Ask("bulk", None, {"verb": "cancel", "where": {"flow_status": 0}}), eve)
    assert everything["flows"] == 0, "the other one is not seen"
    with db.read() as conn:
        assert (
            conn.scalar(select(func.count()).select_from(flow_stat).where(eve.reach.condition(flow_stat.c.task_id)))
            == 1
        )


@pytest.mark.parametrize("pattern", ["", "a*b", "*a", "x" * 257, "a\x00"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(PenstockError, match="workflows"):
        Reach((pattern,))


@pytest.mark.parametrize("task_id", ["a_b", "a%b", "aXb", "a", "A_b", "a_", "ab"])
@pytest.mark.parametrize("patterns", [("a_*",), ("a%*",), ("a_b",), ("*",), (), ("a_b", "x*")])
def test_lists_and_look_ups_reach_the_same(db: Database, task_id: str, patterns: tuple[str, ...]) -> None:
    reach = Reach(patterns)
    define(db, task_id)
    start(db, task_id)
    with db.read() as conn:
        seen = conn.scalar(select(func.count()).select_from(flow_stat).where(reach.condition(flow_stat.c.task_id)))
    assert bool(seen) == reach.covers(task_id)


def test_a_row_may_ask_for_what_the_watcher_lets_it(db: Database) -> None:
    told = {"document": {"steps": [{"program": "Noop"}]}}
    insert(db, "apply", "made", json.dumps(told))
    [(outcome, answer)] = handled(db)
    assert (outcome, answer["error"]) == ("refused", "Forbidden")
    assert "takes the role author, not operator" in answer["message"]
    insert(db, "apply", "made", json.dumps(told))
    carry_out_asked(db, "watcher-1", role=Role.AUTHOR)
    assert rows(db, command)[-1].outcome == "done"
    insert(db, "create_token", "t", json.dumps({"token_hash": "a" * 64, "role": "admin"}))
    carry_out_asked(db, "watcher-1", role=Role.AUTHOR)
    assert rows(db, command)[-1].outcome == "refused"
