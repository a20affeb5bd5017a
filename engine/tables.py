"""The tables, named as in Flower. `ms_` holds definitions, `kr_` holds runs; docs/tables.md explains every column.

`ms_task_definition` has exactly Flower's 14 columns, and `kr_task_stat` starts with Flower's 12, so that rows written
for Flower fit unchanged. Everything that a person may leave out has a default in the database itself.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    and_,
    false,
    literal_column,
    or_,
    text,
)

from engine.columns import priority_check, retry_checks, retry_columns, texts, whole
from engine.dialects.types import Id, LongText, UtcTimestamp, has_partial_indexes, lacks_partial_indexes
from engine.states import WAITING_REASONS

metadata: Final = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_label)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
)
BIGKEY = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER PRIMARY KEY


task_definition = Table(
    "ms_task_definition",
    metadata,
    Column("task_id", Id(256), primary_key=True, nullable=False),
    Column("task_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("program", Id(256), nullable=False),
    Column("task_priority", SmallInteger, nullable=False, server_default=text("0")),
    *(
        Column(f"param{number}_{part}", String(1024))  # Flower's five pairs: param1_key, param1_value ...
        for number in range(1, 6)
        for part in ("key", "value")
    ),
    priority_check(),
    *whole("task_seq", "task_priority"),
    *texts("task_id", "program"),
    info={"about": "A step of a workflow: rows that share a task_id are one workflow."},
)

task_edge = Table(
    "ms_task_edge",
    metadata,
    Column("task_id", Id(256), primary_key=True, nullable=False),
    Column("task_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("depends_task_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    *whole("task_seq", "depends_task_seq"),
    *texts("task_id"),
    info={"about": "This step after that step. A workflow without a row here is a chain by task_seq."},
)

task_option = Table(
    "ms_task_option",
    metadata,
    Column("task_id", Id(256), primary_key=True, nullable=False),
    Column("task_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("parameters", LongText),
    Column("queue", Id(64)),
    *retry_columns(),
    *retry_checks(),
    *whole("task_seq", "max_attempts"),
    *texts("task_id", "parameters", "queue"),
    info={"about": "The extras of a step. A step without a row here is as Flower has it."},
)

workflow_version = Table(
    "ms_workflow_version",
    metadata,
    Column("version_id", Id(64), primary_key=True, nullable=False),
    Column("task_id", Id(256), nullable=False),
    Column("definition", LongText, nullable=False),
    Column("created_ts", UtcTimestamp, nullable=False),
    info={"about": "A definition as it was when a flow was made from it, under the hash of its content."},
)

flow_stat = Table(
    "kr_flow_stat",
    metadata,
    Column("task_flow_id", Id(256), primary_key=True, nullable=False),
    Column("task_id", Id(256), nullable=False),
    Column("flow_status", SmallInteger, nullable=False, server_default=text("0")),
    Column("flow_priority", SmallInteger),
    Column("parameters", LongText),
    Column("run_key", Id(256)),
    Column("idempotency_key", Id(255)),
    Column("request_hash", Id(64)),
    Column("task_count", Integer, nullable=False, server_default=text("0")),
    Column("finish_count", Integer, nullable=False, server_default=text("0")),
    Column("ignore_count", Integer, nullable=False, server_default=text("0")),
    Column("suspend_count", Integer, nullable=False, server_default=text("0")),
    Column("registered_ts", UtcTimestamp),
    Column("started_ts", UtcTimestamp),
    Column("finished_ts", UtcTimestamp),
    Column("version_id", Id(64)),
    UniqueConstraint("task_id", "idempotency_key", name="uq_kr_flow_stat_idempotency"),
    info={"about": "A flow: one run of a workflow."},
)

task_stat = Table(
    "kr_task_stat",
    metadata,
    # Flower's twelve, in Flower's order
    Column("task_flow_id", Id(256), primary_key=True, nullable=False),
    Column("task_exec_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("depends_task_exec_seq", BigInteger, nullable=False, server_default=text("-1")),
    Column("task_id", Id(256), nullable=False),
    Column("task_seq", BigInteger, nullable=False),
    Column("exec_status", SmallInteger, nullable=False, server_default=text("0")),
    Column("task_priority", SmallInteger, nullable=False, server_default=text("0")),
    Column("parameters", LongText, nullable=False),
    Column("registered_ts", UtcTimestamp),
    Column("started_ts", UtcTimestamp),
    Column("finished_ts", UtcTimestamp),
    Column("suspended_ts", UtcTimestamp),
    # the engine's
    Column("program", Id(256)),
    Column("queue", Id(64), nullable=False, server_default="default"),
    Column("wait_count", Integer),
    Column("reason", String(64)),
    Column("due_ts", UtcTimestamp),
    Column("claims", Integer, nullable=False, server_default=text("0")),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("losses", Integer, nullable=False, server_default=text("0")),
    Column("owner", Id(64)),
    Column("claim_id", Id(36)),
    Column("result", LongText),
    Column("error", LongText),
    *retry_columns(),
    priority_check(),
    *retry_checks(),
    CheckConstraint("exec_status IN (0, 1, 2, 3, 9)", name="status"),
    *whole("task_exec_seq", "depends_task_exec_seq", "task_seq", "exec_status", "task_priority", "wait_count"),
    *texts("task_flow_id", "task_id", "parameters", "program", "queue"),
    info={"about": "A task instance. The first twelve columns are Flower's, in Flower's order."},
)

run_edge = Table(
    "kr_task_edge",
    metadata,
    Column("task_flow_id", Id(256), primary_key=True, nullable=False),
    Column("task_exec_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("depends_task_exec_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    *whole("task_exec_seq", "depends_task_exec_seq"),
    *texts("task_flow_id"),
    info={"about": "Second and further predecessors of a task instance; the first stands in depends_task_exec_seq."},
)

attempt = Table(
    "kr_task_attempt",
    metadata,
    Column("task_flow_id", Id(256), primary_key=True, nullable=False),
    Column("task_exec_seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("claim_id", Id(36), primary_key=True, nullable=False),
    Column("claim_no", Integer, nullable=False),
    Column("watcher_id", Id(64)),
    Column("outcome", String(16), nullable=False),
    Column("accepted", Boolean, nullable=False, server_default=false()),
    Column("claimed_ts", UtcTimestamp),
    Column("ended_ts", UtcTimestamp),
    Column("lease_until_ts", UtcTimestamp),
    Column("error", LongText),
    Column("traceback", LongText),
    Column("log", LongText),
    info={"about": "A try that did not simply finish, or that logged something."},
)

event = Table(
    "kr_event",
    metadata,
    Column("event_id", BIGKEY, primary_key=True, autoincrement=True),
    Column("event_ts", UtcTimestamp, nullable=False),
    Column("task_flow_id", Id(256)),
    Column("task_exec_seq", BigInteger),
    Column("what", String(64), nullable=False),
    Column("actor", Id(256)),
    Column("details", LongText),
    info={"about": "Something that happened, for people and subscribers."},
)

watcher = Table(
    "kr_watcher",
    metadata,
    Column("watcher_id", Id(64), primary_key=True, nullable=False),
    Column("label", Id(256)),
    Column("host", Id(256)),
    Column("pid", Integer),
    Column("queues", Id(1024)),
    Column("slots", Integer, nullable=False, server_default=text("0")),
    Column("state", String(16), nullable=False, server_default="running"),
    Column("started_ts", UtcTimestamp, nullable=False),
    Column("beat_ts", UtcTimestamp, nullable=False),
    Column("lease_until_ts", UtcTimestamp, nullable=False),
    info={"about": "A live watcher process and its lease."},
)

# --- what the watcher asks, as conditions; the numbers are literals because a partial index is only used where the
# --- planner can see at planning time that its condition holds.
_status, _count = task_stat.c.exec_status, task_stat.c.wait_count


def _number(value: int) -> Any:
    return literal_column(str(value))


IS_WAITING: Final = _status == _number(0)
IS_READY: Final = and_(IS_WAITING, _count == _number(0))
IS_RUNNING: Final = _status == _number(1)
IS_SUSPENDED: Final = _status == _number(2)
IS_MADE_BY_HAND: Final = and_(IS_WAITING, or_(_count.is_(None), _count < _number(0)))
IS_UNEXPLAINED: Final = and_(
    IS_SUSPENDED,
    or_(task_stat.c.suspended_ts.is_(None), task_stat.c.reason.is_(None), task_stat.c.reason.in_(WAITING_REASONS)),
)
"""Suspended by hand: whoever suspends through the engine leaves a time and a reason."""
IS_SET_BACK: Final = and_(IS_WAITING, _count >= _number(0), task_stat.c.suspended_ts.isnot(None))
"""Suspended once, and set back to waiting by hand."""
IS_UNTOLD: Final = and_(_status.in_([_number(3), _number(9)]), or_(_count.is_(None), _count >= _number(0)))

CLAIM_ORDER: Final = (
    task_stat.c.task_priority,
    task_stat.c.registered_ts,
    task_stat.c.task_flow_id,
    task_stat.c.task_exec_seq,
)


PARTIAL, WHOLE = {"partial": True}, {"partial": False}


def _partial(name: str, *columns: Any, where: Any) -> None:
    """An index of the few rows that are in play: its size and cost do not grow with history."""
    Index(name, *columns, sqlite_where=where, postgresql_where=where, info=PARTIAL).ddl_if(
        callable_=has_partial_indexes
    )


_partial("ix_kr_task_stat_ready", task_stat.c.queue, *CLAIM_ORDER, where=IS_READY)
_partial("ix_kr_task_stat_hand", *task_stat.primary_key, where=IS_MADE_BY_HAND)
_partial("ix_kr_task_stat_untold", *task_stat.primary_key, where=IS_UNTOLD)
_partial("ix_kr_task_stat_running", task_stat.c.owner, where=IS_RUNNING)
_partial("ix_kr_task_stat_suspended", task_stat.c.reason, task_stat.c.suspended_ts, where=IS_SUSPENDED)
_partial("ix_kr_task_stat_set_back", *task_stat.primary_key, where=IS_SET_BACK)
_partial("ix_kr_flow_stat_suspended", flow_stat.c.task_flow_id, where=flow_stat.c.flow_status == _number(2))
_partial("ix_kr_task_stat_due", task_stat.c.due_ts, where=task_stat.c.due_ts.isnot(None))
Index("ix_kr_task_stat_after", task_stat.c.task_flow_id, task_stat.c.depends_task_exec_seq)
Index("ix_kr_task_edge_after", run_edge.c.task_flow_id, run_edge.c.depends_task_exec_seq)
Index("ix_kr_flow_stat_newest", flow_stat.c.registered_ts, flow_stat.c.task_flow_id)
Index("ix_kr_flow_stat_workflow", flow_stat.c.task_id, flow_stat.c.registered_ts, flow_stat.c.task_flow_id)
Index("ix_ms_workflow_version_newest", workflow_version.c.task_id, workflow_version.c.created_ts)
Index("ix_kr_event_flow", event.c.task_flow_id, event.c.event_id)
# MariaDB and MySQL have no partial indexes: one composite index in the order of the claim answers the same questions.
Index("ix_kr_task_stat_state", _status, _count, task_stat.c.queue, *CLAIM_ORDER, info=WHOLE).ddl_if(
    callable_=lacks_partial_indexes
)
Index("ix_kr_task_stat_due_ts", task_stat.c.due_ts, info=WHOLE).ddl_if(callable_=lacks_partial_indexes)
Index("ix_kr_flow_stat_status", flow_stat.c.flow_status, info=WHOLE).ddl_if(callable_=lacks_partial_indexes)
for _table in metadata.tables.values():
    _table.dialect_options["mysql"]["engine"] = _table.dialect_options["mariadb"]["engine"] = "InnoDB"
    _table.dialect_options["mysql"]["charset"] = _table.dialect_options["mariadb"]["charset"] = "utf8mb4"
