"""A verb on every flow or task that a filter finds: counted first, then done in small transactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, exists, literal_column, select

from engine import history
from engine.access import EVERYTHING, Reach
from engine.control.acting import Chosen, Meant, Verb, perform
from engine.control.afterwards import statuses_now
from engine.control.flows import Cancel, RunAgain
from engine.control.parameters import SetFlowParameters, SetParameters
from engine.control.rerun import Rerun, texts_matching
from engine.control.suspension import Pause, Recover, Resume, Retry
from engine.control.tasks import Finish, Ignore, SetPriority
from engine.database import Database
from engine.errors import BadRequest
from engine.keys import chunks
from engine.states import Status
from engine.tables import flow_stat, task_stat

FLOWS_PER_TRANSACTION: Final = 200
MAX_FLOWS: Final = 10_000

VERBS: Final[Mapping[str, Callable[..., Verb]]] = {
    "pause": lambda note, **given: Pause(note, **given),
    "resume": lambda note, **given: Resume(**{"only_paused": True} | given),
    "recover": lambda note, **given: Recover(**given),
    "retry": lambda note, **given: Retry(**given),
    "ignore": lambda note, **given: Ignore(note=note, **given),
    "finish": lambda note, **given: Finish(**given),
    "cancel": lambda note, **given: Cancel(**given),
    "rerun": lambda note, **given: Rerun(**given),
    "run_again": lambda note, **given: RunAgain(**given),
    "set_priority": lambda note, **given: SetPriority(**given),
    "set_parameters": lambda note, **given: SetParameters(**given),
    "set_flow_parameters": lambda note, **given: SetFlowParameters(**given),
}


@dataclass(frozen=True)
class Filter:
    """Which flows, and which of their tasks; what is None does not narrow anything, and at least one thing must.

    Of flows: the workflow, ids, status, `run_key` from and to (both included; keys compare as text, so dates as
    YYYY-MM-DD compare as dates), registered at or after, and before (aware times). Of tasks: status, reason, program,
    and `name`, a regular expression to be found in the step's name or its program. With one of these a verb acts on
    such tasks only, and a verb on flows acts on flows that have such a task.
    """

    task_id: str | None = None
    flow_ids: Collection[str] | None = None
    flow_status: int | None = None
    run_key_from: str | None = None
    run_key_to: str | None = None
    registered_after: datetime | None = None
    registered_before: datetime | None = None
    status: int | None = None
    reason: str | None = None
    program: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if all(getattr(self, item.name) is None for item in fields(self)):
            raise BadRequest("where", f"names nothing: give one of {', '.join(item.name for item in fields(self))}")
        for name in ("flow_status", "status"):
            if (value := getattr(self, name)) is not None and value not in set(Status):
                known = ", ".join(f"{int(status)} {status.name}" for status in Status)
                raise BadRequest(name, f"{value!r} is no status: one of {known}")
        for name in ("registered_after", "registered_before"):
            instant = getattr(self, name)
            if instant is not None and instant.tzinfo is None:
                raise BadRequest(name, f"{instant} has no time zone")

    @property
    def of_flows(self) -> list[ColumnElement[bool]]:
        flow = flow_stat.c
        wanted: list[tuple[Any, Callable[[], ColumnElement[bool]]]] = [
            (self.task_id, lambda: flow.task_id == self.task_id),
            (self.flow_status, lambda: flow.flow_status == _number(self.flow_status)),
            (self.run_key_from, lambda: flow.run_key >= self.run_key_from),
            (self.run_key_to, lambda: flow.run_key <= self.run_key_to),
            (self.registered_after, lambda: flow.registered_ts >= self.registered_after),
            (self.registered_before, lambda: flow.registered_ts < self.registered_before),
        ]
        return [condition() for value, condition in wanted if value is not None]

    @property
    def of_tasks(self) -> tuple[ColumnElement[bool], ...]:
        task = task_stat.c
        wanted: list[tuple[Any, Callable[[], ColumnElement[bool]]]] = [
            (self.status, lambda: task.exec_status == _number(self.status)),
            (self.reason, lambda: task.reason == self.reason),
            (self.program, lambda: task.program == self.program),
        ]
        return tuple(condition() for value, condition in wanted if value is not None)


@dataclass(frozen=True)
class Count:
    """What was found (`dry_run`), or done.

    `flows` and `tasks`: how many a verb acts on; `statuses`: of these tasks, by the status they had, and
    `statuses_after`: by the one that they have now, empty where nothing was done; `refused`: the flows that the verb
    does not fit, each with why; `is_cut`: there are more flows than the limit, left alone.
    """

    dry_run: bool
    flows: int = 0
    tasks: int = 0
    statuses: Mapping[int, int] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False
    statuses_after: Mapping[int, int] = field(default_factory=dict)

    def plus(self, chosen: Chosen, after: Mapping[int, int]) -> Count:
        before = Counter(int(row.exec_status) for row in chosen.rows)
        return replace(
            self,
            flows=self.flows + len(chosen.flow_ids),
            tasks=self.tasks + len(chosen.rows),
            statuses=dict(sorted((Counter(self.statuses) + before).items())),
            statuses_after=dict(sorted((Counter(self.statuses_after) + Counter(after)).items())),
            refused={**self.refused, **{flow_id: str(error) for flow_id, error in chosen.refused.items()}},
        )


def bulk(
    db: Database,
    verb: str,
    where: Filter,
    *,
    actor: str,
    note: str | None = None,
    dry_run: bool = True,
    limit: int = MAX_FLOWS,
    progress: Callable[[Count], None] | None = None,
    within: Reach = EVERYTHING,
    **arguments: Any,
) -> Count:
    """Apply a verb (one of VERBS, with its own arguments) to all that the filter finds, or, as long as `dry_run` is not
    False, count what it would act on and change nothing.

    At most `limit` flows; which of more is up to the database, so narrow the filter, or ask again after a verb that
    changes what it finds. Flows are taken 200 to a transaction: if one cannot be committed, those before it stay done.
    `progress` is called after each transaction with the count so far. Workflows that are not `within` are left alone.
    Resume takes what was paused by hand only.
    Errors: BadRequest for an unknown verb, arguments that it does not take, or a filter that names nothing.
    """
    act = _verb(verb, note, arguments)
    if isinstance(limit, bool) or not 1 <= limit <= MAX_FLOWS:
        raise BadRequest("limit", f"{limit} is outside 1 .. {MAX_FLOWS}")
    with db.read() as conn:
        found = _candidates(conn, act, where, limit + 1, within)
    count = Count(dry_run, is_cut=len(found) > limit)
    texts = None if where.name is None else texts_matching(db, where.name, found)
    for part in chunks(sorted(found)[:limit], FLOWS_PER_TRANSACTION):
        meant = Meant(tuple(part), conditions=where.of_tasks, texts=texts)
        count = count.plus(*(_look(db, act, meant) if dry_run else _do(db, act, meant, actor, note)))
        if progress is not None:
            progress(count)
    if not dry_run:
        db.transact(lambda conn: history.record(conn, [_summary(verb, where, count, actor, note)]))
    return count


def bulk_in(
    conn: Connection,
    db: Database,
    verb: str,
    where: Filter,
    *,
    actor: str,
    note: str | None = None,
    dry_run: bool = True,
    limit: int = FLOWS_PER_TRANSACTION,
    texts: frozenset[str] | None = None,
    within: Reach = EVERYTHING,
    **arguments: Any,
) -> Count:
    """The same in the caller's transaction, for at most 200 flows. `texts` is what `texts_for` found ahead of it."""
    act = _verb(verb, note, arguments)
    if isinstance(limit, bool) or not 1 <= limit <= FLOWS_PER_TRANSACTION:
        raise BadRequest("limit", f"{limit} is outside 1 .. {FLOWS_PER_TRANSACTION}")
    found = _candidates(conn, act, where, limit + 1, within)
    meant = Meant(tuple(sorted(found)[:limit]), conditions=where.of_tasks, texts=texts)
    count = Count(dry_run, is_cut=len(found) > limit)
    if not found:
        return count
    if dry_run:
        return count.plus(act.choose(conn, db, meant, lock=False), {})
    count = count.plus(*_do_in(conn, db, act, meant, actor, note))
    history.record(conn, [_summary(verb, where, count, actor, note)])
    return count


def texts_for(
    db: Database,
    verb: str,
    where: Filter,
    limit: int,
    arguments: Mapping[str, Any],
) -> frozenset[str]:
    """The names of steps and programs that `where.name` is found in. Asked ahead of a transaction: a pattern may take
    long."""
    with db.read() as conn:
        found = _candidates(conn, _verb(verb, None, arguments), where, limit + 1, EVERYTHING)
    return texts_matching(db, where.name or "", found)


def _verb(name: str, note: str | None, arguments: Mapping[str, Any]) -> Verb:
    if name not in VERBS:
        raise BadRequest("verb", f"{name!r} is none of {', '.join(sorted(VERBS))}")
    try:
        return VERBS[name](note, **arguments)
    except TypeError as error:
        raise BadRequest("arguments", f"of {name}: {error}") from error


def _candidates(conn: Connection, verb: Verb, where: Filter, most: int, within: Reach) -> list[str]:
    """Flows that have something to act on. No order is asked for: it would make some planners read all of history."""
    conditions, tasks = where.of_flows, list(where.of_tasks)
    if not within.is_all:
        conditions.append(within.condition(flow_stat.c.task_id))
    if (interest := verb.interest()) is not None:
        (conditions if verb.of_flows else tasks).append(interest)
    ids = None if where.flow_ids is None else sorted(set(where.flow_ids))
    found: list[str] = []
    for part in [None] if ids is None else chunks(ids):
        query = _flows_with(conditions, tasks)
        if part is not None:
            query = query.where(flow_stat.c.task_flow_id.in_(part))
        found += conn.scalars(query.limit(most - len(found)))
        if len(found) >= most:
            break
    return found


def _flows_with(of_flows: list[ColumnElement[bool]], of_tasks: list[ColumnElement[bool]]) -> Select[Any]:
    query = select(flow_stat.c.task_flow_id).where(*of_flows)
    if not of_tasks:
        return query
    if of_flows:  # few flows, each looked into
        own = task_stat.c.task_flow_id == flow_stat.c.task_flow_id
        return query.where(exists(select(1).select_from(task_stat).where(own, *of_tasks)))
    return query.where(flow_stat.c.task_flow_id.in_(select(task_stat.c.task_flow_id).where(*of_tasks)))


def _number(value: int | None) -> Any:
    """A literal, so that a partial index is used."""
    return literal_column(str(int(value))) if value is not None else None


_Part = tuple[Chosen, Mapping[int, int]]
"""What was chosen of some flows, and how many of its tasks are in which status now."""


def _look(db: Database, verb: Verb, meant: Meant) -> _Part:
    with db.read() as conn:
        return verb.choose(conn, db, meant, lock=False), {}


def _do(db: Database, verb: Verb, meant: Meant, actor: str, note: str | None) -> _Part:
    return db.transact(lambda conn: _do_in(conn, db, verb, meant, actor, note))


def _do_in(conn: Connection, db: Database, verb: Verb, meant: Meant, actor: str, note: str | None) -> _Part:
    chosen = perform(conn, db, verb, meant, actor, note)
    return chosen, statuses_now(conn, chosen.rows)


def _summary(verb: str, where: Filter, count: Count, actor: str, note: str | None) -> history.Event:
    named = {item.name: getattr(where, item.name) for item in fields(where)}
    told = {name: _plain(value) for name, value in named.items() if value is not None}
    figures = {"flows": count.flows, "tasks": count.tasks, "refused": len(count.refused)}
    return history.deed(f"bulk {verb}", actor, note, where=told, **figures)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int) else f"{len(value)} flows"
