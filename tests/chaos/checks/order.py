"""Nothing began before what it depends on had ended: I9, by the effect log; and caps were kept: I22."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.history import Execution, History, Violation
from tests.chaos.shapes import BY_TASK_ID


def parents_came_first(history: History) -> Iterator[Violation]:
    """I9: each execution began after every parent's accepted execution had ended."""
    ends = {key: _accepted_end(history, key) for key in history.witnessed}
    for key, executions in history.executions.items():
        row = history.witnessed.get(key)
        shape = BY_TASK_ID.get(row["task_id"]) if row is not None else None
        if shape is None:
            continue
        flow, seq = key
        for parent in shape.parents(seq):
            ended = ends.get((flow, parent))
            if ended is None or executions[0].begin.mono < ended:
                words = f"task {seq} of flow {flow} began before task {parent}, which it depends on, had ended"
                yield Violation("I9", words, flow, seq)


def _accepted_end(history: History, key: tuple[str, int]) -> float | None:
    accepted = {item["claim_id"] for item in history.attempts.get(key, ()) if item["accepted"]}
    ends = [run.end.mono for run in history.executions.get(key, ()) if run.end is not None and run.claim in accepted]
    return min(ends, default=None)


def caps_were_kept(history: History) -> Iterator[Violation]:
    """I22: never more programs of a capped workflow at once. A frozen watcher's do not count: its lease may be over."""
    for shape in BY_TASK_ID.values():
        if shape.cap is None:
            continue
        changes: list[tuple[float, int, str]] = []
        for key, executions in history.executions.items():
            row = history.witnessed.get(key)
            if row is not None and row["task_id"] == shape.task_id:
                changes += [change for run in executions for change in _changes(history, run)]
        running = 0
        for at, change, flow in sorted(changes):
            running += change
            if running > shape.cap:
                words = f"{running} tasks of {shape.task_id} ran at once at {at:.3f}, {shape.cap} may"
                yield Violation("I22", words, flow, 1)
                return


def _changes(history: History, run: Execution) -> list[tuple[float, int, str]]:
    life = history.life_of(run)
    end = run.end.mono if run.end is not None else life.end if life is not None else None
    if end is None or any(
        fault.overlaps(run.begin.mono - history.options.lease_s, end) and life is not None
        for fault in history.faults_of(
            "stop", "cut", "freeze", "one-way", "stall", target=None if life is None else life.label
        )
    ):
        return []
    return [(run.begin.mono, 1, run.key[0]), (end, -1, run.key[0])]
