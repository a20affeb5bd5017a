"""Rows as documents: columns under their own names, instants as text, JSON columns read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from engine.inputs import document
from engine.queries.pages import instant
from engine.states import Status


def plain(row: Any) -> dict[str, Any]:
    return {name: instant(value) if isinstance(value, datetime) else value for name, value in row.items()}


def status_name(status: int) -> str:
    return Status(status).name if status in Status._value2member_map_ else f"UNKNOWN {status}"  # set by hand


def flow_of(row: Any) -> dict[str, Any]:
    flow = plain(row)
    flow["status"] = status_name(flow["flow_status"])
    flow["parameters"], flow["result"] = document(flow["parameters"]), document(flow["result"])
    return flow


def task_of(row: Any) -> dict[str, Any]:
    """A task; who selects several adds further predecessors and the attempts."""
    task = plain(row)
    task["status"] = status_name(task["exec_status"])
    task["parameters"], task["result"] = document(task["parameters"]), document(task["result"])
    task["depends"] = [task["depends_task_exec_seq"]] if task["depends_task_exec_seq"] > 0 else []
    task["attempts"] = []
    return task


def attempt_of(row: Any) -> dict[str, Any]:
    return {name: value for name, value in plain(row).items() if name not in ("task_flow_id", "task_exec_seq")}
