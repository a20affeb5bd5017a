"""What an explanation is made of: plain data, and the JSON document of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

CAUSES: Final[Mapping[str, str]] = {
    "dependency": "an earlier task of its flow is not over",
    "timer": "a time",
    "message": "a message of a name and a key",
    "approval": "the yes or no of a person",
    "form": "what a person fills in",
    "callback": "whoever was given a token",
    "flow": "a sub-flow that it started",
    "turn": "its workflow has as many flows under way as it may",
    "retry": "the time of its next try",
    "poke": "the time at which it looks again",
    "due": "a time that a person set",
    "by hand": "made or set back by hand, and not taken in by a watcher yet",
    "queued": "ready: its turn in the queue",
    "limit": "as many tasks run as a limit allows",
    "rate": "as many tasks have started lately as a limit allows",
    "paused": "a person paused its queue, its workflow or its key",
    "no watcher": "no live watcher serves its queue",
    "no program": "no live watcher of its queue has its program",
    "exclusive": "its former run has not stopped yet",
    "running": "its program runs",
    "silent": "its watcher has fallen silent",
    "suspended": "a person is needed, or has paused it",
    "uncounted": "its wait_count says that it awaits something, and nothing is found",
}
"""Every value of `cause`, and what it waits for; all but the last are rows of v_waiting."""


_NAMES: Final = {"flow_id": "task_flow_id", "seq": "task_exec_seq"}
"""What documents call them, as everywhere else: by the names of the columns."""


@dataclass(frozen=True)
class Cause:
    """One thing that keeps a task where it is. `what` and `unblocks` are for people; `until` is when it ends by itself,
    or, of a running task, when its lease does; `facts` holds what else there is to know, as JSON values."""

    cause: str
    what: str
    unblocks: str
    since: datetime | None = None
    until: datetime | None = None
    by: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        told = {"cause": self.cause, "what": self.what, "unblocks": self.unblocks, "by": self.by}
        return {**told, "since": instant(self.since), "until": instant(self.until), "facts": dict(self.facts)}


@dataclass(frozen=True)
class TaskWhy:
    """One task: `words` says in a line where it is; `causes` is empty for one that is over. `roots` are the tasks at
    the bottom of what it waits for, where it was asked about alone; `hidden` counts causes that were left out
    of the 5,000 that are read at most."""

    flow_id: str
    seq: int
    task_id: str
    task_seq: int
    name: str | None
    program: str | None
    queue: str
    status: str
    reason: str | None
    words: str
    causes: tuple[Cause, ...] = ()
    roots: tuple[TaskWhy, ...] = ()
    hidden: int = 0

    def document(self) -> dict[str, Any]:
        plain = {_NAMES.get(name, name): value for name, value in vars(self).items() if name not in ("causes", "roots")}
        causes = [cause.document() for cause in self.causes]
        return {**plain, "causes": causes, "roots": [root.document() for root in self.roots]}


@dataclass(frozen=True)
class FlowWhy:
    """A flow, and those of its tasks that are not over, what needs a person first; `more`: there are others."""

    flow_id: str
    task_id: str | None
    status: str | None
    reason: str | None
    words: str
    tasks: tuple[TaskWhy, ...] = ()
    more: bool = False

    def document(self) -> dict[str, Any]:
        plain = {_NAMES.get(name, name): value for name, value in vars(self).items() if name != "tasks"}
        return {**plain, "tasks": [task.document() for task in self.tasks]}


def instant(at: datetime | None) -> str | None:
    """As every document of Penstock writes it."""
    return None if at is None else at.isoformat(timespec="microseconds").replace("+00:00", "Z")
