"""Is a flow over, and what did it return? Asked of its rows, through whatever door."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from engine.queries.flows import with_result
from engine.states import Status
from penstock.models import Flow, Task

_SAID: Final = {"task_exec_seq", "exec_status", "phase", "depends", "result"}


def may_be_over(flow: Flow) -> bool:
    """Ended; or suspended, and then its tasks have to be asked."""
    return flow.has_ended or flow.status == Status.SUSPEND


def is_moving(task: Task) -> bool:
    """Does it run, or will it by itself: ready now, or due at some time?"""
    return task.status == Status.RUNNING or (
        task.status == Status.WAIT and (not task.wait_count or task.due_ts is not None)
    )


def last_result(flow: Flow, tasks: Iterable[Task]) -> Any:
    """What the last task of a finished flow returned, if one task alone is the last."""
    documents = [task.model_dump(include=_SAID) for task in tasks]
    return with_result({"result": None, "flow_status": flow.flow_status, "tasks": documents})["result"]
