"""Is a flow over, and what did it return? Asked of its rows, through whatever door."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from engine.queries import flows
from engine.states import Status
from penstock.models import Flow, Task

_SAID: Final = {"task_exec_seq", "exec_status", "phase", "depends", "result"}


def may_be_over(flow: Flow) -> bool:
    """Ended; or suspended, and then its tasks have to be asked."""
    return flow.has_ended or flow.status == Status.SUSPEND


def is_moving(task: Task) -> bool:
    return flows.is_moving(task.exec_status, task.wait_count, task.due_ts)


def last_result(flow: Flow, tasks: Iterable[Task]) -> Any:
    """What the last task of a finished flow returned, if one task alone is the last."""
    documents = [task.model_dump(include=_SAID) for task in tasks]
    return flows.with_result({"result": None, "flow_status": flow.flow_status, "tasks": documents})["result"]
