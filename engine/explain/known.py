"""What the words of an explanation are made of, and how they name tasks and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row

from engine.explain.findings import instant
from engine.explain.standing import Standing
from engine.keys import Key

SHORT: Final = 300
"""Characters of an error, or of a person's words, that stand in a sentence; the whole is in the facts."""
PAST: Final = "set its due_ts to a time that is past"


@dataclass(frozen=True)
class Known:
    """What the words are made of: where to ask, the task itself, and the tasks that it needs."""

    standing: Standing
    task: Row[Any]
    needed: Mapping[int, Row[Any]]

    @property
    def key(self) -> Key:
        return Key(self.task.task_flow_id, self.task.task_exec_seq)


Told = tuple[str, str, dict[str, Any]]
"""What it waits for, what would let it go on, and the facts."""
Tellers = Mapping[str, Callable[[Row[Any], Known], Told]]
"""Cause -> what tells it, from its row of v_waiting."""


def label(row: Any) -> str:
    """How sentences name a task."""
    name = row.name or row.program
    return f"task {row.task_exec_seq}" + (f" ({name})" if name else "")


def at(row: Row[Any]) -> str:
    return f" at {instant(row.until_ts)}" if row.until_ts else ""


def until(row: Row[Any]) -> str:
    return f", until {instant(row.until_ts)}" if row.until_ts else ""


def shortened(text: str | None) -> str:
    words = " ".join((text or "").split())
    return words if len(words) <= SHORT else words[: SHORT - 3] + "..."
