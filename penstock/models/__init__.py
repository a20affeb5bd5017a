"""What the clients answer with: the documents of the API (docs/api.md) as frozen objects with real types.

The members are the columns under their own names; docs/tables.md says what each means. What a later service says beyond
them is kept and can be read as an attribute, so that a client need not be as new as its service.
"""

from __future__ import annotations

from engine.states import Status
from penstock.models.access import MadeToken, Principal, Token
from penstock.models.answers import Bulk, FlowId, ManyRegistered, Refusal, Sent
from penstock.models.base import Model
from penstock.models.flows import Attempt, Edge, Flow, Log, Task
from penstock.models.operating import Command, Counters, Event, Limit, Minute, Program, Queue, Wait, Watcher
from penstock.models.why import Cause, FlowWhy, TaskWhy
from penstock.models.workflows import (
    WorkflowApplied,
    WorkflowListed,
    WorkflowRead,
    WorkflowVersion,
    WorkflowVersionRead,
)

__all__ = [
    "Attempt",
    "Bulk",
    "Cause",
    "Command",
    "Counters",
    "Edge",
    "Event",
    "Flow",
    "FlowId",
    "FlowWhy",
    "Limit",
    "Log",
    "MadeToken",
    "ManyRegistered",
    "Minute",
    "Model",
    "Principal",
    "Program",
    "Queue",
    "Refusal",
    "Sent",
    "Status",
    "Task",
    "TaskWhy",
    "Token",
    "Wait",
    "Watcher",
    "WorkflowApplied",
    "WorkflowListed",
    "WorkflowRead",
    "WorkflowVersion",
    "WorkflowVersionRead",
]
