"""Answers: approvals and forms by people, call-backs by token; the first one counts, and everybody later is told."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

import pytest
from awaiting import arrived, await_it, awaiting, make_due, wait_of, waits_of
from factories import claim, define, enlisted, rows, run_all, sql, start, states, sweep, task, together
from invariants import hold
from sqlalchemy import select

from engine import control
from engine.database import Database, open_database
from engine.errors import (
    AlreadyAnswered,
    BadRequest,
    NotAllowed,
    OutcomeUnknown,
    PenstockError,
    PoisonData,
    UnknownWait,
)
from engine.keys import Key
from engine.queries.operating import list_open_waits
from engine.tables import event, message, metadata, wait
from engine.waiting import answers, messages, waits

YES = {"approved": True}
SCHEMA = {
    "type": "object",
    "properties": {"rows": {"type": "integer", "minimum": 1}},
    "required": ["rows"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def _defined(db: Database) -> None:
    define(db, steps=1)


def approval(db: Database, **details: Any) -> Key:
    return awaiting(db, "approval", name="ok?", details=json.dumps(details) if details else None)


def form(db: Database, schema: Any = None) -> Key:
    details = None if schema is None else json.dumps({"schema": schema})
    return awaiting(db, "form", name="how many?", details=details)


def answer(db: Database, key: Key, payload: Any = YES, actor: str = "ann") -> None:
    answers.answer(db, wait_of(db, key).wait_id, payload, actor=actor)


def called(db: Database, token: str, payload: Any = None) -> bool:
    """Whether this call-back was taken."""
    try:
        answers.call_back(db, token, payload)
    except AlreadyAnswered:
        return False
    return True


@pytest.mark.parametrize("approved", [True, False])
def test_an_approval_is_answered_and_recorded(db: Database, approved: bool) -> None:
    key = approval(db)
    answer(db, key, {"approved": approved, "why": "because"})
    (found,) = arrived(db, key)
    assert (found.payload, found.by) == ({"approved": approved, "why": "because"}, "ann")
    told = [row for row in rows(db, event) if row.actor == "ann"]
    assert [(row.what, row.task_flow_id, row.task_exec_seq) for row in told] == [("approval answered", *key)]
    assert run_all(db) == [key]
    hold(db, at_rest=True)


@pytest.mark.parametrize("payload", [None, True, "yes", [], {}, {"approved": "yes"}, {"approved": 1}], ids=json.dumps)
def test_an_approval_says_yes_or_no(db: Database, payload: Any) -> None:
    key = approval(db)
    with pytest.raises(BadRequest, match="boolean"):
        answer(db, key, payload)
    assert wait_of(db, key).state == "open"


def test_a_second_answer_is_told_who_was_first_and_when(db: Database) -> None:
    key = approval(db)
    answer(db, key, actor="ann")
    with pytest.raises(AlreadyAnswered, match="was answered by 'ann' at 20") as caught:
        answer(db, key, {"approved": False}, actor="bob")
    assert (caught.value.by, caught.value.at) == ("ann", wait_of(db, key).closed_ts)
    assert arrived(db, key)[0].payload == YES


def test_an_answer_after_the_end_is_told_so(db: Database) -> None:
    key = approval(db)
    make_due(db)
    waits.fire_waits(db)
    with pytest.raises(AlreadyAnswered, match="has expired at 20"):
        answer(db, key)
    key = approval(db)
    control.ignore(db, key.flow_id, [1], actor="eve")
    with pytest.raises(AlreadyAnswered, match="was cancelled"):
        answer(db, key)


@pytest.mark.parametrize("wait_id", ["nothing", "x" * 200])
def test_an_unknown_wait_is_named(db: Database, wait_id: str) -> None:
    with pytest.raises(UnknownWait, match=wait_id):
        answers.answer(db, wait_id, YES, actor="ann")


@pytest.mark.parametrize("what", ["timer", "message"])
def test_what_people_do_not_answer_is_refused(db: Database, what: str) -> None:
    key = awaiting(db, what, delay_s=60.0)
    with pytest.raises(BadRequest, match=f"is a {what}, which nobody answers"):
        answer(db, key)


def test_only_candidates_may_answer(db: Database) -> None:
    key = approval(db, candidates=["ann", "bob"])
    with pytest.raises(NotAllowed, match=r"'eve' may not answer .* it is for ann, bob"):
        answer(db, key, actor="eve")
    assert wait_of(db, key).state == "open"
    answer(db, key, actor="bob")
    assert wait_of(db, key).closed_by == "bob"


@pytest.mark.parametrize("actor", ["", "x" * 257, "a\x00"])
def test_an_actor_has_a_name(db: Database, actor: str) -> None:
    with pytest.raises(BadRequest, match="actor"):
        answer(db, approval(db), actor=actor)


def test_a_form_takes_what_fits_its_schema(db: Database) -> None:
    key = form(db, SCHEMA)
    for wrong, words in (({"rows": 0}, r"payload: \$\.rows: 0 is less"), ({}, "'rows' is a required"), (7, "object")):
        with pytest.raises(BadRequest, match=words):
            answer(db, key, wrong)
    answer(db, key, {"rows": 3})
    assert arrived(db, key)[0].payload == {"rows": 3}
    hold(db)


def test_a_form_without_a_schema_takes_anything(db: Database) -> None:
    key = form(db)
    answer(db, key, [1, {"two": None}])
    assert arrived(db, key)[0].payload == [1, {"two": None}]


@pytest.mark.parametrize(
    "schema, words",
    [
        ({"type": 7}, "is no JSON schema"),
        ([], "is no JSON schema"),
        ({"$ref": "http://127.0.0.1:1/x.json"}, "refers to"),
        ({"$ref": "#/$defs/none"}, "refers to"),
        ({"$ref": "#"}, "refers to itself"),
    ],
    ids=json.dumps,
)
def test_a_schema_that_cannot_be_used_refuses_the_answer(db: Database, schema: Any, words: str) -> None:
    key = form(db, schema)
    with pytest.raises(BadRequest, match=words):
        answer(db, key, {})
    assert wait_of(db, key).state == "open"


def test_an_answer_that_is_too_large_is_refused(db: Database) -> None:
    with pytest.raises(BadRequest, match=r"payload: is .* bytes"):
        answer(db, form(db), "x" * 1024 * 1024)


def test_two_who_answer_at_once(db: Database, url: str) -> None:
    """Exactly one wins, and the other is told who did."""
    other = open_database(url)
    for _ in range(8):
        key = approval(db)
        wait_id = wait_of(db, key).wait_id

        def ask(connection: Database, actor: str, wait_id: str = wait_id) -> str | AlreadyAnswered:
            try:
                answers.answer(connection, wait_id, {"approved": actor == "ann"}, actor=actor)
            except AlreadyAnswered as error:
                return error
            return actor

        results = together(lambda: ask(db, "ann"), lambda: ask(other, "bob"))
        (winner,) = [result for result in results if isinstance(result, str)]
        (loser,) = [result for result in results if isinstance(result, AlreadyAnswered)]
        assert loser.by == winner == wait_of(db, key).closed_by
        assert arrived(db, key)[0].payload == {"approved": winner == "ann"}
        assert task(db, key).wait_count == 0
    other.close()
    hold(db)


def test_an_answer_and_the_end_at_once(db: Database, url: str) -> None:
    other = open_database(url)
    for _ in range(8):
        key = approval(db)
        make_due(db)
        wait_id = wait_of(db, key).wait_id

        def ask(wait_id: str = wait_id) -> bool:
            try:
                answers.answer(db, wait_id, YES, actor="ann")
            except AlreadyAnswered:
                return False
            return True

        won, _ = together(ask, lambda: waits.fire_waits(other))
        assert wait_of(db, key).state == ("arrived" if won else "expired")
        assert task(db, key).wait_count == 0
    other.close()
    hold(db)


def test_people_see_what_is_awaited_of_them(db: Database) -> None:
    first = approval(db, prompt="may it?", candidates=["ann"])
    second = form(db, SCHEMA)
    awaiting(db, "timer", delay_s=60.0)
    token = secrets.token_urlsafe(32)
    called_back = awaiting(db, "callback", key=token)
    answered = approval(db)
    answer(db, answered)
    with db.read() as conn:
        found, following = list_open_waits(conn)
        assert [(one["kind"], one["task_flow_id"]) for one in found] == [
            ("approval", first.flow_id),
            ("form", second.flow_id),
        ]
        assert following is None
        assert found[0]["details"] == {"prompt": "may it?", "candidates": ["ann"]}
        page, following = list_open_waits(conn, limit=1)
        assert following is not None
        assert (page, list_open_waits(conn, limit=1, cursor=following)) == (found[:1], (found[1:], None))
        ((shown,), _) = list_open_waits(conn, kind="callback")
        assert (shown["task_flow_id"], shown["correlation_key"]) == (called_back.flow_id, None)
        for limit in (0, 501):
            with pytest.raises(BadRequest, match="limit"):
                list_open_waits(conn, limit=limit)


def test_a_call_back_reaches_its_task_and_leaves_no_token_behind(db: Database) -> None:
    token = secrets.token_urlsafe(32)
    key = awaiting(db, "callback", name="scan done", key=token)
    assert wait_of(db, key).correlation_key == hashlib.sha256(token.encode()).hexdigest()
    answers.call_back(db, token, {"virus": False}, actor="scanner")
    (found,) = arrived(db, key)
    assert (found.kind, found.name, found.payload, found.by) == ("callback", "scan done", {"virus": False}, "scanner")
    assert task(db, key).wait_count == 0
    everything = [str(row) for table in metadata.sorted_tables for row in rows(db, table)]
    assert [row for row in everything if token in row] == []
    assert [row.what for row in rows(db, event) if row.actor == "scanner"] == ["called back"]
    hold(db)


def test_a_second_call_back_changes_nothing(db: Database) -> None:
    token = secrets.token_urlsafe(32)
    key = awaiting(db, "callback", key=token)
    assert called(db, token, 1)
    with pytest.raises(AlreadyAnswered, match="by 'callback' at 20"):
        answers.call_back(db, token, 2)
    assert arrived(db, key)[0].payload == 1


def test_a_call_back_after_the_end_is_told_so(db: Database) -> None:
    token = secrets.token_urlsafe(32)
    awaiting(db, "callback", key=token)
    make_due(db)
    waits.fire_waits(db)
    with pytest.raises(AlreadyAnswered, match="expired"):
        answers.call_back(db, token, 1)
    assert rows(db, message) == []


def test_a_call_back_may_come_before_its_task_awaits_it(db: Database) -> None:
    """The program gave the token away, and was called back before it had returned."""
    token = secrets.token_urlsafe(32)
    enlisted(db)
    start(db)
    (held,) = claim(db)
    assert called(db, token, "early")
    assert not called(db, token, "early again")
    await_it(db, held, kind="callback", key=token)
    assert [found.payload for found in arrived(db, held.key)] == ["early"]
    assert not called(db, token, "late")
    everything = [str(row) for table in metadata.sorted_tables for row in rows(db, table)]
    assert [row for row in everything if token in row] == []
    assert run_all(db) == [held.key]
    hold(db, at_rest=True)


def test_an_early_call_back_outlives_every_process(db: Database, url: str) -> None:
    token = secrets.token_urlsafe(32)
    assert called(db, token, "early")
    db.close()
    later = open_database(url)
    key = awaiting(later, "callback", key=token)
    assert [found.payload for found in arrived(later, key)] == ["early"]
    later.close()


def test_an_early_call_back_is_kept_for_ten_minutes(db: Database) -> None:
    token = secrets.token_urlsafe(32)
    assert called(db, token, "early")
    (kept,) = rows(db, message)
    assert 590 < (kept.expires_ts - kept.sent_ts).total_seconds() < 610
    sql(db, "UPDATE kr_message SET expires_ts = sent_ts")
    key = awaiting(db, "callback", key=token)
    assert arrived(db, key) == []
    assert called(db, token, "in time")
    assert [found.payload for found in arrived(db, key)] == ["in time"]
    hold(db)


@pytest.mark.parametrize("token", ["", "x", "x" * 42, "x" * 44, "x" * 42 + "/", "x" * 42 + "é", "\ud800", "~callback"])
def test_what_is_no_token_is_not_kept(db: Database, token: str) -> None:
    with pytest.raises(UnknownWait) as caught:
        answers.call_back(db, token, 1)
    assert rows(db, message) == []
    assert not token or token not in str(caught.value)


def test_two_call_backs_at_once(db: Database, url: str) -> None:
    """Early or not, exactly one is taken."""
    other = open_database(url)
    for is_early in (False, True) * 4:
        token = secrets.token_urlsafe(32)
        if not is_early:
            key = awaiting(db, "callback", key=token)
        taken = together(lambda t=token: called(db, t, "one"), lambda t=token: called(other, t, "two"))
        assert sorted(taken) == [False, True]
        if is_early:
            key = awaiting(db, "callback", key=token)
        assert [found.payload for found in arrived(db, key)] == ["one" if taken[0] else "two"]
    other.close()
    hold(db)


def test_a_call_back_and_its_task_at_once(db: Database, url: str) -> None:
    """Neither sees what the other has not committed; the sweep brings them together, and a second one is refused."""
    other = open_database(url)
    enlisted(db)
    for number in range(8):
        token = secrets.token_urlsafe(32)
        start(db)
        (held,) = claim(db)
        together(
            lambda held=held, token=token: await_it(db, held, kind="callback", key=token),
            lambda token=token, number=number: answers.call_back(other, token, number),
        )
        assert not called(db, token, "second")
        sweep(db)
        assert [found.payload for found in arrived(db, held.key)] == [number]
        assert run_all(db) == [held.key]
    other.close()
    hold(db, at_rest=True)


@pytest.mark.needs("row_locks")
def test_a_call_back_and_its_task_that_missed_each_other(db: Database, url: str) -> None:
    """The same, step by step."""
    other, token = open_database(url), secrets.token_urlsafe(32)
    enlisted(db)
    start(db)
    (held,) = claim(db)
    hashed = hashlib.sha256(token.encode()).hexdigest()
    with other.transaction() as conn:
        answers._call_back(conn, other, hashed, '"x"', "scanner", may_be_early=True, is_first=True)
        await_it(db, held, kind="callback", key=token)
    other.close()
    assert arrived(db, held.key) == []
    assert not called(db, token, "second")
    assert messages.match(db) == 1
    assert [found.payload for found in arrived(db, held.key)] == ["x"]
    hold(db)


def test_a_token_is_awaited_once(db: Database) -> None:
    """The task that comes with a used one is refused, and nothing of the batch is lost: watcher/cycle.py splits it."""
    token = secrets.token_urlsafe(32)
    awaiting(db, "callback", key=token)
    start(db)
    (held,) = claim(db)
    with pytest.raises(PoisonData, match="awaited before"):
        await_it(db, held, kind="callback", key=token)
    assert states(db, held.key.flow_id) == [(1, 0)]
    hold(db)


def deaf(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the next COMMIT is lost."""
    transact, answered = db.transact, iter([False])

    def lossy(work: Any, **how: Any) -> Any:
        done = transact(work, **how)
        if next(answered, True):
            return done
        raise OutcomeUnknown("the answer to COMMIT was lost")

    monkeypatch.setattr(db, "transact", lossy)


@pytest.mark.parametrize("what", ["approval", "callback", "early"])
def test_an_answer_whose_commit_was_answered_by_nobody_is_no_second_one(
    db: Database, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    token = secrets.token_urlsafe(32)
    if what == "approval":
        key = approval(db)
        deaf(db, monkeypatch)
        answer(db, key)
        assert arrived(db, key)[0].payload == YES
    else:
        key = awaiting(db, "callback", key=token) if what == "callback" else None
        deaf(db, monkeypatch)
        answers.call_back(db, token, 7)
        key = key or awaiting(db, "callback", key=token)
        assert [found.payload for found in arrived(db, key)] == [7]
    hold(db)


def test_errors_are_penstocks_own() -> None:
    assert all(issubclass(kind, PenstockError) for kind in (UnknownWait, AlreadyAnswered, NotAllowed))


def test_a_closed_wait_is_found_by_its_task(db: Database) -> None:
    key = approval(db)
    answer(db, key)
    with db.read() as conn:
        assert conn.scalars(select(wait.c.state)).all() == [waits_of(db, key)[0].state]
