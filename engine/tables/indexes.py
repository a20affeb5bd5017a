"""The indexes, each for a question that somebody asks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, and_

from engine.dialects.types import has_partial_indexes, lacks_partial_indexes
from engine.tables.conditions import (
    CLAIM_ORDER,
    IS_ACTIVE,
    IS_ASKED,
    IS_CLOSING,
    IS_FLOW_SUSPENDED,
    IS_MADE_BY_HAND,
    IS_OPEN_WAIT,
    IS_OVERSEEN,
    IS_READY,
    IS_RUNNING,
    IS_SET_BACK,
    IS_SUSPENDED,
    IS_UNREAD,
    IS_UNTOLD,
)
from engine.tables.definitions import workflow_version
from engine.tables.operating import command, flow_tag, task_log
from engine.tables.records import event
from engine.tables.runs import flow_stat, run_edge, task_stat
from engine.tables.waits import message, wait

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
_partial("ix_kr_flow_stat_suspended", flow_stat.c.task_flow_id, where=IS_FLOW_SUSPENDED)
_partial("ix_kr_task_stat_due", task_stat.c.due_ts, where=task_stat.c.due_ts.isnot(None))
_partial("ix_kr_flow_stat_deadline", flow_stat.c.deadline_ts, where=IS_OVERSEEN)
_partial("ix_kr_flow_stat_closing", flow_stat.c.flow_status, where=IS_CLOSING)
_partial("ix_kr_flow_stat_active", flow_stat.c.task_id, flow_stat.c.registered_ts, where=IS_ACTIVE)
# for lists, which name a time: a query of flows in play has no use for the many of its status, and SQLite cannot tell
_LISTED = flow_stat.c.flow_status, flow_stat.c.registered_ts, flow_stat.c.task_flow_id
_partial("ix_kr_flow_stat_listed", *_LISTED, where=flow_stat.c.registered_ts.isnot(None))
_partial("ix_kr_flow_stat_parent", flow_stat.c.parent_flow_id, where=flow_stat.c.parent_flow_id.isnot(None))
_partial("ix_kr_wait_open", wait.c.kind, wait.c.name, wait.c.correlation_key, wait.c.created_ts, where=IS_OPEN_WAIT)
_partial("ix_kr_wait_due", wait.c.due_ts, where=and_(IS_OPEN_WAIT, wait.c.due_ts.isnot(None)))
_partial("ix_kr_message_unread", message.c.name, message.c.correlation_key, message.c.sent_ts, where=IS_UNREAD)
_partial("ix_kr_flow_stat_ended", flow_stat.c.finished_ts, where=flow_stat.c.finished_ts.isnot(None))
_partial("ix_kr_message_read", message.c.wait_id, where=message.c.wait_id.isnot(None))
_partial("ix_kr_command_asked", command.c.command_id, where=IS_ASKED)
_partial("ix_kr_flow_stat_keyed", flow_stat.c.run_key, flow_stat.c.registered_ts, where=flow_stat.c.run_key.isnot(None))
Index("ix_kr_command_subject", command.c.subject, command.c.command_id)
Index("ix_kr_flow_tag_tagged", flow_tag.c.tag, flow_tag.c.task_flow_id)
Index("ix_kr_task_log_task", task_log.c.task_flow_id, task_log.c.task_exec_seq, task_log.c.log_id)
Index("ix_kr_wait_task", wait.c.task_flow_id, wait.c.task_exec_seq)
# not the flow first: a planner that knows nothing yet would use it to look up keys, and read whole flows
BEHIND = Index("ix_kr_task_stat_behind", task_stat.c.depends_task_exec_seq, task_stat.c.task_flow_id)
EDGES_BEHIND = Index("ix_kr_task_edge_after", run_edge.c.task_flow_id, run_edge.c.depends_task_exec_seq)
Index("ix_kr_flow_stat_newest", flow_stat.c.registered_ts, flow_stat.c.task_flow_id)
Index("ix_kr_flow_stat_workflow", flow_stat.c.task_id, flow_stat.c.registered_ts, flow_stat.c.task_flow_id)
Index("ix_ms_workflow_version_newest", workflow_version.c.task_id, workflow_version.c.created_ts)
Index("ix_kr_event_flow", event.c.task_flow_id, event.c.event_id)
# MariaDB and MySQL have no partial indexes: one composite index in the order of the claim answers the same questions.
Index(
    "ix_kr_task_stat_state",
    task_stat.c.exec_status,
    task_stat.c.wait_count,
    task_stat.c.queue,
    *CLAIM_ORDER,
    info=WHOLE,
).ddl_if(callable_=lacks_partial_indexes)
Index("ix_kr_task_stat_due_ts", task_stat.c.due_ts, info=WHOLE).ddl_if(callable_=lacks_partial_indexes)
Index("ix_kr_flow_stat_by_status", *_LISTED, info=WHOLE).ddl_if(callable_=lacks_partial_indexes)
Index("ix_kr_flow_stat_finished", flow_stat.c.finished_ts, info=WHOLE).ddl_if(callable_=lacks_partial_indexes)
Index("ix_kr_flow_stat_overseen", flow_stat.c.deadline_ts, info=WHOLE).ddl_if(callable_=lacks_partial_indexes)
Index("ix_kr_flow_stat_to_close", flow_stat.c.closing, flow_stat.c.flow_status, info=WHOLE).ddl_if(
    callable_=lacks_partial_indexes
)
Index("ix_kr_flow_stat_active_of", flow_stat.c.task_id, flow_stat.c.flow_status, info=WHOLE).ddl_if(
    callable_=lacks_partial_indexes
)
Index("ix_kr_flow_stat_child", flow_stat.c.parent_flow_id, info=WHOLE).ddl_if(callable_=lacks_partial_indexes)
Index(
    "ix_kr_wait_key",
    wait.c.state,
    wait.c.kind,
    wait.c.name,
    wait.c.correlation_key,
    wait.c.created_ts,
    info=WHOLE,
).ddl_if(callable_=lacks_partial_indexes)
Index("ix_kr_wait_due_ts", wait.c.state, wait.c.due_ts, info=WHOLE).ddl_if(callable_=lacks_partial_indexes)
Index(
    "ix_kr_message_key", message.c.wait_id, message.c.name, message.c.correlation_key, message.c.sent_ts, info=WHOLE
).ddl_if(callable_=lacks_partial_indexes)
Index("ix_kr_command_open", command.c.handled_ts, command.c.command_id, info=WHOLE).ddl_if(
    callable_=lacks_partial_indexes
)
Index("ix_kr_flow_stat_run_key", flow_stat.c.run_key, flow_stat.c.registered_ts, info=WHOLE).ddl_if(
    callable_=lacks_partial_indexes
)
