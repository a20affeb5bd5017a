"""Tokens of the HTTP service, and the sessions of browsers: found by a hash, judged by the database's clock.

A token is 256 random bits, of which only the SHA-256 is kept. It is found by an index over the hash, so that the time
that this takes tells nobody how much of a guess was right. A session is a row of its own with a secret of its own. It
may do what the token or the person that it came from may do now, and ends with them.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, delete, exists, func, insert, or_, select, update

from engine import history, jsontext
from engine.access import EVERYTHING, Reach, Role, read_reach
from engine.dialects.clock import later, now, seconds_between
from engine.errors import BadRequest
from engine.ids import new_flow_id
from engine.queries.pages import check_limit
from engine.queries.rows import plain
from engine.tables import principal, token
from engine.waiting.tokens import digest, has_shape

PREFIX: Final = "pst_"
"""By which scanners know a token that was published by mistake."""
API: Final = "api"
SESSION: Final = "session"
USED_EVERY_S: Final = 60.0
"""How exact `used_ts` is."""
NOTHING: Final = Reach(())


class Changes:
    """Counts what this process did to tokens and people: who remembers what was found looks again after each."""

    def __init__(self) -> None:
        self.number = 0

    def note(self) -> None:
        self.number += 1


CHANGES: Final = Changes()


@dataclass(frozen=True)
class Holder:
    """Who shows a token or the secret of a session, and what they may do."""

    token_id: str
    name: str
    role: Role
    reach: Reach
    kind: str
    left_s: float | None
    """Seconds until it ends by itself; None: never."""
    is_marked: bool
    """`used_ts` says well enough when it was last used."""


def new_token() -> str:
    """A new secret: the prefix, and 256 random bits in base64url."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str | None:
    """What is kept of a token; None for a text that cannot be one."""
    return digest(secret) if secret.startswith(PREFIX) and has_shape(secret[len(PREFIX) :]) else None


_parent, _owner = token.alias("parent"), principal.alias("owner")


def find(conn: Connection, hashed: str, idle_s: float = 0.0) -> Holder | None:
    """Whose token or session this is; None if there is none, or it has ended: a session also once it has not been used
    for `idle_s` seconds, if that is more than 0."""
    query = (
        select(
            token.c.token_id,
            token.c.name,
            token.c.kind,
            func.coalesce(_parent.c.role, _owner.c.role, token.c.role).label("role"),
            token.c.parent_id,
            token.c.principal,
            token.c.workflows,
            _parent.c.workflows.label("of_parent"),
            _owner.c.workflows.label("of_owner"),
            seconds_between(now(), token.c.expires_ts).label("left_s"),
            seconds_between(now(), _parent.c.expires_ts).label("parent_left_s"),
            and_(token.c.used_ts.isnot(None), token.c.used_ts > later(-USED_EVERY_S)).label("is_marked"),
        )
        .select_from(token)
        .outerjoin(_parent, _parent.c.token_id == token.c.parent_id)
        .outerjoin(_owner, _owner.c.name == token.c.principal)
        .where(
            token.c.token_hash == hashed,
            _lives(token),
            or_(token.c.parent_id.is_(None), and_(_parent.c.token_id.isnot(None), _lives(_parent))),
            or_(token.c.principal.is_(None), and_(_owner.c.name.isnot(None), _owner.c.disabled_ts.is_(None))),
        )
    )
    if idle_s > 0:
        query = query.where(
            or_(token.c.kind != SESSION, func.coalesce(token.c.used_ts, token.c.created_ts) > later(-idle_s))
        )
    row = conn.execute(query).one_or_none()
    return None if row is None else _holder(row)


def _lives(table: Any) -> Any:
    return and_(table.c.revoked_ts.is_(None), or_(table.c.expires_ts.is_(None), table.c.expires_ts > now()))


def _holder(row: Row[Any]) -> Holder:
    reach = row.of_owner if row.principal is not None else row.of_parent if row.parent_id is not None else row.workflows
    left = [float(each) for each in (row.left_s, row.parent_left_s) if each is not None]
    return Holder(
        row.token_id,
        row.name,
        Role(row.role),
        reach_of(reach),
        row.kind,
        min(left, default=None),
        bool(row.is_marked),
    )


def reach_of(text: str | None) -> Reach:
    """What the column `workflows` says. What cannot be read reaches nothing."""
    if text is None:
        return EVERYTHING
    try:
        patterns = jsontext.loads(text)
        return NOTHING if patterns is None else read_reach(patterns)
    except (jsontext.NotJSON, BadRequest):
        return NOTHING


def mark_used(conn: Connection, token_id: str) -> None:
    """Say that it was used; those who use it all the time write once a minute."""
    stale = or_(token.c.used_ts.is_(None), token.c.used_ts <= later(-USED_EVERY_S))
    conn.execute(update(token).where(token.c.token_id == token_id, stale).values(used_ts=now()))


def open_session(conn: Connection, hashed: str, holder: Holder | str, seconds: float) -> str:
    """A session of whoever holds this token, or of the person of this name; returns its token_id.

    Sessions of theirs that have ended are deleted. Units: seconds until it ends by itself.
    """
    if isinstance(holder, Holder):
        mine, of = token.c.parent_id == holder.token_id, {"parent_id": holder.token_id, "name": holder.name}
    else:
        mine, of = token.c.principal == holder, {"principal": holder, "name": holder}
    conn.execute(delete(token).where(mine, token.c.kind == SESSION, token.c.expires_ts <= now()))
    token_id = new_flow_id()
    values = {"token_id": token_id, "kind": SESSION, "token_hash": hashed, "role": Role.VIEWER.value, **of}
    conn.execute(insert(token).values(**values, created_ts=now(), expires_ts=later(seconds)))
    return token_id


def close_session(conn: Connection, token_id: str) -> None:
    conn.execute(delete(token).where(token.c.token_id == token_id, token.c.kind == SESSION))


def admit(conn: Connection, name: str, default: Role | None) -> bool:
    """May this person, who was found to be who they say, come in? One whom nobody has named is, where people have a
    role by default, and is named so from then on."""
    row = conn.execute(select(principal.c.disabled_ts).where(principal.c.name == name)).one_or_none()
    if row is not None:
        return row.disabled_ts is None
    if default is None:
        return False
    conn.execute(insert(principal).values(name=name, role=default.value, created_ts=now()))
    history.record(conn, [history.deed("principal set", name, name=name, role=default.value)])
    return True


def can_anybody_ask(conn: Connection) -> bool:
    """Is there a token that has not ended?"""
    return bool(conn.scalar(select(exists().where(token.c.kind == API, _lives(token)))))


def list_tokens(
    conn: Connection, *, limit: int = 100, cursor: str | None = None, kind: str = API
) -> tuple[list[dict[str, Any]], str | None]:
    """Tokens, newest first, without their hashes, and the cursor of the next page. Errors: BadRequest."""
    shown = [column for column in token.c if column.name != "token_hash"]
    query = select(*shown, _lives(token).label("is_live")).where(token.c.kind == kind)
    if cursor is not None:
        query = query.where(token.c.token_id < cursor)
    return _page(conn, query.order_by(token.c.token_id.desc()), limit, "token_id")


def list_principals(
    conn: Connection, *, limit: int = 100, cursor: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """People by name, and the cursor of the next page. Errors: BadRequest."""
    query = select(principal)
    if cursor is not None:
        query = query.where(principal.c.name > cursor)
    return _page(conn, query.order_by(principal.c.name), limit, "name")


def _page(conn: Connection, query: Any, limit: int, key: str) -> tuple[list[dict[str, Any]], str | None]:
    check_limit(limit)
    rows = [plain(row._mapping) for row in conn.execute(query.limit(limit + 1))]
    for row in rows:
        row["workflows"] = patterns_of(row["workflows"])
        if "is_live" in row:
            row["is_live"] = bool(row["is_live"])
    return rows[:limit], rows[limit - 1][key] if len(rows) > limit else None


def patterns_of(text: str | None) -> Sequence[str] | None:
    """The column `workflows` as a list; None: all."""
    patterns = reach_of(text).patterns
    return None if patterns is None else list(patterns)
