"""What a claim takes with it: a task instance as its watcher holds it, read from its row."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache, cached_property
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, or_, select

from engine import retry, row_checks
from engine.keys import KEY_COLUMNS, Fence, Key, among, chunks, key_of
from engine.retry import NO_RETRY, RetryRule
from engine.states import WAITING_REASONS
from engine.tables import CLAIM_ORDER, IS_RUNNING, flow_stat, task_stat


class _Facts(NamedTuple):
    """The fields alone: a named tuple itself has no room for what is worked out once."""

    key: Key
    claim_id: str
    task_id: str
    task_seq: int
    program: str | None
    parameters: str | None
    flow_parameters: str | None
    claim_no: int
    attempt: int
    retry: RetryRule = NO_RETRY
    timeout_s: float | None = None
    failure_policy: str | None = None
    generation: int = 0
    name: str | None = None
    templates: str | None = None
    input_mapping: str | None = None
    output_mapping: str | None = None
    executor: str | None = None
    is_exclusive: bool = False
    losses: int = 0


class ClaimedTask(_Facts):
    """A task instance that this watcher holds: what to run, with which parameters, under which claim."""

    @cached_property
    def fence(self) -> Fence:
        return Fence(*self.key, self.claim_id)


@cache
def details() -> Select[Any]:
    """The flow's columns come by subqueries, which a locking read does not lock; a join would lock flow rows too."""
    task = task_stat.c
    of_flow = flow_stat.c.task_flow_id == task.task_flow_id
    return select(
        *KEY_COLUMNS,
        task.task_id,
        task.task_seq,
        task.queue,
        task.limit_key,
        task.program,
        task.task_priority,
        row_checks.head_of(task.parameters),
        *(task[name] for name in row_checks.COUNTS),
        task.timeout_s,
        task.name,
        row_checks.head_of(task.templates),
        row_checks.head_of(task.input_mapping),
        row_checks.head_of(task.output_mapping),
        task.executor,
        task.is_exclusive,
        *(task[column] for column in retry.COLUMNS),
        or_(task.suspended_ts.isnot(None), task.reason.not_in(WAITING_REASONS)).label("was_suspended"),
        and_(task.owner.isnot(None), task.reason.is_(None), task.suspended_ts.is_(None)).label("may_be_held"),
        select(row_checks.head_of(flow_stat.c.parameters)).where(of_flow).scalar_subquery().label("flow_parameters"),
        select(flow_stat.c.failure_policy).where(of_flow).scalar_subquery().label("failure_policy"),
        select(flow_stat.c.flow_status).where(of_flow).scalar_subquery().label("flow_status"),
    )


def claimed_task(row: Row[Any], claim_id: str, *, claimed: bool = False) -> ClaimedTask:
    return ClaimedTask(
        key=key_of(row),
        claim_id=claim_id,
        task_id=row.task_id,
        task_seq=row.task_seq,
        program=row.program,
        parameters=row.parameters,
        flow_parameters=row.flow_parameters,
        claim_no=row.claims if claimed else row.claims + 1,
        attempt=row.attempt + 1,
        retry=retry.rule_of(row._mapping),
        timeout_s=row.timeout_s,
        failure_policy=row.failure_policy,
        generation=row.generation,
        name=row.name,
        templates=row.templates,
        input_mapping=row.input_mapping,
        output_mapping=row.output_mapping,
        executor=row.executor,
        is_exclusive=bool(row.is_exclusive),
        losses=row.losses,
    )


def claimed_under(conn: Connection, claim_id: str) -> list[ClaimedTask]:
    """What a claim took: asked when the answer to its COMMIT was lost."""
    rows = conn.execute(details().where(task_stat.c.claim_id == claim_id, IS_RUNNING).order_by(*CLAIM_ORDER))
    return [claimed_task(row, claim_id, claimed=True) for row in rows]


def last_claims(conn: Connection, keys: Collection[Key]) -> list[tuple[str, ClaimedTask]]:
    """The claims that these tasks were run under last, each with its owner, whatever has become of the tasks since."""
    rows: dict[Key, Row[Any]] = {}
    claims: dict[Key, tuple[str, str]] = {}
    for part in chunks(sorted(keys)):
        rows |= {key_of(row): row for row in conn.execute(details().where(among(part)))}
        held = select(*KEY_COLUMNS, task_stat.c.claim_id, task_stat.c.owner).where(among(part))
        claims |= {key_of(row): (row.claim_id, row.owner or "") for row in conn.execute(held) if row.claim_id}
    return [(owner, claimed_task(rows[key], claim_id, claimed=True)) for key, (claim_id, owner) in claims.items()]
