"""A flow of a lab, as a test looks at it: every property is read from the rows when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.states import Status
from penstock.models import Flow, Task, Wait

if TYPE_CHECKING:
    from penstock.testing.lab import Lab


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
        """Why it has not finished: a line for each task that holds it up. Empty once it has."""
        flow = self.row
        if flow.has_finished:
            return []
        ended = [f"the flow ended: {flow.reason}"] if flow.has_ended else []
        waits = self.waits
        return ended + [words for task in self.tasks if (words := _why(task, waits)) is not None]

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


def _why(task: Task, waits: Sequence[Wait]) -> str | None:
    mine = f"{task.seq} {task.title}"
    if task.status in (Status.FINISH, Status.IGNORE):
        return None
    if task.status == Status.SUSPEND:
        return f"{mine} is suspended ({task.reason})" + (f": {task.error.partition(chr(10))[0]}" if task.error else "")
    if task.status == Status.RUNNING:
        return f"{mine} runs"
    awaited = [_awaited(wait) for wait in waits if wait.task_exec_seq == task.seq]
    if awaited:
        return f"{mine} awaits {' and '.join(awaited)}"
    if task.due_ts is not None:
        return f"{mine} is due at {task.due_ts:%Y-%m-%d %H:%M:%S} ({task.reason})"
    if task.wait_count:
        return f"{mine} waits for {', '.join(str(seq) for seq in task.depends) or 'something'}"
    return f"{mine} is ready, and nobody has taken it"


def _awaited(wait: Wait) -> str:
    which = " ".join(repr(part) for part in (wait.name, wait.correlation_key) if part)
    until = f" until {wait.due_ts:%Y-%m-%d %H:%M:%S}" if wait.due_ts else ""
    article = "an" if wait.kind == "approval" else "a"
    return f"{article} {wait.kind}{f' {which}' if which else ''}{until}"


def _name(status: Status | str) -> str:
    return status.name if isinstance(status, Status) else status
