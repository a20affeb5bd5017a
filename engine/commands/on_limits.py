"""Commands on limits and pauses: how much of a queue, a workflow or a key may run, now and from now on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import Field, StrictInt, StrictStr
from sqlalchemy import Connection, and_, delete, insert, update

from engine import history
from engine.commands.changes import Side, state_of, watched
from engine.commands.command import Arguments, Asked, Command, NoArguments, Noun, Work
from engine.commands.types import WHOLE, Seconds
from engine.database import Database
from engine.dialects.clock import now
from engine.errors import BadRequest, Conflict
from engine.limits.rows import KEY, QUEUE, WORKFLOW, Name
from engine.tables import limit
from engine.waiting.messages import check_text

SCOPES: Final = (WORKFLOW, QUEUE, KEY)
_COLUMNS: Final = [column for column in limit.c if not column.primary_key]


class Limited(Arguments):
    """What a limit says from now on; what is left out is no cap."""

    max_running: Annotated[StrictInt, Field(ge=0, le=2**31 - 1), WHOLE] | None = Field(
        None, description="how many tasks may run at once, over all watchers"
    )
    rate: Annotated[StrictInt, Field(ge=1, le=2**31 - 1), WHOLE] | None = Field(
        None, description="how many tasks may start in a period"
    )
    rate_period_s: Seconds = Field(1.0, description="that period, in seconds")


class OfScope(Arguments):
    scope: StrictStr = Field(pattern="^(workflow|queue|key)$", description="what the subject is the name of")


class LimitedScope(Limited, OfScope):
    pass


def _pause(scope: str) -> Any:
    def work(conn: Connection, db: Database, asked: Asked[NoArguments], before: Side) -> Mapping[str, Any]:
        name = _name(scope, asked.subject)
        if before is not None and before["paused_ts"] is not None:
            by = f" by {before['paused_by']!r}" if before["paused_by"] else ""
            raise Conflict(f"{scope} {name.name!r}", f"is paused already{by}", "resume it first to change the reason")
        paused = {"paused_ts": now(), "paused_by": asked.actor.name, "paused_reason": asked.reason}
        _put(conn, name, before, paused)
        _record(conn, asked, f"{scope} paused", name)
        return {"scope": scope, "name": name.name}

    return work


def _resume(scope: str) -> Any:
    def work(conn: Connection, db: Database, asked: Asked[NoArguments], before: Side) -> Mapping[str, Any]:
        name = _name(scope, asked.subject)
        free = {"paused_ts": None, "paused_by": None, "paused_reason": None}
        if not conn.execute(update(limit).where(_is(name), limit.c.paused_ts.isnot(None)).values(free)).rowcount:
            raise Conflict(f"{scope} {name.name!r}", "is not paused", "there is nothing to resume")
        conn.execute(delete(limit).where(_is(name), limit.c.max_running.is_(None), limit.c.rate.is_(None)))
        _record(conn, asked, f"{scope} resumed", name)
        db.dialect.notify(conn)
        return {"scope": scope, "name": name.name}

    return work


def _set(conn: Connection, db: Database, asked: Asked[LimitedScope], before: Side) -> Mapping[str, Any]:
    told = asked.arguments
    name = _name(told.scope, asked.subject)
    if told.max_running is None and told.rate is None:
        raise BadRequest("max_running", "or rate must be given: drop_limit takes a limit away")
    values = told.model_dump(include={"max_running", "rate", "rate_period_s"})
    _put(conn, name, before, values)
    _record(conn, asked, "limit set", name, **values)
    db.dialect.notify(conn)
    return {"scope": name.scope, "name": name.name, **values}


def _drop(conn: Connection, db: Database, asked: Asked[OfScope], before: Side) -> Mapping[str, Any]:
    """A pause stays."""
    name = _name(asked.arguments.scope, asked.subject)
    capped = limit.c.max_running.isnot(None) | limit.c.rate.isnot(None)
    if not conn.execute(update(limit).where(_is(name), capped).values(max_running=None, rate=None)).rowcount:
        raise Conflict(f"{name.scope} {name.name!r}", "has no limit", "there is nothing to drop")
    conn.execute(delete(limit).where(_is(name), limit.c.paused_ts.is_(None)))
    _record(conn, asked, "limit dropped", name)
    db.dialect.notify(conn)
    return {"scope": name.scope, "name": name.name}


def _put(conn: Connection, name: Name, before: Side, values: Mapping[str, Any]) -> None:
    if before is None:
        conn.execute(insert(limit).values(scope=name.scope, name=name.name, **values))
    else:
        conn.execute(update(limit).where(_is(name)).values(values))


def _name(scope: str, subject: str) -> Name:
    check_text("subject", subject)
    return Name(scope, subject)


def _is(name: Name) -> Any:
    return and_(limit.c.scope == name.scope, limit.c.name == name.name)


def _row(name: Callable[[Asked[Any]], Name]) -> Callable[[Connection, Asked[Any], bool], Side]:
    def state(conn: Connection, asked: Asked[Any], lock: bool) -> Side:
        found = state_of(conn, _COLUMNS, _is(name(asked)), lock=lock)
        if found is None or found["rate"] is not None:
            return found
        return {column: value for column, value in found.items() if column != "rate_period_s"}

    return state


def _paused(scope: str, work: Callable[[str], Any]) -> Work:
    return watched(_row(lambda asked: Name(scope, asked.subject)), work(scope))


def _limited(work: Callable[[Connection, Database, Asked[Any], Side], Mapping[str, Any]]) -> Work:
    return watched(_row(lambda asked: Name(asked.arguments.scope, asked.subject)), work)


def _record(conn: Connection, asked: Asked[Any], what: str, name: Name, **details: Any) -> None:
    said = {"scope": name.scope, "name": name.name, **details}
    history.record(conn, [history.deed(what, asked.actor.name, asked.reason, **said)])


COMMANDS = (
    Command("pause_queue", Noun.QUEUE, "Start no more tasks of a queue; what runs goes on", _paused(QUEUE, _pause)),
    Command("resume_queue", Noun.QUEUE, "Start the tasks of a paused queue again", _paused(QUEUE, _resume)),
    Command(
        "pause_workflow",
        Noun.WORKFLOW,
        "Start no more tasks of a workflow; what runs goes on",
        _paused(WORKFLOW, _pause),
    ),
    Command("resume_workflow", Noun.WORKFLOW, "Start the tasks of a paused workflow again", _paused(WORKFLOW, _resume)),
    Command(
        "set_limit", Noun.LIMIT, "Say how many tasks may run at once or start in a period", _limited(_set), LimitedScope
    ),
    Command("drop_limit", Noun.LIMIT, "Take a limit away", _limited(_drop), OfScope),
)
