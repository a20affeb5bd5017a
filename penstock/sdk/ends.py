"""Is a flow over, and what did it return? Asked of its rows, through whatever door."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.definition.step import POST, ROLLBACK
from engine.states import Status
from penstock.models import Flow, Task


def may_be_over(flow: Flow) -> bool:
    """Ended; or suspended, and then its tasks have to be asked."""
    return flow.has_ended or flow.status == Status.SUSPEND


def is_moving(task: Task) -> bool:
    """Does it run, or will it by itself: ready now, or due at some time?"""
    return task.status == Status.RUNNING or (
        task.status == Status.WAIT and (not task.wait_count or task.due_ts is not None)
    )


def last_result(tasks: Iterable[Task]) -> Any:
    """What the last task returned, if one task alone is the last; clean-up behind it does not count."""
    main = [task for task in tasks if task.phase not in (POST, ROLLBACK) and task.has_finished]
    followed = {earlier for task in main for earlier in task.depends}
    last = [task for task in main if task.seq not in followed]
    return last[0].result if len(last) == 1 else None
