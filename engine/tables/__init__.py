"""All tables, with their indexes and the conditions that watchers ask for; docs/tables.md explains every column.

Named as in Flower: `ms_` holds definitions, `kr_` holds runs. `ms_task_definition` has exactly Flower's 14 columns, and
`kr_task_stat` starts with Flower's 12, so that rows written for Flower fit unchanged. Everything that a person may
leave out has a default in the database itself.
"""

from __future__ import annotations

from engine.tables import indexes, storage
from engine.tables.columns import metadata
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
    IS_READY_BY_KEY,
    IS_RUNNING,
    IS_RUNNING_BY_KEY,
    IS_SET_BACK,
    IS_SUSPENDED,
    IS_TURN,
    IS_UNEXPLAINED,
    IS_UNREAD,
    IS_UNTOLD,
    IS_WAITING,
    STATUS_BY_KEY,
)
from engine.tables.definitions import limit, task_definition, task_edge, task_option, workflow, workflow_version
from engine.tables.indexes import BEHIND, EDGES_BEHIND
from engine.tables.operating import command, flow_summary, flow_tag, principal, task_log, token
from engine.tables.records import event, watcher
from engine.tables.runs import attempt, flow_stat, run_edge, task_stat
from engine.tables.waits import limit_stat, message, wait

__all__ = [
    "BEHIND",
    "CLAIM_ORDER",
    "EDGES_BEHIND",
    "IS_ACTIVE",
    "IS_ASKED",
    "IS_CLOSING",
    "IS_FLOW_SUSPENDED",
    "IS_MADE_BY_HAND",
    "IS_OPEN_WAIT",
    "IS_OVERSEEN",
    "IS_READY",
    "IS_READY_BY_KEY",
    "IS_RUNNING",
    "IS_RUNNING_BY_KEY",
    "IS_SET_BACK",
    "IS_SUSPENDED",
    "IS_TURN",
    "IS_UNEXPLAINED",
    "IS_UNREAD",
    "IS_UNTOLD",
    "IS_WAITING",
    "STATUS_BY_KEY",
    "attempt",
    "command",
    "event",
    "flow_stat",
    "flow_summary",
    "flow_tag",
    "indexes",
    "limit",
    "limit_stat",
    "message",
    "metadata",
    "principal",
    "run_edge",
    "storage",
    "task_definition",
    "task_edge",
    "task_log",
    "task_option",
    "task_stat",
    "token",
    "wait",
    "watcher",
    "workflow",
    "workflow_version",
]
