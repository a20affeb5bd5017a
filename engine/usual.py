"""Ready rows that use the usual columns only, never tried before: what most rows of a claim are.

They need fewer columns than `claimed.details` reads, and no checks beyond the condition that finds them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, literal_column, select

from engine import retry, row_checks
from engine.claimed import ClaimedTask
from engine.dialects.given import document, select_given
from engine.keys import GIVEN_FLOWS, KEY_COLUMNS, Key, chunks
from engine.tables import flow_stat, task_stat

_OPTIONAL: Final = (
    *retry.COLUMNS,
    "timeout_s",
    "name",
    "templates",
    "input_mapping",
    "output_mapping",
    "executor",
    "is_exclusive",
    "suspended_ts",
    "owner",
    "reason",
)
IS_USUAL: Final = and_(
    *(task_stat.c[name].is_(None) for name in _OPTIONAL),
    *(task_stat.c[name] == literal_column("0") for name in row_checks.COUNTS),
)


def candidates() -> Select[Any]:
    """What a claim reads of every row; what else there is of a row that is not usual is read by `claimed.details`."""
    task = task_stat.c
    named = task.task_id, task.task_seq, task.program, row_checks.head_of(task.parameters)
    return select(*KEY_COLUMNS, *named, IS_USUAL.label("is_usual"))


class FlowFacts(NamedTuple):
    """What a claim needs to know of a flow."""

    status: int
    failure_policy: str | None
    parameters: str | None


def facts_of(conn: Connection, flow_ids: Collection[str]) -> dict[str, FlowFacts]:
    """The facts of these flows; a flow that a person inserted has no row yet, and is left out."""
    found: dict[str, FlowFacts] = {}
    for part in chunks(sorted(flow_ids)):
        for flow_id, *facts in conn.execute(_FACTS, {"given": document([flow_id] for flow_id in part)}).all():
            found[flow_id] = FlowFacts(*facts)
    return found


_flow = flow_stat.c
_FACTS = select_given(
    GIVEN_FLOWS,
    _flow.task_flow_id,
    _flow.flow_status,
    _flow.failure_policy,
    row_checks.head_of(_flow.parameters),
    by_key_of=flow_stat,
).where(_flow.task_flow_id == GIVEN_FLOWS.c.flow_id)
_UNKNOWN: Final = FlowFacts(0, None, None)


def claimed_task(row: Row[Any], claim_id: str, flows: dict[str, FlowFacts]) -> ClaimedTask:
    """The task of a usual row, just claimed for the first time."""
    values: list[Any] = list(row)
    flow_id, seq, task_id, task_seq, program, parameters = values[:6]
    flow = flows.get(flow_id, _UNKNOWN)
    own = task_id, task_seq, program, parameters
    return ClaimedTask(Key(flow_id, seq), claim_id, *own, flow.parameters, 1, 1, failure_policy=flow.failure_policy)
