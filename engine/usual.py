"""Ready rows that use the usual columns only, never tried before: what most rows of a claim are.

They need fewer columns than `claimed.details` reads, and no checks beyond the condition that finds them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, literal_column, select

from engine import retry, row_checks
from engine.claimed import ClaimedTask
from engine.dialects.for_rows import ForRows, Rows
from engine.dialects.given import select_given
from engine.keys import A_FLOW, KEY_COLUMNS, Key, chunks
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


def candidates(*, with_flows: bool = False) -> Select[Any]:
    """What a claim reads of every row; what else there is of a row that is not usual is read by `claimed.details`.
    With the facts of its flow, where the rows of a join can be locked in one table alone."""
    task = task_stat.c
    named = task.task_id, task.task_seq, task.program, row_checks.head_of(task.parameters)
    query = select(*KEY_COLUMNS, *named, IS_USUAL.label("is_usual"))
    if not with_flows:
        return query
    flow = flow_stat.c
    joined = query.outerjoin_from(task_stat, flow_stat, flow.task_flow_id == task.task_flow_id)
    return joined.add_columns(flow.flow_status, flow.failure_policy, row_checks.head_of(flow.parameters))


class FlowFacts(NamedTuple):
    """What a claim needs to know of a flow."""

    status: int
    failure_policy: str | None
    parameters: str | None


def flows_of(conn: Connection, rows: Sequence[Row[Any]]) -> dict[str, FlowFacts]:
    """The facts of the flows of these candidates; a flow that a person inserted has no row yet, and is left out."""
    if "flow_status" in rows[0]._fields:
        return {row[0]: FlowFacts(*row[_FLOW]) for row in rows if row[_FLOW.start] is not None}
    return _facts_of(conn, {row[0] for row in rows})


def _facts_of(conn: Connection, flow_ids: Collection[str]) -> dict[str, FlowFacts]:
    found: dict[str, FlowFacts] = {}
    for part in chunks(sorted(flow_ids)):
        for flow_id, *facts in _FACTS(conn, [(flow_id,) for flow_id in part]).all():
            found[flow_id] = FlowFacts(*facts)
    return found


_FLOW: Final = slice(7, 10)
"""Where the facts of a flow stand in a row of `candidates`."""


def _facts(rows: Rows) -> Select[Any]:
    flow = flow_stat.c
    told = flow.flow_status, flow.failure_policy, row_checks.head_of(flow.parameters)
    query = select_given(rows, flow.task_flow_id, *told, by_key_of=flow_stat)
    return query.where(flow.task_flow_id == rows.c.flow_id)


_FACTS = ForRows(A_FLOW, _facts)
_UNKNOWN: Final = FlowFacts(0, None, None)


def claimed_task(row: Row[Any], claim_id: str, flows: dict[str, FlowFacts]) -> ClaimedTask:
    """The task of a usual row, just claimed for the first time."""
    values: list[Any] = list(row)
    flow_id, seq, task_id, task_seq, program, parameters = values[:6]
    flow = flows.get(flow_id, _UNKNOWN)
    own = task_id, task_seq, program, parameters
    return ClaimedTask(Key(flow_id, seq), claim_id, *own, flow.parameters, 1, 1, failure_policy=flow.failure_policy)
