"""The state machine of a task instance, as data: Flower's five statuses and every move between them.

A state is the pair (exec_status, wait_count). `wait_count` says how many things a waiting task still awaits; NULL or a
negative count on a waiting row means "made or changed by hand", and -1 on a settled row means "successors were told".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Status(IntEnum):
    """The values of `exec_status`, Flower's own numbers."""

    WAIT = 0
    RUNNING = 1
    SUSPEND = 2
    FINISH = 3
    IGNORE = 9


SETTLED: Final = frozenset({Status.FINISH, Status.IGNORE})
PASSED_ON: Final = -1
"""`wait_count` of a settled row whose successors have been told."""

READY: Final = 0
"""`wait_count` of a waiting row that awaits nothing."""

PRIORITY_MIN, PRIORITY_MAX, PRIORITY_DEFAULT = -20, 19, 0
NO_PREDECESSOR: Final = -1
"""`depends_task_exec_seq` of a first task; 0 means the same, as no task has number 0."""


class Reason:
    """Why a row is where it is (`reason`): short, stable texts; the details are in `error` and in the events."""

    FAILED = "failed"
    UNKNOWN_PROGRAM = "unknown program"
    BAD_PARAMETERS = "bad parameters"
    BAD_RESULT = "bad result"
    BAD_ROW = "bad row"
    DANGLING = "dangling dependency"
    CYCLE = "cycle"
    LOST = "lost"
    PAUSED = "paused by hand"
    AGAIN = "again"
    RETRY = "retry"
    LAPSED = "lapsed"
    RELEASED = "released"
    IGNORED = "ignored by hand"
    AWAITING = "awaiting"
    SKIPPED = "skipped"
    HANDLED = "failed, and handled"
    HANDLED_TIMEOUT = "timed out, and handled"
    TIMED_OUT = "timed out"
    BAD_CONDITION = "bad condition"
    LOOP_LIMIT = "loop limit"
    STOPPED = "flow stopped"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    ROLLING_BACK = "rolling back"
    ROLLED_BACK = "rolled back"


FAILURES: Final = {
    Reason.FAILED: Reason.HANDLED,
    Reason.BAD_RESULT: Reason.HANDLED,
    Reason.TIMED_OUT: Reason.HANDLED_TIMEOUT,
}
"""Reasons that say that a program failed, and what they become where an edge handles the failure."""
WAITING_REASONS: Final = (Reason.AGAIN, Reason.RETRY, Reason.LAPSED, Reason.RELEASED, Reason.AWAITING)
"""Reasons that the engine writes on a row that waits; on any other row they say that a person changed its status."""


CLOSED_EARLY: Final = (Reason.CANCELLED, Reason.TIMED_OUT)
"""Reasons of an ignored task that nobody decided to do without: its flow was ended."""


@dataclass(frozen=True)
class Transition:
    """One legal move: from any of `source` to `target`; `stamp` and `clears` name the time columns it touches."""

    name: str
    source: frozenset[Status]
    target: Status
    stamp: str | None = None
    clears: tuple[str, ...] = ()


def _move(name: str, source: set[Status], target: Status, stamp: str | None = None, *clears: str) -> Transition:
    return Transition(name, frozenset(source), target, stamp, clears)


TRANSITIONS: Final[dict[str, Transition]] = {
    move.name: move
    for move in (
        _move("claim", {Status.WAIT}, Status.RUNNING, "started_ts", "finished_ts", "suspended_ts", "reason", "error"),
        _move("finish", {Status.RUNNING, Status.WAIT}, Status.FINISH, "finished_ts", "reason", "error"),
        _move("suspend", {Status.RUNNING, Status.WAIT}, Status.SUSPEND, "suspended_ts"),
        _move("again", {Status.RUNNING, Status.WAIT}, Status.WAIT),
        _move("retry", {Status.RUNNING, Status.WAIT}, Status.WAIT),
        _move("await", {Status.RUNNING, Status.WAIT}, Status.WAIT),
        _move("release", {Status.RUNNING}, Status.WAIT),
        _move("lapse", {Status.RUNNING}, Status.WAIT),
        _move("lose", {Status.RUNNING}, Status.SUSPEND, "suspended_ts"),
        _move("adopt", {Status.WAIT}, Status.WAIT, None, "finished_ts", "suspended_ts", "reason", "error"),
        _move("refuse", {Status.WAIT}, Status.SUSPEND, "suspended_ts"),
        _move("pause", {Status.WAIT}, Status.SUSPEND, "suspended_ts"),
        _move("ignore", {Status.WAIT, Status.RUNNING, Status.SUSPEND}, Status.IGNORE, None, "suspended_ts"),
        _move(
            "force",
            {Status.WAIT, Status.RUNNING, Status.SUSPEND},
            Status.FINISH,
            "finished_ts",
            "suspended_ts",
            "reason",
            "error",
        ),
        _move("handle", {Status.RUNNING, Status.WAIT}, Status.IGNORE, "finished_ts", "suspended_ts"),
        _move("skip", {Status.WAIT, Status.SUSPEND}, Status.IGNORE, None, "suspended_ts", "error"),
        _move("stop", {Status.WAIT}, Status.SUSPEND, "suspended_ts"),
        _move("cancel", {Status.WAIT, Status.RUNNING, Status.SUSPEND}, Status.IGNORE, None, "suspended_ts"),
        _move(
            "rerun",
            set(Status),
            Status.WAIT,
            None,
            "started_ts",
            "finished_ts",
            "suspended_ts",
            "reason",
            "error",
        ),
        _move("supersede", set(Status), Status.IGNORE, None, "suspended_ts", "error"),
        _move("recover", {Status.SUSPEND}, Status.WAIT, None, "finished_ts", "suspended_ts", "reason", "error"),
    )
}
"""`finish`, `suspend`, `again` and `retry` also accept WAIT: a lapsed task that nobody has claimed since may still be
settled by the claim that ran it."""
