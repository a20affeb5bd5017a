"""Tokens, sessions and people: who is found by what is shown, until when, and what they may do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from factories import rows, sql
from letting_in import ROOT, make_token, token_id_of

from engine import tokens
from engine.access import Actor, Reach, Role
from engine.commands import Ask, carry_out
from engine.commands.asked_by_sql import carry_out_asked
from engine.database import Database
from engine.errors import BadRequest, Conflict, Forbidden, UnknownPrincipal, UnknownToken
from engine.tables import command, principal, token
from engine.tokens import CHANGES, Holder
from engine.waiting.tokens import digest

pytestmark = pytest.mark.by_turns


def find(db: Database, secret: str) -> Holder | None:
    with db.read() as conn:
        return tokens.find(conn, digest(secret))


def open_session(db: Database, holder: Holder | str, seconds: float = 60.0) -> str:
    secret = tokens.new_token()[4:]
    db.transact(lambda conn: tokens.open_session(conn, digest(secret), holder, seconds))
    return secret


def ask(db: Database, _verb: str, _subject: str, **arguments: Any) -> Any:
    return carry_out(db, Ask(_verb, _subject, arguments), ROOT)


def test_a_secret_is_256_random_bits_with_a_prefix() -> None:
    made = {tokens.new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"pst_[A-Za-z0-9_-]{43}", secret) for secret in made)
    assert tokens.hash_of(made.pop()) is not None
    for wrong in (
        "",
        "pst_",
        "pst_x",
        "abc_" + "A" * 43,
        "pst_" + "A" * 44,
        "pst_" + "é" * 43,
        "pst_" + "A" * 42 + "\n",
    ):
        assert tokens.hash_of(wrong) is None


def test_a_token_is_found_by_its_hash_alone(db: Database) -> None:
    secret = make_token(db, "author", "ann", workflows=["load*"])
    holder = find(db, secret)
    assert holder is not None
    assert (holder.name, holder.role, holder.reach) == ("ann", Role.AUTHOR, Reach(("load*",)))
    assert (holder.kind, holder.left_s, holder.is_marked) == ("api", None, False)
    [row] = rows(db, token)
    assert secret not in str(row)
    assert (row.created_by, row.token_hash) == ("root", digest(secret))
    assert find(db, row.token_hash) is None
    [recorded] = rows(db, command)
    assert row.token_hash not in str(recorded)
    assert json.loads(recorded.arguments)["token_hash"] == "***"


def test_the_databases_clock_ends_a_token(db: Database) -> None:
    secret = make_token(db, expires_s=100)
    holder = find(db, secret)
    assert holder is not None
    assert 90 < (holder.left_s or 0) <= 100
    sql(db, "UPDATE ms_token SET expires_ts = '2020-01-01 00:00:00'")
    assert find(db, secret) is None


def test_a_revoked_token_is_found_no_more(db: Database) -> None:
    secret = make_token(db)
    token_id, before = token_id_of(db, secret), CHANGES.number
    ask(db, "revoke_token", token_id)
    assert CHANGES.number > before, "whoever remembers it looks again"
    assert find(db, secret) is None
    assert rows(db, token)[0].revoked_by == "root"
    with pytest.raises(Conflict, match="revoked by 'root' already"):
        ask(db, "revoke_token", token_id)
    with pytest.raises(UnknownToken):
        ask(db, "revoke_token", "nobody")


def test_the_same_secret_makes_no_second_token(db: Database) -> None:
    secret = make_token(db)
    with pytest.raises(Conflict, match="make another secret"):
        ask(db, "create_token", "b", token_hash=digest(secret), role="viewer")


@pytest.mark.parametrize(
    "arguments",
    [
        {"role": "viewer"},
        {"role": "viewer", "token_hash": "x"},
        {"role": "viewer", "token_hash": "A" * 64},
        {"role": "king", "token_hash": "a" * 64},
        {"role": "viewer", "token_hash": "a" * 64, "expires_s": 0},
        {"role": "viewer", "token_hash": "a" * 64, "workflows": ["a*b"]},
        {"role": "viewer", "token_hash": "a" * 64, "workflows": "load*"},
        {"role": "viewer", "token_hash": "a" * 64, "token": "pst_"},
    ],
)
def test_bad_arguments_make_no_token(db: Database, arguments: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        ask(db, "create_token", "x", **arguments)
    assert rows(db, token) == []


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_tokens_are_for_admins(db: Database, role: Role) -> None:
    for verb in ("create_token", "revoke_token", "set_principal", "drop_principal"):
        with pytest.raises(Forbidden, match="takes the role admin"):
            carry_out(db, Ask(verb, "x"), Actor("eve", role))


@pytest.mark.parametrize(
    "wide, narrow, holds",
    [
        (None, None, True),
        (None, ("a",), True),
        (("a",), None, False),
        (("*",), ("a*", "b"), True),
        (("a*",), ("a",), True),
        (("a*",), ("ab*", "abc"), True),
        (("ab*",), ("a*",), False),
        (("a",), ("a*",), False),
        (("a", "b*"), ("b", "a"), True),
        (("a",), (), True),
        ((), ("a",), False),
        (("A*",), ("ab",), False),
    ],
)
def test_what_a_reach_contains(wide: tuple[str, ...] | None, narrow: tuple[str, ...] | None, holds: bool) -> None:
    assert Reach(wide).contains(Reach(narrow)) is holds


def test_a_session_may_what_its_token_may_and_ends_with_it(db: Database) -> None:
    secret = make_token(db, "operator", "ann", workflows=["w"], expires_s=50)
    holder = find(db, secret)
    assert holder is not None
    session = open_session(db, holder, 100)
    found = find(db, session)
    assert found is not None
    assert (found.name, found.role, found.reach, found.kind) == ("ann", Role.OPERATOR, Reach(("w",)), "session")
    assert (found.left_s or 0) <= 50
    ask(db, "revoke_token", holder.token_id)
    assert find(db, session) is None


def test_a_session_may_what_its_person_may_now(db: Database) -> None:
    ask(db, "set_principal", "ann@example.org", role="author")
    session = open_session(db, "ann@example.org")
    assert (found := find(db, session)) is not None
    assert (found.name, found.role, found.reach.is_all) == ("ann@example.org", Role.AUTHOR, True)
    ask(db, "set_principal", "ann@example.org", role="viewer", workflows=["w"])
    assert (found := find(db, session)) is not None
    assert (found.role, found.reach) == (Role.VIEWER, Reach(("w",)))
    ask(db, "drop_principal", "ann@example.org")
    assert find(db, session) is None
    with pytest.raises(Conflict, match="may do nothing already"):
        ask(db, "drop_principal", "ann@example.org")
    with pytest.raises(UnknownPrincipal):
        ask(db, "drop_principal", "eve@example.org")
    ask(db, "set_principal", "ann@example.org", role="viewer")
    assert find(db, session) is not None
    sql(db, "DELETE FROM ms_principal")
    assert find(db, session) is None


def test_a_session_ends_that_is_not_used(db: Database) -> None:
    shown = make_token(db)
    holder = find(db, shown)
    assert holder is not None
    session = open_session(db, holder)

    def lives(secret: str) -> bool:
        with db.read() as conn:
            return tokens.find(conn, digest(secret), 600) is not None

    assert lives(session), "it has just been opened"
    sql(db, "UPDATE ms_token SET created_ts = '2026-01-01 00:00:00'")
    assert not lives(session)
    assert find(db, session) is not None, "without a limit it goes on"
    assert lives(shown), "a token is no session"
    db.transact(lambda conn: tokens.mark_used(conn, token_id_of(db, session)))
    assert lives(session)
    sql(db, "UPDATE ms_token SET used_ts = '2026-01-01 00:00:00'")
    assert not lives(session)


def test_old_sessions_go_when_a_new_one_is_opened(db: Database) -> None:
    holder = find(db, make_token(db))
    assert holder is not None
    old = open_session(db, holder)
    sql(db, "UPDATE ms_token SET expires_ts = '2020-01-01 00:00:00' WHERE kind = 'session'")
    assert find(db, old) is None
    new = open_session(db, holder)
    assert len(rows(db, token)) == 2
    db.transact(lambda conn: tokens.close_session(conn, holder.token_id))
    assert len(rows(db, token)) == 2, "a token is no session"
    found = find(db, new)
    assert found is not None
    db.transact(lambda conn: tokens.close_session(conn, found.token_id))
    assert find(db, new) is None


def test_a_person_whom_nobody_named(db: Database) -> None:
    def admit(default: Role | None) -> bool:
        return db.transact(lambda conn: tokens.admit(conn, "ann", default))

    assert admit(None) is False
    assert rows(db, principal) == []
    assert admit(Role.VIEWER) is True
    assert [(row.name, row.role) for row in rows(db, principal)] == [("ann", "viewer")]
    assert admit(None) is True
    ask(db, "drop_principal", "ann")
    assert admit(Role.VIEWER) is False


@pytest.mark.parametrize("text", ["", "{}", "[1]", '["a*b"]', "null", "["])
def test_a_reach_that_cannot_be_read_reaches_nothing(db: Database, text: str) -> None:
    secret = make_token(db)
    sql(db, "UPDATE ms_token SET workflows = :text", text=text)
    holder = find(db, secret)
    assert holder is not None
    assert not holder.reach.is_all
    assert not holder.reach.covers("w")


def test_use_is_noted_once_a_minute(db: Database) -> None:
    secret = make_token(db)
    token_id = token_id_of(db, secret)
    db.transact(lambda conn: tokens.mark_used(conn, token_id))
    [first] = rows(db, token)
    assert first.used_ts is not None
    assert (found := find(db, secret)) is not None
    assert found.is_marked
    db.transact(lambda conn: tokens.mark_used(conn, token_id))
    assert rows(db, token)[0].used_ts == first.used_ts


def test_lists_are_pages_without_hashes(db: Database) -> None:
    made = [make_token(db, name=f"t{number}") for number in range(5)]
    with db.read() as conn:
        page, cursor = tokens.list_tokens(conn, limit=3)
        rest, last = tokens.list_tokens(conn, limit=3, cursor=cursor)
        assert tokens.can_anybody_ask(conn)
    assert ([one["name"] for one in page + rest], last) == (["t4", "t3", "t2", "t1", "t0"], None)
    assert not [secret for secret in made if digest(secret) in str(page + rest)]
    for name in ("b", "a", "c"):
        ask(db, "set_principal", name, role="viewer", workflows=["w"])
    with db.read() as conn:
        people, cursor = tokens.list_principals(conn, limit=2)
        more, _ = tokens.list_principals(conn, limit=2, cursor=cursor)
    assert [one["name"] for one in people + more] == ["a", "b", "c"]
    assert people[0]["workflows"] == ["w"]


def test_a_row_of_sql_makes_a_token_and_keeps_no_hash(db: Database) -> None:
    secret = tokens.new_token()
    arguments = json.dumps({"token_hash": digest(secret), "role": "viewer"})
    sql(
        db,
        "INSERT INTO kr_command (verb, subject, arguments) VALUES ('create_token', 'bi', :arguments)",
        arguments=arguments,
    )
    carry_out_asked(db, "watcher-1", role=Role.ADMIN)
    assert find(db, secret) is not None
    assert digest(secret) not in str(rows(db, command))
