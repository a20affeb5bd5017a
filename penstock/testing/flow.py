"""A flow of a lab, as a test looks at it: every property is read from the rows when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from engine.states import Status
from penstock.models import Flow, Task, TaskWhy, Wait

if TYPE_CHECKING:
    from penstock.testing.lab import Lab

OF_WATCHERS: Final = ("no watcher", "no program", "by hand")
"""Causes that say nothing in a lab, where a watcher lives only while there is work."""


class LabFlow:
    """One flow. `flow[2]` is its task with the run number 2, `flow["Load"]` the one of that step name or program."""

    def __init__(self, lab: Lab, flow_id: str) -> None:
        self._lab = lab
        self.id = flow_id

    @property
    def row(self) -> Flow:
        return self._lab.client.flow(self.id)

    @property
    def tasks(self) -> list[Task]:
        """All of them, by run number."""
        return list(self._lab.client.tasks(self.id))

    @property
    def status(self) -> Status | str:
        return self.row.status

    @property
    def finished(self) -> bool:
        return self.row.has_finished

    @property
    def ended(self) -> bool:
        """Finished, cancelled, or out of its time."""
        return self.row.has_ended

    @property
    def suspended(self) -> bool:
        return self.status == Status.SUSPEND

    @property
    def reason(self) -> str | None:
        """Why it ended otherwise than by finishing."""
        return self.row.reason

    @property
    def result(self) -> Any:
        """Errors: NoResult if it has not finished."""
        return self._lab.client.result(self.id)

    @property
    def waits(self) -> list[Wait]:
        """What it awaits now, the latest first."""
        return [wait for wait in self._lab.client.waits_of(self.id) if wait.is_open]

    @property
    def events(self) -> list[str]:
        """What happened to it, oldest first, as `kr_event.what` says it."""
        return [event.what for event in self._lab.client.events(flow_id=self.id)][::-1]

    @property
    def why(self) -> list[str]:
        """Why it has not finished, as `penstock why` says it: a line for each task that is open. Empty once it has."""
        flow = self.row
        if flow.has_finished:
            return []
        ended = [f"the flow ended: {flow.reason}"] if flow.has_ended else []
        return ended + [_why(task) for task in self._lab.client.why(self.id).tasks]

    def __getitem__(self, which: int | str) -> Task:
        """Errors: KeyError, which names the tasks that there are; for a name that several have."""
        tasks = self.tasks
        found = [task for task in tasks if which in (task.seq, task.name, task.program)]
        if len(found) == 1:
            return found[0]
        there = ", ".join(f"{task.seq} {task.title}" for task in tasks) or "none"
        many = f"{len(found)} tasks are called so: ask by run number" if found else "there is no such task"
        raise KeyError(f"{which!r}: {many}. Tasks: {there}")

    def logs(self, seq: int) -> str:
        """What the tries of a task have logged."""
        return "\n".join(log.text for log in self._lab.client.logs(self.id, seq))

    def table(self) -> str:
        """Its tasks as a table, and why it has not finished."""
        flow, tasks = self.row, self.tasks
        rows = [("seq", "step", "status", "try", "result or reason"), *(_cells(task) for task in tasks)]
        wide = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = ["  ".join(["", *map(str.ljust, row, wide)]).rstrip() for row in rows]
        why = [f"  why: {words}" for words in self.why]
        return "\n".join([f"flow {flow.task_id} {self.id}: {_name(flow.status)}", *lines, *why])

    def __repr__(self) -> str:
        flow = self.row
        why = f"; {'; '.join(self.why)}" if not flow.has_finished else ""
        return f"<flow {flow.task_id}: {_name(flow.status)}, {flow.finish_count} of {flow.task_count} finished{why}>"


def _cells(task: Task) -> Sequence[str]:
    said = task.error or task.reason or ("" if task.result is None else repr(task.result))
    return str(task.seq), task.title, _name(task.status), str(task.attempt), said.partition("\n")[0][:200]


def _why(task: TaskWhy) -> str:
    found = [cause.what for cause in task.causes if cause.cause not in OF_WATCHERS]
    return f"{task.task_exec_seq} {task.name or task.program}: {'; '.join(found) or task.words}"


def _name(status: Status | str) -> str:
    return status.name if isinstance(status, Status) else status
