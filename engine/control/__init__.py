"""Operator verbs: each one transaction, each recorded with its actor and, if one is given, a note.

A verb acts on the tasks of a flow whose status it is for, all of them or those named, and answers with their run
numbers. docs/control.md has the table of what each does to what.
"""

from __future__ import annotations

from engine.control.bulk import Count, Filter, bulk
from engine.control.flows import cancel, cancel_flows, pause_flow, resume_flow, run_again
from engine.control.parameters import set_flow_parameters, set_parameters
from engine.control.rerun import rerun, rerun_all, rerun_from, rerun_matching
from engine.control.suspension import pause, recover, resume, retry
from engine.control.tasks import finish, ignore, set_priority

__all__ = [
    "Count",
    "Filter",
    "bulk",
    "cancel",
    "cancel_flows",
    "finish",
    "ignore",
    "pause",
    "pause_flow",
    "recover",
    "rerun",
    "rerun_all",
    "rerun_from",
    "rerun_matching",
    "resume",
    "resume_flow",
    "retry",
    "run_again",
    "set_flow_parameters",
    "set_parameters",
    "set_priority",
]
