"""What a remote worker may answer: the outcomes of programs, as data, and the settlements that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from engine.claimed import ClaimedTask
from engine.preparing import mappings
from engine.preparing.scoping import Scoping
from engine.settling import making
from engine.settling.settlement import Settlement
from engine.states import Reason


@dataclass(frozen=True)
class Finish:
    result: Any = None


@dataclass(frozen=True)
class Fail:
    """`timed_out`: it took longer than the task allows. `refused`: it cannot run as it stands, and no other try will
    change that: the reason, `bad parameters` or `bad result`."""

    error: str
    retry: bool = True
    traceback: str | None = None
    timed_out: bool = False
    refused: str | None = None


@dataclass(frozen=True)
class Again:
    """Units: seconds from now, or an instant with a zone."""

    after: float = 0.0
    at: datetime | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class Choose:
    steps: tuple[str | int, ...]
    result: Any = None


@dataclass(frozen=True)
class Await:
    kind: str
    name: str | None = None
    key: str | None = None
    until: datetime | float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A task of a plan; it has the shape of `plan_checks.Wished`."""

    program: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    after: Sequence[str | int] = ()
    priority: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    tasks: Sequence[Task]
    result: Any = None
    join: bool = True


@dataclass(frozen=True)
class Release:
    """Not begun, or interrupted: it goes back, and does not count as a try."""


Outcome: TypeAlias = Finish | Fail | Again | Choose | Await | Plan | Release


def settlement_of(task: ClaimedTask, outcome: Outcome, of_flow: Mapping[str, Any], read: Scoping) -> Settlement:
    """Errors: Refused, if the row's output mapping cannot be worked out."""
    match outcome:
        case Finish(result=result):
            return making.finished(task, mappings.kept(task, result, of_flow, read))
        case Choose(steps=steps, result=result):
            return making.chosen(task, steps, mappings.kept(task, result, of_flow, read))
        case Plan(tasks=tasks, result=result, join=join):
            return making.planned(task, tasks, mappings.kept(task, result, of_flow, read), join=join)
        case Again(after=after, at=at, timeout=timeout):
            return making.again(task, after, at, timeout)
        case Await(kind=kind, name=name, key=key, until=until, details=details):
            return making.awaiting(task, kind, name, key, until, details)
        case Release():
            return making.released(task)
        case Fail(error=words, refused=str(reason), traceback=trace):
            return making.suspended(task, reason, words, trace)
        case Fail(error=words, retry=retry, traceback=trace, timed_out=late):
            reason = Reason.TIMED_OUT if late else Reason.FAILED
            return making.failed(task, words, trace, retry=retry, reason=reason)
