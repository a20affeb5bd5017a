"""Commands on who may ask for what: tokens, and people who log in elsewhere.

A command holds the hash of a token and never the token: the door makes it, shows it once, and hands the hash on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StrictFloat, StrictInt, StrictStr
from sqlalchemy import Connection, Row, insert, select, update

from engine import history, jsontext
from engine.access import MAX_PATTERNS, Actor, Reach, Role, read_reach
from engine.commands.changes import Done, Side, made, state_of, watched
from engine.commands.command import Arguments, Asked, Command, Noun
from engine.database import Database
from engine.dialects.clock import later, now
from engine.errors import Conflict, Forbidden, UnknownPrincipal, UnknownToken
from engine.ids import new_flow_id
from engine.inputs import document
from engine.tables import principal, token
from engine.tokens import API, CHANGES, reach_of


class Granted(Arguments):
    role: Role = Field(description="viewer, worker, operator, author or admin")
    workflows: Annotated[list[StrictStr], Field(max_length=MAX_PATTERNS)] | None = Field(
        None, description="ids of workflows, or how they begin and a *; all if left out"
    )


class NewToken(Granted):
    token_hash: StrictStr = Field(pattern="^[0-9a-f]{64}$", description="the SHA-256 of the token, in hex")
    expires_s: Annotated[StrictFloat | StrictInt, Field(gt=0, le=1e9)] | None = Field(
        None, description="how many seconds it is good for; for ever if left out"
    )


def _create(conn: Connection, db: Database, asked: Asked[NewToken]) -> Done:
    told = asked.arguments
    reach = _check_grant(asked.actor, told)
    if conn.scalar(select(token.c.token_id).where(token.c.token_hash == told.token_hash)) is not None:
        raise Conflict(f"token {asked.subject!r}", "is there already", "make another secret")
    token_id = new_flow_id()
    conn.execute(
        insert(token).values(
            token_id=token_id,
            name=asked.subject,
            kind=API,
            token_hash=told.token_hash,
            role=told.role.value,
            workflows=_column(reach),
            created_ts=now(),
            created_by=asked.actor.name,
            expires_ts=None if told.expires_s is None else later(float(told.expires_s)),
        )
    )
    _record(conn, asked, "token created", token_id=token_id, name=asked.subject, role=told.role.value)
    answer = {"token_id": token_id, "name": asked.subject, "role": told.role.value, "workflows": told.workflows}
    return Done(answer, made(token_id=token_id, **(_token_now(conn, token_id) or {})))


def _revoke(conn: Connection, db: Database, asked: Asked[Arguments], before: Side) -> Mapping[str, Any]:
    row = conn.execute(select(token).where(token.c.token_id == asked.subject)).one_or_none()
    if row is None or not asked.actor.reach.contains(reach_of(row.workflows)):
        raise UnknownToken(asked.subject)
    ended = {"revoked_ts": now(), "revoked_by": asked.actor.name}
    if not conn.execute(update(token).where(token.c.token_id == asked.subject, _is_good()).values(ended)).rowcount:
        by = f" by {row.revoked_by!r}" if row.revoked_by else ""
        raise Conflict(f"token {asked.subject!r}", f"was revoked{by} already", "there is nothing to revoke")
    _record(conn, asked, "token revoked", token_id=asked.subject, name=row.name)
    return {"token_id": asked.subject, "name": row.name}


def _set_principal(conn: Connection, db: Database, asked: Asked[Granted], before: Side) -> Mapping[str, Any]:
    told = asked.arguments
    reach = _check_grant(asked.actor, told)
    if before is not None and (row := _principal(conn, asked.subject)) is not None:
        _check_whole(asked.actor, row)
    values = {"role": told.role.value, "workflows": _column(reach), "disabled_ts": None}
    if before is None:
        conn.execute(insert(principal).values(name=asked.subject, created_ts=now(), **values))
    else:
        conn.execute(update(principal).where(principal.c.name == asked.subject).values(values))
    _record(conn, asked, "principal set", name=asked.subject, role=told.role.value)
    return {"name": asked.subject, "role": told.role.value, "workflows": told.workflows}


def _drop_principal(conn: Connection, db: Database, asked: Asked[Arguments], before: Side) -> Mapping[str, Any]:
    """The row stays: without it, a person who may come back with a default role would."""
    row = _principal(conn, asked.subject)
    if row is None or not asked.actor.reach.contains(reach_of(row.workflows)):
        raise UnknownPrincipal(asked.subject)
    if row.disabled_ts is not None:
        raise Conflict(f"principal {asked.subject!r}", "may do nothing already", "there is nothing to drop")
    conn.execute(update(principal).where(principal.c.name == asked.subject).values(disabled_ts=now()))
    _record(conn, asked, "principal dropped", name=asked.subject)
    return {"name": asked.subject}


def _token_now(conn: Connection, token_id: str, lock: bool = False) -> Side:
    """What a token allows; never its hash."""
    columns = [
        token.c[name] for name in ("name", "kind", "role", "workflows", "expires_ts", "revoked_ts", "revoked_by")
    ]
    return _with_reach(state_of(conn, columns, token.c.token_id == token_id, lock=lock))


def _token_meant(conn: Connection, asked: Asked[Arguments], lock: bool) -> Side:
    return _token_now(conn, asked.subject, lock)


def _principal_meant(conn: Connection, asked: Asked[Any], lock: bool) -> Side:
    columns = [principal.c[name] for name in ("role", "workflows", "disabled_ts")]
    return _with_reach(state_of(conn, columns, principal.c.name == asked.subject, lock=lock))


def _with_reach(row: Side) -> Side:
    return None if row is None else {**row, "workflows": document(row["workflows"])}


def _check_grant(actor: Actor, told: Granted) -> Reach:
    """Errors: Forbidden for more than the actor has itself; BadRequest."""
    reach = read_reach(told.workflows)
    actor.needs(told.role, f"give the role {told.role}")
    if not actor.reach.contains(reach):
        raise Forbidden(actor.name, "give this reach", "it goes beyond the actor's own")
    return reach


def _check_whole(actor: Actor, row: Row[Any]) -> None:
    if not actor.reach.contains(reach_of(row.workflows)):
        raise Forbidden(actor.name, f"change {row.name!r}", "that person's reach goes beyond the actor's own")


def _principal(conn: Connection, name: str) -> Row[Any] | None:
    return conn.execute(select(principal).where(principal.c.name == name)).one_or_none()


def _is_good() -> Any:
    return token.c.revoked_ts.is_(None)


def _column(reach: Reach) -> str | None:
    return None if reach.patterns is None else jsontext.dumps(list(reach.patterns))


def _record(conn: Connection, asked: Asked[Any], what: str, **details: Any) -> None:
    history.record(conn, [history.deed(what, asked.actor.name, asked.reason, **details)])


COMMANDS = (
    Command(
        "create_token",
        Noun.TOKEN,
        "Let a program ask over HTTP; the subject is the token's name",
        _create,
        NewToken,
        role=Role.ADMIN,
        is_checked_by_itself=True,
        concealed=frozenset({"token_hash"}),
    ),
    Command(
        "revoke_token",
        Noun.TOKEN,
        "End a token, and the sessions that came from it",
        watched(_token_meant, _revoke),
        role=Role.ADMIN,
        is_checked_by_itself=True,
        afterwards=CHANGES.note,
    ),
    Command(
        "set_principal",
        Noun.PRINCIPAL,
        "Say what a person who logs in elsewhere may do",
        watched(_principal_meant, _set_principal),
        Granted,
        role=Role.ADMIN,
        is_checked_by_itself=True,
        afterwards=CHANGES.note,
    ),
    Command(
        "drop_principal",
        Noun.PRINCIPAL,
        "Let a person in no longer, and end that person's sessions",
        watched(_principal_meant, _drop_principal),
        role=Role.ADMIN,
        is_checked_by_itself=True,
        afterwards=CHANGES.note,
    ),
)
