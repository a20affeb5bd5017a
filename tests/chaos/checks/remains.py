"""What processes leave: exits that somebody asked for (I24), logs to read (I27), poison contained (I25)."""

from __future__ import annotations

from collections.abc import Iterator

from engine.states import Status
from tests.chaos import poison
from tests.chaos.checks.executions import CUTTING, HINDERING
from tests.chaos.history import History, Violation
from tests.chaos.records import Life

MOST_LINES_PER_MINUTE = 600
"""Of one process, over its whole time, and some for its starts."""
LINES_OF_A_START = 20
LEFT_BEHIND = 6
"""The exit code of a watcher that could not hand its tasks back."""


def exits_were_asked_for(history: History) -> Iterator[Violation]:
    """I24: processes end only because they are killed or told to end, and the latter with exit code 0; with 6 where the
    database was away, so that tasks could not be handed back."""
    for life in history.lives:
        if life.end is None:
            yield Violation("I24", f"{life.label} (pid {life.pid}) was not seen to end")
        elif life.code == -9 and life.cause in ("kill", "failpoint"):
            continue
        elif life.cause in ("drain", "stop") and life.asked is not None:
            if life.code != 0 and not (life.code == -15 and not life.heeded) and not _left_behind(history, life):
                yield Violation("I24", f"{life.label} (pid {life.pid}) was told to end, and ended with {life.code}")
        else:
            words = (
                f"{life.label} (pid {life.pid}) ended with {life.code}, {life.cause or 'and nobody had asked it to'}"
            )
            yield Violation("I24", words)


def _left_behind(history: History, life: Life) -> bool:
    away = [*history.faults_of(*HINDERING), *history.faults_of("stop", *CUTTING, target=life.label)]
    return life.code == LEFT_BEHIND and any(fault.overlaps(life.asked or 0.0, life.end or 0.0) for fault in away)


def nothing_is_left(history: History) -> Iterator[Violation]:
    """I24: no transaction, lock, process or file is left."""
    for words in history.left_over:
        yield Violation("I24", words)


def logs_are_readable(history: History) -> Iterator[Violation]:
    """I27: no traceback, and no flood."""
    for label, lines in history.logs.items():
        for number, line in enumerate(lines):
            if "Traceback (most recent call last)" in line:
                words = " | ".join(part.strip() for part in lines[number : number + 60] if part.strip())
                yield Violation("I27", f"{label} logged a traceback: {words[-1500:]}")
                break
        lives = [life for life in history.lives if life.label == label]
        minutes = sum((life.end or life.begin) - life.begin for life in lives) / 60
        if len(lines) > MOST_LINES_PER_MINUTE * minutes + LINES_OF_A_START * len(lives):
            yield Violation("I27", f"{label} logged {len(lines)} lines in {minutes:.1f} minutes")


def poison_is_contained(history: History) -> Iterator[Violation]:
    """I25: every poison row is suspended with its reason, and no row is suspended that is none."""
    for (flow, seq), row in history.tasks.items():
        if flow.startswith(f"{poison.PREFIX}-"):
            expected = poison.reason_of(flow)
            if (row["exec_status"], row["reason"]) != (Status.SUSPEND, expected):
                words = f"poison row {flow} is {row['exec_status']} ({row['reason']}), not suspended as {expected!r}"
                yield Violation("I25", words, flow, seq)
        elif row["exec_status"] == Status.SUSPEND:
            words = f"task {seq} of flow {flow} is suspended ({row['reason']}: {row['error']}), and is no poison"
            yield Violation("I25", words, flow, seq)
