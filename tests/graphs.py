"""Flows of any shape for tests, made as rows, and run to the end with an answer for each task."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from factories import claim, insert_task, settle_as, sweep, tasks
from sqlalchemy import insert

from engine.claimed import ClaimedTask
from engine.database import Database
from engine.settling.settlement import Settlement
from engine.tables import run_edge

Edge = tuple[int, int] | tuple[int, int, dict[str, Any]]
_numbers = itertools.count(1)
FAIL = {"kind": "suspend", "reason": "failed", "error": "no"}


def make_flow(
    db: Database, edges: Sequence[Edge], *, columns: Mapping[int, dict[str, Any]] | None = None, adopt: bool = True
) -> str:
    """A flow of these edges (before, after, extras of the edge), as a person would insert it; `columns` of tasks."""
    flow_id = f"graph{next(_numbers)}"
    columns = columns or {}
    first: dict[int, int] = {}
    rows = []
    for before, after, *more in edges:
        extras = more[0] if more else {}
        if not extras and after not in first and not columns.get(after, {}).get("trigger_rule"):
            first[after] = before
        else:
            ends = {"task_flow_id": flow_id, "task_exec_seq": after, "depends_task_exec_seq": before}
            rows.append({**dict.fromkeys(("kind", "only_if", "is_default", "max_iterations")), **ends, **extras})
    for seq in sorted({*columns, *(end for edge in edges for end in edge[:2])}):
        row = {"depends_task_exec_seq": first.get(seq, -1), "program": "Noop", "name": f"step{seq}"}
        insert_task(db, flow_id, seq, **row | columns.get(seq, {}))
    if rows:
        with db.transaction() as conn:
            conn.execute(insert(run_edge), rows)
    if adopt:
        sweep(db)
    return flow_id


def play(db: Database, answers: Mapping[int, dict[str, Any]] | None = None, batch: int = 10) -> list[int]:
    """Claim and settle until nothing is ready; the run numbers in the order in which they ran. Tasks without an answer
    finish without a result."""
    ran: list[int] = []
    while True:
        sweep(db)
        claimed = claim(db, batch)
        if not claimed:
            return ran
        settle_as(db, [_answer(item, (answers or {}).get(item.key.seq, {})) for item in claimed])
        ran += [item.key.seq for item in claimed]
        assert len(ran) < 1000


def _answer(item: ClaimedTask, answer: dict[str, Any]) -> Settlement:
    return Settlement(item, **{"kind": "finish", **answer})


def ends(db: Database, flow_id: str) -> dict[int, tuple[int, str | None]]:
    """(exec_status, reason) of each task."""
    return {row.task_exec_seq: (row.exec_status, row.reason) for row in tasks(db, flow_id)}
