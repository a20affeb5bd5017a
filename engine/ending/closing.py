"""What is left to do when a flow has ended: its result, its roll-back, its parent. Flows say so with `closing` = 1.

Any watcher may do it; the lock of the flow row, and looking again under it, make further ones harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, select, update

from engine import history, jsontext
from engine.database import Database
from engine.ending import rollback
from engine.errors import BadExpression, PoisonData
from engine.expression.evaluator import evaluate, names_in
from engine.expression.scope import Scopes
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.growth import subflows
from engine.states import Reason, Status
from engine.tables import IS_CLOSING, flow_stat

BATCH: Final = 100
DONE: Final = 2


def close_ended(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Close up to a batch of ended flows. Returns how many were dealt with: closed, or begun to be rolled back."""
    try:
        return db.transact(lambda conn: _close(conn, db, policy))
    except PoisonData:  # the database refuses what one of them leaves: the others must not wait for it
        with db.read() as conn:
            flow_ids = list(conn.scalars(select(flow_stat.c.task_flow_id).where(IS_CLOSING).limit(BATCH)))
        return sum(_alone(db, policy, flow_id) for flow_id in flow_ids)


def _alone(db: Database, policy: Policy, flow_id: str) -> int:
    try:
        return db.transact(lambda conn: _close(conn, db, policy, flow_id))
    except PoisonData as error:
        words = str(error)
        return db.transact(lambda conn: _give_up(conn, flow_id, words))


def _close(conn: Connection, db: Database, policy: Policy, only: str | None = None) -> int:
    flow = flow_stat.c
    query = select(flow.task_flow_id, flow.flow_status, flow.reason).where(IS_CLOSING).order_by(flow.task_flow_id)
    query = query.limit(BATCH) if only is None else query.where(flow.task_flow_id == only)
    if db.can.row_locks:
        query = query.with_for_update(skip_locked=db.can.skip_locked)
    ended: list[Row[Any]] = list(conn.execute(query))
    scopes = Scopes(conn)
    closed = [row.task_flow_id for row in ended if not _begins_again(conn, db, row, scopes)]
    if closed:
        subflows.tell_parents(conn, db, closed, policy)
        conn.execute(update(flow_stat).where(flow.task_flow_id.in_(closed), IS_CLOSING).values(closing=DONE))
    return len(ended)


def _begins_again(conn: Connection, db: Database, row: Row[Any], scopes: Scopes) -> bool:
    """Do what is left for one flow. True if its roll-back has begun, so that it is to be closed later."""
    flow_id = row.task_flow_id
    definition = rollback.stored_definition(conn, flow_id)
    if row.reason == Reason.ROLLING_BACK:
        if rollback.begin(conn, db, flow_id, definition):
            return True
        _write(conn, flow_id, reason=Reason.ROLLED_BACK)
        history.record(conn, [history.Event("flow rolled back", flow_id, 0)])
    elif row.flow_status == Status.FINISH and (mapping := definition.get("workflow", {}).get("result_mapping")):
        _keep_result(conn, flow_id, mapping, scopes)
    return False


def _keep_result(conn: Connection, flow_id: str, mapping: Mapping[str, str], scopes: Scopes) -> None:
    """A mapping that cannot be worked out leaves no result, and an event that says why."""
    try:
        result = {name: evaluate(text, scopes.of(flow_id, names_in(text))) for name, text in mapping.items()}
        _write(conn, flow_id, result=jsontext.dumps(result, max_bytes=jsontext.MAX_RESULT_BYTES))
    except BadExpression as error:
        _tell_failed(conn, flow_id, f"result_mapping: {error}")
    except jsontext.NotJSON as error:
        _tell_failed(conn, flow_id, f"the result {error}")


def _write(conn: Connection, flow_id: str, **columns: Any) -> None:
    conn.execute(update(flow_stat).where(flow_stat.c.task_flow_id == flow_id).values(**columns))


def _tell_failed(conn: Connection, flow_id: str, words: str) -> None:
    clean = jsontext.clean_text(words, 1000)
    history.record(conn, [history.Event("flow result failed", flow_id, 0, details={"error": clean})])


def _give_up(conn: Connection, flow_id: str, words: str) -> int:
    """The database refuses to keep what the flow leaves: it is closed without."""
    _write(conn, flow_id, closing=DONE)
    _tell_failed(conn, flow_id, words)
    return 1
